from __future__ import annotations

import asyncio

import pytest

from harness.devices.ios.relay import relay
from harness.errors import UserError


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(1 << 16):
        writer.write(piece)
        await writer.drain()
    writer.close()


def test_bytes_go_both_ways_and_ends_are_passed_on() -> None:
    async def work() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        target = server.sockets[0].getsockname()[1]
        data = bytes(range(256)) * 4096
        async with asyncio.timeout(30), relay(0, target) as port:

            async def once() -> bytes:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                sent = asyncio.create_task(send(writer))
                received = await reader.read(-1)
                await sent
                writer.close()
                return received

            async def send(writer: asyncio.StreamWriter) -> None:
                writer.write(data)
                await writer.drain()
                writer.write_eof()

            assert await asyncio.gather(*(once() for _ in range(4))) == [data] * 4
        server.close()

    asyncio.run(work())


def test_connections_end_with_it_and_a_target_that_is_gone_ends_them() -> None:
    async def work() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        target = server.sockets[0].getsockname()[1]
        async with asyncio.timeout(30):
            async with relay(0, target) as port:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"x")
                assert await reader.read(1) == b"x"
            assert await reader.read() == b""
            writer.close()
            server.close()
            await server.wait_closed()
            async with relay(0, target) as port:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                assert await reader.read() == b""
                writer.close()

    asyncio.run(work())


def test_a_port_that_is_taken_is_named() -> None:
    async def work() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        taken = server.sockets[0].getsockname()[1]
        with pytest.raises(UserError, match=f"port {taken}"):
            async with relay(taken, 1):
                pass
        server.close()

    asyncio.run(work())
