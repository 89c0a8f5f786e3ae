"""What Buildbot's own schedulers by the clock leave out."""

from __future__ import annotations

from typing import Any

import pytest
from buildbot.schedulers.base import ReconfigurableBaseScheduler
from twisted.internet import defer

from harness.fleet.buildbot.timed import Daily, Every


@pytest.mark.parametrize(
    ("scheduler", "before", "after"),
    [
        (Daily, {"hour": 2, "minute": 0}, {"hour": 19, "minute": 43}),
        (Every, {"periodicBuildTimer": 1800}, {"periodicBuildTimer": 60}),
    ],
)
@pytest.mark.parametrize("active", [True, False])
def test_a_new_time_holds_at_once(
    monkeypatch: pytest.MonkeyPatch,
    scheduler: Any,
    before: dict[str, int],
    after: dict[str, int],
    active: bool,
) -> None:
    monkeypatch.setattr(
        ReconfigurableBaseScheduler, "reconfigService", lambda *_, **__: defer.succeed(None)
    )
    monkeypatch.setattr(scheduler, "_stopConsumingChanges", lambda _: defer.succeed(None))
    one = scheduler(name="smoke", builderNames=["plan"], **before)
    one.active = active
    monkeypatch.setattr(scheduler, "master", _Master())
    waited: list[dict[str, int]] = []
    monkeypatch.setattr(
        one, "scheduleNextBuild", lambda: waited.append({n: getattr(one, n) for n in after})
    )
    done: list[object] = []
    one.reconfigService(builderNames=["plan"], **after).addBoth(done.append)
    assert done == [None]
    assert waited == ([after] if active else [])


class _Master:
    """As much of a master as a scheduler asks when it is told of a change."""

    class db:  # noqa: N801 - as Buildbot has it
        class schedulers:  # noqa: N801 - likewise
            @staticmethod
            def flushChangeClassifications(_: object) -> Any:  # noqa: N802 - likewise
                return defer.succeed(None)
