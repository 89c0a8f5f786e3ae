"""The steps that bring to the controller what a host has and the controller has not confirmed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from buildbot.process.buildstep import BuildStep, ShellMixin
from buildbot.process.properties import Interpolate, Property
from buildbot.process.results import SUCCESS, WARNINGS
from buildbot.steps.transfer import FileUpload
from twisted.internet import defer

from harness.fleet.buildbot.master_step import FLEET, MasterStep
from harness.fleet.buildbot.sending import TAKEN_UP

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.fleet.buildbot.desk import Desk

BUNDLE: Final = "bundle"
_RECEIVED: Final = "received"

# Evidence of a night is megabytes; what is more than this is a host gone wrong.
_MOST_BYTES: Final = 8 << 30

_BUNDLE_ID: Final = re.compile(r"[0-9A-Za-z._-]{1,200}")


def handover_steps(desk: Desk, when: Callable[[BuildStep], bool]) -> list[BuildStep]:
    """Pack on the host, upload, take up, confirm; `when`: whether there is anything to do.

    A step that fails fails no build: what was not handed over comes with the next one.
    """
    file = Interpolate(f"{desk.spool}/%(prop:workername)s-%(prop:buildnumber)s-%(kw:id)s.tar.gz",
                       id=Property("buildername"))  # fmt: skip
    return [
        PackBundle(doStepIf=when),
        FileUpload(
            name="upload",
            workersrc="bundle.tar.gz",
            masterdest=file,
            maxsize=_MOST_BYTES,
            mode=0o600,
            doStepIf=has_bundle,
            flunkOnFailure=False,
            haltOnFailure=False,
        ),
        TakeUp(desk, file=file, doStepIf=has_bundle),
        ConfirmBundle(doStepIf=was_received),
    ]


def has_bundle(step: BuildStep) -> bool:
    """Whether the host packed something."""
    return step.getProperty(BUNDLE) is not None


def was_received(step: BuildStep) -> bool:
    """Whether the controller has it, on disk."""
    return bool(step.getProperty(_RECEIVED))


class _OnHost(ShellMixin, BuildStep):
    """A `tierlab fleet` command on the host."""

    flunkOnFailure = False
    logEnviron = False
    timeout = 1800

    def __init__(self, **rest: Any) -> None:
        super().__init__(**self.setupShellMixin(rest))

    @defer.inlineCallbacks
    def fleet(self, *words: str) -> Any:
        """Run it; what it printed, or `None` where it failed."""
        command = yield self.makeRemoteShellCommand(command=[*FLEET, *words], collectStdout=True)
        yield self.runCommand(command)
        return None if command.didFail() else command.stdout


class PackBundle(_OnHost):
    """What the controller has not confirmed, as one file."""

    name = "pack"
    descriptionDone = "packed"

    @defer.inlineCallbacks
    def run(self) -> Any:
        """Pack it, and keep its id as a property."""
        said = yield self.fleet("bundle", "--to", "bundle.tar.gz")
        match = _BUNDLE_ID.fullmatch((said or "").strip())
        if match is None:
            return WARNINGS
        self.setProperty(BUNDLE, match[0], "host")
        return SUCCESS


class TakeUp(MasterStep):
    """Merges a bundle into the controller's store."""

    name = "take up"
    flunkOnFailure = False
    renderables = ("file",)

    def __init__(self, desk: Desk, file: Any, **rest: Any) -> None:
        super().__init__(desk, **rest)
        self.file = file

    @defer.inlineCallbacks
    def run(self) -> Any:
        """Merge, and say that there is something to send to InfluxDB."""
        code, _ = yield self.desk.one_at_a_time.run(self.tierlab, "receive", str(self.file))
        if code != 0:
            return WARNINGS
        self.setProperty(_RECEIVED, "yes", "controller")
        self.master.mq.produce(TAKEN_UP, {})
        return SUCCESS


class ConfirmBundle(_OnHost):
    """Tells the host that all of it arrived."""

    name = "confirm"
    descriptionDone = "confirmed"

    @defer.inlineCallbacks
    def run(self) -> Any:
        """Confirm it; where that is lost, all of it comes once more, and changes nothing."""
        said = yield self.fleet("confirm", self.getProperty(BUNDLE))
        return WARNINGS if said is None else SUCCESS
