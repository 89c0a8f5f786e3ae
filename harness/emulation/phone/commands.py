"""`tierlab phone start`: a virtual phone from the command line."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shlex
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from platformdirs import user_cache_path
from rich.console import Console

from harness.emulation.limits import parse_bytes
from harness.emulation.phone.faults import ACTIONS
from harness.emulation.phone.start import LOG_NAME, virtual_phone
from harness.errors import UserError
from harness.profiles import load_profiles, select

if TYPE_CHECKING:
    from pydantic import JsonValue

    from harness.emulation.phone.start import VirtualPhone
    from harness.profiles import Profile

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

_EXAMPLES: Final = """examples:
  tierlab phone start pixel7                 a virtual Pixel 7; Ctrl-C ends it
  tierlab phone start pixel7 --memory 1.5g   with less memory for its browser
while it runs, type what shall happen to it:
  unplug seconds=3
  reboot
  unknown_commands"""


def add_commands(subparsers: Subparsers) -> None:
    """Add `phone` and its command; it sets `func`, which returns an exit code."""
    phone = subparsers.add_parser(
        "phone",
        help="start a virtual phone",
        description="A virtual phone is a process that adb takes for a phone.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = phone.add_subparsers(dest="phone_command", metavar="COMMAND", required=True)
    start = commands.add_parser(
        "start",
        help="start one for manual use",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    start.add_argument("profile", help="a device profile of kind android, such as pixel7")
    start.add_argument(
        "--memory",
        metavar="SIZE",
        help="what the browser may use, such as 1.5g (default: the profile's)",
    )
    start.add_argument(
        "--work",
        type=Path,
        metavar="DIR",
        help="where its files are while it runs (default: the user's cache directory)",
    )
    start.add_argument(
        "--no-isolation", action="store_true", help="without namespaces, to see what then remains"
    )
    start.set_defaults(func=_start)


def _start(options: argparse.Namespace) -> int:
    profile = _android_profile(options.profile)
    memory = parse_bytes(options.memory) if options.memory else None
    work = options.work or user_cache_path("tierlab") / "phone"
    try:
        asyncio.run(_run(profile, work, memory, isolate=not options.no_isolation))
    except KeyboardInterrupt:
        return 0
    return 0


def _android_profile(name: str) -> Profile:
    """The one profile of that name.

    Raises:
        UserError: there is none, or it is not of a phone.
    """
    profile = select(load_profiles(), [name])[0]
    if profile.kind != "android":
        raise UserError(
            f"{profile.id} is a profile of kind {profile.kind!r}",
            "choose one of kind 'android', such as pixel7",
        )
    return profile


async def _run(profile: Profile, work: Path, memory: int | None, *, isolate: bool) -> None:
    console = Console(highlight=False, soft_wrap=True)
    async with virtual_phone(profile, work=work, memory_bytes=memory, isolate=isolate) as phone:
        limits = "memory limits hold" if phone.limited else "no memory limit"
        console.print(f"virtual {profile.name}: {phone.address} ({phone.isolation}; {limits})")
        for reason in phone.missing:
            console.print(f"  missing: {reason}", markup=False)
        console.print(f"  adb connect {phone.address}")
        console.print(f"  adb -s {phone.address} shell")
        console.print(f"  log: {work / LOG_NAME}", markup=False)
        console.print(f"faults: {', '.join(ACTIONS)}; Ctrl-C ends the phone")
        try:
            await _obey(phone, console)
        finally:
            unknown = await _unknown(phone)
            for name, count in unknown.items():
                console.print(f"not known: {name} ({count}x)", markup=False)


async def _unknown(phone: VirtualPhone) -> dict[str, int]:
    try:
        return await phone.unknown_commands()
    except UserError:  # it has ended already
        return {}


async def _obey(phone: VirtualPhone, console: Console) -> None:
    """Do what is typed, until Ctrl-C or the end of the phone.

    Raises:
        UserError: the phone ended by itself.
    """
    typed = asyncio.create_task(_obey_lines(phone, console))
    try:
        code = await phone.ended()
    finally:
        typed.cancel()
        await asyncio.gather(typed, return_exceptions=True)
    raise UserError(f"the virtual phone ended by itself, with {code}", "start it again")


async def _obey_lines(phone: VirtualPhone, console: Console) -> None:
    lines = await _typed_lines()
    try:
        while line := await lines.readline():
            await _obey_line(phone, console, line.decode(errors="replace"))
    finally:
        with suppress(OSError, ValueError):
            os.set_blocking(sys.stdin.fileno(), True)  # the terminal is the shell's again


async def _obey_line(phone: VirtualPhone, console: Console, line: str) -> None:
    try:
        action, arguments = parse_action(line)
        if action:
            answer = await phone.control(action, **arguments)
            console.print("done" if answer is None else json.dumps(answer), markup=False)
    except UserError as error:
        console.print(str(error), style="red", markup=False)


async def _typed_lines() -> asyncio.StreamReader:
    """The standard input by lines; a file or nothing at all counts as ended."""
    reader = asyncio.StreamReader()
    if not _somebody_types():
        reader.feed_eof()
        return reader
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    return reader


def _somebody_types() -> bool:
    """Whether the standard input is a terminal, a pipe or a socket.

    Asyncio takes every character device, and fails later: such as /dev/null, which services have.
    """
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError):
        return False
    return sys.stdin.isatty() or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def parse_action(line: str) -> tuple[str, dict[str, JsonValue]]:
    """An action and its arguments from `unplug seconds=3`; an empty name for an empty line.

    Raises:
        UserError: a word is not NAME=VALUE.
    """
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UserError(f"{line.strip()}: {error}") from error
    arguments: dict[str, JsonValue] = {}
    for word in words[1:]:
        name, equals, value = word.partition("=")
        if not equals:
            raise UserError(f"{word!r} is no argument", "write NAME=VALUE, such as seconds=3")
        try:
            arguments[name] = json.loads(value)
        except ValueError:
            arguments[name] = value
    return (words[0] if words else ""), arguments
