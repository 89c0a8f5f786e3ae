"""Small labs for tests of the simulation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks.fleet_simulation.lab import Lab, Phone, Request
from benchmarks.fleet_simulation.night import Loss, Night
from benchmarks.fleet_simulation.parameters import load_parameters
from benchmarks.fleet_simulation.policy import Health, Policy

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.fleet_simulation.outcome import Outcome

NEVER: Final = 1e12


def requests(seconds: Iterable[float]) -> tuple[Request, ...]:
    """Trials of just these times, asked for at the start of the night."""
    return tuple(Request(n, expected_seconds=s, seconds=s) for n, s in enumerate(seconds))


def one_profile(asked: Sequence[Request], phones: int, *, fault_rate: float = 0.0) -> Lab:
    """Phones of one profile on one host."""
    return Lab(tuple(Phone(n, 0, 0, fault_rate) for n in range(phones)), (tuple(asked),), hosts=1)


def night(
    lab: Lab,
    policy: Policy | None = None,
    *,
    losses: Iterable[Loss] = (),
    seed: int = 1,
    **changed: float,
) -> Outcome:
    """What comes of it; nothing is quarantined and no deadline passes unless asked for."""
    policy = policy or Policy(health=Health.NONE, deadline_seconds=NEVER)
    return Night(lab, policy, load_parameters(changed), seed=seed, losses=losses).run()
