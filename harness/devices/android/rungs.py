"""How a phone is helped: by its connection, its adb daemon, a reboot, and its power.

Services: AOSP packages/modules/adb, SERVICES.TXT and docs/dev/services.md. The adb server itself is
never ended here: the other phones of the host are on it, perhaps in the middle of a trial.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.devices.android.failures import (
    CommandError,
    CommandTimeoutError,
    TransportLostError,
)
from harness.devices.android.session import WHICH_BOOT
from harness.devices.android.wire import ServerLostError
from harness.devices.recovery import Rung, RungFailedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from harness.devices.android.phone import Phone
    from harness.devices.power_cycle import PowerCycle

_TCP: Final = re.compile(r".+:(?P<port>[0-9]{1,5})")
# Wireless debugging names its phones so; it has no port that a daemon could be restarted on.
_MDNS: Final = "._adb-tls-connect._tcp"
_ANSWER_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Bounds:
    """Seconds that each rung may take, the return of the phone included.

    A phone that crashed boots by itself: the first rung waits for that as well.
    """

    reconnect: float = 120.0
    restart: float = 60.0
    reboot: float = 240.0
    power_cycle: float = 240.0


def phone_rungs(
    phone: Phone, hook: PowerCycle | None, bounds: Bounds = Bounds()
) -> tuple[Rung, ...]:
    """The ladder of one phone; the power only where there is a command for it."""

    def rung(name: str, seconds: float, climb: Callable[[], Awaitable[str]]) -> Rung:
        return Rung(name, seconds, climb)

    async def power_cycle() -> str:
        assert hook is not None
        said = await hook.run(phone.serial)
        return f"{said}; {await _returned(phone)}"

    rungs = [
        rung("reconnect", bounds.reconnect, lambda: reconnect(phone)),
        rung("restart of its adb daemon", bounds.restart, lambda: restart_daemon(phone)),
        rung("reboot", bounds.reboot, lambda: reboot(phone)),
    ]
    if hook is not None:
        rungs.append(rung("power cycle", bounds.power_cycle, power_cycle))
    return tuple(rungs)


async def reconnect(phone: Phone) -> str:
    """Drop the connection on this side, whatever its state, and wait for the phone."""
    with contextlib.suppress(TransportLostError):  # there is none, or the server is gone
        if _TCP.fullmatch(phone.serial):
            await phone.adb.disconnect(phone.serial)
        else:
            await phone.adb.query(f"host-serial:{phone.serial}:reconnect")
    return await _returned(phone)


async def restart_daemon(phone: Phone) -> str:
    """Have the phone start its adb daemon anew, in the mode that it is in.

    Raises:
        RungFailedError: it does not, or cannot.
    """
    if phone.serial.endswith(_MDNS):
        raise RungFailedError("wireless debugging cannot be restarted from here")
    tcp = _TCP.fullmatch(phone.serial)
    said = await _asked(phone, f"tcpip:{tcp['port']}" if tcp else "usb:")
    if not said.startswith("restarting"):
        raise RungFailedError(f"the phone answers {said[:100]!r}")
    return await _returned(phone)


async def reboot(phone: Phone) -> str:
    """Reboot, and wait until another boot has ended.

    Raises:
        RungFailedError: the phone takes no such word.
    """
    before = await _which_boot(phone)
    if before is None:
        raise RungFailedError("the phone does not answer, and cannot be told to")
    await _asked(phone, "reboot:")
    while (now := await _which_boot(phone)) is None or now == before:
        await asyncio.sleep(_LOOK_SECONDS)
        if now is None:
            await phone.wait_until_back(within=_ANSWER_SECONDS)
    return await _returned(phone)


async def _returned(phone: Phone) -> str:
    """Wait for the phone; the rung's own bound ends it."""
    while not await phone.wait_until_back(within=_ANSWER_SECONDS):
        pass
    return "it is back"


async def _asked(phone: Phone, service: str) -> str:
    """What the phone's daemon says to a service; it ends the connection after that.

    Raises:
        RungFailedError: it refuses, or is not there.
    """
    said = bytearray()
    try:
        async with asyncio.timeout(_ANSWER_SECONDS), phone.service(service) as stream:
            with contextlib.suppress(ServerLostError):
                while piece := await stream.some():
                    said += piece
    except TransportLostError as error:
        raise RungFailedError(str(error)) from error
    except TimeoutError:
        pass  # said what it had to say, and left the connection open
    return said.decode(errors="replace").strip()


async def _which_boot(phone: Phone) -> str | None:
    """Which boot this is; `None` where the phone does not answer."""
    try:
        said = await phone.run(WHICH_BOOT, within=_ANSWER_SECONDS, check=False)
        return said.text.strip() or None
    except (TransportLostError, CommandError, CommandTimeoutError):
        return None
