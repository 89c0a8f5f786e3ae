"""Steps that run on the master: a `tierlab` command in a process of its own, and what it said."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Any, Final

from buildbot.process.buildstep import BuildStep
from buildbot.util.runprocess import run_process
from twisted.internet import defer, reactor

if TYPE_CHECKING:
    from harness.fleet.buildbot.desk import Desk

# How a host is told to run one of the commands of `harness.fleet.job_commands`: its worker puts the
# folder of its own Python first.
FLEET: Final = ("python", "-m", "harness.fleet")

# Merging a bundle of a whole night takes minutes; what takes longer than this hangs.
_COMMAND_SECONDS: Final = 3600


class MasterStep(BuildStep):
    """A step that calls `tierlab`. `desk` is the master's."""

    def __init__(self, desk: Desk, **rest: Any) -> None:
        super().__init__(**rest)
        self.desk = desk

    @defer.inlineCallbacks
    def tierlab(self, *words: str, module: str = "harness.fleet") -> Any:
        """Run a command of tierlab in the results of the lab; its exit code and standard output.

        The command ends by itself or after an hour. It runs in the folder of the master, with the
        master's environment, from which the secrets of the fleet were taken.
        """
        command = [sys.executable, "-m", module, *words]
        log = yield self._stdio()
        yield log.addHeader(f"$ {shlex.join(command)[:2000]}\n")
        code, out, err = yield run_process(
            reactor,
            command,
            workdir=str(self.desk.folder),
            env={"TIERLAB_RESULTS": str(self.desk.fleet.controller.results)},
            io_timeout=None,
            runtime_timeout=_COMMAND_SECONDS,
        )
        said = out.decode("utf-8", "replace")
        yield log.addStdout(said)
        yield log.addStderr(err.decode("utf-8", "replace"))
        yield log.addHeader(f"exit code {code}\n")
        return code, said

    @defer.inlineCallbacks
    def _stdio(self) -> Any:
        try:
            log = self.getLog("stdio")
        except KeyError:
            log = yield self.addLog("stdio")
        return log

    def say(self, text: str) -> None:
        """Say in a few words what came out; shown beside the step and the build."""
        self.descriptionDone = text
        self.updateSummary()
