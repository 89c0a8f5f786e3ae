from __future__ import annotations

import asyncio

import pytest

from harness.emulation.phone.protocol import MAX_PAYLOAD, Command, Packet, ProtocolError
from harness.emulation.phone.streams import (
    MAX_HELD,
    MAX_PIECES,
    StreamClosedError,
    Streams,
)


class Sent:
    def __init__(self) -> None:
        self.packets: list[Packet] = []

    async def __call__(self, packet: Packet) -> None:
        self.packets.append(packet)


def test_an_own_stream_that_was_answered_and_closed_at_once_is_read_to_its_end() -> None:
    async def check() -> None:
        sent = Sent()
        streams = Streams(sent)
        opening = asyncio.ensure_future(streams.open("tcp:8000"))
        await asyncio.sleep(0)
        assert sent.packets == [Packet(Command.OPEN, 1, 0, b"tcp:8000\0")]
        for packet in (
            Packet(Command.OKAY, 7, 1),
            Packet(Command.WRTE, 7, 1, b"all of it"),
            Packet(Command.CLSE, 7, 1),
        ):
            await streams.take(packet)
        stream = await opening
        assert stream is not None
        assert [await stream.read(), await stream.read()] == [b"all of it", b""]
        with pytest.raises(StreamClosedError):
            await stream.write(b"too late")

    asyncio.run(check())


def test_an_own_stream_that_is_refused_is_none() -> None:
    async def check() -> None:
        streams = Streams(Sent())
        opening = asyncio.ensure_future(streams.open("tcp:8000"))
        await asyncio.sleep(0)
        await streams.take(Packet(Command.CLSE, 0, 1))
        assert await opening is None
        assert len(streams) == 0

    asyncio.run(check())


def test_bytes_are_read_in_any_sizes_and_the_end_is_an_error_where_more_was_asked_for() -> None:
    async def check() -> None:
        streams = Streams(Sent())
        stream = streams.incoming(Packet(Command.OPEN, 7))
        assert stream is not None
        await stream.accept()
        sizes = [2, 0, 1, 5]
        pieces = [b"abc", b"", b"defgh"]
        read = b""
        for size in sizes:
            reading = asyncio.ensure_future(stream.read_exactly(size))
            await asyncio.sleep(0)
            while not reading.done():
                await streams.take(Packet(Command.WRTE, 7, stream.local, pieces.pop(0)))
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            read += await reading
        assert read == b"abcdefgh"
        await streams.take(Packet(Command.CLSE, 7, stream.local))
        with pytest.raises(EOFError):
            await stream.read_exactly(1)

    asyncio.run(check())


def test_a_lost_transport_ends_every_stream() -> None:
    async def check() -> None:
        streams = Streams(Sent())
        opening = asyncio.ensure_future(streams.open("tcp:1"))
        stream = streams.incoming(Packet(Command.OPEN, 7))
        assert stream is not None
        await asyncio.sleep(0)
        streams.lose_all()
        assert await opening is None
        assert await stream.read() == b""

    asyncio.run(check())


def test_what_a_stream_holds_is_bounded_in_bytes_and_in_pieces() -> None:
    async def check() -> None:
        streams = Streams(Sent())
        for size, most in ((MAX_PAYLOAD, MAX_HELD // MAX_PAYLOAD), (1, MAX_PIECES)):
            stream = streams.incoming(Packet(Command.OPEN, 7))
            assert stream is not None
            piece = Packet(Command.WRTE, 7, stream.local, bytes(size))
            for _ in range(most):
                await streams.take(piece)
            assert len(await stream.read()) == size
            await streams.take(piece)  # there is room again
            with pytest.raises(ProtocolError):
                await streams.take(piece)

    asyncio.run(check())
