from __future__ import annotations

from dataclasses import replace

import pytest

from results.calibration import Fit
from results.evaluation.cases import PROBE
from results.evaluation.counting import confusion, feasibility
from results.evaluation.folds import Split
from results.evaluation.load_baselines import RULES
from results.evaluation.outcomes import Outcome, foretell
from results.observation import Facts, Observation, Quantity
from results.record import Judgement, Verdict
from results.tiers import Tier
from tests.results.worlds import World

ONE = next(o for o in World().observations() if o.verdict is Verdict.OK)


def memory(*, margin: float | None = None) -> dict[Quantity, Fit]:
    """A fit that expects 2 GB, and from 1.6 to 3."""
    return {
        Quantity.MEMORY: Fit(
            factors={"fixed": 2.0},
            low=0.8,
            high=1.5,
            n=9,
            devices=3,
            median_error=0.1,
            p90_error=0.2,
            margin=margin,
        )
    }


@pytest.mark.parametrize(
    ("limit", "margin", "expected"),
    [
        (None, 1.2, ("ok", False)),
        (3_000_000_001, 1.2, ("ok", False)),
        (2_900_000_000, 1.2, ("ok", True)),
        (2_300_000_000, 1.2, ("oom", True)),
        (2_300_000_000, None, ("ok", True)),
        (1_500_000_000, None, ("oom", False)),
    ],
)
def test_memory_is_held_against_the_limit(
    limit: int | None, margin: float | None, expected: tuple[str, bool]
) -> None:
    assert foretell(replace(ONE, memory_limit_bytes=limit), memory(margin=margin)) == expected


def test_without_a_fit_of_memory_it_is_unknown() -> None:
    limit = ONE.file_bytes
    assert foretell(replace(ONE, memory_limit_bytes=limit), {}) == ("unknown", False)
    # But for a file that is larger by itself.
    assert foretell(replace(ONE, memory_limit_bytes=limit - 1), {}) == ("oom", False)


def test_the_address_space_comes_before_memory() -> None:
    small = replace(ONE, heap_bytes=(5e9, 4e9), memory_limit_bytes=None)
    assert foretell(small, {}) == ("oom", False)
    assert foretell(replace(small, heap_bytes=(3e9, 4e9)), {}) == ("ok", False)


def test_structure_comes_before_all() -> None:
    none = replace(ONE, too_much="no shader-f16", heap_bytes=(5e9, 4e9))
    assert foretell(none, {}) == ("unsupported", False)


def outcome(
    foretold: str,
    verdict: Verdict,
    tier: Tier | None = None,
    measured: Tier | None = None,
    **changes: object,
) -> Outcome:
    observation: Observation = replace(ONE, verdict=verdict, **changes)  # type: ignore[arg-type]
    return Outcome(PROBE, Split.DEVICE, observation, foretold, tier, measured)  # type: ignore[arg-type]


def test_recall_precision_and_regret() -> None:
    found = feasibility(
        [
            outcome("oom", Verdict.OOM),
            outcome("oom", Verdict.CRASH),
            outcome("oom", Verdict.OK, model="refused"),
            outcome("ok", Verdict.OOM, file_bytes=7, load_bytes=5, model="missed"),
            outcome("ok", Verdict.OK),
            outcome("unknown", Verdict.OOM),
            outcome("unsupported", Verdict.UNSUPPORTED),
            outcome("unsupported", Verdict.OOM),
            outcome("ok", Verdict.UNSUPPORTED, file_bytes=0, load_bytes=2),
            outcome("ok", Verdict.HANG, file_bytes=1, load_bytes=0),
        ]
    )
    assert found.oom_recall == pytest.approx(2 / 4)
    assert found.oom_precision == pytest.approx(2 / 3)
    assert found.unsupported_recall == pytest.approx(1 / 2)
    assert found.unsupported_precision == 1
    assert (found.in_vain, found.wasted_bytes) == (3, 7 + 2 + 1)
    assert (found.capable_refused, found.capable) == (1, 2)
    assert found.unknown == 1
    assert len(found.missed) == 2
    assert found.refused_wrongly == ("wllama/wasm refused/int4 on device-0.5-4g",)


def test_tiers_are_counted_with_what_did_not_run() -> None:
    found = confusion(
        [
            outcome("ok", Verdict.OK, Tier.HIGH, Tier.HIGH),
            outcome("ok", Verdict.OK, Tier.HIGH, Tier.LOW),
            outcome("ok", Verdict.OK, Tier.UNSUPPORTED, Tier.LOW),
            outcome("ok", Verdict.OOM, Tier.LOW),
            outcome("oom", Verdict.CRASH),
            outcome("unknown", Verdict.OK, None, Tier.LOW),
        ]
    )
    assert found.outcomes == ("high", "low", "too slow", "oom", "crash", "unknown")
    assert found.counts[0] == (1, 1, 0, 0, 0, 0)
    assert found.ran == 3
    assert found.tiers_agree == pytest.approx(1 / 3)
    assert (found.judged, found.unknown) == (5, 1)
    assert found.agree == pytest.approx(2 / 5)
    assert found.over_promise == pytest.approx(2 / 5)
    assert found.under_promise == pytest.approx(1 / 5)


def test_a_wrong_promise_is_judged_as_such() -> None:
    assert outcome("ok", Verdict.OOM).judgement is Judgement.OVER_PROMISE
    assert outcome("oom", Verdict.OK).judgement is Judgement.UNDER_PROMISE
    assert outcome("oom", Verdict.HANG).judgement is Judgement.RIGHT
    assert outcome("unknown", Verdict.OOM).judgement is Judgement.UNKNOWN


FACTS = Facts(
    device_memory_gib=8.0,
    max_buffer_bytes=1 << 30,
    max_binding_bytes=1 << 27,
    stream_bytes_per_s=1.8e10,
)


@pytest.mark.parametrize(
    ("rule", "changes", "expected"),
    [
        ("always load", {}, None),
        ("adapter limits", {"runtime": "wllama/wasm"}, None),
        ("adapter limits", {"file_bytes": 1 << 31}, 2.0),
        ("adapter limits", {"file_bytes": 1, "facts": Facts()}, float("inf")),
        ("deviceMemory", {"file_bytes": 1 << 32}, 0.5),
        ("deviceMemory", {"facts": Facts()}, None),
        ("gallery's minimum memory", {"file_bytes": 584_417_280}, 6 / 4),
        ("gallery's minimum memory", {"file_bytes": 2_588_147_712}, 8 / 4),
        ("gallery's minimum memory", {"file_bytes": 4_919_541_760}, 12 / 4),
        ("Chrome's thresholds", {}, 0.5),
        ("Chrome's thresholds", {"memory_limit_bytes": 2 << 30}, float("inf")),
        ("file against memory", {"file_bytes": 1 << 30}, 0.25),
    ],
)
def test_simpler_rules(rule: str, changes: dict[str, object], expected: float | None) -> None:
    start = replace(ONE, runtime="litert-lm/webgpu", facts=FACTS, memory_limit_bytes=4 << 30)
    observation: Observation = replace(start, **changes)  # type: ignore[arg-type]
    found = RULES[rule](observation)
    assert found == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("tokens_per_s", "tier", "near"),
    [(9.5, Tier.MEDIUM, True), (7.0, Tier.MEDIUM, False), (9.5, Tier.LOW, False)],
)
def test_a_tier_that_is_missed_by_little_is_near(
    tokens_per_s: float, tier: Tier, *, near: bool
) -> None:
    # Medium is from 10 tokens a second on.
    seconds = {Quantity.DECODE: 1 / tokens_per_s, Quantity.PREFILL: 1e-3}
    observation = replace(ONE, measured=seconds)
    assert Outcome(PROBE, Split.DEVICE, observation, "ok", tier, Tier.LOW).near is near
