"""Files to and from a phone, by adb's sync service.

Format: AOSP packages/modules/adb, file_sync_protocol.h: four letters, a little-endian number, data.
adbutils' sync client is not used here: it sends 4 KiB at a time, does not say why a phone refused
a file, and takes the end of the connection for the end of a file.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import stat
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from harness.devices.android.failures import TransportLostError
from harness.devices.android.wire import NotAdbError, ServerLostError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

    from harness.devices.android.wire import Stream

# SYNC_DATA_MAX of the protocol; a phone refuses more.
CHUNK_BYTES: Final = 64 << 10
_BLOCK_BYTES: Final = 16 * CHUNK_BYTES
_WORD: Final = struct.Struct("<4sI")
_STAT: Final = struct.Struct("<4sIII")
_STAT_V2: Final = struct.Struct("<4sIQQIIIIQqqq")
_LONGEST_REASON: Final = 4096
_UNSIGNED_32: Final = 1 << 32


class FileRefusedError(Exception):
    """The phone refused a file; `str()` is its reason."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """What stands at a path. A phone without `stat_v2` tells sizes modulo 4 GiB only."""

    mode: int
    size: int
    whole_size: bool

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.mode)

    def has_size(self, size: int) -> bool:
        """Whether its size is `size`, as far as the phone can tell."""
        return self.size == (size if self.whole_size else size % _UNSIGNED_32)


async def remote_file(stream: Stream, path: str, *, v2: bool) -> RemoteFile | None:
    """What stands at `path`, following links where the phone can; None where nothing does."""
    await _ask(stream, b"STA2" if v2 else b"STAT", path)
    if v2:
        word, error, _, _, mode, _, _, _, size, *_ = _STAT_V2.unpack(
            await stream.exactly(_STAT_V2.size)
        )
        _expect(word, b"STA2")
        return None if error else RemoteFile(mode, size, whole_size=True)
    word, mode, size, _ = _STAT.unpack(await stream.exactly(_STAT.size))
    _expect(word, b"STAT")
    return RemoteFile(mode, size, whole_size=False) if mode else None


async def send_file(
    stream: Stream, file: BinaryIO, path: str, mode: int, progress: Callable[[int], None]
) -> tuple[int, str]:
    """Send a file to `path`; the bytes sent and their SHA-256.

    Raises:
        FileRefusedError: the phone would not take it, or not all of it.
        ServerLostError: the connection ended.
    """
    await _ask(stream, b"SEND", f"{path},{stat.S_IFREG | mode}")
    digest, sent = hashlib.sha256(), 0
    # A refusal comes while we still send; sending on would only end in a broken connection.
    answer = asyncio.create_task(_answer(stream))
    try:
        while block := await asyncio.to_thread(_read, file, digest):
            if answer.done():
                break
            await stream.send(_framed(block))
            sent += len(block)
            progress(sent)
        if not answer.done():
            await stream.send(_WORD.pack(b"DONE", int(time.time())))
    except ServerLostError:
        # The phone's last word, where it had one, says more than the broken connection.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await answer
        raise
    else:
        await answer
    finally:
        answer.cancel()
    return sent, digest.hexdigest()


async def receive_file(stream: Stream, path: str) -> AsyncGenerator[bytes]:
    """The contents of the file at `path`.

    Raises:
        FileRefusedError: the phone does not give it.
        ServerLostError: the connection ended before the file did.
    """
    await _ask(stream, b"RECV", path)
    while True:
        word, size = _WORD.unpack(await stream.exactly(_WORD.size))
        if word == b"DONE":
            return
        if word == b"FAIL":
            raise FileRefusedError(await _reason(stream, size))
        _expect(word, b"DATA")
        if size > CHUNK_BYTES:
            raise TransportLostError(f"the phone sends garbage: a piece of {size} bytes")
        yield await stream.exactly(size)


def fsync_rename(file: BinaryIO, temporary: Path, final: Path) -> None:
    """Make `temporary`, open as `file`, the file `final`, whole or not at all."""
    file.flush()
    os.fsync(file.fileno())
    temporary.replace(final)


async def _ask(stream: Stream, word: bytes, path: str) -> None:
    data = path.encode()
    await stream.send(_WORD.pack(word, len(data)) + data)


async def _answer(stream: Stream) -> None:
    word, size = _WORD.unpack(await stream.exactly(_WORD.size))
    if word == b"FAIL":
        raise FileRefusedError(await _reason(stream, size))
    _expect(word, b"OKAY")


async def _reason(stream: Stream, size: int) -> str:
    return (await stream.exactly(min(size, _LONGEST_REASON))).decode(errors="replace")


def _expect(word: bytes, wanted: bytes) -> None:
    if word != wanted:
        raise NotAdbError(f"answered {word!r} instead of {wanted!r}")


def _read(file: BinaryIO, digest: hashlib._Hash) -> bytes:
    block = file.read(_BLOCK_BYTES)
    digest.update(block)
    return block


def _framed(block: bytes) -> bytes:
    view = memoryview(block)
    pieces: list[bytes | memoryview] = []
    for start in range(0, len(block), CHUNK_BYTES):
        piece = view[start : start + CHUNK_BYTES]
        pieces += [_WORD.pack(b"DATA", len(piece)), piece]
    return b"".join(pieces)
