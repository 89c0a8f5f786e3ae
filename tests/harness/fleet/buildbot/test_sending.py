"""The sending to InfluxDB beside the jobs: one at a time, and again while something waits."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet import defer, task

from harness.fleet.buildbot import sending
from harness.fleet.buildbot.sending import TAKEN_UP, Sending

if TYPE_CHECKING:
    from collections.abc import Callable


class Master:
    """What the service sees of a master: a clock, and messages."""

    def __init__(self) -> None:
        self.reactor = task.Clock()
        self.mq = self
        self.listeners: list[Callable[..., Any]] = []

    def startConsuming(  # noqa: N802 - its name there
        self, listener: Callable[..., Any], key: tuple[str, ...]
    ) -> Any:
        assert key == TAKEN_UP
        self.listeners.append(listener)
        return defer.succeed(SimpleNamespace(stopConsuming=lambda: self.listeners.remove(listener)))

    def bundle(self) -> None:
        """A bundle is taken up."""
        for listener in self.listeners:
            listener(TAKEN_UP, {})


class Sends:
    """In place of `tierlab outbox send`: each runs until it is told how it ended."""

    def __init__(self) -> None:
        self.open: list[defer.Deferred[Any]] = []
        self.begun = 0

    def __call__(self, _: object, *words: str, module: str) -> defer.Deferred[Any]:
        assert (module, words[:4]) == ("harness.cli", ("outbox", "send", "--wait", "0"))
        self.begun += 1
        self.open.append(defer.Deferred())
        return self.open[-1]

    def end(self, code: int) -> None:
        self.open.pop().callback((code, "", "said"))


@pytest.fixture
def sends(monkeypatch: pytest.MonkeyPatch) -> Sends:
    one = Sends()
    monkeypatch.setattr(sending, "run_tierlab", one)
    return one


@pytest.fixture
def master() -> Master:
    return Master()


@pytest.fixture
def service(master: Master, sends: Sends) -> Sending:
    controller = SimpleNamespace(results="results")
    one = Sending(desk=SimpleNamespace(fleet=SimpleNamespace(controller=controller)))
    one.checkConfig(one._config_kwargs["desk"])
    one.parent = SimpleNamespace(master=master)
    one.startService()
    assert sends.begun == 1  # what waited when the master started
    return one


@pytest.mark.usefixtures("service")
def test_what_comes_meanwhile_is_sent_after_it_and_once(master: Master, sends: Sends) -> None:
    master.bundle()
    master.bundle()
    assert sends.begun == 1
    sends.end(0)
    assert sends.begun == 2
    sends.end(0)
    master.reactor.advance(3600)
    assert sends.begun == 2
    master.bundle()
    assert sends.begun == 3


@pytest.mark.usefixtures("service")
def test_what_waits_is_tried_again_each_minute(master: Master, sends: Sends) -> None:
    sends.end(1)
    master.reactor.advance(59)
    assert sends.begun == 1
    master.reactor.advance(1)
    assert sends.begun == 2
    # A bundle does not wait for the minute, and takes its place.
    sends.end(1)
    master.bundle()
    assert sends.begun == 3
    sends.end(0)
    assert not master.reactor.getDelayedCalls()


@pytest.mark.usefixtures("service")
def test_a_command_that_cannot_be_run_ends_nothing(master: Master, sends: Sends) -> None:
    sends.open.pop().errback(OSError("no more processes"))
    master.reactor.advance(60)
    assert sends.begun == 2


def test_a_master_that_stops_begins_nothing_more(
    service: Sending, master: Master, sends: Sends
) -> None:
    sends.end(1)
    service.stopService()
    assert not master.listeners
    assert not master.reactor.getDelayedCalls()
    assert sends.begun == 1


def test_a_send_that_outlives_its_master_is_not_followed_by_another(
    service: Sending, master: Master, sends: Sends
) -> None:
    master.bundle()
    service.stopService()
    sends.end(1)
    assert sends.begun == 1
    assert not master.reactor.getDelayedCalls()
