"""Plans synthetic models in GGUF: which bytes lie where, in one file or in several.

Weights are drawn so that activations keep a variance near one: elements of a matrix with rows of k
weights have a standard deviation of 1/sqrt(k).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.weights.artifact import Artifact
from harness.weights.gguf.blocks import RandomBlocks
from harness.weights.gguf.header import TensorInfo, Value, aligned, int32, serialise, uint16
from harness.weights.gguf.layout import metadata, tensors
from harness.weights.gguf.recipe import check
from harness.weights.plan import ArtifactPlan, PlannedFile, Section, files_of, shape_of
from harness.weights.tensors import Element, Fill, TensorSpec, Uniform
from harness.weights.tokenizer import FIRST_WORD

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.models import Architecture
    from harness.weights.gguf.layout import Tensor
    from harness.weights.gguf.recipe import GgufRecipe
    from harness.weights.plan import ByteStream

NAME: Final = "model"
_ELEMENTS: Final[dict[str, Element]] = {"f16": "float16", "f32": "float32"}
_FILLS: Final[dict[str, Fill]] = {
    "norm": Uniform(0.9, 1.1),
    # With one table for the embedding and the head, a random model would repeat its last token
    # for ever: the residual stream still points at that token's row. Random signs in the last
    # norm break this; a magnitude of 2 gives logits a standard deviation of about 2.
    "final_norm": Uniform(1.5, 2.5, signed=True),
    "bias": Uniform(0.0, 0.2, signed=True),
}


def plan_artifact(model: Architecture, recipe: GgufRecipe) -> ArtifactPlan:
    """Decide on the place of every byte.

    Raises:
        UserError: what `recipe` asks for cannot be written.
    """
    check(model, recipe)
    stored = tensors(model, recipe.quantisation)
    parts = split(stored, recipe.split_bytes)
    files = tuple(
        _file(model, recipe, part, number, len(parts)) for number, part in enumerate(parts)
    )
    artifact = Artifact(
        key=recipe.key(model),
        kind="synthetic",
        format="gguf",
        model=model.id,
        quantisation=recipe.quantisation,
        # llama.cpp computes in fp32 and keeps keys and values in fp16.
        float_type="fp32",
        directory=Path(),
        entry=files[0].name,
        files=files_of(files),
        total_bytes=sum(file.bytes for file in files),
        stored_bytes=sum(tensor.bytes for tensor in stored),
        shape=shape_of(model),
    )
    return ArtifactPlan(artifact=artifact, files=files, seed=recipe.seed)


def split(stored: Sequence[Tensor], limit: int) -> list[list[Tensor]]:
    """Tensors by file, in order: no file has more than `limit` bytes of them (0: no limit)."""
    parts: list[list[Tensor]] = [[]]
    size = 0
    for tensor in stored:
        if limit and size and size + tensor.bytes > limit:
            parts.append([])
            size = 0
        parts[-1].append(tensor)
        size += tensor.bytes
    return parts


def file_name(number: int, count: int) -> str:
    """The name of file `number` (from 0) of `count`; llama.cpp finds the others by it."""
    return f"{NAME}.gguf" if count == 1 else f"{NAME}-{number + 1:05d}-of-{count:05d}.gguf"


def _file(
    model: Architecture, recipe: GgufRecipe, part: Sequence[Tensor], number: int, count: int
) -> PlannedFile:
    infos: list[TensorInfo] = []
    offset = 0
    for tensor in part:
        infos.append(TensorInfo(tensor.name, tensor.shape, tensor.kind, offset))
        offset = aligned(offset + tensor.bytes)
    head = serialise(_metadata(model, recipe, number, count), infos)
    sections = [Section(0, head)]
    sections += [
        _section(tensor, len(head) + info.offset, recipe)
        for tensor, info in zip(part, infos, strict=True)
    ]
    return PlannedFile(file_name(number, count), tuple(sections), len(head) + offset)


def _metadata(
    model: Architecture, recipe: GgufRecipe, number: int, count: int
) -> Mapping[str, Value]:
    """Only the first file has more than its own number, as those that gguf-split makes."""
    pairs = metadata(model, recipe.quantisation) if number == 0 else {}
    if count > 1:
        total = len(tensors(model, recipe.quantisation))
        pairs["split.no"] = uint16(number)
        pairs["split.count"] = uint16(count)
        pairs["split.tensors.count"] = int32(total)
    return pairs


def _section(tensor: Tensor, offset: int, recipe: GgufRecipe) -> Section:
    """A tensor's bytes; the rows of a table that are no words stay zero, and are left out."""
    row, *rows = tensor.shape
    skip = FIRST_WORD if tensor.role == "table" else 0
    skipped = tensor.kind.size(row) * skip
    return Section(
        offset + skipped, _content(tensor, tensor.bytes - skipped, math.prod(rows) - skip, recipe)
    )


def _content(tensor: Tensor, size: int, rows: int, recipe: GgufRecipe) -> TensorSpec | ByteStream:
    """What fills `size` bytes, which are `rows` rows, of a tensor."""
    row = tensor.shape[0]
    if fill := _FILLS.get(tensor.role):
        return TensorSpec(tensor.name, "float32", (row,), fill)
    kind = tensor.kind.name
    deviation = 1 / math.sqrt(row)
    if kind in _ELEMENTS and not recipe.zero_share:
        limit = math.sqrt(3) * deviation
        fill = Uniform(0.0, limit, signed=True)
        return TensorSpec(tensor.name, _ELEMENTS[kind], (rows, row), fill)
    return RandomBlocks(tensor.name, kind, size, deviation, recipe.zero_share)
