"""Drives a bare engine: a browser by plain Playwright, or a fresh process; memory by psutil."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import async_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER: Final = Path(__file__).parent
ROOT: Final = FOLDER.parent.parent
# As often as the harness looks.
SAMPLE_SECONDS: Final = 0.2


class BareError(Exception):
    """The bare engine failed; the message is the engine's, or says what happened."""


class Peaks:
    """Highest resident bytes of one process of each kind, as far as they were sampled."""

    def __init__(self) -> None:
        self.bytes: dict[str, int] = {}

    def look(self, root: psutil.Process) -> None:
        """Sample `root` and all its descendants."""
        with contextlib.suppress(psutil.Error):
            for process in (root, *root.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    kind = kind_of(" ".join(process.cmdline()))
                    size = process.memory_info().rss
                    self.bytes[kind] = max(self.bytes.get(kind, 0), size)


def kind_of(command: str) -> str:
    """What a process of Chromium is for, as its command line says; "" where it does not."""
    found = re.search(r"--type=([\w-]+)", command)
    return found[1] if found else ""


@contextmanager
def sampled(pid: int) -> Iterator[Peaks]:
    """The peaks of a process and of what it started, sampled until the block ends."""
    peaks, over, root = Peaks(), threading.Event(), psutil.Process(pid)

    def sample() -> None:
        while not over.wait(SAMPLE_SECONDS):
            peaks.look(root)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield peaks
    finally:
        over.set()
        thread.join()


async def in_page(
    browser: Path, args: tuple[str, ...], url: str, job: dict[str, Any], limit_seconds: float
) -> tuple[dict[str, Any], int]:
    """Run a job of run.js in a fresh browser: its result, and renderer and GPU process in bytes.

    Raises:
        BareError: it failed, or took longer than `limit_seconds`.
    """
    try:
        async with asyncio.timeout(limit_seconds), async_playwright() as driver:
            with sampled(os.getpid()) as peaks:
                started = await driver.chromium.launch(
                    executable_path=browser, args=list(args), chromium_sandbox=os.geteuid() != 0
                )
                page = await started.new_page()
                await page.goto(url)
                result: dict[str, Any] = await page.evaluate("job => runBare(job)", job)
            await started.close()
    except TimeoutError as error:
        raise BareError(f"not done after {limit_seconds:.0f} s") from error
    except PlaywrightError as error:
        raise BareError(error.message[:500]) from error
    return result, peaks.bytes.get("renderer", 0) + peaks.bytes.get("gpu-process", 0)


async def in_process(
    module: str, job: dict[str, Any], limit_seconds: float
) -> tuple[dict[str, Any], int]:
    """Run a job of clock.py in a fresh process: its result, and its peak in bytes.

    Raises:
        BareError: it failed, or took longer than `limit_seconds`.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        with sampled(process.pid) as peaks:
            line = json.dumps(job).encode() + b"\n"
            out, said = await asyncio.wait_for(process.communicate(line), limit_seconds)
    except TimeoutError as error:
        raise BareError(f"not done after {limit_seconds:.0f} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        last = said.decode(errors="replace").strip().splitlines()[-1:]
        raise BareError(f"exit code {process.returncode}: {' '.join(last)}")
    result: dict[str, Any] = json.loads(out)
    return result, peaks.bytes.get("", 0)
