from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import settings as tries
from hypothesis import strategies as st

from harness.devices.android import settings as settings_module
from harness.devices.android.adb import TransportLostError
from harness.devices.android.settings import (
    WANTED,
    Former,
    note,
    parse_note,
    parse_settings,
    prepared,
    put_back,
    wake,
)
from tests.harness.devices.android.server import SERIAL, FakeServer, play

if TYPE_CHECKING:
    from pathlib import Path

    from harness.devices.android.adb import Adb

# Settings as files; the phone's other commands leave a trace.
PHONE = r"""
settings() {
  [ -e "$ROOT/locked-$3" ] && { echo "java.lang.SecurityException: Permission denial"; return 0; }
  case $1 in
    list) for f in "$ROOT/$2".*; do [ -e "$f" ] && echo "${f##*/$2.}=$(cat "$f")"; done ;;
    put) printf %s "$4" > "$ROOT/$2.$3" ;;
    delete) rm -f "$ROOT/$2.$3"; echo "Deleted 1 rows" ;;
  esac
}
dumpsys() {
  case "$1 $2" in
    "deviceidle enabled") cat "$ROOT/doze" ;;
    "deviceidle disable") echo 0 > "$ROOT/doze" ;;
    "deviceidle enable") echo 1 > "$ROOT/doze" ;;
    "power "*) echo "  mWakefulness=$(cat "$ROOT/screen")" ;;
  esac
}
input() { [ "$2" = KEYCODE_WAKEUP ] && s=Awake || s=Asleep; echo $s > "$ROOT/screen"; }
wm() { :; }
"""
BEFORE = {
    "global.stay_on_while_plugged_in": "0",
    "global.window_animation_scale": "1.0",
    "global.device_name": "a phone; with $(odd) 'quotes'=x",
    "system.screen_brightness": "17",
    "system.screen_brightness_mode": "1",
    "system.screen_off_timeout": "30000",
    "doze": "1",
    "screen": "Asleep",
}


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A phone as it was before; its note lies below it, too."""
    monkeypatch.setattr(settings_module, "NOTE", str(tmp_path / "note.json"))
    for name, value in BEFORE.items():
        (tmp_path / name).write_text(value)
    return tmp_path


def state(root: Path) -> dict[str, str]:
    return {path.name: path.read_text().strip() for path in root.iterdir()}


def test_a_phone_is_prepared_and_put_back(root: Path) -> None:
    async def body(_: FakeServer, adb: Adb) -> None:
        async with prepared(adb.phone(SERIAL)) as failed:
            assert failed == ()
            during = state(root)
            for (space, key), value in WANTED.items():
                assert during[f"{space}.{key}"] == value
            assert (during["doze"], during["screen"]) == ("0", "Awake")
            assert during["global.device_name"] == BEFORE["global.device_name"]
            assert parse_note(during["note.json"]) is not None

    play(root, body, prelude=PHONE)
    assert state(root) == BEFORE


def test_put_back_after_an_error(root: Path) -> None:
    async def body(_: FakeServer, adb: Adb) -> None:
        with pytest.raises(ZeroDivisionError):
            async with prepared(adb.phone(SERIAL)):
                raise ZeroDivisionError

    play(root, body, prelude=PHONE)
    assert state(root) == BEFORE


def test_a_phone_that_is_lost_is_put_back_by_the_next_run(root: Path) -> None:
    async def body(fake: FakeServer, adb: Adb) -> None:
        phone = adb.phone(SERIAL)
        async with prepared(phone):
            fake.unplug()
            with pytest.raises(TransportLostError):
                await phone.run("echo")
        assert state(root)["system.screen_brightness"] == "102"
        fake.devices[SERIAL] = "device"
        async with prepared(phone):
            assert state(root)["system.screen_brightness"] == "102"

    play(root, body, prelude=PHONE)
    assert state(root) == BEFORE


def test_a_user_may_put_a_phone_back_without_a_run(root: Path) -> None:
    async def body(fake: FakeServer, adb: Adb) -> None:
        phone = adb.phone(SERIAL)
        assert not await put_back(phone)
        async with prepared(phone):
            fake.unplug()
        fake.devices[SERIAL] = "device"
        assert await put_back(phone)

    play(root, body, prelude=PHONE)
    assert state(root) == BEFORE


def test_what_a_phone_forbids_is_told_and_nothing_is_forgotten(root: Path) -> None:
    async def body(_: FakeServer, adb: Adb) -> None:
        phone = adb.phone(SERIAL)
        async with prepared(phone):
            (root / "locked-screen_brightness").touch()
        # It could not be put back: the note stays, and its value survives a whole further run.
        assert (root / "note.json").exists()
        async with prepared(phone) as failed:
            assert any("Permission denial" in reason for reason in failed)
            (root / "locked-screen_brightness").unlink()

    play(root, body, prelude=PHONE)
    assert state(root) == BEFORE


def test_settings_that_cannot_be_read_are_left_alone(root: Path) -> None:
    async def body(_: FakeServer, adb: Adb) -> None:
        async with prepared(adb.phone(SERIAL)) as failed:
            assert len(failed) == len(WANTED)
            assert state(root)["system.screen_brightness"] == "17"

    play(root, body, prelude=PHONE + 'settings() { [ "$1" != list ] || return 1; exit 9; }')
    assert state(root) == BEFORE


def test_a_lock_screen_is_waited_for(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings_module, "WAKE_SECONDS", 20)
    locked = (
        PHONE
        + """
dumpsys() {
  echo look >> "$ROOT/looks"
  [ $(wc -l < "$ROOT/looks") -gt 4 ] && [ ! -e "$ROOT/secret" ] && showing=false || showing=true
  [ $1 = window ] && printf 'KeyguardServiceDelegate\\n  showing=%s\\n' $showing
}
"""
    )

    async def body(_: FakeServer, adb: Adb) -> None:
        assert await wake(adb.phone(SERIAL))
        (root / "secret").touch()
        monkeypatch.setattr(settings_module, "WAKE_SECONDS", 0.05)
        assert not await wake(adb.phone(SERIAL))

    monkeypatch.setattr(settings_module, "_POLL_SECONDS", 0.01)
    play(root, body, prelude=locked)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        '{"format": 2, "settings": [], "doze": true, "screen_on": true}',
        '{"format": 1, "settings": {}, "doze": true, "screen_on": true}',
        '{"format": 1, "settings": [], "doze": 1, "screen_on": true}',
        "[" * 100_000,
    ],
)
def test_what_is_no_note(text: str) -> None:
    assert parse_note(text) is None


def test_a_note_says_nothing_but_what_this_module_sets() -> None:
    rows = [
        ["global", "adb_enabled", "0"],
        ["system", "screen_brightness", "x" * 1000],
        ["system", "screen_brightness", 5],
        ["system", "user_rotation", "1"],
        ["global"],
        7,
    ]
    content = {"format": 1, "settings": rows, "doze": False, "screen_on": True}
    assert parse_note(json.dumps(content)) == Former(
        {("system", "user_rotation"): "1"}, doze=False, screen_on=True
    )


@tries(deadline=None)
@given(
    st.dictionaries(st.sampled_from(sorted(WANTED)), st.none() | st.text(min_size=1, max_size=200)),
    st.booleans(),
    st.booleans(),
)
def test_a_note_is_read_as_it_was_written(
    values: dict[tuple[str, str], str | None],
    doze: bool,
    screen_on: bool,
) -> None:
    former = Former(values, doze, screen_on)
    assert note(former).isascii()
    assert parse_note(note(former)) == former


@tries(deadline=None)
@given(st.text())
def test_no_text_makes_the_readers_raise(text: str) -> None:
    parse_note(text)
    parse_settings(text)
