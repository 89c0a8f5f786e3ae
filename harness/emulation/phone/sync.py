"""The `sync:` service: stat, list, push and pull, in both versions of each.

Format: AOSP `packages/modules/adb/file_sync_protocol.h` and `SYNC.TXT`; behaviour:
`daemon/file_sync_service.cpp`. Every request is a four-letter id, a length, and a path of at most
1024 bytes; the version 2 of SEND and RECV puts a second message with the flags after it.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path
    from typing import BinaryIO

    from harness.emulation.phone.streams import Stream

MAX_PATH: Final = 1024
#: The largest DATA message (`SYNC_DATA_MAX`).
MAX_DATA: Final = 64 << 10
#: Read from the disk at once in a pull; sent as so many DATA messages.
_READ: Final = 15 * MAX_DATA
#: Written to the disk at once in a push.
_WRITE: Final = 16 * MAX_DATA

_REQUEST: Final = struct.Struct("<4sI")
_STAT_V1: Final = struct.Struct("<4s3I")
_DENT_V1: Final = struct.Struct("<4s4I")
_STAT_V2: Final = struct.Struct("<4sIQQIIIIQqqq")
_NAME_LENGTH: Final = struct.Struct("<I")
_FLAGS_V2: Final = struct.Struct("<4sI")
_SEND_V2: Final = struct.Struct("<4sII")
_DRY_RUN: Final = 1 << 31
_LARGEST_32: Final = 0xFFFFFFFF


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
        b"SEND": _send_v1,
        b"SND2": _send_v2,
        b"RECV": _receive_v1,
        b"RCV2": _receive_v2,
    }
    while True:
        name, length = _REQUEST.unpack(await stream.read_exactly(_REQUEST.size))
        if name == b"QUIT":
            return
        if name not in requests:
            raise SyncError(f"there is no sync request {name!r}")
        if length > MAX_PATH:
            await _fail(stream, "path too long")
            raise SyncError(f"a path of {length} bytes")
        path = os.fsdecode(await stream.read_exactly(length))
        if "\0" in path:
            await _fail(stream, "path with a zero byte")
            raise SyncError("a path with a zero byte")
        await requests[name](stream, files, path)


async def _fail(stream: Stream, reason: str) -> None:
    words = reason.encode(errors="replace")[:MAX_DATA]
    await stream.write(_REQUEST.pack(b"FAIL", len(words)) + words)


async def _stat_v1(stream: Stream, files: Files, path: str) -> None:
    try:
        found = files.locate(path).lstat()
    except (OSError, ValueError):
        await stream.write(_STAT_V1.pack(b"STAT", 0, 0, 0))
        return
    await stream.write(_STAT_V1.pack(b"STAT", *_short(found)))


def _short(found: os.stat_result) -> tuple[int, int, int]:
    """Mode, size and time as 32-bit words; sizes over 4 GiB wrap, as on a phone."""
    return found.st_mode, found.st_size & _LARGEST_32, int(found.st_mtime) & _LARGEST_32


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
    for name in _names(folder):
        with suppress(OSError):  # gone since
            entry = os.fsencode(name)
            found = (folder / name).lstat()
            await stream.write(_DENT_V1.pack(b"DENT", *_short(found), len(entry)) + entry)
    await stream.write(_DENT_V1.pack(b"DONE", 0, 0, 0, 0))


async def _list_v2(stream: Stream, files: Files, path: str) -> None:
    folder = files.locate(path)
    for name in _names(folder):
        entry = os.fsencode(name)
        found = _long(b"DNT2", (folder / name).lstat)
        await stream.write(found + _NAME_LENGTH.pack(len(entry)) + entry)
    await stream.write(b"DONE" + bytes(_STAT_V2.size - 4 + _NAME_LENGTH.size))


async def _send_v1(stream: Stream, files: Files, path: str) -> None:
    """`SEND path,mode`: the mode is decimal, after the last comma."""
    path, _, mode = path.rpartition(",")
    if not path or not mode.isascii() or not mode.isdecimal():
        await _fail(stream, "missing ,MODE")
        raise SyncError("SEND without a mode")
    await _take_file(stream, files, path, int(mode) & _LARGEST_32, dry=False)


async def _send_v2(stream: Stream, files: Files, path: str) -> None:
    name, mode, flags = _SEND_V2.unpack(await stream.read_exactly(_SEND_V2.size))
    if name != b"SND2" or flags & ~_DRY_RUN:
        await _fail(stream, f"flags {flags:#x} are not known")
        raise SyncError("SND2 with unknown flags")
    await _take_file(stream, files, path, mode, dry=bool(flags & _DRY_RUN))


async def _take_file(stream: Stream, files: Files, path: str, mode: int, *, dry: bool) -> None:
    """Take DATA messages up to DONE, which carries the time of the file's last change.

    After a failure the rest is read and dropped: the peer looks for the answer only now and then.
    """
    target = None if dry else files.locate(path)
    failed = False
    incoming = _Incoming(target, mode, files.free_bytes)
    try:
        while True:
            name, length = _REQUEST.unpack(await stream.read_exactly(_REQUEST.size))
            if name == b"DONE":
                break
            if name != b"DATA" or length > MAX_DATA:
                await _fail(stream, f"invalid data message {name!r} of {length} bytes")
                raise SyncError("a DATA message that is none")
            data = await stream.read_exactly(length)
            if failed:
                continue
            try:
                await incoming.add(data)
            except OSError as error:
                failed = True
                await _fail(stream, f"couldn't create file: {error.strerror}")
        if failed:
            return
        try:
            await incoming.finish(length)
        except OSError as error:
            await _fail(stream, f"couldn't create file: {error.strerror}")
            return
        await stream.write(_REQUEST.pack(b"OKAY", 0))
    finally:
        incoming.end()


class _Incoming:
    """A file, or a link, that is being pushed. What was there is replaced, as adbd does."""

    def __init__(self, target: Path | None, mode: int, free_bytes: Callable[[], int]) -> None:
        self._target = target
        self._mode = mode
        self._free_bytes = free_bytes
        self._file: BinaryIO | None = None
        self._held = bytearray()
        self._complete = False

    @property
    def _is_link(self) -> bool:
        return stat.S_ISLNK(self._mode)

    async def add(self, data: bytes) -> None:
        self._held += data
        if self._is_link and len(self._held) > os.pathconf("/", "PC_PATH_MAX"):
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        if not self._is_link and len(self._held) >= _WRITE:
            await self._flush()

    async def _flush(self) -> None:
        if self._target is None:
            self._held.clear()
            return
        if len(self._held) > self._free_bytes():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        held, self._held = self._held, bytearray()
        # In a thread: a busy disk must not stop everything else.
        await asyncio.to_thread(self._write, self._target, held)

    def _write(self, target: Path, data: bytearray) -> None:
        if self._file is None:
            target.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError, IsADirectoryError):
                target.unlink()
            self._file = target.open("wb", buffering=0)
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]

    async def finish(self, modified: int) -> None:
        """Everything has come."""
        if self._target is None:
            return
        if self._is_link:
            self._target.parent.mkdir(parents=True, exist_ok=True)
            self._target.unlink(missing_ok=True)
            self._target.symlink_to(os.fsdecode(bytes(self._held).partition(b"\0")[0]))
            return
        await self._flush()
        self._close()
        self._complete = True
        self._target.chmod(stat.S_IMODE(self._mode) & 0o777 | stat.S_IRUSR)
        os.utime(self._target, (modified, modified))

    def end(self) -> None:
        """Whatever happened: close the file, and remove it where it is not whole."""
        started = self._file is not None
        self._close()
        if started and not self._complete and self._target is not None:
            with suppress(OSError):
                self._target.unlink()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


async def _receive_v1(stream: Stream, files: Files, path: str) -> None:
    await _give_file(stream, files, path)


async def _receive_v2(stream: Stream, files: Files, path: str) -> None:
    name, flags = _FLAGS_V2.unpack(await stream.read_exactly(_FLAGS_V2.size))
    if name != b"RCV2" or flags:
        await _fail(stream, f"flags {flags:#x} are not known")
        raise SyncError("RCV2 with unknown flags")
    await _give_file(stream, files, path)


async def _give_file(stream: Stream, files: Files, path: str) -> None:
    """Send a file as DATA messages and DONE."""
    try:
        file = _open_regular(files.locate(path))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        await _fail(stream, f"open failed: {reason}")
        return
    with file:
        try:
            while piece := await asyncio.to_thread(file.read, _READ):
                await stream.write(_as_data(piece))
        except OSError as error:
            if isinstance(error, ConnectionError):
                raise
            await _fail(stream, f"read failed: {error.strerror}")
            return
    await stream.write(_REQUEST.pack(b"DONE", 0))


def _open_regular(path: Path) -> BinaryIO:
    """Open a file for reading; a pipe or a device not: reading it might never end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    return path.open("rb", buffering=0)


def _as_data(piece: bytes) -> bytes:
    whole = memoryview(piece)
    parts: list[bytes | memoryview] = []
    for start in range(0, len(whole), MAX_DATA):
        part = whole[start : start + MAX_DATA]
        parts += [_REQUEST.pack(b"DATA", len(part)), part]
    return b"".join(parts)
