"""What the spec-sheet model needs of a model: sizes that follow from its shape.

The models of `harness.models`, and those of published figures that no file can be written of here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from harness.errors import nearest, unknown
from harness.models import MODELS, Architecture


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of one model.

    Attributes:
        id: as users type it.
        body: parameters of the matrices of all layers.
        prefill: those of them that a token of a prompt needs, other than the last.
        table: parameters of the vocabulary table, which is the head as well where they are tied.
        stored: parameters in a file.
        kv_values: keys and values that one token of context adds.
        largest: parameters of the largest tensor.
        source: where the shape is from.
        architecture: the entry of the catalogue, where it has one.
    """

    id: str
    body: int
    prefill: int
    table: int
    stored: int
    kv_values: int
    largest: int
    source: str
    architecture: Architecture | None = None

    @property
    def decode_parameters(self) -> int:
        """Parameters that one decoded token reads: every layer and the head."""
        return self.body + self.table

    @property
    def prefill_flops(self) -> int:
        """Operations of one token of a prompt: 2 a parameter; the head runs for the last only."""
        return 2 * self.prefill


def _of(model: Architecture) -> Shape:
    return Shape(
        id=model.id,
        body=model.body_parameters,
        prefill=_prefill(model),
        table=model.embedding_parameters,
        stored=model.parameters,
        kv_values=2 * model.layers * model.kv_width,
        largest=model.largest_tensor_parameters,
        source=model.source,
        architecture=model,
    )


def _prefill(model: Architecture) -> int:
    """Parameters of the layers that make keys and values.

    Where later layers share those of earlier ones (Gemma 3n and 4: `num_kv_shared_layers` in
    transformers), they do nothing that a later token would see, and engines are taken to leave them
    out until the last token: with them, published speeds are above the peak of the GPU.
    """
    if model.per_layer is None:
        return model.body_parameters
    before = replace(model, layers=model.per_layer.shared_from)
    return before.body_parameters


def _plain(
    id_: str,
    source: str,
    *,
    layers: int,
    hidden: int,
    ffn: int,
    heads: tuple[int, int, int],
    vocabulary: int,
    lookup: int = 0,
    sharing: int = 0,
) -> Shape:
    """A decoder with gated layers and a tied table.

    `heads`: of queries, of keys, and their width; the last `sharing` layers make no keys.
    """
    queries, keys, width = heads
    body = layers * hidden * (width * 2 * (queries + keys) + 3 * ffn)
    table = vocabulary * hidden
    return Shape(
        id=id_,
        body=body,
        prefill=body * (layers - sharing) // layers,
        table=table,
        stored=body + table + lookup,
        kv_values=2 * layers * keys * width,
        largest=max(table, hidden * ffn),
        source=source,
    )


_TRANSFORMERS: Final = "huggingface/transformers:src/transformers/models"
# Gemma 3n has beside its layers an embedding table for each, of which a token reads one row; what
# else it has (AltUp, LAuReL, sparse activations) is left out.
_PER_LAYER: Final = 262_144 * 256

SHAPES: Final[dict[str, Shape]] = {
    shape.id: shape
    for shape in (
        *map(_of, MODELS.values()),
        _plain(
            "gemma-3n-e2b", f"{_TRANSFORMERS}/gemma3n/configuration_gemma3n.py",
            layers=30, hidden=2048, ffn=8192, heads=(8, 2, 256), vocabulary=262_400,
            lookup=30 * _PER_LAYER, sharing=10,
        ),
        _plain(
            "gemma-3n-e4b", f"{_TRANSFORMERS}/gemma3n/configuration_gemma3n.py",
            layers=35, hidden=2048, ffn=16_384, heads=(8, 2, 256), vocabulary=262_400,
            lookup=35 * _PER_LAYER, sharing=15,
        ),
        _plain(
            "gemma-3-27b", f"{_TRANSFORMERS}/gemma3 (text decoder of google/gemma-3-27b-it)",
            layers=62, hidden=5376, ffn=21_504, heads=(32, 16, 128), vocabulary=262_208,
        ),
        _plain(
            "llama-3.2-1b", "meta-llama/Llama-3.2-1B-Instruct:config.json",
            layers=16, hidden=2048, ffn=8192, heads=(32, 8, 64), vocabulary=128_256,
        ),
        _plain(
            "llama-3.2-3b", "meta-llama/Llama-3.2-3B-Instruct:config.json",
            layers=28, hidden=3072, ffn=8192, heads=(24, 8, 128), vocabulary=128_256,
        ),
    )
}  # fmt: skip
"""All shapes by id: the catalogue's first."""


def find_shape(name: str) -> Shape:
    """The shape of that name, in any case; the aliases of the catalogue are known.

    Raises:
        UserError: there is none; the message names the nearest ones.
    """
    wanted = name.lower()
    for shape in SHAPES.values():
        aliases = shape.architecture.aliases if shape.architecture else (f"{shape.id}-it",)
        if wanted == shape.id or wanted in (alias.lower() for alias in aliases):
            return shape
    names = [*SHAPES, *(alias for model in MODELS.values() for alias in model.aliases)]
    raise unknown("model", name, names if nearest(name, names) else SHAPES)
