"""The full load of an engine outside of a browser: the same events, deadlines and evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.load import Follower, until_ended
from results.record import Kind, Source

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.devices.base import Child
    from harness.evidence import Timeline
    from harness.load import Deadlines, LoadLog


async def native_load(
    child: Child,
    timeline: Timeline,
    *,
    module: str,
    job: dict[str, Any],
    deadlines: Deadlines,
    progress: Callable[[str], None],
) -> LoadLog:
    """Load and generate in a process; returns when the load is over, whatever ended it.

    A process that is silent or stuck is ended when `child` is closed. The verdict is not given
    here: it follows from the timeline.
    """
    follower = Follower(timeline, child.cpu_seconds, progress, source=Source.ENGINE)
    try:
        await child.start(module, job, follower.on_event)
    except OSError as error:
        message = f"the engine's process could not be started: {error}"
        timeline.add(Source.HARNESS, Kind.LAB_ERROR, message=message)
    await until_ended(timeline, follower, deadlines)
    await child.settle()
    return follower.log
