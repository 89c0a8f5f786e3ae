"""One figure as it was predicted without its device (or model), beside what was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from results.learning import expected_value
from results.learning.fit import SPEEDS
from results.observation import Quantity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from results.evaluation.folds import Fold, Split
    from results.observation import Observation

PROBE: Final = "probe"
"""The name of our own rule among the baselines."""

QUANTITIES: Final = tuple(Quantity)


@dataclass(frozen=True, slots=True)
class Case:
    """A predicted figure: seconds, or bytes of memory; `low` and `high` only of the probe."""

    rule: str
    split: Split
    observation: Observation
    quantity: Quantity
    expected: float
    low: float | None = None
    high: float | None = None

    @property
    def measured(self) -> float:
        """What was measured."""
        return self.observation.measured[self.quantity]

    @property
    def error(self) -> float:
        """Predicted / measured - 1: of tokens a second, or of the seconds or bytes themselves."""
        if self.quantity in SPEEDS:
            return self.measured / self.expected - 1
        return self.expected / self.measured - 1

    @property
    def inside(self) -> bool | None:
        """Whether the interval held; None without one."""
        if self.low is None or self.high is None:
            return None
        return self.low <= self.measured <= self.high


def tokens(observation: Observation, quantity: Quantity) -> int:
    """How many tokens the seconds of a quantity are for."""
    return observation.prompt_tokens if quantity is Quantity.PREFILL else 1


def is_measured(observation: Observation, quantity: Quantity) -> bool:
    """Whether a quantity of an observation can be judged."""
    return observation.trusted and observation.measured.get(quantity, 0.0) > 0


def measured_quantities(observation: Observation) -> list[Quantity]:
    """What can be judged of an observation."""
    return [quantity for quantity in QUANTITIES if is_measured(observation, quantity)]


def probe_cases(fold: Fold) -> Iterator[Case]:
    """What the fold's own fits say of what it left out."""
    for observation in fold.tested:
        fits = fold.of(observation)
        for quantity in measured_quantities(observation):
            expected = expected_value(observation, quantity, fits)
            if expected is not None:
                fit = fits[quantity]
                yield Case(
                    PROBE,
                    fold.split,
                    observation,
                    quantity,
                    expected,
                    expected * fit.low,
                    expected * fit.high,
                )
