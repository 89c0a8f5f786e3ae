"""`tierlab fleet`: the lab of many devices and hosts, from the command line."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UserError
from harness.fleet import job_commands, plan_commands
from harness.fleet.loading import load_fleet
from harness.fleet.plan import workloads_of
from harness.fleet.plan_commands import command
from harness.fleet.run_options import checked_run_id
from harness.fleet.say import say

if TYPE_CHECKING:
    from harness.fleet.config import Fleet, Schedule

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

_EXAMPLES = """examples:
  tierlab fleet check                           whether fleet.toml is sound
  tierlab fleet run --schedule smoke            all devices of this host, without any server
  tierlab fleet buildbot --to master --start    the master of a lab of many hosts
  tierlab fleet worker --name pixel7-a          the worker of one device
  tierlab fleet status                          what the last run has done and still has to do

`tierlab fleet COMMAND --help` has more; docs/fleet.md explains the whole."""

_RUN = """examples:
  tierlab fleet run --schedule smoke
  tierlab fleet run --schedule smoke --host lab-1 --run-id nightly-2026-11-26
  tierlab fleet run --schedule smoke -- --influx http://lab-controller:8086

It is one `pytest suites` with a worker for each live device of this host, and ends as that does:
0 passed, 1 something failed about a device, 75 only faults of the lab, 124 the deadline passed.
The same --run-id goes on where a killed run ended."""

_BUILDBOT = """examples:
  tierlab fleet buildbot --to /var/lib/tierlab/master
  tierlab fleet buildbot --to /var/lib/tierlab/master --start

Writes fleet.json, master.cfg and buildbot.tac; nothing secret is in them. After a change of
fleet.toml: write them again, then send the master a SIGHUP. The password of the workers is in
TIERLAB_FLEET_PASSWORD, or in the file of mode 0600 that TIERLAB_FLEET_PASSWORD_FILE names."""

_WORKER = """examples:
  tierlab fleet worker --name pixel7-a --controller lab-controller:9989
  tierlab fleet worker --name pixel7-a --config fleet.toml

Runs in the foreground until it is told to end (SIGTERM, Ctrl-C), which ends its job as well. The
password is taken from TIERLAB_FLEET_PASSWORD, or from the file of mode 0600 that
TIERLAB_FLEET_PASSWORD_FILE names."""


def add_commands(subparsers: Subparsers) -> None:
    """Add `fleet` and its commands; each sets `func`, which returns an exit code."""
    fleet = subparsers.add_parser(
        "fleet",
        help="a lab of many devices and hosts: schedule, controller, workers",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = fleet.add_subparsers(title="commands", metavar="COMMAND", required=True)
    command(commands, "check", _check, "say whether a fleet.toml is sound", config=True)
    _add_run(commands)
    plan_commands.add_command(commands)
    _add_status(commands)
    _add_buildbot(commands)
    _add_worker(commands)
    job_commands.add_commands(commands)


def _check(options: argparse.Namespace) -> int:
    fleet = load_fleet(options.config)
    hosts = dict.fromkeys(device.host for device in fleet.devices)
    say(
        f"{options.config}: sound: {len(fleet.devices)} devices of {len(fleet.profiles)} profiles"
        f" on {len(hosts)} hosts"
    )
    for name, schedule in fleet.schedules.items():
        profiles, workloads = fleet.profiles_of(schedule), workloads_of(schedule)
        say(
            f"  {name}: {_when(schedule)}: {len(profiles)} profiles x {len(workloads)} workloads ="
            f" {len(profiles) * len(workloads)} trials, within {schedule.deadline / 3600:g} h"
        )
    return 0


def _when(schedule: Schedule) -> str:
    days = ", ".join(schedule.days) or "every day"
    times = [f"{days} at {schedule.at}"] if schedule.at else []
    times += [f"a new {trigger}" for trigger in schedule.on_new]
    return "; ".join(times) or "by hand"


# ---- on one host ----


def _add_run(commands: Subparsers) -> None:
    add = command(
        commands, "run", _run, "run a schedule on the devices of this host", _RUN, config=True
    ).add_argument
    add("--schedule", required=True, metavar="NAME", help="of fleet.toml")
    add("--host", metavar="NAME", help="which host of fleet.toml this is (default: its own name)")
    add("--run-id", metavar="ID", help="start or continue that run (default: schedule and time)")
    add("--results", type=Path, metavar="DIR", help="default: as fleet.toml says")
    add("pytest", nargs="*", metavar="OPTION", help="further options of `pytest suites`, after --")


def run_command(options: argparse.Namespace, fleet: Fleet, now: datetime) -> list[str]:
    """The one invocation of pytest that runs a schedule on one host.

    Raises:
        UserError: the host has no device of the schedule.
    """
    schedule = fleet.schedule(options.schedule)
    host = options.host or platform.node()
    mine = fleet.model_copy(
        update={"devices": tuple(device for device in fleet.devices if device.host == host)}
    )
    profiles = mine.profiles_of(schedule)
    if not profiles:
        hosts = ", ".join(dict.fromkeys(device.host for device in fleet.devices))
        raise UserError(
            f"host {host!r} has no device that schedule {options.schedule!r} is for",
            f"give --host one of: {hosts}",
        )
    run_id = checked_run_id(options.run_id or f"{options.schedule}-{now:%Y%m%dT%H%M%S}")
    quants = [f"--quant={','.join(schedule.quants)}"] if schedule.quants else []
    return [
        *(sys.executable, "-m", "pytest", *job_commands.suite_files(schedule.suites)),
        f"--device={','.join(profiles)}",
        f"--model={','.join(schedule.models)}",
        f"--runtime={','.join(schedule.runtimes)}",
        *quants,
        f"--prompt-tokens={schedule.prompt_tokens}",
        f"--output-tokens={schedule.output_tokens}",
        f"--run-id={run_id}",
        f"--deadline={round(schedule.deadline)}s",
        f"--failure-retries={fleet.retries.failure}",
        f"--infra-retries={fleet.retries.infra}",
        f"--results={options.results or fleet.controller.results}",
        *("-n", "auto"),
        *options.pytest,
    ]


def _run(options: argparse.Namespace) -> int:
    words = run_command(options, load_fleet(options.config), datetime.now(UTC))
    os.execv(words[0], words)  # noqa: S606 - signals reach pytest itself


# ---- on the controller ----


def _add_status(commands: Subparsers) -> None:
    text = "say what a run has done, and what is queued and running"
    add = command(commands, "status", _status, text, config=True).add_argument
    add("run_id", nargs="?", help="default: the last run")
    add("--results", type=Path, metavar="DIR", help="default: as fleet.toml says")
    add("--url", metavar="URL", help="of the master's web page (default: as fleet.toml says)")


def _status(options: argparse.Namespace) -> int:
    from harness.fleet.status import print_status  # noqa: PLC0415 - reads much

    fleet = load_fleet(options.config)
    return print_status(
        options.results or fleet.controller.results,
        options.run_id,
        options.url or fleet.controller.web_url,
    )


def _add_buildbot(commands: Subparsers) -> None:
    text = "write the configuration of a Buildbot master"
    add = command(commands, "buildbot", _buildbot, text, _BUILDBOT, config=True).add_argument
    add("--to", type=Path, required=True, metavar="DIR", help="the folder of the master")
    add("--start", action="store_true", help="bring its database up to date, and run it here")


def _buildbot(options: argparse.Namespace) -> int:
    from harness.fleet.master_folder import start_master, write_master  # noqa: PLC0415 - rare

    fleet = load_fleet(options.config)
    write_master(fleet, options.to)
    say(f"{options.to}: written: fleet.json, master.cfg, buildbot.tac")
    if options.start:
        start_master(options.to)
    return 0


# ---- on a host of a lab of many ----


def _add_worker(commands: Subparsers) -> None:
    text = "run the worker of one device"
    add = command(commands, "worker", _worker, text, _WORKER).add_argument
    add("--name", required=True, help="of the device in fleet.toml")
    add("--controller", metavar="HOST:PORT", help="where the master listens")
    add("--config", type=Path, metavar="FILE", help="a fleet.toml that says where")
    add("--base", type=Path, metavar="DIR", help="its folder (default: with tierlab's state)")
    add(
        "--results", type=Path, default=Path("tierlab-results"), metavar="DIR",
        help="of this host (default: %(default)s)",
    )  # fmt: skip
    add(
        "--lost-after", default=None, metavar="SPAN",
        help="how long the connection may be silent before it is cut (default: 45s)",
    )  # fmt: skip


def _worker(options: argparse.Namespace) -> int:
    from harness.fleet.worker import run_worker, worker_settings  # noqa: PLC0415 - an extra

    return run_worker(worker_settings(options, os.environ))
