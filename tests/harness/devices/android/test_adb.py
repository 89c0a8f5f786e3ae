from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from harness.devices.android import phone as phone_module
from harness.devices.android import server as server_module
from harness.devices.android import transfer
from harness.devices.android.adb import (
    Adb,
    Attached,
    CommandError,
    CommandTimeoutError,
    Output,
    TransportLostError,
)
from harness.errors import UserError
from tests.harness.devices.android.server import SERIAL, FakeServer, play

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TCP = "127.0.0.1:5555"
DF = (
    "df() {{ echo 'X 1K-blocks Used Available Use% Mounted on'; echo '/d 9999999 1 {} 9% /data'; }}"
)
ROOMY, FULL = DF.format(9_999_999), DF.format(1024)


@pytest.fixture
def silent() -> Iterator[int]:
    """A port on which something listens that is no adb server."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    taken, _ = listening.accept()
                    taken.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                    taken.close()

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(timeout=5)


def test_what_is_attached_is_in_order_with_adb_s_words(tmp_path: Path) -> None:
    long = "no permissions (user in plugdev group; are your udev rules wrong?); see [http://x]"

    async def body(fake: FakeServer, adb: Adb) -> None:
        fake.devices = {"z": "device", "a": "unauthorized", "????????????": long}
        assert await adb.attached() == [
            Attached("????????????", "no permissions"),
            Attached("a", "unauthorized"),
            Attached("z", "device"),
        ]

    play(tmp_path, body)


def test_a_command_and_how_it_ends(tmp_path: Path) -> None:
    async def body(_: FakeServer, adb: Adb) -> None:
        phone = adb.phone(SERIAL)
        assert await phone.run("echo out; echo err >&2") == Output("out\n", 0, "err\n")
        assert (await phone.run(["echo", "$HOME; a  b"])).text == "$HOME; a  b\n"
        assert (await phone.run("exit 4", check=False)).exit_code == 4
        with pytest.raises(CommandError, match="exit code 3; it said: because") as raised:
            await phone.run("echo because >&2; exit 3")
        assert (raised.value.exit_code, raised.value.output) == (3, "because\n")
        assert await phone.output(["printf", r"\000\377"], within=5) == b"\0\xff"

    play(tmp_path, body)


def test_a_phone_without_the_shell_protocol_has_exit_codes_too(tmp_path: Path) -> None:
    async def body(fake: FakeServer, adb: Adb) -> None:
        phone = adb.phone(SERIAL)
        done = await phone.run("echo out; exit 5", check=False)
        assert (done.text, done.exit_code) == ("out\n", 5)
        assert any(request.startswith("exec:") for request in fake.requests)
        assert [line async for line in phone.lines("echo 1; echo 2")] == ["1", "2"]

    play(tmp_path, body, features="cmd")


@pytest.mark.parametrize("features", ["shell_v2", "cmd"])
def test_unplugged_in_the_middle_of_a_command(tmp_path: Path, features: str) -> None:
    async def body(fake: FakeServer, adb: Adb) -> None:
        phone = adb.phone(SERIAL)
        running = asyncio.create_task(phone.run("echo begun; touch begun; sleep 20"))
        await exists(tmp_path / "begun")
        fake.unplug()
        with pytest.raises(TransportLostError):
            await running
        with pytest.raises(TransportLostError) as raised:
            await phone.run("echo")
        assert SERIAL not in str(raised.value)  # it may end up in a record

    play(tmp_path, body, features=features)


def test_unplugged_in_the_middle_of_a_stream(tmp_path: Path) -> None:
    async def body(fake: FakeServer, adb: Adb) -> None:
        lines = adb.phone(SERIAL).lines("echo one; touch begun; sleep 20")
        assert await anext(lines) == "one"
        await exists(tmp_path / "begun")
        fake.unplug("offline")
        with pytest.raises(TransportLostError):
            await anext(lines)

    play(tmp_path, body)


def test_a_stream_ends_with_its_command_s_code(tmp_path: Path) -> None:
    async def body(_: FakeServer, adb: Adb) -> None:
        with pytest.raises(CommandError, match="exit code 2"):
            async for _line in adb.phone(SERIAL).lines("echo one; exit 2"):
                pass

    play(tmp_path, body)


def test_a_slow_command_and_a_dead_phone_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phone_module, "PING_SECONDS", 0.3)

    async def body(fake: FakeServer, adb: Adb) -> None:
        phone = adb.phone(SERIAL)
        with pytest.raises(CommandTimeoutError, match="the phone answers"):
            await phone.run("sleep 20", within=0.3)
        fake.dead.add(SERIAL)
        with pytest.raises(TransportLostError, match="does not answer"):
            await phone.run("echo", within=0.3)

    play(tmp_path, body)


def test_a_cancelled_call_leaves_nothing_behind(tmp_path: Path) -> None:
    async def body(fake: FakeServer, adb: Adb) -> None:
        phone = adb.phone(SERIAL)
        before = set(threading.enumerate())
        running = asyncio.create_task(phone.run("touch begun; sleep 20"))
        await exists(tmp_path / "begun")
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        async with asyncio.timeout(5):
            while fake.open:  # noqa: ASYNC110 - until the server has seen it
                await asyncio.sleep(0.01)
        # Not their number: a thread of an earlier test in this process may end meanwhile.
        assert set(threading.enumerate()) <= before

    play(tmp_path, body)


def test_a_server_that_speaks_in_riddles_is_a_lost_transport(silent: int) -> None:
    async def body() -> None:
        with pytest.raises(TransportLostError):
            await Adb(port=silent).attached()
        with pytest.raises(TransportLostError):
            await Adb(port=silent).phone(SERIAL).run("echo")

    asyncio.run(body())


def test_a_port_of_another_program_is_named(silent: int) -> None:
    with pytest.raises(UserError, match=f"port {silent} is in use by a program that is no adb"):
        asyncio.run(Adb(port=silent).ensure_server())


def test_an_ancient_server_is_named(tmp_path: Path) -> None:
    async def body(fake: FakeServer, adb: Adb) -> None:
        with pytest.raises(UserError, match=r"1\.0\.31.*\n.*adb -P \d+ kill-server"):
            await adb.ensure_server()
        fake.version = "0029"
        await adb.ensure_server()

    play(tmp_path, body, version="001f")


def test_no_adb_program(monkeypatch: pytest.MonkeyPatch) -> None:
    async def none() -> str:
        raise UserError("there is no adb program on this machine", "install it")

    monkeypatch.setattr(server_module, "adb_binary", none)
    with pytest.raises(UserError, match="no adb program"):
        asyncio.run(Adb(port=free_port()).ensure_server())


def test_an_adb_program_that_does_not_start_a_server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "adb"
    program.write_text("#!/bin/sh\necho 'cannot bind: no luck' >&2; exit 1\n")
    program.chmod(0o755)

    async def broken() -> str:
        return str(program)

    monkeypatch.setattr(server_module, "adb_binary", broken)
    with pytest.raises(UserError, match="it said: cannot bind: no luck"):
        asyncio.run(Adb(port=free_port()).ensure_server())


def test_a_server_elsewhere_is_not_started() -> None:
    with pytest.raises(UserError, match=r"192\.0\.2\.1|no adb server"):
        asyncio.run(Adb(host="localhost.invalid", port=1).ensure_server())


@pytest.mark.parametrize("text", ["no", "0", "65536", "-1", "5037 "])
def test_a_port_that_is_none(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(server_module.PORT_VARIABLE, text)
    with pytest.raises(UserError, match="which is no port"):
        Adb()


def test_the_port_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(server_module.PORT_VARIABLE, "15037")
    assert Adb().port == 15037
    monkeypatch.delenv(server_module.PORT_VARIABLE)
    assert Adb().port == 5037


@pytest.mark.parametrize(
    ("said", "step"),
    [
        ("failed to connect to '127.0.0.1:5555': Connection refused", "in the same network"),
        ("failed to authenticate to 127.0.0.1:5555", "Allow USB debugging"),
    ],
)
def test_a_phone_that_cannot_be_connected(tmp_path: Path, said: str, step: str) -> None:
    async def body(_: FakeServer, adb: Adb) -> None:
        with pytest.raises(UserError, match=f"(?s){said}.*{step}"):
            await adb.connect(TCP)
        with pytest.raises(UserError, match="no address"):
            await adb.connect("host:track-devices")

    play(tmp_path, body, connect=lambda _: said)


def test_what_is_left_of_a_broken_connection_is_made_anew(tmp_path: Path) -> None:
    async def body(fake: FakeServer, adb: Adb) -> None:
        fake.devices[TCP] = "offline"

        def connect(address: str) -> str:
            if address in fake.devices:
                return f"already connected to {address}"
            fake.devices[address] = "device"
            return f"connected to {address}"

        fake.connect = connect
        await adb.connect(TCP)
        assert f"host:disconnect:{TCP}" in fake.requests

    play(tmp_path, body)


def test_a_phone_over_tcp_is_connected_again(tmp_path: Path) -> None:
    async def body(fake: FakeServer, adb: Adb) -> None:
        def connect(address: str) -> str:
            fake.devices[address] = "device"
            return f"connected to {address}"

        fake.connect = connect
        fake.prelude = 'getprop() { [ -e "$ROOT/booted" ] && echo 1; }'
        assert not await adb.phone(TCP).wait_until_back(within=0.6)  # it has not booted yet
        (tmp_path / "booted").touch()
        fake.devices.clear()
        assert await adb.phone(TCP).wait_until_back(within=10)
        assert not await adb.phone("usb-serial").wait_until_back(within=0.6)

    play(tmp_path, body)


def test_a_file_goes_there_and_back(tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    local, back = tmp_path / "local", tmp_path / "back"
    local.write_bytes(data)
    told: list[tuple[int, int]] = []

    async def body(fake: FakeServer, adb: Adb) -> None:
        phone = adb.phone(SERIAL)
        await phone.push(local, "dir/far", lambda sent, of: told.append((sent, of)))
        await phone.pull("dir/far", back)
        # With `stat` of a phone that knows only the first protocol.
        fake.features = "shell_v2"
        await adb.phone(SERIAL).push(back, "dir/further")

    play(tmp_path, body, prelude=ROOMY)
    assert back.read_bytes() == data
    assert (tmp_path / "dir" / "further").read_bytes() == data
    assert told[-1] == (len(data), len(data))
    assert told == sorted(told)
    assert sorted(p.name for p in (tmp_path / "dir").iterdir()) == ["far", "further"]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: data[:-1], r"has 1999999 of 2000000 bytes"),
        (lambda data: data[:-1] + b"\0", r"content is not what was sent"),
    ],
)
def test_a_file_that_arrives_damaged_is_refused(
    tmp_path: Path, damage: object, reason: str
) -> None:
    local = tmp_path / "local"
    local.write_bytes(b"x" * 2_000_000)

    async def body(_: FakeServer, adb: Adb) -> None:
        with pytest.raises(CommandError, match=reason):
            await adb.phone(SERIAL).push(local, "far")

    play(tmp_path, body, prelude=ROOMY, damage=damage)
    assert [p.name for p in tmp_path.iterdir()] == ["local"]


def test_a_full_phone_is_said_before(tmp_path: Path) -> None:
    local = tmp_path / "local"
    local.write_bytes(b"x")

    async def body(fake: FakeServer, adb: Adb) -> None:
        with pytest.raises(UserError, match=r"only 1 MiB free at far/file \(256 MiB must stay"):
            await adb.phone(SERIAL).push(local, "far/file")
        (tmp_path / "directory").mkdir()
        with pytest.raises(UserError, match="directory is a directory on the phone"):
            await adb.phone(SERIAL).push(local, "directory")
        with pytest.raises(UserError, match="cannot be read: No such file"):
            await adb.phone(SERIAL).push(tmp_path / "none", "far")
        assert not any(request.startswith("SEND") for request in fake.requests)

    play(tmp_path, body, prelude=FULL)


def test_a_phone_that_refuses_a_file_says_why(tmp_path: Path) -> None:
    local = tmp_path / "local"
    local.write_bytes(b"x" * 5_000_000)

    async def body(_: FakeServer, adb: Adb) -> None:
        with pytest.raises(CommandError, match="No space left on device"):
            await adb.phone(SERIAL).push(local, "far")
        with pytest.raises(CommandError, match="no such file"):
            await adb.phone(SERIAL).pull("none", tmp_path / "back")

    play(tmp_path, body, prelude=ROOMY, refuse="write failed: No space left on device")
    assert not (tmp_path / "back").exists()


def test_unplugged_in_the_middle_of_a_file(tmp_path: Path) -> None:
    local, far = tmp_path / "local", tmp_path / "far"
    local.write_bytes(b"x" * 8_000_000)
    far.write_bytes(b"y" * 8_000_000)

    async def body(fake: FakeServer, adb: Adb) -> None:
        phone = adb.phone(SERIAL)
        with pytest.raises(TransportLostError):
            await phone.push(local, "new", lambda sent, _: fake.unplug() if sent else None)
        fake.devices[SERIAL] = "device"

        def cut(data: bytes) -> bytes:
            fake.unplug()
            return data

        fake.damage = cut
        with pytest.raises(TransportLostError):
            await phone.pull("far", tmp_path / "back")

    play(tmp_path, body, prelude=ROOMY)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["far", "local"]


def test_a_file_that_stands_still_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "_STALL_SECONDS", 0.3)
    (tmp_path / "far").write_bytes(b"x")

    async def body(fake: FakeServer, adb: Adb) -> None:
        fake.dead.add(SERIAL)
        with pytest.raises(TransportLostError, match="no byte moved"):
            await adb.phone(SERIAL).pull("far", tmp_path / "back")

    play(tmp_path, body)


def free_port() -> int:
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port: int = chosen.getsockname()[1]
        return port


async def exists(path: Path, within: float = 10) -> None:
    until = time.monotonic() + within
    while not path.exists():  # noqa: ASYNC240 - another process makes it
        assert time.monotonic() < until
        await asyncio.sleep(0.01)
