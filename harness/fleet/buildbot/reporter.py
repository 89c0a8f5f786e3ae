"""What happens around jobs, for the journal: workers come and go, builds are stopped or lost."""

from __future__ import annotations

from typing import Any, Final

from buildbot.process.results import CANCELLED, EXCEPTION, RETRY
from twisted.internet import defer
from twisted.python import log

from harness.fleet.buildbot import job_steps
from harness.fleet.buildbot.desk_service import DeskService
from harness.fleet.buildbot.no_source import NO_SOURCE
from harness.fleet.tries import Outcome, Try, lost
from results.fleet.events import Event, EventKind
from results.fleet.requests import Request

COLLECT: Final = "collect"


def collect_builder(host: str) -> str:
    """The name of the builder that collects what a host has."""
    return f"{COLLECT}-{host}"


class Reporter(DeskService):
    """Writes events into the journal, and collects from hosts that come back."""

    name = "tierlab-journal"

    @defer.inlineCallbacks
    def startService(self) -> Any:
        """Begin to listen."""
        yield super().startService()
        self._clear_spool()
        for began in self.desk.tries.open():
            self._write(lost(began, "the controller", host=self.desk.host))
        listen = self.master.mq.startConsuming
        self._consumers = [
            (yield listen(self._worker, ("workers", None, "connected"))),
            (yield listen(self._worker, ("workers", None, "disconnected"))),
            (yield listen(self._build_over, ("builds", None, "finished"))),
        ]
        self._tell(EventKind.CONTROLLER, "the controller starts", what="started")

    @defer.inlineCallbacks
    def stopService(self) -> Any:
        """Stop listening; a master that is killed says nothing, and its next start does."""
        for consumer in self._consumers:
            yield consumer.stopConsuming()
        self._tell(EventKind.CONTROLLER, "the controller stops in order", what="stopped")
        yield super().stopService()

    def _clear_spool(self) -> None:
        """Remove what a killed master left: it was not confirmed, so its hosts send it again."""
        for file in self.desk.spool.iterdir():
            file.unlink(missing_ok=True)

    def _tell(self, kind: EventKind, text: str, **rest: Any) -> None:
        self._write(Event.now(kind, text, host=self.desk.host, **rest))

    def _write(self, event: Event) -> None:
        try:
            self.desk.write(event)
        except OSError as error:
            log.err(error, "the journal cannot be written")

    @defer.inlineCallbacks
    def _worker(self, key: tuple[str, ...], message: dict[str, Any]) -> Any:
        what, name = key[-1], message["name"]
        device = next((d for d in self.desk.fleet.devices if d.name == name), None)
        if device is None:
            return
        self._tell(
            EventKind.WORKER,
            f"worker {name} on {device.host}: {what}",
            resource=name,
            profile=device.profile,
            what=what,
        )
        if what == "connected":
            yield self._collect(device.host)

    @defer.inlineCallbacks
    def _collect(self, host: str) -> Any:
        """Ask a host for what it could not hand over while it was cut off."""
        data = self.master.data
        builder = yield data.updates.findBuilderId(collect_builder(host))
        yield data.updates.addBuildset(
            waited_for=False,
            scheduler=COLLECT,
            sourcestamps=[NO_SOURCE],
            reason="a worker connected",
            builderids=[builder],
        )

    @defer.inlineCallbacks
    def _build_over(self, _: tuple[str, ...], build: dict[str, Any]) -> Any:
        """The end of a build that could not say it itself: stopped, lost, or gone wrong."""
        if build["results"] not in {CANCELLED, EXCEPTION, RETRY}:
            return
        found = yield self.master.data.get(("builds", build["buildid"], "properties"))
        name, job = (found.get(key, (None, ""))[0] for key in (job_steps.TRY, job_steps.JOB))
        if name is None or job is None or name in self.desk.tries.of(job).ended:
            return
        if build["results"] == RETRY:
            self._lost(job, name)
            return
        one = Try(
            Request.model_validate_json(found[job_steps.REQUEST][0]),
            job,
            name,
            str(found["workername"][0]),
            self.desk.host,
        )
        text = "stopped by hand" if build["results"] == CANCELLED else "its build went wrong"
        self._write(one.ended(Outcome.GIVEN_UP, text))

    def _lost(self, job: str, name: str) -> None:
        began = self.desk.tries.of(job).began.get(name)
        if began is not None:
            self._write(lost(began, "its worker", host=self.desk.host))
