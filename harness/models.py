"""The catalogue of model architectures, and what follows from their shapes alone.

Pure data and pure functions: nothing here reads a file or knows an engine. Shapes come from the
public configuration that each entry's `source` names (repository@commit:path where a commit was
recorded). `Architecture` counts matrix parameters only: norms and biases are below 0.1 % of any
model here, and no published size is that exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from harness.errors import nearest, unknown

Activation = Literal["gelu_tanh", "gelu", "silu"]
Family = Literal[
    "gemma", "gemma2", "gemma3", "gemma4", "qwen2", "phi", "falcon", "stablelm", "glm4"
]


@dataclass(frozen=True, slots=True)
class Quantisation:
    """How weights are stored: `bits` a weight, and one scale for each `block` weights of a row.

    A row must be a multiple of `row` weights.
    """

    name: str
    bits: int
    block: int | None = None
    row: int = 1

    def fits(self, model: Architecture) -> bool:
        """Whether the rows of all matrices divide into blocks."""
        widths = (model.hidden, model.ffn, model.query_width)
        return not any(width % self.row for width in widths)

    def weight_bytes(self, parameters: int, *, scale_bytes: int = 2) -> int:
        """Bytes of `parameters` weights with their scales (`scale_bytes` each, 2 is float16)."""
        scales = parameters // self.block * scale_bytes if self.block else 0
        return parameters * self.bits // 8 + scales


QUANTISATIONS = {
    quantisation.name: quantisation
    for quantisation in (
        Quantisation("int4", bits=4, block=32),
        Quantisation("int8", bits=8, block=32),
        Quantisation("fp16", bits=16),
        Quantisation("fp32", bits=32),
        # llama.cpp's own (ggml-org/llama.cpp:ggml/src/ggml-common.h): 18 and 34 bytes for 32
        # weights, and 144 for 256, which is as much as a two-byte scale for each 32.
        Quantisation("q4_0", bits=4, block=32, row=32),
        Quantisation("q4_k", bits=4, block=32, row=256),
        Quantisation("q8_0", bits=8, block=32, row=32),
    )
}


@dataclass(frozen=True, slots=True)
class PerLayerInputs:
    """What Gemma 3n and 4 have beside a plain decoder (their "effective" sizes leave it out).

    Attributes:
        width: Of the embedding that each layer has of its own, `[vocabulary, width]`.
        shared_from: Layers from this one on use the keys and values of an earlier one.
        shared_ffn: Width of the feed-forward part of those layers.
        global_head_dim: Width of a head in the layers that attend to the whole context.
    """

    width: int
    shared_from: int
    shared_ffn: int
    global_head_dim: int


@dataclass(frozen=True, slots=True)
class Architecture:
    """The shape of one decoder-only transformer."""

    id: str
    family: Family
    layers: int
    hidden: int
    ffn: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    max_context: int
    source: str
    aliases: tuple[str, ...] = ()
    tied_embeddings: bool = True
    gated_mlp: bool = True
    activation: Activation = "gelu_tanh"
    qkv_bias: bool = False
    qk_norm: bool = False
    post_norms: bool = False
    sliding_window: int | None = None
    # Every n-th layer attends to the whole context, the others to the window; 1 = all global.
    global_every: int = 1
    attention_softcap: float | None = None
    final_softcap: float | None = None
    rope_theta: float = 10_000.0
    rope_theta_local: float | None = None
    per_layer: PerLayerInputs | None = None
    notes: str = ""

    @property
    def query_width(self) -> int:
        """Width of all query heads together."""
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Width of all key (or value) heads together."""
        return self.kv_heads * self.head_dim

    @property
    def layer_parameters(self) -> int:
        """Matrix parameters of one layer: q, k, v, o and the feed-forward matrices."""
        attention = self.hidden * (2 * self.query_width + 2 * self.kv_width)
        feed_forward = self.hidden * self.ffn * (3 if self.gated_mlp else 2)
        return attention + feed_forward

    @property
    def embedding_parameters(self) -> int:
        """Parameters of the vocabulary table (once, also where the head is a second table)."""
        return self.vocabulary * self.hidden

    @property
    def body_parameters(self) -> int:
        """Matrix parameters of all layers that a token passes through."""
        if self.per_layer is None:
            return self.layers * self.layer_parameters
        return sum(self._layer_with_inputs(layer, self.per_layer) for layer in range(self.layers))

    def _layer_with_inputs(self, layer: int, extra: PerLayerInputs) -> int:
        """Matrix parameters of one layer of Gemma 4, without its own embedding table."""
        width = extra.global_head_dim if self.is_global_layer(layer) else self.head_dim
        shares = layer >= extra.shared_from
        heads = 2 * self.heads + (0 if shares else 2 * self.kv_heads)
        ffn = extra.shared_ffn if shares else self.ffn
        return self.hidden * (width * heads + 3 * ffn + 3 * extra.width)

    @property
    def lookup_parameters(self) -> int:
        """Parameters of tables of which a token reads one row only (Gemma 3n and 4)."""
        return self.layers * self.vocabulary * self.per_layer.width if self.per_layer else 0

    @property
    def parameters(self) -> int:
        """All matrix parameters as stored."""
        tables = 1 if self.tied_embeddings else 2
        return self.body_parameters + tables * self.embedding_parameters + self.lookup_parameters

    @property
    def decode_parameters(self) -> int:
        """Parameters that one decoded token reads: every layer and the head."""
        return self.body_parameters + self.embedding_parameters

    @property
    def largest_tensor_parameters(self) -> int:
        """Parameters of the largest single tensor; it decides on buffer and binding limits."""
        return max(self.embedding_parameters, self.hidden * self.ffn)

    def flops_per_token(self, *, head: bool = True) -> int:
        """Floating-point operations of one token: 2 a parameter, attention scores left out.

        During prefill the head runs for the last position only, hence `head=False` there.
        """
        return 2 * (self.decode_parameters if head else self.body_parameters)

    def kv_bytes_per_token(self, *, element_bytes: int = 2) -> int:
        """Bytes of keys and values that one token of context adds (2 is float16)."""
        return 2 * self.layers * self.kv_width * element_bytes

    def weight_bytes(self, quantisation: Quantisation, *, scale_bytes: int = 2) -> int:
        """Bytes of all stored weights."""
        return quantisation.weight_bytes(self.parameters, scale_bytes=scale_bytes)

    def is_global_layer(self, layer: int) -> bool:
        """Whether layer number `layer` (from 0) attends to the whole context."""
        return self.sliding_window is None or (layer + 1) % self.global_every == 0


@dataclass(frozen=True, slots=True)
class Workload:
    """What is asked of a device: a model, stored somehow, on an engine, at a length.

    `variant` names a special artifact of the model: see `harness.weights.variants`.
    """

    model: str
    quantisation: str
    runtime: str
    prompt_tokens: int
    output_tokens: int
    source: str = "network"
    variant: str = ""

    def __str__(self) -> str:
        source = "" if self.source == "network" else f" from {self.source}"
        variant = f" {self.variant}" if self.variant else ""
        return (
            f"{self.model}/{self.quantisation}{variant} on {self.runtime}{source}, "
            f"{self.prompt_tokens}+{self.output_tokens} tokens"
        )


_LITERT = "google-ai-edge/litert-torch@d738f43:litert_torch/generative/examples"
_TRANSFORMERS = "huggingface/transformers:src/transformers/models"

MODELS: dict[str, Architecture] = {
    model.id: model
    for model in (
        Architecture(
            id="gemma-2b",
            family="gemma",
            layers=18, hidden=2048, ffn=16384, heads=8, kv_heads=1, head_dim=256,
            vocabulary=256_000, max_context=8192,
            aliases=("GEMMA_2B", "gemma-2b-it", "gemma-1.1-2b-it"),
            source=f"{_LITERT}/gemma/gemma1.py",
        ),
        Architecture(
            id="gemma-7b",
            family="gemma",
            layers=28, hidden=3072, ffn=24576, heads=16, kv_heads=16, head_dim=256,
            vocabulary=256_000, max_context=8192,
            aliases=("gemma-7b-it",),
            source=f"{_TRANSFORMERS}/gemma/configuration_gemma.py (its defaults)",
        ),
        Architecture(
            id="gemma-2-2b-it",
            family="gemma2",
            layers=26, hidden=2304, ffn=9216, heads=8, kv_heads=4, head_dim=256,
            vocabulary=256_000, max_context=8192,
            aliases=("GEMMA2_2B", "gemma-2-2b", "gemma2-2b-it"),
            post_norms=True,
            sliding_window=4096, global_every=2,
            attention_softcap=50.0, final_softcap=30.0,
            source=f"{_LITERT}/gemma/gemma2.py",
        ),
        Architecture(
            id="gemma-3-270m",
            family="gemma3",
            layers=18, hidden=640, ffn=2048, heads=4, kv_heads=1, head_dim=256,
            vocabulary=262_144, max_context=32_768,
            aliases=("gemma-3-270m-it", "gemma3-270m"),
            post_norms=True, qk_norm=True,
            sliding_window=512, global_every=6,
            rope_theta=1_000_000.0, rope_theta_local=10_000.0,
            source=f"{_LITERT}/gemma3/decoder.py",
        ),
        Architecture(
            id="gemma-3-1b-it",
            family="gemma3",
            layers=26, hidden=1152, ffn=6912, heads=4, kv_heads=1, head_dim=256,
            vocabulary=262_144, max_context=32_768,
            aliases=("gemma-3-1b", "gemma3-1b-it"),
            post_norms=True, qk_norm=True,
            sliding_window=512, global_every=6,
            rope_theta=1_000_000.0, rope_theta_local=10_000.0,
            source=f"{_LITERT}/gemma3/decoder.py",
        ),
        Architecture(
            id="gemma-4-e2b",
            family="gemma4",
            layers=35, hidden=1536, ffn=6144, heads=8, kv_heads=1, head_dim=256,
            vocabulary=262_144, max_context=32_768,
            aliases=("gemma-4-e2b-it", "gemma4-e2b", "e2b"),
            post_norms=True, qk_norm=True,
            sliding_window=512, global_every=5,
            final_softcap=30.0,
            rope_theta=1_000_000.0, rope_theta_local=10_000.0,
            per_layer=PerLayerInputs(
                width=256, shared_from=15, shared_ffn=12_288, global_head_dim=512
            ),
            source="the size of gemma-4-E2B-it-web.task, and what its runtime accepts",
            notes="Text decoder. Its dimensions are consistent with the published file and with the"
            " engine, and not from a published configuration.",
        ),
        Architecture(
            id="qwen2.5-0.5b",
            family="qwen2",
            layers=24, hidden=896, ffn=4864, heads=14, kv_heads=2, head_dim=64,
            vocabulary=151_936, max_context=32_768,
            aliases=("qwen2.5-0.5b-instruct",),
            activation="silu", qkv_bias=True, rope_theta=1_000_000.0,
            source=f"{_LITERT}/qwen/qwen.py",
        ),
        Architecture(
            id="qwen2.5-1.5b",
            family="qwen2",
            layers=28, hidden=1536, ffn=8960, heads=12, kv_heads=2, head_dim=128,
            vocabulary=151_936, max_context=32_768,
            aliases=("qwen2.5-1.5b-instruct",),
            activation="silu", qkv_bias=True, rope_theta=1_000_000.0,
            source=f"{_LITERT}/qwen/qwen.py",
        ),
        Architecture(
            id="phi-2",
            family="phi",
            layers=32, hidden=2560, ffn=10_240, heads=32, kv_heads=32, head_dim=80,
            vocabulary=51_200, max_context=2048,
            tied_embeddings=False, gated_mlp=False, qkv_bias=True,
            source=f"{_LITERT}/phi/phi2.py",
            notes="LayerNorm, parallel residual, rotary over 40 % of a head, bias on the head",
        ),
        Architecture(
            id="falcon-rw-1b",
            family="falcon",
            layers=24, hidden=2048, ffn=8192, heads=32, kv_heads=32, head_dim=64,
            vocabulary=50_304, max_context=2048,
            gated_mlp=False, activation="gelu", qkv_bias=True,
            source=f"{_LITERT}/falcon/falcon.py",
            notes="LayerNorm, ALiBi instead of rotary positions",
        ),
        Architecture(
            id="stablelm-3b",
            family="stablelm",
            layers=32, hidden=2560, ffn=6912, heads=32, kv_heads=32, head_dim=80,
            vocabulary=50_304, max_context=4096,
            aliases=("stablelm-3b-4e1t",),
            tied_embeddings=False, activation="silu",
            source=f"{_TRANSFORMERS}/stablelm/configuration_stablelm.py (its defaults)",
            notes="LayerNorm, rotary over 25 % of a head",
        ),
        Architecture(
            id="autoglm-phone-9b",
            family="glm4",
            layers=40, hidden=4096, ffn=13_696, heads=32, kv_heads=2, head_dim=128,
            vocabulary=151_552, max_context=65_536,
            aliases=("glm-4.1v-9b",),
            tied_embeddings=False, activation="silu", qkv_bias=True, post_norms=True,
            source="zai-org/GLM-4.1V-9B-Thinking:config.json (text decoder)",
            notes="Without its vision tower. That AutoGLM-Phone-9B has this shape is from memory.",
        ),
    )
}  # fmt: skip


def find_model(name: str) -> Architecture:
    """The architecture with that id or alias, in any case.

    Raises:
        UserError: no model has that name; the message names the nearest ones.
    """
    wanted = name.lower()
    for model in MODELS.values():
        if wanted == model.id or wanted in (alias.lower() for alias in model.aliases):
            return model
    names = [*MODELS, *(alias for model in MODELS.values() for alias in model.aliases)]
    raise unknown("model", name, names if nearest(name, names) else MODELS)


def find_quantisation(name: str) -> Quantisation:
    """The quantisation of that name.

    Raises:
        UserError: there is none.
    """
    if name not in QUANTISATIONS:
        raise unknown("quantisation", name, QUANTISATIONS)
    return QUANTISATIONS[name]


def tiny(model: Architecture) -> Architecture:
    """A model of the same family that runs in milliseconds.

    It keeps what makes the family: softcaps, norms, rotary bases, the pattern of local and global
    layers (both kinds occur) and whether heads share keys. Its window is so short that a prompt of
    a few words reaches beyond it. Its widths are multiples of 256, which the blocks of every format
    divide.
    """
    heads = 4
    layers = max(2, model.global_every if model.global_every > 2 else 2 * model.global_every)  # noqa: PLR2004
    kv_heads = 1 if model.kv_heads == 1 else heads if model.kv_heads == model.heads else 2
    extra = model.per_layer and PerLayerInputs(
        width=64, shared_from=layers, shared_ffn=1024, global_head_dim=128
    )
    return replace(
        model,
        id=f"{model.id}-tiny",
        layers=2 * layers if extra else layers,
        hidden=256,
        ffn=512,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=64,
        vocabulary=1024,
        max_context=256,
        sliding_window=8 if model.sliding_window else None,
        per_layer=extra,
        aliases=(),
    )
