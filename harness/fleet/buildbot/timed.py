"""Schedulers by the clock that take up a new time at once."""

from __future__ import annotations

from typing import Any

from buildbot.schedulers.timed import Nightly, Periodic
from twisted.internet import defer


class Daily(Nightly):
    """A scheduler at a time of day.

    After a change of the configuration Buildbot 4.3 goes on waiting for the time of before; the new
    one would hold from the start after that.
    """

    @defer.inlineCallbacks
    def reconfigService(self, *words: Any, **named: Any) -> Any:
        """See `Nightly`; where it waits already, it waits anew."""
        yield super().reconfigService(*words, **named)
        if self.active:
            yield self.scheduleNextBuild()


class Every(Periodic):
    """A scheduler that comes again after a time; likewise."""

    @defer.inlineCallbacks
    def reconfigService(self, *words: Any, **named: Any) -> Any:
        """See `Periodic`; where it waits already, it waits anew."""
        yield super().reconfigService(*words, **named)
        if self.active:
            yield self.scheduleNextBuild()
