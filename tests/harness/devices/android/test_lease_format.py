from __future__ import annotations

import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.devices.android.lease_format import (
    EXPIRY_SECONDS,
    Noted,
    PhoneTime,
    Seen,
    highest,
    note_text,
    parse_note,
    parse_seen,
    parse_time,
)

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
WORDS = st.text(st.characters(codec="utf-8"), max_size=100)


def noted(**changes: object) -> Noted:
    given_ = {
        "host": "lab-1",
        "host_id": "ab",
        "resource": "phone-x",
        "owner": "run 7",
        "since": AT,
        "boot": "b1",
        "uptime": 1000.0,
    }
    return Noted.model_validate(given_ | changes)


def seen(*lines: str, now: str = "b1 1010.5") -> Seen:
    return parse_seen("\n".join([now, *lines]))


@given(WORDS, WORDS, WORDS)
def test_a_note_comes_back_as_it_was(host: str, owner: str, resource: str) -> None:
    text = note_text(noted(host=host, owner=owner, resource=resource))
    assert text.isascii()
    assert not set(text) & set("\\'`$\n\r\t%") - {"%"}
    assert len(text) < 4096
    assert parse_note(text) == noted(host=host, owner=owner, resource=resource)


@given(st.text())
def test_whatever_a_phone_answers_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        found = parse_seen(text)
        assert found.number >= 0
        assert isinstance(found.held, bool)
        assert found.holder


def test_an_answer_without_a_time_is_refused() -> None:
    with pytest.raises(ValueError, match="does not tell its time"):
        parse_seen("sh: cannot open")


@given(st.lists(st.text(alphabet="0123456789.beatpr [*]", max_size=15)))
def test_the_highest_number_of_any_names(names: list[str]) -> None:
    numbers = [
        int(n) for n in names if n.isascii() and n.isdecimal() and len(n) < 10 and n[0] != "0"
    ]
    assert highest(names) == max(numbers, default=0)


def test_a_phone_that_nobody_ever_held() -> None:
    found = seen()
    assert (found.number, found.free, found.held) == (0, True, False)


def test_the_highest_note_decides() -> None:
    found = seen(f"9 {note_text(noted(owner='old'))}", "10 free", "10.beat b1 1.0", "rubbish")
    assert (found.number, found.free, found.held) == (10, True, False)
    assert found.older == ("9", "10", "10.beat")
    found = seen("10 free", f"11 {note_text(noted())}")
    assert found.held
    assert found.noted == noted()
    assert found.holder == str(noted())


def test_the_last_sign_is_the_beat_and_before_that_the_beginning() -> None:
    note = f"3 {note_text(noted())}"
    assert seen(note).silent_seconds == pytest.approx(10.5)
    assert seen(note, "3.beat b1 1009.00 77.0").last_sign is not None
    assert seen(note, "3.beat b1 1009.00").silent_seconds == pytest.approx(1.5)
    assert seen(note, "3.beat ").silent_seconds == pytest.approx(10.5)
    assert seen(note, "2.beat b1 1009.00").silent_seconds == pytest.approx(10.5)


@pytest.mark.parametrize(
    ("now", "silent"),
    [
        ("b1 1300", EXPIRY_SECONDS),
        ("b2 20", 20.0),  # another boot: for how long it was off, nobody knows
        ("b2 5000", 5000.0),
        ("b1 900", 900.0),  # before its own beginning: no sign of this boot
        ("- 1300", 1300.0),
    ],
)
def test_for_how_long_there_was_no_sign(now: str, silent: float) -> None:
    found = seen(f"3 {note_text(noted())}", now=now)
    assert found.silent_seconds == pytest.approx(silent)
    assert found.held is (silent < EXPIRY_SECONDS)


def test_a_note_that_cannot_be_read_counts_as_long_as_its_beat() -> None:
    found = seen("3 {}", "3.beat b1 1009.00")
    assert found.held
    assert found.noted is None
    assert found.holder == "somebody whose note cannot be read"
    assert not seen("3 {}").held


def test_whose_note_it_is() -> None:
    assert noted().is_by(noted(owner="another run", uptime=5.0))
    for other in ({"host": "lab-2"}, {"host_id": "cd"}, {"resource": "phone-y"}):
        assert not noted().is_by(noted(**other))


def test_times() -> None:
    assert parse_time("0a-1 12.50 3.00") is None
    assert parse_time(" 0a-1 12.50\n") == PhoneTime("0a-1", 12.5)
    assert parse_time("- 0") == PhoneTime("-", 0)
