"""The `sync:` service: stat and list, in both versions of each; push and pull are called here.

Format: AOSP `packages/modules/adb/file_sync_protocol.h` and `SYNC.TXT`; behaviour:
`daemon/file_sync_service.cpp`. Every request is a four-letter id, a length, and a path of at most
1024 bytes.
"""

from __future__ import annotations

import errno
import os
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from harness.emulation.phone.sync_messages import HEAD, LARGEST_32, MAX_DATA, Files, SyncError, fail
from harness.emulation.phone.sync_transfer import receive_v1, receive_v2, send_v1, send_v2

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from harness.emulation.phone.streams import Stream

MAX_PATH: Final = 1024
_STAT_V1: Final = struct.Struct("<4s3I")
_DENT_V1: Final = struct.Struct("<4s4I")
_STAT_V2: Final = struct.Struct("<4sIQQIIIIQqqq")
_NAME_LENGTH: Final = struct.Struct("<I")


async def serve_sync(stream: Stream, files: Files) -> None:
    """Answer requests until QUIT.

    Raises:
        SyncError: a request that is none. EOFError, StreamClosedError: the stream has ended.
    """
    requests: dict[bytes, Callable[[Stream, Files, str], Awaitable[None]]] = {
        b"STAT": _stat_v1,
        b"STA2": _stat_v2,
        b"LST2": _lstat_v2,
        b"LIST": _list_v1,
        b"LIS2": _list_v2,
        b"SEND": send_v1,
        b"SND2": send_v2,
        b"RECV": receive_v1,
        b"RCV2": receive_v2,
    }
    while True:
        name, length = HEAD.unpack(await stream.read_exactly(HEAD.size))
        if name == b"QUIT":
            return
        if name not in requests:
            raise SyncError(f"there is no sync request {name!r}")
        if length > MAX_PATH:
            await fail(stream, "path too long")
            raise SyncError(f"a path of {length} bytes")
        path = os.fsdecode(await stream.read_exactly(length))
        if "\0" in path:
            await fail(stream, "path with a zero byte")
            raise SyncError("a path with a zero byte")
        await requests[name](stream, files, path)


async def _stat_v1(stream: Stream, files: Files, path: str) -> None:
    try:
        found = files.locate(path).lstat()
    except (OSError, ValueError):
        await stream.write(_STAT_V1.pack(b"STAT", 0, 0, 0))
        return
    await stream.write(_STAT_V1.pack(b"STAT", *_short(found)))


def _short(found: os.stat_result) -> tuple[int, int, int]:
    """Mode, size and time as 32-bit words; sizes over 4 GiB wrap, as on a phone."""
    return found.st_mode, found.st_size & LARGEST_32, int(found.st_mtime) & LARGEST_32


def _long(name: bytes, look: Callable[[], os.stat_result]) -> bytes:
    try:
        found = look()
    except (OSError, ValueError) as error:
        code = error.errno if isinstance(error, OSError) else errno.EINVAL
        return _STAT_V2.pack(name, code or errno.EIO, *[0] * 10)
    return _STAT_V2.pack(
        name,
        0,
        found.st_dev,
        found.st_ino,
        found.st_mode,
        found.st_nlink,
        found.st_uid,
        found.st_gid,
        found.st_size,
        int(found.st_atime),
        int(found.st_mtime),
        int(found.st_ctime),
    )


async def _stat_v2(stream: Stream, files: Files, path: str) -> None:
    await stream.write(_long(b"STA2", lambda: files.locate(path).stat()))


async def _lstat_v2(stream: Stream, files: Files, path: str) -> None:
    await stream.write(_long(b"LST2", lambda: files.locate(path).lstat()))


def _names(folder: Path) -> list[str]:
    try:
        return [".", "..", *sorted(os.listdir(folder))]  # noqa: PTH208 - names, not paths
    except OSError:
        return []


async def _list_v1(stream: Stream, files: Files, path: str) -> None:
    folder = files.locate(path)
    told = bytearray()
    for name in _names(folder):
        with suppress(OSError):  # gone since
            entry = os.fsencode(name)
            found = (folder / name).lstat()
            told += _DENT_V1.pack(b"DENT", *_short(found), len(entry)) + entry
        await _write_full(stream, told)
    await stream.write(bytes(told) + _DENT_V1.pack(b"DONE", 0, 0, 0, 0))


async def _list_v2(stream: Stream, files: Files, path: str) -> None:
    folder = files.locate(path)
    told = bytearray()
    for name in _names(folder):
        entry = os.fsencode(name)
        told += _long(b"DNT2", (folder / name).lstat) + _NAME_LENGTH.pack(len(entry)) + entry
        await _write_full(stream, told)
    await stream.write(bytes(told) + b"DONE" + bytes(_STAT_V2.size - 4 + _NAME_LENGTH.size))


async def _write_full(stream: Stream, told: bytearray) -> None:
    """Send what has gathered, once it is worth a packet."""
    if len(told) >= MAX_DATA:
        await stream.write(bytes(told))
        told.clear()
