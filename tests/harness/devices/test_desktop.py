from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import Error as PlaywrightError

from harness.devices import desktop_session
from harness.devices.base import TabLostError
from harness.devices.desktop import DesktopDevice
from harness.devices.desktop_session import DesktopSession, DesktopTab
from harness.devices.watch import Watch
from harness.errors import UserError
from harness.evidence import Timeline
from harness.profiles import Profile, load_profiles
from harness.web.server import serve
from results.record import Evidence, Kind, Source

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Profile:
    """A profile whose browser is a program that only says its version."""
    browser = tmp_path / "browser"
    browser.write_text("#!/bin/sh\necho Chromium 150.0.1.2\n")
    browser.chmod(0o755)
    monkeypatch.setenv("TIERLAB_BROWSER", str(browser))
    monkeypatch.setenv("TIERLAB_STATE", str(tmp_path / "state"))
    return Profile.model_validate(
        {
            "id": "d",
            "name": "d",
            "kind": "desktop",
            "browser": {"channels": ["chromium"]},
        }
    )


def test_the_facts_of_this_machine(profile: Profile) -> None:
    facts = asyncio.run(DesktopDevice(profile).facts())
    assert (facts.browser, facts.browser_version) == ("chromium", "150.0.1.2")
    assert facts.memory_bytes > 1 << 28
    assert facts.cores >= 1
    assert facts.cpu
    assert facts.operating_system
    assert (facts.emulated, facts.limiter) == (False, None)


@pytest.mark.parametrize(("free", "passed"), [(1 << 30, True), ((1 << 30) - 1, False)])
def test_a_host_without_memory_is_a_closed_gate(
    profile: Profile, monkeypatch: pytest.MonkeyPatch, free: int, *, passed: bool
) -> None:
    class Memory:
        available = free

    monkeypatch.setattr("psutil.virtual_memory", Memory)
    (gate,) = asyncio.run(DesktopDevice(profile).gates())
    assert (gate.passed, gate.limit) == (passed, "at least 1024 MiB")
    assert gate.observed == f"{free >> 20} MiB"


def test_a_profile_whose_browser_is_missing_is_refused(
    profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIERLAB_BROWSER", "no/such/browser")
    with pytest.raises(UserError, match=r"device 'd' cannot be used: .*no/such/browser"):
        DesktopDevice(profile)


@pytest.mark.integration
def test_the_gpu_stands_before_the_first_page(tmp_path: Path) -> None:
    """The page asks at once; a browser just started would answer that there is no adapter."""

    async def ask() -> tuple[str, list[str]]:
        async with (
            serve() as server,
            DesktopDevice(load_profiles()["desktop-swiftshader"]) as device,
        ):
            async with device.session(Timeline(), tmp_path) as session:
                await session.open_tab(f"{server.url}/page/trial.html", lambda _: None)
                assert session._page
                adapter = await session._page.evaluate(
                    "async () => (await navigator.gpu.requestAdapter())?.info.architecture"
                )
            return adapter, (await device.facts()).extra["gpus"]  # type: ignore[return-value]

    adapter, gpus = asyncio.run(ask())
    assert adapter == "swiftshader"
    assert "SwiftShader" in gpus[0]


# --- what a session makes of the driver's events -------------------------------------------------


class FakeType:
    name = "chromium"


class FakeBrowser:
    browser_type = FakeType()

    async def close(self) -> None:
        return


class Bench:
    """A session on a browser that is not there, and evidence put into it by hand."""

    def __init__(self, folder: Path) -> None:
        self.timeline = Timeline()
        watch = Watch(self.timeline, lambda: None, None, folder / "stderr")
        self.session = DesktopSession(
            FakeBrowser(),  # type: ignore[arg-type]
            self.timeline,
            watch,
            folder / "console.log",
        )
        self.session._target = "page"

    def kinds(self) -> list[Kind]:
        return [item.kind for item in self.timeline.items]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr("harness.devices.watch.machine_oom_kills", lambda: 0)
    return Bench(tmp_path)


def crashed(target: str = "page", **detail: Any) -> dict[str, Any]:
    return {"targetId": target, "status": "killed", "errorCode": 9, **detail}


def test_only_the_trial_page_can_crash(bench: Bench) -> None:
    """Chromium's own targets have renderers too, which may be killed without any harm."""
    bench.session._on_target_crashed(crashed("omnibox"))
    bench.session._on_detached({"reason": "Render process gone.", "targetId": "omnibox"})
    assert bench.kinds() == []
    bench.session._on_target_crashed(crashed())
    (item,) = bench.timeline.items
    assert (item.source, item.detail) == (Source.CDP, {"status": "killed", "code": 9})


def test_chromiums_own_out_of_memory_is_a_detach(bench: Bench) -> None:
    bench.session._on_detached({"reason": "target_closed", "targetId": "page"})
    assert bench.kinds() == []
    bench.session._on_detached({"reason": "Render process gone.", "targetId": "page"})
    assert bench.timeline.items[0].detail == {"status": "oom", "code": 0}


def test_a_page_that_its_browser_took_along_is_no_closed_page(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desktop_session, "DISCONNECT_SECONDS", 0)

    async def close_then(*next_events: Kind) -> list[Kind]:
        bench.timeline = bench.session._timeline = Timeline()
        bench.session._on_page_closed(None)
        for kind in next_events:
            bench.timeline.add(Source.DRIVER, kind)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return bench.kinds()

    assert asyncio.run(close_then()) == [Kind.LAB_ERROR]
    assert asyncio.run(close_then(Kind.BROWSER_GONE)) == [Kind.BROWSER_GONE]


def test_a_browser_that_is_closed_on_purpose_is_no_evidence(bench: Bench) -> None:
    async def close() -> None:
        await bench.session.close()
        bench.session._on_disconnected(None)
        bench.session._page_closed()

    asyncio.run(close())
    assert bench.kinds() == []


DEATH: dict[str, tuple[Source, Kind, dict[str, Any]]] = {
    "crash": (Source.DRIVER, Kind.RENDERER_GONE, {}),
    "status": (Source.CDP, Kind.RENDERER_GONE, {"status": "killed", "code": 9}),
    "browser": (Source.DRIVER, Kind.BROWSER_GONE, {}),
    "lost": (Source.PAGE, Kind.DEVICE_LOST, {}),
    "gpu": (Source.STDERR, Kind.GPU_PROCESS_GONE, {}),
    "oom": (Source.CGROUP, Kind.OOM_KILL, {}),
    "error": (Source.PAGE, Kind.ENGINE_ERROR, {}),
}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], []),
        (["error"], []),
        (["browser"], []),
        (["crash", "oom"], []),
        (["lost", "oom"], []),
        (["crash", "status"], []),
        (["crash"], ["status"]),
        (["lost"], ["gpu"]),
        (["lost"], ["oom"]),
    ],
)
def test_settling_waits_for_what_explains_a_death_and_for_no_more(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, before: list[str], after: list[str]
) -> None:
    monkeypatch.setattr(desktop_session, "SETTLE_SECONDS", 3600)

    def tell(name: str) -> Evidence:
        source, kind, detail = DEATH[name]
        return bench.timeline.add(source, kind, **detail)

    async def settle() -> None:
        for name in before:
            tell(name)
        for delay, name in enumerate(after, 1):
            asyncio.get_running_loop().call_later(delay / 1000, tell, name)
        async with asyncio.timeout(60):
            await bench.session.settle()

    asyncio.run(settle())
    assert bench.kinds() == [DEATH[name][1] for name in (*before, *after)]


def test_settling_ends_without_an_explanation(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desktop_session, "SETTLE_SECONDS", 0.01)
    bench.timeline.add(Source.DRIVER, Kind.RENDERER_GONE)
    asyncio.run(bench.session.settle())
    assert bench.kinds() == [Kind.RENDERER_GONE]


# --- tabs -------------------------------------------------------------------------------------


class DeadPage:
    """A page of which every call fails, or never answers."""

    def __init__(self, *, silent: bool = False) -> None:
        self.silent = silent

    async def _fail(self, *_: object, **__: object) -> None:
        if self.silent:
            await asyncio.Event().wait()
        raise PlaywrightError("Target crashed")

    evaluate = screenshot = close = _fail


@pytest.mark.parametrize(
    ("silent", "words"),
    [(False, "f: Target crashed"), (True, "f did not answer within 0.01 s")],
)
def test_a_call_into_a_dead_page(words: str, *, silent: bool) -> None:
    tab = DesktopTab(DeadPage(silent=silent))  # type: ignore[arg-type]
    with pytest.raises(TabLostError, match=words):
        asyncio.run(tab.call("f", None, within=0.01))


def test_a_dead_page_cannot_be_drawn_and_closes_quietly(tmp_path: Path) -> None:
    tab = DesktopTab(DeadPage())  # type: ignore[arg-type]
    assert asyncio.run(tab.screenshot(tmp_path / "s.png")) is False
    asyncio.run(tab.close())
    assert not (tmp_path / "s.png").exists()
