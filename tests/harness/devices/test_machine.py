"""What the machine is, and how long is waited until it is at rest."""

from __future__ import annotations

import asyncio

import pytest

from harness.devices.machine import REST_SECONDS, REST_VARIABLE, cpu_name, quiet, rest_seconds
from harness.errors import UserError


@pytest.mark.parametrize(
    ("busy", "expected"),
    [
        ([90.0, 90, 5, 5], True),
        ([5.0, 50, 5, 50], False),  # never two quiet windows in a row
        ([90.0, 90, 90, 90], False),
    ],
)
def test_rest_is_two_quiet_windows_in_a_row(busy: list[float], *, expected: bool) -> None:
    readings = iter([100.0, *busy])  # the first reading covers the time before
    rested = asyncio.run(quiet(lambda: next(readings), window=0.001, within=0.004))
    assert rested is expected


@pytest.mark.parametrize(("text", "seconds"), [("0", 0.0), ("2.5", 2.5), ("", REST_SECONDS)])
def test_how_long_to_wait(monkeypatch: pytest.MonkeyPatch, text: str, seconds: float) -> None:
    monkeypatch.setenv(REST_VARIABLE, text)
    assert rest_seconds() == seconds


def test_without_the_variable_it_is_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(REST_VARIABLE)
    assert rest_seconds() == 10


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "inf", "1 s"])
def test_what_is_no_time_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(REST_VARIABLE, text)
    with pytest.raises(UserError, match="is no number of seconds") as caught:
        rest_seconds()
    assert caught.value.next_step == "give 0 or more, or leave it out for 10"


def test_a_processor_has_a_name() -> None:
    assert cpu_name()
