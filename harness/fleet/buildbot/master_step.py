"""Steps that run on the master: a `tierlab` command in a process of its own, and what it said."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Final

from buildbot.process.buildstep import BuildStep
from twisted.internet import defer
from twisted.python import log

from harness.fleet.buildbot.command import command_of, run_tierlab

if TYPE_CHECKING:
    from harness.fleet.buildbot.desk import Desk
    from results.fleet.events import Event

# How a host is told to run one of the commands of `harness.fleet.job_commands`: its worker puts the
# folder of its own Python first.
FLEET: Final = ("python", "-m", "harness.fleet")


class MasterStep(BuildStep):
    """A step that calls `tierlab`. `desk` is the master's."""

    def __init__(self, desk: Desk, **rest: Any) -> None:
        super().__init__(**rest)
        self.desk = desk

    @defer.inlineCallbacks
    def tierlab(self, *words: str, module: str = "harness.fleet") -> Any:
        """Run a command of tierlab, and log it; its exit code and standard output."""
        stdio = yield self._stdio()
        yield stdio.addHeader(f"$ {shlex.join(command_of(words, module))[:2000]}\n")
        code, out, err = yield run_tierlab(self.desk, *words, module=module)
        yield stdio.addStdout(out)
        yield stdio.addStderr(err)
        yield stdio.addHeader(f"exit code {code}\n")
        return code, out

    @defer.inlineCallbacks
    def _stdio(self) -> Any:
        try:
            stdio = self.getLog("stdio")
        except KeyError:
            stdio = yield self.addLog("stdio")
        return stdio

    def note(self, event: Event) -> bool:
        """Write an event into the journal; where that cannot be, the worker rests, and `False`.

        Nothing may follow from what is not in the journal: the step then ends with `RETRY`.
        """
        try:
            self.desk.write(event)
        except OSError as error:
            log.err(error, "the journal cannot be written")
            self.say(f"the journal cannot be written: {error.strerror}; again")
            self.rest()
            return False
        return True

    def rest(self) -> None:
        """Let the worker rest, so that the next try goes elsewhere, or comes later."""
        worker = self.build.workerforbuilder.worker
        if worker is not None:
            worker.putInQuarantine()

    def say(self, text: str) -> None:
        """Say in a few words what came out; shown beside the step and the build."""
        self.descriptionDone = text
        self.updateSummary()
