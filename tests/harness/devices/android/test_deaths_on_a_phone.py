"""Loads and deaths in a real browser behind a real adb server, on a virtual phone."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final

import pytest

from harness.devices.android.chrome import FLAGS_FILE, NOTE_FILE
from harness.devices.android.device import AndroidDevice
from harness.devices.android.private import private_server
from harness.devices.android.webview import webview_session
from harness.devices.browsers import find_browser
from harness.emulation.phone.start import VirtualPhone, virtual_phone
from harness.evidence import Timeline
from harness.load import Deadlines, full_load
from harness.profiles import BrowserSection, load_profiles
from harness.verdict import Judged, judge
from harness.web.server import Server, serve
from results.record import Evidence, Kind, Source, Verdict
from tests.harness.devices.paths import DEATHS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from harness.devices.android.session import AndroidSession

    Attack = Callable[["Lab"], Awaitable[Any]]

pytestmark = pytest.mark.integration

MEMORY: Final = 800 << 20
WEBVIEW_APP: Final = "dev.tierlab.webviewsample"
# Of the page's renderer and of its siblings: who is who, only the browser knows.
KILL_RENDERERS: Final = (
    "ps -A -o PID,NAME | grep sandboxed | while read pid name; do kill -9 $pid; done"
)


class Lab:
    """One virtual phone for all tests, as a device."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._count = 0
        self.device: AndroidDevice
        self.phone: VirtualPhone
        self.server: Server
        self.run(self._open())

    async def _open(self) -> None:
        enter = self._stack.enter_async_context
        profile = load_profiles()["pixel7"]
        adb = await enter(private_server())
        self.phone = await enter(
            virtual_phone(profile, work=self._folder / "phone", memory_bytes=MEMORY)
        )
        await adb.connect(self.phone.address)
        self.server = await enter(serve(extra={"/deaths/": DEATHS}))
        self.device = await enter(AndroidDevice(profile, adb, adb.phone(self.phone.address)))

    def run(self, work: Any) -> Any:
        return self._runner.run(work)

    def close(self) -> None:
        self.run(self._stack.aclose())
        self._runner.close()

    async def said(self, command: str) -> str:
        return (await self.device.phone.run(command, check=False)).text.strip()

    async def nothing_is_left(self) -> None:
        """Everything that was changed on the phone is as it was."""
        assert await self.said(f"ls {FLAGS_FILE} {NOTE_FILE} 2>/dev/null") == ""
        assert await self.said("settings get global debug_app") == "null"
        assert await self.said("pidof com.android.chrome") == ""
        assert await self.said("cat /proc/net/tcp | grep -c ' 0A '") == "0"  # nothing listens

    async def load(
        self, act: str = "", *, attack: Attack | None = None
    ) -> tuple[Judged, tuple[Evidence, ...], Path]:
        self._count += 1
        timeline, folder = Timeline(), self._folder / str(self._count)
        attacks: list[asyncio.Future[Any]] = []

        def progress(words: str) -> None:
            # The engine says so when it is ready to die.
            if attack is not None and not attacks and words.startswith("download: "):
                attacks.append(asyncio.ensure_future(attack(self)))

        async with self.device.session(timeline, folder) as session:
            await self.full_load(session, timeline, folder, act, progress)
            assert session.peak_memory()[0].get("browser", 0) > 50 << 20
        await asyncio.gather(*attacks)
        return judge(timeline.items), timeline.items, folder

    async def full_load(
        self,
        session: AndroidSession,
        timeline: Timeline,
        folder: Path,
        act: str = "",
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        await full_load(
            session,
            timeline,
            url=f"{self.server.url}/page/trial.html",
            job={
                "workload": act or "a good load",
                "adapter": "/deaths/deaths.js",
                "config": {"act": act, "phase": "download"} if act else {},
                "prompt": [1],
                "outputTokens": 3,
                "source": {"kind": "network", "files": []},
                "tombstone": True,
            },
            deadlines=Deadlines(load_seconds=60, token_seconds=60),
            screenshot=folder / "screenshot.png",
            progress=progress,
        )


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    found = find_browser(BrowserSection(channels=("chrome", "chromium", "msedge")))
    if sys.platform != "linux" or isinstance(found, str):
        pytest.skip(
            f"NOT TESTED, no virtual phone runs here: it takes Linux and Chromium ({found})"
        )
    made = Lab(tmp_path_factory.mktemp("phone"))
    yield made
    made.close()


def test_a_good_load(lab: Lab) -> None:
    judged, evidence, folder = lab.run(lab.load())
    assert (judged.verdict, judged.cause) == (Verdict.OK, "tokens")
    phases = [item.text("name") for item in evidence if item.kind is Kind.PHASE]
    assert phases == ["start", "download", "create", "first-token", "decode"]
    assert (folder / "screenshot.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "temperature-curve.json").stat().st_size > 2
    lab.run(lab.nothing_is_left())


def test_a_load_that_outgrows_the_phones_memory(lab: Lab) -> None:
    if not lab.phone.limited:
        pytest.skip(f"NOT TESTED, memory limits cannot be set here: {lab.phone.missing}")
    judged, evidence, folder = lab.run(lab.load("heap"))
    assert (judged.verdict, judged.cause) == (Verdict.OOM, "low-memory-killer")
    assert {item.source for item in evidence if item.source is not Source.PAGE} >= {
        Source.CDP,
        Source.LOGCAT,
        Source.EXIT_INFO,
    }
    assert "lowmemorykiller" in (folder / "logcat.txt").read_text("utf-8")
    lab.run(lab.nothing_is_left())


def test_a_renderer_that_somebody_kills_is_no_kill_for_memory(lab: Lab) -> None:
    judged, evidence, _ = lab.run(lab.load("wait", attack=lambda it: it.said(KILL_RENDERERS)))
    assert (judged.verdict, judged.cause) == (Verdict.CRASH, "killed")
    # Nobody says why: what the page left in its storage says where.
    assert [i.text("phase") for i in evidence if i.kind is Kind.TOMBSTONE] == ["download"]
    assert "during download" in judged.explanation


def test_a_browser_that_somebody_stops_is_no_fault_of_the_phone(lab: Lab) -> None:
    stop = "am force-stop com.android.chrome"
    judged, _, _ = lab.run(lab.load("wait", attack=lambda it: it.said(stop)))
    assert (judged.verdict, judged.cause) == (Verdict.INFRA, "asked-for")


def test_a_phone_that_is_unplugged_and_plugged_in_again(lab: Lab) -> None:
    judged, _, _ = lab.run(
        lab.load("wait", attack=lambda it: it.phone.control("unplug", seconds=1))
    )
    assert (judged.verdict, judged.cause) == (Verdict.INFRA, "transport-lost")
    lab.run(lab.nothing_is_left())


def test_an_interrupted_load_leaves_nothing(lab: Lab) -> None:
    async def interrupt() -> None:
        ready = asyncio.Event()

        async def tell(_: Lab) -> None:
            ready.set()

        load = asyncio.ensure_future(lab.load("wait", attack=tell))
        await ready.wait()
        load.cancel()
        with pytest.raises(asyncio.CancelledError):
            await load
        await lab.nothing_is_left()

    lab.run(interrupt())


def test_a_load_in_the_webview_of_an_app(lab: Lab, tmp_path: Path) -> None:
    timeline = Timeline()

    async def load() -> None:
        async with webview_session(lab.device.phone, WEBVIEW_APP, timeline, tmp_path) as session:
            await lab.full_load(session, timeline, tmp_path)

    lab.run(load())
    assert judge(timeline.items).verdict is Verdict.OK
    assert lab.run(lab.said(f"pidof {WEBVIEW_APP}")) == ""


def test_files_of_this_machine_are_picked_on_the_phone(lab: Lab, tmp_path: Path) -> None:
    model = tmp_path / "model.gguf"
    model.write_bytes(b"x" * 100_001)

    async def pick() -> Any:
        async with lab.device.session(Timeline(), tmp_path / "raw") as session:
            tab = await session.open_tab(f"{lab.server.url}/page/trial.html", lambda _: None)
            await tab.set_files("#files", [model])
            return await tab.call(
                "eval",
                "document.querySelector('#files').files[0].arrayBuffer()"
                ".then(b => [b.byteLength, new Uint8Array(b)[100000], crossOriginIsolated])",
                within=20,
            )

    assert lab.run(pick()) == [100_001, ord("x"), True]
    assert lab.run(lab.said("ls /data/local/tmp | grep -c tierlab-files")) == "0"
