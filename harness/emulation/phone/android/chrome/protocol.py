"""The virtual phone's own DevTools connection to its Chromium: one browser-level session."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    OnEvent = Callable[[str, dict[str, Any], str | None], None]

_ANSWER_SECONDS: Final = 15.0
_LARGEST_MESSAGE: Final = 64 << 20


class ProtocolError(Exception):
    """The browser refused, did not answer, or is gone."""


class Protocol:
    """Calls and events over one websocket; sessions are flat.

    Args:
        on_event: called with method, parameters and session for every event; must not block.
    """

    def __init__(self, on_event: OnEvent) -> None:
        self._on_event = on_event
        self._number = 0
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._http: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._reading: asyncio.Task[None] | None = None

    async def connect(self, address: str) -> None:
        """Connect to a `ws://` address.

        Raises:
            ProtocolError: nobody answers there.
        """
        self._http = aiohttp.ClientSession()
        try:
            self._socket = await self._http.ws_connect(
                address, max_msg_size=_LARGEST_MESSAGE, autoclose=True
            )
        except (aiohttp.ClientError, OSError) as error:
            await self.close()
            raise ProtocolError(f"{address}: {error}") from error
        self._reading = asyncio.create_task(self._read(self._socket))

    async def call(
        self,
        method: str,
        parameters: Mapping[str, object] | None = None,
        session: str | None = None,
    ) -> dict[str, Any]:
        """Call a method and give its result.

        Raises:
            ProtocolError: the browser refused, did not answer in time, or is gone.
        """
        future = self.send(method, parameters, session)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await future
        except TimeoutError as error:
            raise ProtocolError(f"{method} was not answered") from error

    def send(
        self,
        method: str,
        parameters: Mapping[str, object] | None = None,
        session: str | None = None,
    ) -> asyncio.Future[dict[str, Any]]:
        """Call a method at once; the order of calls is the order in which the browser sees them."""
        self._number += 1
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        # An answer that nobody waits for may be an error: that is no error of this program.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        if self._socket is None or self._socket.closed:
            future.set_exception(ProtocolError(f"{method}: the browser is gone"))
            return future
        self._waiting[self._number] = future
        message: dict[str, object] = {
            "id": self._number,
            "method": method,
            "params": dict(parameters or {}),
        }
        if session:
            message["sessionId"] = session
        task = asyncio.ensure_future(self._socket.send_str(json.dumps(message)))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return future

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        try:
            async for message in socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    self._take(message.data)
        finally:
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(ProtocolError("the browser is gone"))
            self._waiting.clear()

    def _take(self, text: str) -> None:
        data = json.loads(text)
        if "id" not in data:
            self._on_event(data.get("method", ""), data.get("params", {}), data.get("sessionId"))
            return
        future = self._waiting.pop(data["id"], None)
        if future is None or future.done():
            return
        if "error" in data:
            future.set_exception(ProtocolError(str(data["error"].get("message", "refused"))))
        else:
            future.set_result(data.get("result", {}))

    async def close(self) -> None:
        """Disconnect; a second call does nothing."""
        socket, self._socket = self._socket, None
        http, self._http = self._http, None
        reading, self._reading = self._reading, None
        if socket is not None:
            await socket.close()
        if reading is not None:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        if http is not None:
            await http.close()
