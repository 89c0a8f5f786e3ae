"""Puts a finished folder in the place of another, whole or not at all.

The new folder is built beside the old one and the two change places by `renameat2` with
`RENAME_EXCHANGE` (Linux 3.15, see rename(2)): at every moment there is the old publication or the
new one, whatever is killed. Where the system or the file system cannot do that, the old one is
moved away first, and for an instant there is none; who is killed in that instant finds the old one
back in its place at the next publication.

A lock on the folder under construction tells one that is being built from what a killed process
left; the latter is swept away. Locks are of flock(2), which end with their process.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import secrets
import shutil
import stat
from typing import TYPE_CHECKING, Final

from results.table import plain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MARKER: Final = ".tierlab-publication.json"
"""Marks a folder as a publication, and lists what belongs to it: nothing else may be replaced."""

_MOST_NAMED: Final = 3
_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2
_CANNOT_EXCHANGE: Final = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP})


class PublishError(Exception):
    """A folder cannot be published; the message says which, why, and what to do."""


@contextlib.contextmanager
def publication(target: Path) -> Iterator[Path]:
    """A new folder to fill, which takes the place of `target` when the block ends well.

    When the block fails or is interrupted, `target` is as it was.

    Raises:
        PublishError: `target` holds something that is not an earlier publication, or cannot be
            written.
    """
    target = target.resolve()
    with _explained(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with _alone_in(target.parent):
            _bring_back(target)
            _sweep(target)
            refuse_foreign(target)
            staging, lock = _staging_for(target)
        _under_construction.add(_identity(lock))
        try:
            yield staging
            _mark(staging)
            with _alone_in(target.parent):
                # Building took a while: somebody may have put something there.
                refuse_foreign(target)
                _put_in_place(staging, target)
        finally:
            # What is here now is what was built in vain, or what was published before.
            shutil.rmtree(staging, ignore_errors=True)
            _under_construction.discard(_identity(lock))
            os.close(lock)


def refuse_foreign(target: Path) -> None:
    """Do nothing where a folder is missing, empty, or an earlier publication and nothing else.

    Raises:
        PublishError: it is none of these; the message names what it holds.
    """
    if not target.exists():
        return
    if not target.is_dir():
        raise PublishError(f"{target}: is a file\n  -> name a folder")
    if target.is_mount():
        raise PublishError(
            f"{target}: a mount point cannot be replaced as a whole\n  -> name a folder inside it"
        )
    held = sorted(entry.name for entry in target.iterdir())
    foreign = [name for name in held if name not in _published(target)]
    if foreign:
        names = ", ".join(plain(name) for name in foreign[:_MOST_NAMED])
        more = f" and {len(foreign) - _MOST_NAMED} more" if len(foreign) > _MOST_NAMED else ""
        raise PublishError(
            f"{target}: holds what is no publication of tierlab's ({names}{more}), and publishing"
            " would delete it\n  -> name a new or empty folder, or move these elsewhere"
        )


def _published(target: Path) -> set[str]:
    """The names that the marker lists, its own included; none without a marker."""
    try:
        listed = json.loads((target / MARKER).read_bytes())["entries"]
        return {MARKER, *map(str, listed)}
    except (OSError, ValueError, LookupError, TypeError):
        return set()


def _mark(staging: Path) -> None:
    entries = sorted(entry.name for entry in staging.iterdir())
    body = {"about": "written by `tierlab matrix`, which replaces all of it", "entries": entries}
    (staging / MARKER).write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")


@contextlib.contextmanager
def _explained(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PublishError(
            f"{target}: cannot be published: {error}\n  -> name a folder that can be written"
        ) from error


# ---- folders under construction ----


def _beside(target: Path, name: str) -> Path:
    return target.with_name(f".{target.name}.tierlab-{name}")


def _staging_for(target: Path) -> tuple[Path, int]:
    """A new folder beside the target, and the lock that says that somebody is at work in it."""
    staging = _beside(target, secrets.token_hex(4))
    staging.mkdir()
    lock = _lock(staging)
    if lock is None:
        raise FileNotFoundError(errno.ENOENT, "was removed by somebody", str(staging))
    return staging, lock


def _lock(folder: Path) -> int | None:
    """The descriptor that holds the lock; `None` where another process has it, or it is gone."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


@contextlib.contextmanager
def _alone_in(parent: Path) -> Iterator[None]:
    """One publisher at a time looks for leftovers, and lets folders change places.

    In a folder that this process has under construction it is alone already: a publication inside
    of another would wait for itself.
    """
    descriptor = os.open(parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if _identity(descriptor) not in _under_construction:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


_under_construction: set[tuple[int, int]] = set()
"""The folders that this process builds in, by device and inode."""


def _identity(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino


def _sweep(target: Path) -> None:
    """Remove what killed publishers left beside the target."""
    prefix = _beside(target, "").name
    for leftover in target.parent.iterdir():
        if leftover.name.startswith(prefix) and leftover.is_dir() and not leftover.is_symlink():
            lock = _lock(leftover)
            if lock is not None:
                shutil.rmtree(leftover, ignore_errors=True)
                os.close(lock)


# ---- changing places ----


def _put_in_place(staging: Path, target: Path) -> None:
    """The new one to its place; the old one, if any, to where the new one was built."""
    if not target.exists():
        staging.rename(target)
        return
    staging.chmod(stat.S_IMODE(target.stat().st_mode))
    if not exchange(staging, target):
        away = _beside(target, "old")
        target.rename(away)
        try:
            staging.rename(target)
        except BaseException:
            away.rename(target)
            raise
        away.rename(staging)


def _bring_back(target: Path) -> None:
    """Undo the half of a replacement where that had to be done in two steps."""
    away = _beside(target, "old")
    if away.is_dir() and not target.exists():
        away.rename(target)


def exchange(one: Path, other: Path) -> bool:
    """Let two folders change places at one moment; false where that cannot be done here.

    Raises:
        OSError: it could be done here, and failed.
    """
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    paths = os.fsencode(one), os.fsencode(other)
    if renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _CANNOT_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), str(one), None, str(other))
