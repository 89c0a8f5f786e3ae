"""The simulated app and the device side of UiAutomator2, over HTTP and with a real process."""

from __future__ import annotations

import asyncio
import base64
import re
import socket
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from harness.emulation.phone.android.apps_base import Intent
from harness.emulation.phone.android.sample_apps import load_sample, load_samples
from harness.emulation.phone.android.uia2 import Uia2Server
from harness.errors import UserError
from tests.harness.emulation.phone.android.fixtures import Handset, until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

APP = "dev.tierlab.llmsample"
HANDLE = "element-6066-11e4-a52e-4f735466cecf"


class Client:
    """A client as Appium's driver is one."""

    def __init__(self, port: int, http: aiohttp.ClientSession) -> None:
        self._base = f"http://127.0.0.1:{port}"
        self._http = http

    async def ask(self, method: str, path: str, **body: Any) -> tuple[int, Any]:
        async with self._http.request(method, self._base + path, json=body or None) as answer:
            return answer.status, (await answer.json())["value"]

    async def value(self, method: str, path: str, **body: Any) -> Any:
        status, value = await self.ask(method, f"/session/x{path}", **body)
        assert status == 200, value
        return value

    async def find(self, strategy: str, selector: str) -> str:
        value = await self.value("POST", "/element", strategy=strategy, selector=selector)
        return f"/element/{value[HANDLE]}"

    async def shows(self, identity: str) -> bool:
        return bool(await self.value("POST", "/elements", strategy="id", selector=identity))


def driven(tmp_path: Path, work: Callable[[Handset, Client], Awaitable[None]]) -> Handset:
    """Run `work` against the started app."""

    async def run() -> Handset:
        phone = Handset(tmp_path)
        await phone.system.start()
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        server = Uia2Server(phone.system.phone, port)
        await server.start()
        try:
            assert (await phone.run(f"am start -W -n {APP}/.MainActivity")).code == 0
            async with asyncio.timeout(30), aiohttp.ClientSession() as http:
                await work(phone, Client(port, http))
        finally:
            await server.close()
            await phone.system.stop()
        return phone

    return asyncio.run(run())


def test_a_session_with_the_app(tmp_path: Path) -> None:
    async def work(phone: Handset, client: Client) -> None:
        assert (await client.ask("GET", "/status"))[1]["ready"] is True
        button = await client.find("xpath", "//*[@text='Tiny 1B int4']")
        await client.value("POST", f"{button}/click")
        await until(lambda: client.shows("prompt"))
        pid = int((await phone.run(f"pidof {APP}")).out)
        assert pid > 1
        memory = (await phone.run(f"dumpsys meminfo {APP}")).out
        assert int(re.findall(r"TOTAL RSS: +(\d+)", memory)[0]) > 192 << 10
        send = await client.find("accessibility id", "Send prompt")
        assert await client.value("GET", f"{send}/enabled") is False
        prompt = await client.find("id", f"{APP}:id/prompt")
        await client.value("POST", f"{prompt}/value", text="Say ")
        await client.value("POST", f"{prompt}/value", text="it")
        assert await client.value("GET", f"{prompt}/text") == "Say it"
        await client.value("POST", f"{send}/click")
        await until(lambda: client.shows("decode_speed"))
        output = await client.find(
            "-android uiautomator", f'new UiSelector().resourceId("{APP}:id/output")'
        )
        assert (await client.value("GET", f"{output}/text")).endswith("than on anything else .")
        speed = await client.value("GET", f"{await client.find('id', 'decode_speed')}/text")
        assert re.fullmatch(r"Decode: \d+\.\d tokens/s", speed)
        assert base64.b64decode(await client.value("GET", "/screenshot"))[:4] == b"\x89PNG"
        assert "Decode: " in await client.value("GET", "/source")

    driven(tmp_path, work)


def test_errors_are_webdrivers(tmp_path: Path) -> None:
    async def work(phone: Handset, client: Client) -> None:
        async def fails(method: str, path: str, **body: Any) -> tuple[int, str]:
            status, value = await client.ask(method, f"/session/x{path}", **body)
            return status, value["error"]

        lost = {"strategy": "id", "selector": "nothing"}
        wrong = {"strategy": "xpath", "selector": "//["}
        assert await fails("POST", "/element", **lost) == (404, "no such element")
        assert await fails("POST", "/element", **wrong) == (400, "invalid selector")
        assert await fails("GET", "/nonsense") == (404, "unknown command")
        assert phone.unknown["uiautomator2 GET /nonsense"] == 1
        button = await client.find("id", "model_tiny")
        await client.value("POST", f"{button}/click")
        await until(lambda: client.shows("loading_model"))
        assert await fails("POST", f"{button}/click") == (404, "stale element reference")

    driven(tmp_path, work)


def test_a_touch_by_its_point(tmp_path: Path) -> None:
    async def work(_: Handset, client: Client) -> None:
        broken = await client.find("id", "model_broken")
        rect = await client.value("GET", f"{broken}/rect")
        move = {"type": "pointerMove", "x": rect["x"] + 5, "y": rect["y"] + 5}
        finger = {"type": "pointer", "id": "f", "actions": [move, {"type": "pointerUp"}]}
        await client.value("POST", "/actions", actions=[finger])
        await until(lambda: client.shows("error"))

    driven(tmp_path, work)


def test_the_process_is_real_and_dies_as_processes_do(tmp_path: Path) -> None:
    async def work(phone: Handset, client: Client) -> None:
        await phone.system.control("kill", {"process": "app"})
        await until(lambda: _gone(phone))
        assert not await client.shows("title")

    phone = driven(tmp_path, work)
    assert [int(item.reason) for item in phone.state.exits[APP]] == [2]


async def _gone(phone: Handset) -> bool:
    return APP in phone.state.exits


def test_the_instrumentation_must_be_installed(tmp_path: Path) -> None:
    phone = Handset(tmp_path)
    said = phone.say("am instrument -w io.appium.uiautomator2.server.test/androidx.Runner")
    assert "Unable to find instrumentation info" in said.out


def test_an_app_is_started_by_its_component(tmp_path: Path) -> None:
    phone = Handset(tmp_path)
    app = phone.system.phone.app(APP)
    assert app is not None

    async def run() -> tuple[bool, bool]:
        try:
            return await app.start(Intent()), await app.start(Intent())
        finally:
            await phone.system.stop()

    assert asyncio.run(run()) == (True, False)


def test_the_samples_hang_together(tmp_path: Path) -> None:
    assert APP in load_samples()
    wrong = tmp_path / "x.toml"
    wrong.write_text('id = "x"\nname = "X"\npackage = "a.b"\nfirst = "no"\n', "utf-8")
    with pytest.raises(UserError, match="there is no screen 'no'"):
        load_sample(wrong)
