"""The pytest plugin: options, the plan of a run, and its beginning and end.

`pytest suites --device=pixel7` is the sentence that users type; everything else has defaults. The
other modules of this package are parts of the plugin, each for one matter.
"""

from __future__ import annotations

import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console
from rich.text import Text

from harness.ab import FORMS
from harness.devices.base import DeviceLostError, TabLostError
from harness.devices.places import PlacesSettings, unusable
from harness.errors import UserError
from harness.fleet.run_options import checked_run_id
from harness.options import Plan, add_options, make_plan
from harness.plugin.stash import ATTEMPT_ID, PLAN, RUN_ID, controlled_plan, named_places, with_store
from harness.probe.run import ProbeFailedError
from harness.profiles import load_profiles
from harness.sending import influx_settings, start_sending
from results.store import StoreError
from results.table import plain

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from xdist.workermanage import WorkerController

__all__ = ["ATTEMPT_ID", "PLAN", "RUN_ID", "SUITES"]

SUITES = Path(__file__).parents[2] / "suites"

pytest_plugins = (
    "harness.plugin.fixtures",
    "harness.plugin.selection",
    "harness.plugin.summary",
)

# Their messages say all that there is to say; a traceback through the harness would hide them.
TOLD_WITHOUT_TRACEBACK = (UserError, StoreError, ProbeFailedError, TabLostError, DeviceLostError)


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
            print_devices(Console(), PlacesSettings(config.option.emulate, config.option.serial))
        except UserError as error:
            raise pytest.UsageError(str(error)) from error
        return 0
    return None


def print_devices(console: Console, places: PlacesSettings) -> None:
    """Every profile, and for each that cannot be used now, why."""
    said: set[str] = set()
    one_line: dict[str, Any] = {"markup": False, "highlight": False, "soft_wrap": True}
    for profile in load_profiles().values():
        reason = unusable(profile, places)
        mark = Text("no ", "red") if reason else Text("yes", "green")
        name = Text(f"{profile.id:20}", "bold")
        console.print(mark, "", name, plain(profile.name), **one_line)
        for line in (reason or "").splitlines():
            # What to do is the same for all phones: once is enough.
            if not (line.lstrip().startswith("->") and line in said):
                console.print(f"     {'':20} {plain(line.strip())}", style="dim", **one_line)
            said.add(line)


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
        if influx is not None and not config.option.collectonly:
            start_sending(config, plan.settings.trial.results, influx)


def _plan(config: pytest.Config) -> Plan | None:
    """The plan of this run, made at the first call; `None` where no suites are run."""
    if config.option.list_devices or not _runs_suites(config):
        return None
    if PLAN not in config.stash:
        given: dict[str, Any] = getattr(config, "workerinput", {})
        try:
            run_id = given.get("tierlab_run_id") or _run_id(config)
            _check_ab(config)
            config.stash[PLAN] = make_plan(config, run_id)
        except UserError as error:
            raise pytest.UsageError(str(error)) from error
        config.stash[RUN_ID] = run_id
        config.stash[ATTEMPT_ID] = given.get("tierlab_attempt_id") or uuid.uuid4().hex
    return config.stash[PLAN]


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


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: WorkerController) -> None:
    """Give an xdist worker the ids of the run and of this attempt."""
    if RUN_ID in node.config.stash:
        node.workerinput["tierlab_run_id"] = node.config.stash[RUN_ID]
        node.workerinput["tierlab_attempt_id"] = node.config.stash[ATTEMPT_ID]


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """`-n auto`: as many workers as devices. Called before `pytest_configure`."""
    plan = _plan(config)
    return len(plan.profiles) if plan else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:  # noqa: ANN401
    """Keep the tests of one device on one worker, which remembers its probe and its trials.

    xdist's own groups (`--dist=loadgroup`) are not used: 3.8 loses them under pytest 9.
    """
    plan = config.stash.get(PLAN, None)
    if plan is None or config.option.dist not in {"load", "loadgroup"}:
        return None
    return _by_device([profile.id for profile in plan.profiles], config, log)


def _by_device(devices: list[str], config: pytest.Config, log: Any) -> Any:  # noqa: ANN401
    # Imported here: xdist may be switched off.
    from xdist.scheduler import LoadScopeScheduling  # noqa: PLC0415

    class DeviceScheduling(LoadScopeScheduling):  # type: ignore[misc]
        """Deals out devices instead of tests."""

        def _split_scope(self, nodeid: str) -> str:
            return device_of(nodeid, devices)

    return DeviceScheduling(config, log)


def device_of(node_id: str, devices: Iterable[str]) -> str:
    """The device that a test's id names, or the id itself where it names none.

    Ids end in `[DEVICE]` or `[DEVICE-WORKLOAD]`; one device's id may begin with another's.
    """
    words = node_id.partition("[")[2].removesuffix("]") + "-"
    named = [device for device in devices if words.startswith(f"{device}-")]
    return max(named, key=len, default=node_id)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the user can mend as its message alone; the test fails all the same."""
    raised = call.excinfo
    if raised and PLAN in item.config.stash and raised.errisinstance(TOLD_WITHOUT_TRACEBACK):
        failure = pytest.fail.Exception(str(raised.value), pytrace=False)
        call.excinfo = pytest.ExceptionInfo.from_exception(failure.with_traceback(raised.tb))
    return (yield)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Note the orderly end of a run."""
    plan = controlled_plan(session.config)
    if plan is not None:
        run_id = session.config.stash[RUN_ID]
        with_store(plan, lambda store: store.finish_run(run_id))
