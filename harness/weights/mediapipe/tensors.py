"""Which tensors the engine looks for, by name, and the parameters it reads beside them.

The names of Gemma 1 to 3 are those that MediaPipe's converter writes
(google-ai-edge/mediapipe:mediapipe/tasks/python/genai/converter/safetensors_converter.py); those of
Gemma 4 were found by trial against tasks-genai 0.10.29. The parameters are
`odml.infra.proto.LlmParameters`; the numbers of its fields are those of the descriptor inside that
engine's WebAssembly file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.errors import UserError
from harness.weights.mediapipe.messages import encode
from harness.weights.tokenizer import BOS, SPECIALS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.models import Architecture, PerLayerInputs
    from harness.weights.mediapipe.messages import Fields, Value

FAMILIES: Final = ("gemma", "gemma2", "gemma3", "gemma4")

_GELU, _CAUSAL = 1, 1
_NO_NORM, _RMS_NORM = 1, 2
_INVERSE_ROOT_OF_HEAD, _NO_ATTENTION_SCALE = 2, 5


@dataclass(frozen=True, slots=True)
class Mix:
    """Bits of a weight in the parts of a model."""

    attention: int
    feed_forward: int
    table: int
    per_layer_table: int = 4


@dataclass(frozen=True, slots=True)
class Matrix:
    """A quantised matrix: one scale a row.

    Attributes:
        is_table: Its rows are those of the vocabulary, and it is the head as well.
        is_looked_up: Only single rows of it are read: the sums of rows have no use.
    """

    name: str
    rows: int
    columns: int
    bits: int
    is_table: bool = False
    is_looked_up: bool = False


@dataclass(frozen=True, slots=True)
class Norm:
    """The factors of a norm, less one: the engine adds it.

    Attributes:
        is_final: The one before the head. See harness/weights/onnx/graph.py: with tied tables, a
            random model would repeat its last token unless its factors have random signs.
    """

    name: str
    size: int
    is_final: bool = False


Tensor = Matrix | Norm


def tensors(model: Architecture, mix: Mix) -> Iterator[Tensor]:
    """All tensors in the order of the file, which is that in which the engine loads them.

    Raises:
        UserError: the engine does not know the model's family.
    """
    if model.family not in FAMILIES:
        raise UserError(
            f"no web container for {model.id}: its family is {model.family}",
            f"families that are written: {', '.join(FAMILIES)}",
        )
    if model.per_layer:
        return _with_per_layer(model, model.per_layer, mix)
    return _plain(model, mix)


def _plain(model: Architecture, mix: Mix) -> Iterator[Tensor]:
    hidden, ffn = model.hidden, model.ffn
    yield Matrix("params.lm.softmax.logits_ffn", model.vocabulary, hidden, mix.table, is_table=True)
    for layer in range(model.layers):
        name = f"params.lm.transformer.x_layers_{layer}."
        attention, feed_forward = f"{name}self_attention.", f"{name}ff_layer."
        yield Norm(f"{name}pre_layer_norm.scale", hidden)
        if model.qk_norm:
            for part in "qk":
                yield Norm(f"{attention}{part}_norm.scale", model.head_dim)
        yield Matrix(f"{attention}q", model.query_width, hidden, mix.attention)
        yield Matrix(f"{attention}k", model.kv_width, hidden, mix.attention)
        yield Matrix(f"{attention}v", model.kv_width, hidden, mix.attention)
        yield Matrix(f"{attention}post", hidden, model.query_width, mix.attention)
        if model.post_norms:
            yield Norm(f"{name}post_layer_norm.scale", hidden)
        yield Norm(f"{feed_forward}pre_layer_norm.scale", hidden)
        yield Matrix(f"{feed_forward}ffn_layer1_gate", ffn, hidden, mix.feed_forward)
        yield Matrix(f"{feed_forward}ffn_layer1", ffn, hidden, mix.feed_forward)
        yield Matrix(f"{feed_forward}ffn_layer2", hidden, ffn, mix.feed_forward)
        if model.post_norms:
            yield Norm(f"{feed_forward}post_layer_norm.scale", hidden)
    yield Norm("params.lm.final_ln.scale", hidden, is_final=True)


def _with_per_layer(model: Architecture, extra: PerLayerInputs, mix: Mix) -> Iterator[Tensor]:
    hidden, width, heads = model.hidden, extra.width, model.heads
    yield Matrix(
        "transformer.embedder.input_embedding", model.vocabulary, hidden, mix.table, is_table=True
    )
    yield Matrix("transformer.embedder.per_layer_model_projection", model.layers * width, hidden, 8)
    yield Norm("transformer.embedder.per_layer_projection_norm.scale", width)
    for layer in range(model.layers):
        name = f"transformer.layer_{layer}."
        head = extra.global_head_dim if model.is_global_layer(layer) else model.head_dim
        shares = layer >= extra.shared_from
        ffn = extra.shared_ffn if shares else model.ffn
        yield Matrix(
            f"{name}per_layer_embeddings",
            model.vocabulary,
            width,
            mix.per_layer_table,
            is_looked_up=True,
        )
        yield Norm(f"{name}pre_attention_norm.scale", hidden)
        yield Norm(f"{name}attn.q_norm.scale", head)
        yield Matrix(f"{name}attn.q", heads * head, hidden, mix.attention)
        yield Matrix(f"{name}attn.attn_vec_einsum", hidden, heads * head, mix.attention)
        if not shares:
            yield Norm(f"{name}attn.k_norm.scale", head)
            yield Matrix(f"{name}attn.k", model.kv_heads * head, hidden, mix.attention)
            yield Matrix(f"{name}attn.v", model.kv_heads * head, hidden, mix.attention)
        yield Norm(f"{name}post_attention_norm.scale", hidden)
        yield Norm(f"{name}pre_ffw_norm.scale", hidden)
        yield Matrix(f"{name}mlp.ff_gate", ffn, hidden, mix.feed_forward)
        yield Matrix(f"{name}mlp.ff1", ffn, hidden, mix.feed_forward)
        yield Matrix(f"{name}mlp.linear", hidden, ffn, mix.feed_forward)
        yield Norm(f"{name}post_ffw_norm.scale", hidden)
        yield Matrix(f"{name}per_layer_embedding_gate", width, hidden, 8)
        yield Matrix(f"{name}per_layer_embedding_projection", hidden, width, 8)
        yield Norm(f"{name}post_per_layer_input_norm.scale", hidden)
        yield Norm(f"{name}skip.scale", 1)
    yield Norm("transformer.final_norm.scale", hidden, is_final=True)


def parameters(model: Architecture) -> bytes:
    """`odml.infra.proto.LlmParameters` of a model, serialised."""
    return encode(
        (
            (1, _transformer(model)),
            (2, model.vocabulary),
            (4, BOS),  # start_token_id
            (5, SPECIALS[1]),  # stop_tokens
            (5, SPECIALS[5]),
        )
    )


def _transformer(model: Architecture) -> Fields:
    after = _RMS_NORM if model.post_norms else _NO_NORM
    fields: list[tuple[int, Value]] = [
        (1, 1),  # batch_size
        (3, model.hidden),
        (4, model.ffn),
        (5, model.head_dim),
        (6, model.heads),
        (7, model.layers),
        (9, model.kv_heads),
        (11, ((1, True), (2, _GELU), (3, _RMS_NORM), (4, after))),  # feed_forward_parameters
        (12, _final(model)),
        (13, _RMS_NORM),
        (14, after),
        (15, _RMS_NORM),
        (16, _attention(model)),
        (18, True),  # skip_absolute_positional_embeddings
    ]
    if model.sliding_window:
        fields.append((19, model.global_every - 1))  # num_local_layers_per_global
    if extra := model.per_layer:
        fields += [
            (21, extra.width),
            (32, model.rope_theta),
            (35, extra.shared_from),
            (48, 0.25),  # global_rope_proportion
            (49, True),  # scale_layer
            (50, extra.global_head_dim),
            (51, extra.shared_ffn),
        ]
    elif model.rope_theta_local:
        fields.append((32, model.rope_theta))  # global_rope_wavelength
    return tuple(fields)


def _final(model: Architecture) -> Fields:
    cap: Fields = ((2, model.final_softcap),) if model.final_softcap else ()
    return ((1, True), *cap)


def _attention(model: Architecture) -> Fields:
    fields: list[tuple[int, Value]] = [(1, True), (2, True), (3, _CAUSAL)]
    if model.attention_softcap:
        fields.append((4, model.attention_softcap))
    fields.append((5, _NO_ATTENTION_SCALE if model.per_layer else _INVERSE_ROOT_OF_HEAD))
    if model.sliding_window:
        fields.append((6, model.sliding_window))
    if model.qk_norm:
        fields += [(7, True), (8, True)]  # with scales of their own
    return tuple(fields)
