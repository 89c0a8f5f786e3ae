from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from harness.devices.device_state import Condition, DeviceState, Note, change, load, load_all
from harness.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TIERLAB_STATE", str(tmp_path))
    return tmp_path / "devices"


def struck(state: DeviceState) -> DeviceState:
    return state.model_copy(update={"strikes": state.strikes + 1})


def test_a_device_that_nothing_is_known_of_is_ready_and_leaves_no_file(state: Path) -> None:
    known = load("phone-A1")
    assert (known.condition, known.reason, known.strikes) == (Condition.READY, "", 0)
    assert load_all() == []
    assert not state.exists()


def test_what_was_changed_is_there_for_the_next_run() -> None:
    note = Note(text="new cable", by="ada", at=NOW)

    def how(state: DeviceState) -> DeviceState:
        return state.model_copy(update={"drained": note, "since": NOW})

    written = change("phone-A1", how)
    change("machine", struck)
    assert load("phone-A1") == written
    assert written.drained == note
    assert [known.resource for known in load_all()] == ["machine", "phone-A1"]


def test_a_change_that_changes_nothing_writes_nothing(state: Path) -> None:
    change("machine", lambda known: known)
    assert not (state / "machine.json").exists()


def test_changes_at_the_same_time_are_all_made() -> None:
    with ThreadPoolExecutor(8) as many:
        list(many.map(lambda _: change("machine", struck), range(40)))
    assert load("machine").strikes == 40


@pytest.mark.parametrize("text", ["", "{", "[]", '{"resource": "machine", "strikes": -1}'])
def test_a_broken_file_is_no_clean_bill_of_health(state: Path, text: str) -> None:
    change("machine", struck)
    (state / "machine.json").write_text(text)
    assert load("machine").condition is Condition.UNHEALTHY
    assert load_all()[0].condition is Condition.UNHEALTHY


def test_a_file_of_another_device_is_not_taken_for_this_one(state: Path) -> None:
    change("phone-A1", struck)
    (state / "phone-A1.json").rename(state / "phone-B2.json")
    assert load("phone-B2").condition is Condition.UNHEALTHY


def test_a_change_that_fails_leaves_the_state_as_it_was(state: Path) -> None:
    before = change("machine", struck)
    with pytest.raises(ZeroDivisionError):
        change("machine", lambda known: struck(known) if 1 // 0 else known)
    assert load("machine") == before
    assert sorted(path.name for path in state.iterdir()) == ["machine.json", "machine.lock"]


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "phone-\x1b[2J", "x" * 201])
def test_what_is_no_name_of_a_device_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="no name of a device"):
        load(name)


def test_a_state_that_cannot_be_written_is_explained(state: Path) -> None:
    state.write_text("in the way")
    with pytest.raises(UserError, match="state of machine cannot be written"):
        change("machine", struck)
