"""The frames inside a `shell,v2` stream. Format: AOSP `packages/modules/adb/shell_protocol.h`."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from harness.emulation.phone.protocol import MAX_PAYLOAD

if TYPE_CHECKING:
    from harness.emulation.phone.streams import Stream

HEADER: Final = struct.Struct("<BI")


class Kind(IntEnum):
    """A frame's first byte."""

    STDIN = 0
    STDOUT = 1
    STDERR = 2
    EXIT = 3
    CLOSE_STDIN = 4
    WINDOW_SIZE = 5


def frame(kind: Kind, data: bytes) -> bytes:
    """One frame."""
    return HEADER.pack(kind, len(data)) + data


async def read_frame(stream: Stream) -> tuple[int, bytes]:
    """The next frame of a stream: its kind, which may be none that is known, and its data.

    Raises:
        EOFError: the stream ended, or a frame is longer than any packet can be.
    """
    kind, length = HEADER.unpack(await stream.read_exactly(HEADER.size))
    if length > MAX_PAYLOAD:
        raise EOFError
    return kind, await stream.read_exactly(length)


def window_size(data: bytes) -> tuple[int, int, int, int] | None:
    """Rows, columns, width and height in pixels from `24x80,0x0`; None where it is not that."""
    words = data.rstrip(b"\0").replace(b",", b"x").split(b"x")
    if len(words) != 4 or not all(word.isdigit() and len(word) <= 5 for word in words):  # noqa: PLR2004
        return None
    rows, columns, width, height = (min(int(word), 0xFFFF) for word in words)
    return rows, columns, width, height
