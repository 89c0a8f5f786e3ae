"""The device as far as the protocol goes: a double of the driver takes only what is documented."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from harness.devices.base import DeviceLostError, TabLostError
from harness.devices.ios.device import IosDevice, open_ios, unusable_ios
from harness.devices.ios.session import BANNER, IosSession
from harness.devices.ios.settings import IosSettings
from harness.errors import UserError
from harness.evidence import Timeline
from harness.probe.run import run_probe
from harness.profiles import load_profiles
from harness.verdict import judge
from harness.web.server import serve as serve_pages
from results.record import Kind, Verdict
from tests.harness.devices.ios.pages import ActedPage, browser_page, until
from tests.harness.devices.ios.test_reports import jetsam
from tests.harness.devices.ios.xcuitest import Xcuitest, serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine
    from pathlib import Path

    from harness.profiles import Profile
    from tests.harness.devices.ios.xcuitest import Page

URL = "http://127.0.0.1:8123/page/trial.html"


@pytest.fixture(scope="module")
def profile() -> Profile:
    return load_profiles()["iphone-15-pro"]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.devices.ios.tab.POLL_SECONDS", 0.01)
    monkeypatch.setattr("harness.devices.ios.session.SETTLE_SECONDS", 1.0)


def run(work: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await work

    asyncio.run(bounded())


def settings(url: str, **more: Any) -> IosSettings:
    given = {"origin": "https://lab.example:8443", "port": 0, **more}
    return IosSettings(appium=url, udid="a-serial-number", capabilities={}, **given)


@asynccontextmanager
async def opened(profile: Profile, double: Xcuitest, **more: Any) -> AsyncIterator[IosDevice]:
    async with serve(double) as url, open_ios(profile, settings(url, **more)) as device:
        yield device
    assert not double.is_open, "a session was left"


@asynccontextmanager
async def in_safari(
    profile: Profile, page: Page, folder: Path
) -> AsyncIterator[tuple[Xcuitest, IosSession, Timeline, list[Any]]]:
    double, timeline, events = Xcuitest(page), Timeline(), list[Any]()
    # Pages of this machine: a simulator reaches them under their own address.
    double.device = {"isSimulator": 1, "model": "iPhone", "thermalState": 0}
    async with (
        opened(profile, double, origin=None, port=None) as device,
        device.session(timeline, folder) as session,
    ):
        yield double, session, timeline, events


def test_a_device_says_what_it_is(profile: Profile) -> None:
    async def work() -> None:
        double = Xcuitest(ActedPage())
        async with opened(profile, double) as device:
            host = await device.facts()
            assert host.browser_version == "26.0"
            assert all(gate.passed for gate in await device.gates())
            assert await device.rest()
        assert all(wanted["appium:udid"] == "a-serial-number" for wanted in double.sessions)

    run(work())


def test_another_model_is_refused(profile: Profile) -> None:
    async def work() -> None:
        double = Xcuitest(ActedPage())
        double.device["lockdownInfo"]["ProductType"] = "iPhone14,5"
        with pytest.raises(
            UserError, match=r"is iPhone14,5, and Apple iPhone 15 Pro is iPhone16,1"
        ):
            async with opened(profile, double):
                pass

    run(work())


def test_a_server_that_is_not_there_is_an_error_with_a_next_step(profile: Profile) -> None:
    async def work() -> None:
        with pytest.raises(UserError, match=r"cannot be reached(.|\n)*docs/ios.md"):
            async with open_ios(profile, settings("http://127.0.0.1:9")):
                pass

    run(work())


def test_a_device_that_went_away_is_lost(profile: Profile) -> None:
    async def work() -> None:
        double = Xcuitest(ActedPage())
        async with opened(profile, double) as device:
            double.lost = True
            assert await device.facts()  # what it just said still holds
            with pytest.raises(DeviceLostError):
                await device.look()

    run(work())


def test_events_are_fetched_and_functions_called(profile: Profile, tmp_path: Path) -> None:
    async def work() -> None:
        page = ActedPage()
        page.functions["tierlabStart"] = lambda job: {"value": job["x"]}
        page.functions["fails"] = {"error": "RangeError: no"}
        async with in_safari(profile, page, tmp_path) as (double, session, timeline, events):
            tab = await session.open_tab(URL, events.append)
            assert double.sessions[-1]["browserName"] == "Safari"
            assert page.opened == [URL]
            page.told = [{"type": "phase", "name": "create"}, "no event", {"type": "done"}]
            await until(lambda: len(events) == 2)
            assert await tab.call("tierlabStart", {"x": 7}, within=5) == 7
            with pytest.raises(TabLostError, match="RangeError: no"):
                await tab.call("fails", None, within=5)
            with pytest.raises(TabLostError, match="did not answer within"):
                await tab.call("nothing", None, within=0.3)
            with pytest.raises(TabLostError, match="another --source"):
                await tab.set_files("#files", [])
            assert await tab.screenshot(tmp_path / "screen.png")
            double.console = ["hello"]
            assert timeline.items == ()
        assert (tmp_path / "console.log").read_text() == "hello\n"

    run(work())


def test_a_page_that_came_back_and_a_jetsam_report_are_an_oom(
    profile: Profile, tmp_path: Path
) -> None:
    async def work() -> None:
        page = ActedPage()
        page.functions["tierlabTombstone"] = {"value": {"phase": "create", "at": 1}}
        async with in_safari(profile, page, tmp_path) as (double, session, timeline, events):
            await session.open_tab(URL, events.append)
            page.reload()
            await until(lambda: timeline.ending is not None)
            double.reports = ["not a report", jetsam("com.apple.WebKit.WebContent")]
            await session.settle()
            judged = judge(timeline.items)
            assert (judged.verdict, judged.cause) == (Verdict.OOM, "low-memory-killer")
            assert "during create" in judged.explanation
            assert "jetsam: per-process-limit" in judged.explanation
            assert session.peak_memory() == ({"renderer": 1400 << 20}, None)
            assert session.memory_curve() == []
        assert (tmp_path / "report-2.ips").read_text().startswith('{"bug_type":"298"')

    run(work())


def test_safaris_own_words_about_memory_are_enough(profile: Profile, tmp_path: Path) -> None:
    async def work() -> None:
        page = ActedPage()
        async with in_safari(profile, page, tmp_path) as (double, session, timeline, events):
            await session.open_tab(URL, events.append)
            words = "This webpage was reloaded because it was using significant memory."
            double.screen = {str(BANNER.xpath): [{"text": words}]}
            page.reload()
            await until(lambda: timeline.ending is not None)
            await session.settle()
            judged = judge(timeline.items)
            assert judged.verdict is Verdict.OOM
            assert "Safari: This webpage was reloaded" in judged.explanation

    run(work())


@pytest.mark.parametrize(
    "words",
    [
        "This webpage was reloaded because a problem occurred.",
        "A problem repeatedly occurred with “http://127.0.0.1:8123/page/trial.html”",
    ],
)
def test_without_a_word_of_memory_it_is_said_to_be_unexplained(
    profile: Profile, tmp_path: Path, words: str
) -> None:
    async def work() -> None:
        page = ActedPage()
        async with in_safari(profile, page, tmp_path) as (double, session, timeline, events):
            await session.open_tab(URL, events.append)
            double.screen = {str(BANNER.xpath): [{"text": words}]}
            double.reports = [jetsam("mediaanalysisd")]
            page.reload()
            await until(lambda: timeline.ending is not None)
            await session.settle()
            judged = judge(timeline.items)
            assert (judged.verdict, judged.cause) == (Verdict.CRASH, "unexplained")
            assert any(item.text("line") == words for item in timeline.items)

    run(work())


def test_a_page_that_does_not_answer_any_more_is_gone(profile: Profile, tmp_path: Path) -> None:
    async def work() -> None:
        page = ActedPage()
        async with in_safari(profile, page, tmp_path) as (_, session, timeline, events):
            await session.open_tab(URL, events.append)
            page.gone = True
            await until(lambda: timeline.ending is not None)
            assert timeline.first(Kind.RENDERER_GONE) is not None

    run(work())


def test_a_session_that_is_lost_is_no_statement_about_the_device(
    profile: Profile, tmp_path: Path
) -> None:
    async def work() -> None:
        page = ActedPage()
        async with in_safari(profile, page, tmp_path) as (double, session, timeline, events):
            await session.open_tab(URL, events.append)
            double.lost = True
            await until(lambda: timeline.first(Kind.TRANSPORT_LOST) is not None)
            assert judge(timeline.items).verdict is Verdict.INFRA
            double.lost, double._open = False, None

    run(work())


def test_a_real_device_gets_pages_by_the_users_own_address(
    profile: Profile, tmp_path: Path
) -> None:
    async def work() -> None:
        page, timeline = ActedPage(), Timeline()
        async with opened(profile, Xcuitest(page)) as device:
            async with device.session(timeline, tmp_path) as session:
                await session.open_tab(URL, lambda _: None)
            assert page.opened == ["https://lab.example:8443/page/trial.html"]
        async with (
            opened(profile, Xcuitest(page), origin=None, port=None) as device,
            device.session(timeline, tmp_path) as session,
        ):
            with pytest.raises(TabLostError, match="TIERLAB_IOS_ORIGIN"):
                await session.open_tab(URL, lambda _: None)

    run(work())


def test_one_load_follows_another_with_evidence_of_its_own(
    profile: Profile, tmp_path: Path
) -> None:
    async def work() -> None:
        page, second = ActedPage(), Timeline()
        async with in_safari(profile, page, tmp_path) as (_, session, first, events):
            await session.open_tab(URL, events.append)
            await session.renew(second)
            await session.open_tab(URL, events.append)
            page.reload()
            await until(lambda: second.ending is not None)
            assert first.items == ()

    run(work())


def test_engines_outside_of_a_page_are_refused(profile: Profile) -> None:
    device = IosDevice(profile, settings("http://127.0.0.1:9"))
    with pytest.raises(UserError, match="no engine outside of a browser"):
        device.child(Timeline(), None)  # type: ignore[arg-type]


def test_why_a_profile_cannot_be_used_is_one_line(
    profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("APPIUM", "UDID", "ORIGIN", "PORT", "CAPABILITIES"):
        monkeypatch.delenv(f"TIERLAB_IOS_{name}", raising=False)
    reason = unusable_ios(profile)
    assert reason is not None
    assert "TIERLAB_IOS_APPIUM is not set" in reason
    assert "\n" not in reason
    monkeypatch.setenv("TIERLAB_IOS_APPIUM", "http://127.0.0.1:4723")
    monkeypatch.setenv("TIERLAB_IOS_UDID", "a-serial-number")
    assert unusable_ios(profile) is None


@pytest.mark.integration
def test_the_probe_comes_home_from_a_page_without_a_binding(
    profile: Profile, tmp_path: Path
) -> None:
    """A real browser's page behind the double: scripts, events, a reload."""

    async def work() -> None:
        async with browser_page() as page, serve_pages() as server:
            double, timeline = Xcuitest(page), Timeline()
            double.device = {"isSimulator": 1}
            async with opened(profile, double, origin=None, port=None) as device:
                report = await run_probe(
                    device, server, tmp_path, budget_ms=50, seed=1, backends=("wasm",)
                )
                assert report.environment.cross_origin_isolated is True
                assert report.backends.wasm is not None
                assert report.backends.wasm.available
                async with device.session(timeline, tmp_path) as session:
                    tab = await session.open_tab(f"{server.url}/page/trial.html", lambda _: None)
                    await page.page.reload()
                    await until(lambda: timeline.ending is not None)
                    with pytest.raises(TabLostError, match="new one"):
                        await tab.call("tierlabProbe", {}, within=5)
            assert timeline.first(Kind.RENDERER_GONE) is not None

    run(work())
