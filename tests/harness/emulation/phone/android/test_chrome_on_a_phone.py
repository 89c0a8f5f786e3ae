"""Chrome on a whole virtual phone, through real adb: how pages see it, and how it dies."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from harness.devices.android.adb import Adb
from harness.devices.android.exit_info import parse_exit_info
from harness.devices.browsers import InstalledBrowser, find_browser
from harness.emulation.limits import parse_bytes
from harness.emulation.phone.hardware import cores
from harness.emulation.phone.start import virtual_phone
from tests.harness.emulation.phone.android.fixtures import ACTIVITY, CHROME, PIXEL, until
from tests.harness.emulation.phone.real import AdbServer, adb_programs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from harness.devices.android.adb import Phone
    from harness.emulation.phone.start import VirtualPhone

HOST_BROWSER = find_browser(PIXEL.browser.model_copy(update={"channels": ("chrome", "chromium")}))
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(sys.platform != "linux", reason="NOT TESTED, virtual phones need Linux"),
    pytest.mark.skipif(not adb_programs(), reason="NOT TESTED, there is no adb here"),
    pytest.mark.skipif(
        not isinstance(HOST_BROWSER, InstalledBrowser), reason=f"NOT TESTED, {HOST_BROWSER}"
    ),
]

SEES = """({ua: navigator.userAgent, memory: navigator.deviceMemory,
    cores: navigator.hardwareConcurrency, mobile: navigator.userAgentData?.mobile,
    platform: navigator.platform, online: navigator.onLine})"""
PAGE = f"""<!doctype html><meta name=viewport content="width=device-width"><script>
const first = {SEES};
async function seen() {{
  const source = URL.createObjectURL(new Blob([`postMessage({SEES})`]));
  const worker = await new Promise(done => {{ new Worker(source).onmessage = e => done(e.data); }});
  return {{first, worker, inner: [innerWidth, innerHeight], density: devicePixelRatio,
    touch: navigator.maxTouchPoints, secure: isSecureContext,
    quota: (await navigator.storage.estimate()).quota}};
}}
async function eat(pieces) {{
  globalThis.kept = [];
  for (let i = 0; i < pieces; i++) {{
    const piece = new Uint8Array(32 << 20);
    for (let at = 0; at < piece.length; at += 4096) piece[at] = 1;
    kept.push(piece);
    await new Promise(done => setTimeout(done, 1));
  }}
  return "survived";
}}
</script>"""


@pytest.fixture
def adb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AdbServer]:
    monkeypatch.setenv("TIERLAB_STATE", str(tmp_path / "state"))
    server = AdbServer(adb_programs()[-1])
    yield server
    server.end()


@asynccontextmanager
async def started(
    adb: AdbServer, work: Path, memory: str
) -> AsyncIterator[tuple[VirtualPhone, Phone]]:
    async with virtual_phone(PIXEL, work=work, memory_bytes=parse_bytes(memory)) as virtual:
        adb.said("start-server")
        client = Adb(port=int(adb.environment["ANDROID_ADB_SERVER_PORT"]))
        await client.connect(virtual.address)
        phone = client.phone(virtual.address)
        assert await phone.wait_until_back(within=20)
        await phone.run("echo '_ --disable-fre' > /data/local/tmp/chrome-command-line")
        await phone.run(f"am set-debug-app --persistent {CHROME}")
        yield virtual, phone


class Page:
    """The page in front, over the phone's own DevTools socket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0

    async def ask(self, expression: str) -> Any:
        """The value of an expression, awaited; the crash event's name when the page dies of it."""
        self._number += 1
        await self._socket.send_json(
            {
                "id": self._number,
                "method": "Runtime.evaluate",
                "params": {
                    "expression": expression,
                    "awaitPromise": True,
                    "returnByValue": True,
                },
            }
        )
        async for message in self._socket:
            data = json.loads(message.data)
            if data.get("method") == "Inspector.targetCrashed":
                return data["method"]
            if data.get("id") == self._number:
                return data["result"]["result"].get("value", data)
        return "disconnected"


@asynccontextmanager
async def page(phone: Phone, url: str = "about:blank") -> AsyncIterator[Page]:
    """Chrome started on a page, and its DevTools."""
    said = (await phone.run(["am", "start", "-W", "-n", ACTIVITY, "-d", url], within=60)).text
    assert "Status: ok" in said
    async with (
        phone.forward("localabstract:chrome_devtools_remote") as port,
        aiohttp.ClientSession() as http,
    ):

        async def targets() -> list[dict[str, str]]:
            async with http.get(f"http://127.0.0.1:{port}/json/list") as answer:
                return [item for item in await answer.json() if item["type"] == "page"]

        async def there() -> bool:
            return any(item["url"].startswith(url) for item in await targets())

        await until(there)
        address = (await targets())[0]["webSocketDebuggerUrl"]
        async with http.ws_connect(address) as socket:
            opened = Page(socket)

            async def loaded() -> bool:
                return bool(await opened.ask("document.readyState") == "complete")

            await until(loaded)
            await socket.send_json({"id": 0, "method": "Inspector.enable"})
            yield opened


async def exits(phone: Phone) -> dict[int, int]:
    """Reasons of exits by pid."""
    text = (await phone.run(f"dumpsys activity exit-info {CHROME}")).text
    return {record.pid: record.reason for record in parse_exit_info(text) if record.pid}


def test_pages_and_workers_see_the_phone(adb: AdbServer, tmp_path: Path) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async def run() -> dict[str, Any]:
        app = web.Application()
        app.router.add_get("/", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        try:
            async with (
                asyncio.timeout(60),
                started(adb, tmp_path / "phone", "1500m") as (_, phone),
                phone.reverse(f"tcp:{port}", f"tcp:{port}"),
                page(phone, f"http://localhost:{port}/") as opened,
            ):
                seen: dict[str, Any] = await opened.ask("seen()")
                return seen
        finally:
            await runner.cleanup()

    seen = asyncio.run(run())
    for where in ("first", "worker"):
        assert seen[where]["ua"].startswith("Mozilla/5.0 (Linux; Android 10; K) ")
        assert seen[where]["ua"].endswith(" Mobile Safari/537.36")
        assert seen[where] | {"ua": ""} == {
            "ua": "",
            "memory": 8,
            "cores": cores(PIXEL),
            "mobile": True,
            "platform": "Linux armv81",
            "online": True,
        }
    assert (seen["inner"], seen["density"], seen["touch"]) == ([412, 915], 2.625, 5)
    assert seen["secure"]
    assert 0 < seen["quota"] <= 0.6 * 128e9


def test_a_memory_kill_and_a_plain_kill(adb: AdbServer, tmp_path: Path) -> None:
    async def run() -> None:
        work = tmp_path / "phone"
        async with asyncio.timeout(90), started(adb, work, "700m") as (virtual, phone):
            if not virtual.limited:
                pytest.skip("NOT TESTED, memory cannot be limited here")
            await phone.run("logcat -c -b all")
            async with page(phone) as opened:
                await opened.ask(f"document.write({json.dumps(PAGE)})")
                assert await opened.ask("eat(60)") == "Inspector.targetCrashed"

            async def told() -> bool:
                return 3 in (await exits(phone)).values()

            await until(told)
            [pid] = [pid for pid, reason in (await exits(phone)).items() if reason == 3]
            log = (await phone.run("logcat -d -b all")).text
            assert f"({pid}), uid 99" in log
            assert "lowmemorykiller: Kill 'com.android.chrome:sandboxed_process0:" in log
            assert f"Process {pid} exited due to signal 9 (Killed)" in log
            assert f"(pid {pid}) has died" in log
            # Chrome itself lives on; what somebody kills is no memory kill.
            assert (await phone.run(f"pidof {CHROME}")).text.strip()
            killed = await virtual.control("kill", process="browser")

            async def gone() -> bool:
                return killed in await exits(phone)

            await until(gone)
            assert (await exits(phone))[int(str(killed))] == 2
            assert (await phone.run(f"pidof {CHROME}", check=False)).exit_code == 1
            assert "chrome_devtools_remote" not in (await phone.run("cat /proc/net/unix")).text

    asyncio.run(run())
