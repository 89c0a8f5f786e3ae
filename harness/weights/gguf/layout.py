"""Which tensors and which metadata each family has in GGUF, named and stored as llama.cpp wants.

Names are those of ggml-org/llama.cpp:gguf-py/gguf/constants.py. What the names do not say:

- Gemma's norms multiply by 1 + weight in the original; a GGUF holds the sum.
- All of these families pair the halves of a head in rotary positions, so that queries and keys need
  no reordering of rows.
- Gemma 3's local layers have a rotary base of their own, and a global layer is every sixth, the
  last of each group, as in Gemma 2, where it is every second.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal

from harness.weights.gguf.header import (
    Value,
    boolean,
    float32,
    float32s,
    int32s,
    string,
    strings,
    uint32,
)
from harness.weights.gguf.types import F32, FILE_TYPES, MATRIX_TYPES, TensorType, table_type
from harness.weights.tokenizer import BOS, EOS, PAD, UNK, pieces

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.models import Architecture

EPSILON: Final = 1e-6
Role = Literal["matrix", "table", "norm", "final_norm", "bias"]

_TURNS: Final = (
    "{% for message in messages %}{{ '<start_of_turn>' + message['role'] + message['content'] "
    "+ '<end_of_turn>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model' }}{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor to be written; `shape` has the length of a row first."""

    name: str
    shape: tuple[int, ...]
    kind: TensorType
    role: Role

    @property
    def bytes(self) -> int:
        """Stored size."""
        row, *rows = self.shape
        return self.kind.size(row) * (rows[0] if rows else 1)


def tensors(model: Architecture, quantisation: str) -> list[Tensor]:
    """All tensors of a model, in the order in which they are stored."""
    table = table_type(model, quantisation)
    shape = (model.hidden, model.vocabulary)
    found = [Tensor("token_embd.weight", shape, table, "table")]
    if not model.tied_embeddings:
        found.append(Tensor("output.weight", shape, table, "table"))
    found.append(Tensor("output_norm.weight", (model.hidden,), F32, "final_norm"))
    for layer in range(model.layers):
        found += _layer(model, f"blk.{layer}.", MATRIX_TYPES[quantisation])
    return found


def _layer(model: Architecture, prefix: str, kind: TensorType) -> Iterator[Tensor]:
    hidden = model.hidden

    def norm(name: str, width: int = hidden) -> Tensor:
        return Tensor(f"{prefix}{name}.weight", (width,), F32, "norm")

    def matrix(name: str, row: int, rows: int) -> Tensor:
        return Tensor(f"{prefix}{name}.weight", (row, rows), kind, "matrix")

    yield norm("attn_norm")
    for part, width in (("q", model.query_width), ("k", model.kv_width), ("v", model.kv_width)):
        yield matrix(f"attn_{part}", hidden, width)
        if model.qkv_bias:
            yield Tensor(f"{prefix}attn_{part}.bias", (width,), F32, "bias")
    yield matrix("attn_output", model.query_width, hidden)
    if model.qk_norm:
        yield norm("attn_q_norm", model.head_dim)
        yield norm("attn_k_norm", model.head_dim)
    if model.post_norms:
        yield norm("post_attention_norm")
    yield norm("ffn_norm")
    yield matrix("ffn_gate", hidden, model.ffn)
    yield matrix("ffn_up", hidden, model.ffn)
    yield matrix("ffn_down", model.ffn, hidden)
    if model.post_norms:
        yield norm("post_ffw_norm")


def metadata(model: Architecture, quantisation: str) -> dict[str, Value]:
    """All metadata: the architecture's numbers and the tokenizer."""
    return {
        "general.architecture": string(model.family),
        "general.type": string("model"),
        "general.name": string(f"synthetic {model.id} {quantisation}"),
        "general.file_type": uint32(FILE_TYPES[quantisation]),
        "general.quantization_version": uint32(2),
        **{f"{model.family}.{name}": value for name, value in _numbers(model).items()},
        **_tokenizer(model.vocabulary),
    }


def _numbers(model: Architecture) -> dict[str, Value]:
    numbers = {
        "context_length": uint32(model.max_context),
        "embedding_length": uint32(model.hidden),
        "block_count": uint32(model.layers),
        "feed_forward_length": uint32(model.ffn),
        "attention.head_count": uint32(model.heads),
        "attention.head_count_kv": uint32(model.kv_heads),
        # Without these two, the width of a head would be hidden / heads.
        "attention.key_length": uint32(model.head_dim),
        "attention.value_length": uint32(model.head_dim),
        "attention.layer_norm_rms_epsilon": float32(EPSILON),
        "rope.dimension_count": uint32(model.head_dim),
        "rope.freq_base": float32(model.rope_theta),
    }
    if model.sliding_window is not None:
        numbers["attention.sliding_window"] = uint32(model.sliding_window)
        numbers["attention.sliding_window_pattern"] = uint32(model.global_every)
    if model.rope_theta_local is not None:
        numbers["rope.freq_base_swa"] = float32(model.rope_theta_local)
    if model.attention_softcap is not None:
        numbers["attn_logit_softcapping"] = float32(model.attention_softcap)
    if model.final_softcap is not None:
        numbers["final_logit_softcapping"] = float32(model.final_softcap)
    return numbers


@lru_cache(maxsize=2)
def _tokenizer(vocabulary: int) -> Mapping[str, Value]:
    """The vocabulary; `llama` is llama.cpp's word for SentencePiece BPE, whatever the family.

    A prompt's text becomes exactly its words: no beginning is added, and no blank.
    """
    entries = list(pieces(vocabulary))
    return {
        "tokenizer.ggml.model": string("llama"),
        "tokenizer.ggml.pre": string("default"),
        "tokenizer.ggml.tokens": strings([entry.text for entry in entries]),
        "tokenizer.ggml.scores": float32s([entry.score for entry in entries]),
        "tokenizer.ggml.token_type": int32s([int(entry.kind) for entry in entries]),
        "tokenizer.ggml.bos_token_id": uint32(BOS),
        "tokenizer.ggml.eos_token_id": uint32(EOS),
        "tokenizer.ggml.unknown_token_id": uint32(UNK),
        "tokenizer.ggml.padding_token_id": uint32(PAD),
        "tokenizer.ggml.add_bos_token": boolean(value=False),
        "tokenizer.ggml.add_eos_token": boolean(value=False),
        "tokenizer.ggml.add_space_prefix": boolean(value=False),
        "tokenizer.chat_template": string(_TURNS),
    }
