"""What the steps and services of a master share: the lab, its journal, the tries of its jobs."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Final, Self

from twisted.internet import defer

from harness.fleet.journal_file import JournalFile
from harness.fleet.loading import load_fleet
from harness.fleet.master_folder import SPOOL
from harness.fleet.tries import TriesBook
from results.influx.settings import URL as INFLUX_URL

if TYPE_CHECKING:
    from pathlib import Path

    from harness.fleet.config import Fleet
    from results.fleet.events import Event

SNAPSHOT: Final = "fleet.json"
PROGRAM: Final = "buildbot"

# Longer than any job waits.
_REMEMBERED: Final = timedelta(days=30)


@cache
def shared(results: Path) -> tuple[TriesBook, defer.DeferredLock]:
    """What one process has once: steps of before a `buildbot reconfig` and after it share it."""
    return TriesBook(JournalFile(results, PROGRAM).since(_REMEMBERED)), defer.DeferredLock()


@dataclass(repr=False)
class Desk:
    """One master's desk. Buildbot writes its steps into the log, and this is part of many.

    Attributes:
        folder: the folder of the master.
        fleet: the lab.
        journal: where events go.
        tries: what came of the jobs so far, by the journal.
        one_at_a_time: held by who writes to the store of the lab.
        influx: whether records are sent to an InfluxDB.
        host: the name of the machine.
    """

    folder: Path
    fleet: Fleet
    journal: JournalFile
    tries: TriesBook
    one_at_a_time: defer.DeferredLock
    influx: bool = False
    host: str = field(default_factory=platform.node)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The desk of a master's folder.

        Raises:
            UserError: the folder has no lab, or a broken one.
        """
        fleet = load_fleet(folder / SNAPSHOT)
        journal = JournalFile(fleet.controller.results, PROGRAM)
        tries, one_at_a_time = shared(fleet.controller.results)
        influx = bool(os.environ.get(INFLUX_URL))
        return cls(folder, fleet, journal, tries, one_at_a_time, influx=influx)

    @property
    def spool(self) -> Path:
        """Where bundles of hosts arrive."""
        return self.folder / SPOOL

    def write(self, event: Event) -> None:
        """Add an event to the journal; on disk when this returns.

        Raises:
            OSError: it cannot be written.
        """
        self.journal.append(event)
        self.tries.note(event)
