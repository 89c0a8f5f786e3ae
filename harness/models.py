"""The catalogue of model architectures, and what follows from their shapes alone.

Pure data and pure functions: nothing here reads a file or knows an engine. Shapes come from the
public configuration that each entry's `source` names (repository@commit:path where a commit was
recorded). `Architecture` counts matrix parameters only: norms and biases are below 0.1 % of any
model here, and no published size is that exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.errors import nearest, unknown

Activation = Literal["gelu_tanh", "gelu", "silu"]
Family = Literal["gemma", "gemma2", "gemma3", "qwen2", "phi", "falcon", "stablelm", "glm4"]


@dataclass(frozen=True, slots=True)
class Quantisation:
    """How weights are stored: `bits` a weight, and one scale for each `block` weights of a row."""

    name: str
    bits: int
    block: int | None = None

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
    )
}


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
        """Matrix parameters of all layers."""
        return self.layers * self.layer_parameters

    @property
    def parameters(self) -> int:
        """All matrix parameters as stored."""
        tables = 1 if self.tied_embeddings else 2
        return self.body_parameters + tables * self.embedding_parameters

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
    """What is asked of a device: a model, stored somehow, on an engine, at a length."""

    model: str
    quantisation: str
    runtime: str
    prompt_tokens: int
    output_tokens: int

    def __str__(self) -> str:
        return (
            f"{self.model}/{self.quantisation} on {self.runtime}, "
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
