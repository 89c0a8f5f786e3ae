"""The deadline of a whole run: no test begins after it, and what runs ends by its own deadlines."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment of the machine's monotonic clock, which all processes of one machine share."""

    at: float
    span: str

    @classmethod
    def after(cls, seconds: float, span: str, now: Callable[[], float] = time.monotonic) -> Self:
        """The deadline in so many seconds, which somebody wrote as `span`."""
        return cls(now() + seconds, span)

    def passed(self, now: Callable[[], float] = time.monotonic) -> bool:
        """Whether it is over."""
        return now() >= self.at

    @property
    def reason(self) -> str:
        """Why the run ends, in words."""
        return f"the deadline of {self.span} has passed"
