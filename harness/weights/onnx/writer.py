"""Plans synthetic ONNX models: the right shapes and sizes, random weights.

The graph is built and every byte is planned before the first one is written. Weights go to external
data files, since a protobuf ends at 2 GiB.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.weights.artifact import Artifact
from harness.weights.onnx.graph import build, with_external_data
from harness.weights.onnx.recipe import OnnxRecipe, check
from harness.weights.onnx.shards import Plan, plan
from harness.weights.plan import ArtifactPlan, PlannedFile, Section, files_of, shape_of

if TYPE_CHECKING:
    from harness.models import Architecture

ENTRY = "model.onnx"
DATA = "model.onnx_data"


def shard_name(number: int) -> str:
    """The name of a data file, as exported models of several files have them."""
    return f"{DATA}_{number}" if number else DATA


def plan_artifact(model: Architecture, recipe: OnnxRecipe) -> ArtifactPlan:
    """Decide on every byte's place without writing any.

    Raises:
        UserError: this model cannot be written so.
    """
    check(model, recipe)
    graph = build(model, recipe)
    layout = plan(graph.tensors, recipe.shard_bytes)
    locations = {
        storage: (shard_name(placement.shard), placement.offset)
        for storage, placement in layout.by_storage().items()
    }
    entry = with_external_data(graph, locations).SerializeToString(deterministic=True)
    files = (PlannedFile(ENTRY, (Section(0, entry),), len(entry)), *_data_files(layout))
    return ArtifactPlan(
        Artifact(
            key=recipe.key(model),
            kind="synthetic",
            format="onnx",
            model=model.id,
            quantisation=recipe.quantisation,
            float_type=recipe.float_type,
            directory=Path(),
            entry=ENTRY,
            files=files_of(files),
            total_bytes=sum(file.bytes for file in files),
            stored_bytes=sum(tensor.bytes for tensor in graph.tensors),
            shape=shape_of(model),
        ),
        files,
        recipe.seed,
    )


def _data_files(layout: Plan) -> list[PlannedFile]:
    return [
        PlannedFile(
            shard_name(number),
            tuple(
                Section(placement.offset, placement.tensor)
                for placement in layout.placements
                if placement.shard == number
            ),
            size,
        )
        for number, size in enumerate(layout.shard_sizes)
    ]
