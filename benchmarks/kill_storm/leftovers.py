"""What is left where nothing may be left: processes, groups, mounts, leases, forwards, halves."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from filelock import FileLock, Timeout

from benchmarks.kill_storm.crowd import described
from harness.devices.profile_folder import FOLDER as BROWSER_PROFILES
from harness.emulation.limits.system import PARENT, System, own_group_v2, own_groups_v1
from harness.emulation.phone.records import PREFIX as PHONE
from harness.errors import UserError
from harness.weights.writing import PARTIAL
from results.upkeep.maintenance import SCRATCH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import psutil


# A killed process gives back its memory before it is gone.
_GRACE_SECONDS: Final = 10.0
# Of its last three sessions pytest keeps the folder, by design.
_PYTEST: Final = "pytest-of-"


@dataclass(frozen=True, slots=True)
class Ground:
    """Where one part of the storm takes place.

    Attributes:
        folder: all of it.
        states: the state folder of each host.
        cache: for model files.
        temporary: what TMPDIR says.
        places: the folders in which nothing unfinished may be.
    """

    folder: Path
    states: Sequence[Path]
    cache: Path
    temporary: Path
    places: Sequence[Path]
    serving: Path | None = None
    """The state folder of a service that goes on: it may have groups."""


def leftovers(ground: Ground, strangers: Callable[[], list[psutil.Process]]) -> list[str]:
    """What is left, each in a line.

    Args:
        ground: where.
        strangers: the processes that should not be there.
    """
    end = time.monotonic() + _GRACE_SECONDS
    while strangers() and time.monotonic() < end:
        time.sleep(0.2)
    return [
        *(f"process {described(process)}" for process in strangers()),
        *groups(ground.states, ground.serving),
        *mounts(ground.folder),
        *leases(ground.states),
        *(f"file {path}" for path in halves(ground)),
    ]


def groups(states: Iterable[Path], serving: Path | None = None) -> list[str]:
    """Groups of the kernel, and the notes on them; but those that a service has notes on."""
    found = [f"note on a group {note}" for state in states for note in _notes(state)]
    spared = {note.stem for note in _notes(serving)} if serving else set()
    homes: list[Path] = []
    with contextlib.suppress(UserError):
        homes += own_groups_v1(System()).values()
    with contextlib.suppress(UserError):
        homes.append(own_group_v2(System()))
    inside = {group for home in homes for group in (home / PARENT).glob("*/") if _is_ours(home)}
    return [*found, *(f"group {g}" for g in sorted(inside) if g.name not in spared)]


def _notes(state: Path) -> Iterable[Path]:
    return (state / "groups").rglob("*.json")


def _is_ours(home: Path) -> bool:
    """Whether a group is below the storm's own, and not one that others share with it."""
    return home.parent.name == PARENT


def mounts(folder: Path) -> list[str]:
    """What is mounted below a folder, as this process sees it."""
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    return [f"mount {line.split()[4]}" for line in lines if str(folder) in line]


def leases(states: Iterable[Path]) -> list[str]:
    """Leases that cannot be had, or whose note stays; locks of phones and groups as well."""
    found = []
    for state in states:
        found += [f"note on a lease {note}" for note in (state / "leases").glob("*.json")]
        found += [f"note on a phone {note}" for note in (state / "phones").glob("*.json")]
        for path in state.rglob("*.lock"):
            try:
                with FileLock(path, timeout=0):
                    pass
            except Timeout:
                found.append(f"lock {path}")
    return found


def halves(ground: Ground) -> list[Path]:
    """Files and folders that somebody did not finish, or did not put away."""
    found = [path for path in ground.temporary.iterdir() if not path.name.startswith(_PYTEST)]
    found += ground.cache.glob(f"{PARTIAL}*")
    found += (path for path in (ground.cache / BROWSER_PROFILES).glob("*") if path.is_dir())
    for folder in (*ground.places, *ground.states):
        found += folder.rglob("*.partial")
        found += folder.rglob(f"{SCRATCH}*")
        found += folder.rglob(f"{PHONE}*")
    return sorted(set(found))
