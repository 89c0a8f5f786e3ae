"""A host's end of a transport, in memory, for tests of the phone's end."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harness.emulation.phone.protocol import VERSION, Command, Decoder, Packet, encode
from harness.emulation.phone.registry import Registry
from harness.emulation.phone.services import Phone
from harness.emulation.phone.shell import Shell, ShellPlan
from harness.emulation.phone.sockets import Names
from harness.emulation.phone.sync_messages import Files
from harness.emulation.phone.transport import Greeting, Pace, Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from harness.emulation.phone.command import Command as PhoneCommand
    from harness.emulation.phone.command import CommandIO

WITHIN = 10


async def echo(argv: Sequence[str], io: CommandIO) -> int:
    await io.out(" ".join(argv[1:]))
    return len(argv) - 1


async def swallow(_argv: Sequence[str], io: CommandIO) -> int:
    total = 0
    while data := await io.stdin():
        total += len(data)
    await io.out(str(total))
    return 0


async def endless(_argv: Sequence[str], io: CommandIO) -> int:
    while True:
        await io.out("again\n")


COMMANDS: Mapping[str, PhoneCommand] = {"say": echo, "swallow": swallow, "endless": endless}


def make_phone(
    root: Path, unknown: list[str], reboots: list[str], *, free_bytes: int = 1 << 30
) -> Phone:
    async def reboot(argument: str) -> None:
        reboots.append(argument)

    def locate(path: str) -> Path:
        return root / Path("/", path).relative_to("/")

    registry = Registry(lambda: COMMANDS)
    plan = ShellPlan(("/bin/sh",), {"PATH": "/usr/bin:/bin"}, root)
    return Phone(
        shell=Shell(plan, registry, unknown.append),
        files=Files(locate, lambda: free_bytes),
        names=Names(locate, lambda name: name),
        reboot=reboot,
        restart=lambda: reboots.append("adbd"),
        unknown=unknown.append,
    )


class Host:
    """Speaks packets to a transport."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._decoder = Decoder()
        self._packets: list[Packet] = []
        self._next = 100

    async def send(self, *packets: Packet) -> None:
        for packet in packets:
            self.writer.write(encode(packet))
        await self.writer.drain()

    async def receive(self) -> Packet | None:
        """The next packet; None at the transport's end."""
        async with asyncio.timeout(WITHIN):
            while not self._packets:
                data = await self.reader.read(1 << 16)
                if not data:
                    return None
                self._packets += self._decoder.feed(data)
        return self._packets.pop(0)

    async def expect(self, command: Command) -> Packet:
        packet = await self.receive()
        assert packet is not None
        assert packet.command is command, packet
        return packet

    async def connect(self) -> Packet:
        await self.send(Packet(Command.CNXN, VERSION, 1 << 20, b"host::features=shell_v2"))
        return await self.expect(Command.CNXN)

    async def open(self, service: str) -> Packet:
        """Open a stream, and the answer: OKAY, or CLSE where it is refused."""
        self._next += 1
        await self.send(Packet(Command.OPEN, self._next, 0, service.encode() + b"\0"))
        answer = await self.receive()
        assert answer is not None
        assert answer.arg1 == self._next
        return answer

    async def ask(self, service: str, sent: bytes = b"") -> bytes:
        """Open a stream, send something, and read all that comes to its end."""
        opened = await self.open(service)
        assert opened.command is Command.OKAY, opened
        if sent:
            await self.send(Packet(Command.WRTE, opened.arg1, opened.arg0, sent))
        told = b""
        while True:
            packet = await self.receive()
            assert packet is not None
            if packet.command is Command.CLSE:
                return told
            if packet.command is Command.WRTE:
                told += packet.data
                await self.send(Packet(Command.OKAY, packet.arg1, packet.arg0))


@asynccontextmanager
async def wired(
    phone: Phone, greeting: Greeting = Greeting.ONLINE
) -> AsyncIterator[tuple[Host, asyncio.Task[None]]]:
    """A transport that runs, and the host at its other end."""
    near, far = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=far)
    transport = Transport(
        reader,
        writer,
        phone=phone,
        properties=lambda: {"ro.product.name": "tiny"},
        greeting=greeting,
        pace=Pace(),
    )
    running = asyncio.create_task(transport.run())
    host_reader, host_writer = await asyncio.open_connection(sock=near)
    try:
        yield Host(host_reader, host_writer), running
    finally:
        host_writer.close()
        async with asyncio.timeout(WITHIN):
            await running
