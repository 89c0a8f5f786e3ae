"""The deadline of a run, and how its options are read."""

from __future__ import annotations

from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import UserError
from harness.fleet.deadline import Deadline
from harness.fleet.run_options import checked_run_id, deadline_of


def test_it_passes_when_its_time_is_over() -> None:
    deadline = Deadline.after(10.0, "10s", now=lambda: 100.0)
    assert not deadline.passed(now=lambda: 109.9)
    assert deadline.passed(now=lambda: 110.0)
    assert deadline.reason == "the deadline of 10s has passed"
    assert Deadline(**asdict(deadline)) == deadline  # as workers are told it


def asked(span: str | None) -> Any:
    return SimpleNamespace(option=SimpleNamespace(deadline=span))


@pytest.mark.parametrize("span", ["2h", "90m", "5400s", "1.5h"])
def test_spans(span: str) -> None:
    found = deadline_of(asked(span))
    assert found is not None
    assert found.span == span
    assert not found.passed()


def test_without_one() -> None:
    assert deadline_of(asked(None)) is None


@pytest.mark.parametrize("span", ["", "2", "soon", "0s", "-1h"])
def test_what_is_no_span(span: str) -> None:
    with pytest.raises(UserError, match=r"^--deadline: .* is not a span of time\n  -> write it"):
        deadline_of(asked(span))


@pytest.mark.parametrize("name", ["nightly-2026-11-26", "a" * 100, "0b1c.x_y"])
def test_names_of_runs(name: str) -> None:
    assert checked_run_id(name) == name


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "a b", "a" * 101, "a\n", "-x", "é"])
def test_names_that_no_run_can_have(name: str) -> None:
    with pytest.raises(UserError, match="cannot name a run\n  -> take up to 100 letters"):
        checked_run_id(name)
