"""Reading `fleet.toml`, and what of its names is wrong.

A model checks what the file says of itself; here its words are looked up where they come from: the
device profiles, the models, the runtimes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from harness.errors import UserError, first_fault, unknown
from harness.fleet.config import Fleet, is_wanted
from harness.models import find_model, find_quantisation
from harness.profiles import load_description, load_profiles
from harness.runtimes import find_runtime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from harness.fleet.config import Device, Schedule
    from harness.profiles import Profile

# Words for several runtimes, which `--runtime` of `pytest suites` takes as well.
RUNTIME_GROUPS: Final = ("best", "all")


def load_fleet(path: Path, profiles: Mapping[str, Profile] | None = None) -> Fleet:
    """Read and validate a `fleet.toml`, or the snapshot of one that a master was given.

    Args:
        path: the file; one that ends in `.json` is a snapshot, and was validated before.
        profiles: the device profiles that there are; by default those that come with tierlab.

    Raises:
        UserError: it cannot be read, or is not valid; a line for each fault.
    """
    if path.suffix == ".json":
        return _snapshot(path)
    fleet = load_description(path, Fleet)
    faults = name_faults(fleet, load_profiles() if profiles is None else profiles)
    if faults:
        raise UserError("\n".join(f"{path}: {fault}" for fault in faults))
    results = (path.parent / fleet.controller.results).absolute()
    controller = fleet.controller.model_copy(update={"results": results})
    return fleet.model_copy(update={"controller": controller})


def _snapshot(path: Path) -> Fleet:
    try:
        return Fleet.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        reason = first_fault(error) if isinstance(error, ValidationError) else error.strerror
        raise UserError(
            f"{path}: is no fleet: {reason}", "write it again: tierlab fleet buildbot --config ..."
        ) from error


def name_faults(fleet: Fleet, profiles: Mapping[str, Profile]) -> list[str]:
    """What is wrong with the names that a fleet takes from elsewhere, each fault in a line."""
    return [
        *(fault for device in fleet.devices for fault in _device_faults(fleet, device, profiles)),
        *(
            f"schedules.{name}.{fault}"
            for name, schedule in fleet.schedules.items()
            for fault in _schedule_faults(fleet, schedule)
        ),
    ]


def _device_faults(fleet: Fleet, device: Device, profiles: Mapping[str, Profile]) -> Iterator[str]:
    where = f"devices.{device.name}"
    profile = profiles.get(device.profile)
    if profile is None:
        yield f"{where}.profile: {_oneline(unknown('device profile', device.profile, profiles))}"
        return
    if profile.spec_sheet_only:
        yield f"{where}.profile: {profile.id!r} is a spec sheet; no live device is it"
    if profile.kind == "desktop" and device.serial is not None:
        yield f"{where}.serial: is for phones, and {profile.id!r} is a desktop"
    twins = [d.name for d in fleet.devices_of(device.profile) if d.host == device.host]
    if profile.kind != "desktop" and device.serial is None and len(twins) > 1:
        yield f"{where}.serial: is required, as {device.host!r} has {' and '.join(twins)}"


def _schedule_faults(fleet: Fleet, schedule: Schedule) -> Iterator[str]:
    for word in schedule.devices:
        if not any(is_wanted(device, (word,)) for device in fleet.devices):
            yield f"devices: {word!r} is no device or profile of this fleet"
    yield from _not_found("models", schedule.models, find_model)
    yield from _not_found("quants", schedule.quants, find_quantisation)
    runtimes = [name for name in schedule.runtimes if name not in RUNTIME_GROUPS]
    yield from _not_found("runtimes", runtimes, find_runtime)
    if schedule.at is None and schedule.days:
        yield "days: mean nothing without `at`"


def _not_found(key: str, words: Iterable[str], find: Callable[[str], object]) -> Iterator[str]:
    for word in words:
        try:
            find(word)
        except UserError as error:
            yield f"{key}: {_oneline(error)}"


def _oneline(error: UserError) -> str:
    return f"{error.problem}; {error.next_step}"
