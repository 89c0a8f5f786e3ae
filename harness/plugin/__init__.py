"""The pytest plugin: options, the plan of a run, and its beginning and end.

`pytest suites --device=pixel7` is the sentence that users type; everything else has defaults. The
other modules of this package are parts of the plugin, each for one matter.
"""

from __future__ import annotations

import sys
import uuid
from typing import Any

import pytest
from rich.console import Console

from harness.ab import FORMS
from harness.checkout import SUITES
from harness.devices.commands import print_overview
from harness.devices.look import gather
from harness.devices.overview import overview
from harness.devices.places import PlacesSettings
from harness.errors import UserError
from harness.fleet.deadline import Deadline
from harness.fleet.run_options import checked_run_id, deadline_of
from harness.options import Plan, add_options, make_plan
from harness.plugin.attempt import WATCH, AttemptWatch
from harness.plugin.github import GithubReport
from harness.plugin.stash import (
    ATTEMPT_ID,
    DEADLINE,
    PLAN,
    RUN_ID,
    controlled_plan,
    named_places,
    with_store,
)
from harness.plugin.workers import number_of_workers
from harness.profiles import load_profiles
from harness.sending import influx_settings, start_sending

__all__ = ["ATTEMPT_ID", "PLAN", "RUN_ID", "SUITES"]

pytest_plugins = (
    "harness.plugin.fixtures",
    "harness.plugin.selection",
    "harness.plugin.stopping",
    "harness.plugin.summary",
    "harness.plugin.trials",
    "harness.plugin.workers",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of a run."""
    add_options(parser)


def _runs_suites(config: pytest.Config) -> bool:
    """Whether any argument names the suites (the project's own tests need no plan)."""
    return any(place == SUITES or SUITES in place.parents for place in named_places(config))


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Answer `--list-devices`."""
    if config.option.list_devices:
        try:
            _print_devices(config)
        except UserError as error:
            raise pytest.UsageError(str(error)) from error
        return 0
    return None


def _print_devices(config: pytest.Config) -> None:
    """Every profile, and for each that cannot be used now, why."""
    profiles = list(load_profiles().values())
    places = PlacesSettings(config.option.emulate, config.option.serial)
    print_overview(Console(), overview(profiles, gather(profiles, places)))


def pytest_configure(config: pytest.Config) -> None:
    """Make the plan before anything is collected: a mistyped name ends the run at once."""
    config.addinivalue_line("markers", "ab: compares two things; runs where its file is named")
    config.addinivalue_line("markers", "binary: runs a program that --binary gives, on a phone")
    config.addinivalue_line("markers", "native_app: asks a native app; runs where --app names one")
    _plan(config)
    plan = controlled_plan(config)
    if plan is not None:
        run_id = config.stash[RUN_ID]
        influx = influx_settings(config)
        with_store(plan, lambda store: store.start_run(run_id, " ".join(sys.argv)))
        if config.option.collectonly:
            return
        watch = AttemptWatch(config, plan)
        config.pluginmanager.register(watch, WATCH)
        if config.option.github:
            config.pluginmanager.register(GithubReport(config, watch))
        if influx is not None:
            start_sending(config, plan.settings.trial.results, influx)


def _plan(config: pytest.Config) -> Plan | None:
    """The plan of this run, made at the first call; `None` where no suites are run."""
    if config.option.list_devices or not _runs_suites(config):
        return None
    if PLAN not in config.stash:
        given: dict[str, Any] = getattr(config, "workerinput", {})
        try:
            _fill(config, given)
        except UserError as error:
            raise pytest.UsageError(str(error)) from error
    return config.stash[PLAN]


def _fill(config: pytest.Config, given: dict[str, Any]) -> None:
    """Put the plan into the stash, and what belongs to it.

    Args:
        config: with the options.
        given: what a worker was told by the process that controls the run; else empty.
    """
    stash = config.stash
    _check_ab(config)
    stash[RUN_ID] = given.get("tierlab_run_id") or _run_id(config)
    stash[ATTEMPT_ID] = given.get("tierlab_attempt_id") or uuid.uuid4().hex
    deadline = Deadline(**given["tierlab_deadline"]) if "tierlab_deadline" in given else None
    deadline = deadline or deadline_of(config)
    if deadline is not None:
        stash[DEADLINE] = deadline
    stash[PLAN] = make_plan(
        config,
        stash[RUN_ID],
        attempt_id=stash[ATTEMPT_ID],
        devices=given.get("tierlab_devices"),
    )


def _run_id(config: pytest.Config) -> str:
    asked: str | None = config.option.run_id
    return uuid.uuid4().hex if asked is None else checked_run_id(asked)


def _check_ab(config: pytest.Config) -> None:
    """`--ab` and the suite that it is for go together."""
    named = SUITES / "test_ab.py" in named_places(config)
    if config.option.ab is not None and not named:
        raise UserError(
            "--ab is for suites/test_ab.py, which runs only where it is named",
            "pytest suites/test_ab.py --ab ...",
        )
    if named and config.option.ab is None:
        raise UserError("suites/test_ab.py does not know what to compare", f"give it {FORMS}")


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """`-n auto`: as many workers as live devices. Called before `pytest_configure`."""
    plan = _plan(config)
    return number_of_workers(config, plan) if plan else None
