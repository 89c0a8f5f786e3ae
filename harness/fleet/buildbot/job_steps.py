"""The steps of a job: is it still wanted, run it, and what came of it."""

from __future__ import annotations

import shlex
import time
import uuid
from typing import TYPE_CHECKING, Any, Final

from buildbot.process.buildstep import BuildStep, ShellMixin
from buildbot.process.results import FAILURE, RETRY, SUCCESS, WARNINGS
from twisted.internet import defer

from harness.fleet.buildbot.master_step import FLEET, MasterStep
from harness.fleet.exit_codes import Exit
from harness.fleet.tries import Outcome, Try
from results.fleet.requests import Request

if TYPE_CHECKING:
    from harness.fleet.buildbot.desk import Desk
    from harness.fleet.config import Device, Fleet

# Properties of a job's build.
REQUEST: Final = "request"
JOB: Final = "job"
SUITES: Final = "suites"
UNTIL: Final = "until"
"""When the deadline of the run passes, in seconds since 1970."""
TRY: Final = "try"
EXIT_CODE: Final = "exit_code"

# How long a job may take to put everything back when it is stopped.
_ENDING_SECONDS: Final = 45


def try_of(step: BuildStep, host: str) -> Try:
    """The try that a build is."""
    return Try(
        request=Request.model_validate_json(step.getProperty(REQUEST)),
        job=step.getProperty(JOB),
        name=step.getProperty(TRY),
        worker=step.getProperty("workername"),
        host=host,
    )


def goes_on(step: BuildStep) -> bool:
    """Whether the job was begun: it has a try."""
    return step.getProperty(TRY) is not None


def was_run(step: BuildStep) -> bool:
    """Whether the job ran, well or not: there may be something to hand over."""
    return step.getProperty(EXIT_CODE) is not None


class BeginJob(MasterStep):
    """Begins a try in the journal, unless there is nothing to do or no try left."""

    name = "wanted?"
    haltOnFailure = True
    flunkOnFailure = True

    @defer.inlineCallbacks
    def run(self) -> Any:
        """One try more, or the end of the job."""
        request = Request.model_validate_json(self.getProperty(REQUEST))
        code, said = yield self.tierlab("wanted", request.request_id)
        if code == 1 and "has a record" in said:
            self.say("has a record already")
            return SUCCESS
        tries = self.desk.tries.of(self.getProperty(JOB))
        self.setProperty(TRY, f"{self.build.buildid}-{uuid.uuid4().hex[:12]}", "job")
        one = try_of(self, self.desk.host)
        if time.time() > float(self.getProperty(UNTIL) or "inf"):
            return (yield self._over(one, *_MEANINGS[Exit.DEADLINE]))
        if reason := tries.exhausted(self.desk.fleet.retries):
            return (yield self._over(one, Outcome.GIVEN_UP, reason))
        number = tries.number
        if not self.note(one.began(number)):
            return RETRY
        self.say(f"try {number}")
        return SUCCESS

    @defer.inlineCallbacks
    def _over(self, one: Try, outcome: Outcome, text: str) -> Any:
        """End the job before another try."""
        if not self.note(one.ended(outcome, text)):
            return RETRY
        self.setProperty(TRY, None, "job")
        yield self.desk.one_at_a_time.run(self.tierlab, "receive")
        self.say(f"{outcome}: {text}")
        return FAILURE


class RunJob(ShellMixin, BuildStep):
    """`tierlab fleet job` on the worker. Its exit code is a property, and judged by `EndJob`."""

    name = "run"
    flunkOnFailure = False
    timeout = None
    logEnviron = False
    sigtermTime = _ENDING_SECONDS

    def __init__(self, desk: Desk, **rest: Any) -> None:
        super().__init__(**self.setupShellMixin(rest))
        self._fleet = desk.fleet

    @defer.inlineCallbacks
    def run(self) -> Any:
        """Run it to its end, or to that of the worker."""
        until = self.getProperty(UNTIL)
        left = None if until is None else max(1.0, float(until) - time.time())
        device = self._fleet.device(self.getProperty("workername"))
        words = job_words(
            self.getProperty(REQUEST), self.getProperty(SUITES), device, self._fleet, left
        )
        command = yield self.makeRemoteShellCommand(
            command=words, maxTime=None if left is None else left + 2 * _ENDING_SECONDS
        )
        yield self.runCommand(command)
        code = int(command.rc) if command.rc is not None else -1
        self.setProperty(EXIT_CODE, code, "job")
        self.descriptionDone = f"exit code {code}"
        shown: dict[int, int] = {Exit.OK: SUCCESS, Exit.FAILED: FAILURE}
        return shown.get(code, WARNINGS)


def job_words(
    request: str, suites: str, device: Device, fleet: Fleet, left: float | None
) -> list[str]:
    """The command of a job; `left`: seconds until the deadline of the run."""
    words = [*FLEET, "job", f"--request={request}", f"--suites={suites}"]
    words += [f"--failure-retries={fleet.retries.failure}"]
    if device.serial is not None:
        words.append(f"--serial={device.serial}")
    if device.power_cycle:
        words.append(f"--power-cycle={shlex.join(device.power_cycle)}")
    if left is not None:
        words.append(f"--deadline={left:.0f}")
    return words


class EndJob(MasterStep):
    """Says what came of a try, and whether there is another one."""

    name = "recorded?"
    flunkOnFailure = True

    @defer.inlineCallbacks
    def run(self) -> Any:
        """The end of the try, in the journal first."""
        one = try_of(self, self.desk.host)
        code = int(self.getProperty(EXIT_CODE))
        _, said = yield self.tierlab("wanted", one.request.request_id)
        recorded = "has a record" in said
        needs_record = "full_load" in self.getProperty(SUITES).split(",")
        outcome, text = judged(code, recorded=recorded, needs_record=needs_record)
        if not self.note(one.ended(outcome, text)):
            return RETRY
        yield self.desk.one_at_a_time.run(self.tierlab, "receive")
        if outcome is Outcome.DONE:
            worker = self.build.workerforbuilder.worker
            if worker is not None:
                worker.is_well()
            self.say(text)
            return FAILURE if code == Exit.FAILED else SUCCESS
        if outcome in {Outcome.INFRA, Outcome.UNAVAILABLE}:
            self.rest()
            reason = self.desk.tries.of(one.job).exhausted(self.desk.fleet.retries)
            if reason is None:
                self.say(f"{outcome}: {text}; again")
                return RETRY
            text = f"{text}; {reason}"
            self.note(one.ended(Outcome.GIVEN_UP, text))
        self.say(f"{outcome}: {text}")
        return FAILURE


_MEANINGS: Final = {
    Exit.OK: (Outcome.INFRA, "its record did not arrive"),
    Exit.FAILED: (Outcome.INFRA, "its record did not arrive"),
    Exit.UNAVAILABLE: (Outcome.UNAVAILABLE, "the device cannot be used now"),
    Exit.LAB_FAULT: (Outcome.INFRA, "a fault of the lab's own"),
    Exit.DEADLINE: (Outcome.DEADLINE, "not reached before the deadline of the run"),
    4: (Outcome.GIVEN_UP, "pytest: a mistake in the command line"),
    5: (Outcome.GIVEN_UP, "pytest: there are no tests"),
}


def judged(code: int, *, recorded: bool, needs_record: bool) -> tuple[Outcome, str]:
    """What a job's exit code means, and a few words.

    Args:
        code: of `tierlab fleet job`; negative where it was killed.
        recorded: whether the controller has a record that fulfils the request.
        needs_record: whether a job of these suites makes one.
    """
    if recorded or (code in {Exit.OK, Exit.FAILED} and not needs_record):
        # Whatever else happened, the trial said something of the device.
        return Outcome.DONE, "recorded; a suite test failed" if code == Exit.FAILED else "recorded"
    return _MEANINGS.get(code, (Outcome.INFRA, f"the job ended with exit code {code}"))
