from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from harness.devices.appium import guard
from harness.devices.appium.installation import FAKE, Installation
from harness.devices.appium.server import appium_server, log_filters
from harness.devices.processes import family
from harness.errors import UserError

if TYPE_CHECKING:
    from harness.devices.android.adb import Adb
    from harness.devices.appium.server import AppiumServer

WAIT_SECONDS = 20.0

# A guarded command that starts a child and says its number; the child would outlive it.
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN) if "deaf" in sys.argv else None
child = subprocess.Popen(["sleep", "60"])
print(child.pid, flush=True)
time.sleep(0 if "quick" in sys.argv else 60)
"""


def gone(pid: int) -> bool:
    """Whether a process ends in time."""
    deadline = time.monotonic() + WAIT_SECONDS
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return not psutil.pid_exists(pid)


@pytest.mark.parametrize("how", ["stdin ends", "quick"])
def test_the_guard_leaves_no_process_and_no_folder(tmp_path: Path, how: str) -> None:
    folder = tmp_path / "home"
    folder.mkdir()
    command = [sys.executable, "-c", STUBBORN, how]
    with subprocess.Popen(
        [sys.executable, "-I", guard.__file__, str(folder), *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as guarded:
        assert guarded.stdin is not None
        assert guarded.stdout is not None
        child = int(guarded.stdout.readline())
        if how == "stdin ends":
            guarded.stdin.close()
        assert guarded.wait(WAIT_SECONDS) == -signal.SIGKILL  # its own, of its whole group
    assert gone(child)
    assert not folder.exists()


def test_the_guard_refuses_to_kill_who_started_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", guard.__file__, str(tmp_path), "true"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "needs its own session" in done.stderr


def test_private_things_are_left_out_of_the_log() -> None:
    said = '{"androidId":"0123","model":"P7","networks":[{"name":"home"}],"bluetooth":{"a":1}} SER1'
    for rule in log_filters(["SER1", ""]):
        pattern = rule.get("pattern") or re.escape(rule["text"])
        said = re.sub(pattern, rule["replacer"], said)
    hidden = '"(hidden)"'
    kept = f'{{"androidId":{hidden},"model":"P7","networks":{hidden},"bluetooth":{hidden}}}'
    assert said == f"{kept} (hidden)"


def test_a_server_that_does_not_start_shows_what_it_said(tmp_path: Path) -> None:
    modules = tmp_path / "node_modules"
    (modules / "appium").mkdir(parents=True)
    installed = Installation(Path(sys.executable), modules, Path("/bin/true"))
    installed.program.write_text("raise SystemExit('no such thing as Appium')")

    async def start() -> None:
        async with appium_server(tmp_path / "out", drivers=(), installation=installed):
            pass

    with pytest.raises(UserError, match="no such thing as Appium") as raised:
        asyncio.run(start())
    assert raised.value.problem.startswith("Appium did not start:")
    assert str(tmp_path / "out" / "appium.log") in raised.value.next_step


@pytest.mark.integration
@pytest.mark.usefixtures("installation")
def test_a_killed_owner_leaves_no_server(tmp_path: Path) -> None:
    code = f"""
import asyncio, os, pathlib, sys
from harness.devices.appium.server import appium_server
async def main():
    folder = pathlib.Path({str(tmp_path)!r})
    async with appium_server(folder, drivers=({FAKE!r},)) as server:
        print(server.pid, server.url, flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pid, url = owner.stdout.readline().split()
        below = family(int(pid))
        assert len(below) > 1
        assert url.startswith("http://127.0.0.1:")
        os.kill(owner.pid, signal.SIGKILL)
    assert all(gone(each) for each in below)


@pytest.mark.integration
def test_the_server_says_where_it_is(server: AppiumServer, adb: Adb) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", server.url)
    assert server.adb_port == adb.port
    assert "Available drivers" in server.log.read_text(encoding="utf-8")
