"""The full load: start the engine in the trial page, follow its events, keep the deadlines.

The page runs on its own. Everything it reports becomes evidence or a measurement; everything that
ends it (a death, an error, silence) ends the wait here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from harness.devices.base import TabLostError
from results.record import GpuUse, Kind, Phase, Source, StorageUse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from harness.devices.base import PageEvent, Session
    from harness.evidence import Timeline

START_SECONDS: Final = 30.0
# The file input of the trial page.
FILE_INPUT: Final = "#files"
# The phases in which a token is due.
GENERATING: Final = frozenset({"first-token", "decode", "warm"})
# The trial page cuts its texts to this; a page may be broken.
TEXT_CHARACTERS: Final = 4000


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long the page may be silent: until the engine stands, and then for each token."""

    load_seconds: float = 300.0
    token_seconds: float = 120.0

    def of(self, phase: str) -> float:
        """The deadline of a phase."""
        return self.token_seconds if phase in GENERATING else self.load_seconds


@dataclass(slots=True)
class LoadLog:
    """What the page reported, as far as it came."""

    phases: list[Phase] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    token_ms: list[float] = field(default_factory=list)
    first_batch: int = 0
    bytes_loaded: int = 0
    prompt_tokens: int | None = None
    warm_ms: float | None = None
    gpu: GpuUse | None = None
    storage: StorageUse | None = None

    def seconds(self, phase: str) -> float | None:
        """How long a finished phase took."""
        return next((p.wall_seconds for p in self.phases if p.name == phase), None)


class Follower:
    """Turns the events of one trial page into evidence and a log.

    Args:
        timeline: where evidence goes.
        cpu_seconds: reads the CPU time of the browser, at the boundary of phases.
        progress: told in words what is going on.
        source: who reports.
    """

    def __init__(
        self,
        timeline: Timeline,
        cpu_seconds: Callable[[], float | None],
        progress: Callable[[str], None],
        *,
        source: Source = Source.PAGE,
    ) -> None:
        self.log = LoadLog()
        self._source = source
        self.phase = "start"
        self._timeline = timeline
        self._cpu_seconds = cpu_seconds
        self._progress = progress
        self._phase_began: tuple[float, float | None] | None = None

    def on_event(self, event: PageEvent) -> None:
        """Take one event; unknown types and malformed events are evidence of a broken page.

        Never raises, whatever the page sends.
        """
        self._timeline.touch()
        try:
            self._handler(str(event["type"]))(event)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            self._timeline.add(
                Source.HARNESS,
                Kind.LAB_ERROR,
                message=f"malformed page event: {type(error).__name__}: {_text(error)}",
            )

    def _handler(self, name: str) -> Callable[[PageEvent], None]:
        found = getattr(self, f"_on_{name.replace('-', '_')}", None)
        if found is None:
            raise ValueError(f"unknown event {name!r}")
        handler: Callable[[PageEvent], None] = found
        return handler

    def _on_phase(self, event: PageEvent) -> None:
        name, at_ms = _text(event["name"]), _number(event["at_ms"])
        self._close_phase(at_ms)
        self.phase = name
        self._phase_began = (at_ms, self._cpu_seconds())
        self._timeline.add(self._source, Kind.PHASE, name=name)
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
        done, total = int(_number(event["done"])), int(_number(event["total"]))
        self.log.bytes_loaded = done
        self._progress(f"{self.phase}: {done >> 20} of {total >> 20} MiB")

    def _on_tokens(self, event: PageEvent) -> None:
        # Both are read before either is kept. An id of -1 is a token without a finite logit, or one
        # that the engine does not name. What came together shares the time since the last batch.
        tokens, ms = [int(token) for token in event["ids"]], _number(event["ms"])
        self.log.first_batch = self.log.first_batch or len(tokens)
        self.log.tokens += tokens
        self.log.token_ms += [ms / len(tokens) for _ in tokens]
        self._progress(f"token {len(self.log.tokens)}")

    def _on_prompt(self, event: PageEvent) -> None:
        self.log.prompt_tokens = int(_number(event["tokens"]))

    def _on_warm(self, event: PageEvent) -> None:
        self.log.warm_ms = _number(event["ms"])

    def _on_gpu(self, event: PageEvent) -> None:
        if event["pipelines"]:
            self.log.gpu = GpuUse(
                peak_bytes=int(_number(event["peak_bytes"])),
                pipelines=int(_number(event["pipelines"])),
                compile_seconds=_number(event["compile_ms"]) / 1000,
            )

    def _on_storage(self, event: PageEvent) -> None:
        def size(key: str) -> int | None:
            return None if event.get(key) is None else int(_number(event[key]))

        persisted = event.get("persisted")
        self.log.storage = StorageUse(
            quota_bytes=size("quota_bytes"),
            usage_before_bytes=size("usage_before_bytes"),
            usage_after_bytes=size("usage_after_bytes"),
            persisted=None if persisted is None else bool(persisted),
        )

    def _on_done(self, event: PageEvent) -> None:
        # An engine that gives only text does not show its logits: null, which is neither.
        tokens = int(event["tokens"])
        finite = None if event["finite"] is None else bool(event["finite"])
        if tokens != len(self.log.tokens):
            raise ValueError(f"done with {tokens} tokens, but {len(self.log.tokens)} came")
        self._close_phase(_number(event["at_ms"]))
        self._timeline.add(self._source, Kind.DONE, tokens=tokens, finite=finite)

    def _on_disposed(self, event: PageEvent) -> None:
        pass

    def _on_error(self, event: PageEvent) -> None:
        self._timeline.add(
            self._source,
            Kind.ENGINE_ERROR,
            name=_text(event["name"]),
            message=_text(event["message"]),
            stack=_text(event.get("stack", "")),
        )

    def _on_unsupported(self, event: PageEvent) -> None:
        self._timeline.add(self._source, Kind.UNSUPPORTED, reason=_text(event["reason"]))

    def _on_cpu_fallback(self, event: PageEvent) -> None:
        self._timeline.add(self._source, Kind.CPU_FALLBACK, message=_text(event["message"]))

    def _on_artifact_refused(self, event: PageEvent) -> None:
        self._timeline.add(self._source, Kind.ARTIFACT_REFUSED, message=_text(event["message"]))

    def _on_device_lost(self, event: PageEvent) -> None:
        self._timeline.add(
            self._source,
            Kind.DEVICE_LOST,
            reason=_text(event["reason"]),
            message=_text(event["message"]),
        )

    def _on_validation(self, event: PageEvent) -> None:
        self._timeline.add(self._source, Kind.VALIDATION, message=_text(event["message"]))


def _text(value: object) -> str:
    """What the page calls a text, at most `TEXT_CHARACTERS` of it."""
    return str(value)[:TEXT_CHARACTERS]


def _number(value: object) -> float:
    """What the page calls a time or a size.

    Raises:
        TypeError: it is no number.
        ValueError: it is negative or not finite.
    """
    if not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{value!r} is no time or size")
    return value


async def full_load(
    session: Session,
    timeline: Timeline,
    *,
    url: str,
    job: dict[str, Any],
    deadlines: Deadlines,
    screenshot: Path,
    progress: Callable[[str], None],
    picks: Sequence[Path] = (),
) -> LoadLog:
    """Load and generate; returns when the load is over, whatever ended it.

    The verdict is not given here: it follows from the timeline. `picks` are the files that the
    user picks before the start.
    """
    follower = Follower(timeline, session.cpu_seconds, progress)
    tab = None
    try:
        tab = await session.open_tab(url, follower.on_event)
        if picks:
            await tab.set_files(FILE_INPUT, picks)
        await tab.call("tierlabStart", job, within=START_SECONDS)
        await until_ended(timeline, follower, deadlines)
    except TabLostError as error:
        # The death that made the call fail may be reported a moment later.
        await session.settle()
        if timeline.ending is None:
            timeline.add(Source.HARNESS, Kind.LAB_ERROR, message=str(error))
    await session.settle()
    # Without its renderer or browser a page cannot be drawn, and asking may take seconds to fail.
    if tab is not None and not _page_is_gone(timeline):
        await tab.screenshot(screenshot)
    return follower.log


def _page_is_gone(timeline: Timeline) -> bool:
    gone = timeline.first(Kind.RENDERER_GONE, Kind.BROWSER_GONE)
    return gone is not None or _killed_for_memory(timeline)


def _killed_for_memory(timeline: Timeline) -> bool:
    """Whether the kernel killed for memory, and a process that the load needs ended with it.

    A renderer that ended before the kill is another one: the navigation to the page replaced it.
    """
    killed = timeline.first(Kind.OOM_KILL)
    return killed is not None and any(
        item.kind is Kind.PROCESS_EXIT
        and item.text("process") in {"renderer", "browser", "engine"}
        and item.at_seconds >= killed.at_seconds
        for item in timeline.items
    )


async def until_ended(timeline: Timeline, follower: Follower, deadlines: Deadlines) -> None:
    """Wait for the ending; silence beyond the deadline of the current phase is one."""
    while timeline.ending is None:
        if _killed_for_memory(timeline):
            return  # the kernel's word is enough; the driver's report would come up to 1 s later
        limit = deadlines.of(follower.phase)
        if not await timeline.changed(within=limit):
            timeline.add(
                Source.WATCHDOG, Kind.DEADLINE, phase=follower.phase, seconds=round(limit, 1)
            )
