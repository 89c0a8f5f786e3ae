"""Exclusive use of a device. A lease is a file lock: it dies with its owner, however that dies.

Three files a resource in `leases/` of the state directory. `RESOURCE.lock` is the lease itself, and
the only one that decides. `RESOURCE.json` says who has it, and means nothing while nobody has the
lock. `RESOURCE.token` holds the number of the last lease that there was: each lease takes the next,
so that of two holders the later one can be told, even where the first does not know of its end.
"""

from __future__ import annotations

import fcntl
import glob
import os
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

from filelock import FileLock, Timeout
from pydantic import AwareDatetime, Field, ValidationError

from harness.errors import UserError
from harness.state import state_directory
from results.files import replaced
from results.record import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

WAIT_SECONDS: Final = 3600.0
POLL_SECONDS: Final = 0.1
# Whoever looks at a lease (`holder`) has its lock for microseconds: to fail once is no answer.
LOOK_SECONDS: Final = 0.02
_MOST_NOTE_BYTES: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class Held:
    """A lease that is held.

    Attributes:
        resource: what it is on.
        token: its number; each lease of a resource has a higher one than all before it.
    """

    resource: str
    token: int


class Holder(Part):
    """Who holds a lease now; all but the resource is unknown where its note cannot be read."""

    resource: str
    owner: Annotated[str, Field(max_length=200)] = "another process"
    pid: int | None = None
    since: AwareDatetime | None = None
    token: int | None = None
    run_id: str | None = None

    def __str__(self) -> str:
        if self.pid is None or self.since is None:
            return self.owner
        since = self.since.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        return f"{self.owner} (process {self.pid}, since {since})"


@contextmanager
def lease(
    *resources: str,
    owner: str,
    run_id: str | None = None,
    wait_seconds: float = WAIT_SECONDS,
    on_wait: Callable[[str], None] = lambda _: None,
) -> Iterator[Held]:
    """Hold one of `resources` while the block runs, and yield which, with its number.

    The first that is free is taken; where none is, whichever becomes free first.

    All desktop profiles of one machine share one resource: two loads at a time on the same
    processors would measure each other.

    A process that this one starts or forks has no part in the lease, and cannot keep it.

    Args:
        resources: what may be leased, such as `machine`, or phones of one profile.
        owner: who holds it, in words; shown to those who wait.
        run_id: the run that it is for.
        wait_seconds: how long to wait for other owners.
        on_wait: told, once, who holds what is not free.

    Raises:
        UserError: others held all of them for all that time, or the state directory fails.
    """
    directory = state_directory() / "leases"
    process = os.getpid()
    with ExitStack() as stack:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            resource = _take(stack, directory, resources, wait_seconds, on_wait)
            _sweep(directory, resource)
            held = Held(resource, _next_token(directory / f"{resource}.token"))
            note = directory / f"{resource}.json"
            _write(
                note,
                Holder(
                    resource=resource,
                    owner=owner[:200],
                    pid=process,
                    since=datetime.now(UTC),
                    token=held.token,
                    run_id=run_id,
                ).model_dump_json(),
            )
        except OSError as error:
            raise UserError(
                f"a lease cannot be taken in {directory}: {error.strerror}",
                "free the disk, or set TIERLAB_STATE to a directory of your own on a local disk",
            ) from error
        try:
            yield held
        finally:
            if os.getpid() == process:  # a fork that leaves the block ends nothing
                note.unlink(missing_ok=True)


def holder(resource: str) -> Holder | None:
    """Who holds the lease of a resource at this moment; None: nobody."""
    directory = state_directory() / "leases"
    if not _is_locked(directory / f"{resource}.lock"):
        return None
    try:
        with (directory / f"{resource}.json").open("rb") as file:
            found = Holder.model_validate_json(file.read(_MOST_NOTE_BYTES))
    except (OSError, ValidationError):
        return Holder(resource=resource)  # its note is not written yet, or not its own
    return found if found.resource == resource else Holder(resource=resource)


def holders() -> list[Holder]:
    """The holders of all leases that are held at this moment, by resource."""
    locks = sorted((state_directory() / "leases").glob("*.lock"))
    return [found for lock in locks if (found := holder(lock.stem))]


def sweep() -> None:
    """Remove the notes of holders that were killed: some of their phones never come back."""
    directory = state_directory() / "leases"
    for note in directory.glob("*.json"):
        lock = FileLock(directory / f"{note.stem}.lock", fallback_to_soft=False)
        with suppress(Timeout), lock.acquire(timeout=0):
            note.unlink(missing_ok=True)
            _sweep(directory, note.stem)


def _take(
    stack: ExitStack,
    directory: Path,
    resources: Sequence[str],
    wait_seconds: float,
    on_wait: Callable[[str], None],
) -> str:
    """Lock one of the resources until the stack ends; which."""
    # Not the substitute for file systems without locks: a file that exists outlives its owner.
    locks = {r: FileLock(directory / f"{r}.lock", fallback_to_soft=False) for r in resources}
    for lock in locks.values():
        stack.callback(lock.release)  # of one that is not held it does nothing
    until = time.monotonic() + wait_seconds
    taken = _first_free(locks)
    if taken is None:
        time.sleep(LOOK_SECONDS)
        taken = _first_free(locks)
    busy = list(resources) if taken is None else list(resources[: resources.index(taken)])
    if busy:
        told = "; ".join(f"{resource}: held by {_who(resource)}" for resource in busy)
        on_wait(f"waiting for {told}" if taken is None else f"taking {taken}, since {told}")
    while taken is None:
        if time.monotonic() >= until:
            raise UserError(
                f"{_all_busy(resources)} and stayed so for {wait_seconds:.0f} s",
                "wait for that run to end, or end it",
            )
        time.sleep(POLL_SECONDS)
        taken = _first_free(locks)
    return taken


def _sweep(directory: Path, resource: str) -> None:
    """Remove what a holder left that was killed while it wrote."""
    for name in (f"{resource}.json", f"{resource}.token"):
        for left in directory.glob(f".{glob.escape(name)}.*.partial"):
            left.unlink(missing_ok=True)


def _first_free(locks: dict[str, FileLock]) -> str | None:
    """The first resource whose lock can be had, locked."""
    for resource, lock in locks.items():
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        return resource
    return None


def _all_busy(resources: Sequence[str]) -> str:
    return ", ".join(f"{resource} is in use by {_who(resource)}" for resource in resources)


def _who(resource: str) -> Holder:
    return holder(resource) or Holder(resource=resource)  # it ended just now


def _is_locked(path: Path) -> bool:
    """Whether somebody holds the lock. Those who look share it, and do not see each other."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False  # nobody ever leased it
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _next_token(path: Path) -> int:
    """The number of a new lease. It is on disk before anybody learns it, so none is given twice.

    Where the process dies in between, a number is left out, which harms nobody.
    """
    try:
        text = path.read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        text = "0"
    if not (text.isascii() and text.isdecimal()):
        raise UserError(
            f"{path} holds no number: {text[:40]!r}",
            "write one there that is higher than those of all leases so far"
            f" (`tierlab devices history {path.stem}`)",
        )
    token = int(text) + 1
    _write(path, f"{token}\n")
    return token


def _write(path: Path, text: str) -> None:
    with replaced(path) as file:
        file.write(text.encode())
