"""The load without a network: whether the page and the model are still there when it is cut.

It follows a good first load in the same browser, in a new page. The server refuses connections
meanwhile, so nothing can come from anywhere but the browser's own storage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from harness.evidence import Timeline
from harness.load import full_load
from harness.sources import find_source
from harness.verdict import judge
from results.record import OfflineLoad, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from harness.devices.base import Session
    from harness.load import Deadlines
    from harness.web.server import Server

# Enough to show that the model is whole; the speed was measured by the load before.
TOKENS: Final = 4


async def offline_load(
    session: Session,
    server: Server,
    *,
    url: str,
    job: dict[str, Any],
    deadlines: Deadlines,
    screenshot: Path,
    progress: Callable[[str], None],
    picks: Sequence[Path] = (),
) -> OfflineLoad:
    """Cut the network, open the page again, load and generate; then the network is back.

    What happens in it is no evidence about the load before: it has a timeline of its own, and the
    session's figures of memory must have been read before.

    Args:
        session: where the first load ended well, with `keepOffline` in its job.
        server: what is cut off.
        url: the trial page.
        job: the job of the first load.
        deadlines: how long the page may be silent.
        screenshot: where to draw the page at the end.
        progress: told in words what is going on.
        picks: the files that the user picks, for the source `file`.
    """
    source = find_source(job["source"]["kind"])
    if source.forgets:
        return OfflineLoad(worked=False, reason=f"{source.name}: {source.forgets}")
    timeline = Timeline()
    await session.renew(timeline)
    async with server.cut():
        log = await full_load(
            session,
            timeline,
            url=url,
            job={**job, "outputTokens": min(TOKENS, job["outputTokens"]), "warmLimitMs": 0},
            deadlines=deadlines,
            screenshot=screenshot,
            progress=lambda text: progress(f"offline: {text}"),
            picks=picks,
        )
    judged = judge(timeline.items)
    worked = judged.verdict is Verdict.OK
    if worked and source.picked:
        reason = f"{source.name}: with the files picked again; a page does not keep what was picked"
    elif worked:
        reason = f"{source.name}: page, engine and model were there"
    else:
        reason = f"{source.name}: {judged.verdict} ({judged.explanation})"
    return OfflineLoad(worked=worked, reason=reason, seconds=timeline.now(), tokens=len(log.tokens))
