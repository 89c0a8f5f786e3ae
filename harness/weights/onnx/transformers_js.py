"""A model's directory as Transformers.js 4 loads it: a graph, its data, a tokenizer, and settings.

    config.json  generation_config.json  tokenizer.json  tokenizer_config.json
    onnx/model_q4.onnx  onnx/model_q4.onnx_data  onnx/model_q4.onnx_data_1 ...

Names of files are those of src/models/session.js and src/utils/model-loader.js of
huggingface/transformers.js. Its caches are made by the names of dimensions, so those are not free
(`past_key dimension 0 should be batch_size, got 0`). The graph is that of `graph`, but for the
vocabulary table: the engine inside has no GatherBlockQuantized on the CPU, and exported models of
its kind (`q4`) keep that table in float32.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import onnx
from onnx import helper

from harness.errors import UserError
from harness.weights.artifact import Artifact
from harness.weights.onnx.graph import Graph, build, with_external_data
from harness.weights.onnx.recipe import SHARD_BYTES, OnnxRecipe, check
from harness.weights.onnx.shards import Plan, plan
from harness.weights.plan import (
    ArtifactPlan,
    PlannedFile,
    Section,
    content_key,
    files_of,
    shape_of,
)
from harness.weights.tensors import TensorSpec, Uniform
from harness.weights.tokenizer import BLANK, BOS, EOS, FIRST_WORD, PAD, SPECIALS, pieces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.models import Architecture

WRITER_VERSION: Final = 1
ENTRY: Final = "onnx/model_q4.onnx"
_GRAPH: Final = "model_q4.onnx"
_TABLE: Final = "embed.table"

_DIMENSIONS: Final = {
    "batch": "batch_size",
    "sequence": "sequence_length",
    "past": "past_sequence_length",
    "total": "total_sequence_length",
}

# What `config.json` calls the families: the model's type, and its class.
_TYPES: Final = {
    "gemma": ("gemma", "GemmaForCausalLM"),
    "gemma2": ("gemma2", "Gemma2ForCausalLM"),
    "gemma3": ("gemma3_text", "Gemma3ForCausalLM"),
    "qwen2": ("qwen2", "Qwen2ForCausalLM"),
}


@dataclass(frozen=True, slots=True)
class TransformersJsRecipe:
    """Choices for such a directory: weights of 4 bits, everything else in float32."""

    quantisation: str = "int4"
    shard_bytes: int = SHARD_BYTES
    seed: int = 1
    accuracy_level: int = 4

    @property
    def graph(self) -> OnnxRecipe:
        """The recipe of its graph, before it is adapted."""
        return OnnxRecipe(
            quantisation=self.quantisation,
            shard_bytes=self.shard_bytes,
            seed=self.seed,
            accuracy_level=self.accuracy_level,
        )

    def key(self, model: Architecture) -> str:
        """See `Recipe.key`."""
        self._check(model)
        return content_key(
            model, self, format="transformers.js", version=WRITER_VERSION, label="transformersjs-q4"
        )

    def plan(self, model: Architecture) -> ArtifactPlan:
        """See `Recipe.plan`."""
        self._check(model)
        graph = _adapted(build(model, self.graph), model)
        layout = plan(graph.tensors, self.shard_bytes)
        locations = {
            storage: (_data_name(placement.shard), placement.offset)
            for storage, placement in layout.by_storage().items()
        }
        entry = with_external_data(graph, locations).SerializeToString(deterministic=True)
        files = (_file(ENTRY, entry), *_data_files(layout), *_settings(model, layout))
        return ArtifactPlan(
            Artifact(
                key=self.key(model),
                kind="synthetic",
                format="onnx",
                model=model.id,
                quantisation=self.quantisation,
                directory=Path(),
                entry=ENTRY,
                files=files_of(files),
                total_bytes=sum(file.bytes for file in files),
                stored_bytes=sum(tensor.bytes for tensor in graph.tensors),
                shape=shape_of(model),
            ),
            files,
            self.seed,
        )

    def _check(self, model: Architecture) -> None:
        check(model, self.graph)
        if self.quantisation != "int4":
            raise UserError(
                f"no directory for Transformers.js with {self.quantisation} weights",
                "int4 is the one that is written",
            )
        if model.vocabulary <= FIRST_WORD:
            raise UserError(
                f"{model.id}: a vocabulary of {model.vocabulary} is too small for a tokenizer",
                f"it needs more than {FIRST_WORD} entries",
            )


def _adapted(graph: Graph, model: Architecture) -> Graph:
    """The graph with a table in float32, and with the names that Transformers.js goes by."""
    adapted = onnx.ModelProto()
    adapted.CopyFrom(graph.model)
    nodes = list(adapted.graph.node)
    gather = next(node for node in nodes if node.op_type == "GatherBlockQuantized")
    # It gives blocks, which the next node joins to rows.
    join = next(node for node in nodes if gather.output[0] in node.input)
    scales = gather.input[2]
    replaced = helper.make_node(
        "Gather", [_TABLE, "input_ids"], list(join.output), name="embed/Gather", axis=0
    )
    del adapted.graph.node[:]
    adapted.graph.node.extend(
        replaced if node is gather else node for node in nodes if node is not join
    )
    _remove_unused_constants(adapted)
    for value in (*adapted.graph.input, *adapted.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = _DIMENSIONS[dim.dim_param]
    fill = Uniform(0.0, math.sqrt(3 / model.hidden), signed=True)
    table = TensorSpec(_TABLE, "float32", (model.vocabulary, model.hidden), fill)
    used = {name for node in adapted.graph.node for name in node.input}
    others = (spec for spec in graph.tensors if spec.name != scales and spec.name in used)
    return Graph(adapted, (table, *others))


def _remove_unused_constants(model: onnx.ModelProto) -> None:
    used = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def _data_name(number: int) -> str:
    return f"{_GRAPH}_data_{number}" if number else f"{_GRAPH}_data"


def _file(name: str, content: bytes) -> PlannedFile:
    return PlannedFile(name, (Section(0, content),), len(content))


def _data_files(layout: Plan) -> Iterator[PlannedFile]:
    for number, size in enumerate(layout.shard_sizes):
        sections = (
            Section(placement.offset, placement.tensor)
            for placement in layout.placements
            if placement.shard == number
        )
        yield PlannedFile(f"onnx/{_data_name(number)}", tuple(sections), size)


def _settings(model: Architecture, layout: Plan) -> Iterator[PlannedFile]:
    # No end-of-sequence token: a random model may choose it at any time, and a run be cut short.
    tokens = {"bos_token_id": BOS, "pad_token_id": PAD}
    for name, content in (
        ("config.json", {**_config(model, len(layout.shard_sizes)), **tokens}),
        ("generation_config.json", tokens),
        ("tokenizer.json", tokenizer(model.vocabulary)),
        ("tokenizer_config.json", _TOKENIZER_CONFIG),
    ):
        yield _file(name, json.dumps(content, ensure_ascii=False).encode())


def _config(model: Architecture, data_files: int) -> dict[str, Any]:
    kind, name = _TYPES[model.family]
    return {
        "architectures": [name],
        "model_type": kind,
        "hidden_size": model.hidden,
        "intermediate_size": model.ffn,
        "num_hidden_layers": model.layers,
        "num_attention_heads": model.heads,
        "num_key_value_heads": model.kv_heads,
        "head_dim": model.head_dim,
        "vocab_size": model.vocabulary,
        "max_position_embeddings": model.max_context,
        "transformers.js_config": {
            "use_external_data_format": {_GRAPH: data_files},
            "kv_cache_dtype": {"q4": "float32"},
        },
    }


_TOKENIZER_CONFIG: Final = {
    "tokenizer_class": "GemmaTokenizer",
    "bos_token": SPECIALS[BOS],
    "eos_token": SPECIALS[EOS],
    "pad_token": SPECIALS[PAD],
    "unk_token": "<unk>",
    "add_bos_token": False,
}


def tokenizer(vocabulary: int) -> dict[str, Any]:
    """`tokenizer.json` of the vocabulary in `harness.weights.tokenizer`.

    Byte-pair encoding, in the format of huggingface/tokenizers: each word is the merge of the word
    without its last letter, and that letter. No token is added to a text.
    """
    texts = [piece.text for piece in pieces(vocabulary)]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": number,
                "content": text,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for number, text in enumerate(SPECIALS)
        ],
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": BLANK},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": BLANK}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "vocab": {text: number for number, text in enumerate(texts)},
            "merges": [[text[:-1], text[-1]] for text in texts[FIRST_WORD:]],
        },
    }
