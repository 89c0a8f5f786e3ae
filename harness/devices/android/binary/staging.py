"""A program and its model on a phone: pushed, verified, and removed whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shlex
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from harness.devices.android.adb import CommandError, CommandTimeoutError, TransportLostError
from harness.devices.android.binary.kinds import BinarySpec, Kind, find_kind, known_options
from harness.devices.android.binary.programs import (
    Program,
    abis,
    read_program,
    refuse_foreign,
)
from harness.devices.android.binary.script import kill_script
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from harness.devices.android.adb import Phone

#: Where Android lets the shell's user run programs; each run has a directory of its own below it.
ROOT: Final = "/data/local/tmp"
PREFIX: Final = "tierlab-binary-"
HELP_SECONDS: Final = 20.0
CLEAN_UP_SECONDS: Final = 15.0
_NOT_EXECUTABLE: Final = 126
_NOT_FOUND: Final = 127
_CANNOT_LINK: Final = "CANNOT LINK EXECUTABLE"
_SHOWN: Final = 300


@dataclass(frozen=True, slots=True)
class Staged:
    """A program and its model, ready on a phone.

    Attributes:
        directory: on the phone.
        program: its path there, relative to the directory; so is the model's.
        model: see above.
        kind: what the program is.
        options: what it knows; None: it does not say.
        linked: how the program is linked, in words.
    """

    directory: str
    program: str
    model: str
    kind: Kind
    options: frozenset[str] | None
    linked: str


@asynccontextmanager
async def staged(
    phone: Phone, spec: BinarySpec, progress: Callable[[str], None] = lambda _: None
) -> AsyncIterator[Staged]:
    """Push the program, see that it starts, push the model; at the end remove both.

    What runs there at the end is ended first. What a killed harness left is removed at the start.

    Raises:
        UserError: a file is missing or is no program for this phone, or its storage is full.
        TransportLostError: the phone is gone.
    """
    kind, program = find_kind(spec.binary, spec.kind), read_program(spec.binary)
    for path in (spec.model, *spec.libraries):
        if not path.is_file():
            raise UserError(f"{path}: there is no such file", "check the path")
    await _refuse_foreign(phone, spec, program)
    await sweep(phone)
    directory = f"{ROOT}/{PREFIX}{secrets.token_hex(4)}"
    await phone.run(["mkdir", "-p", directory])
    try:
        for path in (*spec.libraries, spec.binary):
            await _push(phone, path, f"{directory}/{_safe(path)}", progress)
        options = await _ask(phone, directory, spec, kind)
        await _push(phone, spec.model, f"{directory}/{_safe(spec.model)}", progress)
        yield Staged(
            directory, f"./{_safe(spec.binary)}", _safe(spec.model), kind, options, program.linked
        )
    finally:
        # Also when this is cancelled: it must be gone before the phone is given to somebody else.
        await asyncio.shield(remove(phone, directory))


async def remove(phone: Phone, directory: str) -> bool:
    """End what runs in a directory of ours on the phone, and remove it; whether that was done.

    A phone that is gone keeps it until the next run there.
    """
    path = PurePosixPath(directory)
    if str(path.parent) != ROOT or not path.name.startswith(PREFIX):
        raise ValueError(f"{directory} is none of ours")
    command = f"{kill_script(directory)}; rm -rf {shlex.quote(directory)}"
    try:
        await phone.run(command, within=CLEAN_UP_SECONDS)
    except (TransportLostError, CommandError, CommandTimeoutError):
        return False
    return True


async def sweep(phone: Phone) -> list[str]:
    """Remove what killed runs left on the phone; it is leased, so nobody else uses it now."""
    found = await phone.run(f"ls -d {ROOT}/{PREFIX}* 2>/dev/null", check=False)
    left = [line.strip() for line in found.text.splitlines()]
    wanted = [d for d in left if d.removeprefix(f"{ROOT}/{PREFIX}").isalnum()]
    return [directory for directory in wanted if await remove(phone, directory)]


async def _refuse_foreign(phone: Phone, spec: BinarySpec, program: Program) -> None:
    machine = (await phone.run(["uname", "-m"])).text.strip()
    page = (await phone.run(["getconf", "PAGE_SIZE"], check=False)).text.strip()
    refuse_foreign(
        spec.binary,
        program,
        machine=machine,
        abis=abis(await phone.properties()),
        page_bytes=int(page) if page.isdecimal() and len(page) < 8 else None,  # noqa: PLR2004
        libraries=[path.name for path in spec.libraries],
    )


async def _push(phone: Phone, path: Path, remote: str, progress: Callable[[str], None]) -> None:
    told = -1

    def tell(done: int, total: int) -> None:
        nonlocal told
        percent = 100 * done // total if total else 100
        if percent != told:
            told = percent
            progress(f"pushing {path.name}: {done >> 20} of {total >> 20} MiB")

    await phone.push(path, remote, tell)


async def _ask(phone: Phone, directory: str, spec: BinarySpec, kind: Kind) -> frozenset[str] | None:
    """The options that the program lists; this is also the proof that it starts.

    Raises:
        UserError: the phone cannot run it.
    """
    call = shlex.join([f"./{_safe(spec.binary)}", kind.help])
    line = f"cd {directory} && chmod 755 {_safe(spec.binary)} && LD_LIBRARY_PATH=. {call} 2>&1"
    try:
        said = await phone.run(line, within=HELP_SECONDS, check=False)
    except CommandTimeoutError:
        return None
    if said.exit_code in {_NOT_EXECUTABLE, _NOT_FOUND} or _CANNOT_LINK in said.text:
        words = said.text.strip()[-_SHOWN:] or f"exit code {said.exit_code}"
        raise UserError(
            f"the phone does not run {spec.binary.name}: {words}",
            "build it for the phone: statically, or with the Android NDK",
        )
    with contextlib.suppress(CommandError, CommandTimeoutError):  # it may have left a server behind
        await phone.run(kill_script(directory))
    return known_options(said.text)


def _safe(path: Path) -> str:
    """A name for the phone's shell; llama.cpp and the linker go by names, so it is mostly kept."""
    kept = "".join(c if (c.isalnum() and c.isascii()) or c in "._-" else "_" for c in path.name)
    return kept.lstrip(".-") or "file"
