"""What can be said of a device and a model in a few words: the best of their cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from results.matrix.model import BY_SEVERITY
from results.record import Verdict, stand_in
from results.table import number
from results.tiers import TIERS, decode_tier, lower, prefill_tier

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from results.matrix.model import Cell, DeviceEntry, Matrix, Section
    from results.tiers import Tier

TIER_WORDS: Final = {
    "high": "high",
    "medium": "medium",
    "low": "low",
    "unsupported": "too slow",
}
"""Tiers in words: `unsupported` is also a verdict, and means another thing there."""

VERDICT_WORDS: Final = {
    "ok": "runs",
    "oom": "out of memory",
    "crash": "crash",
    "hang": "hang",
    "unsupported": "cannot run",
    "unknown": "unknown",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One cell, and where in the matrix it is."""

    section: Section
    model: str
    quantisation: str
    runtime: str
    device_id: str
    device: DeviceEntry
    cell: Cell

    @property
    def workload(self) -> str:
        """Runtime and weights, and where the bytes come from unless that is the network."""
        conditions = self.cell.conditions
        weights = f"{self.quantisation} {conditions.variant}".rstrip()
        way = "" if conditions.source == "network" else f" from {conditions.source}"
        return f"{self.runtime} {weights}{way}"

    @property
    def marks(self) -> str:
        """What keeps the figures from being the device's own, in words; "" where nothing does."""
        applies = (
            (stand_in(self.device.kind), self.cell.emulated),
            ("software adapter", self.cell.software_adapter),
        )
        return ", ".join(mark for mark, is_so in applies if is_so)

    @property
    def device_name(self) -> str:
        """The device by name, a desktop by its hardware too; marked where it is not its own."""
        name = self.device.name
        if self.device.hardware:
            name = f"{name}: {self.device.hardware}"
        return f"{name} ({self.marks})" if self.marks else name

    def median(self, metric: str) -> float | None:
        """What was measured, `None` where it was not."""
        spreading = self.cell.measured.get(metric)
        return spreading.median if spreading else None

    @property
    def outcome(self) -> str:
        """What became of it; where it runs, with the speed that decides: `high, 12.3 tok/s`."""
        words = outcome_words(self.cell.verdict, self.cell.tier)
        return f"{words}, {self.speed}" if self.speed else words

    @property
    def speed(self) -> str:
        """Of decode, which a reader feels, unless prefill is what the tier is low for; or ""."""
        if self.cell.verdict is not Verdict.OK:
            return ""
        decode, prefill = self.median("decode_tokens_per_s"), self.median("prefill_tokens_per_s")
        if decode is None:
            return ""
        if prefill is not None:
            prefill_is, decode_is = prefill_tier(prefill), decode_tier(decode)
            if prefill_is != decode_is and lower(prefill_is, decode_is) == prefill_is:
                return f"prefill {number(prefill)} tok/s"
        return f"{number(decode)} tok/s"


def outcome_words(verdict: str, tier: Tier | None) -> str:
    """The tier of what runs, else the verdict, in words."""
    if verdict == Verdict.OK and tier is not None:
        return TIER_WORDS[tier]
    return VERDICT_WORDS.get(verdict, verdict)


def entries(matrix: Matrix, section: Section) -> Iterator[Entry]:
    """The cells of a section, by model, quantisation, runtime and device."""
    for model, quantisations in matrix.tree(section).items():
        for quantisation, runtimes in quantisations.items():
            for runtime, devices in runtimes.items():
                for device_id, cells in devices.items():
                    for cell in cells:
                        device = matrix.devices[device_id]
                        yield Entry(section, model, quantisation, runtime, device_id, device, cell)


def best_of_each(found: Iterable[Entry], at: datetime) -> dict[tuple[str, str], Entry]:
    """The best cell of each device and model.

    What runs comes before what does not, what is up to date before what is not, whole artifacts
    before special ones; then the higher tier, then the faster. Of what does not run, it is what
    says most about the device: out of memory before a runtime that cannot be used there.
    """
    best: dict[tuple[str, str], Entry] = {}
    for entry in found:
        place = entry.device_id, entry.model
        known = best.setdefault(place, entry)
        if _rank(entry, at) > _rank(known, at):
            best[place] = entry
    return best


def _rank(entry: Entry, at: datetime) -> tuple[bool, bool, bool, int, float]:
    cell = entry.cell
    runs = cell.verdict is Verdict.OK
    if runs:
        height = TIERS.index(cell.tier) if cell.tier is not None else -1
    else:
        height = BY_SEVERITY.index(cell.verdict)
    speed = (entry.median("decode_tokens_per_s") or 0.0) if runs else 0.0
    return runs, not cell.expired(at), not cell.conditions.variant, height, speed
