from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.devices.cdp import (
    Cdp,
    CdpError,
    CdpLostError,
    CdpTimeoutError,
    attach,
    browser_socket,
    fetch_json,
)
from tests.harness.devices.cdp_browser import Browser

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from aiohttp import web

    from tests.harness.devices.cdp_browser import Answer


def run(answer: Answer, test: Callable[[Browser, Cdp], Coroutine[Any, Any, None]]) -> Browser:
    browser = Browser(answer)

    async def main() -> None:
        async with asyncio.timeout(20), browser.running() as cdp:
            await test(browser, cdp)

    asyncio.run(main())
    return browser


async def echo(socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
    match message["method"]:
        case "Target.attachToTarget":
            result: Any = {"sessionId": f"session of {message['params']['targetId']}"}
        case "Refused":
            error = {"code": -32000, "message": "not here"}
            await socket.send_json({"id": message["id"], "error": error})
            return
        case "Silent":
            return
        case "Die":
            await socket.close()
            return
        case "Say":
            await socket.send_str(message["params"]["text"])
            result = {}
        case _:
            result = message["params"]
    await socket.send_json({"id": message["id"], "result": result})


def test_answers_belong_to_their_commands_and_sessions_travel_with_them() -> None:
    async def test(browser: Browser, cdp: Cdp) -> None:
        page = await attach(cdp, "T")
        answers = await asyncio.gather(*(page.send("Echo", {"n": n}) for n in range(20)))
        assert [answer["n"] for answer in answers] == list(range(20))
        assert {m["sessionId"] for m in browser.got[1:]} == {"session of T"}

    run(echo, test)


def test_a_refusal_a_silence_and_a_loss_are_three_things() -> None:
    async def test(_: Browser, cdp: Cdp) -> None:
        told: list[str] = []
        cdp.on_lost(told.append)
        with pytest.raises(CdpError, match="not here"):
            await cdp.send("Refused")
        with pytest.raises(CdpTimeoutError, match="Silent was not answered within"):
            await cdp.send("Silent", within=0.05)
        waiting = asyncio.create_task(cdp.send("Silent"))
        await asyncio.sleep(0)
        with pytest.raises(CdpLostError):
            await cdp.send("Die")
        with pytest.raises(CdpLostError):
            await waiting
        with pytest.raises(CdpLostError):
            await cdp.send("Echo")
        assert len(told) == 1
        assert cdp.lost == told[0]
        cdp.on_lost(told.append)  # who comes late is told at once
        assert len(told) == 2

    run(echo, test)


def test_closing_is_no_loss() -> None:
    async def test(_: Browser, cdp: Cdp) -> None:
        told: list[str] = []
        cdp.on_lost(told.append)
        await cdp.close()
        with pytest.raises(CdpLostError, match="closed"):
            await cdp.send("Echo")
        assert told == []
        assert cdp.lost is None

    run(echo, test)


def test_events_reach_the_listeners_of_their_session_only() -> None:
    async def test(_: Browser, cdp: Cdp) -> None:
        page, heard = await attach(cdp, "T"), list[tuple[str, Any]]()
        cdp.on("E", lambda p: heard.append(("browser", p)))
        page.on("E", lambda p: heard.append(("page", p)))
        for message in (
            {"method": "E", "params": {"a": 1}},
            {"method": "E", "params": "no object", "sessionId": page.id},
            {"method": "Other", "params": {}},
            {"method": "E", "sessionId": "somebody else's"},
            {"id": 999, "result": {}},
        ):
            await cdp.send("Say", {"text": json.dumps(message)})
        await page.detach()
        await cdp.send("Say", {"text": json.dumps({"method": "E", "sessionId": page.id})})
        assert heard == [("browser", {"a": 1}), ("page", {})]

    run(echo, test)


@settings(max_examples=40, deadline=None)
@given(text=st.text() | st.recursive(st.none() | st.integers(), st.lists).map(json.dumps))
def test_garbage_ends_the_connection_or_is_ignored_and_never_raises(text: str) -> None:
    async def test(_: Browser, cdp: Cdp) -> None:
        told: list[str] = []
        cdp.on_lost(told.append)
        try:
            await cdp.send("Say", {"text": text}, within=5)
        except CdpLostError:
            assert len(told) == 1
        else:
            assert told == []

    run(echo, test)


def test_http_answers_are_bounded_and_must_be_json() -> None:
    async def test(browser: Browser, _: Cdp) -> None:
        assert await fetch_json(browser.port, "/json/version") == {"Browser": "Chrome/1"}
        for path in ("/json/huge", "/json/html", "/json/none"):
            with pytest.raises(CdpLostError):
                await fetch_json(browser.port, path)

    run(echo, test)


def test_nobody_listens() -> None:
    async def main() -> None:
        with pytest.raises(CdpLostError, match=r"no DevTools at 127\.0\.0\.1:9"):
            await Cdp.connect("ws://127.0.0.1:9/devtools/browser", within=5)
        with pytest.raises(CdpLostError):
            await fetch_json(9, "/json/version", within=5)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("told", "path"),
    [
        ("ws://localhost/devtools/browser", "/devtools/browser"),
        ("ws://evil.example:1/devtools/browser/1-2", "/devtools/browser/1-2"),
    ],
)
def test_only_the_path_of_the_socket_is_the_browsers_to_say(told: str, path: str) -> None:
    assert browser_socket(7, {"webSocketDebuggerUrl": told}) == f"ws://127.0.0.1:7{path}"


@pytest.mark.parametrize("told", [None, [], {}, {"webSocketDebuggerUrl": 5}, "ws://[", "ws://x/y"])
def test_no_socket_is_an_error(told: object) -> None:
    version = {"webSocketDebuggerUrl": told} if isinstance(told, str) else told
    with pytest.raises(CdpLostError):
        browser_socket(7, version)


def test_a_page_that_is_gone_leaves_its_commands_at_once_and_no_others() -> None:
    async def test(_: Browser, cdp: Cdp) -> None:
        page, other = await attach(cdp, "T"), await attach(cdp, "U")
        waiting = [asyncio.create_task(each.send("Silent", within=15)) for each in (page, other)]
        await cdp.send("Echo")  # both were sent
        page.abandon("its process is gone")
        with pytest.raises(CdpError, match="its process is gone"):
            await waiting[0]
        assert not waiting[1].done()
        waiting[1].cancel()

    run(echo, test)
