"""Every source of bytes in a real browser, with files of a few MiB: first use, second use, storage
that is damaged or too small, and the load with the server really down."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from harness.devices.desktop import DesktopDevice, DesktopSession
from harness.devices.profile_folder import persistent_profile
from harness.evidence import Timeline
from harness.load import Deadlines, LoadLog, full_load
from harness.offline import TOKENS, offline_load
from harness.profiles import Profile
from harness.sources import SOURCES, find_source
from harness.verdict import Judged, judge
from harness.web.server import Server, serve
from results.record import OfflineLoad, Verdict

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterator

    from playwright.async_api import Page

DATA: Final = Path(__file__).parent / "data"
MIB: Final = 1 << 20
# An entry, and a part of it in a folder: what sources make of names must fit both.
FILES: Final = {
    "model.bin": bytes(range(256)) * (3 * MIB // 256),
    "parts/model.bin": bytes(range(251)) * 1000,
}
WAYS: Final = ("stream", "blob", "url", "buffer")
DEADLINES: Final = Deadlines(load_seconds=30, token_seconds=30)
# Where `harness/web/static/source.js` keeps files.
CACHE: Final = "tierlab-files"


def expected(*ways: str) -> list[int]:
    """The tokens of `reader.js`."""
    once = [value for data in FILES.values() for value in (len(data), sum(data) % 65_521)]
    return once * len(ways)


@dataclass
class Outcome:
    log: LoadLog
    judged: Judged

    @property
    def phases(self) -> list[str]:
        return [phase.name for phase in self.log.phases]


@dataclass
class Window:
    """One browser, and the loads in it."""

    lab: Lab
    session: DesktopSession
    folder: Path
    timeline: Timeline
    used: bool = False
    words: list[str] = field(default_factory=list)

    def job(self, source: str, ways: tuple[str, ...], host: str) -> dict[str, Any]:
        files = [
            {"name": name, "bytes": len(data), "url": self.lab.base + name}
            for name, data in FILES.items()
        ]
        return {
            "workload": "bytes",
            "adapter": "/data/reader.js",
            "host": host,
            "config": {"ways": ways},
            "prompt": {"ids": [1], "text": "a"},
            "outputTokens": len(expected(*ways)),
            "warmLimitMs": 0,
            "gpuBytes": 0,
            "keepOffline": True,
            "source": {"kind": source, "files": files},
        }

    def picks(self, source: str) -> list[Path]:
        if not find_source(source).picked:
            return []
        return [self.lab.tree / name for name in FILES]

    async def load(
        self,
        source: str,
        *,
        ways: tuple[str, ...] = ("stream",),
        host: str = "worker",
        picks: list[Path] | None = None,
    ) -> Outcome:
        if self.used:
            self.timeline = Timeline()
            await self.session.renew(self.timeline)
        self.used = True
        log = await full_load(
            self.session,
            self.timeline,
            url=self.lab.page,
            job=self.job(source, ways, host),
            deadlines=DEADLINES,
            screenshot=self.folder / "screenshot.png",
            progress=self.words.append,
            picks=self.picks(source) if picks is None else picks,
        )
        return Outcome(log, judge(self.timeline.items))

    async def offline(self, source: str, *, host: str = "worker") -> OfflineLoad:
        return await offline_load(
            self.session,
            self.lab.server,
            url=self.lab.page,
            job=self.job(source, ("buffer",), host),
            deadlines=DEADLINES,
            screenshot=self.folder / "offline.png",
            progress=self.words.append,
            picks=self.picks(source),
        )

    @asynccontextmanager
    async def page(self) -> AsyncIterator[Page]:
        """The trial page, to do something in it between loads."""
        await self.session.open_tab(self.lab.page, lambda _: None)
        assert self.session._page is not None
        yield self.session._page
        self.used = True


class Lab:
    """A server, a device, and folders."""

    def __init__(self, runner: asyncio.Runner, folder: Path) -> None:
        self._runner = runner
        self._folder = folder
        self._stack = AsyncExitStack()
        self._count = 0
        self.tree = folder / "tree"
        for name, data in FILES.items():
            (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
            (self.tree / name).write_bytes(data)
        self.server: Server = self.run(
            self._stack.enter_async_context(serve(extra={"/data/": DATA}))
        )
        self.base = self.server.publish("model", self.tree)
        self.page = f"{self.server.url}/page/trial.html"
        profile = Profile.model_validate(
            {
                "id": "sources",
                "name": "This machine's browser",
                "kind": "desktop",
                "browser": {"channels": ["chromium", "chrome", "msedge"]},
            }
        )
        self.device: DesktopDevice = self.run(
            self._stack.enter_async_context(DesktopDevice(profile))
        )

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(coroutine)

    def close(self) -> None:
        self.run(self._stack.aclose())

    @asynccontextmanager
    async def window(self, persistent: Path | None = None) -> AsyncIterator[Window]:
        self._count += 1
        folder, timeline = self._folder / str(self._count), Timeline()
        async with self.device.session(timeline, folder, persistent=persistent) as session:
            yield Window(self, session, folder, timeline)

    @asynccontextmanager
    async def window_for(self, source: str) -> AsyncIterator[Window]:
        """A window of the kind that the source asks for."""
        if not find_source(source).persistent:
            async with self.window() as window:
                yield window
            return
        with persistent_profile(self._folder, 0) as profile:
            async with self.window(profile) as window:
                yield window


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    patch = pytest.MonkeyPatch()
    patch.setenv("TIERLAB_STATE", str(tmp_path_factory.mktemp("state")))
    with asyncio.Runner() as runner:
        lab = Lab(runner, tmp_path_factory.mktemp("sources"))
        yield lab
        lab.close()
    patch.undo()


@pytest.mark.integration
@pytest.mark.parametrize("source", SOURCES)
def test_first_use_second_use_and_no_network(lab: Lab, source: str) -> None:
    async def work() -> tuple[Outcome, Outcome, OfflineLoad, Outcome]:
        async with lab.window_for(source) as window:
            first = await window.load(source, ways=WAYS)
            second = await window.load(source, ways=WAYS)
            return first, second, await window.offline(source), await window.load(source)

    first, second, offline, back = lab.run(work())
    kept = source not in {"network", "file"}
    total = sum(map(len, FILES.values()))
    for outcome in (first, second):
        assert outcome.judged.verdict is Verdict.OK, outcome.judged.explanation
        assert outcome.log.tokens == expected(*WAYS)
    assert ("store" in first.phases) is kept
    assert "store" not in second.phases
    for storage, grew in ((first.log.storage, kept), (second.log.storage, False)):
        assert storage is not None
        assert storage.quota_bytes
        assert storage.usage_before_bytes is not None
        assert storage.usage_after_bytes is not None
        growth = storage.usage_after_bytes - storage.usage_before_bytes
        # The service worker keeps the page at the same time.
        assert (growth >= total) is grew
        assert storage.persisted is False
    if source == "network":
        assert offline == OfflineLoad(
            worked=False, reason="network: nothing is stored: each load fetches the files again"
        )
    else:
        assert offline.worked, offline.reason
        assert offline.tokens == TOKENS
        assert offline.reason.startswith(f"{source}: ")
        assert ("picked again" in offline.reason) is (source == "file")
    assert back.judged.verdict is Verdict.OK
    assert back.log.tokens == expected("stream")


@pytest.mark.integration
@pytest.mark.parametrize("source", ["cache", "opfs"])
def test_what_was_stored_is_there_in_the_next_session(lab: Lab, source: str) -> None:
    async def work(profile: Path) -> tuple[Outcome, Outcome, OfflineLoad]:
        async with lab.window(profile) as window:
            first = await window.load(source, host="page")
        async with lab.window(profile) as window:
            second = await window.load(source, host="page")
            return first, second, await window.offline(source, host="page")

    with persistent_profile(lab.tree.parent, 0) as profile:
        first, second, offline = lab.run(work(profile))
        assert list(profile.iterdir())
    for outcome in (first, second):
        assert outcome.judged.verdict is Verdict.OK, outcome.judged.explanation
        assert outcome.log.tokens == expected("stream")
    assert ("store" in first.phases, "store" in second.phases) == (True, False)
    assert offline.worked, offline.reason
    assert not profile.exists()


@pytest.mark.integration
def test_a_private_window_forgets(lab: Lab) -> None:
    async def load() -> Outcome:
        async with lab.window() as window:
            return await window.load("opfs-private")

    for _ in range(2):
        assert "store" in lab.run(load()).phases


SHORTEN: Final = {
    "cache": """async ([path, bytes]) => {
        const cache = await caches.open("tierlab-files");
        if (!(await cache.match(path))) throw new Error(`${path} is not there`);
        await cache.put(path, new Response(new Uint8Array(bytes)));
    }""",
    "opfs-private": """async ([path, bytes]) => {
        const root = await navigator.storage.getDirectory();
        const folder = await root.getDirectoryHandle("tierlab-files");
        const file = await folder.getFileHandle(encodeURIComponent(path));
        const writable = await file.createWritable({ keepExistingData: true });
        await writable.truncate(bytes);
        await writable.close();
    }""",
}


@pytest.mark.integration
@pytest.mark.parametrize("size", [0, MIB, 4 * MIB])
@pytest.mark.parametrize("source", SHORTEN)
def test_a_file_of_another_size_is_stored_anew(lab: Lab, source: str, size: int) -> None:
    """A file that is cut off, as a killed page leaves it, and one that is too long."""

    async def work() -> Outcome:
        async with lab.window() as window:
            await window.load(source)
            async with window.page() as page:
                await page.evaluate(SHORTEN[source], [f"{lab.base}model.bin", size])
            return await window.load(source, ways=("buffer",))

    outcome = lab.run(work())
    assert outcome.judged.verdict is Verdict.OK, outcome.judged.explanation
    assert outcome.log.tokens == expected("buffer")
    assert "store" in outcome.phases
