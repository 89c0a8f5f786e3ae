"""The other end of a DevTools connection: a real websocket that answers as a test says."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import WSMsgType, web

from harness.devices.cdp import LARGEST_LIST, Cdp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Answer = Callable[[web.WebSocketResponse, dict[str, Any]], Awaitable[None]]


class Browser:
    """Answers every command by `answer`; what came is in `got`."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.port = 0
        self.got: list[dict[str, Any]] = []
        self.sockets: list[web.WebSocketResponse] = []

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        assert "Origin" not in request.headers
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                self.got.append(json.loads(message.data))
                await self.answer(socket, self.got[-1])
        return socket

    async def _json(self, request: web.Request) -> web.StreamResponse:
        match request.match_info["name"]:
            case "version":
                return web.json_response({"Browser": "Chrome/1"})
            case "huge":
                return web.Response(body=b"1" * (LARGEST_LIST + 1))
            case "html":
                return web.Response(text="<html>")
        raise web.HTTPNotFound

    async def emit(self, method: str, session: str | None = None, **parameters: Any) -> None:
        """Send an event, from the browser or from a session in it."""
        message: dict[str, Any] = {"method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        for socket in self.sockets:
            await socket.send_json(message)

    async def die(self) -> None:
        """End all connections."""
        for socket in self.sockets:
            await socket.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Cdp]:
        app = web.Application()
        app.router.add_get("/devtools/browser", self._serve)
        app.router.add_get("/json/{name}", self._json)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        try:
            async with await Cdp.connect(f"ws://127.0.0.1:{self.port}/devtools/browser") as cdp:
                yield cdp
        finally:
            await runner.cleanup()
