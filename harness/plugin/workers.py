"""A run with the workers of pytest-xdist: how many, what they are told, and who runs what."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from harness.fleet.history import History
from harness.fleet.live import live_resources
from harness.fleet.units import Dealer, Lane, lanes_of, units_of
from harness.plugin.selection import workload_id
from harness.plugin.stash import (
    ATTEMPT_ID,
    DEADLINE,
    LANES,
    PLAN,
    RUN_ID,
    controlled_plan,
    with_store,
)
from results.fleet.suite_tests import durations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xdist.workermanage import WorkerController

    from harness.options import Plan


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: WorkerController) -> None:
    """Tell a worker of xdist what this process has found out: it does the same."""
    stash = node.config.stash
    if PLAN in stash:
        node.workerinput["tierlab_run_id"] = stash[RUN_ID]
        node.workerinput["tierlab_attempt_id"] = stash[ATTEMPT_ID]
        node.workerinput["tierlab_devices"] = [profile.id for profile in stash[PLAN].profiles]
        if DEADLINE in stash:
            node.workerinput["tierlab_deadline"] = asdict(stash[DEADLINE])


def number_of_workers(config: pytest.Config, plan: Plan) -> int:
    """One a live device."""
    return sum(lane.seats for lane in _lanes(config, plan))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config) -> Any:  # noqa: ANN401 - xdist may be absent
    """Deal out units of tests; another `--dist` than the default is left alone."""
    plan = controlled_plan(config)
    if plan is None or config.option.dist not in {"load", "loadgroup"}:
        return None
    # Imported here: xdist may be switched off.
    from harness.fleet.scheduling import UnitScheduling  # noqa: PLC0415

    return UnitScheduling(config, lambda tests: _dealer(config, plan, tests))


def _dealer(config: pytest.Config, plan: Plan, tests: Sequence[str]) -> Dealer:
    workloads = {workload_id(workload): workload for workload in plan.workloads}
    history = History(with_store(plan, durations), workloads)
    return Dealer(units_of(tests, _lanes(config, plan), workloads, history.seconds))


def _lanes(config: pytest.Config, plan: Plan) -> tuple[Lane, ...]:
    if LANES not in config.stash:
        places = plan.settings.places
        config.stash[LANES] = lanes_of({p.id: live_resources(p, places) for p in plan.profiles})
    return config.stash[LANES]
