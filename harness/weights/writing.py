"""Streams a planned artifact to the disk, in bounded memory, all or nothing.

Files are written into a temporary directory beside the target, each is synced, and the directory is
renamed at the end: whoever sees the target sees all of it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from typing import TYPE_CHECKING

from harness.errors import UserError
from harness.weights.artifact import MANIFEST, Artifact, Progress, manifest_text
from harness.weights.tensors import TensorSpec
from harness.weights.tile import TileSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from harness.weights.plan import ArtifactPlan, Piece, PlannedFile, Section

PARTIAL = ".partial-"
# Kept free beyond the planned size: the manifest, directory entries, a browser's profile.
DISK_MARGIN = 64 << 20
_PROGRESS_STEP = 8 << 20
_ZEROS = memoryview(bytes(1 << 16))


def write(plan: ArtifactPlan, directory: Path, progress: Progress | None = None) -> Artifact:
    """Write an artifact into `directory`, replacing what is there once it is complete.

    Raises:
        UserError: the disk is short.
        OSError: the directory cannot be written.
    """
    parent = directory.parent
    parent.mkdir(parents=True, exist_ok=True)
    refuse_short_disk(plan, parent)
    unique = f"{os.getpid()}-{os.urandom(4).hex()}"
    partial = parent / f"{PARTIAL}{directory.name}-{unique}"
    try:
        partial.mkdir()
        _write_into(plan, partial, progress)
        sync_directory(partial)
        _replace(partial, directory, parent / f"{PARTIAL}{directory.name}-{unique}-old")
        sync_directory(parent)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _short(plan, parent) from error
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return plan.artifact.model_copy(update={"directory": directory})


def _write_into(plan: ArtifactPlan, directory: Path, progress: Progress | None) -> None:
    report = _Throttled(progress, plan.total_bytes)
    tiles = TileSource(plan.seed)
    for file in plan.files:
        path = directory / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, file, tiles, report.add)
    report.finish()
    with (directory / MANIFEST).open("xb", buffering=0) as manifest:
        write_all(manifest.fileno(), memoryview(manifest_text(plan.artifact).encode()))
        os.fsync(manifest.fileno())


def write_file(
    path: Path, file: PlannedFile, tiles: TileSource, wrote: Callable[[int], None]
) -> None:
    """Write one file, and fsync it.

    `wrote` is called with the number of bytes since its last call.

    Raises:
        OSError: it could not be written, for instance because the disk is full.
    """
    with path.open("xb", buffering=0) as out:
        position = 0
        for section in file.sections:
            _zeros(out.fileno(), section.offset - position, wrote)
            for piece in _pieces(section, tiles):
                view = memoryview(piece).cast("B")
                write_all(out.fileno(), view)
                wrote(len(view))
            position = section.end
        _zeros(out.fileno(), file.bytes - position, wrote)
        os.fsync(out.fileno())


def _pieces(section: Section, tiles: TileSource) -> Iterable[Piece]:
    content = section.content
    if isinstance(content, bytes):
        return (content,)
    if isinstance(content, TensorSpec):
        return tiles.pieces(content)
    return content.pieces(tiles.seed)


def _zeros(descriptor: int, count: int, wrote: Callable[[int], None]) -> None:
    while count:
        piece = _ZEROS[: min(count, len(_ZEROS))]
        write_all(descriptor, piece)
        wrote(len(piece))
        count -= len(piece)


def write_all(descriptor: int, content: memoryview) -> None:
    """Write all of `content`: one call may take only a part of it."""
    while content:
        content = content[os.write(descriptor, content) :]


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace(partial: Path, target: Path, aside: Path) -> None:
    """Put a complete directory in its place; one already there goes afterwards."""
    with contextlib.suppress(FileNotFoundError):
        target.rename(aside)
    partial.rename(target)
    shutil.rmtree(aside, ignore_errors=True)


def refuse_short_disk(plan: ArtifactPlan, directory: Path) -> None:
    """Raise before the first byte is written when the disk cannot hold the last one.

    Raises:
        UserError: with what is needed and what is free.
    """
    if shutil.disk_usage(directory).free < plan.total_bytes + DISK_MARGIN:
        raise _short(plan, directory)


def _short(plan: ArtifactPlan, directory: Path) -> UserError:
    free = shutil.disk_usage(directory).free
    needed = plan.total_bytes + DISK_MARGIN
    return UserError(
        f"disk too small for {plan.key}: {needed / 1e6:,.0f} MB are needed "
        f"({DISK_MARGIN / 1e6:.0f} of them as a reserve), {free / 1e6:,.0f} MB are free "
        f"in {directory}",
        "remove artifacts with `tierlab model rm`, or put the cache on another disk with "
        "the variable TIERLAB_CACHE",
    )


class _Throttled:
    """Adds bytes up and reports now and then, and always at the end."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0
        self._reported = 0

    def add(self, count: int) -> None:
        self._done += count
        if self._done - self._reported >= _PROGRESS_STEP and self._done < self._total:
            self._report()

    def finish(self) -> None:
        if self._done != self._total:
            message = f"wrote {self._done} bytes of {self._total} planned"
            raise AssertionError(message)
        self._report()

    def _report(self) -> None:
        self._reported = self._done
        if self._progress:
            self._progress(self._done, self._total)
