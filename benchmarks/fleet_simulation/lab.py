"""One lab and what it is asked in a night: phones, hosts, profiles, requests. Pure, by seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.fleet_simulation.trials import Load, draw
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.fleet_simulation.parameters import Parameters


@dataclass(frozen=True, slots=True)
class Size:
    """How large the lab is, and how much it is asked.

    Attributes:
        phones: all of them; a worker each.
        hosts: machines that they are plugged into, as many to each.
        devices_a_profile: phones that one request could go to.
        trials_a_device: requests of a profile, for each of its phones.
    """

    phones: int = 5000
    hosts: int = 200
    devices_a_profile: int = 10
    trials_a_device: int = 30

    def __post_init__(self) -> None:
        whole = self.phones % self.hosts == 0 and self.phones % self.devices_a_profile == 0
        if not whole or min(self.phones, self.hosts, self.trials_a_device) < 1:
            raise UserError(
                f"{self.phones} phones do not divide into {self.hosts} hosts and profiles of"
                f" {self.devices_a_profile}",
                "give numbers that divide, as 5000, 200 and 10 do",
            )


@dataclass(frozen=True, slots=True)
class Request:
    """One requested trial.

    Attributes:
        number: its place in the order in which it was asked for, within its profile.
        expected_seconds: what it took before: history, which an order goes by.
        seconds: what it takes on the phone this time.
        file_bytes: what goes over the host's USB for it.
        asked_at: seconds into the night.
    """

    number: int
    expected_seconds: float
    seconds: float
    file_bytes: int = 0
    asked_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Phone:
    """One phone.

    Attributes:
        dies_at: seconds into the night, from when on it does nothing until somebody comes.
    """

    number: int
    host: int
    profile: int
    fault_rate: float
    dies_at: float = float("inf")


@dataclass(frozen=True, slots=True)
class Lab:
    """Phones in the order of their numbers, requests by profile."""

    phones: tuple[Phone, ...]
    requests: tuple[tuple[Request, ...], ...]
    hosts: int


def make_lab(
    size: Size,
    loads: Mapping[str, list[Load]],
    parameters: Parameters,
    *,
    night_seconds: float,
    seed: int,
) -> Lab:
    """A lab and its night; the same arguments give the same, whatever the policy."""
    # A stream of its own for each, so that a change to one leaves the others as they were.
    health = random.Random(f"phones {seed}")  # noqa: S311 - no secret
    profiles = size.phones // size.devices_a_profile
    return Lab(
        phones=tuple(
            _phone(n, size, parameters, night_seconds, health) for n in range(size.phones)
        ),
        requests=tuple(_requests(n, size, loads, parameters, seed) for n in range(profiles)),
        hosts=size.hosts,
    )


def _phone(
    number: int, size: Size, parameters: Parameters, night: float, chance: random.Random
) -> Phone:
    profiles = size.phones // size.devices_a_profile
    flaky = chance.random() < parameters.flaky_share
    dead = chance.random() < parameters.dead_share
    dies_at = chance.uniform(0, night)
    # Phones of one profile are on as many hosts as there are, so that a host takes one of each.
    place = (number % profiles) * size.devices_a_profile + number // profiles
    return Phone(
        number,
        host=place % size.hosts,
        profile=number % profiles,
        fault_rate=parameters.flaky_fault_rate if flaky else parameters.fault_rate,
        dies_at=dies_at if dead else float("inf"),
    )


def _requests(
    profile: int,
    size: Size,
    loads: Mapping[str, list[Load]],
    parameters: Parameters,
    seed: int,
) -> tuple[Request, ...]:
    """What one profile is asked: loads of one measured class."""
    chance = random.Random(f"requests {seed} {profile}")  # noqa: S311 - no secret
    measured = loads[chance.choice(sorted(loads))]
    count = size.devices_a_profile * size.trials_a_device
    fixed = (
        parameters.job_start_seconds
        + parameters.trial_fixed_seconds
        + parameters.android_extra_seconds
    )
    # A matrix is written model by model: loads of one file stand together.
    in_order = sorted(draw(measured, count, chance), key=lambda load: load.file_bytes)
    mean = parameters.cool_down_seconds
    return tuple(
        Request(
            number,
            expected_seconds=load.seconds + fixed + mean,
            seconds=load.seconds * chance.lognormvariate(0, parameters.trial_spread)
            + fixed
            + min(chance.expovariate(1 / mean) if mean else 0.0, 120.0),
            file_bytes=load.file_bytes,
        )
        for number, load in enumerate(in_order)
    )
