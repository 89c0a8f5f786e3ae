from __future__ import annotations

import asyncio
import signal
import struct
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.emulation.phone.protocol import Command, Packet
from harness.emulation.phone.shell import Watcher
from harness.emulation.phone.shell_protocol import HEADER, Kind, frame, window_size
from tests.harness.emulation.phone.wire import make_phone, wired

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def frames(data: bytes) -> tuple[bytes, bytes, int | None]:
    """Standard output, standard error and exit code of a `shell,v2` answer."""
    parts: dict[int, bytes] = {Kind.STDOUT: b"", Kind.STDERR: b"", Kind.EXIT: b""}
    while data:
        kind, length = HEADER.unpack_from(data)
        parts[kind] += data[HEADER.size : HEADER.size + length]
        data = data[HEADER.size + length :]
    code = parts[Kind.EXIT]
    return parts[Kind.STDOUT], parts[Kind.STDERR], code[0] if code else None


def shell(root: Path, line: str, typed: bytes = b"", unknown: list[str] | None = None) -> bytes:
    async def ask() -> bytes:
        phone = make_phone(root, [] if unknown is None else unknown, [])
        async with wired(phone) as (host, _):
            await host.connect()
            return await host.ask(f"shell,v2,raw:{line}", typed + frame(Kind.CLOSE_STDIN, b""))

    return asyncio.run(ask())


def test_a_command_of_the_registry_needs_no_shell(tmp_path: Path) -> None:
    assert frames(shell(tmp_path, "say a b  c")) == (b"a b c", b"", 3)


def test_outputs_are_apart_and_the_exit_code_is_told(tmp_path: Path) -> None:
    assert frames(shell(tmp_path, "echo out; echo err >&2; exit 9")) == (b"out\n", b"err\n", 9)


def test_a_signal_is_told_as_a_shell_does(tmp_path: Path) -> None:
    assert frames(shell(tmp_path, "kill -9 $$"))[2] == 137


def test_input_reaches_a_program_and_a_command_to_its_end(tmp_path: Path) -> None:
    typed = b"".join(frame(Kind.STDIN, bytes(50_000)) for _ in range(8))
    assert frames(shell(tmp_path, "wc -c", typed))[0].strip() == b"400000"
    assert frames(shell(tmp_path, "swallow", typed))[0] == b"400000"


def test_what_no_shell_knows_is_counted_and_fails(tmp_path: Path) -> None:
    unknown: list[str] = []
    assert frames(shell(tmp_path, "no-such-program; echo on", unknown=unknown))[2] == 0
    assert frames(shell(tmp_path, "no-such-program 2>/dev/null", unknown=unknown))[2] == 127
    assert unknown == ["no-such-program", "no-such-program 2>/dev/null"]


@pytest.mark.parametrize(
    ("said", "name"),
    [
        (b"/system/bin/sh: foo: inaccessible or not found\n", "foo"),  # mksh of Android
        (b"E: /system/bin/sh: foo: inaccessible or not found\n", "foo"),  # mksh of Debian
        (b"sh: 1: foo: not found\n", "foo"),  # dash
        (b"sh: line 1: foo: command not found\n", "foo"),  # bash
        (b"x\n/system/bin/sh: /data/foo: not found\ny", "/data/foo"),
    ],
)
def test_how_shells_say_that_there_is_no_such_command(said: bytes, name: str) -> None:
    for cut in range(len(said)):
        found: Counter[str] = Counter()
        watcher = Watcher(lambda word, found=found: found.update([word]))  # type: ignore[misc]
        watcher.look(said[:cut])
        watcher.look(said[cut:])
        watcher.end(0, "")
        assert found == {name: 1}


def test_other_complaints_are_none() -> None:
    found: list[str] = []
    watcher = Watcher(found.append)
    watcher.look(b"ls: x: not found\ncat: y: No such file\n/system/bin/sh: x: Permission denied\n")
    watcher.end(1, "false")
    assert found == []


@pytest.fixture
def hangups() -> Iterator[None]:
    """Who starts the tests by nohup leaves SIGHUP ignored for all that they start."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hangups")
def test_a_shell_is_hung_up_when_its_host_closes_the_stream(tmp_path: Path) -> None:
    async def check() -> None:
        async with wired(make_phone(tmp_path, [], [])) as (host, _):
            await host.connect()
            opened = await host.open(
                "shell,v2,raw:trap 'touch hung-up; exit' HUP; echo; sleep 60 & wait"
            )
            await host.receive()
            await host.send(Packet(Command.CLSE, opened.arg1, opened.arg0))
            async with asyncio.timeout(10):
                while not (tmp_path / "hung-up").exists():  # noqa: ASYNC110 - a process's
                    await asyncio.sleep(0.02)

    asyncio.run(check())


def test_exec_gets_the_end_of_its_input_and_finishes_without_its_host(tmp_path: Path) -> None:
    async def check() -> None:
        async with wired(make_phone(tmp_path, [], [])) as (host, _):
            await host.connect()
            opened = await host.open("exec:cat > part && mv part whole")
            await host.send(Packet(Command.WRTE, opened.arg1, opened.arg0, b"content"))
            await host.expect(Command.OKAY)
            await host.send(Packet(Command.CLSE, opened.arg1, opened.arg0))
            async with asyncio.timeout(10):
                while not (tmp_path / "whole").exists():  # noqa: ASYNC110 - a process's
                    await asyncio.sleep(0.02)

    asyncio.run(check())
    assert (tmp_path / "whole").read_bytes() == b"content"


def test_a_terminal_has_a_size_and_echoes(tmp_path: Path) -> None:
    async def ask() -> bytes:
        async with wired(make_phone(tmp_path, [], [])) as (host, _):
            await host.connect()
            size = frame(Kind.WINDOW_SIZE, b"24x99,0x0\0")
            typed = size + frame(Kind.STDIN, b"stty size; exit 4\n")
            return await host.ask("shell,v2,TERM=xterm,pty:", typed)

    out, err, code = frames(asyncio.run(ask()))
    assert b"24 99\r\n" in out
    assert (err, code) == (b"", 4)


@settings(deadline=None)
@given(st.binary(max_size=20))
def test_no_window_size_raises_and_each_fits_its_structure(data: bytes) -> None:
    size = window_size(data)
    if size is not None:
        struct.pack("HHHH", *size)
