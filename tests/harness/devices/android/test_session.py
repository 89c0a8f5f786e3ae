"""What a session makes of what browser, log and phone say; each of them played from a script."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.devices.android import session as module
from harness.devices.android.adb import TransportLostError
from harness.devices.android.chrome import Chrome
from harness.devices.android.session import AndroidSession, is_ours
from harness.devices.android.tab import CdpTab, read_event
from harness.devices.base import TabLostError
from harness.evidence import Timeline
from harness.verdict import judge
from results.record import Kind, Source, Verdict
from tests.harness.devices.android.scripted import ScriptedPhone
from tests.harness.devices.cdp_browser import Browser

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from aiohttp import web

DATA = Path(__file__).parent / "data"
CHROME = "com.android.chrome"
RENDERER = f"{CHROME}:sandboxed_process0:org.chromium.content.app.SandboxedProcessService0:0"
URL = "http://127.0.0.1:8123/page/trial.html"
PS = f"  100  1000 {CHROME}\n  3946 2000 {RENDERER}\n"
HEAD = "ACTIVITY MANAGER PROCESS EXIT INFO (dumpsys activity exit-info)\n"
PNG = b"\x89PNG\r\n\x1a\n and a picture"


def exit_record(pid: int, reason: str, *, process: str = RENDERER, time: str = "10:00:05") -> str:
    return (
        f"        ApplicationExitInfo #0:\n"
        f"          timestamp=2026-11-26 {time}.000 pid={pid} realUid=99000\n"
        f"          process={process} reason={reason} subreason=0 (UNKNOWN) status=9\n"
        "          importance=100 pss=0.00 rss=1.9GB description=null state=empty trace=null\n"
    )


class Rig:
    """A session between a scripted phone and a scripted browser."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.timeline = Timeline()
        self.events: list[dict[str, Any]] = []
        self.browser = Browser(self._answer)
        self.answers: dict[str, Any] = {}
        self.targets = [{"type": "page", "targetId": "blank", "url": "about:blank"}]
        self.closed: list[str] = []
        self.records = ""
        self.phone = ScriptedPhone(
            {
                "cat /proc/sys/kernel/random/boot_id": "boot-1\n",
                "date": "2026-11-26 10:00:00\n",
                "dumpsys activity exit-info": lambda _: HEAD + self.records,
                "dumpsys": "",
                "ps": PS,
                "grep": 1,
                "pidof": "100\n",
                "am": "",
                "printf": "",
                "mkdir": "",
                "chmod": "",
                "rm": "",
                "echo": "",
                "getprop sys.boot.reason": "reboot,kernel_panic\n",
            }
        )
        self.session: AndroidSession

    async def _answer(self, socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
        method, result = message["method"], {}
        if method in self.answers:
            told = self.answers[method]
            if told is None:
                return
            if isinstance(told, str):
                error = {"code": -32000, "message": told}
                await socket.send_json({"id": message["id"], "error": error})
                return
            result = told
        elif method == "Target.createTarget":
            result = {"targetId": "T1"}
        elif method == "Target.attachToTarget":
            result = {"sessionId": "S1"}
        elif method == "Target.getTargets":
            result = {"targetInfos": self.targets}
        elif method == "Target.closeTarget":
            self.closed.append(message["params"]["targetId"])
        await socket.send_json({"id": message["id"], "result": result})
        if method == "Page.navigate":
            await self.browser.emit("Page.loadEventFired", "S1", timestamp=1)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[CdpTab]:
        async with asyncio.timeout(30), self.browser.running() as cdp:
            self.session = AndroidSession(
                Chrome(self.phone.as_phone(), CHROME),
                cdp,
                self.browser.port,
                self.timeline,
                self.folder,
                packages=(CHROME,),
            )
            try:
                await self.session.start()
                yield await self.session.open_tab(URL, self.events.append)
            finally:
                await self.session.close()

    def of(self, kind: Kind) -> list[dict[str, Any]]:
        return [dict(item.detail) for item in self.timeline.items if item.kind is kind]

    async def until(self, *kinds: Kind) -> None:
        while not self.timeline.first(*kinds):
            assert await self.timeline.changed(within=10)

    async def crash(self, status: str = "oom protected", code: int = 0) -> None:
        await self.browser.emit(
            "Target.targetCrashed", targetId="T1", status=status, errorCode=code
        )
        await self.until(Kind.RENDERER_GONE)


def run(folder: Path, test: Callable[[Rig, CdpTab], Coroutine[Any, Any, None]]) -> Rig:
    rig = Rig(folder)

    async def main() -> None:
        async with rig.running() as tab:
            await test(rig, tab)

    asyncio.run(main())
    assert rig.phone.ports == []  # nothing leads to this machine any more
    return rig


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0.3)
    monkeypatch.setattr(module, "WHO_SECONDS", 0.2)


def test_a_page_speaks_and_is_spoken_to(tmp_path: Path) -> None:
    async def test(rig: Rig, tab: CdpTab) -> None:
        assert rig.phone.ports == ["tcp:8123 tcp:8123"]
        payload = json.dumps({"type": "phase", "name": "start", "at_ms": 1})
        await rig.browser.emit(
            "Runtime.bindingCalled", "S1", name="tierlabEmitText", payload=payload
        )
        await rig.browser.emit("Runtime.bindingCalled", "S1", name="other", payload="{")
        rig.answers["Runtime.evaluate"] = {"result": {"type": "object", "value": {"a": [1]}}}
        assert await tab.call("f", {"x": "'\u2028\ud800"}, within=5) == {"a": [1]}
        rig.answers["Runtime.evaluate"] = {"result": {"unserializableValue": "Infinity"}}
        assert await tab.call("f", None, within=5) == float("inf")
        rig.answers["Page.captureScreenshot"] = {"data": base64.b64encode(PNG).decode()}
        assert await tab.screenshot(tmp_path / "a.png")
        rig.answers["Page.captureScreenshot"] = {"data": "no picture"}
        assert not await tab.screenshot(tmp_path / "b.png")

    rig = run(tmp_path, test)
    assert rig.events == [{"type": "phase", "name": "start", "at_ms": 1}]
    assert (tmp_path / "a.png").read_bytes() == PNG
    assert not (tmp_path / "b.png").exists()
    sent = [m["params"] for m in rig.browser.got if m["method"] == "Runtime.evaluate"]
    assert sent[1]["expression"] == 'globalThis["f"]({"x": "\'\\u2028\\ud800"})'
    assert rig.timeline.items == ()


def test_what_a_page_throws_or_does_not_answer(tmp_path: Path) -> None:
    details = {
        "text": "Uncaught",
        "exception": {"subtype": "error", "description": "TypeError: stray\n    at x.js:1"},
    }

    async def test(rig: Rig, tab: CdpTab) -> None:
        rig.answers["Runtime.evaluate"] = {"result": {}, "exceptionDetails": details}
        with pytest.raises(TabLostError, match="f: TypeError: stray"):
            await tab.call("f", 1, within=5)
        rig.answers["Runtime.evaluate"] = None
        with pytest.raises(TabLostError, match="did not answer within"):
            await tab.call("f", 1, within=0.05)
        rig.answers["Runtime.evaluate"] = {"result": {}}
        await rig.browser.emit("Runtime.exceptionThrown", "S1", exceptionDetails=details)
        await rig.until(Kind.ENGINE_ERROR)

    rig = run(tmp_path, test)
    assert rig.of(Kind.ENGINE_ERROR) == [{"name": "TypeError", "message": "stray"}]


def test_files_are_picked_on_the_phone(tmp_path: Path) -> None:
    async def test(rig: Rig, tab: CdpTab) -> None:
        rig.answers["Runtime.evaluate"] = {"result": {"objectId": "O1"}}
        await tab.set_files("#files", [Path("some/model.gguf")])
        (there,) = rig.phone.pushed
        (sent,) = [m["params"] for m in rig.browser.got if m["method"] == "DOM.setFileInputFiles"]
        assert sent == {"objectId": "O1", "files": [there]}
        rig.answers["Runtime.evaluate"] = {"result": {"type": "object", "subtype": "null"}}
        with pytest.raises(TabLostError, match="the page has no #files"):
            await tab.set_files("#files", [])
        rig.phone.script["mkdir"] = TransportLostError
        with pytest.raises(TabLostError, match="cannot be brought to the phone"):
            await tab.set_files("#files", [])

    rig = run(tmp_path, test)
    assert f"rm -rf {module.FOLDER}" in rig.phone.asked or rig.of(Kind.TRANSPORT_LOST)


def test_the_start_page_is_closed_and_what_pages_stored_is_removed(tmp_path: Path) -> None:
    async def test(rig: Rig, _: CdpTab) -> None:
        assert rig.closed == ["blank"]
        rig.targets.append({"type": "page", "targetId": "user's", "url": "https://example.org/"})

    rig = run(tmp_path, test)
    assert "user's" not in rig.closed
    (cleared,) = [
        m["params"] for m in rig.browser.got if m["method"] == "Storage.clearDataForOrigin"
    ]
    assert cleared == {"origin": "http://127.0.0.1:8123", "storageTypes": "all"}


def test_what_a_killed_run_left_in_storage_is_removed_as_well(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    left = "http://127.0.0.1:4000 https://example.org http://127.0.0.1:x"
    rig.phone.script[f"cat {module.ORIGIN_FILE}"] = left

    async def main() -> None:
        async with rig.running():
            pass

    asyncio.run(main())
    cleared = {
        m["params"]["origin"]
        for m in rig.browser.got
        if m["method"] == "Storage.clearDataForOrigin"
    }
    assert cleared == {"http://127.0.0.1:4000", "http://127.0.0.1:8123"}
    assert f"rm -f {module.ORIGIN_FILE}" in rig.phone.asked


def test_word_of_storage_stays_where_it_cannot_be_removed(tmp_path: Path) -> None:
    async def test(rig: Rig, _: CdpTab) -> None:
        rig.answers["Page.navigate"] = {"errorText": "net::ERR_ABORTED"}

    rig = run(tmp_path, test)
    (word,) = [line for line in rig.phone.asked if line.endswith(f"> {module.ORIGIN_FILE}")]
    assert "http://127.0.0.1:8123" in word
    assert f"rm -f {module.ORIGIN_FILE}" not in rig.phone.asked


def test_a_page_that_is_covered_is_not_measured(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.answers["Runtime.evaluate"] = {"result": {"value": "hidden"}}

    async def main() -> None:
        async with rig.running():
            raise AssertionError

    with pytest.raises(TabLostError, match="not visible"):
        asyncio.run(main())


def test_a_kill_for_memory_from_all_sides(tmp_path: Path) -> None:
    async def test(rig: Rig, _: CdpTab) -> None:
        rig.records = exit_record(3946, "3 (LOW_MEMORY)")
        rig.phone.say(*(DATA / "logcat-oom.txt").read_text("utf-8").splitlines())
        await rig.crash()
        await rig.session.settle()

    rig = run(tmp_path, test)
    judged = judge(rig.timeline.items)
    assert (judged.verdict, judged.cause) == (Verdict.OOM, "low-memory-killer")
    sources = {item.source for item in rig.timeline.items}
    assert sources == {Source.LOGCAT, Source.CDP, Source.EXIT_INFO}
    assert rig.session.peak_memory()[0]["renderer"] == 2266188 << 10  # as lmkd told it
    assert "lowmemorykiller" in (tmp_path / "logcat.txt").read_text("utf-8")


def test_records_of_the_past_are_none_of_this_death(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.records = exit_record(3946, "3 (LOW_MEMORY)", time="09:00:00")

    async def main() -> None:
        async with rig.running():
            await rig.crash()
            await rig.session.settle()

    asyncio.run(main())
    assert rig.of(Kind.EXIT_RECORD) == []
    judged = judge(rig.timeline.items)
    assert (judged.verdict, judged.cause) == (Verdict.CRASH, "unexplained")


def test_the_word_that_a_page_left_says_where_it_died(tmp_path: Path) -> None:
    async def test(rig: Rig, _: CdpTab) -> None:
        rig.answers["Runtime.evaluate"] = {"result": {"value": {"phase": "create", "at": 1}}}
        await rig.crash("killed", 9)

    rig = run(tmp_path, test)
    assert rig.of(Kind.TOMBSTONE) == [{"phase": "create"}]
    judged = judge(rig.timeline.items)
    assert judged.verdict is Verdict.CRASH
    assert "during create" in judged.explanation


@pytest.mark.parametrize(
    ("pid", "boot", "kind", "verdict"),
    [
        ("", "boot-1\n", Kind.BROWSER_GONE, Verdict.CRASH),
        ("", "boot-2\n", Kind.TRANSPORT_LOST, Verdict.INFRA),
        (TransportLostError, TransportLostError, Kind.TRANSPORT_LOST, Verdict.INFRA),
    ],
)
def test_who_is_gone_when_the_connection_is(
    tmp_path: Path, pid: Any, boot: Any, kind: Kind, verdict: Verdict
) -> None:
    async def test(rig: Rig, _: CdpTab) -> None:
        rig.phone.script |= {
            "pidof": pid,
            "cat /proc/sys/kernel/random/boot_id": boot,
            "am start": "Error: not again",
        }
        await rig.browser.die()
        await rig.until(kind)
        await rig.session.settle()

    assert judge(run(tmp_path, test).timeline.items).verdict is verdict


def test_a_connection_that_broke_on_a_living_browser_is_the_labs(tmp_path: Path) -> None:
    async def test(rig: Rig, _: CdpTab) -> None:
        await rig.browser.die()
        await rig.until(Kind.LAB_ERROR)

    rig = run(tmp_path, test)
    assert "which still runs" in rig.of(Kind.LAB_ERROR)[0]["message"]
    assert judge(rig.timeline.items).verdict is Verdict.INFRA


@pytest.mark.parametrize(
    ("died", "reason", "verdict"),
    [
        ("10:00:00", "3 (LOW_MEMORY)", Verdict.OOM),
        ("10:30:00", "3 (LOW_MEMORY)", Verdict.INFRA),  # after the phone was gone
        ("10:00:00", "2 (SIGNALED)", Verdict.INFRA),
    ],
)
def test_a_phone_that_comes_back_is_asked_what_happened_before(
    tmp_path: Path, died: str, reason: str, verdict: Verdict
) -> None:
    now = [0.0]
    rig = Rig(tmp_path)
    rig.timeline = Timeline(lambda: now[0])
    rig.phone.comes_back = True

    async def main() -> None:
        async with rig.running():
            now[0] = 5.0
            rig.phone.script["echo"] = TransportLostError
            rig.phone.say(None)  # the log ends
            await rig.until(Kind.TRANSPORT_LOST)
            now[0] = 60.0
            rig.phone.script["cat /proc/sys/kernel/random/boot_id"] = "boot-2\n"
            rig.records = exit_record(3946, reason, time=died)

    asyncio.run(main())
    assert "kernel_panic" in rig.of(Kind.REBOOTED)[0]["line"]
    assert rig.of(Kind.EXIT_RECORD)[0]["before_loss"] is (died == "10:00:00")
    assert judge(rig.timeline.items).verdict is verdict


def test_a_log_that_ends_on_a_phone_that_answers_is_no_loss(tmp_path: Path) -> None:
    async def test(rig: Rig, tab: CdpTab) -> None:
        asked = asyncio.Event()

        def boot(_: str) -> str:
            asked.set()
            return "boot-1\n"

        rig.phone.script["cat /proc/sys/kernel/random/boot_id"] = boot
        rig.phone.say(None)
        await asked.wait()
        rig.answers["Runtime.evaluate"] = {"result": {"value": 1}}
        assert await tab.call("f", None, within=5) == 1

    assert run(tmp_path, test).of(Kind.TRANSPORT_LOST) == []


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (
            ("Page.frameNavigated", {"frame": {"url": "http://x/"}}),
            "the trial page went to http://x/",
        ),
        (("Target.targetDestroyed", {"targetId": "T1"}), "the trial page was closed"),
        (
            ("Runtime.bindingCalled", {"name": "tierlabEmitText", "payload": "[1]"}),
            "the page emitted what is no event: no object",
        ),
    ],
)
def test_what_must_not_happen_to_a_trial_page(
    tmp_path: Path, event: tuple[str, dict[str, Any]], message: str
) -> None:
    async def test(rig: Rig, _: CdpTab) -> None:
        name, parameters = event
        session = None if name.startswith("Target") else "S1"
        await rig.browser.emit(name, session, **parameters)
        await rig.until(Kind.LAB_ERROR)

    assert run(tmp_path, test).of(Kind.LAB_ERROR)[0]["message"] == message


def test_a_page_that_cannot_be_opened(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.answers["Page.navigate"] = {"errorText": "net::ERR_CONNECTION_REFUSED"}

    async def main() -> None:
        async with rig.running():
            raise AssertionError

    with pytest.raises(TabLostError, match="ERR_CONNECTION_REFUSED"):
        asyncio.run(main())
    assert rig.phone.ports == []


@pytest.mark.parametrize("blank", [True, False])
def test_where_no_page_can_be_made_the_empty_one_is_used(tmp_path: Path, blank: bool) -> None:
    rig = Rig(tmp_path)
    rig.answers["Target.createTarget"] = "Not supported"
    if not blank:
        rig.targets.clear()

    async def main() -> None:
        async with rig.running() as tab:
            assert tab.target == "blank"
            assert rig.closed == []

    if blank:
        asyncio.run(main())
    else:
        with pytest.raises(TabLostError, match="opens no page: Not supported"):
            asyncio.run(main())


def test_a_new_timeline_for_a_second_load(tmp_path: Path) -> None:
    second = Timeline()

    async def test(rig: Rig, _: CdpTab) -> None:
        await rig.session.renew(second)
        assert rig.closed[-1] == "T1"
        await rig.browser.emit("Target.targetDestroyed", targetId="T1")
        await rig.session.open_tab(URL, rig.events.append)
        rig.phone.say(*(DATA / "logcat-oom.txt").read_text("utf-8").splitlines())
        assert await second.changed(within=10)

    assert run(tmp_path, test).timeline.items == ()
    assert second.first(Kind.LMK_KILL) is not None


@pytest.mark.parametrize(
    ("url", "ours"),
    [
        ("about:blank", True),
        ("http://127.0.0.1:41234/page/trial.html", True),
        ("http://127.0.0.1:41234/page/trial.html.example.org", False),
        ("https://example.org/page/trial.html", False),
        ("chrome-native://newtab/", False),
    ],
)
def test_only_the_harness_own_pages_are_closed(url: str, ours: bool) -> None:
    assert is_ours(url) is ours


@given(st.one_of(st.none(), st.integers(), st.text(), st.recursive(st.none(), st.lists)))
def test_any_payload_is_an_event_or_an_error(payload: object) -> None:
    with suppress(ValueError):
        assert isinstance(read_event(payload), dict)
