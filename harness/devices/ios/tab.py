"""One page of Safari, through Appium: events are fetched, and a page that came back is noticed.

When iOS ends the page's process, Safari loads the page anew, once; after the second time it shows
"A problem repeatedly occurred". Either way the mark that the page was given is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from typing import TYPE_CHECKING, Any, Final

from harness.devices.appium.session import AppiumError, SessionLostError
from harness.devices.base import TabLostError
from harness.devices.ios import scripts
from results.record import Kind, Source

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pydantic import JsonValue

    from harness.devices.appium.session import AppiumSession
    from harness.devices.base import OnEvent
    from harness.evidence import Timeline

LOAD_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.25
# A page whose engine computes in it answers late. The deadlines of a trial tell its silence; this
# is what Appium itself is told (capability webviewAtomWaitTimeout), and a little.
ANSWER_SECONDS: Final = 290.0
# So many failed questions in a row are the end of a page.
_FAILURES: Final = 3
_PAUSE_SECONDS: Final = 0.1


class IosTab:
    """See `harness.devices.base.Tab`. Made by `open_page`.

    Args:
        session: in Safari.
        timeline: where the page's end goes.
        on_event: told what the page emits.
        mark: that the page was given.
    """

    def __init__(
        self, session: AppiumSession, timeline: Timeline, on_event: OnEvent, mark: str
    ) -> None:
        self._session = session
        self._timeline = timeline
        self._on_event = on_event
        self._mark = mark
        self._calls = 0
        self._polls: asyncio.Task[None] | None = None
        self.gone = False

    def start(self) -> None:
        """Begin to fetch events."""
        self._polls = asyncio.create_task(self._fetch())

    async def call(self, function: str, argument: JsonValue, *, within: float) -> JsonValue:
        """See `Tab.call`."""
        self._calls += 1
        number = self._calls
        try:
            async with asyncio.timeout(within):
                await self._session.script(
                    scripts.CALL, number, function, argument, within=ANSWER_SECONDS
                )
                while True:
                    answer = await self._session.script(
                        scripts.ANSWER, number, within=ANSWER_SECONDS
                    )
                    if answer is not None:
                        break
                    await asyncio.sleep(_PAUSE_SECONDS)
        except TimeoutError as error:
            raise TabLostError(f"{function} did not answer within {within} s") from error
        except AppiumError as error:
            raise TabLostError(f"{function}: {error}") from error
        found = _object(answer)
        if "value" not in found:
            raise TabLostError(f"{function}: {str(found.get('error', 'no answer'))[:4000]}")
        value: JsonValue = found["value"]
        return value

    async def set_files(self, selector: str, paths: Sequence[Path]) -> None:  # noqa: ARG002
        """See `Tab.set_files`: Safari's pickers are the system's, which no driver fills."""
        raise TabLostError("files cannot be picked in Safari on iOS: use another --source")

    async def screenshot(self, path: Path) -> bool:
        """See `Tab.screenshot`."""
        return not self.gone and await self._session.screenshot(path)

    async def close(self) -> None:
        """See `Tab.close`. The page itself is left to the next one, which takes its place."""
        if self._polls is not None:
            self._polls.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._polls
            self._polls = None

    async def _fetch(self) -> None:
        failures = 0
        while not self.gone:
            try:
                answer = await self._session.script(
                    scripts.TAKE, scripts.MOST_EVENTS, within=ANSWER_SECONDS
                )
            except SessionLostError as error:
                self._timeline.add(Source.DRIVER, Kind.TRANSPORT_LOST, message=str(error)[:400])
                return
            except AppiumError as error:
                failures += 1
                if failures == _FAILURES:
                    self._end(f"the page does not answer: {error}")
                    return
            else:
                failures = 0
                self._take(_object(answer))
            await asyncio.sleep(POLL_SECONDS)

    def _take(self, told: dict[str, Any]) -> None:
        if told.get("mark") != self._mark:
            self._end(f"Safari shows another page: {told.get('title', '')}")
            return
        events = told.get("told")
        for event in events if isinstance(events, list) else []:
            if isinstance(event, dict):
                self._on_event(event)

    def _end(self, words: str) -> None:
        # "gone": nobody saw how it ended; see `harness.case.STATUS_UNSEEN`.
        self.gone = True
        self._timeline.add(Source.DRIVER, Kind.RENDERER_GONE, status="gone", message=words[:400])


async def open_page(
    session: AppiumSession, url: str, timeline: Timeline, on_event: OnEvent
) -> IosTab:
    """Go to a page and listen to it.

    Raises:
        TabLostError: it cannot be opened, or is none of the harness's.
    """
    mark = secrets.token_hex(8)
    try:
        async with asyncio.timeout(LOAD_SECONDS):
            await session.open(url, within=LOAD_SECONDS)
            ready = False
            while not ready:
                ready = await session.script(scripts.LISTEN, mark, within=LOAD_SECONDS) is True
                await asyncio.sleep(0 if ready else _PAUSE_SECONDS)
    except TimeoutError as error:
        raise TabLostError(f"{url} was not ready within {LOAD_SECONDS:g} s") from error
    except AppiumError as error:
        raise TabLostError(f"{url} could not be opened: {error}") from error
    tab = IosTab(session, timeline, on_event, mark)
    tab.start()
    return tab


async def adopt_page(session: AppiumSession, timeline: Timeline) -> IosTab:
    """The page that stands where another one was; its events are not fetched.

    Raises:
        TabLostError: it does not answer.
    """
    mark = secrets.token_hex(8)
    try:
        ready = await session.script(scripts.LISTEN, mark, within=LOAD_SECONDS)
    except AppiumError as error:
        raise TabLostError(f"the page does not answer: {error}") from error
    if ready is not True:
        raise TabLostError("the page is not ready")
    return IosTab(session, timeline, lambda _: None, mark)


def _object(answer: JsonValue) -> dict[str, Any]:
    """The object in a page's answer; an empty one where there is none."""
    if not isinstance(answer, str) or len(answer) > scripts.MOST_CHARACTERS:
        return {}
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
