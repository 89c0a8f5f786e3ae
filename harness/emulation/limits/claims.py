"""Who owns a group: a lock that dies with its owner, and a record of what the owner made.

The lock is taken and the record written before the first group is made, and both go after the last
group is removed; a group without a record cannot exist. A record whose lock can be taken belongs to
a dead owner, however it died and whoever has its PID now.

Records lie under the boot's id, so that those of an earlier boot, or of another machine that shares
the home directory, are never taken for this one's.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs
from filelock import FileLock, Timeout

from harness.emulation.limits.system import PARENT, describe
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_MAKING_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class Record:
    """What an owner made: the directories of one scope's groups."""

    id: str
    limiter: str
    owner: int
    groups: tuple[Path, ...]

    def to_json(self) -> str:
        """The record as text."""
        return json.dumps(asdict(self) | {"groups": [str(group) for group in self.groups]})

    @classmethod
    def from_json(cls, text: str) -> Record:
        """The record again.

        Raises:
            ValueError: this is not a record, or names a directory that is no group of this project.
        """
        data = json.loads(text)
        try:
            record = cls(
                id=str(data["id"]),
                limiter=str(data["limiter"]),
                owner=int(data["owner"]),
                groups=tuple(Path(group) for group in data["groups"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError("not a record of a group") from error
        # Everything inside these directories will be killed: trust the name, not the file.
        for group in record.groups:
            plain = group.parent.name == PARENT and group.name == record.id
            unit = record.id.startswith(PARENT) and group.name == f"{record.id}.scope"
            if not (plain or unit):
                raise ValueError(f"{group} is no group of {PARENT}")
        return record


def state_directory() -> Path:
    """Where records are kept: TIERLAB_STATE, or the user's state directory. Made when missing.

    Raises:
        UserError: it cannot be made or written, or belongs to somebody else.
    """
    base = Path(os.environ.get("TIERLAB_STATE") or platformdirs.user_state_path("tierlab"))
    try:
        boot = _BOOT_ID.read_text("utf-8").strip()
    except OSError:
        boot = "boot"  # No Linux, hence no group to keep a record of.
    directory = base / "groups" / boot
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        owner = directory.stat().st_uid
    except OSError as error:
        raise _unusable(describe(error)) from error
    if owner != os.getuid() or not os.access(directory, os.W_OK | os.X_OK):
        raise _unusable(f"{directory} belongs to user {owner}, this is user {os.getuid()}")
    return directory


def _unusable(reason: str) -> UserError:
    return UserError(
        f"the state directory cannot be used: {reason}",
        "set TIERLAB_STATE to a directory of your own",
    )


def _lock(path: Path) -> FileLock:
    # Not thread-local: a scope may be made in one thread and closed in another.
    return FileLock(path, thread_local=False)


@dataclass(frozen=True, slots=True)
class Claim:
    """A record with its lock held."""

    record: Record
    path: Path
    lock: FileLock

    def release(self) -> None:
        """Forget the record: its groups are gone."""
        self.path.unlink(missing_ok=True)
        Path(self.lock.lock_file).unlink(missing_ok=True)
        self.lock.release()

    def abandon(self) -> None:
        """Let go of the lock and keep the record, for `sweep`."""
        self.lock.release()


def claim(record: Record) -> Claim:
    """Take the lock and write the record.

    Raises:
        UserError: the state directory cannot be used.
    """
    directory = state_directory()
    made = Claim(
        record=record,
        path=directory / f"{record.id}.json",
        lock=_lock(directory / f"{record.id}.lock"),
    )
    try:
        made.lock.acquire(blocking=False)
        temporary = made.path.with_suffix(".tmp")
        temporary.write_text(record.to_json(), "utf-8")
        temporary.replace(made.path)
    except OSError as error:
        raise _unusable(describe(error)) from error
    return made


def dead() -> Iterator[Claim]:
    """Claims whose owner is gone, each with its lock now held here."""
    for path in sorted(state_directory().glob("*.json")):
        lock = _lock(path.with_suffix(".lock"))
        try:
            lock.acquire(blocking=False)
        except Timeout:
            continue  # Alive.
        try:
            record = Record.from_json(path.read_text("utf-8"))
        except (OSError, ValueError):
            # Removed by another sweep since it was listed, or not ours to understand.
            if not path.exists():
                Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()
            continue
        yield Claim(record=record, path=path, lock=lock)


@contextlib.contextmanager
def making() -> Iterator[None]:
    """Held while groups are made or the common parent is removed: one process at a time.

    Raises:
        UserError: another process held it for half a minute.
    """
    path = state_directory() / "making"
    try:
        with _lock(path).acquire(timeout=_MAKING_TIMEOUT_S):
            yield
    except Timeout:
        raise UserError(
            f"another process has been making groups for {_MAKING_TIMEOUT_S} s",
            f"find it with `fuser {path}` and end it",
        ) from None
