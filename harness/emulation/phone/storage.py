"""The bound on what a phone may store, so that a full phone is not a full host."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_LOG = logging.getLogger(__name__)
_WATCH_SECONDS: Final = 5.0
#: Left to the host, whatever a phone may store.
RESERVE_BYTES: Final = 2 << 30
_BLOCK: Final = 512  # of st_blocks, everywhere


def disk_free(folder: Path) -> int:
    """What the disk below a folder still takes."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


class Storage:
    """What is below a folder, and how much more may be.

    A push is refused beforehand, a single file cannot grow beyond the bound (RLIMIT_FSIZE); what
    programs write together is looked at every few seconds, and when it is over the bound, `over` is
    called, which ends them.
    """

    def __init__(
        self,
        folder: Path,
        most_bytes: int,
        over: Callable[[], None],
        free: Callable[[Path], int] = disk_free,
    ) -> None:
        self._free = free
        self._folder = folder
        self._most = most_bytes
        self._over = over
        self._used = 0
        self._free_then = 0

    def free_bytes(self) -> int:
        """What may still be written: of the bound and of the disk, whichever is less.

        What was written since the last look is told by the disk's free space.
        """
        free = self._free(self._folder)
        written_since = max(0, self._free_then - free)
        return max(0, min(self._most - self._used - written_since, free - RESERVE_BYTES))

    async def watch(self) -> None:
        """Look again and again, for ever."""
        while True:
            await self.look()
            await asyncio.sleep(_WATCH_SECONDS)

    async def look(self) -> None:
        """Measure once."""
        free = self._free(self._folder)
        used = await asyncio.to_thread(used_bytes, self._folder)
        self._used, self._free_then = used, free
        if used > self._most or free < RESERVE_BYTES // 2:
            _LOG.error(
                "the phone stores %d bytes of %d, the disk has %d left: what ran is ended",
                used,
                self._most,
                free,
            )
            self._over()


def used_bytes(folder: Path) -> int:
    """What the files below a folder take on the disk; what cannot be read counts nothing."""
    total = 0
    waiting = [str(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    try:
                        total += entry.stat(follow_symlinks=False).st_blocks * _BLOCK
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(entry.path)
                    except OSError:
                        continue  # gone since
        except OSError:
            continue
    return total
