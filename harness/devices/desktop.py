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
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Self

import psutil
from playwright.async_api import (
    Browser,
    BrowserContext,
    BrowserType,
    Playwright,
    async_playwright,
)
from playwright.async_api import Error as PlaywrightError

from harness.devices.base import Gate, HostFacts
from harness.devices.browsers import InstalledBrowser, browser_at, find_browser
from harness.devices.child import ChildSession, child_session
from harness.devices.desktop_session import CLOSE_SECONDS, LAUNCH_SECONDS, DesktopSession
from harness.devices.gpu import adapter_args, has_gpu
from harness.devices.machine import (
    cpu_name,
    operating_system,
    quiet,
    rest_seconds,
    temperature_celsius,
)
from harness.devices.processes import handles, kill_all
from harness.devices.watch import Watch, load_average
from harness.emulation.limits import find_limiter, observe
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from types import TracebackType

    from pydantic import JsonValue

    from harness.emulation.limits import Scope
    from harness.evidence import Timeline
    from harness.profiles import Profile

# Below this a browser, a driver and the harness itself have no room beside the model.
FREE_MEMORY_GATE: Final = 1 << 30

_CHROMIUM_ARGS: Final = (
    "--disable-quic",
    "--disable-sync",
    "--disable-component-update",
    "--enable-precise-memory-info",
)


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
            operating_system=operating_system(),
            cpu=cpu_name(),
            cores=os.cpu_count() or 1,
            memory_bytes=psutil.virtual_memory().total,
            browser=self._installed.channel,
            browser_version=self._installed.version,
            load_average=load_average(),
            temperature_celsius=temperature_celsius(),
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
        return await quiet(lambda: psutil.cpu_percent(interval=None), within=rest_seconds())

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
