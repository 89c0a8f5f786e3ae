"""Every source of bytes in a real browser, with files of a few MiB: first use, second use, storage
that is damaged or too small, and the load with the server really down."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from harness.devices import processes
from harness.devices.base import TabLostError
from harness.devices.desktop import DesktopDevice
from harness.devices.profile_folder import FOLDER, persistent_profile
from harness.errors import UserError
from harness.evidence import Timeline
from harness.load import Deadlines, LoadLog, full_load
from harness.offline import TOKENS, offline_load
from harness.profiles import Profile
from harness.sources import SOURCES, find_source
from harness.verdict import Judged, judge
from harness.web.server import Server, serve
from results.record import Evidence, Kind, OfflineLoad, Source, Verdict

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

    from playwright.async_api import Page

    from harness.devices.desktop_session import DesktopSession

DATA: Final = Path(__file__).parent / "data"
MIB: Final = 1 << 20
# An entry, and a part of it in a folder: what sources make of names must fit both.
FILES: Final = {
    "model.bin": bytes(range(256)) * (3 * MIB // 256),
    "parts/model.bin": bytes(range(251)) * 1000,
}
WAYS: Final = ("stream", "blob", "url", "buffer")
DEADLINES: Final = Deadlines(load_seconds=30, token_seconds=30)
# The sizes of all files that are kept.
KEPT: Final = """async () => {
    const cache = await caches.open("tierlab-files");
    const responses = await Promise.all((await cache.keys()).map((key) => cache.match(key)));
    const blobs = await Promise.all(responses.map((response) => response.blob()));
    const root = await navigator.storage.getDirectory();
    const folder = await root.getDirectoryHandle("tierlab-files", { create: true });
    for await (const handle of folder.values()) blobs.push(await handle.getFile());
    return blobs.map((blob) => blob.size);
}"""


def expected(*ways: str) -> list[int]:
    """The tokens of `reader.js`."""
    once = [value for data in FILES.values() for value in (len(data), sum(data) % 65_521)]
    return once * len(ways)


@dataclass
class Outcome:
    log: LoadLog
    judged: Judged
    evidence: tuple[Evidence, ...]

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
    missing: str = ""
    on_download: Callable[[], None] = lambda: None
    _used: bool = False

    def job(self, source: str, ways: tuple[str, ...], host: str) -> dict[str, Any]:
        files = [
            {"name": name, "bytes": len(data), "url": self.lab.base + name}
            for name, data in FILES.items()
        ]
        if self.missing:
            files[0]["url"] = self.lab.base + self.missing
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
        if self._used:
            self.timeline = Timeline()
            await self.session.renew(self.timeline)
        self._used = True
        log = await full_load(
            self.session,
            self.timeline,
            url=self.lab.page,
            job=self.job(source, ways, host),
            deadlines=DEADLINES,
            screenshot=self.folder / "screenshot.png",
            progress=self._progress,
            picks=self.picks(source) if picks is None else picks,
        )
        return Outcome(log, judge(self.timeline.items), self.timeline.items)

    def _progress(self, words: str) -> None:
        if words.startswith("download: "):
            self.on_download()

    async def offline(self, source: str, *, host: str = "worker") -> OfflineLoad:
        return await offline_load(
            self.session,
            self.lab.server,
            url=self.lab.page,
            job=self.job(source, ("buffer",), host),
            deadlines=DEADLINES,
            screenshot=self.folder / "offline.png",
            progress=self._progress,
            picks=self.picks(source),
        )

    @asynccontextmanager
    async def page(self) -> AsyncIterator[Page]:
        """The trial page, to do something in it between loads."""
        await self.session.open_tab(self.lab.page, lambda _: None)
        assert self.session._page is not None
        yield self.session._page
        self._used = True


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
@pytest.mark.parametrize("source", SHORTEN)
def test_a_file_of_another_size_is_stored_anew(lab: Lab, source: str) -> None:
    """A file that is cut off, as a killed page leaves it, and one that is too long."""

    async def work() -> list[Outcome]:
        outcomes = []
        async with lab.window() as window:
            await window.load(source)
            for size in (0, MIB, 4 * MIB):
                async with window.page() as page:
                    await page.evaluate(SHORTEN[source], [f"{lab.base}model.bin", size])
                outcomes.append(await window.load(source, ways=("buffer",)))
        return outcomes

    for outcome in lab.run(work()):
        assert outcome.judged.verdict is Verdict.OK, outcome.judged.explanation
        assert outcome.log.tokens == expected("buffer")
        assert "store" in outcome.phases


@pytest.mark.integration
@pytest.mark.parametrize(
    ("source", "host"), [("cache", "worker"), ("opfs-private", "worker"), ("opfs-private", "page")]
)
def test_a_quota_that_is_too_small(lab: Lab, source: str, host: str) -> None:
    """The error names source, file and size; half a file does not stay."""

    async def work() -> tuple[Outcome, list[int], Outcome]:
        async with lab.window() as window:
            async with window.page() as page:
                # An override lasts as long as the session that made it.
                other = await page.context.new_page()
                await other.goto(f"{lab.server.url}/page/limits.html")
                cdp = await page.context.new_cdp_session(other)
                quota = {"origin": lab.server.url, "quotaSize": MIB}
                await cdp.send("Storage.overrideQuotaForOrigin", quota)
            refused = await window.load(source, host=host)
            kept: list[int] = await other.evaluate(KEPT)
            await cdp.send("Storage.overrideQuotaForOrigin", {"origin": lab.server.url})
            return refused, kept, await window.load(source, host=host)

    refused, kept, later = lab.run(work())
    (error,) = [e for e in refused.evidence if e.kind is Kind.ENGINE_ERROR]
    assert error.text("name") == "QuotaExceededError"
    words = rf"{source}: model\.bin of 3 MiB does not fit into the storage of this page \(it tells"
    assert re.match(words, error.text("message"))
    assert kept == []
    assert later.judged.verdict is Verdict.OK, later.judged.explanation


@pytest.mark.integration
def test_files_that_were_not_picked_or_are_others(lab: Lab, tmp_path: Path) -> None:
    other = tmp_path / "model.bin"
    other.write_bytes(b"short")

    async def work() -> list[Outcome]:
        async with lab.window() as window:
            return [await window.load("file", picks=picks) for picks in ([], [other])]

    none, short = lab.run(work())
    assert "file: model.bin was not picked" in none.judged.explanation
    assert f"file: model.bin has 5 bytes, {3 * MIB} were expected" in short.judged.explanation


@pytest.mark.integration
def test_a_file_that_the_server_has_not(lab: Lab) -> None:
    async def work() -> list[Outcome]:
        async with lab.window() as window:
            window.missing = "none.bin"
            return [await window.load(source) for source in ("network", "cache")]

    for outcome in lab.run(work()):
        assert f"{lab.base}none.bin: HTTP 404" in outcome.judged.explanation


@pytest.mark.integration
def test_an_input_that_is_not_there(lab: Lab) -> None:
    async def work() -> None:
        async with lab.window() as window:
            tab = await window.session.open_tab(lab.page, lambda _: None)
            await tab.set_files("#none", [])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.devices.desktop_session.PICK_SECONDS", 0.1)
        with pytest.raises(TabLostError, match="files cannot be picked in #none"):
            lab.run(work())


@pytest.mark.integration
@pytest.mark.parametrize(("kind", "cause"), [("renderer", "killed"), ("browser", "browser-gone")])
def test_a_death_in_a_persistent_profile_is_seen_as_elsewhere(
    lab: Lab, kind: str, cause: str
) -> None:
    """Of a load that follows another one: the session tells the second timeline."""

    async def work(profile: Path) -> tuple[Outcome, Outcome]:
        async with lab.window(profile) as window:
            first = await window.load("opfs")
            window.on_download = lambda: kill(window.session, kind)
            return first, await window.load("opfs", ways=("never",))

    with persistent_profile(lab.tree.parent, 0) as profile:
        first, second = lab.run(work(profile))
    assert first.judged.verdict is Verdict.OK
    assert {e.kind for e in first.evidence} <= {Kind.PHASE, Kind.DONE, Kind.PROCESS_EXIT}
    assert (second.judged.verdict, second.judged.cause) == (Verdict.CRASH, cause)
    if kind == "renderer":
        (told,) = [
            e for e in second.evidence if e.kind is Kind.RENDERER_GONE and e.source is Source.CDP
        ]
        assert told.detail == {"status": "killed", "code": signal.SIGKILL}


def kill(session: DesktopSession, kind: str) -> None:
    for item in processes.sample(session._watch.pids()):
        if item.kind == kind:
            os.kill(item.pid, signal.SIGKILL)


# --- without a browser ---------------------------------------------------------------------------


def test_an_unknown_source_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown source 'opfs-privat'\n.*opfs-private"):
        find_source("opfs-privat")


class TestProfileFolder:
    def test_it_is_there_and_then_gone(self, tmp_path: Path) -> None:
        with persistent_profile(tmp_path / "new", 0) as folder:
            (folder / "Default").mkdir()
            (folder / "Default" / "large").write_bytes(b"x")
            assert folder.stat().st_mode & 0o077 == 0
        assert not list(folder.parent.iterdir())

    def test_it_goes_also_when_the_run_is_interrupted(self, tmp_path: Path) -> None:
        def interrupted() -> None:
            with persistent_profile(tmp_path, 0) as folder:
                (folder / "large").write_bytes(b"x")
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert not list((tmp_path / FOLDER).iterdir())

    def test_what_a_killed_run_left_is_cleared_and_what_another_uses_is_not(
        self, tmp_path: Path
    ) -> None:
        with persistent_profile(tmp_path, 0) as used:
            left = used.with_name("left")
            left.mkdir()
            (left / "large").write_bytes(b"x")
            left.with_name("left.lock").touch()
            with persistent_profile(tmp_path, 0) as second:
                assert used.is_dir()
                assert second.is_dir()
                assert not left.exists()

    def test_a_disk_that_is_short(self, tmp_path: Path) -> None:
        with (
            pytest.raises(UserError, match=r"needs \d+ MiB in .*, \d+ MiB are free"),
            persistent_profile(tmp_path, 1 << 60),
        ):
            raise AssertionError("there cannot be that much")

    def test_a_place_that_takes_no_folder(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with (
            pytest.raises(UserError, match="no browser profile can be made in"),
            persistent_profile(tmp_path / "file", 0),
        ):
            raise AssertionError("a file takes no folder")
