"""The command that takes a device's power away and gives it back, such as uhubctl's.

It is the last rung of the ladder, and the only one that needs nothing of the device: a USB hub that
switches its ports brings back a phone that no longer answers on its cable.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import shutil
import signal
import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from harness.devices.recovery import RungFailedError
from harness.emulation.phone.linux import die_with_parent
from harness.errors import UserError
from results.table import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

COMMAND_SECONDS: Final = 60.0
SERIAL: Final = "{serial}"
_MOST_BYTES: Final = 64 << 10
_SHOWN_CHARACTERS: Final = 400
_EXAMPLE: Final = "--power-cycle='uhubctl -l 1-1 -p 2 -a cycle'"


@dataclass(frozen=True, slots=True)
class PowerCycle:
    """A command, word for word: no shell reads it. `{serial}` in a word is the device's serial."""

    words: tuple[str, ...]

    async def run(self, serial: str, *, within: float = COMMAND_SECONDS) -> str:
        """Run it for one device; what it said, in one line.

        It and what it started are ended when it takes longer, or when this is cancelled.

        Raises:
            RungFailedError: it does not start, does not end in time, or fails.
        """
        words = [word.replace(SERIAL, serial) for word in self.words]
        try:
            process = await asyncio.create_subprocess_exec(
                *words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=(
                    partial(die_with_parent, os.getpid()) if sys.platform == "linux" else None
                ),
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise RungFailedError(
                f"{words[0]} cannot be started: {reason}; check the power-cycle command"
            ) from error
        said = bytearray()
        try:
            async with asyncio.timeout(within):
                await _read(process, said)
                code = await process.wait()
        except TimeoutError as error:
            raise RungFailedError(
                f"{words[0]} did not end within {within:g} s; it said: {_shown(said)}"
            ) from error
        finally:
            await _end(process)
        if code:
            raise RungFailedError(
                f"{words[0]} ended with exit code {code}; it said: {_shown(said)};"
                f" try it by hand: {shlex.join(words)}"
            )
        return f"{words[0]} said: {_shown(said)}"


def add_options(group: pytest.OptionGroup) -> None:
    """Add the option that names the command."""
    group.addoption(
        "--power-cycle",
        metavar="COMMAND",
        help="the last that is tried for a phone that is gone: a command (no shell) that switches"
        f" its USB port off and on; {SERIAL} in it is the phone's serial; e.g. {_EXAMPLE}",
    )


def power_cycle(text: str | None, *, serial: str | None) -> PowerCycle | None:
    """The command that `--power-cycle` names.

    Args:
        text: as it was given.
        serial: that of the one phone that may be used, if only one may.

    Raises:
        UserError: it is none, or it would switch the port of another phone.
    """
    if text is None:
        return None
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise UserError(f"--power-cycle={text} cannot be read: {error}", _EXAMPLE) from error
    if not words:
        raise UserError("--power-cycle names no command", f"write {_EXAMPLE}")
    if shutil.which(words[0]) is None:
        raise UserError(
            f"--power-cycle: {words[0]} is no program on this machine",
            "install it, or give its path",
        )
    if serial is None and not any(SERIAL in word for word in words):
        raise UserError(
            "--power-cycle would switch the same port for every phone",
            f"name the one phone with --serial, or write {SERIAL} where the command takes it",
        )
    return PowerCycle(words)


async def _read(process: asyncio.subprocess.Process, said: bytearray) -> None:
    """Read to the end, and keep the beginning: a command that talks on is not held up."""
    assert process.stdout is not None
    while piece := await process.stdout.read(1 << 12):
        said += piece[: _MOST_BYTES - len(said)]


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _shown(said: Sequence[int]) -> str:
    text = plain(bytes(said).decode(errors="replace").strip())
    return text[-_SHOWN_CHARACTERS:] or "nothing"
