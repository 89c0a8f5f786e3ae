"""Chrome as an app of the phone: start, stop, and what is shown."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.emulation.phone.android.apps_base import Intent, LaunchError
from harness.emulation.phone.android.chrome.arguments import FLAGS_FILE, arguments, read_flags
from harness.emulation.phone.android.chrome.bridge import DevtoolsBridge
from harness.emulation.phone.android.chrome.executable import program_of
from harness.emulation.phone.android.chrome.overrides import Overrides
from harness.emulation.phone.android.chrome.protocol import ProtocolError
from harness.emulation.phone.android.chrome.watch import LINE_BYTES, POLL_SECONDS, ChromeWatch
from harness.emulation.phone.android.deaths import SYSTEM_SERVER_PID, ForceStopped

if TYPE_CHECKING:
    from harness.devices.browsers import InstalledBrowser
    from harness.emulation.phone.android.deaths import Cause
    from harness.emulation.phone.android.group import MemoryGroup
    from harness.emulation.phone.android.state import Package, Process, State
    from harness.emulation.phone.command import Place

_LOG = logging.getLogger(__name__)
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 10.0
FIRST_RUN_ACTIVITY: Final = "org.chromium.chrome.browser.firstrun.FirstRunActivity"
_MANAGER: Final = ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")
_NO_FIRST_RUN: Final = frozenset({"--disable-fre", "--no-first-run"})


class ChromeApp:
    """One package that is a real Chromium: Chrome itself, or an app around a WebView.

    Args:
        package: as it is installed.
        state: the phone.
        place: where the phone is on the host.
        group: what limits the processes.
        browser: the Chromium of the host.
        gpu: whether the host's GPU can be reached; otherwise one in software is shown.
        webview: whether this is an app around a WebView: its socket carries its pid, it reads no
            flags file and has no first run.
        url: what is shown when the intent names nothing.
    """

    def __init__(
        self,
        package: Package,
        state: State,
        place: Place,
        group: MemoryGroup,
        browser: InstalledBrowser,
        *,
        gpu: bool,
        webview: bool = False,
        url: str = "about:blank",
    ) -> None:
        self._package = package
        self._state = state
        self._place = place
        self._group = group
        self._browser = browser
        self._gpu = gpu
        self._webview = webview
        self._url = url
        self._process: asyncio.subprocess.Process | None = None
        self._overrides: Overrides | None = None
        self._bridge: DevtoolsBridge | None = None
        self._watch: ChromeWatch | None = None
        self._watching: asyncio.Task[None] | None = None
        self._in_first_run = False
        self._lock = asyncio.Lock()

    @property
    def package(self) -> str:
        """See `App.package`."""
        return self._package.name

    @property
    def pid(self) -> int | None:
        """See `App.pid`."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    @property
    def activity(self) -> str:
        """See `App.activity`."""
        if self._in_first_run:
            return f"{self.package}/{FIRST_RUN_ACTIVITY}"
        return self._package.component or self.package

    @property
    def folder(self) -> Path:
        """Its data on the phone's storage."""
        return self._place.path("/data/user/0") / self.package / "app_chrome"

    def processes(self) -> list[Process]:
        """See `App.processes`."""
        return self._watch.processes() if self._watch is not None and self.pid is not None else []

    async def start(self, intent: Intent) -> bool:
        """See `App.start`."""
        async with self._lock:
            cold = self.pid is None
            url = intent.data or self._url
            if cold:
                await self._launch()
            if self._in_first_run:
                return cold
            if self._overrides is not None and (cold or intent.data):
                try:
                    await self._overrides.open(url, reuse=cold)
                except ProtocolError as error:
                    raise LaunchError(str(error)) from error
            return cold

    def _flags(self) -> list[str]:
        """The flags file's, where Chrome reads it: as the debug app, or on a debuggable build.

        `CommandLineInitUtil.shouldUseDebugFlags` (base/android) is the rule's source.
        """
        if self._webview:
            return []
        try:
            text = self._place.path(FLAGS_FILE).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return []
        state = self._state
        debug = state.settings["global"].get("debug_app") == self.package
        if not debug and state.properties.get("ro.debuggable") != "1":
            state.log.write(
                "W",
                "tierlab",
                f"{FLAGS_FILE} is not read: {self.package} is not the debug app "
                "(am set-debug-app --persistent)",
            )
            return []
        return read_flags(text)

    async def _launch(self) -> None:
        if self._watching is not None:  # of a life that just ended by itself
            await asyncio.wait({self._watching}, timeout=STOP_SECONDS)
        flags = self._flags()
        folder = self.folder
        first_run_done = folder / "First Run"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "DevToolsActivePort").unlink(missing_ok=True)
        # Where the phone's `/` is not a shell's, nobody can write the flags that skip it.
        reachable = self._place.path("/") == Path("/")
        self._in_first_run = reachable and not (
            self._webview or first_run_done.exists() or _NO_FIRST_RUN & set(flags)
        )
        command = [
            *self._group.prefix,
            str(program_of(self._browser.path)),
            *arguments(
                self._state,
                folder,
                flags,
                version=self._browser.version,
                gpu=self._gpu,
                sandbox=self._place.browser_sandbox,
            ),
        ]
        self._process = process = await asyncio.create_subprocess_exec(
            *command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            limit=LINE_BYTES,
            start_new_session=True,
            env={
                "HOME": str(folder.parent),
                "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
                "LANG": "C.UTF-8",
                "TMPDIR": os.environ.get("TMPDIR", "/tmp"),  # noqa: S108 - of the phone
                # For systemd-run, where that is the group's prefix.
                **{name: os.environ[name] for name in _MANAGER if name in os.environ},
            },
        )
        self._watch = ChromeWatch(self._package, self._state, self._place, self._group, process)
        self._say_started(process.pid)
        _LOG.info("%s started as %d", self.package, process.pid)
        self._watching = asyncio.create_task(self._live(self._watch))
        if self._in_first_run:
            return
        try:
            await self._attach(process, folder)
        except (ProtocolError, OSError) as error:
            await self._end(None)
            raise LaunchError(f"{self._browser.path}: {error}") from error

    async def _attach(self, process: asyncio.subprocess.Process, folder: Path) -> None:
        """Reach the browser, dress it as the phone's, and only then let others in."""
        port, path = await _devtools_port(process, folder)
        assert self._watch is not None
        self._overrides = Overrides(self._state, self._browser.version, self._watch.crashed)
        await self._overrides.start(f"ws://127.0.0.1:{port}{path}")
        name = (
            f"webview_devtools_remote_{process.pid}" if self._webview else "chrome_devtools_remote"
        )
        self._bridge = DevtoolsBridge(self._place.abstract(name), port, self.package)
        await self._bridge.start()

    def _say_started(self, pid: int) -> None:
        log, package = self._state.log, self._package
        component = package.component or package.name
        log.write(
            "I",
            "ActivityManager",
            f"Start proc {pid}:{package.name}/u0a{package.uid - 10_000} for top-activity "
            f"{{{component}}}",
            pid=SYSTEM_SERVER_PID,
            buffer="system",
        )
        log.write(
            "I",
            "am_proc_start",
            f"[0,{pid},{package.uid},{package.name},top-activity,{{{component}}}]",
            pid=SYSTEM_SERVER_PID,
            buffer="events",
        )

    async def _live(self, watch: ChromeWatch) -> None:
        """The watch, and after the end: nobody is let in any more."""
        try:
            await watch.run()
        finally:
            bridge, self._bridge = self._bridge, None
            overrides, self._overrides = self._overrides, None
            if bridge is not None:
                await bridge.close()
            if overrides is not None:
                await overrides.close()
        if (self._state.foreground or "").startswith(f"{self.package}/"):
            self._state.foreground = None

    async def stop(self, *, by: int) -> None:
        """See `App.stop`."""
        async with self._lock:
            await self._end(ForceStopped(by))

    async def _end(self, why: Cause | None) -> None:
        process, watch, watching = self._process, self._watch, self._watching
        if process is None or watch is None or watching is None:
            return
        if process.returncode is None:
            watch.stopping = why
            watch.kill()
        done, _ = await asyncio.wait({watching}, timeout=STOP_SECONDS)
        if not done:
            _LOG.warning("the browser %d did not end within %g s", process.pid, STOP_SECONDS)
        self._process = self._watch = self._watching = None
        self._in_first_run = False

    async def clear(self) -> None:
        """See `App.clear`."""
        await asyncio.to_thread(shutil.rmtree, self.folder.parent, ignore_errors=True)

    def signal(self, kind: str, number: int) -> int | None:
        """See `App.signal`."""
        if self._watch is None or self.pid is None:
            return None
        fitting = [item for item in self._watch.look() if item.kind == kind]
        # Spare renderers hold little: the page is in the largest one.
        for item in sorted(fitting, key=lambda item: -item.rss):
            with contextlib.suppress(ProcessLookupError):
                os.kill(item.pid, number)
                return item.pid
        return None

    def screen_changed(self) -> None:
        """See `App.screen_changed`."""
        if self._overrides is not None:
            self._overrides.update()

    async def screenshot(self) -> bytes | None:
        """See `App.screenshot`."""
        return await self._overrides.screenshot() if self._overrides is not None else None


async def _devtools_port(process: asyncio.subprocess.Process, folder: Path) -> tuple[int, str]:
    """Port and path from the file that Chromium writes when it listens.

    Raises:
        ProtocolError: it ended before, or did not listen in time.
    """
    file = folder / "DevToolsActivePort"
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.returncode is not None:
            raise ProtocolError(f"the browser ended with {process.returncode} as it started")
        with contextlib.suppress(OSError, ValueError):
            port, path = file.read_text(encoding="ascii").split()[:2]
            return int(port), path
        await asyncio.sleep(POLL_SECONDS)
    raise ProtocolError(f"the browser did not listen within {START_SECONDS:g} s")
