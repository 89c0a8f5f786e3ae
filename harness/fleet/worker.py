"""The worker of one device on its host: what it is told, and its start."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.errors import UserError
from harness.fleet.job_commands import RESULTS
from harness.fleet.loading import load_fleet
from harness.fleet.secret import PASSWORD, need_secret
from harness.fleet.spans import parse_span
from harness.fleet.supervision import WORKER_PID
from harness.state import state_directory

if TYPE_CHECKING:
    import argparse
    from collections.abc import MutableMapping

DEFAULT_LOST_AFTER: Final = 45.0
_MOST_PORT: Final = 65_535


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What a worker is told. The password is not part of what is printed of it.

    Attributes:
        name: of its device in fleet.toml.
        host: where the master listens.
        port: where the master listens.
        base: its own folder: work and nothing that has to be kept.
        results: the results folder of this host.
        lost_after: seconds of silence that end a connection.
        password: what it shows the master.
        programs: the folder in which jobs find `python`, before any other.
    """

    name: str
    host: str
    port: int
    base: Path
    results: Path
    lost_after: float
    password: str = field(repr=False)
    programs: Path = field(default_factory=lambda: Path(sys.executable).parent)


def worker_settings(
    options: argparse.Namespace, environment: MutableMapping[str, str]
) -> WorkerSettings:
    """What options, fleet.toml and environment say; the password is taken out of the environment.

    Raises:
        UserError: it is not said where the master is, or a setting cannot be used.
    """
    lost_after = DEFAULT_LOST_AFTER
    address = options.controller
    if options.config is not None:
        fleet = load_fleet(options.config)
        fleet.device(options.name)
        lost_after = fleet.controller.lost_after
        address = address or f"{fleet.controller.host}:{fleet.controller.port}"
    if address is None:
        raise UserError(
            "it is not said where the master is", "give --controller HOST:PORT, or --config FILE"
        )
    host, port = _address(address)
    if options.lost_after is not None:
        lost_after = parse_span(options.lost_after)
    return WorkerSettings(
        name=options.name,
        host=host,
        port=port,
        base=(options.base or state_directory() / "workers" / options.name).absolute(),
        results=options.results.absolute(),
        lost_after=lost_after,
        password=need_secret(environment, PASSWORD, "the password of the workers"),
    )


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdecimal() or not 0 < int(port) <= _MOST_PORT:
        raise UserError(
            f"--controller={text} is no address",
            "write it as HOST:PORT, such as lab-controller:9989",
        )
    return host, int(port)


def run_worker(settings: WorkerSettings) -> int:
    """Run a worker until it is told to end; the exit code.

    Raises:
        UserError: Buildbot's worker is not installed, or its folder cannot be made.
    """
    if find_spec("buildbot_worker") is None:
        raise UserError("Buildbot's worker is not installed", "pip install 'tierlab[worker]'")
    try:
        settings.base.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise UserError(
            f"{settings.base}: cannot be made: {error.strerror}", "choose another --base"
        ) from error
    # What the jobs of this worker find in their environment.
    os.environ[RESULTS] = str(settings.results)
    os.environ[WORKER_PID] = str(os.getpid())
    os.environ["PATH"] = os.pathsep.join(
        [str(settings.programs), os.environ.get("PATH", os.defpath)]
    )
    from harness.fleet.buildbot.host_worker import run  # noqa: PLC0415 - an extra

    return run(settings)
