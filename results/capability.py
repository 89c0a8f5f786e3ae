"""A capability: what one library can do on one backend of one device, as stored.

Not a trial: no model of real size is loaded, nothing is predicted but whether it can work at all,
and the verdict is about the library and the browser.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic reads annotations at run time
from typing import Final, Literal

from pydantic import Field

from results.record import Conditions, DeviceRecord, PageText, Part, Spread, Verdict, stand_in

CAPABILITY_VERSION: Final = 1


class Figure(Part):
    """A repeated measurement, in the unit it names."""

    name: PageText
    unit: PageText
    spread: Spread


class Capability(Part):
    """What was asked of a library, and what came of it.

    Attributes:
        ability: What it was asked to do, in words.
        verdict: `ok` when it did that with the right result; `unsupported` when the browser lacks
            what it needs, found out before anything is downloaded wherever that can be.
        reason: What the verdict rests on.
        variant: Which build or mode of the library it was, as far as it says.
        browser_flags: Flags the browser was started with, which may stand for another device.
        files: Raw evidence, by name; paths relative to the results folder.
    """

    schema_version: Literal[1] = CAPABILITY_VERSION
    capability_id: str
    run_id: str
    started_at: datetime
    device: DeviceRecord
    library: str
    backend: str
    ability: str
    verdict: Verdict
    reason: PageText
    figures: tuple[Figure, ...] = ()
    variant: PageText = ""
    browser_flags: tuple[str, ...] = ()
    conditions: Conditions
    files: dict[str, str] = Field(default={})

    @property
    def marks(self) -> tuple[str, ...]:
        """Why its figures are not a device's own; empty when they are."""
        applies = {
            stand_in(self.device.kind): self.device.emulated,
            "software adapter": bool(self.conditions.software_adapter),
            "browser flags": bool(self.browser_flags),
        }
        return tuple(mark for mark, holds in applies.items() if holds)
