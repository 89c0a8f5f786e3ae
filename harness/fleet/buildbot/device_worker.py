"""The master's side of a worker: one device, one job at a time."""

from __future__ import annotations

from typing import Any, ClassVar

from buildbot.worker import Worker
from twisted.internet import defer
from twisted.python import log

from harness.fleet.connection import cut_when_silent


class DeviceWorker(Worker):
    """A worker whose connection is cut when it is silent, and that rests when its device fails.

    Buildbot's `keepalive_interval` of a worker has no effect in 4.3, and its quarantine is over
    with the next build that succeeds, whatever that build was about. Here only a job that says
    something of the device ends it.
    """

    compare_attrs: ClassVar[list[str]] = ["lost_after", "quarantine_initial_timeout"]

    def checkConfig(
        self, name: str, password: str, *, lost_after: float, rest: float, **others: Any
    ) -> None:
        """See `Worker`.

        Args:
            name: of the device.
            password: what it shows.
            lost_after: seconds of silence that end a connection.
            rest: seconds without jobs after a fault; twice as long each time, up to an hour.
            others: as `Worker` has them.
        """
        super().checkConfig(name, password, **others)
        self.lost_after = lost_after
        self.quarantine_initial_timeout = self.quarantine_timeout = rest

    def reconfigService(
        self, name: str, password: str, *, lost_after: float, rest: float, **others: Any
    ) -> Any:
        """See `Worker` and `checkConfig`."""
        self.lost_after = lost_after
        self.quarantine_initial_timeout = rest
        return super().reconfigService(name, password, **others)

    def attached(self, conn: Any) -> Any:
        """Set the times of the connection, as soon as there is one."""
        try:
            cut_when_silent(conn.mind.broker.transport.getHandle(), self.lost_after)
        except (AttributeError, OSError) as error:
            log.err(error, f"{self.name}: its connection keeps the times of the system")
        return super().attached(conn)

    @defer.inlineCallbacks
    def detached(self) -> Any:
        """Let others have the jobs that waited for this one; see `tries.troubled`."""
        yield super().detached()
        if self.botmaster is not None:
            self.botmaster.maybeStartBuildsForAllBuilders()

    def resetQuarantine(self) -> None:
        """Do nothing: that a build succeeded says nothing of the device."""

    def is_well(self) -> None:
        """Begin with a short rest again, the next time: the device worked."""
        super().resetQuarantine()
