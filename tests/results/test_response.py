"""The budget of three seconds: measured where a load ran, predicted otherwise."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from results.claims_table import response_table
from results.record import Interval, Measurement, MemoryUse, Prediction, Spread, Verdict
from results.response import (
    ANSWER,
    BUDGET_SECONDS,
    PROMPT,
    Kept,
    Response,
    measured_response,
    predicted_response,
    within_budget,
)
from tests.results.records import interval, record

if TYPE_CHECKING:
    from results.record import Record

AT = datetime(2025, 1, 2, tzinfo=UTC)
WORKLOAD = record().workload.model_copy(update={"prompt_tokens": PROMPT, "output_tokens": ANSWER})


def load(decode_ms: float, prefill_s: float = 0.64, **changes: Any) -> Record:
    """A load of 2 + 3 s; the first prompt takes 0.5 s more than it does later."""
    measurement = Measurement(
        download_seconds=2.0,
        create_seconds=3.0,
        first_token_seconds=prefill_s + 0.5,
        warm_first_token_seconds=prefill_s,
        prefill_tokens_per_s=PROMPT / prefill_s,
        decode_ms=Spread(n=30, median=decode_ms, p10=decode_ms, p90=decode_ms),
        memory=MemoryUse(processes={}),
        wall_seconds=30.0,
    )
    return record(**{"workload": WORKLOAD, "measurement": measurement, **changes})


def predicted(prediction: Prediction) -> Response:
    return predicted_response(WORKLOAD, prediction, run_id="r", profile="desktop", at=AT)


class TestMeasured:
    def test_the_parts_add_up(self) -> None:
        found = measured_response([load(10), load(20), load(60)], AT)
        assert found.warm_seconds is not None
        assert found.cold_seconds is not None
        assert found.warm_seconds.low == pytest.approx(0.64 + 31 * 0.010)
        assert found.warm_seconds.expected == pytest.approx(0.64 + 31 * 0.020)
        assert found.warm_seconds.high == pytest.approx(0.64 + 31 * 0.060)
        assert found.cold_seconds.low == pytest.approx(5.5 + 0.64 + 31 * 0.010)
        assert (found.warm, found.cold, found.n) == (Kept.YES, Kept.NO, 3)
        assert found.explanation == ""
        assert Response.model_validate_json(found.model_dump_json()) == found

    def test_other_lengths_are_scaled_and_said_so(self) -> None:
        short = WORKLOAD.model_copy(update={"prompt_tokens": 16, "output_tokens": 8})
        found = measured_response([load(10, workload=short)], AT)
        assert found.warm_seconds is not None
        assert found.warm_seconds.expected == pytest.approx(0.64 + 31 * 0.010)
        assert "scaled from loads of 16+8 tokens" in found.explanation

    def test_a_load_that_failed_is_told(self) -> None:
        oom = load(10, verdict=Verdict.OOM, explanation="too large", measurement=None)
        found = measured_response([load(10), oom], AT)
        assert (found.n, found.explanation) == (1, "1 loads gave no figures")
        found = measured_response([oom], AT)
        assert (found.warm, found.cold) == (Kept.CANNOT, Kept.CANNOT)
        assert found.explanation == "oom: too large"

    def test_a_fault_of_the_lab_says_nothing_of_the_device(self) -> None:
        lost = load(10, verdict=Verdict.INFRA, explanation="no page", measurement=None)
        found = measured_response([lost], AT)
        assert (found.warm, found.cold) == (Kept.EITHER, Kept.EITHER)

    def test_no_loads(self) -> None:
        with pytest.raises(ValueError, match="no loads"):
            measured_response([], AT)


class TestPredicted:
    def test_slow_goes_with_slow(self) -> None:
        prediction = Prediction(
            verdict="ok",
            reason="it fits",
            load_seconds=Interval(low=1, expected=2, high=3),
            first_token_seconds=Interval(low=0.5, expected=1, high=2),
            prefill_tokens_per_s=Interval(low=32, expected=64, high=128),
            decode_tokens_per_s=Interval(low=15.5, expected=31, high=62),
        )
        found = predicted(prediction)
        assert found.warm_seconds == Interval(low=0.5 + 0.5, expected=1 + 1, high=2 + 2)
        assert found.cold_seconds == Interval(low=2, expected=4, high=7)
        assert (found.warm, found.cold, found.basis) == (Kept.EITHER, Kept.EITHER, "predicted")
        assert found.explanation == "predicted ok: it fits"

    @pytest.mark.parametrize("verdict", ["unsupported", "oom"])
    def test_what_cannot_run_has_no_time(self, verdict: Any) -> None:
        found = predicted(
            Prediction(
                verdict=verdict,
                reason="why",
                prefill_tokens_per_s=interval(1e3),
                decode_tokens_per_s=interval(1e3),
            )
        )
        assert (found.warm, found.cold) == (Kept.CANNOT, Kept.CANNOT)
        assert found.warm_seconds is None
        assert found.explanation == f"predicted {verdict}: why"

    def test_what_is_not_known(self) -> None:
        found = predicted(Prediction(verdict="unknown", reason="not measured"))
        assert (found.warm, found.cold) == (Kept.EITHER, Kept.EITHER)
        stands_still = Interval(low=0, expected=1, high=2)
        found = predicted(
            Prediction(
                verdict="ok",
                reason="",
                prefill_tokens_per_s=interval(1e3),
                decode_tokens_per_s=stands_still,
            )
        )
        assert found.warm_seconds is None

    def test_a_prediction_for_another_prompt(self) -> None:
        with pytest.raises(ValueError, match="16 tokens"):
            predicted_response(
                record().workload,
                Prediction(verdict="ok", reason=""),
                run_id="r",
                profile="p",
                at=AT,
            )


def test_the_border() -> None:
    for low, high, kept in (
        (0.0, BUDGET_SECONDS, Kept.YES),
        (BUDGET_SECONDS, 9.0, Kept.EITHER),
        (BUDGET_SECONDS + 0.1, 9.0, Kept.NO),
    ):
        assert within_budget(Interval(low=low, expected=low, high=high)) is kept
    assert within_budget(None) is Kept.EITHER


def test_the_table_fits_a_terminal() -> None:
    console = Console(width=80, color_system=None)
    gone = Prediction(verdict="unsupported", reason="no\x1b[2J graph of [red]its[/] family")
    with console.capture() as captured:
        console.print(response_table([measured_response([load(10)], AT), predicted(gone)]))
    text = " ".join(captured.get().split())
    for words in ("within", "missed", "does not run", "n = 1", "predicted", "[red]its[/]"):
        assert words in text
    assert "\x1b" not in text
    assert max(len(line) for line in captured.get().splitlines()) <= 80
