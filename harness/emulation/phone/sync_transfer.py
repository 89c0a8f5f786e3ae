"""Push and pull: the sync service's SEND and RECV, in both versions.

Behaviour: AOSP `packages/modules/adb/daemon/file_sync_service.cpp`. Version 2 puts a second message
with flags after the path; of the flags only the dry run is known here, compression is not.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from harness.emulation.phone.sync_messages import (
    HEAD,
    LARGEST_32,
    MAX_DATA,
    Files,
    SyncError,
    fail,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import BinaryIO

    from harness.emulation.phone.streams import Stream

P = ParamSpec("P")
T = TypeVar("T")

#: Read from the disk at once in a pull; sent as so many DATA messages.
_READ: Final = 15 * MAX_DATA
#: Written to the disk at once in a push.
_WRITE: Final = 16 * MAX_DATA
_FLAGS_V2: Final = struct.Struct("<4sI")
_SEND_V2: Final = struct.Struct("<4sII")
_DRY_RUN: Final = 1 << 31


async def send_v1(stream: Stream, files: Files, path: str) -> None:
    """`SEND path,mode`: the mode is decimal, after the last comma."""
    path, _, mode = path.rpartition(",")
    if not path or not mode.isascii() or not mode.isdecimal():
        await fail(stream, "missing ,MODE")
        raise SyncError("SEND without a mode")
    await _take_file(stream, files, path, int(mode) & LARGEST_32, dry=False)


async def send_v2(stream: Stream, files: Files, path: str) -> None:
    """`SND2 path`, then mode and flags."""
    name, mode, flags = _SEND_V2.unpack(await stream.read_exactly(_SEND_V2.size))
    if name != b"SND2" or flags & ~_DRY_RUN:
        await fail(stream, f"flags {flags:#x} are not known")
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
            name, length = HEAD.unpack(await stream.read_exactly(HEAD.size))
            if name == b"DONE":
                break
            if name != b"DATA" or length > MAX_DATA:
                await fail(stream, f"invalid data message {name!r} of {length} bytes")
                raise SyncError("a DATA message that is none")
            data = await stream.read_exactly(length)
            if failed:
                continue
            try:
                await incoming.add(data)
            except OSError as error:
                failed = True
                await fail(stream, f"couldn't create file: {error.strerror}")
        if failed:
            return
        try:
            await incoming.finish(length)
        except OSError as error:
            await fail(stream, f"couldn't create file: {error.strerror}")
            return
        await stream.write(HEAD.pack(b"OKAY", 0))
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
        await _in_thread(self._write, self._target, held)

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


async def receive_v1(stream: Stream, files: Files, path: str) -> None:
    """`RECV path`."""
    await _give_file(stream, files, path)


async def receive_v2(stream: Stream, files: Files, path: str) -> None:
    """`RCV2 path`, then flags."""
    name, flags = _FLAGS_V2.unpack(await stream.read_exactly(_FLAGS_V2.size))
    if name != b"RCV2" or flags:
        await fail(stream, f"flags {flags:#x} are not known")
        raise SyncError("RCV2 with unknown flags")
    await _give_file(stream, files, path)


async def _give_file(stream: Stream, files: Files, path: str) -> None:
    """Send a file as DATA messages and DONE."""
    try:
        file = _open_regular(files.locate(path))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        await fail(stream, f"open failed: {reason}")
        return
    with file:
        try:
            while piece := await _in_thread(file.read, _READ):
                await stream.write(_as_data(piece))
        except OSError as error:
            if isinstance(error, ConnectionError):
                raise
            await fail(stream, f"read failed: {error.strerror}")
            return
    await stream.write(HEAD.pack(b"DONE", 0))


async def _in_thread(work: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
    """Work on a file in a thread: a busy disk must not stop everything else.

    Who is cancelled meanwhile waits for the thread, and closes the file only then.
    """
    running = asyncio.ensure_future(asyncio.to_thread(work, *given, **named))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        with suppress(OSError):
            await running
        raise


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
        parts += [HEAD.pack(b"DATA", len(part)), part]
    return b"".join(parts)
