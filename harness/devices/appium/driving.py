"""A user's hands on one native app: to the model, the prompt, and the output as it grows.

Everything that happens goes to the timeline; whatever ends the run (a failure that the app shows, a
death that the watch sees, silence) ends the wait here. What is judged is told by the timeline.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from harness.devices.appium.figures import read_count, read_figures
from harness.devices.appium.selectors import fill
from harness.devices.appium.session import AppiumError, SessionLostError
from results.record import Kind, Phase, Source

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from harness.devices.appium.app import App, AppModel, FigureName, Part, Step
    from harness.devices.appium.selectors import Selector
    from harness.evidence import Timeline

POLL_SECONDS: Final = 0.25
# Figures are often shown a moment after the output has ended.
FIGURES_SECONDS: Final = 5.0
# An app whose sign of work was never seen may have been faster than the polls.
UNSEEN_QUIET_SECONDS: Final = 3.0
LONGEST_OUTPUT: Final = 20_000
_SHOWN: Final = 400

_KINDS: Final = {
    "engine-error": Kind.ENGINE_ERROR,
    "out-of-memory": Kind.ENGINE_ERROR,
    "unsupported": Kind.UNSUPPORTED,
    "lab-error": Kind.LAB_ERROR,
}


class Screen(Protocol):
    """What the screen of an app can be asked; see `AppiumSession`."""

    async def texts(self, selector: Selector) -> list[str]:
        """The texts of all elements that the selector finds."""

    async def text(self, selector: Selector) -> str | None:
        """The text of the element, `None` where it is not there."""

    async def shows(self, selector: Selector) -> bool:
        """Whether the element is there, in the state that the selector names."""

    async def tap(self, selector: Selector) -> bool:
        """Tap the element; whether it was there."""

    async def type(self, selector: Selector, text: str) -> bool:
        """Put a text into a field; whether it was there."""

    async def scroll_to(self, selector: Selector) -> None:
        """Scroll until the element is shown."""


@dataclass(frozen=True, slots=True)
class Glimpse:
    """What was seen of the output at one moment; `count` is the app's own number of tokens."""

    at_seconds: float
    characters: int
    count: int | None


@dataclass(slots=True)
class AppLog:
    """What was seen, as far as it came. Times are those of the timeline."""

    phases: list[Phase] = field(default_factory=list)
    output: str = ""
    glimpses: list[Glimpse] = field(default_factory=list)
    figures: dict[FigureName, float] = field(default_factory=dict)
    sent_at: float | None = None
    first_at: float | None = None

    def seconds(self, phase: str) -> float | None:
        """How long a finished phase took."""
        return next((p.wall_seconds for p in self.phases if p.name == phase), None)


class _EndedError(Exception):
    """The timeline has its ending: nothing is left to do."""


class Driver:
    """Drives one app once.

    Args:
        screen: the app's.
        app: its description.
        timeline: where everything goes.
        progress: told in words what is going on.
        poll_seconds: between two looks at the screen.
    """

    def __init__(
        self,
        screen: Screen,
        app: App,
        timeline: Timeline,
        progress: Callable[[str], None] = lambda _: None,
        *,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self.log = AppLog()
        self._screen = screen
        self._app = app
        self._timeline = timeline
        self._progress = progress
        self._poll_seconds = poll_seconds
        self._before = ""
        self._phase = ""
        self._phase_began = 0.0

    async def run(self, model: AppModel, prompt: str) -> AppLog:
        """Load the model, ask, and follow the output to its end, whatever that is."""
        values = {"model": model.label, "prompt": prompt}
        try:
            await self._part("create", self._app.load, values)
            self._before = await self._output()
            await self._part("first-token", self._app.ask, values)
            await self._follow()
        except _EndedError:
            pass
        except AppiumError as error:
            # The death that made the command fail may be reported a moment later.
            await self._timeline.changed(within=1.0)
            if self._timeline.ending is None:
                gone = "is gone" if isinstance(error, SessionLostError) else "failed"
                self._lab_error(f"Appium's session {gone}: {error}")
        return self.log

    async def _part(self, phase: str, part: Part, values: dict[str, str]) -> None:
        self._begin(phase)
        for step in part.steps:
            await self._step(step, values)
        if part.ready is not None:
            ready = part.ready.filled(values)
            if not await self._until(lambda: self._screen.shows(ready), part.seconds):
                self._silence(phase, part.seconds, f"{ready} is not shown")

    async def _step(self, step: Step, values: dict[str, str]) -> None:
        selector = step.selector.filled(values)
        text = fill(step.text or "", values)
        if step.scroll and not await self._screen.shows(selector):
            await self._screen.scroll_to(selector)

        async def act() -> bool:
            # Just before the last step of asking: a tap may take a while to return.
            self.log.sent_at = self._timeline.now()
            match step.action:
                case "tap":
                    return await self._screen.tap(selector)
                case "type":
                    return await self._screen.type(selector, text)
                case "wait":
                    return await self._screen.shows(selector)

        if not await self._until(act, step.within) and not step.optional:
            self._lab_error(
                f"{self._app.name} does not show {selector} within {step.within:g} s"
                f" (to {step.action})" + self._doubt()
            )
            raise _EndedError

    async def _follow(self) -> None:
        """Look at the output until it has ended."""
        output, began, changed = self._app.output, self._timeline.now(), self._timeline.now()
        ran = False
        while True:
            grew = await self._look()
            now = self._timeline.now()
            if grew:
                changed = now
            running = output.running is not None and await self._screen.shows(output.running)
            ran = ran or running
            quiet = now - changed
            still = bool(self.log.output) and not grew and not running
            if still and await self._is_over(ran=ran, quiet=quiet):
                await self._finish()
                return
            await self._check_failures()
            limit = output.token_seconds if self.log.output else output.first_seconds
            if quiet > limit or now - began > output.seconds:
                self._silence(self._phase, min(limit, output.seconds), "the output stands still")
            await self._pause()

    async def _look(self) -> bool:
        """Take a glimpse of the output; whether it changed."""
        output, text, count = self._app.output, await self._output(), None
        if text == self._before and not self.log.output:
            text = ""  # what an earlier prompt left
        if output.count is not None:
            count = read_count(output.count, await self._screen.text(output.count.find))
        at = self._timeline.now()
        grew = text != self.log.output
        if grew:
            self._timeline.touch()
            if text and self.log.first_at is None:
                self.log.first_at = at
                self._begin("decode")
            self.log.output = text
            self._progress(f"{len(text)} characters")
        if text:
            self.log.glimpses.append(Glimpse(at, len(text), count))
        return grew

    async def _output(self) -> str:
        find = self._app.output.find
        texts = await self._screen.texts(find)
        return ((texts[-1] if find.last else texts[0]) if texts else "")[:LONGEST_OUTPUT]

    async def _is_over(self, *, ran: bool, quiet: float) -> bool:
        output = self._app.output
        if output.quiet_seconds is not None and quiet >= output.quiet_seconds:
            return True
        if output.finished is not None and await self._screen.shows(output.finished):
            return True
        if output.running is None:
            return False
        return ran or quiet >= UNSEEN_QUIET_SECONDS

    async def _finish(self) -> None:
        """Read the figures, and say how many tokens came out."""
        self._close_phase()
        ended = self._timeline.now()
        wanted = {figure.name for figure in self._app.figures}
        deadline = self._timeline.now() + FIGURES_SECONDS
        while True:
            texts = {
                place: await self._screen.texts(figure.find)
                for place, figure in enumerate(self._app.figures)
            }
            self.log.figures = read_figures(self._app.figures, texts)
            if set(self.log.figures) == wanted or self._timeline.now() > deadline:
                break
            await self._pause()
        tokens, counted_by = self._tokens()
        self._timeline.add(
            Source.DRIVER,
            Kind.DONE,
            tokens=tokens,
            finite=None,
            counted_by=counted_by,
            output_ended=round(ended, 3),
        )

    def _tokens(self) -> tuple[int, str]:
        """How many tokens came out, and who says so; words are a lower bound."""
        if (told := self.log.figures.get("output_tokens")) is not None:
            return int(told), "app"
        counts = [g.count for g in self.log.glimpses if g.count is not None]
        if counts and (counted := self._counted(counts)):
            return counted, "app's running count"
        return len(self.log.output.split()), "words"

    def _counted(self, counts: Sequence[int]) -> int:
        up = self._app.output.count is not None and self._app.output.count.counts == "up"
        return counts[-1] if up else max(counts) - min(counts)

    async def _check_failures(self) -> None:
        for failure in self._app.failures:
            for text in await self._screen.texts(failure.find):
                if not failure.says(text):
                    continue
                shown, kind = text[:_SHOWN], _KINDS[failure.means]
                if kind is Kind.ENGINE_ERROR:
                    name = "out of memory" if failure.means == "out-of-memory" else "app"
                    self._timeline.add(Source.DRIVER, kind, name=name, message=shown)
                elif kind is Kind.UNSUPPORTED:
                    self._timeline.add(Source.DRIVER, kind, reason=shown)
                else:
                    self._timeline.add(Source.DRIVER, kind, message=shown)
                raise _EndedError

    async def _until(self, condition: Callable[[], Awaitable[bool]], seconds: float) -> bool:
        """Ask until it holds; False at the deadline."""
        deadline = self._timeline.now() + seconds
        while True:
            if await condition():
                return True
            await self._check_failures()
            if self._timeline.now() > deadline:
                return False
            await self._pause()

    async def _pause(self) -> None:
        """Wait for the next look; not past the end of everything."""
        if self._timeline.ending is None:
            await asyncio.sleep(self._poll_seconds)
        if self._timeline.ending is not None:
            raise _EndedError

    def _begin(self, phase: str) -> None:
        self._close_phase()
        self._phase, self._phase_began = phase, self._timeline.now()
        self._timeline.add(Source.DRIVER, Kind.PHASE, name=phase)
        self._progress(phase)

    def _close_phase(self) -> None:
        if self._phase:
            wall = max(0.0, self._timeline.now() - self._phase_began)
            self.log.phases.append(Phase(name=self._phase, wall_seconds=round(wall, 4)))
        self._phase = ""

    def _silence(self, phase: str, seconds: float, what: str) -> None:
        """Nothing more came. Where the description was never seen to work, that is no verdict."""
        if self._app.unverified:
            self._lab_error(f"{what} after {seconds:g} s of {phase}{self._doubt()}")
        else:
            self._timeline.add(
                Source.WATCHDOG, Kind.DEADLINE, phase=phase, seconds=round(seconds, 1)
            )
        raise _EndedError

    def _lab_error(self, message: str) -> None:
        self._timeline.add(Source.HARNESS, Kind.LAB_ERROR, message=message)

    def _doubt(self) -> str:
        if not self._app.unverified:
            return ""
        return f"; not verified on a phone: {', '.join(self._app.unverified)}"
