from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.emulation.phone.protocol import (
    AUTH_PUBLIC_KEY,
    AUTH_SIGNATURE,
    AUTH_TOKEN,
    VERSION,
    Command,
    Packet,
    encode,
)
from harness.emulation.phone.streams import MAX_PIECES, MAX_STREAMS
from harness.emulation.phone.transport import Greeting
from tests.harness.emulation.phone.wire import make_phone, wired

if TYPE_CHECKING:
    from pathlib import Path

SERVICES = [
    b"shell:say a\0", b"shell,v2,raw:say b\0", b"sync:\0", b"reverse:list-forward\0", b"tcp:1\0",
    b"localabstract:\0", b"exec:say\0", b"shell,v2,raw:swallow\0", b"root:\0", b"\xff\0", b"",
    b"tcp:99999999\0", b"reverse:forward:tcp:x;y\0", b"localfilesystem:\xff\0",
]  # fmt: skip
SMALL = st.integers(0, 5)
PACKETS = st.builds(
    Packet,
    st.sampled_from(Command),
    SMALL,
    SMALL,
    st.one_of(st.sampled_from(SERVICES), st.binary(max_size=40)),
)


def test_a_service_that_nobody_knows_is_refused_from_stream_0_and_counted(tmp_path: Path) -> None:
    unknown: list[str] = []

    async def check() -> None:
        async with wired(make_phone(tmp_path, unknown, [])) as (host, _):
            assert (await host.connect()).data.startswith(b"device::ro.product.name=tiny;")
            for service in ("framebuffer:", "tcp:1", "localabstract:nobody-listens", "tcp:x"):
                refused = await host.open(service)
                assert (refused.command, refused.arg0) == (Command.CLSE, 0)

    asyncio.run(check())
    assert unknown == ["service framebuffer:"]


def test_no_service_before_the_handshake(tmp_path: Path) -> None:
    async def check() -> None:
        async with wired(make_phone(tmp_path, [], [])) as (host, _):
            await host.send(Packet(Command.OPEN, 1, 0, b"shell:say no\0"))
            await host.connect()
            assert await host.ask("shell:say yes") == b"yes"

    asyncio.run(check())


def test_an_unauthorised_host_is_asked_for_every_key_and_gets_nothing(tmp_path: Path) -> None:
    async def check() -> None:
        phone = make_phone(tmp_path, [], [])
        async with wired(phone, Greeting.UNAUTHORIZED) as (host, _):
            await host.send(Packet(Command.CNXN, VERSION, 1 << 20))
            for _ in range(2):
                asked = await host.expect(Command.AUTH)
                assert (asked.arg0, len(asked.data)) == (AUTH_TOKEN, 20)
                await host.send(Packet(Command.AUTH, AUTH_SIGNATURE, 0, bytes(256)))
            await host.expect(Command.AUTH)
            await host.send(
                Packet(Command.AUTH, AUTH_PUBLIC_KEY, 0, b"key\0"),
                Packet(Command.OPEN, 1, 0, b"shell:say no\0"),
            )
            host.writer.write_eof()
            assert await host.receive() is None

    asyncio.run(check())


def test_many_writes_before_the_answer_to_the_first_end_the_transport(tmp_path: Path) -> None:
    async def check() -> None:
        async with wired(make_phone(tmp_path, [], [])) as (host, running):
            await host.connect()
            opened = await host.open("sync:")
            piece = encode(Packet(Command.WRTE, opened.arg1, opened.arg0, b"x"))
            host.writer.write(
                piece * 2 * MAX_PIECES
            )  # at once, so that no answer can come in between
            async with asyncio.timeout(10):
                await running

    asyncio.run(check())


def test_the_phone_sends_no_more_than_one_packet_before_the_answer(tmp_path: Path) -> None:
    async def check() -> None:
        async with wired(make_phone(tmp_path, [], [])) as (host, _):
            await host.connect()
            opened = await host.open("shell:endless")
            first = await host.expect(Command.WRTE)
            other = await host.open("shell:say still there")  # nothing came in between
            assert other.command is Command.OKAY
            await host.send(Packet(Command.OKAY, opened.arg1, first.arg0))

    asyncio.run(check())


def test_too_many_streams_are_refused(tmp_path: Path) -> None:
    async def check() -> None:
        async with wired(make_phone(tmp_path, [], [])) as (host, _):
            await host.connect()
            for _ in range(MAX_STREAMS):
                assert (await host.open("sync:")).command is Command.OKAY
            assert (await host.open("sync:")).command is Command.CLSE

    asyncio.run(check())


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(packets=st.lists(PACKETS, max_size=12), tail=st.binary(max_size=60))
def test_whatever_a_host_sends_the_transport_ends_with_it(
    tmp_path: Path, packets: list[Packet], tail: bytes
) -> None:
    async def check() -> None:
        async with wired(make_phone(tmp_path, [], [])) as (host, _):
            await host.connect()
            host.writer.write(b"".join(map(encode, packets)) + tail)
            host.writer.write_eof()
            while True:
                try:
                    if await host.receive() is None:
                        break
                except ConnectionError:
                    break

    asyncio.run(check())


@pytest.mark.parametrize("service", ["shell:say one  two", "exec:say one two"])
def test_a_plain_service_gives_output_alone(tmp_path: Path, service: str) -> None:
    async def check() -> bytes:
        async with wired(make_phone(tmp_path, [], [])) as (host, _):
            await host.connect()
            return await host.ask(service)

    assert asyncio.run(check()) == b"one two"


@pytest.mark.parametrize(
    ("service", "said"),
    [
        ("usb:", b"restarting in USB mode\n"),
        ("tcpip:5555", b"restarting in TCP mode port: 5555\n"),
    ],
)
def test_the_daemon_says_in_which_mode_it_restarts(
    tmp_path: Path, service: str, said: bytes
) -> None:
    restarts: list[str] = []

    async def check() -> bytes:
        async with wired(make_phone(tmp_path, [], restarts)) as (host, _):
            await host.connect()
            return await host.ask(service)

    assert asyncio.run(check()) == said
    assert restarts == ["adbd"]


def test_a_reboot_is_asked_for_with_its_argument(tmp_path: Path) -> None:
    reboots: list[str] = []

    async def check() -> None:
        async with wired(make_phone(tmp_path, [], reboots)) as (host, _):
            await host.connect()
            await host.ask("reboot:recovery")

    asyncio.run(check())
    assert reboots == ["recovery"]
