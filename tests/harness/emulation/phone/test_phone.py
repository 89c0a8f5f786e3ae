"""A whole phone behind real adb servers."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import sys
from contextlib import AsyncExitStack, closing
from typing import TYPE_CHECKING

import pytest

from harness.emulation.phone import hardware
from harness.emulation.phone.start import VirtualPhone, virtual_phone
from harness.errors import UserError
from tests.harness.emulation.phone.real import (
    PIXEL,
    TINY,
    AdbServer,
    adb_programs,
    alive,
    processes_of,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(sys.platform != "linux", reason="NOT TESTED, virtual phones need Linux"),
]


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERLAB_STATE", str(tmp_path / "state"))


@pytest.fixture(
    scope="module", params=adb_programs() or ["adb"], ids=lambda program: program.split("/")[-4]
)
def adb(request: pytest.FixtureRequest) -> Iterator[AdbServer]:
    yield from _server(request.param)


@pytest.fixture(scope="module")
def one_adb() -> Iterator[AdbServer]:
    yield from _server((adb_programs() or ["adb"])[0])


def _server(program: str) -> Iterator[AdbServer]:
    if not os.path.exists(program):  # noqa: PTH110 - also for a bare name
        pytest.skip("NOT TESTED, there is no adb here")
    server = AdbServer(program)
    yield server
    server.end()


def with_phone(
    work: Path, check: Callable[[VirtualPhone], Awaitable[None]], memory: int | None = None
) -> None:
    async def run() -> None:
        async with virtual_phone(PIXEL, work=work, android=TINY, memory_bytes=memory) as phone:
            await check(phone)
            pids = processes_of(phone.pid)
        assert not [pid for pid in pids if alive(pid)]

    asyncio.run(run())
    assert [path.name for path in work.iterdir() if path.name != "state"] == ["phone.log"]


def test_a_real_adb_server_takes_it_for_a_phone(adb: AdbServer, tmp_path: Path) -> None:
    async def check(phone: VirtualPhone) -> None:
        await adb.connected(phone.address)
        await asyncio.to_thread(use, adb, phone.address, tmp_path)
        if phone.isolation != "no isolation":
            there = ("push", str(tmp_path / "back"), "/system/bin/x")
            refused = await asyncio.to_thread(adb.run, "-s", phone.address, *there)
            assert refused.returncode == 1
            assert b"Read-only file system" in refused.stdout + refused.stderr
        unknown = await phone.unknown_commands()
        assert unknown == {"no-such-command": 1}

    work = tmp_path / "work"
    with_phone(work, check)


def use(adb: AdbServer, address: str, folder: Path) -> None:
    """What a session does with a phone."""
    phone = ("-s", address)
    assert adb.said(*phone, "shell", "getprop", "ro.product.model") == "Tiny; Phone\n"
    done = adb.run(*phone, "shell", "getprop ro.product.device | tr a-z A-Z; fails a b")
    assert (done.returncode, done.stdout, done.stderr) == (42, b"TINY\n", b"fails: a b\n")
    done = adb.run(*phone, "shell", "breaks")
    assert (done.returncode, done.stderr) == (1, b"breaks: RuntimeError: broken on purpose\n")
    done = adb.run(*phone, "shell", "no-such-command")
    assert done.returncode == 127
    assert b"no-such-command" in done.stderr
    assert adb.said(*phone, "shell", "cat", typed=b"hello") == "hello"
    assert adb.said(*phone, "shell", "swallow", typed=bytes(1 << 20)) == f"{1 << 20}\n"
    assert adb.said(*phone, "shell", "cat | swallow", typed=bytes(1 << 20)) == f"{1 << 20}\n"
    assert adb.said(*phone, "shell", "seq 100000").endswith("\n100000\n")
    assert adb.said(*phone, "shell", "logcat | head -n 2").count("I/Tiny") == 2
    assert adb.said(*phone, "exec-out", "printf 'a\\nb'") == "a\nb"
    use_files(adb, phone, folder)
    use_sockets(adb, phone)
    with adb.start(*phone, "logcat") as stream:
        assert stream.stdout is not None
        assert all(b"I/Tiny: line" in stream.stdout.readline() for _ in range(5))
        stream.kill()


def use_files(adb: AdbServer, phone: tuple[str, str], folder: Path) -> None:
    content = os.urandom(10_000_001)
    (folder / "tree/inner").mkdir(parents=True)
    (folder / "tree/inner/file").write_bytes(content)
    adb.said(*phone, "push", str(folder / "tree"), "/sdcard/Download/")
    path = "/sdcard/Download/tree/inner/file"
    told = adb.said(*phone, "shell", "sha256sum", path)
    assert told.split()[0] == hashlib.sha256(content).hexdigest()
    adb.said(*phone, "pull", path, str(folder / "back"))
    assert (folder / "back").read_bytes() == content


def use_sockets(adb: AdbServer, phone: tuple[str, str]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        there = adb.said(*phone, "reverse", "tcp:0", f"tcp:{server.getsockname()[1]}").strip()
        assert f"tcp:{there} tcp:{server.getsockname()[1]}" in adb.said(*phone, "reverse", "--list")
        # Through the phone's port to the server here, and back into the phone by a forward.
        here = int(adb.said(*phone, "forward", "tcp:0", f"tcp:{there}"))
        with (
            socket.create_connection(("127.0.0.1", here)) as client,
            server.accept()[0] as accepted,
        ):
            client.sendall(b"ping")
            assert accepted.recv(4) == b"ping"
            accepted.sendall(b"pong")
            accepted.shutdown(socket.SHUT_WR)
            assert client.makefile("rb").read() == b"pong"
    nowhere = int(adb.said(*phone, "forward", "tcp:0", "localabstract:nobody-listens"))
    with socket.create_connection(("127.0.0.1", nowhere)) as client:
        assert client.recv(1) == b""
    adb.said(*phone, "reverse", "--remove-all")
    assert adb.run(*phone, "reverse", "--remove", "tcp:1").returncode != 0


CORES = hardware.cores(PIXEL)


def test_the_phone_neither_sees_nor_changes_the_host(one_adb: AdbServer, tmp_path: Path) -> None:
    looks = {
        "cat /proc/1/comm /proc/2/comm": "init\nadbd\n",
        "ls /home /root /boot /mnt/c 2>/dev/null": "",
        f"ls {tmp_path} 2>&1 | grep -c 'No such'": "1\n",
        "for p in / /system/bin /usr /etc /proc/sys/vm; do touch $p/x && echo $p; done 2>&-": "",
        "for f in /proc/sys/vm/swappiness /proc/sysrq-trigger /sys/devices/system/cpu/cpu0/online;"
        " do (echo 1 > $f) 2>/dev/null && echo $f; done": "",
        "grep -c processor /proc/cpuinfo; nproc": f"{CORES}\n{CORES}\n",
        "grep Cap /proc/self/status | grep -vc 0000000000000000": "0\n",
        "cat /proc/net/dev | grep -vc lo:": "2\n",  # the two heading lines
        "hostname": "localhost\n",
        "touch /data/local/tmp/x /sdcard/y /tmp/z && echo ok": "ok\n",
    }

    async def check(phone: VirtualPhone) -> None:
        if not phone.isolation.endswith("namespaces"):
            pytest.skip(f"NOT TESTED, this host isolates nothing: {phone.missing}")
        await one_adb.connected(phone.address)
        found = {}
        for line in looks:
            done = await asyncio.to_thread(one_adb.run, "-s", phone.address, "shell", line)
            found[line] = done.stdout.decode()
        assert found == looks

    with_phone(tmp_path / "work", check)


def test_two_phones_have_each_their_own_sockets(one_adb: AdbServer, tmp_path: Path) -> None:
    async def run() -> None:
        async with AsyncExitStack() as stack:
            phones = [
                await stack.enter_async_context(
                    virtual_phone(PIXEL, work=tmp_path / "work", android=TINY)
                )
                for _ in range(2)
            ]
            servers = [
                await asyncio.start_server(_answering(word), "127.0.0.1", 0)
                for word in (b"a", b"b")
            ]
            for phone, server in zip(phones, servers, strict=True):
                await one_adb.connected(phone.address)
                here = server.sockets[0].getsockname()[1]
                there = ("reverse", "localabstract:chrome_devtools_remote", f"tcp:{here}")
                await asyncio.to_thread(one_adb.said, "-s", phone.address, *there)
            for phone, word in zip(phones, (b"a", b"b"), strict=True):
                into = ("forward", "tcp:0", "localabstract:chrome_devtools_remote")
                port = await asyncio.to_thread(one_adb.said, "-s", phone.address, *into)
                reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
                assert await reader.read() == word
                writer.close()
            for server in servers:
                server.close()

    asyncio.run(run())


def _answering(word: bytes) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
    def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(word)
        writer.close()

    return answer


def test_the_browsers_memory_is_limited_and_a_kill_is_counted(tmp_path: Path) -> None:
    async def check(phone: VirtualPhone) -> None:
        if not phone.limited:
            pytest.skip(f"NOT TESTED, no limits here: {phone.missing}")
        assert await phone.control("eat") == {"oom_kills": 1, "left": 0}

    with_phone(tmp_path / "work", check, memory=64 << 20)


def test_faults_come_and_go(one_adb: AdbServer, tmp_path: Path) -> None:
    pid = ""

    async def boots(phone: VirtualPhone) -> str:
        await one_adb.connected(phone.address)
        look = f'getprop test.boots; [ "$(cat /proc/{pid}/comm)" = sleep ] && echo runs'
        words = ("-s", phone.address, "shell", look)
        return (await asyncio.to_thread(one_adb.run, *words)).stdout.decode().strip()

    async def check(phone: VirtualPhone) -> None:
        nonlocal pid
        await one_adb.connected(phone.address)
        sleeping = ("-s", phone.address, "shell", "sleep 600 </dev/null >/dev/null 2>&1 & echo $!")
        pid = (await asyncio.to_thread(one_adb.said, *sleeping)).strip()
        for action in ("unplug", "offline", "unauthorized", "garbage_transport"):
            arguments = {} if action == "garbage_transport" else {"seconds": 0.3}
            await phone.control(action, **arguments)
            await one_adb.until_not(phone.address, "device")
            assert await boots(phone) == "1\nruns"
        await phone.control("slow", bytes_per_second=1e6, seconds=0.2)
        assert await boots(phone) == "1\nruns"
        await asyncio.to_thread(one_adb.said, "-s", phone.address, "reboot")
        await one_adb.until_not(phone.address, "device")
        assert await boots(phone) == "2"
        await phone.control("kill_daemon")
        await one_adb.until_not(phone.address, "device")
        assert await boots(phone) == "1"
        assert phone.restarts == 1
        assert await phone.control("echo", a=1) == {"a": 1}
        with pytest.raises(UserError, match="no action 'nonsense'"):
            await phone.control("nonsense")

    with_phone(tmp_path / "work", check)


def test_a_daemon_killed_in_the_middle_of_a_push(one_adb: AdbServer, tmp_path: Path) -> None:
    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(50_000_000)

    async def check(phone: VirtualPhone) -> None:
        await one_adb.connected(phone.address)
        await phone.control("slow", bytes_per_second=2e6, seconds=600)
        push = one_adb.start("-s", phone.address, "push", str(big), "/data/local/tmp/big")
        shell = one_adb.start("-s", phone.address, "shell", "sleep 600; echo done")
        async with asyncio.timeout(20):
            data = next(iter((tmp_path / "work").glob("tierlab-phone-*"))) / "data/local/tmp/big"
            while not data.exists():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await phone.control("kill_daemon")
        said = await asyncio.to_thread(lambda: (push.communicate(), shell.communicate()))
        assert push.returncode == 1, said
        assert b"done" not in said[1][0]
        await one_adb.connected(phone.address)
        words = ("-s", phone.address, "push", str(big), "/data/local/tmp/big")
        await asyncio.to_thread(one_adb.said, *words)

    with_phone(tmp_path / "work", check)


@pytest.mark.parametrize(
    ("android", "words"),
    [
        (
            "tests.harness.emulation.phone.broken_android",
            "the virtual phone does not start: pixel7 is broken on purpose\n  -> mend it",
        ),
        (
            "tests.harness.emulation.phone.no_such_android",
            "the virtual phone does not start: ModuleNotFoundError: No module named",
        ),
    ],
)
def test_a_phone_that_cannot_start_says_why_and_leaves_nothing(
    tmp_path: Path, android: str, words: str
) -> None:
    async def run() -> None:
        async with virtual_phone(PIXEL, work=tmp_path / "work", android=android):
            raise AssertionError("it has started")

    with pytest.raises(UserError) as raised:
        asyncio.run(run())
    assert str(raised.value).startswith(words)
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["phone.log"]
