"""What is compared: one change at a time from the lab as planned, each over the same seeds."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING, Final

from benchmarks.fleet_simulation.lab import Lab, Size, make_lab
from benchmarks.fleet_simulation.night import Loss, Night
from benchmarks.fleet_simulation.outcome import lower_bound
from benchmarks.fleet_simulation.parameters import Parameters, load_parameters
from benchmarks.fleet_simulation.policy import Health, Order, Policy
from benchmarks.markdown import significant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from benchmarks.fleet_simulation.outcome import Outcome
    from benchmarks.fleet_simulation.trials import Load

HEADS: Final = (
    "what",
    "makespan h",
    "of the lower bound",
    "used %",
    "USB %",
    "wasted %",
    "recorded",
    "given up",
    "not reached",
    "n",
)
_USB_OFF: Final = {"usb_bytes_per_s": 1e15}


@dataclass(frozen=True, slots=True)
class Losses:
    """What is lost while there is work: shares of all, and times."""

    workers: float = 0.0
    hosts: float = 0.0
    controller: int = 0


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row: how a night differs from the planned one."""

    name: str
    policy: Policy = field(default_factory=Policy)
    losses: Losses = Losses()
    changed: Mapping[str, float] = field(default_factory=dict)
    devices_a_profile: int | None = None
    trials_a_device: int | None = None


def _each(names: Iterable[tuple[str, float]], parameter: str) -> list[Scenario]:
    return [Scenario(name, changed={parameter: value}) for name, value in names]


GROUPS: Final[Mapping[str, Sequence[Scenario]]] = {
    "plan": [Scenario("as planned")],
    "order": [
        Scenario(f"{order}{where}", Policy(order=order), changed=changed, trials_a_device=few)
        for where, changed, few in (
            ("", {}, None),
            (", files on the phone", _USB_OFF, None),
            (", files on the phone, 4 trials a device", _USB_OFF, 4),
        )
        for order in Order
    ],
    "health": [Scenario(f"after a fault: {rule}", Policy(health=rule)) for rule in Health],
    "faults": _each([(f"{n} % faults", n / 100) for n in (0, 1, 5, 10)], "fault_rate")
    + _each([(f"{n} % of phones dead", n / 100) for n in (0, 5, 20)], "dead_share"),
    "losses": [
        Scenario("5 % of workers killed", losses=Losses(workers=0.05)),
        Scenario("all workers killed once", losses=Losses(workers=1.0)),
        Scenario("1 % of hosts lost for 15 min", losses=Losses(hosts=0.01)),
        Scenario("10 % of hosts lost for 15 min", losses=Losses(hosts=0.1)),
        Scenario(
            "10 % of hosts lost for the night",
            losses=Losses(hosts=0.1),
            changed={"host_outage_seconds": 86_400.0},
        ),
        Scenario("controller restarted once", losses=Losses(controller=1)),
        Scenario("controller restarted 6 times", losses=Losses(controller=6)),
    ],
    "profiles": [
        Scenario(f"{n} devices a profile", devices_a_profile=n) for n in (1, 2, 5, 10, 25, 50)
    ],
    "usb": [
        *_each([("one USB 2.0 connection a host", 1), ("four", 4)], "usb_links"),
        *_each([("two USB 3 connections, 300 MB/s", 300e6)], "usb_bytes_per_s"),
        Scenario("files on the phone", changed=_USB_OFF),
    ],
    "controller": _each(
        [(f"{n * 1000:.0f} ms of one controller a job", n) for n in (0.0, 0.05, 0.1, 0.2, 0.4)],
        "dispatch_seconds",
    ),
}


def losses_of(losses: Losses, lab: Lab, parameters: Parameters, *, seed: int) -> list[Loss]:
    """When what is lost: at any time while there is work, by seed."""
    chance = random.Random(f"losses {seed}")  # noqa: S311 - no secret
    busy = lower_bound(lab, parameters)
    numbers = tuple(phone.number for phone in lab.phones)
    killed = chance.sample(numbers, round(losses.workers * len(numbers)))
    hosts = chance.sample(range(lab.hosts), round(losses.hosts * lab.hosts))
    on_host: dict[int, list[int]] = {host: [] for host in hosts}
    for phone in lab.phones:
        if phone.host in on_host:
            on_host[phone.host].append(phone.number)
    p = parameters

    def loss(phones: Iterable[int], away: float, seen: float) -> Loss:
        return Loss(chance.uniform(0, busy), tuple(phones), away, seen)

    return [
        *(loss([n], p.worker_restart_seconds, p.requeue_seconds) for n in killed),
        *(loss(on_host[h], p.host_outage_seconds, p.lost_after_seconds) for h in hosts),
        *(
            loss(numbers, p.controller_outage_seconds, p.controller_outage_seconds)
            for _ in range(losses.controller)
        ),
    ]


def run(scenario: Scenario, size: Size, loads: Mapping[str, list[Load]], *, seed: int) -> Outcome:
    """One night of a scenario."""
    parameters = load_parameters(scenario.changed)
    size = replace(
        size,
        devices_a_profile=scenario.devices_a_profile or size.devices_a_profile,
        trials_a_device=scenario.trials_a_device or size.trials_a_device,
    )
    night = scenario.policy.deadline_seconds
    lab = make_lab(size, loads, parameters, night_seconds=night, seed=seed)
    lost = losses_of(scenario.losses, lab, parameters, seed=seed)
    return Night(lab, scenario.policy, parameters, seed=seed, losses=lost).run()


def row(name: str, outcomes: Sequence[Outcome]) -> list[str]:
    """A row of the table of `HEADS`: the median, and in brackets lowest and highest."""

    def spread(of: Callable[[Outcome], float], digits: int = 3) -> str:
        values = sorted(of(outcome) for outcome in outcomes)
        low, middle, high = (
            # Less than a hundredth is nothing here.
            significant(round(v, 2) and v, digits)
            for v in (values[0], median(values), values[-1])
        )
        return middle if low == high else f"{middle} ({low} to {high})"

    def count(of: Callable[[Outcome], int]) -> str:
        values = sorted(of(outcome) for outcome in outcomes)
        low, high = values[0], values[-1]
        return f"{low:,}" if low == high else f"{median(values):,.0f} ({low:,} to {high:,})"

    return [
        name,
        spread(lambda o: o.makespan / 3600),
        spread(lambda o: o.over_bound),
        spread(lambda o: 100 * o.utilisation, 2),
        spread(lambda o: 100 * o.usb_wait / (o.phones * o.makespan) if o.makespan else 0.0, 2),
        spread(lambda o: 100 * o.wasted_share, 2),
        count(lambda o: o.recorded),
        count(lambda o: o.lost),
        count(lambda o: o.not_reached),
        str(len(outcomes)),
    ]
