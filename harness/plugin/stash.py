"""What the plugin keeps with pytest's configuration, for its parts and for the suites."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import pytest

from harness.fleet.deadline import Deadline
from harness.fleet.units import Lane
from harness.options import Plan
from results.store import Store, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

PLAN = pytest.StashKey[Plan]()
RUN_ID = pytest.StashKey[str]()
# One invocation of pytest; a run may have many. The workers of xdist share that of their run.
ATTEMPT_ID = pytest.StashKey[str]()
DEADLINE = pytest.StashKey[Deadline]()
# Which devices stand in for each other; of a process that deals tests out to workers.
LANES = pytest.StashKey[tuple[Lane, ...]]()


def is_worker(config: pytest.Config) -> bool:
    """Whether this process is one of xdist's workers, which is told what to do."""
    return hasattr(config, "workerinput")


def controlled_plan(config: pytest.Config) -> Plan | None:
    """The plan, in the process that controls a run of the suites; `None` in any other."""
    return None if is_worker(config) else config.stash.get(PLAN, None)


def named_places(config: pytest.Config) -> list[Path]:
    """The files and folders that pytest was asked to run."""
    here = config.invocation_params.dir
    return [(here / arg.split("::")[0]).resolve() for arg in config.args]


def with_store(plan: Plan, work: Callable[[Store], T]) -> T:
    """Do something with the store of a run.

    Raises:
        pytest.UsageError: it cannot be opened or written.
    """
    try:
        with Store.open(plan.settings.trial.results) as store:
            return work(store)
    except StoreError as error:
        raise pytest.UsageError(f"{error}\n  -> choose another --results") from error
