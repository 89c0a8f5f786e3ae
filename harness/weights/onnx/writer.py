"""Writes synthetic ONNX models: the right shapes and sizes, random weights, in bounded memory.

The graph is built and every byte is planned before the first one is written: the exact size is
known, a disk that is too small is refused at the start, and progress has a true total. Weights are
streamed to external data files in a temporary directory beside the target, each is synced, and the
directory is renamed at the end: whoever sees the target sees all of it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from harness.errors import UserError
from harness.weights.artifact import MANIFEST, Artifact, ArtifactFile, Progress, manifest_text
from harness.weights.graph import Graph, build, with_external_data
from harness.weights.options import OnnxOptions, check
from harness.weights.shards import Plan, plan, sync_directory, write_file, write_shards
from harness.weights.tile import TileSource

if TYPE_CHECKING:
    from pathlib import Path

    from harness.models import Architecture

# Raise it with every change of the graph, the layout or the random source: keys depend on it.
WRITER_VERSION = 1

ENTRY = "model.onnx"
DATA = "model.onnx_data"
PARTIAL = ".partial-"
# Kept free beyond the planned size: the manifest, directory entries, a browser's profile.
DISK_MARGIN = 64 << 20
_PROGRESS_STEP = 8 << 20


@dataclass(frozen=True, slots=True)
class WritePlan:
    """Everything about an artifact but its bytes."""

    key: str
    model: Architecture
    options: OnnxOptions
    graph: Graph
    layout: Plan
    entry: bytes

    @property
    def files(self) -> tuple[ArtifactFile, ...]:
        """The files as they will be, the entry first."""
        data = (
            ArtifactFile(name=shard_name(number), bytes=size)
            for number, size in enumerate(self.layout.shard_sizes)
        )
        return (ArtifactFile(name=ENTRY, bytes=len(self.entry)), *data)

    @property
    def total_bytes(self) -> int:
        """Size of all files."""
        return len(self.entry) + self.layout.total_bytes


def shard_name(number: int) -> str:
    """The name of a data file, as exported models of several files have them."""
    return f"{DATA}_{number}" if number else DATA


def key_of(model: Architecture, options: OnnxOptions) -> str:
    """The content key: it differs whenever any byte of the artifact could."""
    shape = {
        name: value
        for name, value in asdict(model).items()
        if name not in {"aliases", "source", "notes"}
    }
    content = {"writer": WRITER_VERSION, "model": shape, "options": asdict(options)}
    text = json.dumps(content, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:10]
    alias = "-alias" if options.alias_layers else ""
    return f"{model.id}-{options.quantisation}-{options.float_type}{alias}-{digest}"


def plan_artifact(model: Architecture, options: OnnxOptions) -> WritePlan:
    """Decide on every byte's place without writing any.

    Raises:
        UserError: this model or these options cannot be written.
    """
    check(model, options)
    graph = build(model, options)
    layout = plan(graph.tensors, options.shard_bytes)
    locations = {
        storage: (shard_name(placement.shard), placement.offset)
        for storage, placement in layout.by_storage().items()
    }
    entry = with_external_data(graph, locations).SerializeToString(deterministic=True)
    return WritePlan(key_of(model, options), model, options, graph, layout, entry)


def write(
    model: Architecture,
    options: OnnxOptions,
    directory: Path,
    progress: Progress | None = None,
) -> Artifact:
    """Write a synthetic model into `directory`, replacing what is there once it is complete.

    Random weights: the model says nothing sensible, but has the size, the operators and the speed
    of the real one.

    Raises:
        UserError: the model cannot be written, or the disk is short.
        OSError: the directory cannot be written.
    """
    planned = plan_artifact(model, options)
    parent = directory.parent
    parent.mkdir(parents=True, exist_ok=True)
    refuse_short_disk(planned, parent)
    unique = f"{os.getpid()}-{os.urandom(4).hex()}"
    partial = parent / f"{PARTIAL}{directory.name}-{unique}"
    try:
        partial.mkdir()
        artifact = _write_into(planned, partial, progress)
        sync_directory(partial)
        _replace(partial, directory, parent / f"{PARTIAL}{directory.name}-{unique}-old")
        sync_directory(parent)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _short(planned, parent) from error
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return artifact.model_copy(update={"directory": directory})


def _write_into(planned: WritePlan, directory: Path, progress: Progress | None) -> Artifact:
    report = _Throttled(progress, planned.total_bytes)
    write_file(directory / ENTRY, planned.entry)
    report.add(len(planned.entry))
    paths = [directory / file.name for file in planned.files[1:]]
    write_shards(planned.layout, paths, TileSource(planned.options.seed), report.add)
    report.finish()
    model, options = planned.model, planned.options
    artifact = Artifact(
        key=planned.key,
        kind="synthetic",
        model=model.id,
        quantisation=options.quantisation,
        float_type=options.float_type,
        directory=directory,
        entry=ENTRY,
        files=planned.files,
        total_bytes=planned.total_bytes,
        stored_bytes=sum(tensor.bytes for tensor in planned.graph.tensors),
        shape={
            "layers": model.layers,
            "kv_heads": model.kv_heads,
            "head_dim": model.head_dim,
            "vocabulary": model.vocabulary,
        },
    )
    write_file(directory / MANIFEST, manifest_text(artifact).encode())
    return artifact


def _replace(partial: Path, target: Path, aside: Path) -> None:
    """Put a complete directory in its place; one already there goes afterwards."""
    with contextlib.suppress(FileNotFoundError):
        target.rename(aside)
    partial.rename(target)
    shutil.rmtree(aside, ignore_errors=True)


def refuse_short_disk(planned: WritePlan, directory: Path) -> None:
    """Raise before the first byte is written when the disk cannot hold the last one.

    Raises:
        UserError: with what is needed and what is free.
    """
    if shutil.disk_usage(directory).free < planned.total_bytes + DISK_MARGIN:
        raise _short(planned, directory)


def _short(planned: WritePlan, directory: Path) -> UserError:
    free = shutil.disk_usage(directory).free
    needed = planned.total_bytes + DISK_MARGIN
    return UserError(
        f"disk too small for {planned.key}: {needed / 1e6:,.0f} MB are needed "
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


def tiny(model: Architecture) -> Architecture:
    """A model of the same family that runs in milliseconds.

    It keeps what makes the family: softcaps, norms, rotary bases, the pattern of local and global
    layers (both kinds occur) and whether heads share keys. Its window is so short that a prompt of
    a few words reaches beyond it.
    """
    heads = 4
    layers = max(2, model.global_every if model.global_every > 2 else 2 * model.global_every)  # noqa: PLR2004
    kv_heads = 1 if model.kv_heads == 1 else heads if model.kv_heads == model.heads else 2
    return replace(
        model,
        id=f"{model.id}-tiny",
        layers=layers,
        hidden=128,
        ffn=192,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=32,
        vocabulary=1000,
        max_context=256,
        sliding_window=8 if model.sliding_window else None,
        aliases=(),
    )
