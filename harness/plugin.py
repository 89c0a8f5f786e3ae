"""The pytest plugin: options, the plan of a run, fixtures, and the table at the end.

`pytest suites --device=pixel7` is the sentence that users type; everything else has defaults.
"""

from __future__ import annotations

import os
import re
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from rich.console import Console
from rich.text import Text

from harness.ab import FORMS
from harness.devices.base import DeviceLostError, TabLostError
from harness.devices.places import PlacesSettings, unusable
from harness.errors import UserError
from harness.laboratory import Laboratory
from harness.options import Plan, add_options, make_plan
from harness.probe.run import ProbeFailedError
from harness.profiles import Profile, load_profiles
from harness.sending import influx_settings, start_sending
from results.report import print_report
from results.store import Store, StoreError
from results.table import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from _pytest.terminal import TerminalReporter
    from xdist.workermanage import WorkerController

SUITES = Path(__file__).parent.parent / "suites"
# Of one device: first what needs no model; what may end in a death of the browser comes last.
SUITE_ORDER = (
    "test_environment",
    "test_limits",
    "test_probe",
    "test_full_load",
    "test_claims",
    "test_ab",
    "test_oom",
)

# Their messages say all that there is to say; a traceback through the harness would hide them.
TOLD_WITHOUT_TRACEBACK = (UserError, StoreError, ProbeFailedError, TabLostError, DeviceLostError)


T = TypeVar("T")

# Suites of many loads: they run where their file is named, or -m speaks of their mark.
NAMED_SUITES = ("claims", "ab")

PLAN = pytest.StashKey[Plan]()
RUN_ID = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of a run."""
    add_options(parser)


def _runs_suites(config: pytest.Config) -> bool:
    """Whether any argument names the suites (the project's own tests need no plan)."""
    return any(place == SUITES or SUITES in place.parents for place in _named(config))


def _named(config: pytest.Config) -> list[Path]:
    """The files and folders that pytest was asked to run."""
    here = config.invocation_params.dir
    return [(here / arg.split("::")[0]).resolve() for arg in config.args]


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
    plan = _plan(config)
    if plan is not None and not hasattr(config, "workerinput"):
        run_id = config.stash[RUN_ID]
        influx = influx_settings(config)
        _with_store(plan, lambda store: store.start_run(run_id, " ".join(sys.argv)))
        if influx is not None and not config.option.collectonly:
            start_sending(config, plan.settings.trial.results, influx)


def _plan(config: pytest.Config) -> Plan | None:
    """The plan of this run, made at the first call; `None` where no suites are run."""
    if config.option.list_devices or not _runs_suites(config):
        return None
    if PLAN not in config.stash:
        given: dict[str, Any] = getattr(config, "workerinput", {})
        run_id = given.get("tierlab_run_id") or uuid.uuid4().hex
        try:
            _check_ab(config)
            config.stash[PLAN] = make_plan(config, run_id)
        except UserError as error:
            raise pytest.UsageError(str(error)) from error
        config.stash[RUN_ID] = run_id
    return config.stash[PLAN]


def _check_ab(config: pytest.Config) -> None:
    """`--ab` and the suite that it is for go together."""
    named = SUITES / "test_ab.py" in _named(config)
    if config.option.ab is not None and not named:
        raise UserError(
            "--ab is for suites/test_ab.py, which runs only where it is named",
            "pytest suites/test_ab.py --ab ...",
        )
    if named and config.option.ab is None:
        raise UserError("suites/test_ab.py does not know what to compare", f"give it {FORMS}")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: WorkerController) -> None:
    """Give an xdist worker the id of the run."""
    if RUN_ID in node.config.stash:
        node.workerinput["tierlab_run_id"] = node.config.stash[RUN_ID]


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


def _with_store(plan: Plan, work: Callable[[Store], T]) -> T:
    try:
        with Store.open(plan.settings.trial.results) as store:
            return work(store)
    except StoreError as error:
        raise pytest.UsageError(f"{error}\n  -> choose another --results") from error


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each suite once a device, and once a workload where it takes one."""
    plan = metafunc.config.stash.get(PLAN, None)
    if plan is None:
        return
    if "profile" in metafunc.fixturenames:
        metafunc.parametrize(
            "profile",
            [pytest.param(p, id=p.id) for p in plan.profiles],
            scope="session",
        )
    if "asked_app" in metafunc.fixturenames:
        metafunc.parametrize(
            "asked_app", [pytest.param(a, id=str(a)) for a in plan.apps], scope="session"
        )
    if "binary_case" in metafunc.fixturenames:
        cases = plan.binary.cases if plan.binary else ()
        metafunc.parametrize(
            "binary_case", [pytest.param(c, id=str(c)) for c in cases], scope="session"
        )
    if "workload" in metafunc.fixturenames:
        metafunc.parametrize(
            "workload",
            [pytest.param(w, id=f"{w.model}-{w.quantisation}-{w.runtime}") for w in plan.workloads],
            scope="session",
        )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is not asked for, and bring the rest into the order of the plan.

    What is left out is deselected, since a skip would read as a result. This runs after pytest has
    grouped the tests by their session-wide parameters, and keeps its order within one suite.
    """
    fits: list[pytest.Item] = []
    left: list[pytest.Item] = []
    for item in items:
        (fits if _is_wanted(config, item) else left).append(item)
    if left:
        config.hook.pytest_deselected(items=left)
    plan = config.stash.get(PLAN, None)
    if plan is not None:
        devices = [profile.id for profile in plan.profiles]
        fits.sort(key=lambda item: _place(item, devices))
    items[:] = fits


def _profile_of(item: pytest.Item) -> Profile | None:
    """The device profile that a test is run on."""
    callspec = getattr(item, "callspec", None)
    found = callspec.params.get("profile") if callspec else None
    return found if isinstance(found, Profile) else None


def _is_wanted(config: pytest.Config, item: pytest.Item) -> bool:
    """Whether a test fits its device, and is not of real size unless `-m` speaks of that."""
    if item.get_closest_marker("full") and not re.search(r"\bfull\b", config.option.markexpr):
        return False
    if item.get_closest_marker("native_app") and not config.option.app:
        return False
    if item.get_closest_marker("binary") and config.option.binary is None:
        return False
    if not _app_fits(item):
        return False
    for name in NAMED_SUITES:
        if item.get_closest_marker(name) and not (
            re.search(rf"\b{name}\b", config.option.markexpr) or _is_named(config, item)
        ):
            return False
    marker, profile = item.get_closest_marker("devices"), _profile_of(item)
    return marker is None or profile is None or bool(marker.kwargs["where"](profile))


def _app_fits(item: pytest.Item) -> bool:
    """Whether a test asks an app of its device's kind, or none at all."""
    callspec, profile = getattr(item, "callspec", None), _profile_of(item)
    asked = callspec.params.get("asked_app") if callspec else None
    return asked is None or profile is None or asked.app.platform == profile.kind


def _is_named(config: pytest.Config, item: pytest.Item) -> bool:
    """Whether the test's own file was asked for, and not a folder that holds it."""
    return item.path in _named(config)


def _place(item: pytest.Item, devices: list[str]) -> tuple[int, int]:
    """Device by device in the order asked for, and of each the suites in theirs."""
    profile, suite = _profile_of(item), item.path.stem
    return (
        devices.index(profile.id) if profile else -1,
        SUITE_ORDER.index(suite) if suite in SUITE_ORDER else len(SUITE_ORDER),
    )


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


@pytest.fixture(scope="session")
def laboratory(request: pytest.FixtureRequest) -> Iterator[Laboratory]:
    """The laboratory of this process."""
    plan = request.config.stash.get(PLAN, None)
    if plan is None:
        raise pytest.UsageError("the suites run as `pytest suites --device=...`")
    with Laboratory(plan.settings, _speaker(request.config)) as lab:
        yield lab


def _speaker(config: pytest.Config) -> Any:  # noqa: ANN401
    """Prints progress past pytest's capture; silent in xdist workers, which have no terminal."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    capture = config.pluginmanager.get_plugin("capturemanager")
    if reporter is None or hasattr(config, "workerinput"):
        return lambda _: None
    return Speaker(reporter, capture)


class Speaker:
    """Progress of long work: one line that is overwritten on a terminal, plain lines elsewhere."""

    def __init__(self, reporter: TerminalReporter, capture: Any) -> None:  # noqa: ANN401
        self._reporter = reporter
        self._capture = capture
        self._rewrites = reporter.isatty and os.environ.get("CI") is None
        self._last = ""

    def __call__(self, text: str) -> None:
        """Show what is going on."""
        if not self._rewrites and self._same_step(text):
            return
        self._last = text
        with self._capture.global_and_fixture_disabled():
            if self._rewrites:
                self._reporter.rewrite(f"  {text}", erase=True)
            else:
                self._reporter.ensure_newline()
                self._reporter.write_line(f"  {text}", flush=True)

    def _same_step(self, text: str) -> bool:
        """Whether only a number changed since the last line: not worth a line of its own."""
        return _without_digits(text) == _without_digits(self._last)


def _without_digits(text: str) -> str:
    return "".join(char for char in text if not char.isdigit())


def pytest_terminal_summary(
    terminalreporter: TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    """Print the table of this run, and what was asked for and not run; make the matrix."""
    plan = config.stash.get(PLAN, None)
    if plan is None:
        return
    run_id = config.stash[RUN_ID]
    for name, reason in plan.left_out:
        terminalreporter.write_line(f"not run: {name}: {plain(reason)}", yellow=True)
    terminalreporter.ensure_newline()
    console = Console(
        file=terminalreporter._tw._file,  # noqa: SLF001 - pytest gives no other way to its stream
        width=max(terminalreporter._tw.fullwidth, 80),  # noqa: SLF001
        force_terminal=terminalreporter.hasmarkup,
    )
    if _with_store(plan, lambda store: print_report(console, store, run_id, plan.engines_left_out)):
        terminalreporter.write_line(f"raw evidence: {plan.settings.trial.results}")
    ran = exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}
    if config.option.matrix and ran and not config.option.collectonly:
        _make_matrix(plan.settings.trial.results, terminalreporter)


def _make_matrix(results: Path, terminalreporter: TerminalReporter) -> None:
    # Imported here: only a run that ends with a matrix needs it.
    from results.matrix.after_run import matrix_after_run  # noqa: PLC0415

    matrix_after_run(
        results,
        say=lambda line: terminalreporter.write_line(plain(line), flush=True),
        warn=lambda line: terminalreporter.write_line(plain(line), flush=True, yellow=True),
    )


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Note the orderly end of a run."""
    plan = session.config.stash.get(PLAN, None)
    if plan is not None and not hasattr(session.config, "workerinput"):
        run_id = session.config.stash[RUN_ID]
        _with_store(plan, lambda store: store.finish_run(run_id))
