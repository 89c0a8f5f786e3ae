"""A private Appium server: its own port, its own home, ended with everything that it started.

Its `APPIUM_HOME` is a temporary folder whose `node_modules` leads to the drivers of
`requirements/appium/`, so that several servers do not share the manifest that Appium writes there.
What the server says is kept as `appium.log`, without the serials of phones.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aiohttp

from harness.devices.appium import guard
from harness.devices.appium.installation import UIAUTOMATOR2, Installation, find_installation
from harness.devices.appium.ports import free_ports
from harness.devices.processes import family, handles, kill_all
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

START_SECONDS: Final = 60.0
# The guard waits 5 s for Appium before it kills.
STOP_SECONDS: Final = 10.0
LOG: Final = "appium.log"
_STARTS: Final = 3
_POLL_SECONDS: Final = 0.05
_PORT_TAKEN: Final = "EADDRINUSE"
# Of the user's environment Appium gets no more than this: tokens and passwords stay out of it.
_ENVIRONMENT: Final = ("PATH", "HOME", "LANG", "TMPDIR", "JAVA_HOME", "SYSTEMROOT")
# What Appium asks a phone for, and what is nobody's business.
_PRIVATE: Final = ("androidId", "carrierName", "networks", "bluetooth")


@dataclass(frozen=True, slots=True)
class AppiumServer:
    """A running server.

    Attributes:
        url: where it listens.
        log: what it says.
        adb_port: of the adb server that its sessions use.
        pid: of the guard around its processes.
    """

    url: str
    log: Path
    adb_port: int
    pid: int


@asynccontextmanager
async def appium_server(
    folder: Path,
    *,
    adb_port: int = 5037,
    drivers: tuple[str, ...] = (UIAUTOMATOR2,),
    hide: Sequence[str] = (),
    installation: Installation | None = None,
) -> AsyncIterator[AppiumServer]:
    """Start a server, wait until it answers, and end it with all its processes.

    Args:
        folder: gets the log `appium.log`; made when missing.
        adb_port: the adb server of the phones. It must be running: one that Appium starts would
            outlive this.
        drivers: npm packages of the Appium drivers that are needed.
        hide: texts that must not be in the log, such as the serials of phones.
        installation: where everything is; found by default.

    Raises:
        UserError: something is missing on this machine, or the server does not start.
    """
    installed = installation or await find_installation(drivers)
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    log = folder / LOG
    for left in reversed(range(_STARTS)):
        (port,) = free_ports(1)
        home, environment = await asyncio.to_thread(_make_home, installed, drivers, hide)
        environment["ANDROID_ADB_SERVER_PORT"] = str(adb_port)
        process = await _start(installed, home, port, environment, log)
        try:
            if await _answers(port, process):
                yield AppiumServer(f"http://127.0.0.1:{port}", log, adb_port, process.pid)
                return
        finally:
            await _stop(process)
        said = log.read_text(encoding="utf-8", errors="replace")
        # Somebody else may take a free port before Appium does.
        if _PORT_TAKEN not in said or not left:
            raise UserError(f"Appium did not start:\n{_tail(said)}", f"all it said is in {log}")


def _make_home(
    installed: Installation, drivers: Sequence[str], hide: Sequence[str]
) -> tuple[Path, dict[str, str]]:
    """Appium's home, which the guard removes, and the environment that goes with it."""
    home = Path(tempfile.mkdtemp(prefix="tierlab-appium-"))
    for driver in drivers:
        link = home / "node_modules" / driver
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(installed.node_modules / driver)
    sdk = installed.sdk
    if sdk is None:
        sdk = home / "sdk"
        tools = sdk / "platform-tools"
        tools.mkdir(parents=True)
        (tools / "adb").symlink_to(installed.adb.resolve())
    (home / "filters.json").write_text(json.dumps(log_filters(hide)), encoding="utf-8")
    kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    return home, {
        **kept,
        "APPIUM_HOME": str(home),
        "ANDROID_HOME": str(sdk),
        "APPIUM_SKIP_CHROMEDRIVER_INSTALL": "1",
    }


def log_filters(hide: Sequence[str]) -> list[dict[str, str]]:
    """What Appium leaves out of its log (`--log-filters`)."""
    texts = [{"text": text, "replacer": "(hidden)"} for text in hide if text]
    named = [
        {
            "pattern": rf'"{name}":\s*(?:"[^"]*"|\[.*?\]|\{{.*?\}})',
            "replacer": f'"{name}":"(hidden)"',
        }
        for name in _PRIVATE
    ]
    return [*texts, *named]


async def _start(
    installed: Installation, home: Path, port: int, environment: Mapping[str, str], log: Path
) -> asyncio.subprocess.Process:
    with log.open("wb") as output:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", guard.__file__, str(home)),
            *(str(installed.node), str(installed.program), "server"),
            *("--address", "127.0.0.1", "--port", str(port)),
            *("--log-level", "info", "--log-timestamp", "--log-no-colors"),
            *("--log-filters", str(home / "filters.json")),
            stdin=asyncio.subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,
        )


async def _answers(port: int, process: asyncio.subprocess.Process) -> bool:
    """Wait until the server is ready; False where it ended, or does not answer in time."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(START_SECONDS), aiohttp.ClientSession() as client:
            while process.returncode is None:
                with contextlib.suppress(aiohttp.ClientError, ValueError):
                    async with client.get(f"http://127.0.0.1:{port}/status") as answer:
                        said = await answer.json(content_type=None)
                    if isinstance(said, dict) and said.get("value", {}).get("ready"):
                        return True
                await asyncio.sleep(_POLL_SECONDS)
    return False


async def _stop(process: asyncio.subprocess.Process) -> None:
    """End the guard, and with it everything below it; also where the guard itself was killed."""
    below = handles(family(process.pid))
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        pass
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
    await asyncio.to_thread(kill_all, below, within=1.0)


def _tail(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-12:])[-2000:]
