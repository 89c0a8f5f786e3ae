"""The configuration of a master: what `master.cfg` loads.

    from harness.fleet.buildbot.master import configuration
    BuildmasterConfig = configuration(basedir)

A worker a device, and a builder a profile, whose builds are jobs; `plan`, which starts runs; for
each host a builder that collects what the host still has, and for each profile one that looks for
news.
"""

from __future__ import annotations

import os
import random
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from buildbot.config import BuilderConfig, ConfigErrors
from buildbot.process.factory import BuildFactory
from buildbot.worker.local import LocalWorker

from harness.errors import UserError
from harness.fleet.buildbot.desk import Desk
from harness.fleet.buildbot.device_worker import DeviceWorker
from harness.fleet.buildbot.handover import handover_steps
from harness.fleet.buildbot.job_steps import JOB, BeginJob, EndJob, RunJob, goes_on, was_run
from harness.fleet.buildbot.news_steps import news_steps
from harness.fleet.buildbot.plan_steps import PLAN, StartRun, job_builder
from harness.fleet.buildbot.reporter import Reporter, collect_builder
from harness.fleet.buildbot.schedules import news_builder, schedulers, watched
from harness.fleet.buildbot.sending import Sending
from harness.fleet.buildbot.web import web
from harness.fleet.config import CONTROLLER
from harness.fleet.secret import PASSWORD, WEB_PASSWORD, WEB_USER, need_secret, take_secret

if TYPE_CHECKING:
    from harness.fleet.config import Device, Fleet

# Plans are short, and are not to wait for one another.
_PLANS_AT_A_TIME: Final = 4


def configuration(folder: str) -> dict[str, Any]:
    """Buildbot's configuration of the lab that `fleet.json` of the master's folder describes.

    Raises:
        ConfigErrors: the lab cannot be read, or a secret is missing.
    """
    try:
        return _configuration(folder)
    except UserError as error:
        raise ConfigErrors([str(error)]) from error


def _configuration(folder: str) -> dict[str, Any]:
    desk = Desk.open(Path(folder).absolute())
    fleet = desk.fleet
    controller = fleet.controller
    desk.spool.mkdir(mode=0o700, exist_ok=True)
    return {
        "title": "tierlab",
        "titleURL": controller.web_url,
        "buildbotURL": controller.web_url,
        "buildbotNetUsageData": None,
        # Different jobs of one builder look the same to Buildbot, and would be merged silently.
        "collapseRequests": False,
        "db": {"db_url": controller.database},
        "protocols": {"pb": {"port": _endpoint(controller.bind, controller.port)}},
        "workers": [
            *(_worker(device, fleet) for device in fleet.devices),
            LocalWorker(CONTROLLER, max_builds=_PLANS_AT_A_TIME),
        ],
        "builders": _builders(desk),
        "schedulers": schedulers(fleet),
        "www": web(controller, *_web_secrets()),
        "services": [Reporter(desk=desk), *([Sending(desk=desk)] if desk.influx else [])],
    }


@cache
def worker_password() -> str:
    """What workers show; kept, as a `buildbot reconfig` finds it no longer in the environment."""
    return need_secret(os.environ, PASSWORD, "the password of the workers")


@cache
def _web_secrets() -> tuple[str | None, str | None]:
    return os.environ.get(WEB_USER), take_secret(os.environ, WEB_PASSWORD)


def _endpoint(address: str, port: int) -> str:
    """An address to listen at, as Twisted writes it."""
    escaped = address.replace(":", "\\:")
    return f"tcp:{port}:interface={escaped}"


def _worker(device: Device, fleet: Fleet) -> DeviceWorker:
    known = {"profile": device.profile, "host": device.host, "serial": device.serial or ""}
    return DeviceWorker(
        device.name,
        worker_password(),
        lost_after=fleet.controller.lost_after,
        rest=fleet.controller.rest,
        max_builds=1,
        properties={**device.properties, **known},
    )


def _builders(desk: Desk) -> list[BuilderConfig]:
    fleet = desk.fleet
    hosts = dict.fromkeys(device.host for device in fleet.devices)
    return [
        BuilderConfig(
            name=PLAN,
            workernames=[CONTROLLER],
            factory=BuildFactory([StartRun(desk)]),
            description="starts a run: asks for its trials and queues a job for each",
        ),
        *(_jobs(desk, profile) for profile in fleet.profiles),
        *(
            BuilderConfig(
                name=collect_builder(host),
                workernames=[d.name for d in fleet.devices if d.host == host],
                factory=BuildFactory(handover_steps(desk, lambda _: True)),
                collapseRequests=True,
                tags=["collect"],
                description="hands over what the host has and the controller has not confirmed",
            )
            for host in hosts
        ),
        *(
            BuilderConfig(
                name=news_builder(profile),
                workernames=_names(fleet, profile),
                factory=BuildFactory(news_steps(desk)),
                collapseRequests=True,
                tags=["news"],
                description="looks for a new browser or engine",
            )
            for profile in watched(fleet)
        ),
    ]


def _names(fleet: Fleet, profile: str) -> list[str]:
    return [device.name for device in fleet.devices_of(profile)]


def _jobs(desk: Desk, profile: str) -> BuilderConfig:
    return BuilderConfig(
        name=job_builder(profile),
        workernames=_names(desk.fleet, profile),
        factory=BuildFactory(
            [
                BeginJob(desk),
                RunJob(desk, doStepIf=goes_on),
                *handover_steps(desk, was_run),
                EndJob(desk, doStepIf=was_run),
            ]
        ),
        tags=["jobs"],
        description="one requested trial a build",
        canStartBuild=lambda builder, mine, asked: may_start(desk, builder, mine, asked),
        nextWorker=lambda _, workers, __: random.choice(workers) if workers else None,  # noqa: S311
    )


def may_start(desk: Desk, builder: Any, mine: Any, asked: Any) -> bool:
    """Whether a worker should have a job: not one that failed it, while there is another.

    Args:
        desk: the master's.
        builder: of the profile.
        mine: the worker that is free, as the builder knows it.
        asked: the request for a build.
    """
    job = asked.properties.getProperty(JOB, "")
    troubled = desk.tries.of(job).troubled
    if mine.worker is None or mine.worker.workername not in troubled:
        return True
    others = (one.worker for one in builder.workers if one.worker is not None)
    return not any(_works(other) and other.workername not in troubled for other in others)


def _works(worker: Any) -> bool:
    """Whether a worker takes jobs, now or when its own is done."""
    return bool(worker.conn) and not worker.isPaused() and worker.quarantine_timer is None
