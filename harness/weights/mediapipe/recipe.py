"""Synthetic models for MediaPipe's and LiteRT-LM's engines on WebGPU.

Both load the same weights (LiteRT-LM calls them "artisan"): `.task` is the container alone, and
`.litertlm` the same container as one section, behind metadata and tokenizer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from harness.errors import UserError
from harness.weights.artifact import Artifact
from harness.weights.litertlm import DataType, SectionSpec, frame
from harness.weights.mediapipe.codes import Codes, SignedFactors, Sums
from harness.weights.mediapipe.container import Entry, TensorType, lay_out
from harness.weights.mediapipe.messages import encode
from harness.weights.mediapipe.tensors import Matrix, Mix, Norm, parameters, tensors
from harness.weights.plan import ArtifactPlan, PlannedFile, Section, content_key, files_of, shape_of
from harness.weights.tensors import TensorSpec, Uniform
from harness.weights.tokenizer import BOS, END_OF_TURN, EOS, FIRST_WORD, spm_model

if TYPE_CHECKING:
    from harness.models import Architecture
    from harness.weights.mediapipe.messages import Fields
    from harness.weights.mediapipe.tensors import Tensor
    from harness.weights.plan import ByteStream

# Raise it with every change of what is written: keys depend on it.
WRITER_VERSION: Final = 1

QUANTISATIONS: Final = ("int4", "int8")

# `odml.infra.proto.LlmModelType`: the engine has a graph for each.
_KINDS: Final = {
    "gemma-2b": 6,
    "gemma-2-2b-it": 18,
    "gemma-3-1b-it": 27,
    "gemma-3-270m": 38,
    "gemma-4-e2b": 52,
}

_INT8: Final = Mix(attention=8, feed_forward=8, table=8, per_layer_table=4)
# "int4" files are mixes. Published sizes say which: gemma3-1b-it-int4-web.task has 700 MB, which is
# int8 attention and table (0.70 GB; all layers int4 would be 0.66); gemma-2b-it-gpu-int4.bin has
# 1.35 GB, which is int8 attention only (1.35 GB; with an int8 table it would be 1.61);
# gemma-4-E2B-it-web.task has 2.004 GB, which is 2 bits in the tables of its layers (2.001 GB; with
# 4 bits it would be 2.59) and no sums of their rows.
_INT4: Final = Mix(attention=8, feed_forward=4, table=8)
_MIXES: Final = {
    "gemma": Mix(attention=8, feed_forward=4, table=4),
    "gemma4": Mix(attention=4, feed_forward=4, table=8, per_layer_table=2),
}

_TYPES: Final = {8: TensorType.INT8, 4: TensorType.INT4, 2: TensorType.INT2}
# A value, evenly spread over all codes of an integer type, has this standard deviation in codes.
_CODE_DEVIATION: Final = {bits: math.sqrt((4**bits - 1) / 12) for bits in _TYPES}

_FACTORS_LESS_ONE: Final = Uniform(0.0, 0.1, signed=True)
_FINAL_FACTORS: Final = (1.5, 2.5)

# The message as it is: the runs of a lab compare engines, and not their chat templates.
_BARE_TEMPLATE: Final = (
    "{% for message in messages %}"
    "{% if message.content is string %}{{ message.content }}"
    "{% else %}{% for part in message.content %}{{ part.text }}{% endfor %}{% endif %}"
    "{% endfor %}"
)


@dataclass(frozen=True, slots=True)
class MediaPipeRecipe:
    """Choices for the container; every one of them changes the bytes, and so the key.

    Attributes:
        quantisation: `int4` (a mix, see `_INT4`) or `int8`.
        container: `task` for MediaPipe, `litertlm` for LiteRT-LM.
        seed: Decides on all random weights.
    """

    quantisation: str = "int4"
    container: Literal["task", "litertlm"] = "task"
    seed: int = 1

    def key(self, model: Architecture) -> str:
        """See `Recipe.key`."""
        _mix(model, self.quantisation)
        _kind(model)
        return content_key(
            model,
            self,
            format=self.container,
            version=WRITER_VERSION,
            label=f"{self.quantisation}-{self.container}",
        )

    def plan(self, model: Architecture) -> ArtifactPlan:
        """See `Recipe.plan`."""
        spm = _tokenizer(model.vocabulary)
        sections, size = _web_model(model, _mix(model, self.quantisation), spm)
        if self.container == "litertlm":
            sections, size = _wrapped(sections, size, spm)
        file = PlannedFile(f"model.{self.container}", tuple(sections), size)
        stored = sum(section.bytes for section in sections)
        artifact = Artifact(
            key=self.key(model),
            kind="synthetic",
            format=self.container,
            model=model.id,
            quantisation=self.quantisation,
            directory=Path(),
            entry=file.name,
            files=files_of((file,)),
            total_bytes=size,
            stored_bytes=stored,
            shape=shape_of(model),
        )
        return ArtifactPlan(artifact, (file,), self.seed)


@lru_cache(maxsize=2)
def _tokenizer(vocabulary: int) -> bytes:
    """Takes a second or more to make for a real vocabulary, of which models share two."""
    return spm_model(vocabulary)


def takes(model: Architecture) -> bool:
    """Whether the engines have a graph for such a model."""
    return _base(model) in _KINDS


def largest_tensor(model: Architecture, quantisation: str) -> int:
    """Bytes of the largest tensor, each of which becomes one buffer of the GPU."""
    mix = _mix(model, quantisation)
    return max(
        tensor.rows * tensor.columns * tensor.bits // 8
        for tensor in tensors(model, mix)
        if isinstance(tensor, Matrix)
    )


def _base(model: Architecture) -> str:
    return model.id.removesuffix("-tiny")


def _kind(model: Architecture) -> int:
    kind = _KINDS.get(_base(model))
    if kind is None:
        raise UserError(
            f"no web container for {model.id}: the engine has no graph for it",
            f"models that are written: {', '.join(_KINDS)}",
        )
    return kind


def _mix(model: Architecture, quantisation: str) -> Mix:
    if quantisation not in QUANTISATIONS:
        raise UserError(
            f"the web container does not hold {quantisation} weights",
            f"use {' or '.join(QUANTISATIONS)}",
        )
    return _INT8 if quantisation == "int8" else _MIXES.get(model.family, _INT4)


@dataclass(frozen=True, slots=True)
class _Stored:
    """A tensor as it is stored: its entry, and its content behind `skip` bytes of zeros."""

    entry: Entry
    content: TensorSpec | ByteStream
    skip: int = 0


def _stored(tensor: Tensor) -> tuple[_Stored, ...]:
    """What the engine looks for, for one tensor: for a matrix its scales, codes and sums."""
    if isinstance(tensor, Norm):
        factors = (
            SignedFactors(tensor.name, tensor.size, *_FINAL_FACTORS)
            if tensor.is_final
            else TensorSpec(tensor.name, "float32", (tensor.size,), _FACTORS_LESS_ONE)
        )
        return (_Stored(Entry(tensor.name, factors.bytes, TensorType.FLOAT32), factors),)
    codes = Codes(f"{tensor.name}.w", tensor.rows, tensor.columns, tensor.bits)
    # Rows without words have a scale of zero, whatever their codes.
    zeros = FIRST_WORD if tensor.is_table else 0
    scale = 1 / (_CODE_DEVIATION[tensor.bits] * math.sqrt(tensor.columns))
    scales = TensorSpec(
        f"{tensor.name}.w_quantized_scale",
        "float32",
        (tensor.rows - zeros,),
        # Random signs: codes reach one further down than up, which would bias all products alike.
        Uniform(0.8 * scale, 1.2 * scale, signed=True),
    )
    parts = (
        _Stored(Entry(scales.name, 4 * tensor.rows, TensorType.FLOAT32), scales, 4 * zeros),
        _Stored(Entry(codes.name, codes.bytes, _TYPES[tensor.bits]), codes),
    )
    if tensor.is_looked_up:
        return parts
    sums = Sums(codes)
    return (*parts, _Stored(Entry(f"{codes.name}.sum_i", sums.bytes, TensorType.INT32), sums))


def _web_model(model: Architecture, mix: Mix, spm: bytes) -> tuple[list[Section], int]:
    """The bare container: its sections and its size."""
    metadata = (
        ("odml.infra.proto.LlmParameters", parameters(model)),
        ("spm_vocab_model", spm),
        ("backend", b"gpu"),
    )
    stored = [part for tensor in tensors(model, mix) for part in _stored(tensor)]
    layout = lay_out(
        model.id,
        _kind(model),
        [Entry(name, len(content)) for name, content in metadata],
        [part.entry for part in stored],
    )
    sections = [Section(0, layout.head)]
    for (_, text), offset in zip(metadata, layout.metadata, strict=True):
        sections.append(Section(offset, text))
    for part, offset in zip(stored, layout.tensors, strict=True):
        sections.append(Section(offset + part.skip, part.content))
    return sections, layout.bytes


def _wrapped(sections: list[Section], size: int, spm: bytes) -> tuple[list[Section], int]:
    """The container as the last section of a `.litertlm`."""
    metadata = llm_metadata()
    outer = frame(
        (
            SectionSpec(DataType.LLM_METADATA, len(metadata)),
            SectionSpec(DataType.SENTENCEPIECE, len(spm)),
            SectionSpec(
                DataType.TFLITE_MODEL, size, (("model_type", "tf_lite_artisan_text_decoder"),)
            ),
        ),
        (("Authors", "tierlab: random weights"),),
    )
    about, tokenizer, start = outer.offsets
    inner = [Section(start + section.offset, section.content) for section in sections]
    head = [Section(0, outer.head), Section(about, metadata), Section(tokenizer, spm)]
    return [*head, *inner], outer.bytes


def llm_metadata(most_tokens: int = 0) -> bytes:
    """`litert.lm.proto.LlmMetadata`, serialised; without a chat template of its own.

    Fields: google-ai-edge/LiteRT-LM:runtime/proto/llm_metadata.proto, as of litert-lm-builder
    0.18. A token is a union of ids (1) and text.

    Args:
        most_tokens: Room for keys and values that the model has; 0 leaves it to the engine.
    """
    limit: Fields = ((5, most_tokens),) if most_tokens else ()
    return encode(
        (
            (1, _token(BOS)),  # start_token
            (2, _token(EOS)),  # stop_tokens
            (2, _token(END_OF_TURN)),
            *limit,  # max_num_tokens
            (6, ((1, ()),)),  # llm_model_type: generic_model
            (7, _BARE_TEMPLATE),  # jinja_prompt_template
        )
    )


def _token(token: int) -> Fields:
    """A `TokenUnion` of one id."""
    return ((1, ((1, token),)),)
