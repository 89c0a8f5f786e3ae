"""A and B in one run: two browsers, or two versions of a runtime, in turns.

The trials of a round are a pair: what the machine did meanwhile met both sides, so that their ratio
is known better than from two runs. Which side and round a trial was is part of its record; the
comparison follows from the records, and can be made again at any time.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from pydantic import Field, ValidationError

from results.figures import Figures
from results.record import Part, Record, Verdict
from results.regressions.comparison import COMPARED, TOLERANCE, Change, Comparison, compare_rounds

if TYPE_CHECKING:
    from collections.abc import Sequence

FACT: Final = "ab"
"""Under which name of a record's facts the mark is."""

_NO_STATEMENT: Final = frozenset({Verdict.INFRA, Verdict.CASCADE})


class Mark(Part):
    """Which trial of a comparison a record is. Rounds count from 0."""

    by: Literal["browser", "runtime"]
    side: Literal["A", "B"]
    round: int = Field(ge=0)
    tolerance: float = Field(default=TOLERANCE, gt=0)


@dataclass(frozen=True, slots=True)
class AbOutcome:
    """What came of one workload on one device: B held against A.

    Attributes:
        a: the version of the one, such as `chromium 156.0.8078.108`.
        b: the version of the other.
        rounds: how many rounds have a trial of both that says something of the device.
        not_at_rest: trials during which something else kept the host busy.
    """

    profile: str
    workload: str
    by: str
    a: str
    b: str
    rounds: int
    not_at_rest: int
    tolerance: float
    comparisons: tuple[Comparison, ...]

    @property
    def regressed(self) -> list[Comparison]:
        """The figures by which B is worse than A."""
        return [c for c in self.comparisons if c.change is Change.REGRESSED]


def marked(record: Record, mark: Mark) -> Record:
    """The record, saying which trial of a comparison it is."""
    facts = {**record.conditions.facts, FACT: mark.model_dump(mode="json")}
    return record.model_copy(
        update={"conditions": record.conditions.model_copy(update={"facts": facts})}
    )


def mark_of(record: Record) -> Mark | None:
    """Which trial of a comparison a record is; `None` of any other, whatever its device says."""
    try:
        return Mark.model_validate(record.conditions.facts.get(FACT))
    except ValidationError:
        return None


def ab_outcomes(records: Sequence[Record]) -> list[AbOutcome]:
    """The comparisons that the records of one run hold, in the order in which they began."""
    found: dict[tuple[str, str, str], list[tuple[Mark, Record]]] = defaultdict(list)
    for record in records:
        mark = mark_of(record)
        if mark is not None:
            found[record.device.profile, _workload(record), mark.by].append((mark, record))
    return [_outcome(*key, trials) for key, trials in found.items()]


def _workload(record: Record) -> str:
    asked = record.workload
    lengths = f"{asked.prompt_tokens}+{asked.output_tokens} tokens"
    source = "" if asked.source == "network" else f" from {asked.source}"
    return f"{asked.weights} on {asked.runtime}{source}, {lengths}"


def _outcome(
    profile: str, workload: str, by: str, trials: Sequence[tuple[Mark, Record]]
) -> AbOutcome:
    sides: dict[str, dict[int, Record]] = {"A": {}, "B": {}}
    for mark, record in trials:
        # A trial that the lab spoiled was run once more, in the same place.
        if record.verdict not in _NO_STATEMENT:
            sides[mark.side][mark.round] = record
    both = sorted(sides["A"].keys() & sides["B"].keys())
    pairs = [(sides["A"][number], sides["B"][number]) for number in both]
    rounds = [(Figures.of(a), Figures.of(b)) for a, b in pairs]
    tolerance = trials[0][0].tolerance
    return AbOutcome(
        profile=profile,
        workload=workload,
        by=by,
        a=_versions(by, [record for mark, record in trials if mark.side == "A"]),
        b=_versions(by, [record for mark, record in trials if mark.side == "B"]),
        rounds=len(rounds),
        not_at_rest=sum(r.conditions.host_at_rest is False for pair in pairs for r in pair),
        tolerance=tolerance,
        comparisons=tuple(compare_rounds(figure, rounds, tolerance) for figure in COMPARED),
    )


def _versions(by: str, records: Sequence[Record]) -> str:
    """What one side was; more than one only where something was updated in the middle of a run."""
    names = {
        f"{r.conditions.browser} {r.conditions.browser_version}"
        if by == "browser"
        else r.conditions.runtime_version
        for r in records
    }
    return ", ".join(sorted(names)) or "-"
