"""The health check: whether a device can do what every trial needs, in seconds.

Its gates are open, it answers on its own (a phone's shell), and its browser opens a page of this
machine that answers a call. Nothing is measured.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Final

from harness.devices.base import Answering, DeviceLostError, HeldElsewhereError, TabLostError
from harness.devices.recovery import Finding
from harness.errors import UserError
from harness.evidence import Timeline
from harness.web.server import serve
from results.table import plain

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from harness.devices.base import Device

# A browser of this machine starts in a second, that of a slow phone in twenty; Appium builds its
# own helper on an iOS device first.
CHECK_SECONDS: Final = {"desktop": 60.0, "android": 90.0, "ios": 180.0}
CALL_SECONDS: Final = 10.0
_SHOWN_CHARACTERS: Final = 300


async def check_up(
    open_device: Callable[[], AbstractAsyncContextManager[Device]],
    folder: Path,
    *,
    within: float,
) -> Finding:
    """Check one device, leased by the caller; it is opened for it and closed again.

    Args:
        open_device: opens it.
        folder: for the raw logs of its browser.
        within: seconds that all of it may take.

    Raises:
        HeldElsewhereError: another host has it, which is nothing to heal.
    """
    try:
        async with asyncio.timeout(within), open_device() as device:
            return await _examine(device, folder)
    except TimeoutError:
        return Finding(f"the health check did not end within {within:.0f} s")
    except HeldElsewhereError:
        raise
    except (DeviceLostError, TabLostError, UserError, OSError) as error:
        problem = error.problem if isinstance(error, UserError) else str(error)
        return Finding(plain(problem)[:_SHOWN_CHARACTERS] or type(error).__name__)


async def _examine(device: Device, folder: Path) -> Finding:
    if isinstance(device, Answering) and (silent := await device.answers()):
        return Finding(silent)
    for gate in await device.gates():
        if not gate.passed:
            closed = f"{gate.name} is {gate.observed}, the limit is {gate.limit}"
            return Finding(plain(closed), waits=True)
    word = secrets.token_hex(4)
    async with serve() as server, device.session(Timeline(), folder) as session:
        tab = await session.open_tab(f"{server.url}/page/blank.html", lambda _: None)
        answer = await tab.call("tierlabAnswer", word, within=CALL_SECONDS)
        await tab.close()
    if answer != word:
        return Finding("the browser's page answers something else than it was told to")
    return Finding("it answers, its gates are open, its browser opens a page", passed=True)
