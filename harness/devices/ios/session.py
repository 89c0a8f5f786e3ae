"""Safari on a device, started anew for one purpose, and what iOS says of its end.

iOS does not let anybody look at another app's memory: there is no memory curve and no CPU time. A
kill for memory is told by the page that came back, by the words of Safari's banner, and by the
jetsam event report that iOS writes a moment later.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

from harness.devices.appium.selectors import Selector
from harness.devices.appium.session import NATIVE, AppiumError, SessionLostError
from harness.devices.base import MemorySample, TabLostError
from harness.devices.ios.relay import relay
from harness.devices.ios.reports import evidence_of, parse_report
from harness.devices.ios.tab import IosTab, adopt_page, open_page
from harness.errors import UserError
from harness.evidence import DEATHS
from results.record import Kind, Source

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.devices.appium.session import AppiumSession
    from harness.devices.base import OnEvent
    from harness.devices.ios.settings import IosSettings
    from harness.evidence import Timeline

#: A report is written some seconds after the kill.
SETTLE_SECONDS: Final = 8.0
_LOOK_SECONDS: Final = 0.5
_CONTEXT_SECONDS: Final = 20.0
_TOMBSTONE_SECONDS: Final = 10.0
CRASH_LOG: Final = "crashlog"
CONSOLE_LOG: Final = "safariConsole"
# Safari's banner above a page that it loaded anew, and its page after the second time (English).
BANNER: Final = Selector(
    xpath="//*[contains(@label,'was reloaded because') or contains(@label,'problem repeatedly')]"
)
_FOR_MEMORY: Final = re.compile(r"significant memory")
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost"})


class IosSession:
    """See `harness.devices.base.Session`.

    Args:
        session: in Safari.
        timeline: where evidence goes.
        folder: for the raw logs.
        settings: how the device finds the harness's pages.
        simulator: whether the device shares this machine's network.
    """

    def __init__(
        self,
        session: AppiumSession,
        timeline: Timeline,
        folder: Path,
        settings: IosSettings,
        *,
        simulator: bool,
    ) -> None:
        self._session = session
        self._timeline = timeline
        self._folder = folder
        self._settings = settings
        self._simulator = simulator
        self._stack = AsyncExitStack()
        self._led: dict[int, None] = {}
        self._tabs: list[IosTab] = []
        self._reports = 0
        self._told: set[tuple[str, int, str]] = set()
        self._banner_read = False

    async def open_tab(self, url: str, on_event: OnEvent) -> IosTab:
        """See `Session.open_tab`. Safari's own tab is led there: it has one."""
        for tab in self._tabs:
            await tab.close()
        address = await self._address(url)
        tab = await open_page(self._session, address, self._timeline, on_event)
        self._tabs.append(tab)
        return tab

    async def _address(self, url: str) -> str:
        """Where the device finds a page of this machine.

        Raises:
            TabLostError: there is no such place.
        """
        parts = urlsplit(url)
        if parts.hostname not in _LOOPBACK or parts.port is None:
            return url
        if self._settings.origin is None or self._settings.port is None:
            if self._simulator:
                return url
            raise TabLostError(
                "the device cannot reach this machine's pages; set TIERLAB_IOS_ORIGIN and"
                " TIERLAB_IOS_PORT, see docs/ios.md"
            )
        if parts.port not in self._led:
            try:
                await self._stack.enter_async_context(relay(self._settings.port, parts.port))
            except UserError as error:
                raise TabLostError(str(error)) from error
            self._led[parts.port] = None
        origin = urlsplit(self._settings.origin)
        return urlunsplit((origin.scheme, origin.netloc, parts.path, parts.query, ""))

    async def renew(self, timeline: Timeline) -> None:
        """See `Session.renew`."""
        for tab in self._tabs:
            await tab.close()
        self._tabs.clear()
        self._timeline = timeline
        self._banner_read = False

    def memory_curve(self) -> list[MemorySample]:
        """See `Session.memory_curve`: iOS shows none."""
        return []

    def peak_memory(self) -> tuple[dict[str, int], int | None]:
        """See `Session.peak_memory`: what a jetsam report told, else nothing."""
        peaks: dict[str, int] = {}
        for item in self._timeline.items:
            size, role = item.detail.get("rss_bytes"), item.text("process")
            if item.kind is Kind.LMK_KILL and isinstance(size, int) and role:
                peaks[role] = max(size, peaks.get(role, 0))
        return peaks, None

    def cpu_seconds(self) -> float | None:
        """See `Session.cpu_seconds`: iOS tells none."""
        return None

    def throttled_seconds(self) -> float | None:
        """See `Session.throttled_seconds`: iOS tells none."""
        return None

    async def settle(self) -> None:
        """See `Session.settle`; here up to `SETTLE_SECONDS`, after a death only."""
        if not any(item.kind in DEATHS for item in self._timeline.items):
            return
        end = self._timeline.now() + SETTLE_SECONDS
        try:
            await self._read_banner()
            while True:
                await self._read_reports()
                left = end - self._timeline.now()
                if self._explained() or left <= 0:
                    break
                await self._timeline.changed(within=min(_LOOK_SECONDS, left))
            await self._read_tombstone()
        except SessionLostError as error:
            self._timeline.add(Source.DRIVER, Kind.TRANSPORT_LOST, message=str(error)[:400])

    def _explained(self) -> bool:
        said = (Kind.LMK_KILL, Kind.NATIVE_CRASH)
        return self._timeline.first(*said, Kind.TRANSPORT_LOST) is not None

    async def _read_banner(self) -> None:
        """Safari's own words about a page that it loaded anew."""
        if self._banner_read:
            return
        self._banner_read = True
        with _refusals_pass():
            before = await self._session.context()
            await self._session.enter(NATIVE, within=_CONTEXT_SECONDS)
            try:
                words = await self._session.texts(BANNER)
            finally:
                await self._session.enter(before, within=_CONTEXT_SECONDS)
            for text in words[:3]:
                if _FOR_MEMORY.search(text):
                    self._timeline.add(
                        Source.DRIVER,
                        Kind.LMK_KILL,
                        process="renderer",
                        killer="Safari",
                        reason=text[:400],
                    )
                else:
                    self._timeline.add(Source.DRIVER, Kind.SYSTEM_KILL, line=text[:400])

    async def _read_reports(self) -> None:
        """New crash and jetsam reports; they are kept as files, whatever they are about."""
        with _refusals_pass():
            for text in await self._session.logs(CRASH_LOG):
                await self._keep_report(text)
                report = parse_report(text)
                for kind, detail in evidence_of(report) if report else []:
                    key = (str(kind), int(str(detail.get("pid", 0))), str(detail.get("time", "")))
                    if key not in self._told:
                        self._told.add(key)
                        self._timeline.add(Source.CRASH_REPORT, kind, **detail)

    async def _keep_report(self, text: str) -> None:
        self._reports += 1
        path = self._folder / f"report-{self._reports}.ips"
        await asyncio.to_thread(path.write_text, text, "utf-8")

    async def _read_tombstone(self) -> None:
        """Where the load was, by the word that the page left; a page that came back can read it."""
        if not self._tabs or self._timeline.first(Kind.TOMBSTONE) is not None:
            return
        await self._tabs[-1].close()
        with contextlib.suppress(TabLostError):
            page = await adopt_page(self._session, self._timeline)
            left = await page.call("tierlabTombstone", None, within=_TOMBSTONE_SECONDS)
            phase = left.get("phase") if isinstance(left, dict) else None
            if isinstance(phase, str) and phase:
                self._timeline.add(Source.PAGE, Kind.TOMBSTONE, phase=phase[:80])

    async def console(self) -> None:
        """Keep what pages said to the console. Never raises for a session that is gone."""
        with contextlib.suppress(AppiumError):
            lines = await self._session.logs(CONSOLE_LOG)
            if lines:
                path = self._folder / "console.log"
                await asyncio.to_thread(path.write_text, "\n".join(lines) + "\n", "utf-8")

    async def close(self) -> None:
        """Let go of the pages and the ports. Never raises for a session that is gone."""
        for tab in self._tabs:
            await tab.close()
        await self.console()
        await self._stack.aclose()


@contextmanager
def _refusals_pass() -> Iterator[None]:
    """What Appium refuses is passed over; a session that is lost is not."""
    try:
        yield
    except SessionLostError:
        raise
    except AppiumError:
        pass
