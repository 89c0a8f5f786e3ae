"""Every page and worker sees the phone, not the host.

One browser-level session attaches to each page, frame and worker before its first script runs,
gives it the phone's figures, and lets it go on. Other DevTools clients are not disturbed: an
override that they set themselves counts for their own session's lifetime.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from harness.emulation.phone.android.chrome.arguments import css_size, identity, navigator_script
from harness.emulation.phone.android.chrome.protocol import Protocol, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.emulation.phone.android.state import State

_LOG = logging.getLogger(__name__)
_PAGES: Final = frozenset({"page", "iframe", "webview", "other"})
_ATTACH: Final = {"autoAttach": True, "waitForDebuggerOnStart": True, "flatten": True}
_TOUCH_POINTS: Final = 5
#: One origin may use this share of the disk (Chromium's `QuotaSettings`: 60 % of the pool of 80 %).
_ORIGIN_SHARE: Final = 0.6


class Overrides:
    """The session and what it saw.

    Args:
        state: the phone.
        version: of the browser.
        on_crash: called with the status (`killed`, `crashed`, `oom`, ...) and the code (a signal)
            when a page's renderer is gone.
    """

    def __init__(self, state: State, version: str, on_crash: Callable[[str, int], None]) -> None:
        self._state = state
        self._version = version
        self._on_crash = on_crash
        self.protocol = Protocol(self._on_event)
        self._pages: dict[str, str] = {}
        self._targets: dict[str, str] = {}
        self._origins: set[tuple[str, str]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._first = asyncio.Event()

    async def start(self, address: str) -> None:
        """Attach to everything that is there and everything that comes.

        Raises:
            ProtocolError: the browser is gone.
        """
        await self.protocol.connect(address)
        await self.protocol.call("Target.setDiscoverTargets", {"discover": True})
        await self.protocol.call("Target.setAutoAttach", _ATTACH)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                await self._first.wait()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def open(self, url: str, *, reuse: bool) -> None:
        """Show a page: in the empty first tab, or in a new one.

        Raises:
            ProtocolError: the browser is gone.
        """
        if reuse and self._pages:
            session = next(iter(self._pages.values()))
            self.protocol.send("Page.navigate", {"url": url}, session)
            return
        await self.protocol.call("Target.createTarget", {"url": url})

    async def screenshot(self) -> bytes | None:
        """A PNG of the newest page, where there is one that can be drawn."""
        import base64  # noqa: PLC0415 - only here

        for session in reversed(list(self._pages.values())):
            try:
                answer = await self.protocol.call("Page.captureScreenshot", {}, session)
                return base64.b64decode(answer["data"])
            except (ProtocolError, KeyError, ValueError):
                continue
        return None

    def update(self) -> None:
        """Give the pages what changed: the screen, the free storage."""
        self._origins.clear()
        for target, session in self._pages.items():
            self.protocol.send("Emulation.setDeviceMetricsOverride", self._metrics(), session)
            self._bound_storage(target)

    async def close(self) -> None:
        """Let go."""
        for task in self._tasks:
            task.cancel()
        await self.protocol.close()

    def _on_event(self, method: str, data: dict[str, Any], _: str | None) -> None:
        if method == "Target.attachedToTarget":
            task = asyncio.ensure_future(self._attached(data["sessionId"], data["targetInfo"]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif method == "Target.detachedFromTarget":
            gone = data.get("sessionId")
            self._pages = {key: value for key, value in self._pages.items() if value != gone}
        elif method == "Target.targetCrashed":
            self._on_crash(str(data.get("status", "")), int(data.get("errorCode", 0)))
        elif method == "Target.targetInfoChanged":
            info = data.get("targetInfo", {})
            self._targets[str(info.get("targetId"))] = str(info.get("url", ""))
            self._bound_storage(str(info.get("targetId")))
        elif method == "Target.targetDestroyed":
            self._targets.pop(str(data.get("targetId")), None)

    async def _attached(self, session: str, info: dict[str, Any]) -> None:
        kind, target = str(info.get("type")), str(info.get("targetId"))
        send = self.protocol.send
        waiting = [send("Target.setAutoAttach", _ATTACH, session)]
        who = identity(self._state, self._version)
        waiting.append(send("Emulation.setUserAgentOverride", who, session))
        cores = {"hardwareConcurrency": self._state.cores}
        waiting.append(send("Emulation.setHardwareConcurrencyOverride", cores, session))
        script = navigator_script(self._state.memory_total)
        if kind in _PAGES:
            waiting.append(send("Page.enable", {}, session))
            waiting.append(
                send(
                    "Page.addScriptToEvaluateOnNewDocument",
                    {"source": script, "runImmediately": True},
                    session,
                )
            )
            metrics = self._metrics()
            waiting.append(send("Emulation.setDeviceMetricsOverride", metrics, session))
            touch = {"enabled": True, "maxTouchPoints": _TOUCH_POINTS}
            waiting.append(send("Emulation.setTouchEmulationEnabled", touch, session))
        else:
            waiting.append(send("Runtime.evaluate", {"expression": script}, session))
        # Sent last, so the browser does all of the above first; whatever it refused, it goes on.
        waiting.append(send("Runtime.runIfWaitingForDebugger", {}, session))
        if kind == "page":
            self._pages[target] = session
            self._targets[target] = str(info.get("url", ""))
            self._bound_storage(target)
            self._first.set()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, ProtocolError):
                _LOG.debug("override of a %s: %s", kind, answer)

    def _metrics(self) -> dict[str, object]:
        screen = self._state.screen
        width, height = css_size(screen)
        angle, name = (90, "landscapePrimary") if width > height else (0, "portraitPrimary")
        return {
            "width": width,
            "height": height,
            "screenWidth": width,
            "screenHeight": height,
            "deviceScaleFactor": screen.scale,
            "mobile": True,
            "screenOrientation": {"type": name, "angle": angle},
        }

    def _bound_storage(self, target: str) -> None:
        """Bound what the page's origin may store to its share of the phone's free storage."""
        session, url = self._pages.get(target), urlsplit(self._targets.get(target, ""))
        if session is None or url.scheme not in {"http", "https"}:
            return
        origin = f"{url.scheme}://{url.netloc}"
        if (session, origin) in self._origins:
            return
        self._origins.add((session, origin))
        quota = {"origin": origin, "quotaSize": int(self._state.storage.available * _ORIGIN_SHARE)}
        self.protocol.send("Storage.overrideQuotaForOrigin", quota, session)
