"""The log: rings, formats, and the options of `logcat`."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.devices.android.logcat import parse_line
from harness.emulation.phone.android.logcat import RING_ENTRIES, Entry, Logcat, format_entry
from harness.emulation.phone.android.logcat_options import OptionError, parse
from tests.harness.emulation.phone.android.fixtures import Handset, Streams, until

if TYPE_CHECKING:
    from pathlib import Path

ENTRY = Entry(1, 1_700_000_000.125, "main", 3946, 3950, 10152, "I", "chromium", "one\ntwo")


@pytest.mark.parametrize(
    ("style", "modifiers", "first"),
    [
        ("threadtime", (), "11-14 22:13:20.125  3946  3950 I chromium: one"),
        ("brief", (), "I/chromium( 3946): one"),
        ("time", (), "11-14 22:13:20.125 I/chromium( 3946): one"),
        ("tag", (), "I/chromium: one"),
        ("raw", (), "one"),
        ("threadtime", ("year", "usec"), "2023-11-14 22:13:20.125000  3946  3950 I chromium: one"),
        ("threadtime", ("epoch", "uid"), "1700000000.125 10152: 3946  3950 I chromium: one"),
    ],
)
def test_formats(style: str, modifiers: tuple[str, ...], first: str) -> None:
    lines = format_entry(ENTRY, style, modifiers).splitlines()
    assert lines[0] == first
    assert lines[1].endswith("two")


def test_a_line_is_one_that_the_harness_reads() -> None:
    found = parse_line(format_entry(ENTRY, "threadtime", {"epoch"}).splitlines()[0])
    assert found is not None
    assert (found.pid, found.tag, found.message) == (3946, "chromium", "one")


def test_each_buffer_is_a_ring_of_its_own() -> None:
    log = Logcat()
    log.write("I", "kept", "in its own buffer", buffer="events")
    for number in range(RING_ENTRIES + 10):
        log.write("I", "t", str(number))
    assert log.entries(["main"])[0].message == "10"
    assert [entry.tag for entry in log.entries(["events"])] == ["kept"]
    log.limits["main"] = 300
    log.write("I", "t", "x" * 100)
    assert log.used("main") <= 300


def test_options() -> None:
    options = parse(["-d", "-b", "main,events", "-v", "time,usec", "-t5", "ab:W", "*:S"])
    assert (options.dump, options.buffers, options.style) == (True, ["main", "events"], "time")
    assert (options.tail, options.filters, options.default) == (5, {"ab": "W"}, "S")
    assert parse(["-T", "1700000000.5"]).tail == 1_700_000_000.5
    assert isinstance(parse(["-T", "11-14 22:13:20.123"]).tail, float)
    assert parse([]).buffers == ["main", "system", "crash"]


@given(st.lists(st.text(max_size=12), max_size=6))
def test_options_never_raise_anything_else(words: list[str]) -> None:
    with suppress(OptionError):
        assert parse(words).buffers


def test_what_is_shown(tmp_path: Path) -> None:
    phone = Handset(tmp_path)
    phone.say("log -t mine -p e hello there")
    phone.state.log.write("I", "am_proc_died", "[0]", buffer="events")
    assert "E mine    : hello there" in phone.say("logcat -d").out
    assert "am_proc_died" not in phone.say("logcat -d").out
    shown = phone.say("logcat -d -b all mine:E *:S").out
    assert shown.splitlines()[0] == "--------- beginning of main"
    assert "am_proc_died" not in shown
    assert re.search(
        r"main: ring buffer is 256 KiB \(\d+ KiB consumed\)", phone.say("logcat -g").out
    )
    assert phone.say("logcat -c").out == ""
    assert phone.say("logcat -d").out == ""
    bad = phone.say("logcat -b nonsense")
    assert (bad.code, bad.out) == (1, "")
    assert phone.unknown["logcat -b nonsense"] == 1


def test_a_stream_goes_on_until_it_is_cancelled(tmp_path: Path) -> None:
    async def follow() -> str:
        phone = Handset(tmp_path)
        io = Streams()
        task = asyncio.ensure_future(phone.system.commands["logcat"](["logcat", "-v", "tag"], io))
        await phone.run("log -t a first")
        await until(lambda: _has(io, b"first"))
        await phone.run("log -t a second")
        await until(lambda: _has(io, b"second"))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return io.stdout.decode()

    assert asyncio.run(follow()).splitlines()[-2:] == ["I/a       : first", "I/a       : second"]


async def _has(io: Streams, text: bytes) -> bool:
    return text in io.stdout
