"""Synthetic artifacts on this machine, made once and found again by their content key.

<root>/<key>/            a complete artifact with its manifest
<root>/.partial-<key>-*  being written, or left behind by a killed writer
<root>/.locks/<key>.lock held while an artifact is made or removed; dies with its holder
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs
from filelock import FileLock, Timeout

from harness.errors import UserError, nearest
from harness.weights.artifact import Artifact, Progress, read_manifest
from harness.weights.writing import PARTIAL, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.models import Architecture
    from harness.weights.plan import Recipe

CACHE_VARIABLE = "TIERLAB_CACHE"
# Far above the minutes that the largest model takes on a slow disk.
WAIT_SECONDS = 3600.0

_LOG = logging.getLogger(__name__)
_LEFTOVER = re.compile(re.escape(PARTIAL) + r"(?P<key>.+?)-\d+-[0-9a-f]{8}(-old)?")


def default_root() -> Path:
    """The directory named by TIERLAB_CACHE, or the user's cache directory."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen) if chosen else platformdirs.user_cache_path("tierlab") / "artifacts"


class ArtifactCache:
    """Artifacts under one directory. Safe to use from several processes at once."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or default_root()

    def ensure(
        self,
        model: Architecture,
        recipe: Recipe,
        progress: Progress | None = None,
        *,
        waiting: Callable[[str], None] | None = None,
        wait_seconds: float = WAIT_SECONDS,
    ) -> Artifact:
        """The artifact of `model`: found, waited for, or made now.

        Args:
            model: Which model.
            recipe: How it is stored.
            progress: Called only when the artifact is made by this call.
            waiting: Called once with the key when another process is making the artifact.
            wait_seconds: How long to wait for that process.

        Raises:
            UserError: the model cannot be written, the disk is short, or the other process did
                not finish in time.
        """
        key = recipe.key(model)
        found = self.find(key)
        if found:
            return found
        with self._locked(key, wait_seconds, waiting):
            self._remove_leftovers(key)
            found = self.find(key)
            if found:
                return found
            return write(recipe.plan(model), self.root / key, progress)

    def find(self, key: str) -> Artifact | None:
        """The artifact of that key when it is there and its files are whole."""
        artifact = read_manifest(self.root / key)
        if artifact is None or artifact.key != key:
            return None
        damage = artifact.damage()
        if damage:
            _LOG.warning("artifact %s is damaged: %s", key, damage)
            return None
        return artifact

    def keys(self) -> tuple[str, ...]:
        """Keys of all artifacts, damaged ones too. Directories of other things have no manifest."""
        manifests = ((path.name, read_manifest(path)) for path in self._directories())
        return tuple(name for name, found in manifests if found and found.key == name)

    def list(self) -> tuple[Artifact, ...]:
        """All whole artifacts, by key."""
        found = (self.find(key) for key in self.keys())
        return tuple(artifact for artifact in found if artifact)

    def remove(self, key: str, *, wait_seconds: float = 0.0) -> int:
        """Remove an artifact, whole or damaged, and return the bytes that it took.

        Raises:
            UserError: there is none of that key, or it is just being made.
        """
        if key not in self.keys():
            close = nearest(key, self.keys())
            hint = f"did you mean {' or '.join(close)}?" if close else "see `tierlab model list`"
            raise UserError(f"no artifact {key!r} in {self.root}", hint)
        with self._locked(key, wait_seconds, None):
            size = _size(self.root / key)
            # First out of sight as a whole, so that nobody finds half an artifact.
            aside = self.root / f"{PARTIAL}{key}-{os.getpid()}-{os.urandom(4).hex()}"
            with contextlib.suppress(FileNotFoundError):
                (self.root / key).rename(aside)
            shutil.rmtree(aside, ignore_errors=True)
        return size

    def sweep(self) -> tuple[int, int]:
        """Remove what killed writers left behind; those at work are let be.

        Returns:
            The number of directories removed, and their bytes.
        """
        count = size = 0
        for key in sorted({self._leftover_key(path) for path in self._directories()} - {""}):
            try:
                with self._lock(key).acquire(timeout=0):
                    removed = self._remove_leftovers(key)
            except Timeout:
                continue
            count += removed[0]
            size += removed[1]
        return count, size

    def _directories(self) -> Iterator[Path]:
        if self.root.is_dir():
            yield from sorted(path for path in self.root.iterdir() if path.is_dir())

    @staticmethod
    def _leftover_key(path: Path) -> str:
        match = _LEFTOVER.fullmatch(path.name)
        return match["key"] if match else ""

    def _remove_leftovers(self, key: str) -> tuple[int, int]:
        """Remove half-written directories of `key`, whose lock must be held."""
        left = [path for path in self._directories() if self._leftover_key(path) == key]
        size = sum(_size(path) for path in left)
        for path in left:
            shutil.rmtree(path, ignore_errors=True)
        return len(left), size

    def _lock(self, key: str) -> FileLock:
        directory = self.root / ".locks"
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"cannot use the artifact cache {self.root}: {error.strerror}",
                f"make it writable, or name another directory in {CACHE_VARIABLE}",
            ) from error
        return FileLock(directory / f"{key}.lock")

    @contextlib.contextmanager
    def _locked(
        self, key: str, wait_seconds: float, waiting: Callable[[str], None] | None
    ) -> Iterator[None]:
        lock = self._lock(key)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            _LOG.info("another process is busy with %s: waiting for it", key)
            if waiting:
                waiting(key)
            try:
                lock.acquire(timeout=wait_seconds)
            except Timeout:
                raise UserError(
                    f"another process has been busy with {key} for {wait_seconds:.0f} s",
                    "wait for it or end it, then try again",
                ) from None
        try:
            yield
        finally:
            lock.release()


def _size(directory: Path) -> int:
    size = 0
    for path in directory.rglob("*"):
        with contextlib.suppress(OSError):
            size += path.stat().st_size
    return size
