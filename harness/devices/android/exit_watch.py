"""The exit records of one trial: what is new since it began, each told to the timeline once."""

from __future__ import annotations

import shlex
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from harness.devices.android.adb import CommandError, CommandTimeoutError, TransportLostError
from harness.devices.android.evidence import read_exit_record
from harness.devices.android.exit_info import ExitRecord, answers, new_records, parse_exit_info
from results.record import Kind, Source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.devices.android.adb import Phone
    from harness.evidence import Timeline

_SECONDS: Final = 5.0
_DATE: Final = "date '+%Y-%m-%d %H:%M:%S'"
# Printed to the second, read over adb: the phone's clock is known no better.
_CLOCK_ERROR: Final = timedelta(seconds=1)


class ExitWatch:
    """Reads the exit records of a browser's processes.

    Args:
        phone: where it runs.
        packages: of the browser; see `role_of`.
    """

    def __init__(self, phone: Phone, packages: Sequence[str]) -> None:
        self._phone = phone
        self._packages = packages
        self._before: list[ExitRecord] = []
        self._told: set[tuple[str, int, int]] = set()
        self._clock: tuple[datetime, float] | None = None
        #: Whether the phone keeps such records at all: Android 11 and newer do.
        self.kept = False

    async def start(self, timeline: Timeline) -> None:
        """Note what there is already, and the phone's clock. Never raises."""
        now = _time(await self._said(_DATE))
        self._clock = None if now is None else (now, timeline.now())
        dump = await self._dump()
        self.kept, self._before = answers(dump), parse_exit_info(dump)

    async def read(self, timeline: Timeline) -> None:
        """Tell the timeline what is new. Never raises."""
        for record in new_records(self._before, parse_exit_info(await self._dump())):
            key = (record.timestamp, record.pid, record.reason)
            said = read_exit_record(record, self._packages)
            if key in self._told or said is None:
                continue
            self._told.add(key)
            kind, detail = said
            before = self._before_loss(record, timeline)
            more = {} if before is None else {"before_loss": before}
            timeline.add(Source.EXIT_INFO, kind, **detail, **more)

    def _before_loss(self, record: ExitRecord, timeline: Timeline) -> bool | None:
        """Whether a process ended before the phone was lost, by the phone's clock.

        `None` where the phone was not lost.
        """
        lost = timeline.first(Kind.TRANSPORT_LOST)
        if lost is None:
            return None
        ended = _time(record.timestamp)
        if ended is None or self._clock is None:
            return False
        then, at = self._clock
        loss = then + timedelta(seconds=lost.at_seconds - at)
        return then <= ended < loss - _CLOCK_ERROR

    async def _dump(self) -> str:
        return await self._said(f"dumpsys activity exit-info {shlex.quote(self._packages[0])}")

    async def _said(self, command: str) -> str:
        try:
            return (await self._phone.run(command, within=_SECONDS, check=False)).text.strip()
        except (TransportLostError, CommandError, CommandTimeoutError):
            return ""


def _time(text: str) -> datetime | None:
    """A time as Android prints it, in the phone's own zone."""
    try:
        return datetime.fromisoformat(text.strip()[:23]).replace(tzinfo=None)
    except ValueError:
        return None
