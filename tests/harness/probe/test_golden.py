"""The predictions that JavaScript is held to are those that Python makes today."""

from __future__ import annotations

import json

from tests.harness.probe.golden import GOLDEN_PATH, text

STALE = "golden_predictions.json is stale: python -m tests.harness.probe.golden"


def test_the_file_is_not_stale() -> None:
    assert GOLDEN_PATH.read_text("utf-8") == text(), STALE


def test_it_has_every_kind_of_answer() -> None:
    cases = json.loads(GOLDEN_PATH.read_text("utf-8"))["cases"]
    assert len(cases) >= 20
    found = [case["expected"] for case in cases]
    assert {e["verdict"] for e in found} == {"ok", "oom", "unknown", "unsupported"}
    assert {e["calibrated"] for e in found} == {True, False}
    assert len({e["recipe"] for e in found}) >= 10
