"""The cells of a matrix as rows: flat, in order, with the words that pages show.

Pure functions of a `Matrix`; nothing here reads a file or knows HTML.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from results.figures import CellKey
from results.matrix.summary import Entry, entries, outcome_words
from results.record import Judgement, Verdict, stand_in
from results.site.text import slug
from results.table import NOTHING, number
from results.tiers import TIERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from results.matrix.model import Matrix, Section
    from results.record import Interval
    from results.tiers import Tier

K = TypeVar("K")

_GIGABYTE: Final = 1e9


@dataclass(frozen=True, slots=True)
class SectionText:
    """How one of the three trees is presented.

    Attributes:
        mark: what stands beside the section's statement; empty for a device's own figures.
    """

    section: Section
    name: str
    mark: str
    statement: str

    @property
    def anchor(self) -> str:
        """Where on a page it is."""
        return self.section.replace("_", "-")

    def mark_of(self, kind: str) -> str:
        """What stands beside the name of a device of that kind; empty for its own figures."""
        return stand_in(kind) if self.section == "limited" else self.mark


SECTIONS: Final = (
    SectionText(
        "support",
        "Measured on the device itself",
        "",
        "The device as it is, with all of its memory and its own GPU.",
    ),
    SectionText(
        "limited",
        "Limited and emulated devices",
        "limited or emulated",
        "Measured under limits of memory or processor time that stand for a smaller device, or on"
        " an emulated one. These are not the figures of any product.",
    ),
    SectionText(
        "software_adapter",
        "Software adapters",
        "software adapter",
        "WebGPU ran on the processor, for want of a GPU that the browser uses. It shows that the"
        " workload runs there; the speed says nothing about any GPU.",
    ),
)

_SECTION_TEXTS: Final = {text.section: text for text in SECTIONS}

JUDGEMENT_WORDS: Final[dict[str, str]] = {
    Judgement.RIGHT: "right",
    Judgement.OVER_PROMISE: "over-promise",
    Judgement.UNDER_PROMISE: "under-promise",
    Judgement.UNKNOWN: "not judged",
}
# Of as many, the one that should be looked at first.
_WORST_FIRST: Final = (
    Judgement.OVER_PROMISE,
    Judgement.UNDER_PROMISE,
    Judgement.UNKNOWN,
    Judgement.RIGHT,
)


@dataclass(frozen=True, slots=True)
class Metric:
    """A measured and predicted figure as pages show it."""

    key: str
    name: str
    unit: str
    scale: float = 1.0

    def text(self, value: float | None) -> str:
        """Three digits and the unit, or a dash."""
        return NOTHING if value is None else f"{number(value / self.scale)} {self.unit}"

    def bare(self, value: float | None) -> str:
        """Three digits, or a dash."""
        return number(None if value is None else value / self.scale)


METRICS: Final = (
    Metric("decode_tokens_per_s", "decode", "tok/s"),
    Metric("prefill_tokens_per_s", "prefill", "tok/s"),
    Metric("first_token_seconds", "first token", "s"),
    Metric("load_seconds", "load", "s"),
    Metric("peak_bytes", "peak memory", "GB", _GIGABYTE),
)
DECODE, PREFILL, FIRST_TOKEN, LOAD, PEAK = METRICS


@dataclass(frozen=True, slots=True)
class Row(Entry):
    """One cell, with where its pages are and what it says at the time of the matrix.

    Attributes:
        told_apart: whether another device has the same name, so that the hardware has to be said.
    """

    now: datetime
    told_apart: bool

    @property
    def device_label(self) -> str:
        """The device by name, marked where its figures are not its own."""
        if self.told_apart:
            return self.device_name
        return f"{self.device.name} ({self.marks})" if self.marks else self.device.name

    @property
    def shown_in(self) -> SectionText:
        """The section it is shown in."""
        return _SECTION_TEXTS[self.section]

    @property
    def name(self) -> str:
        """The model, and the workload."""
        return f"{self.model} {self.workload}"

    @property
    def anchor(self) -> str:
        """Where on its device's page it is."""
        conditions = self.cell.conditions
        parts = (self.model, self.quantisation, self.runtime, conditions.source, conditions.variant)
        # Quoted, so that no two cells are the same text.
        return f"{self.shown_in.anchor}-{slug(' '.join(map(repr, parts)))}"

    @property
    def key(self) -> CellKey:
        """The cell as the store names it."""
        return CellKey(
            profile=self.device.profile,
            hardware=self.device.hardware,
            limited=self.cell.emulated,
            software_adapter=self.cell.software_adapter,
            model=self.model,
            quantisation=self.quantisation,
            variant=self.cell.conditions.variant,
            runtime=self.runtime,
            source=self.cell.conditions.source,
        )

    @property
    def device_page(self) -> str:
        """The page of its device, from the root of the site."""
        return f"devices/{slug(self.device_id)}.html"

    @property
    def model_page(self) -> str:
        """The page of its model, from the root of the site."""
        return f"models/{slug(self.model)}.html"

    @property
    def address(self) -> str:
        """Where its details are, from the root of the site."""
        return f"{self.device_page}#{self.anchor}"

    @property
    def expired(self) -> bool:
        """Whether the figures count as out of date."""
        return self.cell.expired(self.now)

    @property
    def outcome_words(self) -> str:
        """What became of it, in words: its tier where it ran, else the verdict."""
        return outcome_words(self.cell.verdict, self.cell.tier)

    @property
    def outcome_class(self) -> str:
        """The same for the style sheet."""
        return _outcome_class(self.cell.verdict, self.cell.tier)

    @property
    def predicted_words(self) -> str:
        """What was foretold, in the same words."""
        return outcome_words(self.cell.predicted.verdict, self.cell.predicted.tier)

    @property
    def predicted_class(self) -> str:
        """The same for the style sheet."""
        return _outcome_class(self.cell.predicted.verdict, self.cell.predicted.tier)

    @property
    def judgement(self) -> Judgement:
        """How most of the predictions turned out, the worse where there are as many."""
        counts = self.cell.judgements
        known = [judgement for judgement in _WORST_FIRST if counts.get(judgement)]
        return max(known, key=lambda judgement: counts[judgement], default=Judgement.UNKNOWN)

    def measured(self, metric: Metric) -> float | None:
        """The median, `None` where it was not measured."""
        return self.median(metric.key)

    def predicted(self, metric: Metric) -> Interval | None:
        """The predicted interval, `None` where there is none."""
        return self.cell.predicted.metrics.get(metric.key)


def _outcome_class(verdict: str, tier: Tier | None) -> str:
    return f"tier-{tier}" if verdict == Verdict.OK and tier is not None else verdict


def rows_of(matrix: Matrix) -> list[Row]:
    """All cells: section by section, then by device, model, and the best first."""
    now = matrix.meta.generated_at
    names = Counter(device.name for device in matrix.devices.values())
    rows = [
        Row(
            section=entry.section,
            model=entry.model,
            quantisation=entry.quantisation,
            runtime=entry.runtime,
            device_id=entry.device_id,
            device=entry.device,
            cell=entry.cell,
            now=now,
            told_apart=names[entry.device.name] > 1,
        )
        for text in SECTIONS
        for entry in entries(matrix, text.section)
    ]
    return sorted(rows, key=_order)


def _order(row: Row) -> tuple[object, ...]:
    """By section, device and model; inside of these the best first, and what does not run last."""
    tier = row.cell.tier
    return (
        SECTIONS.index(row.shown_in),
        row.device.name,
        row.device_id,
        row.model,
        row.cell.verdict is not Verdict.OK,
        -TIERS.index(tier) if tier is not None else 1,
        -(row.measured(DECODE) or 0.0),
        row.workload,
    )


def grouped(rows: Iterable[Row], key: Callable[[Row], K]) -> dict[K, list[Row]]:
    """The rows by a key, in the order of their first."""
    groups: dict[K, list[Row]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return dict(groups)


def by_section(rows: Iterable[Row]) -> list[tuple[SectionText, list[Row]]]:
    """The rows of each section that has any, in the sections' order."""
    groups = grouped(rows, lambda row: row.shown_in)
    return [(section, groups[section]) for section in SECTIONS if section in groups]


def holds(interval: Interval, value: float) -> bool:
    """Whether a measured value lies in the predicted interval."""
    return interval.low <= value <= interval.high
