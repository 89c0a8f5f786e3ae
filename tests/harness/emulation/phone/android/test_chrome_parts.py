"""Chrome's parts that are pure, and the bridge in front of its DevTools port."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.emulation.phone.android.chrome.arguments import (
    arguments,
    css_size,
    device_memory,
    heap_megabytes,
    identity,
    merged,
    read_flags,
)
from harness.emulation.phone.android.chrome.bridge import DevtoolsBridge
from harness.emulation.phone.android.chrome.executable import program_of
from harness.emulation.phone.android.chrome.stderr import gpu_exit, log_line
from harness.emulation.phone.android.state import Screen
from tests.harness.emulation.phone.android.fixtures import CHROME, Handset

if TYPE_CHECKING:
    from pathlib import Path

GIB = 1 << 30


def test_flags_are_read_as_chrome_reads_them() -> None:
    text = '_ --disable-fre --js-flags="--a --b" word --remote-debugging-port=1 --headless'
    assert read_flags(text) == ["--disable-fre", "--js-flags=--a --b"]
    assert read_flags("") == []


@given(st.text(max_size=200))
def test_flags_never_raise(text: str) -> None:
    assert all(flag.startswith("--") for flag in read_flags(text))


def test_a_later_flag_wins_and_features_are_joined() -> None:
    ours, theirs = ["--a=1", "--enable-features=X", "--c"], ["--enable-features=Y", "--a=2"]
    assert merged(ours, theirs) == ["--a=2", "--enable-features=X,Y", "--c"]


def test_arguments_follow_the_state(tmp_path: Path) -> None:
    state = Handset(tmp_path).state
    flags = ["--js-flags=--trace"]
    given_ = arguments(state, tmp_path, flags, version="156.0.1.2", gpu=False)
    assert "--use-webgpu-adapter=swiftshader" in given_
    assert "--window-size=412,915" in given_
    assert given_[-1] == "about:blank"
    assert [flag for flag in given_ if flag.startswith("--js-flags")] == flags
    assert "--use-webgpu-adapter=swiftshader" not in arguments(
        state, tmp_path, [], version="156", gpu=True
    )


@pytest.mark.parametrize(
    ("gib", "shown"), [(0.4, 1), (1.9, 2), (2.8, 2), (3.6, 4), (5.5, 4), (7.4, 8), (15, 8)]
)
def test_device_memory(gib: float, shown: float) -> None:
    assert device_memory(int(gib * GIB)) == shown


def test_figures_of_phones_and_tablets(tmp_path: Path) -> None:
    state = Handset(tmp_path).state
    assert css_size(Screen(1080, 2400, 420)) == (412, 915)
    assert (heap_megabytes(2 * GIB), heap_megabytes(8 * GIB)) == (1024, 2048)
    assert identity(state, "156.0.1.2")["userAgentMetadata"]["mobile"] is True  # type: ignore[index]
    state.screen = Screen(2560, 1600, 320)
    assert " Mobile" not in str(identity(state, "156.0.1.2")["userAgent"])


def test_stderr_becomes_the_log() -> None:
    line = log_line(
        "[17:19:0102/030405.678901:ERROR:third_party/blink/v8_initializer.cc:869] "
        "V8 javascript OOM (Ineffective mark-compacts)."
    )
    assert line == (
        17, 19, "E",
        "[ERROR:v8_initializer.cc(869)] V8 javascript OOM (Ineffective mark-compacts).",
    )  # fmt: skip
    assert log_line("<--- Last few GCs --->") == (None, None, "I", "<--- Last few GCs --->")
    assert log_line("DevTools listening on ws://127.0.0.1:1/x") is None
    assert gpu_exit("[1:1:1/1:ERROR:x.cc:1] GPU process exited unexpectedly: exit_code=9") == 9
    assert gpu_exit("fine") is None


@given(st.text(max_size=200))
def test_stderr_never_raises(text: str) -> None:
    found = log_line(text)
    assert found is None or found.priority in "VIWEF"


def test_the_program_behind_a_launcher(tmp_path: Path) -> None:
    launcher, program = tmp_path / "chromium-launcher", tmp_path / "chrome"
    launcher.write_text("#!/bin/sh\n", "utf-8")
    assert program_of(launcher) == launcher
    program.write_bytes(b"\x7fELF")
    program.chmod(0o755)
    assert program_of(launcher) == program
    assert program_of(program) == program


def test_the_bridge_names_the_package_and_passes_the_rest_on() -> None:
    version = json.dumps({"Browser": "HeadlessChrome/156.0"}).encode()

    async def browser(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"Upgrade" in head:
            writer.write(b"HTTP/1.1 101 Switching\r\n\r\n")
            writer.write((await reader.read(100)).upper())
            await writer.drain()
        else:
            body = version if b"/json/version" in head else await reader.readexactly(3)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(browser, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        name = f"tierlab-test-bridge-{port}"
        bridge = DevtoolsBridge(name, port, CHROME)
        await bridge.start()
        try:
            reader, writer = await asyncio.open_unix_connection(f"\0{name}")
            writer.write(b"GET /json/version HTTP/1.1\r\nHost: localhost\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            told = json.loads(await reader.readexactly(int(head.split(b"Content-Length:")[1])))
            assert told == {"Android-Package": CHROME, "Browser": "Chrome/156.0"}
            # The same connection again, with a body, and then as a websocket.
            writer.write(b"PUT /json/new HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc")
            assert (await reader.readuntil(b"abc")).endswith(b"\r\n\r\nabc")
            writer.write(b"GET /devtools HTTP/1.1\r\nUpgrade: websocket\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"hello")
            assert await reader.read(100) == b"HELLO"
            writer.close()
            garbage, out = await asyncio.open_unix_connection(f"\0{name}")
            out.write(b"\0" * 70_000 + b"\r\n\r\n")
            assert await garbage.read() == b""
            out.close()
        finally:
            await bridge.close()
            server.close()

    async def bounded() -> None:
        async with asyncio.timeout(20):
            await run()

    asyncio.run(bounded())
