"""One browser on a phone, started fresh for one purpose, and watched from all sides.

Who tells of a death, and what is made of it:

- CDP tells at once: the page's crash with its status, or the loss of the connection. Who is gone
  then, browser or phone, is asked of the phone.
- The log says why, a moment later: lmkd, Zygote, ActivityManager, libc, V8.
- The exit records say it again, in the system's own words.
- A phone that is lost is told by whichever stream breaks first, and by the next command.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import posixpath
import re
import secrets
import shlex
from contextlib import AsyncExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from harness.devices.android.adb import CommandError, CommandTimeoutError, TransportLostError
from harness.devices.android.evidence import read_log_line
from harness.devices.android.exit_watch import ExitWatch
from harness.devices.android.logcat import Logcat, LogLine
from harness.devices.android.tab import CdpTab
from harness.devices.android.watch import PhoneWatch, WatchLimits
from harness.devices.base import TabLostError
from harness.devices.cdp import CdpError, CdpLostError, CdpTimeoutError, fetch_json
from harness.errors import UserError
from harness.evidence import DEATHS, Timeline
from results.record import Kind, Source

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from pathlib import Path

    from harness.devices.android.adb import Phone
    from harness.devices.android.chrome import Chrome
    from harness.devices.base import MemorySample, OnEvent
    from harness.devices.cdp import Cdp

# How long the phone's own words about a death are waited for. Longer than on the desktop: each
# look is a command over adb (0.05 to 0.3 s on phones), system_server writes an exit record only
# when both the zygote and lmkd have spoken, and a phone that just ran out of memory is slow.
SETTLE_SECONDS: Final = 3.0
_LOOK_SECONDS: Final = 0.25
# A browser that was killed may still be listed for a moment.
WHO_SECONDS: Final = 2.0
# How long a phone that was lost is waited for, to ask it what happened and put everything back.
RETURN_SECONDS: Final = 30.0
TOMBSTONE_SECONDS: Final = 15.0
FORGET_SECONDS: Final = 15.0
FOLDER: Final = "/data/local/tmp/tierlab-files"
# Whose storage is to be removed: a harness that is killed leaves word of it for the next one.
ORIGIN_FILE: Final = "/data/local/tmp/tierlab-origin"
_QUICK_SECONDS: Final = 5.0
# The kernel's name for this boot, and when the system on top of it started, which can restart by
# itself: all apps end with it (AOSP: SystemServer.java, SYSPROP_START_UPTIME).
WHICH_BOOT: Final = (
    "cat /proc/sys/kernel/random/boot_id; getprop sys.system_server.start_uptime;"
    " pidof system_server"
)
_ORIGIN: Final = re.compile(r"http://(?:127\.0\.0\.1|localhost):\d{1,5}")
_OURS: Final = re.compile(r"http://127\.0\.0\.1:\d{1,5}/page/\w+\.html")
_LOST: Final = (TransportLostError, CommandError, CommandTimeoutError)


def is_ours(url: str) -> bool:
    """Whether a page is the harness's own, or the empty one that a browser is started with."""
    return url == "about:blank" or bool(_OURS.fullmatch(url))


class AndroidSession:
    """See `Session`.

    Args:
        chrome: the browser, running.
        cdp: the connection to it.
        port: the local port that leads to its DevTools.
        timeline: where evidence goes.
        folder: for the raw logs.
        packages: of the browser's processes; see `role_of`.
        limits: what ends a trial.
        page: a page that is there already and is led to what is opened (a WebView); None: a new
            one is opened.
    """

    def __init__(
        self,
        chrome: Chrome,
        cdp: Cdp,
        port: int,
        timeline: Timeline,
        folder: Path,
        *,
        packages: Sequence[str],
        limits: WatchLimits | None = None,
        page: str | None = None,
    ) -> None:
        self._chrome = chrome
        self._phone: Phone = chrome.phone
        self._cdp = cdp
        self._port = port
        self._timeline = timeline
        self._folder = folder
        self._packages = packages
        self._page = page
        self._watch = PhoneWatch(self._phone, packages, timeline, limits)
        self._exits = ExitWatch(self._phone, packages)
        self._log = Logcat(self._phone, folder / "logcat.txt", self._on_line, self._on_lost_stream)
        self._stack = AsyncExitStack()
        self._tasks: set[asyncio.Task[None]] = set()
        self._reverses: set[int] = set()
        self._tabs: list[CdpTab] = []
        self._origins: set[str] = set()
        self._url: str | None = None
        self._pushed = False
        self._lost = False
        self._closing = False
        self._boot = ""

    async def start(self) -> None:
        """Begin to watch.

        Raises:
            TransportLostError: the phone is gone.
        """
        self._boot = await self._said(WHICH_BOOT)
        await self._exits.start(self._timeline)
        left = await self._said(f"cat {ORIGIN_FILE} 2>/dev/null")
        self._origins |= set(_ORIGIN.findall(left)[:8])
        await self._log.start()
        await self._watch.look_at_processes(anew=True)
        self._cdp.on_lost(self._on_lost_connection)
        with contextlib.suppress(CdpLostError):  # told already: no page can be opened
            await self._cdp.send("Target.setDiscoverTargets", {"discover": True})
        self._spawn(self._watch_phone())

    # What the phone tells.

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watch_phone(self) -> None:
        try:
            await self._watch.run()
        except* TransportLostError as group:
            self._transport_lost(str(group.exceptions[0]))

    def _on_line(self, line: LogLine) -> None:
        if line.tag == "ActivityManager":
            self._watch.note_start(line.message)
        said = read_log_line(line, self._packages, self._watch.role_of_pid)
        if said is None or self._closing:
            return
        kind, detail = said
        size, role = detail.get("rss_bytes"), detail.get("process")
        if kind is Kind.LMK_KILL and isinstance(size, int) and isinstance(role, str):
            self._watch.note_peak(role, size)
        self._timeline.add(Source.LOGCAT, kind, **detail)

    def _on_lost_stream(self, reason: str) -> None:
        # A log that ends by itself on a phone that answers is no loss: the next command tells.
        if not self._closing:
            self._spawn(self._is_it_there(reason))

    async def _is_it_there(self, reason: str) -> None:
        try:
            await self._phone.run("echo", within=_QUICK_SECONDS)
        except TransportLostError as error:
            self._transport_lost(str(error))
        except (CommandError, CommandTimeoutError):
            pass
        else:
            if await self._said(WHICH_BOOT) != self._boot:
                self._transport_lost(reason)

    def _on_lost_connection(self, reason: str) -> None:
        if not self._closing:
            self._spawn(self._who_is_gone(reason))

    async def _who_is_gone(self, reason: str) -> None:
        """The connection to the browser is gone: with it the browser, or the phone, or neither."""
        try:
            async with asyncio.timeout(WHO_SECONDS):
                while await self._chrome.pid() is not None:
                    with contextlib.suppress(CdpLostError):
                        await fetch_json(self._port, "/json/version", within=_LOOK_SECONDS)
                        words = f"the connection to the browser broke, which still runs: {reason}"
                        self._timeline.add(Source.CDP, Kind.LAB_ERROR, message=words)
                        return
        except TransportLostError as error:
            self._transport_lost(str(error))
            return
        except (TimeoutError, CommandTimeoutError):
            pass
        # A phone that restarted has no browser, either.
        if await self._said(WHICH_BOOT) != self._boot:
            self._transport_lost(reason)
        else:
            self._timeline.add(Source.CDP, Kind.BROWSER_GONE, message=reason)

    def _transport_lost(self, reason: str) -> None:
        if not self._lost and not self._closing:
            self._lost = True
            self._timeline.add(Source.ADB, Kind.TRANSPORT_LOST, message=reason)

    async def _said(self, command: str) -> str:
        """What a short command says; "" where it fails or the phone is gone."""
        try:
            return (await self._phone.run(command, within=_QUICK_SECONDS, check=False)).text.strip()
        except _LOST:
            return ""

    # What a trial does.

    async def open_tab(self, url: str, on_event: OnEvent) -> CdpTab:
        """See `Session.open_tab`. The URL's port of this machine becomes the phone's as well."""
        try:
            await self._reach(url)
            tab = await CdpTab.open(
                self._cdp,
                url,
                self._timeline,
                on_event,
                push=self._push,
                console=self._folder / "console.log",
                target=self._page,
            )
            self._tabs.append(tab)
            await self._tidy()
            # The page's process is known by number before anything can happen to it.
            await self._watch.look_at_processes(anew=True)
        except TransportLostError as error:
            self._transport_lost(str(error))
            raise TabLostError(f"{url} could not be opened: {error}") from error
        self._url = url
        return tab

    async def _reach(self, url: str) -> None:
        parts = urlsplit(url)
        port = parts.port
        if parts.hostname not in {"127.0.0.1", "localhost"} or port is None:
            return
        self._origins.add(f"{parts.scheme}://{parts.hostname}:{port}")
        await self._said(f"printf %s {shlex.quote(' '.join(self._origins))} > {ORIGIN_FILE}")
        if port not in self._reverses:
            await self._stack.enter_async_context(self._phone.reverse(f"tcp:{port}", f"tcp:{port}"))
            self._reverses.add(port)

    async def _tidy(self) -> None:
        """Close the empty page that the start left, and pages that a killed run left.

        Pages of the phone's owner are left alone: they are not loaded while they are not in front.
        """
        if self._page is not None:
            return
        mine = {tab.target for tab in self._tabs}
        with contextlib.suppress(CdpError, CdpTimeoutError, CdpLostError):
            answer = await self._cdp.send("Target.getTargets")
            for info in answer.get("targetInfos", [])[:1000]:
                ours = info.get("type") == "page" and is_ours(str(info.get("url", "")))
                if ours and info.get("targetId") not in mine:
                    await self._cdp.send("Target.closeTarget", {"targetId": info["targetId"]})

    async def _push(self, paths: Sequence[Path]) -> list[str]:
        """Bring files to where the browser can read them.

        Raises:
            TabLostError: they do not fit, or the phone is gone.
        """
        there = []
        self._pushed = True
        try:
            await self._phone.run(["mkdir", "-p", FOLDER])
            for path in paths:
                name = f"{secrets.token_hex(4)}/{path.name}"
                target = posixpath.join(FOLDER, name)
                await self._phone.run(["mkdir", "-p", posixpath.dirname(target)])
                await self._phone.push(path, target)
                await self._phone.run(["chmod", "644", target])
                there.append(target)
        except TransportLostError as error:
            self._transport_lost(str(error))
            raise TabLostError(f"files cannot be brought to the phone: {error}") from error
        except (CommandError, CommandTimeoutError, UserError) as error:
            raise TabLostError(f"files cannot be brought to the phone: {error}") from error
        return there

    async def renew(self, timeline: Timeline) -> None:
        """See `Session.renew`."""
        for tab in self._tabs:
            await tab.close()
        self._tabs.clear()
        self._timeline = timeline
        self._watch.turn_to(timeline)

    def memory_curve(self) -> list[MemorySample]:
        """See `Session.memory_curve`."""
        return self._watch.curve

    def peak_memory(self) -> tuple[dict[str, int], int | None]:
        """See `Session.peak_memory`. A phone does not tell the peak of all processes together."""
        return self._watch.peaks(), None

    def cpu_seconds(self) -> float | None:
        """See `Session.cpu_seconds`. As of the last look, which is up to a second old."""
        return self._watch.cpu_seconds()

    def throttled_seconds(self) -> float | None:
        """See `Session.throttled_seconds`. A phone does not count it; its heat is in the curve."""
        return None

    async def settle(self) -> None:
        """See `Session.settle`; here up to `SETTLE_SECONDS`, after a death only."""
        end = self._timeline.now() + SETTLE_SECONDS
        try:
            while True:
                await self._look_once(max(_LOOK_SECONDS, end - self._timeline.now()))
                left = end - self._timeline.now()
                if self._explained() or left <= 0:
                    return
                await self._timeline.changed(within=min(_LOOK_SECONDS, left))
        except TransportLostError as error:
            self._transport_lost(str(error))

    async def _look_once(self, within: float) -> None:
        if self._lost:
            return
        try:
            async with asyncio.timeout(within):
                if self._dead():
                    # Everything that was logged before the exit record is in the evidence first.
                    await self._log.catch_up(within=within)
                    await self._exits.read(self._timeline)
                else:
                    await self._watch.look_at_processes()
        except TimeoutError:
            pass

    def _dead(self) -> set[str]:
        """The roles of the processes that are gone."""
        roles = {
            Kind.RENDERER_GONE: "renderer",
            Kind.BROWSER_GONE: "browser",
            Kind.DEVICE_LOST: "gpu",
        }
        return {roles[i.kind] for i in self._timeline.items if i.kind in roles}

    def _explained(self) -> bool:
        """Whether no source is left that could say more of a death."""
        if self._lost or not any(item.kind in DEATHS for item in self._timeline.items):
            return True
        dead = self._dead()
        words = {item.kind for item in self._timeline.items if item.text("process") in dead} | {
            item.kind for item in self._timeline.items if item.kind is Kind.V8_OOM
        }
        if self._exits.kept:
            return Kind.EXIT_RECORD in words
        return bool(words & {Kind.LMK_KILL, Kind.NATIVE_CRASH, Kind.V8_OOM, Kind.SYSTEM_KILL})

    # The end.

    async def close(self) -> None:
        """End the watch, ask for what is still open, and put back what was changed here.

        Bounded, and raises nothing but cancellation.
        """
        await self._stop_watching()
        try:
            if self._lost and not await self._phone.wait_until_back(within=RETURN_SECONDS):
                self._chrome.phone_is_gone = True
                return
            if self._lost:
                await self._ask_after_loss()
            elif self._unexplained():
                await self._read_tombstone()
            await self._forget()
        except TransportLostError as error:
            if not self._lost:
                self._lost = True
                self._timeline.add(Source.ADB, Kind.TRANSPORT_LOST, message=str(error))
        finally:
            self._closing = True
            await self._log.stop()
            await self._cdp.close()
            await self._stack.aclose()
            self._keep_heat()

    async def _stop_watching(self) -> None:
        """End the polls first: processes that end because they are told to are no evidence."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _ask_after_loss(self) -> None:
        """What the phone says of the time before it was gone, now that it is back."""
        boot = await self._said(WHICH_BOOT)
        if boot and boot != self._boot:
            reason = re.sub(r"[^\w,.-]", "", await self._said("getprop sys.boot.reason"))[:80]
            words = f"another boot than before (reason: {reason or 'not told'})"
            self._timeline.add(Source.ADB, Kind.REBOOTED, line=words)
        await self._exits.read(self._timeline)

    def _unexplained(self) -> bool:
        """Whether the page is gone, and nobody says why."""
        if self._page is not None or self._url is None:
            return False
        words = {Kind.LMK_KILL, Kind.NATIVE_CRASH, Kind.SYSTEM_KILL, Kind.V8_OOM}
        known = any(
            item.kind in words
            or (item.kind is Kind.EXIT_RECORD and item.text("reason") != "SIGNALED")
            for item in self._timeline.items
        )
        return bool(self._dead() & {"renderer", "browser"}) and not known

    async def _read_tombstone(self) -> None:
        """What the page left in its storage before it died; see tombstone.js.

        A browser that is gone is started again for that.
        """
        self._closing = True  # what happens from now on is the harness's doing
        try:
            async with asyncio.timeout(TOMBSTONE_SECONDS), AsyncExitStack() as stack:
                cdp = self._cdp
                if cdp.lost is not None:
                    await self._chrome.start()
                    cdp, _ = await stack.enter_async_context(self._chrome.devtools())
                tab = await CdpTab.open(
                    cdp,
                    str(self._url),
                    Timeline(),  # what happens to this page is no evidence
                    lambda _: None,
                    push=self._push,
                    console=self._folder / "console.log",
                )
                stack.push_async_callback(tab.close)
                left = await tab.call("tierlabTombstone", None, within=_QUICK_SECONDS)
        except (TimeoutError, TabLostError, CdpLostError, UserError):
            return
        if isinstance(left, dict) and (phase := left.get("phase")):
            self._timeline.add(Source.PAGE, Kind.TOMBSTONE, phase=str(phase)[:80])

    async def _forget(self) -> None:
        """Leave the phone without what pages stored, and without the pages."""
        self._closing = True
        if self._pushed:
            with contextlib.suppress(CommandError, CommandTimeoutError):
                await self._phone.run(["rm", "-rf", FOLDER])
        if self._cdp.lost is not None:
            return
        if self._page is not None or not self._origins:
            return
        with contextlib.suppress(TabLostError, CdpLostError, CdpTimeoutError, CdpError):
            tab = await CdpTab.open(
                self._cdp,
                "about:blank",
                Timeline(),
                lambda _: None,
                push=self._push,
                console=self._folder / "console.log",
            )
            for old in self._tabs:
                await old.close()
            if all([await tab.forget_storage(o, within=FORGET_SECONDS) for o in self._origins]):
                await self._said(f"rm -f {ORIGIN_FILE}")
            await tab.close()

    def _keep_heat(self) -> None:
        if self._watch.heat:
            rows = [asdict(heat) for heat in self._watch.heat]
            path = self._folder / "temperature-curve.json"
            path.write_text(json.dumps(rows), encoding="utf-8")
