"""Which attached phones are those of a profile, and why the others are not."""

from __future__ import annotations

import asyncio
import fnmatch
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.devices.android import states
from harness.devices.android.adb import Adb, Attached, CommandError, CommandTimeoutError
from harness.devices.android.facts.properties import is_emulated
from harness.devices.android.facts.text import clean
from harness.devices.android.failures import TransportLostError
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.profiles import Profile

# A phone that was just plugged in, or a server that was just started, needs a moment.
SETTLE_SECONDS: Final = 5.0
ASK_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.1
_TRANSIENT: Final = frozenset({"offline", "connecting", "authorizing"})
_TCP: Final = re.compile(r".+:[0-9]{1,5}")
EMULATE: Final = "add --emulate to run a virtual one"
ENABLE: Final = (
    "enable USB debugging on the phone (Settings > About phone: tap `Build number` seven times; "
    "then Settings > System > Developer options > USB debugging), plug it in, unlock it and accept "
    "this computer; over the network: `adb connect HOST:PORT`"
)


@dataclass(frozen=True, slots=True)
class Found:
    """A phone that is ready, with its system properties."""

    serial: str
    properties: dict[str, str]


@dataclass(frozen=True, slots=True)
class Unready:
    """A phone that cannot be used as it is: what is the matter, and the next step."""

    serial: str
    reason: str
    next_step: str


def mismatches(properties: Mapping[str, str], match: Mapping[str, Sequence[str]]) -> list[str]:
    """Why a phone with these properties is not the one that `match` describes; empty: it is."""
    reasons = []
    for key, patterns in match.items():
        value = properties.get(key)
        if value is None or not any(fnmatch.fnmatchcase(value, p) for p in patterns):
            has = "has no" if value is None else f"has {clean(value) or ''!r} for"
            reasons.append(f"{has} {key}, not {' or '.join(map(repr, patterns))}")
    return reasons


async def find_phone(adb: Adb, profile: Profile, *, serial: str | None = None) -> Found:
    """The first phone of a profile, by serial. Otherwise as `find_phones`."""
    return (await find_phones(adb, profile, serial=serial))[0]


async def find_phones(adb: Adb, profile: Profile, *, serial: str | None = None) -> list[Found]:
    """All phones of a profile that can be used, by serial; at least one.

    A phone that is attached by USB and over the network at once counts once, by USB.

    Args:
        adb: the server; it is started where none runs.
        profile: of a phone.
        serial: only this phone; an address that adb does not know yet is connected to.

    Raises:
        UserError: there is none; it says which phones adb sees, and of each why it is none.
    """
    if profile.android is None:
        raise UserError(f"{profile.id} is no Android phone", "name another device")
    await adb.ensure_server()
    try:
        if serial is not None and _TCP.fullmatch(serial) and await adb.state_of(serial) is None:
            await adb.connect(serial)
        attached = await _settled(adb)
    except TransportLostError as error:
        raise _fails(adb, error) from error
    wanted = [phone for phone in attached if serial in {None, phone.serial}]
    asked = await asyncio.gather(*(_ask(adb, phone) for phone in wanted))
    ready = [phone for phone in asked if isinstance(phone, Found)]
    matching = [p for p in ready if not mismatches(p.properties, profile.android.match)]
    if not matching:
        raise _none(adb, profile, serial, asked if wanted else attached)
    return _each_once(matching)


async def survey(adb: Adb) -> list[Found | Unready]:
    """All phones that the server sees, each asked for its properties, all at once.

    Raises:
        UserError: there is no usable server.
    """
    await adb.ensure_server()
    try:
        attached = await _settled(adb)
    except TransportLostError as error:
        raise _fails(adb, error) from error
    return list(await asyncio.gather(*(_ask(adb, phone) for phone in attached)))


def _fails(adb: Adb, error: TransportLostError) -> UserError:
    return UserError(
        f"the adb server on port {adb.port} fails: {error}",
        f"run `adb -P {adb.port} kill-server` and try again",
    )


async def _settled(adb: Adb) -> list[Attached]:
    loop = asyncio.get_running_loop()
    until = loop.time() + SETTLE_SECONDS
    while True:
        attached = await adb.attached()
        # Those that are ready do not wait for one that may never be.
        waiting = bool(attached) and all(phone.state in _TRANSIENT for phone in attached)
        if not waiting or loop.time() > until:
            return attached
        await asyncio.sleep(_POLL_SECONDS)


async def _ask(adb: Adb, phone: Attached) -> Found | Unready:
    if phone.state != states.READY:
        meaning, step = states.explained(phone.state)
        return Unready(phone.serial, f"{phone.state}: {meaning}", step)
    try:
        async with asyncio.timeout(ASK_SECONDS):
            return Found(phone.serial, await adb.phone(phone.serial).properties())
    except (TransportLostError, CommandError, CommandTimeoutError, TimeoutError) as error:
        reason = f"it does not tell its properties: {clean(str(error)) or 'no answer'}"
        return Unready(phone.serial, reason, "plug it in again, or restart it")


def _each_once(phones: list[Found]) -> list[Found]:
    """Without the second way to a phone; USB's serial is the phone's own, without a port."""
    chosen: dict[str, Found] = {}
    for phone in sorted(phones, key=lambda phone: bool(_TCP.fullmatch(phone.serial))):
        # Virtual phones of one profile may share everything.
        own = None if is_emulated(phone.properties) else phone.properties.get("ro.serialno")
        chosen.setdefault(own or phone.serial, phone)
    return sorted(chosen.values(), key=lambda phone: phone.serial)


def _none(
    adb: Adb,
    profile: Profile,
    serial: str | None,
    phones: Sequence[Found | Unready | Attached],
) -> UserError:
    server = f"adb (port {adb.port})"
    if not phones:
        problem = f"{profile.id} is a phone, and {server} sees none"
        if serial is not None:
            problem = f"{server} sees no phone at all, and so none with the serial {serial}"
        return UserError(problem, f"{ENABLE}; without a phone, {EMULATE}")
    if serial is None:
        head = f"no phone that {server} sees is a usable {profile.name} ({profile.id}):"
    elif all(isinstance(phone, Attached) for phone in phones):
        head = f"{server} sees no phone with the serial {serial}; it sees:"
    else:
        head = f"the phone {serial} cannot be used as {profile.name} ({profile.id}):"
    match = profile.android.match if profile.android else {}
    lines = [f"  {_line(phone, match)}" for phone in phones]
    return UserError("\n".join([head, *lines]), f"attach a {profile.name}, or {EMULATE}")


def _line(phone: Found | Unready | Attached, match: Mapping[str, Sequence[str]]) -> str:
    serial = clean(phone.serial) or "?"
    if isinstance(phone, Attached):
        return f"{serial}: {phone.state}"
    if isinstance(phone, Unready):
        return f"{serial}: {phone.reason} -> {phone.next_step}"
    words = (phone.properties.get(f"ro.product.{key}") for key in ("manufacturer", "model"))
    name = clean(" ".join(word for word in words if word)) or "a phone without a name"
    return f"{serial}: {name}: {'; '.join(mismatches(phone.properties, match))}"
