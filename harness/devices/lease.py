"""Exclusive use of a device. A lease is a file lock: it dies with its owner, however that dies."""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from filelock import FileLock, Timeout

from harness.errors import UserError
from harness.state import state_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

WAIT_SECONDS: Final = 3600.0


@contextmanager
def lease(
    *resources: str,
    owner: str,
    wait_seconds: float = WAIT_SECONDS,
    on_wait: Callable[[str], None] = lambda _: None,
) -> Iterator[str]:
    """Hold one of `resources` while the block runs, and yield which.

    The first that is free is taken; where none is, the first is waited for.

    All desktop profiles of one machine share one resource: two loads at a time on the same
    processors would measure each other.

    Args:
        resources: what may be leased, such as `machine`, or phones of one profile.
        owner: who holds it, in words; shown to those who wait.
        wait_seconds: how long to wait for another owner.
        on_wait: told, once, who holds it, when none is free at once.

    Raises:
        UserError: somebody else held it for all that time.
    """
    directory = state_directory() / "leases"
    directory.mkdir(parents=True, exist_ok=True)
    resource, lock = _first_free(directory, resources)
    note = directory / f"{resource}.json"
    if not lock.is_locked:
        on_wait(f"waiting for {resource}: held by {_holder(note)}")
        try:
            lock.acquire(timeout=wait_seconds)
        except Timeout as error:
            raise UserError(
                f"{resource} is in use by {_holder(note)} and stayed so for {wait_seconds:.0f} s",
                "wait for that run to end, or end it",
            ) from error
    try:
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        note.write_text(json.dumps({"owner": owner, "pid": os.getpid(), "since": since}))
        yield resource
    finally:
        note.unlink(missing_ok=True)
        lock.release()


def _first_free(directory: Path, resources: Sequence[str]) -> tuple[str, FileLock]:
    """The first resource whose lock can be had, locked; else the first, not locked."""
    locks = [FileLock(directory / f"{resource}.lock") for resource in resources]
    for resource, lock in zip(resources, locks, strict=True):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        return resource, lock
    return resources[0], locks[0]


def _holder(note: Path) -> str:
    try:
        held = json.loads(note.read_text())
        return f"{held['owner']} (process {held['pid']}, since {held['since']})"
    except (LookupError, OSError, TypeError, ValueError):
        return "another process"  # its note is half written, or not its own
