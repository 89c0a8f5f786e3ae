"""What a run is asked for: pytest's options, and the plan that follows from them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.ab import FORMS, LEAST_ROUNDS, AbPlan, plan_ab
from harness.devices.android.binary.options import BinaryPlan, binary_plan
from harness.devices.android.binary.options import add_options as add_binary_options
from harness.devices.appium.asking import AskedApp, asked_apps
from harness.devices.appium.asking import add_options as add_app_options
from harness.devices.machine import rest_seconds
from harness.devices.places import PlacesSettings, expected, unusable
from harness.devices.power_cycle import add_options as add_power_cycle_option
from harness.devices.power_cycle import power_cycle
from harness.emulation.limits import format_bytes, parse_bytes
from harness.emulation.phone.faults import FaultPlan
from harness.errors import UserError
from harness.fleet.run_options import add_options as add_run_options
from harness.laboratory import INFRA_RETRIES, LaboratorySettings
from harness.load import Deadlines
from harness.profiles import LEAST_MEMORY, Profile, load_profiles, select
from harness.sending import add_options as add_influx_options
from harness.trial import TrialSettings
from harness.weights.real import real_artifact
from harness.workload_options import LeftOut, asked_runtimes, asked_workloads, words_of
from harness.workload_options import add_options as add_workload_options

if TYPE_CHECKING:
    from collections.abc import Collection

    import pytest

    from harness.models import Workload

DEFAULT_DEVICE = "desktop"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does: on which devices, with which workloads.

    `left_out` names the profiles that were asked for but cannot be used, with the reason;
    `engines_left_out` likewise the engines that are not installed. `ab` is what suites/test_ab.py
    compares.
    """

    profiles: tuple[Profile, ...]
    left_out: LeftOut
    workloads: tuple[Workload, ...]
    engines_left_out: LeftOut
    settings: LaboratorySettings
    ab: AbPlan | None = None
    apps: tuple[AskedApp, ...] = ()
    binary: BinaryPlan | None = None


def add_options(parser: pytest.Parser) -> None:
    """Add the options of a run."""
    group = parser.getgroup("tierlab", "devices and workloads")
    add = group.addoption
    add(
        "--device",
        action="append",
        metavar="ID",
        help="device profile: an id, a glob, several with commas, or `all`"
        f" (default: {DEFAULT_DEVICE}); e.g. --device='desktop-*'",
    )
    add("--list-devices", action="store_true", help="show every device profile, then exit")
    add(
        "--emulate",
        action="store_true",
        help="run virtual phones in place of Android devices: real adb and Chromium, labelled so",
    )
    add(
        "--faults",
        metavar="SEED:COUNT:SECONDS",
        help="let so many random faults (unplugged, offline, rebooted, ...) happen to each virtual"
        " phone within that time, e.g. --faults=7:50:600",
    )
    add(
        "--serial",
        metavar="SERIAL",
        help="the phone to use where several match, as `adb devices` names it",
    )
    add_workload_options(group)
    add(
        "--offline",
        action="store_true",
        help="after each good load cut the network and load once more",
    )
    add(
        "--results",
        type=Path,
        default=Path("tierlab-results"),
        metavar="DIR",
        help="where records and raw evidence go (default: %(default)s)",
    )
    add(
        "--matrix",
        action="store_true",
        help="when the run ends, make the matrix and its website, as `tierlab run` does",
    )
    add(
        "--no-matrix",
        dest="matrix",
        action="store_false",
        help="end without it, which `tierlab run` needs to be told",
    )
    add_app_options(group)
    add_binary_options(group)
    add_influx_options(group)
    add_run_options(parser)
    add("--limit-memory", metavar="SIZE", help="limit the browser's memory, e.g. 2GiB")
    add("--limit-cpus", type=float, metavar="N", help="limit the browser to N cores, e.g. 0.5")
    add(
        "--timeout-load",
        type=float,
        default=300.0,
        metavar="SECONDS",
        help="silence allowed until the engine stands (default: %(default)s)",
    )
    add(
        "--timeout-token",
        type=float,
        default=240.0,
        metavar="SECONDS",
        help="silence allowed for each token (default: %(default)s)",
    )
    add(
        "--probe-budget",
        type=int,
        default=1200,
        metavar="MS",
        help="how long the zero-weight probe may measure (default: %(default)s)",
    )
    add(
        "--bugreport",
        action="store_true",
        help="after a trial that ended badly, fetch the phone's full bug report (minutes, tens of"
        " MB, with personal data) to bug-reports/ of the results",
    )
    add(
        "--infra-retries",
        type=int,
        default=INFRA_RETRIES,
        metavar="N",
        help="how often a trial is tried again after a fault of the lab's own, such as a lost"
        " phone; a health check must pass before (default: %(default)s)",
    )
    add(
        "--failure-retries",
        type=int,
        default=0,
        metavar="N",
        help="how often a load that crashed or hung is run again; each is a result of its own, and"
        " all count (default: %(default)s)",
    )
    add_power_cycle_option(group)
    add(
        "--claim-rounds",
        type=int,
        default=3,
        metavar="N",
        help="how often suites/test_claims.py loads each artifact (default: %(default)s)",
    )
    add("--ab", metavar="KIND=A,B", help=f"what suites/test_ab.py compares: {FORMS}")
    add(
        "--ab-rounds",
        type=int,
        default=LEAST_ROUNDS,
        metavar="N",
        help="how often A and B are run in turns (default: %(default)s)",
    )
    add(
        "--ab-tolerance",
        type=float,
        default=5.0,
        metavar="PERCENT",
        help="how much worse B may be (default: %(default)g)",
    )


def _limited(profile: Profile, memory: str | None, cpus: float | None) -> Profile:
    """The profile with the limits of the command line; its id says so."""
    if memory is None and cpus is None:
        return profile
    size = profile.limits.memory if memory is None else parse_bytes(memory)
    if size is not None and size < LEAST_MEMORY:
        raise UserError(
            f"--limit-memory={memory} is too little for a browser",
            f"give at least {format_bytes(LEAST_MEMORY)}",
        )
    limits = profile.limits.model_copy(update={"memory": size})
    if cpus is not None:
        limits = limits.model_copy(update={"cpus": cpus, "processors": None})
    marks = ["".join(memory.lower().split())] if memory else []
    marks += [f"{cpus:g}cpu"] if cpus is not None else []
    return profile.model_copy(update={"id": "-".join([profile.id, *marks]), "limits": limits})


def make_plan(
    config: pytest.Config,
    run_id: str,
    *,
    attempt_id: str | None = None,
    devices: Collection[str] | None = None,
) -> Plan:
    """The plan that the options ask for.

    Args:
        config: with the options.
        run_id: the run.
        attempt_id: the attempt that this process works for; without one it is one of its own.
        devices: the profiles that were found usable; without them it is found out here.

    Raises:
        UserError: an option names something unknown, or no device can be used.
    """
    option = config.option
    attempt_id = attempt_id or uuid.uuid4().hex
    _check_numbers(config)
    places = PlacesSettings(
        emulate=option.emulate,
        serial=option.serial,
        work=option.results.absolute() / "phones" / run_id / attempt_id,
        faults=_faults(option.faults, emulate=option.emulate),
        power_cycle=power_cycle(option.power_cycle, serial=option.serial),
    )
    profiles, left_out = _devices(config, places, devices)
    runtimes, engines_left_out = asked_runtimes(config)
    workloads = asked_workloads(config, runtimes)
    return Plan(
        profiles=profiles,
        left_out=left_out,
        workloads=workloads,
        engines_left_out=engines_left_out,
        settings=LaboratorySettings(
            trial=TrialSettings(
                run_id=run_id,
                results=_results_directory(option.results),
                attempt_id=attempt_id,
                deadlines=Deadlines(option.timeout_load, option.timeout_token),
                probe_budget_ms=option.probe_budget,
                offline=option.offline,
            ),
            artifact=real_artifact(option.artifact) if option.artifact else None,
            places=places,
            infra_retries=option.infra_retries,
            failure_retries=option.failure_retries,
            bug_reports=option.bugreport,
        ),
        ab=_ab(config, workloads),
        apps=asked_apps(config, profiles),
        binary=binary_plan(config, profiles),
    )


def _faults(text: str | None, *, emulate: bool) -> FaultPlan | None:
    if text is None:
        return None
    if not emulate:
        raise UserError("--faults are for virtual phones", "add --emulate")
    try:
        seed, count, seconds = (int(word) for word in text.split(":"))
    except ValueError as error:
        raise UserError(
            f"--faults={text} is not SEED:COUNT:SECONDS", "write for example --faults=7:50:600"
        ) from error
    if count < 1 or seconds < 1:
        raise UserError(
            f"--faults={text} means no faults", "give a COUNT and SECONDS of at least 1"
        )
    return FaultPlan.from_seed(seed, count=count, within_seconds=seconds)


def _ab(config: pytest.Config, workloads: tuple[Workload, ...]) -> AbPlan | None:
    option = config.option
    if option.ab is None:
        return None
    return plan_ab(
        option.ab, workloads, rounds=option.ab_rounds, tolerance_percent=option.ab_tolerance
    )


def _check_numbers(config: pytest.Config) -> None:
    for name in ("--prompt-tokens", "--output-tokens", "--probe-budget", "--claim-rounds"):
        if config.getoption(name) < 1:
            raise UserError(f"{name}={config.getoption(name)} must be at least 1")
    for name in ("--infra-retries", "--failure-retries"):
        if config.getoption(name) < 0:
            raise UserError(f"{name}={config.getoption(name)} must not be below 0")
    for name in ("--timeout-load", "--timeout-token", "--influx-wait"):
        if not 0 < config.getoption(name) < float("inf"):
            raise UserError(f"{name}={config.getoption(name):g} must be above 0, and finite")
    rest_seconds()  # asked for here, so that a mistake in it ends no trial


def _devices(
    config: pytest.Config, places: PlacesSettings, known: Collection[str] | None
) -> tuple[tuple[Profile, ...], LeftOut]:
    """The profiles to run, and those left out with the reason.

    A device that is asked for by its name must be usable; one that a pattern brought need not.
    """
    option = config.option
    wanted = words_of(config, "--device", DEFAULT_DEVICE)
    usable, left_out, named = [], [], False
    for profile in select(load_profiles(), wanted):
        limited = _limited(profile, option.limit_memory, option.limit_cpus)
        if known is not None:
            # All workers of a run must have the same tests, whatever has become of a phone since.
            usable += [limited] if limited.id in known else []
        elif (reason := unusable(limited, places)) and not expected(limited, places):
            left_out.append((limited.id, reason))
            named = named or profile.id in wanted
        else:
            usable.append(limited)
    if named or not usable:
        lines = "\n".join(f"device {name!r} cannot be used: {why}" for name, why in left_out)
        raise UserError(lines, "see pytest suites --list-devices")
    return tuple(usable), tuple(left_out)


def _results_directory(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"--results {path}: cannot be made: {error.strerror}", "choose another directory"
        ) from error
    return path.resolve()
