"""Real Appium with its UiAutomator2 driver, real chromedriver and adb, against a virtual phone."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import psutil
import pytest

from harness.devices.appium.app import find_app
from harness.devices.appium.browsing import chrome_session, webview_session
from harness.devices.appium.installation import UIAUTOMATOR2
from harness.devices.appium.native_app import Question, run_native_app
from harness.devices.appium.server import appium_server
from harness.devices.appium.session import NATIVE
from harness.devices.base import Gate, HostFacts
from harness.errors import UserError
from harness.profiles import load_profiles
from results.record import Kind, Source, Verdict
from tests.harness.devices.appium.conftest import require_chromedriver

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

    from harness.devices.android.adb import Phone
    from harness.devices.appium.installation import Installation
    from harness.devices.appium.native_app import NativeAppResult
    from harness.devices.appium.server import AppiumServer
    from results.record import Record
    from tests.harness.devices.appium.conftest import Loop, Virtual

pytestmark = pytest.mark.integration

PAGE = b"<!doctype html><title>A page</title><script>const f = (n) => n + 1;</script>"


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
        pass


@contextmanager
def served() -> Iterator[int]:
    """A web server on this machine; its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_chrome_is_driven_and_the_phone_put_back(
    loop: Loop, server: AppiumServer, virtual: Virtual
) -> None:
    require_chromedriver()
    phone = virtual.phone
    left = "ls /data/local/tmp; settings get global debug_app"

    async def use(port: int) -> None:
        before = (await phone.run(left)).text
        async with (
            phone.reverse(f"tcp:{port}", f"tcp:{port}"),
            chrome_session(phone, server) as session,
        ):
            assert await session.contexts() == [NATIVE, "CHROMIUM"]
            assert await session.context() == "CHROMIUM"
            await session.open(f"http://127.0.0.1:{port}/")
            assert await session.title() == "A page"
            assert await session.script("return f(arguments[0])", 41) == 42
            assert "Android" in str(await session.script("return navigator.userAgent"))
            await session.enter(NATIVE)
            assert "com.android.chrome" in await session.source()
        assert (await phone.run(left)).text == before
        assert (await phone.run("pidof com.android.chrome", check=False)).text == ""

    with served() as port:
        loop.run(use(port))


def test_a_webview_is_driven(loop: Loop, server: AppiumServer, virtual: Virtual) -> None:
    require_chromedriver()
    phone, package = virtual.phone, "dev.tierlab.webviewsample"

    async def use(port: int) -> None:
        async with (
            phone.reverse(f"tcp:{port}", f"tcp:{port}"),
            webview_session(phone, server, package=package, activity=".MainActivity") as session,
        ):
            assert await session.context() == f"WEBVIEW_{package}"
            await session.open(f"http://127.0.0.1:{port}/")
            assert await session.title() == "A page"
            await session.enter(NATIVE)
            assert package in await session.source()

    with served() as port:
        loop.run(use(port))


class AppiumPhone:
    """As much of a device as a native app needs."""

    profile = load_profiles()["pixel7"]

    def __init__(self, phone: Phone, *, closed: bool = False) -> None:
        self.phone = phone
        self._closed = closed

    async def facts(self) -> HostFacts:
        return HostFacts(
            "lab", "Android 15", "Tensor G2", 8, 8 << 30, "Chrome", "156", emulated=True
        )

    async def rest(self) -> bool:
        return True

    async def gates(self) -> list[Gate]:
        return [Gate("battery", passed=not self._closed, observed="3 %", limit="at least 20 %")]


def ask(
    loop: Loop,
    server: AppiumServer,
    device: AppiumPhone,
    results: Path,
    *,
    model: str | None = None,
    app: str = "llm-sample",
) -> NativeAppResult:
    return loop.run(
        run_native_app(
            device,  # type: ignore[arg-type] # the rest of a device is not used
            find_app(app),
            Question("Which phone?", 16, 32, model),
            results=results,
            run_id="a-run",
            server=server,
        )
    )


def test_an_app_is_asked_and_measured(
    loop: Loop, server: AppiumServer, virtual: Virtual, tmp_path: Path
) -> None:
    result = ask(loop, server, AppiumPhone(virtual.phone), tmp_path)
    record = result.record
    assert record.verdict is Verdict.OK, record.explanation
    assert result.output.startswith("On your own device a model answers")
    assert record.workload.runtime == "app/llm-sample"
    assert record.device.emulated
    assert record.conditions.host_at_rest is not None
    assert record.conditions.facts["figures_by"] == {
        "create_seconds": "app",
        "prefill_tokens_per_s": "app",
        "decode_tokens_per_s": "app",
        "first_token_seconds": "seen",
    }
    found = record.measurement
    assert found is not None
    assert found.prefill_tokens_per_s == 64.0  # the app's own word
    assert found.decode_tokens_per_s is not None
    # The simulated model is 192 MiB that are really allocated.
    assert found.memory.engine_bytes > 192 << 20
    for name in (
        "logcat.txt",
        "memory-curve.json",
        "temperature-curve.json",
        "output.txt",
        "screenshot.png",
    ):
        assert (tmp_path / record.files[name]).stat().st_size
    assert "driver: phase (name=decode)" in "\n".join(map(str, record.evidence))
    # Its end was wanted, and is no evidence.
    assert not {Kind.CHILD_GONE, Kind.SYSTEM_KILL} & {item.kind for item in record.evidence}


def test_an_app_that_is_killed_for_memory_is_an_oom(
    loop: Loop, server: AppiumServer, virtual: Virtual, tmp_path: Path
) -> None:
    if not virtual.control.limited:
        pytest.skip("; ".join(virtual.control.missing))
    record = ask(loop, server, AppiumPhone(virtual.phone), tmp_path, model="Large 8B int8").record
    assert record.verdict is Verdict.OOM, record.explanation
    assert "killed the engine's process for memory during create" in record.explanation
    assert {item.source for item in record.evidence} >= {
        Source.LOGCAT,
        Source.EXIT_INFO,
        Source.ADB,
    }


def test_a_failure_that_the_app_shows_is_kept_with_its_screen(
    loop: Loop, server: AppiumServer, virtual: Virtual, tmp_path: Path
) -> None:
    record = ask(loop, server, AppiumPhone(virtual.phone), tmp_path, model="Broken").record
    assert record.verdict is Verdict.CRASH
    assert "unknown model format" in record.explanation
    assert "dev.tierlab.llmsample" in (tmp_path / record.files["screen.xml"]).read_text("utf-8")


def test_a_closed_gate_is_told_and_nothing_runs(
    loop: Loop, server: AppiumServer, virtual: Virtual, tmp_path: Path
) -> None:
    device = AppiumPhone(virtual.phone, closed=True)
    record = ask(loop, server, device, tmp_path).record
    assert record.verdict is Verdict.INFRA
    assert "battery is 3 %, the limit is at least 20 %" in record.explanation
    assert json.loads(record.model_dump_json())["measurement"] is None


def test_an_app_that_is_not_there_is_told_with_the_next_step(
    loop: Loop, server: AppiumServer, virtual: Virtual, tmp_path: Path
) -> None:
    device = AppiumPhone(virtual.phone)
    with pytest.raises(
        UserError, match=r"com\.google\.aiedge\.gallery\) is not on the phone"
    ) as raised:
        ask(loop, server, device, tmp_path, app="ai-edge-gallery")
    assert "--app-apk" in raised.value.next_step


def ask_meanwhile(
    loop: Loop,
    server: AppiumServer,
    virtual: Virtual,
    results: Path,
    fault: Callable[[], Coroutine[object, object, object]],
) -> Record:
    """Ask the app, and do something to the lab as soon as the prompt is due."""
    begun: list[asyncio.Future[object]] = []

    def progress(text: str) -> None:
        if text == "first-token" and not begun:
            begun.append(asyncio.ensure_future(fault()))

    async def ask_it() -> Record:
        result = await run_native_app(
            AppiumPhone(virtual.phone),  # type: ignore[arg-type]
            find_app("llm-sample"),
            Question("Which phone?", 16, 32),
            results=results,
            run_id="a-run",
            server=server,
            progress=progress,
        )
        await begun[0]
        assert await virtual.phone.wait_until_back(within=30)
        return result.record

    return loop.run(ask_it())


def test_a_phone_that_was_away_is_the_labs_fault(
    loop: Loop, server: AppiumServer, virtual: Virtual, tmp_path: Path
) -> None:
    async def unplug() -> None:
        await virtual.control.control("unplug", seconds=2)

    record = ask_meanwhile(loop, server, virtual, tmp_path, unplug)
    assert (record.verdict, record.cause) == (Verdict.INFRA, "transport-lost"), record.explanation
    assert "the phone was gone during" in record.explanation


def test_an_appium_that_is_killed_is_the_labs_fault_and_leaves_nothing(
    loop: Loop, installation: Installation, virtual: Virtual, tmp_path: Path
) -> None:
    port = virtual.phone.adb.port
    own = appium_server(tmp_path, adb_port=port, installation=installation, drivers=(UIAUTOMATOR2,))
    with loop.held(own) as server:
        below = psutil.Process(server.pid).children(recursive=True)

        async def kill() -> None:
            below[0].kill()

        record = ask_meanwhile(loop, server, virtual, tmp_path, kill)
    assert (record.verdict, record.cause) == (Verdict.INFRA, "lab"), record.explanation
    assert "Appium's session" in record.explanation
    gone, alive = psutil.wait_procs(below, timeout=10)
    assert gone
    assert not alive
