"""This machine as a device: its browsers, driven through Playwright.

Every session starts a fresh browser in a fresh group (a cgroup where one can be had), so that the
group's counters speak of this browser only, and closing the group ends whatever is left of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import shlex
import shutil
import uuid
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import psutil
from playwright.async_api import (
    Browser,
    BrowserContext,
    BrowserType,
    ConsoleMessage,
    Frame,
    Page,
    Playwright,
    async_playwright,
)
from playwright.async_api import Error as PlaywrightError

from harness.devices.base import Gate, HostFacts, TabLostError
from harness.devices.browsers import InstalledBrowser, browser_at, find_browser
from harness.devices.child import ChildSession, child_session
from harness.devices.gpu import adapter_args, gpu_names, has_gpu
from harness.devices.processes import handles, kill_all
from harness.devices.watch import Watch, load_average
from harness.emulation.limits import find_limiter, observe
from harness.errors import UserError
from harness.evidence import DEATHS
from results.record import Kind, Source

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from types import TracebackType

    from pydantic import JsonValue

    from harness.devices.base import MemorySample, OnEvent, PageEvent
    from harness.emulation.limits import Scope
    from harness.evidence import Timeline
    from harness.profiles import Profile

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
# A host is at rest when two windows in a row are this quiet. An idle Chromium and the harness's own
# polls take about 3 % of two processors; a tenth lets no second load pass.
QUIET_PERCENT: Final = 10.0
QUIET_WINDOWS: Final = 2
REST_WINDOW_SECONDS: Final = 0.25
REST_SECONDS: Final = 10.0
# Below this a browser, a driver and the harness itself have no room beside the model.
FREE_MEMORY_GATE: Final = 1 << 30

_CHROMIUM_ARGS: Final = (
    "--disable-quic",
    "--disable-sync",
    "--disable-component-update",
    "--enable-precise-memory-info",
)


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


async def quiet(
    busy_percent: Callable[[], float],
    *,
    window: float = REST_WINDOW_SECONDS,
    within: float = REST_SECONDS,
) -> bool:
    """Whether, within `within` seconds, two windows in a row were quiet.

    `busy_percent` gives the busy share of all processors since its last call.
    """
    busy_percent()
    quiet_windows = 0
    for _ in range(max(1, round(within / window))):
        await asyncio.sleep(window)
        quiet_windows = quiet_windows + 1 if busy_percent() <= QUIET_PERCENT else 0
        if quiet_windows == QUIET_WINDOWS:
            return True
    return False


class DesktopDevice:
    """This machine, through the browser that a profile asks for.

    Args:
        profile: what the device is.
        browser: another executable than the one that the profile finds.
    """

    def __init__(self, profile: Profile, browser: Path | None = None) -> None:
        self.profile = profile
        section = profile.browser
        found = browser_at(browser, section) if browser else find_browser(section)
        if isinstance(found, str):
            raise UserError(f"device {profile.id!r} cannot be used: {found}")
        self._installed: InstalledBrowser = found
        self._driver: Playwright | None = None
        # Filled by the first browser that starts; the facts of this device share it.
        self._found: dict[str, JsonValue] = {}

    async def __aenter__(self) -> Self:
        self._driver = await async_playwright().start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._driver:
            await self._driver.stop()

    @property
    def browser(self) -> InstalledBrowser:
        """The browser that sessions start."""
        return self._installed

    async def facts(self) -> HostFacts:
        """See `Device.facts`."""
        limits = self.profile.resource_limits
        limited = limits.memory_bytes is not None or limits.cpus is not None
        return HostFacts(
            host=platform.node(),
            operating_system=_operating_system(),
            cpu=_cpu_name(),
            cores=os.cpu_count() or 1,
            memory_bytes=psutil.virtual_memory().total,
            browser=self._installed.channel,
            browser_version=self._installed.version,
            load_average=load_average(),
            temperature_celsius=_temperature(),
            emulated=limited,
            limiter=find_limiter().name if limited else None,
            extra=self._found,
        )

    async def gates(self) -> list[Gate]:
        """See `Device.gates`."""
        free = psutil.virtual_memory().available
        return [
            Gate(
                name="free memory of the host",
                passed=free >= FREE_MEMORY_GATE,
                observed=f"{free >> 20} MiB",
                limit=f"at least {FREE_MEMORY_GATE >> 20} MiB",
            )
        ]

    async def rest(self) -> bool:
        """See `Device.rest`."""
        return await quiet(lambda: psutil.cpu_percent(interval=None))

    async def overtaken(self) -> None:
        """See `Device.overtaken`: its lease is a lock of this machine."""

    async def recover(self) -> None:
        """Start the driver anew; sessions start a fresh browser anyway."""
        if self._driver:
            with contextlib.suppress(PlaywrightError):
                await self._driver.stop()
        self._driver = await async_playwright().start()

    @asynccontextmanager
    async def session(
        self, timeline: Timeline, folder: Path, *, persistent: Path | None = None
    ) -> AsyncIterator[DesktopSession]:
        """See `Device.session`.

        Raises:
            UserError: the browser does not start; the message carries its last words.
        """
        folder = _make(folder)
        stderr, pid_file = folder / "browser-stderr.log", folder / "browser.pid"
        scope = self._scope()
        try:
            script = _launch_script(folder, self._installed.path, scope, stderr, pid_file)
            try:
                browser, context = await self._launch(script, stderr, persistent)
            finally:
                script.unlink()  # it has become the browser
            watch = Watch(timeline, lambda: _read_pid(pid_file), scope, stderr)
            console = folder / "console.log"
            session = DesktopSession(browser, timeline, watch, console, context)
            polls = asyncio.create_task(watch.run())
            try:
                await session.listen()
                if session.gpus:
                    self._found["gpus"] = list(session.gpus)
                yield session
            finally:
                # First the polls: processes that end because they are told to are no evidence.
                polls.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await polls
                # Without a group nobody else ends what does not end with the browser; and once the
                # browser is dead, nobody knows which processes were its own.
                left = [] if scope else handles(watch.pids())
                await session.close()
                await asyncio.to_thread(kill_all, left, within=CLOSE_SECONDS)
        finally:
            if scope:
                await asyncio.to_thread(scope.close)
            pid_file.unlink(missing_ok=True)

    @asynccontextmanager
    async def child(self, timeline: Timeline, folder: Path) -> AsyncIterator[ChildSession]:
        """See `Device.child`."""
        async with child_session(timeline, _make(folder), self._scope()) as session:
            yield session

    def _scope(self) -> Scope | None:
        name = f"{self.profile.id}-{uuid.uuid4().hex[:8]}"
        limits = self.profile.resource_limits
        if limits.memory_bytes is None and limits.cpus is None:
            return observe(name)
        return find_limiter().scope(name, limits)

    def _profile_args(self) -> tuple[str, ...]:
        """What the profile adds to the browser's command line."""
        section = self.profile.browser
        if section.engine != "chromium":
            return section.args
        more = adapter_args(section.args, software=section.software_adapter, gpu=has_gpu())
        return (*section.args, *more)

    async def _launch(
        self, script: Path, stderr: Path, persistent: Path | None
    ) -> tuple[Browser, BrowserContext | None]:
        """The browser, and the window of its profile where it has one."""
        if self._driver is None:
            raise RuntimeError("the device is used outside its `async with`")
        engine = self.profile.browser.engine
        browser_type: BrowserType = getattr(self._driver, engine)
        options: dict[str, Any] = {
            "executable_path": script,
            "args": [*(_CHROMIUM_ARGS if engine == "chromium" else ()), *self._profile_args()],
            # Chromium's sandbox does not run as root.
            "chromium_sandbox": os.geteuid() != 0,
            # The driver must not end the browser behind the harness's back.
            "handle_sigint": False,
            "timeout": LAUNCH_SECONDS * 1000,
        }
        try:
            if persistent is None:
                return await browser_type.launch(**options), None
            context = await browser_type.launch_persistent_context(persistent, **options)
        except PlaywrightError as error:
            words = _tail(stderr) or error.message.splitlines()[0]
            raise UserError(
                f"{self._installed.path} does not start: {words}",
                f"start it by hand with: {self._installed.path} --headless --dump-dom about:blank",
            ) from error
        if context.browser is None:
            await context.close()
            raise UserError(
                "this version of Playwright does not give the browser of a persistent profile",
                "run ./lab setup, which installs the version that tierlab is tested with",
            )
        return context.browser, context


def _launch_script(
    folder: Path, browser: Path, scope: Scope | None, stderr: Path, pid_file: Path
) -> Path:
    """A script that joins the group, then becomes the browser.

    The driver stays outside the group. The script keeps the browser's stderr, which the driver
    does not hand out, and leaves its process number, which stays the browser's after `exec`.
    Playwright's Firefox and WebKit announce themselves on stderr, so theirs is copied instead.
    """
    prefix = shlex.join(scope.prefix) if scope else ""
    chromium = "firefox" not in browser.name and "pw_run" not in browser.name
    redirect = f"2>>{shlex.quote(str(stderr))}" if chromium else ""
    script = folder / "launch.sh"
    script.write_text(
        f"#!/bin/sh\necho $$ >{shlex.quote(str(pid_file))}\n"
        f'exec {prefix} {shlex.quote(str(browser))} "$@" {redirect}\n',
        encoding="utf-8",
    )
    script.chmod(0o700)
    return script


def _make(folder: Path) -> Path:
    """The folder, made when missing, as an absolute path."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


def _read_pid(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _tail(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1][:300] if lines else ""


def _operating_system() -> str:
    if shutil.which("sw_vers"):
        return f"macOS {platform.mac_ver()[0]}"
    try:
        return f"{platform.freedesktop_os_release()['PRETTY_NAME']}, Linux {platform.release()}"
    except (OSError, KeyError):
        return platform.platform()


def _cpu_name() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line]
    return names[0] if names else platform.machine()


def _temperature() -> float | None:
    """The hottest sensor of the host, where it has one."""
    read = getattr(psutil, "sensors_temperatures", None)
    readings = [t.current for group in (read() if read else {}).values() for t in group]
    return max(readings, default=None)
