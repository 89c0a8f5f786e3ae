"""A WebDriver server that answers as Appium's XCUITest driver is documented to, and only so.

Every request is held against the documents: the command, its parameters, the capabilities, the
names of `mobile:` commands, and where scripts may be run. What is not documented is answered with
an error and kept in `faults`: a test ends by looking that there are none. Pages are somebody
else's: canned ones, or those of a real browser.
"""

from __future__ import annotations

import json
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

DATA = Path(__file__).parent / "data"
CAPABILITIES = frozenset((DATA / "capabilities.txt").read_text().split())
METHODS = frozenset((DATA / "execute-methods.txt").read_text().splitlines())
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
WEB = "WEBVIEW_12345.1"
PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def load(name: str) -> Any:
    return json.loads((DATA / name).read_text(encoding="utf-8"))


class Page(Protocol):
    """What stands behind Safari."""

    async def open(self, url: str) -> None:
        """Go there."""

    async def execute(self, script: str, arguments: list[Any]) -> Any:
        """What a function with that body returns."""


class GoneError(Exception):
    """The page does not answer."""


@dataclass
class Xcuitest:
    """The double. Its public fields may be changed while it runs."""

    page: Page
    device: dict[str, Any] = field(default_factory=lambda: load("device-info.json"))
    battery: dict[str, Any] = field(default_factory=lambda: load("battery-info.json"))
    reports: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)
    screen: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    app_state: int = 4
    installed: bool = True
    lost: bool = False
    faults: list[str] = field(default_factory=list)
    sessions: list[dict[str, Any]] = field(default_factory=list)
    typed: list[str] = field(default_factory=list)
    tapped: list[str] = field(default_factory=list)
    url: str = ""
    _open: str | None = None
    _context: str = "NATIVE_APP"

    @property
    def is_open(self) -> bool:
        """Whether a session is open."""
        return self._open is not None

    # --- the protocol ----------------------------------------------------------------------------

    def routes(self) -> list[web.RouteDef]:
        """Every documented command that the harness may use."""
        one = "/session/{session}"
        element = f"{one}/element/{{element}}"
        return [
            web.post("/session", self._new_session),
            web.delete(one, self._command(self._end)),
            web.post(f"{one}/url", self._command(self._go, url=str)),
            web.post(f"{one}/execute/sync", self._command(self._execute, script=str, args=list)),
            web.get(f"{one}/contexts", self._command(self._contexts)),
            web.get(f"{one}/context", self._command(self._current)),
            web.post(f"{one}/context", self._command(self._enter, name=str)),
            web.get(f"{one}/screenshot", self._command(self._screenshot)),
            web.get(f"{one}/source", self._command(self._source)),
            web.post(f"{one}/se/log", self._command(self._log, type=str)),
            web.post(f"{one}/elements", self._command(self._find, using=str, value=str)),
            web.get(f"{element}/text", self._command(self._text)),
            web.get(f"{element}/enabled", self._command(self._enabled)),
            web.post(f"{element}/click", self._command(self._click)),
            web.post(f"{element}/clear", self._command(self._clear)),
            web.post(f"{element}/value", self._command(self._type)),
            web.route("*", "/{anything:.*}", self._unknown),
        ]

    def _fault(self, words: str) -> web.Response:
        self.faults.append(words)
        return _error(400, "invalid argument", words)

    async def _unknown(self, request: web.Request) -> web.Response:
        words = f"{request.method} {request.path} is no documented command"
        self.faults.append(words)
        return _error(404, "unknown command", words)

    async def _new_session(self, request: web.Request) -> web.Response:
        body = await request.json()
        capabilities = body.get("capabilities", {})
        wanted = {
            **capabilities.get("alwaysMatch", {}),
            **(capabilities.get("firstMatch") or [{}])[0],
        }
        if unknown := sorted(wanted.keys() - CAPABILITIES):
            return self._fault(f"capabilities that are not documented: {unknown}")
        if wanted.get("appium:automationName", "").lower() != "xcuitest":
            return self._fault("automationName must be xcuitest")
        if self._open is not None:
            return self._fault("a second session at a time: WebDriverAgent takes one")
        if self.lost or ("appium:bundleId" in wanted and not self.installed):
            return _error(500, "session not created", "Could not find the app or the device")
        self._open, self._context = f"session-{len(self.sessions)}", "NATIVE_APP"
        if "browserName" in wanted:
            self._context = WEB
        self.sessions.append(wanted)
        got = {**wanted, "platformVersion": "26.0"}
        return _value({"sessionId": self._open, "capabilities": got})

    def _command(
        self, act: Callable[..., Awaitable[Any]], **parameters: type
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(request: web.Request) -> web.Response:
            if self.lost or request.match_info["session"] != self._open:
                return _error(
                    404, "invalid session id", "A session is either terminated or not started"
                )
            body = await request.json() if request.can_read_body else {}
            missing = [n for n, kind in parameters.items() if not isinstance(body.get(n), kind)]
            if missing:
                return self._fault(f"{request.method} {request.path} without {missing}: {body}")
            try:
                element = request.match_info.get("element")
                more = {} if element is None else {"element": element}
                return _value(
                    await act(**{n: body[n] for n in parameters}, **more, **_rest(body, act))
                )
            except GoneError as error:
                return _error(404, "no such window", str(error))
            except LookupError as error:
                return _error(404, "stale element reference", str(error))
            except NotImplementedError as error:
                self.faults.append(str(error))
                return _error(405, "unknown method", str(error))

        return answer

    # --- commands --------------------------------------------------------------------------------

    async def _end(self) -> None:
        self._open = None

    async def _go(self, url: str) -> None:
        self._web("url")
        self.url = url
        await self.page.open(url)

    async def _execute(self, script: str, args: list[Any]) -> Any:
        if not script.startswith("mobile:"):
            self._web("scripts of a page")
            return await self.page.execute(script, args)
        if script not in METHODS:
            raise NotImplementedError(f"{script} is no documented command")
        match script:
            case "mobile: deviceInfo":
                return self.device
            case "mobile: batteryInfo":
                return self.battery
            case "mobile: queryAppState":
                if not isinstance(args[0].get("bundleId"), str):
                    raise NotImplementedError("mobile: queryAppState needs a bundleId")
                return self.app_state
        raise NotImplementedError(f"{script} is documented, and not answered here")

    async def _contexts(self) -> list[str]:
        return ["NATIVE_APP", WEB]

    async def _current(self) -> str:
        return self._context

    async def _enter(self, name: str) -> None:
        if name not in {"NATIVE_APP", WEB}:
            raise NotImplementedError(f"there is no context {name}")
        self._context = name

    async def _screenshot(self) -> str:
        return PNG

    async def _source(self) -> str:
        return "<XCUIElementTypeApplication/>"

    async def _log(self, type: str) -> list[dict[str, Any]]:  # noqa: A002 - the protocol's name
        buckets = {"crashlog": self.reports, "safariConsole": self.console, "syslog": []}
        if type not in buckets:
            raise NotImplementedError(f"there is no log {type}")
        found, buckets[type][:] = list(buckets[type]), []
        return [{"timestamp": 0, "level": "ALL", "message": text} for text in found]

    async def _find(self, using: str, value: str) -> list[dict[str, str]]:
        strategies = {
            "accessibility id",
            "class name",
            "id",
            "name",
            "xpath",
            "-ios predicate string",
        }
        if using not in strategies:
            raise NotImplementedError(f"XCUITest does not find elements by {using}")
        found = self.screen.get(value, []) if self._context == "NATIVE_APP" else []
        return [{ELEMENT: f"{_token(value)}.{number}"} for number in range(len(found))]

    async def _text(self, element: str) -> str:
        return str(self._element(element).get("text", ""))

    async def _enabled(self, element: str) -> bool:
        return bool(self._element(element).get("enabled", True))

    async def _click(self, element: str) -> None:
        found = self._element(element)
        self.tapped.append(self._selector(element))
        if after := found.get("then"):
            after()

    async def _clear(self, element: str) -> None:
        self._element(element)

    async def _type(self, element: str, text: str = "", **_: Any) -> None:
        self._element(element)
        self.typed.append(text)

    def _web(self, what: str) -> None:
        if self._context == "NATIVE_APP":
            raise NotImplementedError(f"{what} in the native context")

    def _selector(self, element: str) -> str:
        return next(value for value in self.screen if _token(value) == element.rpartition(".")[0])

    def _element(self, element: str) -> dict[str, Any]:
        try:
            return self.screen[self._selector(element)][int(element.rpartition(".")[2])]
        except (StopIteration, IndexError) as error:
            raise LookupError(element) from error


@asynccontextmanager
async def serve(double: Xcuitest) -> AsyncIterator[str]:
    """The double's URL, while it runs. Nothing undocumented may have been asked by the end."""
    app = web.Application()
    app.add_routes(double.routes())
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()
    assert double.faults == []


def _rest(body: dict[str, Any], act: Callable[..., Any]) -> dict[str, Any]:
    return body if getattr(act, "__name__", "") == "_type" else {}


def _token(value: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "", value)[:40] + str(sum(value.encode()))


def _value(value: Any) -> web.Response:
    return web.json_response({"value": value})


def _error(status: int, error: str, message: str) -> web.Response:
    value = {"error": error, "message": message, "stacktrace": ""}
    return web.json_response({"value": value}, status=status)
