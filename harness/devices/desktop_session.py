"""A browser of this machine, started fresh and watched, through Playwright."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Frame, Page
from playwright.async_api import Error as PlaywrightError

from harness.devices.base import TabLostError
from harness.devices.gpu import gpu_names
from harness.evidence import DEATHS
from results.record import Kind, Source

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pydantic import JsonValue

    from harness.devices.base import MemorySample, OnEvent, PageEvent
    from harness.devices.watch import Watch
    from harness.evidence import Timeline

LAUNCH_SECONDS: Final = 60
CLOSE_SECONDS: Final = 10
SCREENSHOT_SECONDS: Final = 5
PICK_SECONDS: Final = 30
# How long Chromium's GPU process may take to stand: a third of a second with NVIDIA's driver.
GPU_SECONDS: Final = 10
# How long the other sources of a death are waited for, at most; see `DesktopSession.settle`.
SETTLE_SECONDS: Final = 0.5
# Between the driver's word that a page is closed and its word that the browser is gone.
DISCONNECT_SECONDS: Final = 0.2


class DesktopTab:
    """One page, through Playwright."""

    def __init__(self, page: Page) -> None:
        self._page = page

    async def call(self, function: str, argument: JsonValue, *, within: float) -> JsonValue:
        """See `Tab.call`."""
        try:
            async with asyncio.timeout(within):
                answer: JsonValue = await self._page.evaluate(
                    "([name, argument]) => globalThis[name](argument)", [function, argument]
                )
        except TimeoutError as error:
            raise TabLostError(f"{function} did not answer within {within} s") from error
        except PlaywrightError as error:
            raise TabLostError(f"{function}: {error.message}") from error
        return answer

    async def set_files(self, selector: str, paths: Sequence[Path]) -> None:
        """See `Tab.set_files`."""
        try:
            await self._page.set_input_files(selector, paths, timeout=PICK_SECONDS * 1000)
        except PlaywrightError as error:
            raise TabLostError(f"files cannot be picked in {selector}: {error.message}") from error

    async def screenshot(self, path: Path) -> bool:
        """See `Tab.screenshot`."""
        try:
            await self._page.screenshot(path=path, timeout=SCREENSHOT_SECONDS * 1000)
        except PlaywrightError:
            return False
        return True

    async def close(self) -> None:
        """See `Tab.close`."""
        with contextlib.suppress(PlaywrightError, TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._page.close()


class DesktopSession:
    """One browser, started fresh and watched.

    Args:
        browser: the browser.
        timeline: where its deaths go.
        watch: the polls around its processes.
        console: the file for what its pages say.
        context: what pages are opened in; None: a private window, opened with the first page.
    """

    def __init__(
        self,
        browser: Browser,
        timeline: Timeline,
        watch: Watch,
        console: Path,
        context: BrowserContext | None = None,
    ) -> None:
        self._browser = browser
        self._context = context
        self._page: Page | None = None
        self._timeline = timeline
        self._watch = watch
        self._console = console
        self._closing = False
        # Chromium opens targets of its own beside the page, each with a renderer of its own.
        self._target: str | None = None
        self.gpus: list[str] = []

    async def listen(self) -> None:
        """Subscribe to everything the driver can tell of a death, and wait for the GPU process.

        A page that asks for a WebGPU adapter before that process stands is told that there is none
        (Chromium 156 on an NVIDIA GPU, each time), as no user's browser is ever that fresh.
        """
        self._browser.on("disconnected", self._on_disconnected)
        if not self._chromium:
            return
        # Playwright's own crash event carries no status; the browser-level CDP session does.
        with contextlib.suppress(PlaywrightError):  # it died already: no tab can be opened
            cdp = await self._browser.new_browser_cdp_session()
            cdp.on("Target.targetCrashed", self._on_target_crashed)
            cdp.on("Target.detachedFromTarget", self._on_detached)
            await cdp.send("Target.setDiscoverTargets", {"discover": True})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GPU_SECONDS):
                    self.gpus = gpu_names(await cdp.send("SystemInfo.getInfo"))

    @property
    def _chromium(self) -> bool:
        return self._browser.browser_type.name == "chromium"

    def _on_disconnected(self, _: object) -> None:
        if not self._closing:
            self._timeline.add(Source.DRIVER, Kind.BROWSER_GONE, message="the browser disconnected")

    def _on_target_crashed(self, event: dict[str, Any]) -> None:
        if event.get("targetId") != self._target:
            return
        self._timeline.add(
            Source.CDP,
            Kind.RENDERER_GONE,
            status=str(event.get("status", "")),
            code=int(event.get("errorCode", 0)),
        )

    def _on_detached(self, event: dict[str, Any]) -> None:
        # Chromium reports its own out-of-memory termination as a detach.
        if event.get("reason") == "Render process gone." and event.get("targetId") == self._target:
            self._timeline.add(Source.CDP, Kind.RENDERER_GONE, status="oom", code=0)

    def _on_crash(self, _: object) -> None:
        self._timeline.add(Source.DRIVER, Kind.RENDERER_GONE)

    def _on_page_error(self, error: PlaywrightError) -> None:
        name, message = error.name or "Error", error.message[:4000]
        self._timeline.add(Source.PAGE, Kind.ENGINE_ERROR, name=name, message=message)

    def _on_page_closed(self, _: object) -> None:
        # A browser that goes away closes its pages first, and says so a moment later.
        asyncio.get_running_loop().call_later(DISCONNECT_SECONDS, self._page_closed)

    def _page_closed(self) -> None:
        if not self._closing and self._timeline.ending is None:
            self._timeline.add(Source.DRIVER, Kind.LAB_ERROR, message="the trial page was closed")

    def _on_navigated(self, frame: Frame) -> None:
        if frame.parent_frame is None:
            message = f"the trial page went to {frame.url[:400]}"
            self._timeline.add(Source.DRIVER, Kind.LAB_ERROR, message=message)

    async def _target_of(self, page: Page) -> str:
        cdp = await page.context.new_cdp_session(page)
        answer = await cdp.send("Target.getTargetInfo")
        await cdp.detach()
        return str(answer["targetInfo"]["targetId"])

    def _on_console(self, message: ConsoleMessage) -> None:
        with self._console.open("a", encoding="utf-8") as file:
            file.write(f"{self._timeline.now():9.3f} {message.type}: {message.text}\n")

    async def open_tab(self, url: str, on_event: OnEvent) -> DesktopTab:
        """See `Session.open_tab`."""

        def deliver(_: object, event: PageEvent) -> None:
            on_event(event)

        try:
            if self._context is None:
                self._context = await self._browser.new_context()
            self._page = page = await self._context.new_page()
            if self._chromium:
                self._target = await self._target_of(page)
            page.on("close", self._on_page_closed)
            page.on("crash", self._on_crash)
            page.on("console", self._on_console)
            page.on("pageerror", self._on_page_error)
            await page.expose_binding("tierlabEmit", deliver)
            await page.goto(url, timeout=LAUNCH_SECONDS * 1000)
            page.on("framenavigated", self._on_navigated)
        except PlaywrightError as error:
            raise TabLostError(f"{url} could not be opened: {error.message}") from error
        return DesktopTab(page)

    async def renew(self, timeline: Timeline) -> None:
        """See `Session.renew`."""
        page, self._page, self._target = self._page, None, None
        if page is not None:
            # A page that is closed on purpose is no evidence, and neither is how it ends.
            page.remove_listener("close", self._on_page_closed)
            page.remove_listener("crash", self._on_crash)
            page.remove_listener("framenavigated", self._on_navigated)
            await DesktopTab(page).close()
        self._timeline = timeline
        self._watch.turn_to(timeline)

    def memory_curve(self) -> list[MemorySample]:
        """See `Session.memory_curve`."""
        return self._watch.curve

    def peak_memory(self) -> tuple[dict[str, int], int | None]:
        """See `Session.peak_memory`."""
        self._watch.look_at_processes()
        return self._watch.peaks()

    def cpu_seconds(self) -> float | None:
        """See `Session.cpu_seconds`."""
        return self._watch.cpu_seconds()

    def throttled_seconds(self) -> float | None:
        """See `Session.throttled_seconds`."""
        return self._watch.throttled_seconds()

    async def settle(self) -> None:
        """See `Session.settle`.

        The kernel counts a memory kill before it sends the signal, and V8 writes its line before it
        traps, so one look finds both. Only what is said after a death is waited for: its status by
        CDP, and the end of the GPU process.
        """
        end = self._timeline.now() + SETTLE_SECONDS
        while True:
            self._watch.look_for_kills()
            self._watch.read_stderr()
            self._watch.look_at_processes()
            left = end - self._timeline.now()
            if self._explained() or left <= 0:
                return
            await self._timeline.changed(within=left)

    def _explained(self) -> bool:
        """Whether no source is left that could say more of a death."""
        gone = [item.kind for item in self._timeline.items if item.kind in DEATHS]
        if not gone or self._timeline.first(Kind.OOM_KILL, Kind.BROWSER_GONE):
            return True
        if Kind.RENDERER_GONE in gone:
            return not self._chromium or any(
                item.source is Source.CDP and item.kind is Kind.RENDERER_GONE
                for item in self._timeline.items
            )
        return self._timeline.first(Kind.GPU_PROCESS_GONE) is not None

    async def close(self) -> None:
        """End the browser; bounded, because it may be dead or stuck."""
        self._closing = True
        with contextlib.suppress(PlaywrightError, TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._browser.close()
