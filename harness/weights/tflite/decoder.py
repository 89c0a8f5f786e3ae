"""A whole decoder with the signatures that LiteRT-LM runs on a processor, as `.litertlm`.

Names, shapes and types are those of google-ai-edge/litert-torch with its mask as an input and the
transposed cache (litert_torch/generative/utilities/converter.py, layers/kv_cache.py), by which
google-ai-edge/LiteRT-LM:runtime/executor/litert_compiled_model_executor_utils.cc knows a model:

    prefill_N, decode (N = 1)
        tokens            int32   [1, N]
        input_pos         int32   [N]
        mask              float32 [1, 1, N, context], 0 where a token looks
        kv_cache_k_L      float32 [1, kv_heads, context, head_dim]
        kv_cache_v_L      float32 [1, kv_heads, head_dim, context]
    -> kv_cache_k_L, kv_cache_v_L, and of decode: logits float32 [1, 1, vocabulary]

The engine gives caches as input and output in one and the same buffer: nothing reads an old cache
once it is written. Graphs share all weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from harness.errors import UserError
from harness.weights.artifact import Artifact
from harness.weights.litertlm import DataType, SectionSpec, frame
from harness.weights.mediapipe.recipe import llm_metadata
from harness.weights.plan import ArtifactPlan, PlannedFile, Section, content_key, files_of, shape_of
from harness.weights.tflite import parameters
from harness.weights.tflite.blocks import MASKED, Blocks, Position, embedding_factor
from harness.weights.tflite.graph import Graph, Value
from harness.weights.tflite.schema import TensorType
from harness.weights.tflite.serialise import lay_out
from harness.weights.tokenizer import spm_model

if TYPE_CHECKING:
    from harness.models import Architecture

# Raise it with every change of what is written: keys depend on it.
WRITER_VERSION: Final = 1

# As published files have them ("ekv1280").
CONTEXT: Final = 1280


@dataclass(frozen=True, slots=True)
class PrefillDecodeRecipe:
    """Choices for the decoder; every one of them changes the bytes, and so the key.

    Attributes:
        quantisation: `int8`, `int4` or `fp32` (see `harness.weights.tflite.parameters`).
        seed: Decides on all random weights.
        prefill: Tokens of each prefill signature. The engine takes the largest one as often as it
            fits and pads the rest to the smallest that holds it.
        context: Positions of the key/value cache; never more than the model's context.
    """

    quantisation: str = "int8"
    seed: int = 1
    prefill: tuple[int, ...] = (128,)
    context: int = CONTEXT

    def key(self, model: Architecture) -> str:
        """See `Recipe.key`."""
        _check(model, self)
        return content_key(
            model,
            self,
            format="litertlm-prefill-decode",
            version=WRITER_VERSION,
            label=f"{self.quantisation}-litertlm-cpu",
        )

    def plan(self, model: Architecture) -> ArtifactPlan:
        """See `Recipe.plan`."""
        _check(model, self)
        graphs = build(model, self)
        inner = lay_out(graphs, model.id, self.seed)
        metadata = llm_metadata(min(self.context, model.max_context))
        spm = spm_model(model.vocabulary)
        outer = frame(
            (
                SectionSpec(DataType.LLM_METADATA, len(metadata)),
                SectionSpec(DataType.SENTENCEPIECE, len(spm)),
                SectionSpec(
                    DataType.TFLITE_MODEL,
                    inner.bytes,
                    (("model_type", "tf_lite_prefill_decode"),),
                ),
            ),
            (("Authors", "tierlab: random weights"),),
        )
        about, tokenizer, start = outer.offsets
        sections = (
            Section(0, outer.head),
            Section(about, metadata),
            Section(tokenizer, spm),
            *(Section(start + section.offset, section.content) for section in inner.sections),
        )
        file = PlannedFile("model.litertlm", sections, outer.bytes)
        artifact = Artifact(
            key=self.key(model),
            kind="synthetic",
            format="litertlm",
            model=model.id,
            quantisation=self.quantisation,
            directory=Path(),
            entry=file.name,
            files=files_of((file,)),
            total_bytes=file.bytes,
            stored_bytes=sum(section.bytes for section in inner.sections),
            shape=shape_of(model),
        )
        return ArtifactPlan(artifact, (file,), self.seed)


def build(model: Architecture, recipe: PrefillDecodeRecipe) -> tuple[Graph, ...]:
    """The graphs of all signatures, `decode` last."""
    context = min(recipe.context, model.max_context)
    prefill = [
        _signature(model, recipe.quantisation, f"prefill_{tokens}", tokens, context, logits=False)
        for tokens in recipe.prefill
    ]
    return *prefill, _signature(model, recipe.quantisation, "decode", 1, context, logits=True)


def _check(model: Architecture, recipe: PrefillDecodeRecipe) -> None:
    parameters.check(model, recipe.quantisation)
    context = min(recipe.context, model.max_context)
    if not recipe.prefill or not all(1 < tokens <= context for tokens in recipe.prefill):
        raise UserError(
            f"prefill signatures of {recipe.prefill} tokens do not fit {context} positions",
            "give at least one length, above 1 and not above the context",
        )


@dataclass(frozen=True, slots=True)
class _Cache:
    """The key/value cache as inputs and outputs of a signature."""

    graph: Graph
    keys: tuple[Value, ...]
    values: tuple[Value, ...]
    key_start: Value
    value_start: Value

    def extend(self, key: Value, value: Value, layer: int) -> tuple[Value, Value]:
        """See `Memory.extend`."""
        keys = self.graph.update(self.keys[layer], key, self.key_start)
        values = self.graph.update(self.values[layer], value, self.value_start)
        self.graph.output(f"kv_cache_k_{layer}", keys)
        self.graph.output(f"kv_cache_v_{layer}", values)
        return keys, values


def _signature(
    model: Architecture, quantisation: str, key: str, tokens: int, context: int, *, logits: bool
) -> Graph:
    graph = Graph(key)
    ids = graph.input("tokens", (1, tokens), TensorType.INT32)
    positions = graph.input("input_pos", (tokens,), TensorType.INT32)
    mask = graph.input("mask", (1, 1, tokens, context))
    blocks = Blocks(graph, model, quantisation, tokens)
    cache = _cache(graph, model, positions, context)
    position = _position(blocks, positions, mask)
    table = parameters.table(quantisation, "embedding", model)
    x = graph.lookup(graph.reshape(ids, tokens), table)
    x = graph.multiply(graph.reshape(x, 1, tokens, model.hidden), embedding_factor(model))
    last = model.layers - 1
    for layer in range(model.layers):
        if layer == last and not logits:
            # Nothing behind the last keys and values matters to a prefill.
            normed = blocks.norm(x, f"layers.{layer}.input_norm")
            blocks.key_and_value(normed, layer, position, cache)
            return graph
        x = blocks.layer(x, layer, position, cache)
    x = blocks.norm(x, "final_norm", final=True)
    head = table if model.tied_embeddings else parameters.table(quantisation, "head", model)
    out = graph.linear(x, head)
    if model.final_softcap:
        out = blocks.softcap(out, model.final_softcap)
    graph.output("logits", out)
    return graph


def _cache(graph: Graph, model: Architecture, positions: Value, context: int) -> _Cache:
    keys, values = [], []
    for layer in range(model.layers):
        shape = (1, model.kv_heads, context, model.head_dim)
        keys.append(graph.input(f"kv_cache_k_{layer}", shape))
        turned = (1, model.kv_heads, model.head_dim, context)
        values.append(graph.input(f"kv_cache_v_{layer}", turned))
    start = graph.first(positions)
    zeros = {count: graph.constant(np.zeros(count, np.int32)) for count in (1, 2, 3)}
    return _Cache(
        graph,
        tuple(keys),
        tuple(values),
        graph.concatenate((zeros[2], start, zeros[1]), 0),
        graph.concatenate((zeros[3], start), 0),
    )


def _position(blocks: Blocks, positions: Value, mask: Value) -> Position:
    """Angles and masks of both kinds of layers."""
    graph, model = blocks.graph, blocks.model
    floats = graph.cast(positions)
    angles = blocks.angles(floats, model.rope_theta)
    if model.sliding_window is None:
        return Position(angles, angles, mask, mask)
    # How far back each position of the context lies; the window ends where this reaches its size.
    context = np.arange(mask.shape[-1], dtype=np.float32).reshape(1, 1, 1, -1)
    back = graph.subtract(graph.reshape(floats, 1, 1, blocks.tokens, 1), graph.constant(context))
    beyond = graph.multiply(graph.subtract(back, model.sliding_window - 1), MASKED)
    return Position(
        angles,
        blocks.angles(floats, model.rope_theta_local or model.rope_theta),
        mask,
        graph.minimum(mask, beyond),
    )
