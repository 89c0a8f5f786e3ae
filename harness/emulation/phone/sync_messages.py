"""The messages of the sync service that its parts share.

Format: AOSP `packages/modules/adb/file_sync_protocol.h`.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.emulation.phone.streams import Stream

#: The largest DATA message (`SYNC_DATA_MAX`).
MAX_DATA: Final = 64 << 10
#: A four-letter id and a length; a time in place of the length in DONE.
HEAD: Final = struct.Struct("<4sI")
LARGEST_32: Final = 0xFFFFFFFF


class SyncError(Exception):
    """The peer does not speak the sync protocol; the stream ends."""


class Files:
    """The phone's files as the sync service may touch them.

    Args:
        locate: a path of the phone -> where it is for this process.
        free_bytes: how much a push may still write.
    """

    def __init__(self, locate: Callable[[str], Path], free_bytes: Callable[[], int]) -> None:
        self.locate = locate
        self.free_bytes = free_bytes


async def fail(stream: Stream, reason: str) -> None:
    """Answer FAIL with words that the user sees."""
    words = reason.encode(errors="replace")[:MAX_DATA]
    await stream.write(HEAD.pack(b"FAIL", len(words)) + words)
