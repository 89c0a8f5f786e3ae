"""One decoder layer as a small `.tflite` of the real widths, to ask a runtime what it can do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from harness.errors import UserError
from harness.weights.artifact import Artifact
from harness.weights.plan import ArtifactPlan, PlannedFile, content_key, files_of, shape_of
from harness.weights.tflite import parameters
from harness.weights.tflite.blocks import MASKED, Angles, Blocks, Position, rotary_frequencies
from harness.weights.tflite.graph import Graph, Value
from harness.weights.tflite.serialise import lay_out

if TYPE_CHECKING:
    from harness.models import Architecture

# Raise it with every change of what is written: keys depend on it.
WRITER_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class DecoderLayerRecipe:
    """The first layer of a model: norms, attention with rotary positions, gated feed-forward.

    Inputs, all float32, in this order:

        hidden  [1, tokens, hidden]                 residual stream, of variance one
        key     [1, kv_heads, past, head_dim]       only where `past` is above 0
        value   [1, kv_heads, head_dim, past]       likewise

    and one output, `hidden` float32 `[1, tokens, hidden]`. Positions are `past` to
    `past + tokens - 1`; each token sees all that is behind it, within the layer's window. Shapes
    are static, and every operator is one that GPU delegates have too: no integers flow.

    Attributes:
        quantisation: `int8`, `int4` or `fp32` (see `harness.weights.tflite.parameters`).
        tokens: How many at a time: 1 is a step of decoding.
        past: How many keys and values are given.
        seed: Decides on all random weights.
    """

    quantisation: str = "int8"
    tokens: int = 16
    past: int = 0
    seed: int = 1

    def key(self, model: Architecture) -> str:
        """See `Recipe.key`."""
        _check(model, self)
        return content_key(
            model,
            self,
            format="tflite-layer",
            version=WRITER_VERSION,
            label=f"{self.quantisation}-layer{self.tokens}+{self.past}",
        )

    def plan(self, model: Architecture) -> ArtifactPlan:
        """See `Recipe.plan`."""
        _check(model, self)
        layout = lay_out((build(model, self),), f"{model.id}, one layer", self.seed)
        file = PlannedFile("layer.tflite", layout.sections, layout.bytes)
        artifact = Artifact(
            key=self.key(model),
            kind="synthetic",
            format="tflite",
            model=model.id,
            quantisation=self.quantisation,
            directory=Path(),
            entry=file.name,
            files=files_of((file,)),
            total_bytes=file.bytes,
            stored_bytes=sum(section.bytes for section in layout.sections),
            shape={**shape_of(model), "layers": 1},
            inputs=("hidden", "key", "value") if self.past else ("hidden",),
        )
        return ArtifactPlan(artifact, (file,), self.seed)


def build(model: Architecture, recipe: DecoderLayerRecipe) -> Graph:
    """The graph of layer 0."""
    graph = Graph("layer")
    x = graph.input("hidden", (1, recipe.tokens, model.hidden))
    memory: _Given | _Nothing = _Nothing()
    if recipe.past:
        memory = _Given(
            graph,
            graph.input("key", (1, model.kv_heads, recipe.past, model.head_dim)),
            graph.input("value", (1, model.kv_heads, model.head_dim, recipe.past)),
        )
    blocks = Blocks(graph, model, recipe.quantisation, recipe.tokens)
    out = blocks.layer(x, 0, _position(graph, model, recipe), memory)
    graph.output("hidden", out)
    return graph


def _check(model: Architecture, recipe: DecoderLayerRecipe) -> None:
    parameters.check(model, recipe.quantisation)
    if recipe.tokens < 1 or recipe.past < 0:
        raise UserError(
            f"a layer cannot take {recipe.tokens} tokens behind {recipe.past}",
            "give at least one token, and no fewer than none behind it",
        )


class _Nothing:
    """No keys and values beside those of the current tokens."""

    def extend(self, key: Value, value: Value, layer: int) -> tuple[Value, Value]:  # noqa: ARG002
        """See `Memory.extend`."""
        return key, value


@dataclass(frozen=True, slots=True)
class _Given:
    """Keys and values that are inputs of the graph."""

    graph: Graph
    keys: Value
    values: Value

    def extend(self, key: Value, value: Value, layer: int) -> tuple[Value, Value]:  # noqa: ARG002
        """See `Memory.extend`."""
        return (
            self.graph.concatenate((self.keys, key), 2),
            self.graph.concatenate((self.values, value), 3),
        )


def _position(graph: Graph, model: Architecture, recipe: DecoderLayerRecipe) -> Position:
    """Angles and masks as constants."""
    positions = np.arange(recipe.past, recipe.past + recipe.tokens)
    back = positions[:, None] - np.arange(recipe.past + recipe.tokens)
    seen = back >= 0
    near = seen & (back < (model.sliding_window or len(seen[0])))
    base = model.rope_theta
    return Position(
        _angles(graph, model, positions, base),
        _angles(graph, model, positions, model.rope_theta_local or base),
        _mask(graph, seen),
        _mask(graph, near),
    )


def _angles(graph: Graph, model: Architecture, positions: np.ndarray, base: float) -> Angles:
    angles = np.outer(positions, rotary_frequencies(model.head_dim, base))
    shaped = angles.reshape(1, len(positions), 1, -1)
    return Angles(
        graph.constant(np.cos(shaped).astype(np.float32)),
        graph.constant(np.sin(shaped).astype(np.float32)),
    )


def _mask(graph: Graph, seen: np.ndarray) -> Value:
    values = np.where(seen, 0.0, MASKED).astype(np.float32)
    return graph.constant(values.reshape(1, 1, *values.shape))
