"""A command of tierlab in a process of its own, beside Twisted."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from buildbot.util.runprocess import run_process
from twisted.internet import defer, reactor

from harness.fleet.job_commands import RESULTS

if TYPE_CHECKING:
    from harness.fleet.buildbot.desk import Desk

# Merging a bundle of a whole night takes minutes; what takes longer than this hangs.
_MOST_SECONDS: Final = 3600


def command_of(words: tuple[str, ...], module: str) -> list[str]:
    """The command line."""
    return [sys.executable, "-m", module, *words]


@defer.inlineCallbacks
def run_tierlab(desk: Desk, *words: str, module: str = "harness.fleet") -> Any:
    """Run a command in the results of the lab; its exit code, standard output and error.

    The command ends by itself or after an hour. It runs in the folder of the master, with the
    master's environment, from which the secrets of the fleet were taken.
    """
    code, out, err = yield run_process(
        reactor,
        command_of(words, module),
        workdir=str(desk.folder),
        env={RESULTS: str(desk.fleet.controller.results)},
        io_timeout=None,
        runtime_timeout=_MOST_SECONDS,
    )
    return code, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")
