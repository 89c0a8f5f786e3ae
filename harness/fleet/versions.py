"""Which browser and engines a device has, and whether the lab has seen them before."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Literal

from harness.devices.places import PlacesSettings
from harness.errors import UserError
from harness.laboratory import Laboratory, LaboratorySettings
from harness.profiles import load_profiles, select
from harness.runtimes import RUNTIMES
from harness.trial import TrialSettings
from results.fleet.events import Event, EventKind, add_events, events
from results.record import Part

if TYPE_CHECKING:
    from pathlib import Path

    from results.store import Store

Trigger = Literal["browser", "runtime"]


class Versions(Part):
    """What is installed; what a device says of itself is untrusted."""

    browser: str
    runtimes: dict[str, str]


def versions_of(profile_id: str, serial: str | None, results: Path) -> Versions:
    """The versions of a device of this host, which is leased meanwhile.

    Raises:
        UserError: there is no such device, or it cannot be used.
    """
    (profile,) = select(load_profiles(), [profile_id])
    settings = LaboratorySettings(
        trial=TrialSettings(run_id=f"versions-{uuid.uuid4().hex}", results=results),
        places=PlacesSettings(serial=serial),
    )
    with Laboratory(settings) as laboratory:
        facts = laboratory.facts(profile)
    return Versions(browser=f"{facts.browser} {facts.browser_version}", runtimes=dict(_installed()))


def _installed() -> list[tuple[str, str]]:
    found = []
    for name, runtime in RUNTIMES.items():
        try:
            found.append((name, runtime.version()))
        except UserError:
            continue  # not installed, which is no version
    return found


def note_versions(store: Store, profile: str, versions: Versions) -> list[Trigger]:
    """What is new since the last time, which is noted; nothing is new the first time.

    It is noted before anything is triggered: a lab that cannot run on the new version does not ask
    for it again every half hour.

    Raises:
        StoreError: the store cannot be read or written.
    """
    last = _last_seen(store, profile)
    new = news(last, versions)
    if new or last is None:
        words = " and ".join(new) or "first look"
        event = Event.now(
            EventKind.CONTROLLER,
            f"{profile}: {words}: {versions.browser}",
            profile=profile,
            versions=versions.model_dump(mode="json"),
        )
        add_events(store, event)
    return new


def news(last: Versions | None, now: Versions) -> list[Trigger]:
    """Which kinds of things have a version that was not there; one that went away is no news."""
    if last is None:
        return []
    found: list[Trigger] = []
    if now.browser != last.browser:
        found.append("browser")
    if any(last.runtimes.get(name) != version for name, version in now.runtimes.items()):
        found.append("runtime")
    return found


def _last_seen(store: Store, profile: str) -> Versions | None:
    for event in reversed(events(store, kinds=[EventKind.CONTROLLER])):
        if event.profile == profile and "versions" in event.detail:
            return Versions.model_validate(event.detail["versions"])
    return None
