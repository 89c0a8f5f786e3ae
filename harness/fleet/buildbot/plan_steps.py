"""The start of a run: what it is asked for goes into the store, and one job a request is queued."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final

from buildbot.data.resultspec import Filter
from buildbot.process.results import FAILURE, SUCCESS
from twisted.internet import defer

from harness.fleet.buildbot import job_steps
from harness.fleet.buildbot.master_step import MasterStep
from harness.fleet.buildbot.no_source import NO_SOURCE
from harness.fleet.config import Schedule
from results.fleet.events import Event, EventKind
from results.fleet.requests import Request

PLAN: Final = "plan"
RUN_ID: Final = "run_id"
SCHEDULE: Final = "schedule"
CHOICES: Final = ("devices", "models", "runtimes", "quants")
BY_HAND: Final = "by-hand"


def job_builder(profile: str) -> str:
    """The name of the builder of a profile's jobs."""
    return profile


class StartRun(MasterStep):
    """Plans a run and queues its jobs, the longest first.

    It may be done again at any time, after a controller that was killed in the middle of it: the
    id of the run follows from the request for this build, and what is queued is not queued twice.
    """

    name = "start run"
    haltOnFailure = True

    @defer.inlineCallbacks
    def run(self) -> Any:
        """Plan, then queue."""
        asked = self.build.requests[0]
        schedule = self.getProperty(SCHEDULE) or ""
        run_id = self.getProperty(RUN_ID) or new_run_id(schedule, asked.submittedAt, asked.id)
        self.setProperty(RUN_ID, run_id, PLAN)
        words = ["fleet", "plan", f"--config={self.desk.folder / 'fleet.json'}", "--json"]
        words += [f"--run-id={run_id}"]
        words += [f"--schedule={schedule}"] if schedule and schedule != BY_HAND else []
        words += [f"--{name}={value}" for name in CHOICES if (value := self._choice(name))]
        code, said = yield self.desk.one_at_a_time.run(self.tierlab, *words, module="harness.cli")
        if code != 0:
            self.say("it could not be planned; see the log")
            return FAILURE
        requests = [Request.model_validate_json(line) for line in said.splitlines()]
        new = yield self._queue(requests, self._properties(schedule, asked.submittedAt), asked.id)
        text = f"run {run_id}: {len(requests)} trials, {new} of them queued now"
        self.desk.write(
            Event.now(EventKind.RUN, text, host=self.desk.host, run_id=run_id, schedule=schedule)
        )
        self.say(text)
        return SUCCESS

    def _choice(self, name: str) -> str:
        """What was chosen on the web page, or given to a scheduler; commas between several."""
        value = self.getProperty(name) or ""
        return ",".join(value) if isinstance(value, list) else str(value)

    def _properties(self, schedule: str, submitted_at: float) -> dict[str, Any]:
        """What all jobs of the run are told."""
        schedules = self.desk.fleet.schedules
        chosen = schedules.get(schedule) or Schedule(models=("gemma-2b",))
        return {
            job_steps.SUITES: ",".join(chosen.suites),
            job_steps.UNTIL: as_seconds(submitted_at) + chosen.deadline,
        }

    @defer.inlineCallbacks
    def _queue(self, requests: list[Request], common: dict[str, Any], plan: int) -> Any:
        """Queue a job for each request that has none of this plan, and none that is open."""
        data = self.master.data
        open_sets = yield data.get(("buildsets",), filters=[Filter("complete", "eq", [False])])
        waiting = {job_request(one["external_idstring"]) for one in open_sets}
        new = 0
        for request in requests:
            job = f"{request.request_id}.{plan}"
            done = yield data.get(
                ("buildsets",), filters=[Filter("external_idstring", "eq", [job])], limit=1
            )
            if done or request.request_id in waiting:
                continue
            builder = yield data.updates.findBuilderId(job_builder(request.profile))
            yield data.updates.addBuildset(
                waited_for=False,
                scheduler=PLAN,
                sourcestamps=[NO_SOURCE],
                reason=f"run {request.run_id}",
                properties={name: (v, PLAN) for name, v in job_properties(request, job, common)},
                builderids=[builder],
                external_idstring=job,
            )
            new += 1
        return new


def job_properties(
    request: Request, job: str, common: dict[str, Any]
) -> list[tuple[str, str | float]]:
    """What a job is told, and what people see of it."""
    workload = request.workload
    return [
        (job_steps.REQUEST, request.model_dump_json()),
        (job_steps.JOB, job),
        (RUN_ID, request.run_id),
        ("profile", request.profile),
        ("model", workload.weights),
        ("runtime", workload.runtime),
        *common.items(),
    ]


def job_request(external_id: str | None) -> str:
    """The request of a job, by the job's name; empty for what is no job."""
    return (external_id or "").partition(".")[0]


def as_seconds(moment: datetime | float) -> float:
    """A moment as Buildbot gives it, in seconds since 1970."""
    return moment.timestamp() if isinstance(moment, datetime) else float(moment)


def new_run_id(schedule: str, submitted_at: datetime | float, request: int) -> str:
    """The name of a run, from what asked for it: the same however often it is planned."""
    when = datetime.fromtimestamp(as_seconds(submitted_at), UTC)
    name = re.sub(r"[^a-z0-9._-]", "-", schedule.lower()).strip("-._") or BY_HAND
    return f"{name}-{when:%Y%m%dT%H%M%S}-{request}"
