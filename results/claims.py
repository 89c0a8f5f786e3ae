"""What articles claim of models on devices, held against what was measured.

A claim is data (`claims.toml`): a ratio of one figure of two artifacts of the same model. It is
held against repeated loads of both, made in turns, on one device and engine:

    confirmed        every round reached what is promised, and the two sides are apart
    refuted          no round reached it
    not measurable   a side gave no figures, there were too few rounds, the sides ran under
                     different conditions, or the rounds disagree: the noise is as large as the
                     effect

"Every" and "no" are meant of the bounds of the median (`bounds`): up to eight rounds that is the
lowest and the highest value. Two sides of three rounds each that differ in nothing are apart in
that direction once in 20 times.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - pydantic reads annotations at run time
from enum import StrEnum
from functools import cache
from importlib.resources import files
from statistics import median
from typing import TYPE_CHECKING, Any, Final, Literal

from results.record import Part, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from results.record import Record

LEAST_ROUNDS: Final = 3
"""Below that many loads of each side nothing is said of a figure that varies."""

_CHANCE: Final = 0.05


class Figure(StrEnum):
    """What is compared."""

    FILE = "file_bytes"
    PEAK = "peak_bytes"
    DECODE = "decode_tokens_per_s"
    PREFILL = "prefill_tokens_per_s"

    @property
    def is_size(self) -> bool:
        """Whether less is better."""
        return self in {Figure.FILE, Figure.PEAK}

    @property
    def varies(self) -> bool:
        """Whether it differs from load to load."""
        return self is not Figure.FILE


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two artifacts that a claim compares.

    Attributes:
        quantisation: The general name, such as `int8`.
        variant: `pruned-50`, or empty.
    """

    quantisation: str
    variant: str = ""

    def __str__(self) -> str:
        return f"{self.quantisation} {self.variant}".rstrip()


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim: `low` to `high` is the ratio of the subject's figure to the baseline's."""

    id: str
    text: str
    figure: Figure
    subject: Side
    baseline: Side
    low: float
    high: float
    source: str

    @property
    def promise(self) -> float:
        """The end of the range that has to be reached."""
        return self.high if self.figure.is_size else self.low


def parse_claims(text: str) -> tuple[Claim, ...]:
    """The claims in a TOML text of the form of `claims.toml`.

    Raises:
        ValueError: an entry lacks something, its range is none, or two have one id.
    """
    found = tuple(_claim(entry) for entry in tomllib.loads(text).get("claim", []))
    if not found:
        raise ValueError("there are no claims")
    if len({claim.id for claim in found}) < len(found):
        raise ValueError("two claims have one id")
    return found


def _claim(entry: dict[str, Any]) -> Claim:
    name = entry.get("id", "a claim without an id")
    words = ("id", "text", "figure", "subject", "baseline", "source")
    if set(entry) != {*words, "ratio"}:
        raise ValueError(f"{name}: needs exactly {', '.join(words)} and ratio")
    if not all(isinstance(entry[word], str) and entry[word] for word in words):
        raise ValueError(f"{name}: {', '.join(words)} are texts")
    low, high = (float(value) for value in entry["ratio"])
    if not 0 < low < high < math.inf:
        raise ValueError(f"{name}: {low} to {high} is no range")
    return Claim(
        id=name,
        text=entry["text"],
        figure=Figure(entry["figure"]),
        subject=Side(*entry["subject"].split()),
        baseline=Side(*entry["baseline"].split()),
        low=low,
        high=high,
        source=entry["source"],
    )


@cache
def claims() -> tuple[Claim, ...]:
    """The project's own list."""
    return parse_claims(files("results").joinpath("claims.toml").read_text(encoding="utf-8"))


class Status(StrEnum):
    """What came of a claim."""

    CONFIRMED = "confirmed"
    REFUTED = "refuted"
    NOT_MEASURABLE = "not measurable here"


class Bounds(Part):
    """A median between bounds; see `bounds`."""

    n: int
    low: float
    median: float
    high: float


class Measured(Part):
    """One side: what was really loaded, its figure, and the trials that say so."""

    quantisation: str
    variant: str
    figure: Bounds | None
    threads: tuple[int | None, ...]
    verdicts: tuple[Verdict, ...]
    trials: tuple[str, ...]


class Outcome(Part):
    """A claim held against one engine on one device, with everything that it rests on."""

    kind: Literal["claim"] = "claim"
    run_id: str
    at: datetime
    profile: str
    runtime: str
    model: str
    prompt_tokens: int
    output_tokens: int
    claim: str
    text: str
    source: str
    claimed_low: float
    claimed_high: float
    figure: Figure
    status: Status
    explanation: str
    ratio: Bounds | None
    subject: Measured
    baseline: Measured


def figure_of(record: Record, figure: Figure) -> float | None:
    """The figure of one load; `None` where it did not come to a good end or did not measure it."""
    if record.verdict is not Verdict.OK or record.measurement is None:
        return None
    measured = record.measurement
    match figure:
        case Figure.FILE:
            value: float | None = record.artifact.total_bytes if record.artifact else None
        case Figure.PEAK:
            value = measured.memory.engine_bytes
        case Figure.DECODE:
            value = measured.decode_tokens_per_s
        case Figure.PREFILL:
            value = measured.prefill_tokens_per_s
    return value if value and math.isfinite(value) else None


def bounds(values: Sequence[float]) -> Bounds | None:
    """The median with the order statistics that hold it at least 19 times in 20.

    As of the sign test: k values are left out at each end, with k the largest number for which at
    most k of n coins fall one way no more often than once in 20 times, both ways together. Of up to
    eight values that leaves out none. Fewer than six hold the median less often than 19 times in 20
    (three values: 3 times in 4).
    """
    if not values:
        return None
    ordered = sorted(values)
    n, left_out = len(ordered), 0
    while 2 * sum(math.comb(n, k) for k in range(left_out + 2)) <= _CHANCE * 2**n:
        left_out += 1
    return Bounds(
        n=n, low=ordered[left_out], median=median(ordered), high=ordered[n - 1 - left_out]
    )


def assess(
    claim: Claim, subject: Sequence[Record], baseline: Sequence[Record], at: datetime
) -> Outcome:
    """Hold a claim against the loads of both sides.

    Args:
        claim: what is claimed.
        subject: loads of its subject, round by round.
        baseline: loads of its baseline, in the same rounds.
        at: when this is said.

    Raises:
        ValueError: the sides have no loads or not as many, or the loads are not of one device,
            engine, model and length.
    """
    everything = (*subject, *baseline)
    if not subject or len(subject) != len(baseline):
        raise ValueError(f"{claim.id}: {len(subject)} loads against {len(baseline)}")
    if len({_same(record) for record in everything}) > 1:
        raise ValueError(f"{claim.id}: the loads are not of one device, engine, model and length")
    pairs = [
        (above, below)
        for one, other in zip(subject, baseline, strict=True)
        if (above := figure_of(one, claim.figure)) and (below := figure_of(other, claim.figure))
    ]
    ratio = bounds([above / below for above, below in pairs])
    sides = _measured(claim, subject), _measured(claim, baseline)
    hindrance = _hindrance(claim, everything)
    if hindrance is None and ratio and sides[0].figure and sides[1].figure:
        status, explanation = _judge(claim, ratio, sides[0].figure, sides[1].figure)
    else:
        status, explanation = Status.NOT_MEASURABLE, hindrance or "there are no figures"
    first = everything[0]
    return Outcome(
        run_id=first.run_id,
        at=at,
        profile=first.device.profile,
        runtime=first.workload.runtime,
        model=first.workload.model,
        prompt_tokens=first.workload.prompt_tokens,
        output_tokens=first.workload.output_tokens,
        claim=claim.id,
        text=claim.text,
        source=claim.source,
        claimed_low=claim.low,
        claimed_high=claim.high,
        figure=claim.figure,
        status=status,
        explanation=explanation,
        ratio=ratio,
        subject=sides[0],
        baseline=sides[1],
    )


def _same(record: Record) -> tuple[object, ...]:
    """What must not differ between the loads of one claim."""
    asked = record.workload
    return (
        record.run_id,
        record.device.profile,
        record.conditions.runtime_version,
        asked.runtime,
        asked.model,
        asked.prompt_tokens,
        asked.output_tokens,
        asked.source,
    )


def _measured(claim: Claim, records: Sequence[Record]) -> Measured:
    values = [figure_of(record, claim.figure) for record in records]
    return Measured(
        quantisation=records[0].workload.quantisation,
        variant=records[0].workload.variant,
        figure=bounds([value for value in values if value]),
        threads=tuple(sorted({record.conditions.threads for record in records}, key=str)),
        verdicts=tuple(record.verdict for record in records),
        trials=tuple(record.trial_id for record in records),
    )


def _hindrance(claim: Claim, records: Sequence[Record]) -> str | None:
    """Why the loads say nothing of the claim, or `None`."""
    for record in records:
        if figure_of(record, claim.figure) is None:
            side = Side(record.workload.quantisation, record.workload.variant)
            return f"no figure of {side}: {record.verdict}, {record.explanation}"
    threads = sorted({str(record.conditions.threads) for record in records})
    if len(threads) > 1:
        return f"the loads had different numbers of threads: {', '.join(threads)}"
    rounds = len(records) // 2
    if claim.figure.varies and rounds < LEAST_ROUNDS:
        return f"{rounds} rounds; it takes {LEAST_ROUNDS}"
    return None


def _judge(claim: Claim, ratio: Bounds, subject: Bounds, baseline: Bounds) -> tuple[Status, str]:
    said = f"{_times(ratio)}, claimed {claim.low:g} to {claim.high:g}"
    small = claim.figure.is_size
    best, worst = (ratio.low, ratio.high) if small else (ratio.high, ratio.low)
    if (best > claim.promise) if small else (best < claim.promise):
        return Status.REFUTED, f"{said}: {_wrong(claim, subject, baseline)}"
    if (worst > claim.promise) if small else (worst < claim.promise):
        return Status.NOT_MEASURABLE, f"{said}: the rounds disagree"
    if not _apart(claim, subject, baseline):
        return Status.NOT_MEASURABLE, f"{said}: the difference is inside the noise"
    beyond = ratio.median < claim.low if small else ratio.median > claim.high
    return Status.CONFIRMED, f"{said}: more than is claimed" if beyond else said


def _times(ratio: Bounds) -> str:
    if ratio.n == 1 or ratio.low == ratio.high:
        return f"{ratio.median:.3g} times"
    return f"{ratio.median:.3g} times ({ratio.low:.3g} to {ratio.high:.3g}, n = {ratio.n})"


def _wrong(claim: Claim, subject: Bounds, baseline: Bounds) -> str:
    """In which way a promise was not kept."""
    if _apart(claim, subject, baseline):
        return "less than is claimed"
    return "the other way round" if _apart(claim, baseline, subject) else "no effect was seen"


def _apart(claim: Claim, subject: Bounds, baseline: Bounds) -> bool:
    """Whether the subject is on the better side of the baseline in every round."""
    if claim.figure.is_size:
        return subject.high < baseline.low
    return subject.low > baseline.high
