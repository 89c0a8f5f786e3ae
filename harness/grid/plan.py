"""What a grid runs: a TOML file of groups, expanded to single trials in a fixed order.

A cell is one workload on one device. The order spreads what must not be compared across a drift of
the host: one repeat of all cells comes before the next repeat of any, and neighbours are of
different devices as far as the numbers allow. Nothing here is random.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from harness.errors import UserError
from harness.models import Workload, find_model, find_quantisation
from harness.profiles import load_description, load_profiles, select
from harness.runtimes import find_runtime

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from harness.profiles import Profile

# The name is the run's id: a part of paths and of line protocol.
NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"

Names = Annotated[tuple[str, ...], Field(min_length=1)]
Positive = Annotated[int, Field(ge=1, le=100_000, strict=True)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Group(_Section):
    """Every device with every model, quantisation and runtime named."""

    devices: Names = Field(description="ids or globs of profiles; phones are virtual ones")
    models: Names
    quantisations: Names
    runtimes: Names
    prompt_tokens: Positive = 16
    output_tokens: Positive = 10
    repeats: Positive = 1
    priority: int = Field(default=1, ge=1, strict=True, description="1 is first")
    seconds: float = Field(
        gt=0, description="what one trial takes on two free cores, until there is a history"
    )
    note: str = ""


class GridPlan(_Section):
    """A plan as its file says it."""

    name: str = Field(pattern=NAME)
    notes: str = ""
    groups: tuple[Group, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _known(self) -> Self:
        for number, group in enumerate(self.groups, 1):
            try:
                for model in group.models:
                    find_model(model)
                for runtime in group.runtimes:
                    find_runtime(runtime)
                for quantisation in group.quantisations:
                    find_quantisation(quantisation)
            except UserError as error:
                raise ValueError(f"group {number}: {error.problem}; {error.next_step}") from error
        return self


@dataclass(frozen=True, slots=True)
class Cell:
    """One workload on one device."""

    device: str
    workload: Workload

    def __str__(self) -> str:
        w = self.workload
        return f"{self.device}  {w.model}/{w.quantisation} on {w.runtime}"


@dataclass(frozen=True, slots=True)
class GridTrial:
    """One planned trial.

    Attributes:
        cell: what is run.
        repeat: its number among those of its cell, from 0.
        priority: 1 is first.
        seconds: what it should take.
    """

    cell: Cell
    repeat: int
    priority: int
    seconds: float


def load_plan(path: Path) -> GridPlan:
    """Read and validate a plan.

    Raises:
        UserError: the file cannot be read or is not a plan; a line for each fault.
    """
    return load_description(path, GridPlan)


def expand(plan: GridPlan, profiles: Mapping[str, Profile] | None = None) -> list[GridTrial]:
    """All trials of a plan, in the order in which they are run.

    Args:
        plan: the plan.
        profiles: the catalogue of devices; those that are shipped when left out.

    Raises:
        UserError: a device is unknown, or a cell is named by two groups.
    """
    known = load_profiles() if profiles is None else profiles
    cells: dict[Cell, tuple[int, Group, float]] = {}
    for number, group in enumerate(plan.groups, 1):
        for profile in select(known, group.devices):
            for cell in _cells(group, profile.id):
                if cell in cells:
                    other = cells[cell][0]
                    raise UserError(
                        f"{cell} is in group {other} and in group {number}"
                        if other != number
                        else f"{cell} is twice in group {number}",
                        "leave it out of one of them: a cell has one number of repeats",
                    )
                cells[cell] = number, group, group.seconds * slowness(profile)
    return _ordered(cells)


def _cells(group: Group, device: str) -> Iterable[Cell]:
    for name, weights, engine in product(group.models, group.quantisations, group.runtimes):
        model, runtime = find_model(name), find_runtime(engine)
        yield Cell(
            device,
            Workload(
                model=model.id,
                quantisation=runtime.exact_quantisation(model, find_quantisation(weights).name),
                runtime=runtime.id,
                prompt_tokens=group.prompt_tokens,
                output_tokens=group.output_tokens,
            ),
        )


def slowness(profile: Profile) -> float:
    """How much longer a trial takes than on two cores, by the limit of cores alone: a guess.

    Less than in proportion, as a load is in part the work of one thread and of the server.
    """
    cpus = profile.limits.cpus
    return 1.0 if cpus is None else max(1.0, 2.0 / cpus) ** 0.6


def _ordered(cells: Mapping[Cell, tuple[int, Group, float]]) -> list[GridTrial]:
    """By priority, then repeat, then with devices alternating."""
    trials: list[GridTrial] = []
    for priority in sorted({group.priority for _, group, _ in cells.values()}):
        mine = [cell for cell, (_, group, _) in cells.items() if group.priority == priority]
        order = alternate(mine)
        most = max(cells[cell][1].repeats for cell in mine)
        trials += [
            GridTrial(cell, repeat, priority, cells[cell][2])
            for repeat in range(most)
            for cell in order
            if repeat < cells[cell][1].repeats
        ]
    return trials


def alternate(cells: Sequence[Cell]) -> list[Cell]:
    """The cells with no two neighbours of one device, unless more than half are that device's.

    Always the device with the most cells left that was not the last one; which of its cells, and
    who is first among equals, is decided by a hash, so that models and engines are mixed.
    """
    left: dict[str, list[Cell]] = defaultdict(list)
    for cell in sorted(cells, key=_mixed):
        left[cell.device].append(cell)
    order: list[Cell] = []
    while left:
        last = order[-1].device if order else None
        device = max(left, key=lambda one: (one != last, len(left[one]), _mixed(one)))
        order.append(left[device].pop())
        if not left[device]:
            del left[device]
    return order


def _mixed(what: object) -> bytes:
    return hashlib.blake2b(str(what).encode(), digest_size=8).digest()


def remaining(trials: Iterable[GridTrial], done: Mapping[Cell, int]) -> list[GridTrial]:
    """The trials that are still to be run where so many of each cell are done."""
    left = Counter(done)
    found = []
    for trial in trials:
        if left[trial.cell] > 0:
            left[trial.cell] -= 1
        else:
            found.append(trial)
    return found


def only(trials: Iterable[GridTrial], devices: Sequence[str]) -> list[GridTrial]:
    """The trials of these devices; all, where none is named.

    Raises:
        UserError: one of them is not in the plan.
    """
    planned = list(trials)
    known = {trial.cell.device for trial in planned}
    for device in devices:
        if device not in known:
            raise UserError(
                f"device {device!r} is not in the plan", f"it has {', '.join(sorted(known))}"
            )
    return [t for t in planned if not devices or t.cell.device in devices]


def check_name(name: str) -> str:
    """A name that a grid may have.

    Raises:
        UserError: it cannot be one.
    """
    if not re.match(NAME, name):
        raise UserError(
            f"{name!r} cannot be a grid's name", "use letters, digits, dots, dashes, at most 64"
        )
    return name
