"""A phone, captured: asked, cleaned of what is personal, and only then written."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from harness.devices.android.facts import read_facts
from harness.devices.android.failures import CommandTimeoutError
from harness.emulation.capture.dumps import Dump, write_dumps
from harness.emulation.capture.profile import Seen, profile_id, profile_toml
from harness.emulation.capture.recordings import Recording, recordings
from harness.emulation.capture.redact import Redactor
from harness.emulation.capture.secrets import collect
from harness.errors import UserError
from harness.profiles import Profile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from harness.devices.android.phone import Phone

DUMPS: Final = "dumps"
_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Captured:
    """What would be written of a phone: no word of it is personal, as far as that was found.

    Attributes:
        profile: the profile that `toml` is the text of.
        removed: how often something was taken out, by kind.
        failed: commands that gave no answer, with the reason.
        emulated: it is a virtual phone or an emulator.
    """

    profile: Profile
    toml: str
    dumps: tuple[Dump, ...]
    day: str
    removed: Mapping[str, int]
    failed: Mapping[str, str]
    emulated: bool


async def capture(
    phone: Phone,
    profiles: Iterable[Profile],
    *,
    day: str,
    id_: str | None = None,
    package: str = "com.android.chrome",
    progress: Callable[[str, int, int], None] = lambda _what, _done, _of: None,
) -> Captured:
    """Ask a phone everything. Nothing is written.

    Args:
        phone: the phone.
        profiles: those that there are; the one that matches the phone keeps its id and what a
            phone does not tell.
        day: of the capture, YYYY-MM-DD.
        id_: of the profile; None: of the one that matches, or made of brand and model.
        package: of the browser.
        progress: told what is asked, how much is done, and of how much.

    Raises:
        TransportLostError: the phone is gone.
        UserError: the phone says too little of itself, or `id_` is no id.
    """
    wanted = recordings(package)
    total = len(wanted) + 2
    progress("what is personal", 0, total)
    own = await phone.properties()
    before = next((p for p in profiles if p.android and p.android.matches(own)), None)
    public = [before.name] if before else []
    redactor = Redactor(await collect(phone, package=package, public=public))
    progress("facts", 1, total)
    facts = await read_facts(phone, package)
    dumps: list[Dump] = []
    failed: dict[str, str] = {}
    for number, recording in enumerate(wanted, 2):
        progress(recording.command, number, total)
        try:
            dump = await _recorded(phone, recording, redactor)
        except CommandTimeoutError as error:
            failed[recording.command] = str(error)
            continue
        if dump.text.strip():
            dumps.append(dump)
        else:
            failed[recording.command] = f"exit code {dump.exit_code}, and nothing that is kept"
    progress("done", total, total)

    texts = {dump.command: dump.text for dump in dumps}
    properties = {key: redactor.redact(value) for key, value in own.items()}
    seen = Seen(facts, properties, texts.get("wm size", ""), texts.get("wm density", ""), package)
    id_ = id_ or (before.id if before else profile_id(properties))
    toml = redactor.redact(profile_toml(id_, seen, before=before, day=day))
    return Captured(
        profile=_checked(toml),
        toml=toml,
        dumps=tuple(dumps),
        day=day,
        removed=dict(redactor.removed),
        failed=failed,
        emulated=facts.emulated,
    )


def write(captured: Captured, directory: Path, *, force: bool = False) -> tuple[Path, Path]:
    """Write profile and dumps, both or neither; where they are.

    Args:
        captured: what to write.
        directory: for `ID.toml` and `dumps/ID/`; made when missing.
        force: replace what is there.

    Raises:
        UserError: it is there already, or cannot be written.
    """
    profile = directory / f"{captured.profile.id}.toml"
    dumps = directory / DUMPS / captured.profile.id
    refuse_to_overwrite(profile, dumps, force=force)
    try:
        dumps.parent.mkdir(parents=True, exist_ok=True)
        with _workshop(directory) as work:
            fresh = work / "dumps"
            fresh.mkdir()
            write_dumps(fresh, captured.dumps, captured=captured.day)
            (work / "profile").write_text(captured.toml, encoding="utf-8", newline="\n")
            if dumps.exists():
                dumps.rename(work / "replaced")
            fresh.rename(dumps)
            (work / "profile").replace(profile)
    except OSError as error:
        raise UserError(
            f"{directory}: the capture cannot be written: {error.strerror}",
            "choose another directory with --out",
        ) from error
    return profile, dumps


def refuse_to_overwrite(*paths: Path, force: bool) -> None:
    """See to it that nothing is there, unless it may be replaced.

    Raises:
        UserError: one of the paths is there.
    """
    there = next((path for path in paths if path.exists()), None)
    if there and not force:
        raise UserError(
            f"{there} is there already",
            "give another --id, write elsewhere with --out DIR, or replace it with --force",
        )


async def _recorded(phone: Phone, recording: Recording, redactor: Redactor) -> Dump:
    started = time.monotonic()
    output = await phone.run(recording.command, within=_SECONDS, check=False)
    return Dump(
        command=recording.command,
        text=recording.answer(output.text + output.errors, redactor.redact),
        exit_code=output.exit_code,
        seconds=time.monotonic() - started,
        replay=recording.replay,
    )


def _checked(toml: str) -> Profile:
    """The profile, which every loader would take.

    Raises:
        UserError: what the phone said makes no valid profile.
    """
    try:
        return Profile.model_validate(tomllib.loads(toml))
    except (ValidationError, tomllib.TOMLDecodeError) as error:
        raise UserError(
            f"what the phone says makes no valid profile: {error}",
            "name it with --id; for anything else write the profile by hand: docs/profiles.md",
        ) from error


@contextlib.contextmanager
def _workshop(directory: Path) -> Iterator[Path]:
    """A hidden directory beside the profiles: gone at the end, whatever happens."""
    work = Path(tempfile.mkdtemp(prefix=".capture-", dir=directory))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
