from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.tiers import (
    TIERS,
    Tier,
    decode_tier,
    lower,
    pair_tier,
    parse_thresholds,
    prefill_tier,
    rows,
    thresholds,
)

speeds = st.floats(min_value=0, max_value=1e6)

ENTRIES = """
[[{phase}]]
tier = "low"
tokens_per_s = {low}
source = "a"
[[{phase}]]
tier = "medium"
tokens_per_s = 2
source = "b"
[[{phase}]]
tier = "high"
tokens_per_s = 3
source = {source}
"""


def toml(low: float = 1, source: str = '"c"') -> str:
    return ENTRIES.format(phase="prefill", low=1, source='"c"') + ENTRIES.format(
        phase="decode", low=low, source=source
    )


@pytest.mark.parametrize(
    ("speed", "tier"),
    [
        (0.0, "unsupported"),
        (4.999, "unsupported"),
        (5.0, "low"),
        (9.99, "low"),
        (10.0, "medium"),
        (20.0, "high"),
        (1e9, "high"),
    ],
)
def test_decode(speed: float, tier: str) -> None:
    assert decode_tier(speed) == tier


@pytest.mark.parametrize(
    ("speed", "tier"),
    [(49.9, "unsupported"), (50, "low"), (75, "medium"), (149, "medium"), (150, "high")],
)
def test_prefill(speed: float, tier: str) -> None:
    assert prefill_tier(speed) == tier


@pytest.mark.parametrize("speed", [-1.0, float("nan")])
def test_what_is_not_a_speed_is_refused(speed: float) -> None:
    with pytest.raises(ValueError, match="not a speed"):
        decode_tier(speed)


@given(speeds, speeds)
def test_a_faster_device_is_never_in_a_lower_tier(a: float, b: float) -> None:
    slow, fast = sorted((a, b))
    assert TIERS.index(decode_tier(slow)) <= TIERS.index(decode_tier(fast))


@given(speeds, speeds)
def test_the_pair_is_the_lower_of_the_two(prefill: float, decode: float) -> None:
    pair = pair_tier(prefill_tokens_per_s=prefill, decode_tokens_per_s=decode)
    both = (prefill_tier(prefill), decode_tier(decode))
    assert pair in both
    assert pair == lower(*both)
    assert all(TIERS.index(pair) <= TIERS.index(tier) for tier in both)


def test_thresholds_of_ones_own() -> None:
    assert decode_tier(2.5, parse_thresholds(toml())) is Tier.MEDIUM


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "prefill: needs the tiers low, medium, high"),
        (toml(low=2), "decode, medium: 2.0 is not above 2.0"),
        (toml(low=0), "decode, low: 0.0 is not above 0.0"),
        (toml(source='""'), "decode, high: has no source"),
        (toml().replace('"medium"', '"fair"'), "needs the tiers"),
    ],
)
def test_bad_thresholds_are_named(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_thresholds(text)


def test_every_number_has_a_source_and_a_row() -> None:
    table = rows()
    steps = [*thresholds().prefill, *thresholds().decode]
    assert len(table) == len(steps) + 2
    assert all(all(cell for cell in row) for row in table)
    assert ("decode", "medium", "from 10") in [row[:3] for row in table]


def test_results_do_not_need_the_harness() -> None:
    code = "import sys, results.tiers; sys.exit('harness' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
