"""Phones that run, as notes on disk: what a killed one leaves is found and removed by the next.

The lock is held by the phone's supervisor and dies with it. A note whose lock can be taken belongs
to a phone that is gone.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from filelock import FileLock, Timeout

from harness.emulation import limits
from harness.errors import UserError
from harness.state import state_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOG = logging.getLogger(__name__)
#: The environment of every process of a phone names it.
MARK: Final = "TIERLAB_PHONE"
PREFIX: Final = "tierlab-phone-"


@dataclass(frozen=True, slots=True)
class Claim:
    """One phone's folder, with its lock held."""

    identity: str
    folder: Path
    note: Path
    lock: FileLock

    def release(self) -> None:
        """Remove the folder and forget the phone."""
        _remove(self.folder)
        self.note.unlink(missing_ok=True)
        Path(self.lock.lock_file).unlink(missing_ok=True)
        self.lock.release()


def _notes() -> Path:
    folder = state_directory() / "phones"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def claim(identity: str, work: Path) -> Claim:
    """Note that a phone runs, and make its folder in `work`.

    Raises:
        UserError: the folder or the note cannot be made.
    """
    folder = work / f"{PREFIX}{identity}"
    try:
        note = _notes() / f"{identity}.json"
        lock = FileLock(note.with_suffix(".lock"), thread_local=False)
        lock.acquire(blocking=False)
        note.write_text(json.dumps({"folder": str(folder)}), "utf-8")
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise UserError(
            f"{folder}: a phone cannot be put there: {error.strerror}", "choose another folder"
        ) from error
    return Claim(identity, folder, note, lock)


def sweep() -> list[str]:
    """Remove what phones that are gone left: processes, folders, groups; their names.

    Raises:
        UserError: the state directory cannot be used.
    """
    swept = []
    for gone in _gone():
        end_marked(gone.identity)
        gone.release()
        swept.append(gone.identity)
    return swept + limits.sweep()


def _gone() -> Iterator[Claim]:
    for note in sorted(_notes().glob("*.json")):
        lock = FileLock(note.with_suffix(".lock"), thread_local=False)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            continue
        try:
            folder = Path(json.loads(note.read_text("utf-8"))["folder"])
        except (OSError, ValueError, KeyError, TypeError):
            folder = Path()
        # The folder will be removed with all that is in it: trust the name, not the note.
        if folder.name != f"{PREFIX}{note.stem}":
            folder = Path("/nonexistent", f"{PREFIX}{note.stem}")
        yield Claim(note.stem, folder, note, lock)


def _remove(folder: Path) -> None:
    """Remove a folder, whatever rights its apps have taken away from their own folders."""
    if not folder.is_dir():
        return
    for parent, folders, _files in os.walk(folder):
        for inner in (Path(parent, name) for name in folders):
            with suppress(OSError):
                if not inner.is_symlink():
                    inner.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        _LOG.warning("%s could not be removed", folder)


def end_marked(identity: str) -> int:
    """Kill this user's processes that belong to a phone; how many there were.

    Only phones without a PID namespace can leave any.
    """
    wanted = f"{MARK}={identity}".encode()
    count = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        with suppress(OSError):
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                os.kill(int(entry.name), signal.SIGKILL)
                count += 1
    return count
