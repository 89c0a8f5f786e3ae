"""The worker's process: Buildbot's worker without its file of settings, in the foreground."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from buildbot_worker.bot import Worker
from twisted.application.service import MultiService
from twisted.internet import reactor
from twisted.python import log

from harness.fleet.connection import cut_when_silent

if TYPE_CHECKING:
    from harness.fleet.worker import WorkerSettings

# Between two tries to reach the master, at most; Buildbot begins with seconds.
_MOST_DELAY_SECONDS: Final = 60


def host_worker(settings: WorkerSettings) -> Worker:
    """Buildbot's worker with these settings, whose connection ends when the master is silent."""
    worker = Worker(
        settings.host,
        settings.port,
        settings.name,
        settings.password,
        str(settings.base),
        keepalive=max(1, round(settings.lost_after / 3)),
        maxdelay=_MOST_DELAY_SECONDS,
        allow_shutdown="signal",
        umask=0o077,
    )
    connected = worker.bf.clientConnectionMade

    def with_times(broker: Any) -> None:
        cut_when_silent(broker.transport.getHandle(), settings.lost_after)
        connected(broker)

    # The hook of Twisted's factory for a connection that stands; it is called before the login.
    worker.bf.clientConnectionMade = with_times
    return worker


def run(settings: WorkerSettings) -> int:
    """Run until SIGTERM or Ctrl-C, which end the job as well; SIGHUP: after the job."""
    log.startLogging(sys.stderr, setStdout=False)
    service: MultiService = MultiService()
    worker = host_worker(settings)
    worker.setServiceParent(service)
    service.privilegedStartService()
    service.startService()
    # The reactor is a module that stands for an object, which types do not see.
    loop: Any = reactor
    loop.addSystemEventTrigger("before", "shutdown", service.stopService)
    loop.run()
    return 0
