"""Devices for work: found, admitted, leased, healed where they need it, opened, and closed again.

    devices of a profile -> those that may take a job -> lease -> ladder and health check, if due
                         -> work -> a fault of the lab's marks the device

A device that is well comes before one that must be healed first; one that cannot be healed is put
into quarantine, and the next is tried.
"""

from __future__ import annotations

import errno
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from harness.ab import AS_INSTALLED
from harness.devices.base import DeviceLostError, HeldElsewhereError, LeaseLostError
from harness.devices.checkup import CHECK_SECONDS, check_up
from harness.devices.device_state import load
from harness.devices.health import admitted, give_back, needs_check
from harness.devices.lease import WAIT_SECONDS, lease
from harness.devices.recovery import recover
from harness.errors import UserError
from harness.packages import packages_from
from harness.web.server import serve

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine, Sequence
    from pathlib import Path

    from harness.ab import Setup
    from harness.devices.base import Device
    from harness.devices.lease import Held
    from harness.devices.places import Place, Places
    from harness.devices.recovery import Finding
    from harness.health_book import HealthBook
    from harness.profiles import Profile
    from harness.trial import TrialSettings
    from harness.web.server import Server

T = TypeVar("T")

# What a disk answers when it takes no more evidence.
_DISK: Final = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG}
)

# A phone that another host holds tells nobody when it becomes free.
ELSEWHERE_SECONDS: Final = 10.0


class NoDeviceError(DeviceLostError):
    """No device of a profile may take a job now: each is away, ill, or taken out by somebody."""


@dataclass(frozen=True, slots=True)
class Leased:
    """A device at work.

    Attributes:
        device: open.
        server: what its pages are served by.
        held: the lease.
    """

    device: Device
    server: Server
    held: Held


class Leasing:
    """The devices of one laboratory, one at a time.

    Args:
        runner: of the event loop that all devices live on.
        places: finds them.
        settings: of the run.
        book: keeps their health.
        infra_retries: how often the same work is tried once more after a fault of the lab's.
        say: told in words.
    """

    def __init__(
        self,
        runner: asyncio.Runner,
        places: Places,
        settings: TrialSettings,
        book: HealthBook,
        *,
        infra_retries: int,
        say: Callable[[str], None],
    ) -> None:
        self._runner = runner
        self._places = places
        self._settings = settings
        self._book = book
        self._retries = infra_retries
        self._faults: Counter[object] = Counter()
        self._say = say

    def once_more(self, what: object, why: str) -> bool:
        """Whether the budget allows another try after a fault of the lab; if so, it is told."""
        self._faults[what] += 1
        if self._faults[what] > self._retries:
            return False
        self._say(f"the lab failed ({why}); once more")
        return True

    def insist(
        self,
        what: object,
        profile: Profile,
        work: Callable[[Leased], Coroutine[Any, Any, T]],
        setup: Setup = AS_INSTALLED,
    ) -> T:
        """As `on_device`; a device that is lost says nothing, and the work is done once more.

        Args:
            what: whose budget of tries it is.
            profile: the device.
            work: what is done.
            setup: what it is run with in place of what is installed.
        """
        while True:
            try:
                return self.on_device(profile, work, setup)
            except NoDeviceError:
                raise  # nothing would be another next time
            except DeviceLostError as error:
                if not self.once_more(what, str(error)):
                    raise

    def on_device(
        self,
        profile: Profile,
        work: Callable[[Leased], Coroutine[Any, Any, T]],
        setup: Setup = AS_INSTALLED,
    ) -> T:
        """Find a device that is well, or can be healed; lease it, open it, work, close it.

        Raises:
            NoDeviceError: none may be used now, and why.
            DeviceLostError: it was lost meanwhile, and is marked.
            LeaseLostError: another host has it now; that is no fault of the device.
            UserError: something that the user must mend.
        """
        elsewhere: dict[str, HeldElsewhereError] = {}
        until = time.monotonic() + WAIT_SECONDS
        while True:
            places = {p.resource: p for p in self._candidates(profile, setup)}
            owner = f"run {self._settings.run_id}"
            free = [resource for resource in places if resource not in elsewhere]
            if not free:
                self._wait_for_another_host(elsewhere, until)
                elsewhere.clear()
                continue
            with lease(*free, owner=owner, run_id=self._settings.run_id, on_wait=self._say) as held:
                place = places[held.resource]
                try:
                    if not self._is_fit(profile, place, held):
                        continue  # it is in quarantine now
                    return self._runner.run(self._work(place, held, work, setup))
                except HeldElsewhereError as error:
                    elsewhere[held.resource] = error
                except LeaseLostError:
                    raise
                except DeviceLostError as error:
                    self._book.fault(held.resource, str(error))
                    raise
                except OSError as error:
                    raise self._explained(error) from error

    def _wait_for_another_host(
        self, elsewhere: dict[str, HeldElsewhereError], until: float
    ) -> None:
        """Wait a little for phones that other hosts hold; their leases here are given back."""
        told = "; ".join(f"{resource}: {error.problem}" for resource, error in elsewhere.items())
        if time.monotonic() >= until:
            raise UserError(
                f"{told}, and stayed so for {WAIT_SECONDS:.0f} s",
                "wait for that run to end, or end it there",
            )
        self._say(f"waiting for another host: {told}")
        time.sleep(ELSEWHERE_SECONDS)

    def fault(self, at: Leased, reason: str) -> None:
        """The lab failed while a device worked: before its next job it is checked."""
        self._book.fault(at.held.resource, reason)

    def success(self, at: Leased) -> None:
        """A device did its work."""
        self._book.success(at.held.resource)

    def folder(self, kind: str, held: Held) -> Path:
        """Where raw evidence of a lease goes: no other attempt, device or lease has the same."""
        settings = self._settings
        name = f"{held.resource}-{held.token}"
        return settings.results / kind / settings.run_id / settings.attempt_id / name

    def _candidates(self, profile: Profile, setup: Setup) -> Sequence[Place]:
        """The devices that may take a job now, those that are well first."""
        found = self._runner.run(self._places.of(profile, setup))
        now = datetime.now(UTC)
        states = {place.resource: load(place.resource) for place in found}
        refused = {r: why for r, state in states.items() if (why := admitted(state, now))}
        if len(refused) == len(states):
            lines = "".join(f"\n  {resource}: {why}" for resource, why in refused.items())
            raise NoDeviceError(
                f"no device of {profile.id} may be used now:{lines}"
                f"\n  -> {give_back(states[next(iter(refused))])}"
            )
        fit = [place for place in found if place.resource not in refused]
        return sorted(fit, key=lambda p: (p.away is not None, needs_check(states[p.resource])))

    def _is_fit(self, profile: Profile, place: Place, held: Held) -> bool:
        """Whether a leased device may take the job: after help and a health check, where due."""
        if place.away is not None and not needs_check(load(place.resource)):
            self._book.fault(place.resource, place.away)
        state = load(place.resource)
        if admitted(state, datetime.now(UTC)) is not None:
            return False  # somebody was faster: another run, or a person
        if not needs_check(state):
            return True
        self._say(f"{place.resource} is checked, since it is {state.condition}: {state.reason}")
        return self._heal(profile, place, held)

    def _heal(self, profile: Profile, place: Place, held: Held) -> bool:
        folder, checks = self.folder("pages", held), 0

        async def check() -> Finding:
            nonlocal checks
            checks += 1
            name = folder.with_name(f"{folder.name}-check-{checks}")
            return await check_up(place.open, name, within=CHECK_SECONDS[profile.kind])

        finding = self._runner.run(
            recover(place.rungs, check, told=lambda step: self._book.climbed(place.resource, step))
        )
        self._book.checked(place.resource, finding)
        return finding.passed

    async def _work(
        self,
        place: Place,
        held: Held,
        work: Callable[[Leased], Coroutine[Any, Any, T]],
        setup: Setup,
    ) -> T:
        with packages_from(setup.node_modules):
            async with serve() as server, place.open() as device:
                kind = device.profile.kind
                self._book.seen(held.resource, None if kind == "desktop" else device.profile.id)
                return await work(Leased(device, server, held))

    def _explained(self, error: OSError) -> Exception:
        if error.errno not in _DISK:
            return error
        return UserError(
            f"{error.filename or self._settings.results}: {error.strerror}",
            "free the disk, or choose another --results",
        )
