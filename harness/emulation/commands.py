"""`tierlab profile capture | show | check`: device profiles from the command line."""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from harness.devices.android import states
from harness.devices.android.adb import Adb
from harness.devices.android.facts.packages import is_package_name
from harness.devices.android.failures import TransportLostError
from harness.emulation.capture.capture import (
    DUMPS,
    Captured,
    capture,
    refuse_to_overwrite,
    write,
)
from harness.emulation.capture.dumps import read_dumps
from harness.emulation.limits import format_bytes
from harness.errors import UserError
from harness.profile_check import clashes, problems
from harness.profiles import PROFILES_DIRECTORY, load_profiles, select

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.profiles import Profile

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

_SHOWN_COMMAND: Final = 48
_EXAMPLES = """examples:
  tierlab profile show pixel7              what is known of a device, and from where
  tierlab profile check                    whether all profiles are sound
  tierlab profile capture 2B181FDH2000VD   a profile from a phone that adb sees
  tierlab profile capture 192.168.1.7:5555 --id my-phone --out captured"""
_PRIVACY = """\
Serials, IMEIs, addresses, networks, accounts, names, places and the names of installed apps are
looked for and taken out before anything is written. No search finds everything: read the files
before you share them."""


def add_commands(subparsers: Subparsers) -> None:
    """Add `profile` and its three commands; each sets `func`, which returns an exit code."""
    profile = subparsers.add_parser(
        "profile",
        help="capture a phone as a device profile; show and check profiles",
        description="A profile says what a device is, how it is recognised and what a virtual one"
        " answers.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = profile.add_subparsers(dest="profile_command", metavar="COMMAND", required=True)
    taking = commands.add_parser(
        "capture",
        help="make a profile, and recorded answers for the virtual phone, from a phone",
        description=_PRIVACY,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    taking.add_argument("serial", help="as `adb devices` shows it, or HOST:PORT")
    taking.add_argument("--id", help="default: of the profile that matches, or brand and model")
    taking.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        default=PROFILES_DIRECTORY,
        help="where ID.toml and dumps/ID/ go (default: with the other profiles)",
    )
    taking.add_argument("--force", action="store_true", help="replace what is there")
    taking.add_argument(
        "--package",
        default="com.android.chrome",
        help="of the browser whose dumps are recorded (default: %(default)s)",
    )
    taking.add_argument(
        "--adb-port",
        type=int,
        metavar="PORT",
        help="of the adb server (default: ANDROID_ADB_SERVER_PORT, or 5037)",
    )
    taking.set_defaults(func=_capture)
    showing = commands.add_parser("show", help="what is known of a device, and from where")
    showing.add_argument("id", help="of the profile")
    showing.set_defaults(func=_show)
    checking = commands.add_parser(
        "check", help="whether profiles are sound: sources, figures, one phone each, dumps"
    )
    checking.add_argument("id", nargs="*", default=["all"], help="ids or globs (default: all)")
    checking.set_defaults(func=_check)
    for command in (showing, checking):
        command.add_argument(
            "--profiles",
            type=Path,
            metavar="DIR",
            default=PROFILES_DIRECTORY,
            help="where they are (default: those that come with tierlab)",
        )


def _capture(arguments: argparse.Namespace) -> int:
    if not is_package_name(arguments.package):
        raise UserError(f"{arguments.package!r} is no name of a package", "write it like com.x.y")
    if arguments.id:
        out, name = arguments.out, arguments.id
        refuse_to_overwrite(out / f"{name}.toml", out / DUMPS / name, force=arguments.force)
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=console,
        transient=True,
    )
    with bar:
        captured = asyncio.run(_captured(arguments, bar))
    profile, dumps = write(captured, arguments.out, force=arguments.force)
    _report(console, captured)
    console.print(_PRIVACY, style="yellow", highlight=False, soft_wrap=True)
    print(profile)  # noqa: T201 - alone on the standard output, for scripts
    print(dumps)  # noqa: T201
    return 0


async def _captured(arguments: argparse.Namespace, bar: Progress) -> Captured:
    adb = Adb(port=arguments.adb_port)
    await adb.ensure_server()
    task = bar.add_task("asking", total=None)

    def progress(what: str, done: int, total: int) -> None:
        short = what if len(what) <= _SHOWN_COMMAND else what[: _SHOWN_COMMAND - 3] + "..."
        bar.update(task, description=short, completed=done, total=total)

    try:
        await _ready(adb, arguments.serial)
        return await capture(
            adb.phone(arguments.serial),
            load_profiles().values(),
            day=datetime.now(UTC).date().isoformat(),
            id_=arguments.id,
            package=arguments.package,
            progress=progress,
        )
    except TransportLostError as error:
        raise UserError(
            f"the phone was lost: {error}; nothing was written",
            "plug it in again, unlock it, and start once more",
        ) from error


async def _ready(adb: Adb, serial: str) -> None:
    """See to it that the phone is there; an address is connected to.

    Raises:
        UserError: it is not, or is not ready.
        TransportLostError: the adb server does not answer.
    """
    state = await adb.state_of(serial)
    if state is None and ":" in serial:
        await adb.connect(serial)
        state = await adb.state_of(serial)
    if state is None:
        seen = ", ".join(phone.serial for phone in await adb.attached()) or "none"
        raise UserError(
            f"adb (port {adb.port}) sees no phone {serial!r}; it sees: {seen}",
            "plug it in, enable USB debugging and accept this computer; `adb devices` lists phones",
        )
    if state != states.READY:
        meaning, step = states.explained(state)
        raise UserError(f"{serial} is {state}: {meaning}", step)


def _report(console: Console, captured: Captured) -> None:
    """What was recorded, what was taken out, and what gave no answer."""
    replayed = sum(dump.replay for dump in captured.dumps)
    console.print(
        f"{captured.profile.id}: {captured.profile.name}; {replayed} answers for the virtual"
        f" phone, {len(captured.dumps) - replayed} samples",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    if captured.emulated:
        console.print("this is a virtual phone or an emulator, and the profile says so")
    for command, reason in captured.failed.items():
        console.print(f"no answer: {command}: {reason}", markup=False, soft_wrap=True)
    table = Table("taken out", box=None)
    table.add_column("times", justify="right")
    for kind, times in sorted(captured.removed.items()):
        table.add_row(kind, str(times))
    if captured.removed:
        console.print(table)
    else:
        console.print("nothing personal was found")


def _show(arguments: argparse.Namespace) -> int:
    chosen = select(load_profiles(arguments.profiles), [arguments.id])
    console = Console()
    for number, profile in enumerate(chosen):
        if number:
            console.print()
        _describe(console, profile)
        dumps = read_dumps(arguments.profiles / DUMPS / profile.id)
        for dump in dumps.values():
            use = "answer" if dump.replay else "sample"
            _line(console, f"{use}: {dump.command[:80]} ({len(dump.text)} characters)")
    return 0


def _describe(console: Console, profile: Profile) -> None:
    _line(console, f"{profile.id}: {profile.name} ({profile.kind})")
    if profile.notes:
        _line(console, profile.notes)
    for key, value in _rows(profile):
        _line(console, f"  {key:<24} {value}")
    for source in profile.hardware.sources:
        _line(console, f"source: {source}")


def _rows(profile: Profile) -> list[tuple[str, str]]:
    hardware = profile.hardware
    values: Mapping[str, str | None] = {
        "soc": hardware.soc,
        "gpu": hardware.gpu,
        "cores": _text(hardware.cores),
        "memory": format_bytes(hardware.memory) if hardware.memory else None,
        "bandwidth_gb_s": _text(hardware.bandwidth_gb_s),
        "gpu_gflops_f32": _text(hardware.gpu_gflops_f32),
        "cpu_gflops_f32": _text(hardware.cpu_gflops_f32),
    }
    rows = [(key, _marked(key, value, profile)) for key, value in values.items() if value]
    if profile.screen:
        size = f"{profile.screen.width} x {profile.screen.height}"
        rows.append(("screen", _marked("screen", size, profile)))
        density = f"{profile.screen.density} dpi"
        rows.append(("screen.density", _marked("screen.density", density, profile)))
    if profile.app_memory:
        memory = profile.app_memory
        rows.append(("app memory", f"{format_bytes(memory.available)}, {memory.basis}"))
    if profile.android:
        rows += [("matches", f"{k} = {' or '.join(v)}") for k, v in profile.android.match.items()]
        rows += sorted(profile.android.properties.items())
    return rows


def _marked(key: str, value: str, profile: Profile) -> str:
    return f"{value} (unverified)" if key in profile.hardware.unverified else value


def _text(value: float | None) -> str | None:
    return None if value is None else f"{value:g}"


def _check(arguments: argparse.Namespace) -> int:
    profiles = load_profiles(arguments.profiles)
    chosen = select(profiles, arguments.id)
    ids = {profile.id for profile in chosen}
    found = [f"{p.id}: {problem}" for p in chosen for problem in problems(p)]
    found += [line for line in clashes(profiles.values()) if line.partition(":")[0] in ids]
    recorded: Counter[str] = Counter()
    for profile in chosen:
        try:
            recorded["answers"] += len(read_dumps(arguments.profiles / DUMPS / profile.id))
        except UserError as error:
            found.append(f"{profile.id}: {error}")
    console = Console(stderr=bool(found))
    for line in found:
        _line(console, line)
    if not found:
        _line(console, f"{len(chosen)} profiles, {recorded['answers']} recorded answers: all sound")
    return 1 if found else 0


def _line(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
