"""A phone's settings for trials, and putting back what they were.

The former values are noted on the phone before the first change: where the harness is killed, the
next run puts them back. Keys: AOSP frameworks/base, `Settings.java` (Global and System).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from harness.devices.android.facts.screen import parse_screen_on, parse_unlocked
from harness.devices.android.facts.text import clean
from harness.devices.android.failures import (
    CommandError,
    CommandTimeoutError,
    TransportLostError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harness.devices.android.phone import Phone

NOTE: Final = "/data/local/tmp/tierlab-settings.json"
_FORMAT: Final = 1
WAKE_SECONDS: Final = 3.0
_POLL_SECONDS: Final = 0.1
_SECONDS: Final = 20.0
_LONGEST_NOTE: Final = 64 << 10
_LONGEST_VALUE: Final = 200

# What changes a measurement, or lets a phone fall asleep over it; nothing else.
WANTED: Final = {
    # Bits of BatteryManager.BATTERY_PLUGGED_*: AC, USB, wireless, dock.
    ("global", "stay_on_while_plugged_in"): "15",
    # For a phone that nothing powers: milliseconds, and the longest there are.
    ("system", "screen_off_timeout"): "2147483647",
    # The backlight takes watts, and heats: the same for all trials.
    ("system", "screen_brightness_mode"): "0",
    ("system", "screen_brightness"): "102",
    ("global", "window_animation_scale"): "0",
    ("global", "transition_animation_scale"): "0",
    ("global", "animator_duration_scale"): "0",
    # A phone that is turned lays its pages out anew.
    ("system", "accelerometer_rotation"): "0",
    ("system", "user_rotation"): "0",
    # Battery Saver holds the processor back.
    ("global", "low_power"): "0",
}


@dataclass(frozen=True, slots=True)
class Former:
    """How a phone was: its settings (None: not set), whether it may doze, whether it was awake.

    A setting that could not be read is not in `values`: it is not changed, and not put back.
    """

    values: dict[tuple[str, str], str | None]
    doze: bool
    screen_on: bool


@asynccontextmanager
async def prepared(phone: Phone) -> AsyncIterator[tuple[str, ...]]:
    """The phone awake and with settings for trials, while the block runs; then as it was.

    Yields what could not be set, each with its reason: some makers want a further switch in the
    developer options for that. Where the phone is lost at the end, the note stays on it, and the
    next run puts everything back.

    Raises:
        TransportLostError: the phone is gone, at the start.
    """
    noted = await _noted(phone)
    kept = await _restore(phone, noted) if noted else None
    former = await _read(phone)
    if noted and kept:  # what could not be put back now is still to be put back later
        former.values.update({key: noted.values[key] for key in kept})
    await _write_note(phone, former)
    try:
        yield await _apply(phone, former)
    finally:
        with contextlib.suppress(TransportLostError):
            await put_back(phone)


async def put_back(phone: Phone) -> bool:
    """Put back what the note on the phone says; whether there was one, and all of it is done.

    Raises:
        TransportLostError: the phone is gone.
    """
    former = await _noted(phone)
    if former is None or await _restore(phone, former):
        return False
    await phone.run(["rm", "-f", NOTE], check=False)
    return True


async def wake(phone: Phone) -> bool:
    """Turn the screen on and take away a lock screen without a secret; whether that came.

    A lock screen goes away in an animation: that is waited for.

    Raises:
        TransportLostError: the phone is gone.
    """
    await _try(phone, ["input", "keyevent", "KEYCODE_WAKEUP"])
    await _try(phone, ["wm", "dismiss-keyguard"])
    loop = asyncio.get_running_loop()
    until = loop.time() + WAKE_SECONDS
    while True:
        on = parse_screen_on(await _output(phone, ["dumpsys", "power"]))
        unlocked = parse_unlocked(await _output(phone, ["dumpsys", "window", "policy"]))
        # What is not told cannot be waited for.
        if on is not False and unlocked is not False:
            return True
        if loop.time() > until:
            return False
        await asyncio.sleep(_POLL_SECONDS)


def parse_note(text: str) -> Former | None:
    """The note's content; None where it is none. It says nothing that this module did not write."""
    try:
        found: Any = json.loads(text[:_LONGEST_NOTE])
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.get("format") != _FORMAT:
        return None
    rows, doze, screen_on = found.get("settings"), found.get("doze"), found.get("screen_on")
    if not isinstance(rows, list) or type(doze) is not bool or type(screen_on) is not bool:
        return None
    values: dict[tuple[str, str], str | None] = {}
    for row in rows:
        match row:
            case [str(space), str(key), str() | None as value] if (space, key) in WANTED:
                if value is None or 0 < len(value) <= _LONGEST_VALUE:
                    values[space, key] = value
            case _:
                pass  # of another version, or of nobody
    return Former(values, doze, screen_on)


def note(former: Former) -> str:
    """The note, in ASCII."""
    rows = [[*key, value] for key, value in former.values.items()]
    content = {
        "format": _FORMAT,
        "settings": rows,
        "doze": former.doze,
        "screen_on": former.screen_on,
    }
    return json.dumps(content)


def parse_settings(text: str) -> dict[str, str]:
    """`settings list NAMESPACE`: a key, an equals sign and the value a line."""
    rows = (line.partition("=") for line in text.splitlines())
    return {key: value for key, equals, value in rows if equals}


async def _noted(phone: Phone) -> Former | None:
    found = await phone.run(["cat", NOTE], check=False, within=_SECONDS)
    return None if found.exit_code else parse_note(found.text)


async def _restore(phone: Phone, former: Former) -> set[tuple[str, str]]:
    """Put everything back; the settings for which that failed."""
    failed = set()
    for key, value in former.values.items():
        words = ["put", *key, value] if value is not None else ["delete", *key]
        if await _try(phone, ["settings", *words]):
            failed.add(key)
    if former.doze:
        await _try(phone, ["dumpsys", "deviceidle", "enable", "all"])
    if not former.screen_on:
        await _try(phone, ["input", "keyevent", "KEYCODE_SLEEP"])
    return failed


async def _read(phone: Phone) -> Former:
    values: dict[tuple[str, str], str | None] = {}
    for space in sorted({space for space, _ in WANTED}):
        found = parse_settings(await _output(phone, ["settings", "list", space]))
        if not found:  # no phone has none: they could not be read
            continue
        for key in (key for of, key in WANTED if of == space):
            value = found.get(key, "null")
            if len(value) <= _LONGEST_VALUE:
                values[space, key] = None if value in {"", "null"} else value
    doze = (await _output(phone, ["dumpsys", "deviceidle", "enabled", "all"])).strip() == "1"
    on = parse_screen_on(await _output(phone, ["dumpsys", "power"]))
    return Former(values, doze, screen_on=on is not False)


async def _write_note(phone: Phone, former: Former) -> None:
    script = 'printf %s "$1" > "$2.part" && mv -f "$2.part" "$2"'
    await phone.run(["sh", "-c", script, "sh", note(former), NOTE], within=_SECONDS)


async def _apply(phone: Phone, former: Former) -> tuple[str, ...]:
    failed: list[str | None] = []
    for key, value in WANTED.items():
        if key not in former.values:
            failed.append(f"{'.'.join(key)} cannot be read, and is left as it is")
        elif former.values[key] != value:
            failed.append(await _try(phone, ["settings", "put", *key, value]))
    if former.doze:
        failed.append(await _try(phone, ["dumpsys", "deviceidle", "disable", "all"]))
    await wake(phone)
    return tuple(reason for reason in failed if reason)


async def _output(phone: Phone, command: list[str]) -> str:
    try:
        return (await phone.run(command, within=_SECONDS)).text
    except (CommandError, CommandTimeoutError):
        return ""


async def _try(phone: Phone, command: list[str]) -> str | None:
    """Run a command; why it failed, or None. `settings` says some failures with exit code 0."""
    try:
        done = await phone.run(command, within=_SECONDS)
    except (CommandError, CommandTimeoutError) as error:
        return clean(str(error)) or "it failed"
    said = done.text + done.errors
    return clean(f"{' '.join(command)}: {said}") if "Exception" in said else None
