"""What hosts handed over goes to InfluxDB beside the jobs: no device waits for a dead InfluxDB."""

from __future__ import annotations

from typing import Any, Final

from twisted.internet import defer
from twisted.python import log

from harness.fleet.buildbot.command import run_tierlab
from harness.fleet.buildbot.desk_service import DeskService

TAKEN_UP: Final = ("tierlab", "bundle", "taken-up")
"""The message that something new is in the store."""

_AGAIN_SECONDS: Final = 60.0


class Sending(DeskService):
    """Runs `tierlab outbox send` when a bundle was taken up, one at a time.

    While something waits it tries again each minute; what it says is in the log of the master.
    """

    name = "tierlab-influxdb"

    @defer.inlineCallbacks
    def startService(self) -> Any:
        """Send what waits, and begin to listen."""
        yield super().startService()
        self._wanted = self._sending = False
        self._again: Any = None
        self._consumer = yield self.master.mq.startConsuming(self._send, TAKEN_UP)
        self._send()

    @defer.inlineCallbacks
    def stopService(self) -> Any:
        """Begin nothing more; a send that goes on makes one try, and ends by itself."""
        yield self._consumer.stopConsuming()
        self._forget()
        yield super().stopService()

    def _forget(self) -> None:
        if self._again is not None and self._again.active():
            self._again.cancel()

    @defer.inlineCallbacks
    def _send(self, *_: Any) -> Any:
        self._wanted = True
        if self._sending:
            return
        self._sending = True
        self._forget()
        code = 0
        try:
            while self._wanted and self.running:
                self._wanted = False
                results = str(self.desk.fleet.controller.results)
                words = ("outbox", "send", "--wait", "0", "--results", results)
                code, out, err = yield run_tierlab(self.desk, *words, module="harness.cli")
                log.msg(f"outbox send: exit code {code}: {' '.join((out + err).split())}")
        except Exception:  # noqa: BLE001 - whatever it is, it must not end the sending for good
            log.err(None, "outbox send cannot be run")
            code = 1
        finally:
            self._sending = False
        if code != 0 and self.running:
            self._again = self.master.reactor.callLater(_AGAIN_SECONDS, self._send)
