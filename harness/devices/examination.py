"""A health check, or the whole ladder, because a person asked for it."""

from __future__ import annotations

import asyncio
import getpass
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from harness.ab import AS_INSTALLED
from harness.devices.checkup import CHECK_SECONDS, check_up
from harness.devices.lease import holder, lease
from harness.devices.places import Places
from harness.devices.recovery import recover
from harness.errors import UserError
from harness.health_book import HealthBook

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.devices.places import Place, PlacesSettings
    from harness.devices.recovery import Finding
    from harness.profiles import Profile
    from results.fleet.events import Event


def examine(
    resource: str,
    profile: Profile,
    settings: PlacesSettings,
    results: Path | None,
    *,
    climb: bool,
    say: Callable[[str], None],
    journal: Callable[[Event], None],
) -> Finding:
    """Lease a device, check it and, with `climb`, help it until it passes; what was found.

    Its state changes as it would in a run: a check that failed means a quarantine.

    Args:
        resource: the device.
        profile: what it is checked as.
        settings: how devices are found and helped.
        results: where the raw logs of the checks go; None: nowhere.
        climb: whether it is helped.
        say: told in words.
        journal: takes the events.

    Raises:
        UserError: somebody uses it, or it is not there and nothing is known of it.
    """
    if (busy := holder(resource)) is not None:
        raise UserError(f"{resource} is in use by {busy}", "wait for that run to end, or end it")
    book = HealthBook("", "", lambda event: journal(event.model_copy(update={"run_id": None})), say)
    with ExitStack() as stack:
        runner = stack.enter_context(asyncio.Runner())
        places = Places(settings, say)
        stack.callback(lambda: runner.run(places.close()))
        owner = f"tierlab devices, by {getpass.getuser()}"
        held = stack.enter_context(lease(resource, owner=owner, wait_seconds=0))
        place = _place(runner.run(places.of(profile, AS_INSTALLED)), resource)
        folder = _folder(stack, results) / f"{resource}-{held.token}"
        checks = 0

        async def check() -> Finding:
            nonlocal checks
            checks += 1
            name = folder.with_name(f"{folder.name}-check-{checks}")
            return await check_up(place.open, name, within=CHECK_SECONDS[profile.kind])

        finding = runner.run(
            recover(
                place.rungs if climb else (),
                check,
                told=lambda step: book.climbed(resource, step),
            )
        )
        if finding.passed:
            book.seen(resource, None if profile.kind == "desktop" else profile.id)
        book.checked(resource, finding)
        return finding


def _place(places: list[Place], resource: str) -> Place:
    for place in places:
        if place.resource == resource:
            return place
    raise UserError(f"{resource} is not attached", "`tierlab devices` shows what is")


def _folder(stack: ExitStack, results: Path | None) -> Path:
    if results is not None:
        return results / "pages" / "devices"
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tierlab-check-")))
