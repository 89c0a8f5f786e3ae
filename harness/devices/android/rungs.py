"""How a phone is helped: by its connection, its adb daemon, a reboot, and its power.

Services: AOSP packages/modules/adb, SERVICES.TXT and docs/dev/services.md. The adb server itself is
never ended here: the other phones of the host are on it, perhaps in the middle of a trial.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from functools import partial
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
    from harness.devices.android.phone import Phone
    from harness.devices.power_cycle import PowerCycle
    from harness.devices.recovery import Bounds

_TCP: Final = re.compile(r".+:(?P<port>[0-9]{1,5})")
# Wireless debugging names its phones so; it has no port that a daemon could be restarted on.
_MDNS: Final = "._adb-tls-connect._tcp"
_ANSWER_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.2


def phone_rungs(phone: Phone, hook: PowerCycle | None, bounds: Bounds) -> tuple[Rung, ...]:
    """The ladder of one phone; the power only where there is a command for it."""
    rungs = (
        Rung("reconnect", bounds.reconnect, partial(reconnect, phone)),
        Rung("restart of its adb daemon", bounds.restart, partial(restart_daemon, phone)),
        Rung("reboot", bounds.reboot, partial(reboot, phone)),
    )
    if hook is None:
        return rungs
    return (*rungs, Rung("power cycle", bounds.power_cycle, partial(cycle_power, phone, hook)))


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


async def cycle_power(phone: Phone, hook: PowerCycle) -> str:
    """Take the phone's power away and give it back.

    Raises:
        RungFailedError: the command fails.
    """
    said = await hook.run(phone.serial)
    return f"{said}; {await _returned(phone)}"


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
