"""What is kept of a phone beside a trial's own evidence: its screen, and a bug report on demand."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import uuid
from typing import TYPE_CHECKING, Final

from harness.devices.android.failures import (
    CommandError,
    CommandTimeoutError,
    TransportLostError,
)
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.devices.android.phone import Phone

SCREENSHOT_SECONDS: Final = 15.0
# Bug reports of phones with much history take several minutes.
BUGREPORT_SECONDS: Final = 900.0
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_END: Final = b"IEND\xaeB`\x82"
_COMMAND: Final = "bugreportz -p"
# AOSP frameworks/native, cmds/bugreportz/readme.md.
_OK: Final = re.compile(r"OK:(?P<path>/[A-Za-z0-9_./+-]{1,300}\.zip)\s*")
_PROGRESS: Final = re.compile(r"PROGRESS:(?P<done>\d{1,9})/(?P<of>\d{1,9})\s*")
_FAIL: Final = "FAIL:"


async def screenshot(phone: Phone, path: Path, *, within: float = SCREENSHOT_SECONDS) -> bool:
    """Write the phone's screen as a PNG; False where there is none to be had.

    Raises:
        UserError: `path` cannot be written.
    """
    try:
        data = await phone.output(["screencap", "-p"], within=within)
    except (CommandError, CommandTimeoutError, TransportLostError):
        return False
    # Some phones say a warning to the same stream before the picture.
    start = data.find(_PNG)
    if start < 0 or not data.endswith(_PNG_END):
        return False
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        part.write_bytes(data[start:])
        os.replace(part, path)  # noqa: PTH105 - a picture is there whole, or not at all
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    return True


async def bugreport(
    phone: Phone,
    path: Path,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
    *,
    within: float = BUGREPORT_SECONDS,
) -> None:
    """Write a full bug report (a zip file of tens of MB), and remove it from the phone.

    It holds personal data, such as accounts and the serial: it is made only when asked for, and
    never becomes part of a record.

    Raises:
        UserError: `path` cannot be written.
        CommandError: the phone has no report to give.
        CommandTimeoutError: it took too long.
        TransportLostError: the phone is gone.
    """
    try:
        async with asyncio.timeout(within):
            remote = await _made(phone, progress)
            try:
                await phone.pull(remote, path)
            finally:
                with contextlib.suppress(CommandError, CommandTimeoutError, TransportLostError):
                    await phone.run(["rm", "-f", remote])
    except TimeoutError as error:
        raise CommandTimeoutError(_COMMAND, within) from error


async def _made(phone: Phone, progress: Callable[[int, int], None]) -> str:
    """Have the phone make its report; where it lies."""
    said = ""
    async with contextlib.aclosing(phone.lines(_COMMAND)) as lines:
        async for line in lines:
            if step := _PROGRESS.fullmatch(line):
                progress(int(step["done"]), int(step["of"]))
            elif done := _OK.fullmatch(line):
                return done["path"]
            elif line.startswith(_FAIL):
                raise CommandError(_COMMAND, 1, line)
            said = line
    raise CommandError(_COMMAND, 0, said)
