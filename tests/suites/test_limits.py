"""The comparison of the limits suite: it must notice whatever is not as written."""

from __future__ import annotations

from typing import Any

import pytest

from suites.test_limits import CHEAP, FULL, GPU, LARGE, Limit

WORKS = Limit("works", "any", gives=8)
FAILS = Limit("fails", "any", error="RangeError: too large: ... (max 5)...")


def error(name: str, message: str) -> dict[str, Any]:
    return {"error": {"name": name, "message": message}}


@pytest.mark.parametrize("message", ["too large: 6 (max 5)", "too large: 6 (max 5).\n at x\n"])
def test_what_is_as_written_passes(message: str) -> None:
    WORKS.check({"ok": 8})
    FAILS.check(error("RangeError", message))


@pytest.mark.parametrize(
    ("limit", "outcome"),
    [
        (WORKS, {"ok": 7}),
        (WORKS, error("RangeError", "no")),
        (FAILS, {"ok": 8}),
        (FAILS, error("TypeError", "too large: 6 (max 5)")),
        (FAILS, error("RangeError", "not too large: 6 (max 5)")),
        (FAILS, error("RangeError", "too large: 6 [max 5]")),
    ],
)
def test_what_is_not_as_written_fails(limit: Limit, outcome: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        limit.check(outcome)


def test_every_limit_says_what_must_come_of_it() -> None:
    limits = (*CHEAP, *LARGE, *FULL, *GPU)
    assert len({limit.id for limit in limits}) == len(limits)
    for limit in limits:
        assert (limit.gives is None) is not (limit.error is None), limit.id
