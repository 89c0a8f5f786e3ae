"""A journal of another program: lines of events in RESULTS/journal, which the store takes up.

Appended to by one process, and on disk before anything follows from a line. A line that a power cut
left in half is the last of its file: the next one begins anew.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from results.files import sync_folder
from results.fleet.events import Event

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOLDER: Final = "journal"


class JournalFile:
    """One program's journal, a file a day.

    Args:
        results: the results folder.
        program: the name of the program, which begins the names of its files.
    """

    def __init__(self, results: Path, program: str) -> None:
        self._folder = results / FOLDER
        self._program = program

    def append(self, event: Event) -> None:
        """Add an event; it is on disk when this returns.

        Raises:
            OSError: it cannot be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(event.at)
        fresh = not path.exists()
        line = event.model_dump_json().encode() + b"\n"
        with path.open("ab", buffering=0) as file:
            if not fresh and not _ends_a_line(path):
                line = b"\n" + line
            file.write(line)
            os.fsync(file.fileno())
        if fresh:
            sync_folder(self._folder)

    def since(self, age: timedelta) -> Iterator[Event]:
        """The events of the files of that time, in their order; broken lines are left out."""
        oldest = self._path(datetime.now(UTC) - age).name
        for path in sorted(self._folder.glob(f"{self._program}-*.jsonl")):
            if path.name < oldest:
                continue
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    yield Event.model_validate_json(line)
                except ValidationError:
                    continue

    def _path(self, at: datetime) -> Path:
        return self._folder / f"{self._program}-{at:%Y-%m-%d}.jsonl"


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
