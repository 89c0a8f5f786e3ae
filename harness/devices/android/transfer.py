"""Files to and from a phone, verified, and whole or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import uuid
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from harness.devices.android import sync
from harness.devices.android.facts.storage import parse_df
from harness.devices.android.failures import (
    CommandError,
    CommandTimeoutError,
    TransportLostError,
)
from harness.emulation.limits import format_bytes
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path
    from typing import BinaryIO

    from harness.devices.android.phone import Phone
    from harness.devices.android.wire import Stream

# Android starts to clear caches and to warn below 500 MB; half of that is left free.
LEFT_FREE_BYTES: Final = 256 << 20
# A file whose size is right may still be wrong; hashing less than this costs more than it tells.
HASHED_BYTES: Final = 1 << 20
_MODE: Final = 0o755
_SUFFIX: Final = ".tierlab-part"
# The slowest phone that is worth waiting for reads and hashes this many bytes a second.
_HASH_BYTES_PER_SECOND: Final = 20e6
_HASH_SECONDS: Final = 20.0
_STALL_SECONDS: Final = 60.0
_CLEAN_UP_SECONDS: Final = 3.0
_SHA256: Final = re.compile(r"\\?([0-9a-f]{64})\b")


async def push(
    phone: Phone, local: Path, remote: str, progress: Callable[[int, int], None]
) -> None:
    """See `Phone.push`."""
    try:
        file = local.open("rb")
    except OSError as error:
        raise UserError(f"{local} cannot be read: {error.strerror}") from error
    with file:
        size = os.fstat(file.fileno()).st_size
        await _refuse_if_full(phone, local, size, remote)
        part = remote + _SUFFIX
        try:
            sent = await send(phone, file, size, part, progress)
            await _verify(phone, part, *sent)
            await phone.run(["mv", "-f", part, remote])
        except TransportLostError:
            raise
        except BaseException:
            await _remove(phone, part)
            raise


async def pull(phone: Phone, remote: str, local: Path) -> None:
    """See `Phone.pull`."""
    there = await _stat(phone, remote)
    if there is None or there.is_directory:
        raise _refused("pull", remote, "is a directory" if there else "no such file")
    part = local.with_name(f"{local.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with part.open("wb") as file:
            size = 0
            async with (
                _stream(phone) as (stream, moved),
                contextlib.aclosing(sync.receive_file(stream, remote)) as pieces,
            ):
                async for piece in pieces:
                    file.write(piece)
                    size += len(piece)
                    moved()
            # A file that grows while it is read, such as a log, gives more than it had.
            if size < there.size and there.whole_size:
                raise _refused("pull", remote, f"gave {size} of {there.size} bytes")
            sync.fsync_rename(file, part, local)
    except sync.FileRefusedError as error:
        raise _refused("pull", remote, str(error)) from error
    except OSError as error:
        raise UserError(f"{local} cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)


@contextlib.asynccontextmanager
async def _stream(phone: Phone) -> AsyncIterator[tuple[Stream, Callable[[], None]]]:
    """The sync service, and what to call when something moved: standing still ends it."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_STALL_SECONDS) as stall, phone.service("sync:") as stream:
            yield stream, lambda: stall.reschedule(loop.time() + _STALL_SECONDS)
    except TimeoutError as error:
        raise TransportLostError(f"no byte moved for {_STALL_SECONDS:g} s") from error


async def _stat(phone: Phone, path: str) -> sync.RemoteFile | None:
    v2 = "stat_v2" in await phone.features()
    async with _stream(phone) as (stream, _):
        return await sync.remote_file(stream, path, v2=v2)


async def send(
    phone: Phone, file: BinaryIO, size: int, part: str, progress: Callable[[int, int], None]
) -> tuple[int, str]:
    """Send a file without a look before or after; the bytes sent and their SHA-256.

    Raises:
        CommandError: the phone refused it.
        TransportLostError: the phone is gone, or takes nothing any more.
    """
    try:
        async with _stream(phone) as (stream, moved):

            def tell(sent: int) -> None:
                moved()
                progress(sent, size)

            return await sync.send_file(stream, file, part, _MODE, tell)
    except sync.FileRefusedError as error:
        raise _refused("push", part, str(error)) from error


async def _verify(phone: Phone, path: str, size: int, sha256: str) -> None:
    there = await _stat(phone, path)
    if there is None or not there.has_size(size):
        has = there.size if there else "no"
        raise _refused("push", path, f"the phone has {has} of {size} bytes")
    if size < HASHED_BYTES:
        return
    word = shlex.quote(path)
    found = await phone.run(
        f"sha256sum {word} 2>/dev/null || toybox sha256sum {word}",
        within=_HASH_SECONDS + size / _HASH_BYTES_PER_SECOND,
        check=False,
    )
    digest = _SHA256.match(found.text)
    if digest and digest[1] != sha256:  # a phone without the program is left with its size
        raise _refused("push", path, "its content is not what was sent")


async def _refuse_if_full(phone: Phone, local: Path, size: int, remote: str) -> None:
    there = await _stat(phone, remote)
    if there is not None and there.is_directory:
        raise UserError(f"{remote} is a directory on the phone", "name the file in it")
    # Directories that are missing will be made: the nearest that there is tells.
    folders = shlex.join(str(folder) for folder in PurePosixPath("/", remote).parents)
    found = await phone.run(
        f'for d in {folders}; do [ -e "$d" ] && {{ df -k "$d"; break; }}; done', check=False
    )
    storage = parse_df(found.text)
    if storage is not None and size + LEFT_FREE_BYTES > storage.free_bytes:
        raise UserError(
            f"{local} has {format_bytes(size)}, and the phone only "
            f"{format_bytes(storage.free_bytes) if storage.free_bytes else 'nothing'} free at "
            f"{remote} ({format_bytes(LEFT_FREE_BYTES)} must stay free)",
            "free storage on the phone, or use a smaller model",
        )


async def _remove(phone: Phone, path: str) -> None:
    with contextlib.suppress(CommandError, CommandTimeoutError, TransportLostError, TimeoutError):
        async with asyncio.timeout(_CLEAN_UP_SECONDS):
            await phone.run(["rm", "-f", path])


def _refused(verb: str, path: str, reason: str) -> CommandError:
    return CommandError(f"{verb} {path}", 1, reason)
