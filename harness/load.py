"""The full load: start the engine in the trial page, follow its events, keep the deadlines.

The page runs on its own. Everything it reports becomes evidence or a measurement; everything that
ends it (a death, an error, silence) ends the wait here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from harness.devices.base import TabLostError
from results.record import Kind, Phase, Source

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.devices.base import PageEvent, Session
    from harness.evidence import Timeline

START_SECONDS: Final = 30.0
# A kill for memory that hit a process the load does not need may pass; this long it may be silent.
AFTER_KILL_SECONDS: Final = 2.0
# A process may be missed before the counter that explains it is read. A renderer that ended long
# before is another one: a navigation may change processes.
BEFORE_KILL_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long the page may be silent: until the engine stands, and then for each token."""

    load_seconds: float = 300.0
    token_seconds: float = 120.0

    def of(self, phase: str) -> float:
        """The deadline of a phase."""
        return self.token_seconds if phase in {"first-token", "decode"} else self.load_seconds


@dataclass(slots=True)
class LoadLog:
    """What the page reported, as far as it came."""

    phases: list[Phase] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    token_ms: list[float] = field(default_factory=list)
    bytes_loaded: int = 0

    def seconds(self, phase: str) -> float | None:
        """How long a finished phase took."""
        return next((p.wall_seconds for p in self.phases if p.name == phase), None)


class Follower:
    """Turns the events of one trial page into evidence and a log.

    Args:
        timeline: where evidence goes.
        cpu_seconds: reads the CPU time of the browser, at the boundary of phases.
        progress: told in words what is going on.
    """

    def __init__(
        self,
        timeline: Timeline,
        cpu_seconds: Callable[[], float | None],
        progress: Callable[[str], None],
    ) -> None:
        self.log = LoadLog()
        self.phase = "start"
        self._timeline = timeline
        self._cpu_seconds = cpu_seconds
        self._progress = progress
        self._phase_began: tuple[float, float | None] | None = None

    def on_event(self, event: PageEvent) -> None:
        """Take one event; unknown types and malformed events are evidence of a broken page."""
        self._timeline.touch()
        handler = getattr(self, f"_on_{str(event.get('type', '')).replace('-', '_')}", None)
        try:
            if handler is None:
                raise ValueError(f"unknown event {event.get('type')!r}")
            handler(event)
        except (KeyError, TypeError, ValueError) as error:
            self._timeline.add(
                Source.HARNESS, Kind.LAB_ERROR, message=f"malformed page event: {error}"
            )

    def _on_phase(self, event: PageEvent) -> None:
        name, at_ms = str(event["name"]), float(event["at_ms"])
        self._close_phase(at_ms)
        self.phase = name
        self._phase_began = (at_ms, self._cpu_seconds())
        self._timeline.add(Source.PAGE, Kind.PHASE, name=name)
        self._progress(name)

    def _close_phase(self, at_ms: float) -> None:
        if self._phase_began is None:
            return
        began_ms, began_cpu = self._phase_began
        cpu = self._cpu_seconds()
        used = cpu - began_cpu if cpu is not None and began_cpu is not None else None
        self.log.phases.append(
            Phase(
                name=self.phase,
                wall_seconds=max(0.0, (at_ms - began_ms) / 1000),
                cpu_seconds=None if used is None else round(used, 3),
            )
        )
        self._phase_began = None

    def _on_progress(self, event: PageEvent) -> None:
        done, total = int(event["done"]), int(event["total"])
        self.log.bytes_loaded = done
        self._progress(f"{self.phase}: {done >> 20} of {total >> 20} MiB")

    def _on_token(self, event: PageEvent) -> None:
        self.log.tokens.append(int(event["id"]))
        self.log.token_ms.append(float(event["ms"]))
        self._progress(f"token {len(self.log.tokens)}")

    def _on_done(self, event: PageEvent) -> None:
        self._close_phase(float(event["at_ms"]))
        self._timeline.add(
            Source.PAGE, Kind.DONE, tokens=int(event["tokens"]), finite=bool(event["finite"])
        )

    def _on_disposed(self, event: PageEvent) -> None:
        pass

    def _on_error(self, event: PageEvent) -> None:
        self._timeline.add(
            Source.PAGE,
            Kind.ENGINE_ERROR,
            name=str(event["name"]),
            message=str(event["message"]),
            stack=str(event.get("stack", "")),
        )

    def _on_unsupported(self, event: PageEvent) -> None:
        self._timeline.add(Source.PAGE, Kind.UNSUPPORTED, reason=str(event["reason"]))

    def _on_device_lost(self, event: PageEvent) -> None:
        self._timeline.add(
            Source.PAGE,
            Kind.DEVICE_LOST,
            reason=str(event["reason"]),
            message=str(event["message"]),
        )

    def _on_validation(self, event: PageEvent) -> None:
        self._timeline.add(Source.PAGE, Kind.VALIDATION, message=str(event["message"]))


async def full_load(
    session: Session,
    timeline: Timeline,
    *,
    url: str,
    job: dict[str, Any],
    deadlines: Deadlines,
    screenshot: Path,
    progress: Callable[[str], None],
) -> LoadLog:
    """Load and generate; returns when the load is over, whatever ended it.

    The verdict is not given here: it follows from the timeline.
    """
    follower = Follower(timeline, session.cpu_seconds, progress)
    tab = None
    try:
        tab = await session.open_tab(url, follower.on_event)
        await tab.call("tierlabStart", job, within=START_SECONDS)
        await _until_ended(timeline, follower, deadlines)
    except TabLostError as error:
        # The death that made the call fail may be reported a moment later.
        await session.settle()
        if timeline.ending is None:
            timeline.add(Source.HARNESS, Kind.LAB_ERROR, message=str(error))
    await session.settle()
    if tab is not None:
        await tab.screenshot(screenshot)
    return follower.log


async def _until_ended(timeline: Timeline, follower: Follower, deadlines: Deadlines) -> None:
    """Wait for the ending; silence beyond the deadline of the current phase is one."""
    while timeline.ending is None:
        killed = timeline.first(Kind.OOM_KILL)
        if killed and any(
            item.kind is Kind.PROCESS_EXIT
            and item.text("process") in {"renderer", "browser"}
            and item.at_seconds >= killed.at_seconds - BEFORE_KILL_SECONDS
            for item in timeline.items
        ):
            return  # the kernel's word is enough; the driver's report would come up to 1 s later
        limit = AFTER_KILL_SECONDS if killed else deadlines.of(follower.phase)
        if not await timeline.changed(within=limit):
            timeline.add(
                Source.WATCHDOG, Kind.DEADLINE, phase=follower.phase, seconds=round(limit, 1)
            )
