"""A page of a phone's browser, by raw CDP; everything it does or suffers goes to the timeline.

Events of the page come through a binding (`Runtime.addBinding`): the page calls
`tierlabEmit(event)` exactly as it does on the desktop, a script that runs before the page's own
turns the event into text, and the text arrives as `Runtime.bindingCalled`.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import math
from typing import TYPE_CHECKING, Any, Final, Self

from harness.devices.base import TabLostError
from harness.devices.cdp import CdpError, CdpLostError, CdpTimeoutError, attach
from results.record import Kind, Source

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from pydantic import JsonValue

    from harness.devices.base import OnEvent, PageEvent
    from harness.devices.cdp import Cdp, CdpSession
    from harness.evidence import Timeline

    Push = Callable[[Sequence[Path]], Awaitable[list[str]]]

OPEN_SECONDS: Final = 60.0
SCREENSHOT_SECONDS: Final = 10.0
PICK_SECONDS: Final = 30.0
# Between the word that a page is closed and the word that the browser, or the phone, is gone.
CLOSED_SECONDS: Final = 0.5
TEXT_CHARACTERS: Final = 4000
# A probe's report has 0.1 MB.
LARGEST_EVENT: Final = 8 << 20

_FAILURES: Final = (CdpError, CdpLostError, CdpTimeoutError)
_BINDING: Final = "tierlabEmitText"
_EMIT: Final = f"globalThis.tierlabEmit = (event) => {_BINDING}(JSON.stringify(event));"


class CdpTab:
    """One page; see `Tab`.

    Args:
        session: on the page.
        timeline: where its end and its errors go.
        on_event: gets what the page emits.
        push: brings files to the phone; their paths there.
        console: the file for what the page says.
    """

    def __init__(
        self,
        session: CdpSession,
        timeline: Timeline,
        on_event: OnEvent,
        *,
        push: Push,
        console: Path,
    ) -> None:
        self._session = session
        self._timeline = timeline
        self._on_event = on_event
        self._push = push
        self._console = console
        self._closing = False
        self._loaded = asyncio.Event()

    @classmethod
    async def open(
        cls,
        cdp: Cdp,
        url: str,
        timeline: Timeline,
        on_event: OnEvent,
        *,
        push: Push,
        console: Path,
        target: str | None = None,
    ) -> Self:
        """Open a page and wait until it has loaded.

        Args:
            cdp: the browser.
            url: of the page.
            timeline: where its end and its errors go.
            on_event: gets what the page emits.
            push: brings files to the phone.
            console: the file for what the page says.
            target: a page that is there already, such as an app's WebView; it is led to `url`.

        Raises:
            TabLostError: the page could not be opened.
        """
        try:
            session = await attach(cdp, target or await _new_page(cdp))
            tab = cls(session, timeline, on_event, push=push, console=console)
            await tab._listen()
            await tab._go(url)
            await tab._come_to_front()
        except _FAILURES as error:
            raise TabLostError(f"{url} could not be opened: {error}") from error
        return tab

    @property
    def target(self) -> str:
        """The browser's name for the page."""
        return self._session.target

    async def _listen(self) -> None:
        session, browser = self._session, self._session.cdp
        session.on("Runtime.bindingCalled", self._on_binding)
        session.on("Runtime.exceptionThrown", self._on_exception)
        session.on("Runtime.consoleAPICalled", self._on_console)
        session.on("Log.entryAdded", self._on_log_entry)
        session.on("Inspector.detached", self._on_detached)
        session.on("Page.loadEventFired", lambda _: self._loaded.set())
        browser.on("Target.targetCrashed", self._on_crashed)
        browser.on("Target.targetDestroyed", self._on_destroyed)
        for domain in ("Page", "Runtime", "Log", "Inspector"):
            await session.send(f"{domain}.enable")
        await session.send("Runtime.addBinding", {"name": _BINDING})
        await session.send("Page.addScriptToEvaluateOnNewDocument", {"source": _EMIT})

    async def _go(self, url: str) -> None:
        self._loaded.clear()
        answer = await self._session.send("Page.navigate", {"url": url}, within=OPEN_SECONDS)
        if words := answer.get("errorText"):
            raise CdpError(str(words)[:200])
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                await self._loaded.wait()
        except TimeoutError as error:
            raise CdpTimeoutError(f"it did not load within {OPEN_SECONDS:g} s") from error
        # From here on the page must stay where it is.
        self._session.on("Page.frameNavigated", self._on_navigated)

    async def _come_to_front(self) -> None:
        """See to it that the page is in front: others are throttled, and measured so."""
        with contextlib.suppress(CdpError):  # a WebView cannot be asked to
            await self._session.send("Page.bringToFront")
        options = {"expression": "document.visibilityState", "returnByValue": True}
        answer = await self._session.send("Runtime.evaluate", options)
        if (answer.get("result") or {}).get("value") == "hidden":
            raise CdpError("it is not visible: the screen is off or locked, or an app covers it")

    # What the page does.

    def _on_binding(self, event: dict[str, Any]) -> None:
        if event.get("name") != _BINDING:
            return
        try:
            told = read_event(event.get("payload"))
        except ValueError as error:
            words = f"the page emitted what is no event: {error}"
            self._timeline.add(Source.HARNESS, Kind.LAB_ERROR, message=words)
            return
        self._on_event(told)

    def _on_exception(self, event: dict[str, Any]) -> None:
        details = event.get("exceptionDetails")
        name, message = _thrown(details if isinstance(details, dict) else {})
        self._timeline.add(Source.PAGE, Kind.ENGINE_ERROR, name=name, message=message)

    def _on_console(self, event: dict[str, Any]) -> None:
        arguments = event.get("args")
        values = arguments if isinstance(arguments, list) else []
        self._write(str(event.get("type", "")), " ".join(_shown(value) for value in values))

    def _on_log_entry(self, event: dict[str, Any]) -> None:
        entry = event.get("entry")
        if isinstance(entry, dict):
            self._write(str(entry.get("level", "")), str(entry.get("text", "")))

    def _write(self, level: str, text: str) -> None:
        with self._console.open("a", encoding="utf-8", errors="replace") as file:
            line = text[:TEXT_CHARACTERS].replace("\n", "\n  ")
            file.write(f"{self._timeline.now():9.3f} {level[:20]}: {line}\n")

    # What the page suffers.

    def _on_crashed(self, event: dict[str, Any]) -> None:
        if event.get("targetId") != self.target or self._closing:
            return
        code = event.get("errorCode")
        self._timeline.add(
            Source.CDP,
            Kind.RENDERER_GONE,
            status=str(event.get("status", ""))[:40],
            code=code if isinstance(code, int) else 0,
        )
        self._session.abandon("the page's process is gone")

    def _on_detached(self, event: dict[str, Any]) -> None:
        # A renderer that Chrome for Android thinks ended normally; see STATUS_UNSEEN in case.py.
        if event.get("reason") == "Render process gone." and not self._closing:
            self._timeline.add(Source.CDP, Kind.RENDERER_GONE, status="gone", code=0)
            self._session.abandon("the page's process is gone")

    def _on_destroyed(self, event: dict[str, Any]) -> None:
        # A browser that goes away closes its pages first, and says so a moment later.
        if event.get("targetId") == self.target:
            asyncio.get_running_loop().call_later(CLOSED_SECONDS, self._closed)

    def _closed(self) -> None:
        gone = self._session.cdp.lost is not None
        if not self._closing and not gone and self._timeline.ending is None:
            self._timeline.add(Source.CDP, Kind.LAB_ERROR, message="the trial page was closed")

    def _on_navigated(self, event: dict[str, Any]) -> None:
        frame = event.get("frame")
        if isinstance(frame, dict) and "parentId" not in frame and not self._closing:
            message = f"the trial page went to {str(frame.get('url'))[:400]}"
            self._timeline.add(Source.CDP, Kind.LAB_ERROR, message=message)

    # What is done with the page.

    async def call(self, function: str, argument: JsonValue, *, within: float) -> JsonValue:
        """See `Tab.call`."""
        expression = f"globalThis[{json.dumps(function)}]({json.dumps(argument)})"
        options = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        try:
            answer = await self._session.send("Runtime.evaluate", options, within=within)
        except CdpTimeoutError as error:
            raise TabLostError(f"{function} did not answer within {within} s") from error
        except (CdpError, CdpLostError) as error:
            raise TabLostError(f"{function}: {error}") from error
        if details := answer.get("exceptionDetails"):
            name, message = _thrown(details if isinstance(details, dict) else {})
            raise TabLostError(f"{function}: {name}: {message}")
        result = answer.get("result")
        return _value(result if isinstance(result, dict) else {})

    async def set_files(self, selector: str, paths: Sequence[Path]) -> None:
        """See `Tab.set_files`. The files are brought to the phone first."""
        find = {"expression": f"document.querySelector({json.dumps(selector)})"}
        try:
            there = await self._push(paths)
            answer = await self._session.send("Runtime.evaluate", find)
            element = (answer.get("result") or {}).get("objectId")
            if element is None:
                raise TabLostError(f"the page has no {selector}")
            await self._session.send(
                "DOM.setFileInputFiles", {"objectId": element, "files": there}, within=PICK_SECONDS
            )
        except _FAILURES as error:
            raise TabLostError(f"files cannot be picked in {selector}: {error}") from error

    async def screenshot(self, path: Path) -> bool:
        """See `Tab.screenshot`."""
        try:
            answer = await self._session.send(
                "Page.captureScreenshot", {"format": "png"}, within=SCREENSHOT_SECONDS
            )
            picture = base64.b64decode(str(answer.get("data", "")), validate=True)
        except (*_FAILURES, ValueError):
            return False
        if not picture.startswith(b"\x89PNG"):
            return False
        await asyncio.to_thread(path.write_bytes, picture)
        return True

    async def forget_storage(self, origin: str, *, within: float) -> bool:
        """Remove what pages of an origin stored; whether that worked."""
        what = {"origin": origin, "storageTypes": "all"}
        try:
            await self._session.send("Storage.clearDataForOrigin", what, within=within)
        except _FAILURES:
            return False
        return True

    async def close(self) -> None:
        """See `Tab.close`."""
        self._closing = True
        with contextlib.suppress(*_FAILURES):
            await self._session.cdp.send("Target.closeTarget", {"targetId": self.target})
        self._session.cdp.forget(self._session.id)


async def _new_page(cdp: Cdp) -> str:
    """A page to use: a new one, or, where the browser makes none, an empty one that is there.

    Raises:
        CdpError, CdpTimeoutError, CdpLostError: see `Cdp.send`.
    """
    try:
        made = await cdp.send("Target.createTarget", {"url": "about:blank"})
        return str(made.get("targetId", ""))
    except CdpError as error:
        answer = await cdp.send("Target.getTargets")
        for info in answer.get("targetInfos", []):
            if info.get("type") == "page" and info.get("url") == "about:blank":
                return str(info.get("targetId", ""))
        raise CdpError(f"the browser opens no page: {error}") from error


def read_event(payload: object) -> PageEvent:
    """What the page emitted, from the text that it came as.

    Raises:
        ValueError: it is no JSON object, or a very large one.
    """
    if not isinstance(payload, str) or len(payload) > LARGEST_EVENT:
        raise ValueError("no text, or too much of it")
    try:
        told = json.loads(payload)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if not isinstance(told, dict):
        raise ValueError("no object")  # noqa: TRY004 - the page's fault, like all that it may send
    return told


def _thrown(details: dict[str, Any]) -> tuple[str, str]:
    """Name and message of what a page threw.

    V8 describes an error as `Name: message` and its stack; anything else may be thrown as well.
    """
    thrown = details.get("exception")
    exception = thrown if isinstance(thrown, dict) else {}
    described = str(exception.get("description") or exception.get("value") or "")
    text = described or str(details.get("text", ""))
    if exception.get("subtype") != "error":
        return "Error", text[:TEXT_CHARACTERS]
    name, _, message = text.partition(": ")
    return name[:80] or "Error", message.partition("\n    at ")[0][:TEXT_CHARACTERS]


def _shown(value: object) -> str:
    remote = value if isinstance(value, dict) else {}
    told = remote.get("value", remote.get("description", remote.get("unserializableValue", "")))
    return str(told)[:TEXT_CHARACTERS]


def _value(result: dict[str, Any]) -> JsonValue:
    """The value of a remote object; numbers that JSON cannot hold come as text."""
    if "value" in result:
        value: JsonValue = result["value"]
        return value
    match result.get("unserializableValue"):
        case "NaN":
            return math.nan
        case "Infinity":
            return math.inf
        case "-Infinity":
            return -math.inf
        case "-0":
            return -0.0
    return None
