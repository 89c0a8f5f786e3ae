"""The device side of Appium's UiAutomator2 driver: HTTP on port 6790 of the phone.

Routes and errors as in appium/appium-uiautomator2-server (`AppiumServlet.java`). What is not known
fails with `unknown command` and is counted.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from harness.emulation.phone.android.registry import count_unknown
from harness.emulation.phone.android.uia2_handlers import Handlers
from harness.emulation.phone.android.uia2_screen import (
    InvalidSelectorError,
    NoSuchElementError,
    StaleElementError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.emulation.phone.android.phone import Phone

PORT: Final = 6790
VERSION: Final = "10.6.6"
_BODY_BYTES: Final = 4 << 20
_SESSION: Final = re.compile(r"^/session/[^/]+")
# WebDriver's errors: name and HTTP status.
_ERRORS: Final[Mapping[type[Exception], tuple[str, int]]] = {
    NoSuchElementError: ("no such element", 404),
    StaleElementError: ("stale element reference", 404),
    InvalidSelectorError: ("invalid selector", 400),
    ValueError: ("invalid argument", 400),
    KeyError: ("invalid argument", 400),
}


class Uia2Server:
    """The server; it ends with its session, or when the instrumentation is ended.

    Args:
        phone: what is driven.
        port: of the phone; another one only in tests.
    """

    def __init__(self, phone: Phone, port: int = PORT) -> None:
        self._phone = phone
        self._port = port
        self._runner: web.AppRunner | None = None
        self.ended = asyncio.Event()
        handlers = Handlers(phone, self.ended.set)
        self._routes = [
            (method, re.compile(pattern), handler) for method, pattern, handler in handlers.table()
        ]

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the port is taken.
        """
        app = web.Application(client_max_size=_BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    # -- requests ---------------------------------------------------------------------------------

    async def _serve(self, request: web.Request) -> web.Response:
        path = request.path.removeprefix("/wd/hub").rstrip("/") or "/"
        inside = _SESSION.match(path)
        route = path[inside.end() :] or "/" if inside else path
        key = "session" if inside else ""
        try:
            body = await request.json() if request.can_read_body else {}
        except ValueError:
            body = {}
        if not isinstance(body, dict):
            body = {}
        try:
            value = await self._answer(request.method, route, key, body)
        except tuple(_ERRORS) as error:
            name, status = next(item for kind, item in _ERRORS.items() if isinstance(error, kind))
            return _response({"error": name, "message": str(error), "stacktrace": ""}, status)
        except LookupError:
            count_unknown(self._phone.state, ["uiautomator2", request.method, route])
            text = f"the virtual phone does not know {request.method} {route}"
            return _response({"error": "unknown command", "message": text, "stacktrace": ""}, 404)
        return _response(value, 200)

    async def _answer(self, method: str, route: str, key: str, body: dict[str, Any]) -> object:
        if not key:
            if (method, route) == ("GET", "/status"):
                return {
                    "ready": True,
                    "message": "UiAutomator2 Server is ready to accept commands",
                    "build": {"version": VERSION, "versionCode": 243},
                }
            if (method, route) == ("GET", "/sessions"):
                return []
            if (method, route) == ("POST", "/session"):
                return {"sessionId": "virtual", "capabilities": {}}
        for wanted, pattern, handler in self._routes:
            if method == wanted and key and (found := pattern.fullmatch(route)):
                return await handler(body, *found.groups())
        raise LookupError(route)


def _response(value: object, status: int) -> web.Response:
    data = json.dumps({"sessionId": "virtual", "value": value})
    return web.Response(text=data, status=status, content_type="application/json")
