"""The response budget: whether an answer is there within three seconds.

An answer is `ANSWER` tokens to a prompt of `PROMPT` tokens. *Warm*: the engine stands, so it is the
prefill and the decode steps after it; the first token comes out of the prefill. *Cold*: the load,
the first prompt with what its first use costs, and the same decode steps.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic reads annotations at run time
from enum import StrEnum
from statistics import median
from typing import TYPE_CHECKING, Final, Literal

from results.record import Interval, Part, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from results.record import Measurement, Prediction, Record, WorkloadRecord

BUDGET_SECONDS: Final = 3.0
PROMPT: Final = 64
ANSWER: Final = 32


class Kept(StrEnum):
    """Whether a time is within the budget."""

    YES = "within"
    NO = "missed"
    EITHER = "uncertain"
    CANNOT = "does not run"


class Response(Part):
    """How long a workload takes to answer, warm and cold, and where the figures are from.

    Measured intervals are lowest, median and highest of `n` loads; predicted ones are the
    prediction's. `None`: not known.
    """

    kind: Literal["response"] = "response"
    run_id: str
    at: datetime
    profile: str
    runtime: str
    model: str
    quantisation: str
    variant: str
    budget_seconds: float = BUDGET_SECONDS
    prompt_tokens: int = PROMPT
    answer_tokens: int = ANSWER
    basis: Literal["measured", "predicted"]
    n: int
    warm_seconds: Interval | None
    cold_seconds: Interval | None
    warm: Kept
    cold: Kept
    explanation: str


def measured_response(records: Sequence[Record], at: datetime) -> Response:
    """The response of a workload from its loads; those of other lengths are scaled.

    Raises:
        ValueError: there are no loads.
    """
    if not records:
        raise ValueError("there are no loads")
    good = [r for r in records if r.verdict is Verdict.OK and r.measurement is not None]
    times = [pair for r in good if r.measurement and (pair := _times(r.measurement))]
    first = records[0]
    if not times:
        worst = next((r for r in records if r.verdict is not Verdict.OK), first)
        cannot = worst.verdict not in {Verdict.INFRA, Verdict.CASCADE, Verdict.OK}
        kept = Kept.CANNOT if cannot else Kept.EITHER
        return _response(
            first.workload, first.run_id, first.device.profile, at, basis="measured",
            n=len(records), warm=None, cold=None, kept=kept,
            explanation=f"{worst.verdict}: {worst.explanation}",
        )  # fmt: skip
    asked = first.workload
    scaled = (asked.prompt_tokens, asked.output_tokens) != (PROMPT, ANSWER)
    said = f"scaled from loads of {asked.prompt_tokens}+{asked.output_tokens} tokens"
    lost = len(records) - len(times)
    notes = [*([said] if scaled else []), *([f"{lost} loads gave no figures"] if lost else [])]
    cold = [one for _, one in times if one is not None]
    return _response(
        asked, first.run_id, first.device.profile, at, basis="measured", n=len(times),
        warm=_spread([warm for warm, _ in times]), cold=_spread(cold),
        kept=None, explanation="; ".join(notes),
    )  # fmt: skip


def predicted_response(
    workload: WorkloadRecord,
    prediction: Prediction,
    *,
    run_id: str,
    profile: str,
    at: datetime,
) -> Response:
    """The response of a workload that was not loaded, from its prediction.

    The prediction must be for a prompt of `PROMPT` tokens.

    Raises:
        ValueError: it is for another prompt.
    """
    if workload.prompt_tokens != PROMPT:
        raise ValueError(f"predicted for {workload.prompt_tokens} tokens, not for {PROMPT}")
    said = f"predicted {prediction.verdict}: {prediction.reason}"
    prefill, decode = prediction.prefill_tokens_per_s, prediction.decode_tokens_per_s
    runs = prediction.verdict in {"ok", "unknown"}
    warm = cold = None
    if runs and prefill and decode:
        steps = _seconds(ANSWER - 1, decode)
        warm = _sum(_seconds(PROMPT, prefill), steps)
        load, first = prediction.load_seconds, prediction.first_token_seconds
        cold = _sum(load, first, steps) if load and first else None
    return _response(
        workload, run_id, profile, at, basis="predicted", n=0, warm=warm, cold=cold,
        kept=None if runs else Kept.CANNOT, explanation=said,
    )  # fmt: skip


def within_budget(seconds: Interval | None) -> Kept:
    """Whether an interval of seconds is within the budget."""
    if seconds is None:
        return Kept.EITHER
    if seconds.high <= BUDGET_SECONDS:
        return Kept.YES
    return Kept.NO if seconds.low > BUDGET_SECONDS else Kept.EITHER


def _response(
    asked: WorkloadRecord,
    run_id: str,
    profile: str,
    at: datetime,
    *,
    basis: Literal["measured", "predicted"],
    n: int,
    warm: Interval | None,
    cold: Interval | None,
    kept: Kept | None,
    explanation: str,
) -> Response:
    return Response(
        run_id=run_id,
        at=at,
        profile=profile,
        runtime=asked.runtime,
        model=asked.model,
        quantisation=asked.quantisation,
        variant=asked.variant,
        basis=basis,
        n=n,
        warm_seconds=warm,
        cold_seconds=cold,
        warm=kept or within_budget(warm),
        cold=kept or within_budget(cold),
        explanation=explanation,
    )


def _times(measured: Measurement) -> tuple[float, float | None] | None:
    """Seconds of a warm and of a cold answer, as far as one load measured them."""
    prefill, decode = measured.prefill_tokens_per_s, measured.decode_tokens_per_s
    if not prefill or not decode:
        return None
    warm = PROMPT / prefill + (ANSWER - 1) / decode
    if measured.create_seconds is None:
        return warm, None
    load = (measured.download_seconds or 0.0) + measured.create_seconds
    return warm, load + (measured.first_use_seconds or 0.0) + warm


def _spread(values: Sequence[float]) -> Interval | None:
    if not values:
        return None
    return Interval(low=min(values), expected=median(values), high=max(values))


def _seconds(tokens: int, speed: Interval) -> Interval | None:
    if speed.low <= 0:
        return None
    return Interval(
        low=tokens / speed.high, expected=tokens / speed.expected, high=tokens / speed.low
    )


def _sum(*parts: Interval | None) -> Interval | None:
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    return Interval(
        low=sum(part.low for part in known),
        expected=sum(part.expected for part in known),
        high=sum(part.high for part in known),
    )
