"""What is known of a device between runs: its health, and what people said of it.

One small file a device, `devices/RESOURCE.json` in the state directory: written whole, under a lock
of its own, and only where something changed. What can be seen at any moment is not in it: whether
a device is leased now, and whether it is attached.

`harness.devices.health` decides what the next state is; this module keeps it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

from filelock import FileLock, Timeout
from pydantic import AwareDatetime, Field, ValidationError

from harness.errors import UserError
from harness.state import state_directory
from results.files import replaced
from results.record import Part

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# A change is a read and a write of a small file: whoever holds the lock for longer is stuck.
LOCK_SECONDS: Final = 10.0

_RESOURCE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


class Condition(StrEnum):
    """What the last that was seen of a device says of the next job on it."""

    READY = "ready"
    UNHEALTHY = "unhealthy"  # a health check must pass before the next job
    QUARANTINED = "quarantined"  # not tried before a time; then as unhealthy


class Note(Part):
    """What a person said of a device: who, and when."""

    text: str
    by: str
    at: AwareDatetime


class DeviceState(Part):
    """A device as it was left.

    Attributes:
        resource: what a lease of it is taken on: `machine`, `phone-SERIAL`, `ios-PROFILE`.
        profile: the profile that it was last used as.
        condition: what must come before the next job.
        reason: why it is in this condition; empty for a device without a story.
        since: when it came into this condition.
        until: when a quarantine expires; nothing else has an end.
        strikes: health checks that failed since it last did its work.
        drained: it is to take no new job, says who.
        maintenance: people work on it, says who: it is not tried, and not checked.
        seen_at: when it was last found attached.
    """

    resource: str
    profile: str | None = None
    condition: Condition = Condition.READY
    reason: str = ""
    since: AwareDatetime
    until: AwareDatetime | None = None
    strikes: Annotated[int, Field(ge=0)] = 0
    drained: Note | None = None
    maintenance: Note | None = None
    seen_at: AwareDatetime | None = None


def phone_resource(serial: str) -> str:
    """What the lease of a phone is taken on."""
    return "phone-" + re.sub(r"[^A-Za-z0-9.-]", "_", serial)


def load(resource: str) -> DeviceState:
    """The state of one device; one that nothing is known of is ready.

    A file that cannot be read says nothing good: the device is unhealthy until it was checked.

    Raises:
        UserError: it is no name of a resource.
    """
    return _read(_path(resource), resource)


def load_all() -> list[DeviceState]:
    """The states of all devices that something is known of, by resource."""
    files = sorted(_directory().glob("*.json"))
    return [_read(path, path.stem) for path in files if _RESOURCE.fullmatch(path.stem)]


def change(resource: str, how: Callable[[DeviceState], DeviceState]) -> DeviceState:
    """Replace the state of one device by what `how` makes of it, and return that.

    Nobody else changes it meanwhile; `how` must be quick, and must not change another.

    Raises:
        UserError: the state cannot be written.
    """
    path = _path(resource)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock"), timeout=LOCK_SECONDS):
            before = _read(path, resource)
            after = how(before)
            if after != before:
                with replaced(path) as file:
                    file.write(after.model_dump_json(indent=1).encode())
    except Timeout as error:
        raise UserError(
            f"the state of {resource} has been locked for {LOCK_SECONDS:.0f} s",
            f"end the process that holds {path.with_suffix('.lock')}",
        ) from error
    except OSError as error:
        raise UserError(
            f"the state of {resource} cannot be written: {error.strerror}",
            f"free the disk, or mend the rights of {path.parent}",
        ) from error
    return after


def forget(resource: str) -> None:
    """Nothing is known of a device any more: it was a virtual one, and has ended.

    Its lock stays: somebody may be about to take it.
    """
    _path(resource).unlink(missing_ok=True)


def _read(path: Path, resource: str) -> DeviceState:
    try:
        state = DeviceState.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return DeviceState(resource=resource, since=datetime.now(UTC))
    except (OSError, ValidationError):
        return _unreadable(resource)
    return state if state.resource == resource else _unreadable(resource)


def _unreadable(resource: str) -> DeviceState:
    return DeviceState(
        resource=resource,
        condition=Condition.UNHEALTHY,
        reason="what was known of it cannot be read",
        since=datetime.now(UTC),
    )


def _path(resource: str) -> Path:
    if not _RESOURCE.fullmatch(resource):
        raise UserError(
            f"{resource[:80]!r} is no name of a device", "`tierlab devices` lists their names"
        )
    return _directory() / f"{resource}.json"


def _directory() -> Path:
    return state_directory() / "devices"
