"""The lease of a phone that two hosts can reach: a note on the phone itself.

The local lease (`harness.devices.lease`) keeps the processes of one machine apart. A phone over the
network, or one that is plugged into another machine, is kept by what is written on it: see
`lease_format`. A phone is taken by making the link with the next number, which succeeds for one;
whoever finds a higher number than its own was overtaken. A holder gives signs while it lives. One
of which there is none for `EXPIRY_SECONDS` may be overtaken; one on the same machine at once, since
the local lease has changed hands already.

The phone's part is sh, `ln`, `readlink`, `mkdir`, `mv`, `rm` and `cat`, which mksh and toybox have
on every Android since 6. SELinux lets the shell's user make links there (AOSP system/sepolicy,
shell.te: `shell_data_file:lnk_file`), though no hard links.
"""

from __future__ import annotations

import asyncio
import platform
import shlex
import time
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from harness.devices.android.failures import (
    CommandError,
    CommandTimeoutError,
    TransportLostError,
)
from harness.devices.android.lease_format import (
    EXPIRY_SECONDS,
    FREE,
    Noted,
    Seen,
    highest,
    note_text,
    parse_seen,
)
from harness.devices.base import DeviceLostError, HeldElsewhereError
from harness.devices.lease import holder
from harness.state import host_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from harness.devices.android.phone import Phone

FOLDER: Final = "/data/local/tmp/tierlab-lease"
BEAT_SECONDS: Final = EXPIRY_SECONDS / 10
_WITHIN: Final = 20.0
_MOST_TRIES: Final = 5

_TIME: Final = "b=-; read b </proc/sys/kernel/random/boot_id; read u r </proc/uptime"
_NAMES: Final = "echo [1-9]*"
# Nothing but what is in the folder: a name and its text a line.
_LOOK: Final = (
    f'{_TIME}; echo "$b $u"; cd {FOLDER} 2>/dev/null && for n in [1-9]*; do '
    'if [ -h "$n" ]; then echo "$n $(readlink "$n")"; '
    'elif [ -f "$n" ]; then echo "$n $(cat "$n")"; fi; done; true'
)


class LeaseNote:
    """A phone that this process holds. When it is taken, nothing more is done on it.

    Attributes:
        number: of the note; each holder of a phone has a higher one than all before it.
    """

    def __init__(self, phone: Phone, number: int) -> None:
        self.number = number
        self._phone = phone
        self._confirmed = time.monotonic()

    async def overtaken(self) -> str | None:
        """Why the phone is not this process's any more, or None.

        A phone that does not answer is nobody else's, unless that has been so for long.
        """
        try:
            self._judge(await _names(self._phone, f"cd {FOLDER} && {_NAMES}"))
        except (TransportLostError, CommandTimeoutError):
            silent = time.monotonic() - self._confirmed
            if self._phone.taken is None and silent >= EXPIRY_SECONDS:
                return f"the phone has not confirmed its lease for {silent:.0f} s"
        except CommandError:
            self._phone.taken = f"the note of its lease is gone: somebody removed {FOLDER}"
        return self._phone.taken

    async def beat(self) -> None:
        """Give signs until cancelled; what the phone does not answer is tried again."""
        sign, part = f"{self.number}.beat", f"{self.number}.part"
        command = (
            f'cd {FOLDER} && {{ {_TIME}; echo "$b $u" >{part} && mv -f {part} {sign}; {_NAMES}; }}'
        )
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            with suppress(TransportLostError, CommandTimeoutError, CommandError):
                self._judge(await _names(self._phone, command))

    async def free(self) -> None:
        """Say that nobody holds the phone any more; one that does not answer finds out later."""
        n = self.number
        command = f"cd {FOLDER} && {{ ln -s {FREE} {n + 1}; rm -f {n} {n}.beat {n}.part; }}"
        with suppress(TransportLostError, CommandTimeoutError, CommandError):
            await self._phone.run(command, within=_WITHIN, check=False)

    def _judge(self, names: list[str]) -> None:
        self._confirmed = time.monotonic()
        now = highest(names)
        if now > self.number:
            self._phone.taken = (
                f"another run took the phone over: its lease had number {self.number}, the one of"
                f" now has {now}"
            )
        elif now < self.number:
            self._phone.taken = f"the note of its lease is gone from {FOLDER}"


@asynccontextmanager
async def held_on_phone(
    phone: Phone, resource: str, *, say: Callable[[str], None] = lambda _: None
) -> AsyncIterator[LeaseNote]:
    """Hold a phone against other hosts while the block runs. The local lease is held already.

    Args:
        phone: the phone.
        resource: what the local lease was taken on.
        say: told from whom the phone was taken, where that one has died.

    Raises:
        HeldElsewhereError: another host holds it.
        DeviceLostError: the phone is gone, or cannot be written to.
    """
    phone.taken = None
    lease = await _take(phone, resource, say)
    beating = asyncio.create_task(lease.beat())
    try:
        yield lease
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
        await lease.free()


async def look(phone: Phone) -> Seen:
    """Who holds a phone at this moment.

    Raises:
        DeviceLostError: it is gone, or answers nonsense.
    """
    try:
        return parse_seen((await phone.run(_LOOK, within=_WITHIN)).text)
    except (CommandError, CommandTimeoutError, ValueError) as error:
        raise DeviceLostError(f"the phone does not tell who holds it: {error}") from error


async def _take(phone: Phone, resource: str, say: Callable[[str], None]) -> LeaseNote:
    for _ in range(_MOST_TRIES):  # a second, where somebody was faster
        seen = await look(phone)
        me = _mine(resource, seen)
        mine = seen.noted is not None and seen.noted.is_by(me)
        if seen.held and not mine:
            raise HeldElsewhereError(
                f"the phone is in use by {seen.holder}", "wait for that run to end, or end it there"
            )
        if not seen.free and not mine:
            say(f"taking the phone from {seen.holder}: no sign for {seen.silent_seconds:.0f} s")
        if await _made(phone, seen, me):
            return LeaseNote(phone, seen.number + 1)
    raise DeviceLostError(f"{_MOST_TRIES} times somebody else changed {FOLDER} on the phone")


def _mine(resource: str, seen: Seen) -> Noted:
    """The note of this process, as of the moment in which the phone was seen."""
    local = holder(resource)
    return Noted(
        host=platform.node()[:100],
        host_id=host_id(),
        resource=resource,
        owner=(local.owner if local else "another process")[:100],
        run_id=local.run_id if local else None,
        since=datetime.now(UTC).replace(microsecond=0),
        boot=seen.now.boot,
        uptime=seen.now.uptime,
    )


async def _made(phone: Phone, seen: Seen, me: Noted) -> bool:
    """Make the next note; whether it is the highest now.

    Older ones go with that. Where one that was gone already is made again by a process that slept
    meanwhile, there is a higher one, and it counts for nothing.
    """
    number = seen.number + 1
    remove = f"rm -f {shlex.join(seen.older)}" if seen.older else "true"
    command = (
        f"mkdir -p {FOLDER} && cd {FOLDER} && {{ ln -s {shlex.quote(note_text(me))} {number} "
        f"&& echo taken; {remove}; {_NAMES}; }}"
    )
    try:
        done = await phone.run(command, within=_WITHIN)
    except (CommandError, CommandTimeoutError) as error:
        raise DeviceLostError(f"a lease cannot be noted on the phone: {error}") from error
    words = done.text.split()
    if highest(words) < number:
        said = (done.errors or done.text).strip()[:200] or "nothing"
        raise DeviceLostError(f"a lease cannot be noted on the phone; it said: {said}")
    return "taken" in words and highest(words) == number


async def _names(phone: Phone, command: str) -> list[str]:
    return (await phone.run(command, within=_WITHIN)).text.split()
