"""Sessions on Appium's fake driver: an app of one XML file, whose screen never changes."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest

from harness.devices.appium.selectors import Selector
from harness.devices.appium.session import (
    AppiumError,
    AppiumSession,
    SessionLostError,
    appium_session,
    explain,
)

if TYPE_CHECKING:
    from harness.devices.appium.server import AppiumServer
    from tests.harness.devices.appium.conftest import Loop

DATA = Path(__file__).parent / "data"
FAKE: dict[str, Any] = {
    "platformName": "Fake",
    "appium:automationName": "Fake",
    "appium:app": str(DATA / "fake_app.xml"),
    "appium:deviceName": "a-serial-number",
}


@pytest.mark.integration
def test_a_screen_is_read_and_used(loop: Loop, server: AppiumServer, tmp_path: Path) -> None:
    async def use() -> None:
        async with appium_session(server.url, FAKE) as session:
            assert await session.shows(Selector(text="it's Gemma"))
            assert await session.tap(Selector(text="it's Gemma"))
            assert not await session.tap(Selector(text="it's Phi"))
            prompt = Selector(id="prompt")
            assert await session.type(prompt, "hello \N{GREEK SMALL LETTER LAMDA}")
            assert await session.text(prompt) == "hello \N{GREEK SMALL LETTER LAMDA}"
            assert not await session.type(Selector(id="nothing"), "hello")
            assert await session.text(Selector(id="nothing")) is None
            assert await session.type(Selector(class_name="MockInputField", last=True), "last")
            assert await session.texts(Selector(class_name="MockInputField")) == [
                "hello \N{GREEK SMALL LETTER LAMDA}",
                "last",
            ]
            assert await session.text(prompt) == "hello \N{GREEK SMALL LETTER LAMDA}"
            assert await session.shows(Selector(id="send", enabled=False))
            assert not await session.shows(Selector(id="send", enabled=True))
            assert "<title>A fake app</title>" in await session.source()
            assert await session.screenshot(tmp_path / "screen.png")
        with pytest.raises(SessionLostError):
            await session.title()

    loop.run(use())
    assert (tmp_path / "screen.png").read_bytes().startswith(b"\x89PNG")
    log = server.log.read_text(encoding="utf-8")
    assert "FakeDriver" in log
    assert "a-serial-number" not in log


@pytest.mark.integration
def test_a_webview_is_entered_and_left(loop: Loop, server: AppiumServer) -> None:
    async def use() -> None:
        async with appium_session(server.url, FAKE) as session:
            native, *pages = await session.contexts()
            assert await session.context() == native
            await session.enter(pages[-1])
            assert await session.title() == "A page"
            assert await session.context() == pages[-1]
            with pytest.raises(AppiumError, match="enter: "):
                await session.enter("WEBVIEW_of_another_app")
            await session.enter(native)
            assert await session.context() == native

    loop.run(use())


@pytest.mark.integration
def test_a_session_that_cannot_be_opened_says_why(loop: Loop, server: AppiumServer) -> None:
    async def use(**changes: str) -> None:
        async with appium_session(server.url, {**FAKE, **changes}):
            pass

    with pytest.raises(AppiumError, match=r"no session was opened: .*nothing\.xml"):
        loop.run(use(**{"appium:app": str(DATA / "nothing.xml")}))
    with pytest.raises(AppiumError, match=r"no session was opened: .*NoSuchDriver"):
        loop.run(use(**{"appium:automationName": "NoSuchDriver"}))


def test_a_call_that_hangs_loses_the_session_and_nobody_waits_for_it() -> None:
    released = Event()

    class Hanging:
        session_id = "a"

        class command_executor:  # noqa: N801 - the client's name
            class _client_config:  # noqa: N801
                remote_server_addr = "http://127.0.0.1:9"

        @property
        def title(self) -> str:
            released.wait(30)
            return "late"

    async def use() -> None:
        thread = ThreadPoolExecutor(1)
        session = AppiumSession(Hanging(), thread)  # type: ignore[arg-type]
        session.call_seconds = 0.01
        with pytest.raises(SessionLostError, match=r"title did not end within 0.01 s"):
            await session.title()
        with pytest.raises(SessionLostError, match="title did not end"):
            await session.texts(Selector(id="x"))
        assert session.lost
        await session.end()
        released.set()
        thread.shutdown()

    asyncio.run(use())


def test_errors_are_one_bounded_line() -> None:
    message, lost = explain(ConnectionRefusedError("not\n created\nStacktrace:\nat x"))
    assert (message, lost) == ("ConnectionRefusedError: not created", True)
    assert explain(ConnectionError("no ABC123"), "ABC123")[0] == "ConnectionError: no (the phone)"
    message, lost = explain(RuntimeError("y" * 5000))
    assert len(message) <= 1000
    assert not lost
