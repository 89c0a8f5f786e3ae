"""The ONNX graph of a decoder, without its weights.

Operators, inputs and outputs are those that the onnxruntime-genai model builder exports
(microsoft/onnxruntime-genai:src/python/py/models/builder.py; operators are described in
microsoft/onnxruntime:docs/ContribOperators.md):

    input_ids, attention_mask            int64 [batch, sequence], [batch, total]
    past_key_values.N.key / .value       [batch, kv_heads, past, head_dim]
    logits                               float32 [batch, sequence or 1, vocabulary]
    present.N.key / .value               [batch, kv_heads, total, head_dim]

Weights are drawn so that activations keep a variance near one: elements of a matrix with k columns
have a standard deviation of 1/sqrt(k). Signs are random wherever a common mean could build up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from harness.models import find_quantisation
from harness.weights.tensors import Bits, Element, Fill, Pruned, Rotary, TensorSpec, Uniform

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from harness.models import Architecture
    from harness.weights.onnx.recipe import OnnxRecipe

CONTRIB = "com.microsoft"
EPSILON = 1e-6
_OPSET = 21
_IR_VERSION = 10
_ELEMENT_TYPES: dict[Element, int] = {
    "uint8": TensorProto.UINT8,
    "float16": TensorProto.FLOAT16,
    "float32": TensorProto.FLOAT,
}

# A value, evenly spread over all codes of an integer type, has this standard deviation in codes.
_CODE_DEVIATION = {4: math.sqrt((16**2 - 1) / 12), 8: math.sqrt((256**2 - 1) / 12)}
# Evenly spread over [-a, a] has a standard deviation of a / sqrt(3).
_UNIFORM_LIMIT = math.sqrt(3)
_NORM = Uniform(0.9, 1.1)
# With one table for the embedding and the head, a random model would repeat its last token for
# ever: the residual stream still points at that token's row. Random signs in the last norm break
# this; a magnitude of 2 gives logits a standard deviation of about 2.
_FINAL_NORM = Uniform(1.5, 2.5, signed=True)


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph whose weights are still descriptions.

    Attributes:
        model: All but the external initializers; small.
        tensors: The external initializers, in the order of first use.
    """

    model: onnx.ModelProto
    tensors: tuple[TensorSpec, ...]


def build(model: Architecture, options: OnnxRecipe) -> Graph:
    """The graph of `model`, whose family must be one that `harness.weights.onnx.recipe` names."""
    return _Builder(model, options).build()


def with_external_data(graph: Graph, locations: Mapping[str, tuple[str, int]]) -> onnx.ModelProto:
    """The model with initializers that point into external files.

    Args:
        graph: From `build`; not changed.
        locations: File name and offset of each storage name.
    """
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    for tensor in graph.tensors:
        file, offset = locations[tensor.storage]
        proto = model.graph.initializer.add()
        proto.name = tensor.name
        proto.data_type = _ELEMENT_TYPES[tensor.element]
        proto.dims.extend(tensor.shape)
        proto.data_location = TensorProto.EXTERNAL
        for key, value in (("location", file), ("offset", offset), ("length", tensor.bytes)):
            proto.external_data.add(key=key, value=str(value))
    return model


@dataclass
class _Builder:
    shape: Architecture
    options: OnnxRecipe
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    outputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    constants: dict[str, onnx.TensorProto] = field(default_factory=dict)
    tensors: dict[str, TensorSpec] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.quantisation = find_quantisation(self.options.quantisation)
        self.element: Element = "float16" if self.options.float_type == "fp16" else "float32"

    # -- Parts every graph is made of

    def node(self, op: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:  # noqa: ANN401
        """Add a node of the standard operators with one output, and return the output's name."""
        self.nodes.append(
            helper.make_node(op, inputs, [output], name=f"{output}/{op}", **attributes)
        )
        return output

    def contrib(
        self,
        op: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        **attributes: Any,  # noqa: ANN401
    ) -> str:
        """Add a node of the runtime's own operators, and return its first output's name."""
        self.nodes.append(
            helper.make_node(
                op, inputs, outputs, name=f"{outputs[0]}/{op}", domain=CONTRIB, **attributes
            )
        )
        return outputs[0]

    def constant(self, name: str, value: npt.NDArray[Any]) -> str:
        """A small initializer inside the graph."""
        self.constants.setdefault(name, numpy_helper.from_array(value, name))
        return name

    def integers(self, name: str, *values: int) -> str:
        return self.constant(name, np.array(values, np.int64))

    def scalar(self, name: str, value: float) -> str:
        return self.constant(name, np.array(value, np.dtype(self.element)))

    def tensor(
        self, name: str, shape: tuple[int, ...], fill: Fill, element: Element | None = None
    ) -> str:
        """An external initializer. In alias mode all layers share the first layer's bytes."""
        shared = None
        prefix, _, rest = name.partition(".")
        if self.options.alias_layers and prefix == "layers":
            shared = f"layers.*.{rest.partition('.')[2]}"
        spec = TensorSpec(name, element or self.element, shape, fill, shared)
        self.tensors.setdefault(name, spec)
        return name

    def value_info(self, name: str, element: int, *dims: str | int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, element, dims)

    # -- Layers

    def norm(self, x: str, name: str, width: int, fill: Uniform = _NORM) -> str:
        """Root-mean-square normalisation over the last axis, times a weight."""
        weight = self.tensor(f"{name}.weight", (width,), fill)
        return self.node(
            "SimplifiedLayerNormalization",
            [x, weight],
            f"{name}/out",
            axis=-1,
            epsilon=EPSILON,
            stash_type=1,
        )

    def add_norm(self, x: str, delta: str, name: str, fill: Uniform = _NORM) -> tuple[str, str]:
        """`x + delta`, normalised; returns the normalised value and the sum."""
        weight = self.tensor(f"{name}.weight", (self.shape.hidden,), fill)
        outputs = [f"{name}/out", "", "", f"{name}/sum"]
        self.contrib(
            "SkipSimplifiedLayerNormalization", [x, delta, weight], outputs, epsilon=EPSILON
        )
        return outputs[0], outputs[3]

    def quantised(self, name: str, rows: int, columns: int) -> tuple[str, str]:
        """Codes `[rows, blocks, bytes of a block]` and scales `[rows, blocks]` of a matrix.

        A weight is `(code - 2 ** (bits - 1)) * scale`, codes of 4 bits two a byte, low half first.
        Scales have random signs: codes reach one further down than up, which would give every
        product the same small bias.
        """
        blocks = columns // self.block
        codes = self.tensor(
            f"{name}.codes",
            (rows, blocks, self.block * self.bits // 8),
            self.pruned(Bits()),
            "uint8",
        )
        return codes, self.tensor(f"{name}.scales", (rows, blocks), self.scale_fill(columns))

    @property
    def bits(self) -> int:
        return self.quantisation.bits

    @property
    def block(self) -> int:
        return self.quantisation.block or 1

    def scale_fill(self, columns: int) -> Uniform:
        scale = 1 / (_CODE_DEVIATION[self.bits] * math.sqrt(columns))
        return Uniform(0.8 * scale, 1.2 * scale, signed=True)

    def weight_fill(self, columns: int) -> Fill:
        return self.pruned(Uniform(0.0, _UNIFORM_LIMIT / math.sqrt(columns), signed=True))

    def pruned(self, fill: Bits | Uniform) -> Fill:
        """The fill of a matrix, with the zeros that are asked for."""
        share = self.options.zero_share
        return Pruned(fill, share, 4 if self.bits == 4 else 8) if share else fill  # noqa: PLR2004

    def linear(self, x: str, name: str, rows: int, columns: int) -> str:
        """`x [.., columns]` times a matrix: `[.., rows]`."""
        if self.quantisation.block:
            return self.quantised_linear(x, name, rows, columns)
        weight = self.tensor(
            f"{name}.weight", (columns, rows), self.weight_fill(columns), self.stored
        )
        return self.node("MatMul", [x, self.as_float(weight)], f"{name}/out")

    def quantised_linear(self, x: str, name: str, rows: int, columns: int) -> str:
        attributes = {"K": columns, "N": rows, "bits": self.bits, "block_size": self.block}
        if self.options.accuracy_level:
            attributes["accuracy_level"] = self.options.accuracy_level
        return self.contrib(
            "MatMulNBits",
            [x, *self.quantised(name, rows, columns)],
            [f"{name}/out"],
            **attributes,
        )

    @property
    def stored(self) -> Element:
        """The type of weights that are no codes."""
        return "float32" if self.quantisation.name == "fp32" else "float16"

    def as_float(self, name: str) -> str:
        """A weight, or a row of one, in the type of the activations."""
        if self.element == self.stored:
            return name
        wanted = _ELEMENT_TYPES[self.element]
        return self.node("Cast", [name], f"{name}/cast", to=wanted)

    def embedding(self) -> str:
        """Rows of the vocabulary table; Gemma multiplies them by sqrt(hidden)."""
        shape = self.shape
        table = "lm_head" if shape.tied_embeddings else "embed"
        rows, columns = shape.vocabulary, shape.hidden
        if self.quantisation.block:
            # The gather takes the table as [vocabulary, blocks, bytes], which is how MatMulNBits
            # stores it: one copy serves both. Scales need one more axis here than there.
            codes, _ = self.quantised(table, rows, columns)
            scales = self.tensor(
                "embed.scales_3d", (rows, columns // self.block, 1), self.scale_fill(columns)
            )
            x = self.contrib(
                "GatherBlockQuantized",
                [codes, "input_ids", scales],
                ["embed/blocks"],
                block_size=self.block,
                bits=self.bits,
                gather_axis=0,
                quantize_axis=2,
            )
            x = self.node("Reshape", [x, self.integers("shape.hidden", 0, 0, columns)], "embed/out")
        else:
            fill = self.weight_fill(columns)
            weight = self.tensor(f"{table}.weight", (rows, columns), fill, self.stored)
            x = self.node("Gather", [weight, "input_ids"], "embed/out", axis=0)
            x = self.as_float(x)
        if shape.family.startswith("gemma"):
            x = self.node(
                "Mul", [x, self.scalar("embed.factor", math.sqrt(columns))], "embed/scaled"
            )
        return x

    def head(self, x: str) -> str:
        shape = self.shape
        rows, columns = shape.vocabulary, shape.hidden
        if self.quantisation.block:
            return self.quantised_linear(x, "lm_head", rows, columns)
        weight = self.tensor(
            "lm_head.weight", (rows, columns), self.weight_fill(columns), self.stored
        )
        # Gemm multiplies by the transposed table in place, where MatMul would need a second copy.
        flat = self.node("Reshape", [x, self.integers("shape.flat", -1, columns)], "lm_head/flat")
        out = self.node("Gemm", [flat, self.as_float(weight)], "lm_head/gemm", transB=1)
        sequence = self.node("Shape", [x], "lm_head/sequence", start=0, end=2)
        target = self.node(
            "Concat", [sequence, self.integers("vocabulary", rows)], "lm_head/shape", axis=0
        )
        return self.node("Reshape", [out, target], "lm_head/out")

    def softcap(self, x: str, cap: float) -> str:
        """`cap * tanh(x / cap)`."""
        limit = self.scalar("final_softcap", cap)
        x = self.node("Div", [x, limit], "softcap/div")
        return self.node("Mul", [self.node("Tanh", [x], "softcap/tanh"), limit], "softcap/out")

    def lengths(self) -> None:
        """`seqlens_k` (last position of each row) and `total_length` from the attention mask."""
        one = self.integers("one", 1)
        ones = self.node("ReduceSum", ["attention_mask", one], "mask/sum", keepdims=1)
        last = self.node("Sub", [ones, one], "mask/last")
        last = self.node("Reshape", [last, self.integers("shape.row", -1)], "mask/row")
        self.node("Cast", [last], "seqlens_k", to=TensorProto.INT32)
        dims = self.node("Shape", ["attention_mask"], "mask/shape")
        axis = self.constant("axis.one", np.array(1, np.int64))
        total = self.node("Gather", [dims, axis], "mask/total", axis=0)
        self.node("Cast", [total], "total_length", to=TensorProto.INT32)

    def rotary(self, base: float) -> tuple[str, str]:
        rows = min(self.options.positions, self.shape.max_context)
        dims = (rows, self.shape.head_dim // 2)
        return (
            self.tensor(f"rotary.{base:g}.cos", dims, Rotary(base, "cos")),
            self.tensor(f"rotary.{base:g}.sin", dims, Rotary(base, "sin")),
        )

    def head_norm(self, x: str, name: str, heads: int) -> str:
        """Normalise each head of `x [batch, sequence, heads * head_dim]` by itself."""
        width = self.shape.head_dim
        x = self.node("Reshape", [x, self.integers("shape.heads", 0, -1, width)], f"{name}/heads")
        x = self.norm(x, name, width)
        # Zero copies the batch; the middle axis holds sequence * heads again.
        joined = self.integers(f"shape.joined.{heads}", 0, -1, heads * width)
        return self.node("Reshape", [x, joined], f"{name}/joined")

    def projection(self, x: str, layer: int, part: str, width: int) -> str:
        name = f"layers.{layer}.{part}_proj"
        out = self.linear(x, name, width, self.shape.hidden)
        if self.shape.qkv_bias:
            bias = self.tensor(f"{name}.bias", (width,), Uniform(0.0, 0.2, signed=True))
            out = self.node("Add", [out, bias], f"{name}/biased")
        if self.shape.qk_norm and part != "v":
            heads = width // self.shape.head_dim
            out = self.head_norm(out, f"layers.{layer}.{part}_norm", heads)
        return out

    def attention(self, x: str, layer: int) -> str:
        shape = self.shape
        query = self.projection(x, layer, "q", shape.query_width)
        key = self.projection(x, layer, "k", shape.kv_width)
        value = self.projection(x, layer, "v", shape.kv_width)
        past, present = f"past_key_values.{layer}", f"present.{layer}"
        kind = _ELEMENT_TYPES[self.element]
        for part in ("key", "value"):
            cache = ("batch", shape.kv_heads, "past", shape.head_dim)
            self.inputs.append(self.value_info(f"{past}.{part}", kind, *cache))
            cache = ("batch", shape.kv_heads, "total", shape.head_dim)
            self.outputs.append(self.value_info(f"{present}.{part}", kind, *cache))
        attributes: dict[str, Any] = {
            "num_heads": shape.heads,
            "kv_num_heads": shape.kv_heads,
            "scale": shape.head_dim**-0.5,
            "do_rotary": 1,
            "rotary_interleaved": 0,
        }
        base = shape.rope_theta
        if shape.attention_softcap:
            attributes["softcap"] = shape.attention_softcap
        if shape.sliding_window and not shape.is_global_layer(layer):
            attributes["local_window_size"] = shape.sliding_window
            base = shape.rope_theta_local or base
        out = self.contrib(
            "GroupQueryAttention",
            [
                *(query, key, value, f"{past}.key", f"{past}.value"),
                *("seqlens_k", "total_length", *self.rotary(base)),
            ],
            [f"layers.{layer}.attention/out", f"{present}.key", f"{present}.value"],
            **attributes,
        )
        return self.linear(out, f"layers.{layer}.o_proj", shape.hidden, shape.query_width)

    def feed_forward(self, x: str, layer: int) -> str:
        shape, name = self.shape, f"layers.{layer}"
        gate = self.linear(x, f"{name}.gate_proj", shape.ffn, shape.hidden)
        up = self.linear(x, f"{name}.up_proj", shape.ffn, shape.hidden)
        if shape.activation == "silu":
            sigmoid = self.node("Sigmoid", [gate], f"{name}.activation/sigmoid")
            active = self.node("Mul", [gate, sigmoid], f"{name}.activation/out")
        else:
            active = self.contrib("FastGelu", [gate], [f"{name}.activation/out"])
        product = self.node("Mul", [active, up], f"{name}.product/out")
        return self.linear(product, f"{name}.down_proj", shape.hidden, shape.ffn)

    def layer(self, x: str, total: str, layer: int) -> tuple[str, str]:
        """One layer. `x` is the normalised residual stream `total`; returns the next of both."""
        shape, name = self.shape, f"layers.{layer}"
        delta = self.attention(x, layer)
        if shape.post_norms:
            delta = self.norm(delta, f"{name}.post_attention_norm", shape.hidden)
        x, total = self.add_norm(total, delta, f"{name}.feed_forward_norm")
        delta = self.feed_forward(x, layer)
        if shape.post_norms:
            delta = self.norm(delta, f"{name}.post_feed_forward_norm", shape.hidden)
        if layer + 1 == shape.layers:
            return self.add_norm(total, delta, "final_norm", _FINAL_NORM)
        return self.add_norm(total, delta, f"layers.{layer + 1}.input_norm")

    def build(self) -> Graph:
        shape = self.shape
        for name, length in (("input_ids", "sequence"), ("attention_mask", "total")):
            self.inputs.append(self.value_info(name, TensorProto.INT64, "batch", length))
        self.lengths()
        total = self.embedding()
        x = self.norm(total, "layers.0.input_norm", shape.hidden)
        for layer in range(shape.layers):
            x, total = self.layer(x, total, layer)
        if not self.options.all_logits:
            bounds = (
                self.integers("slice.start", -1),
                self.integers("slice.end", np.iinfo(np.int64).max),
                self.integers("slice.axis", 1),
            )
            x = self.node("Slice", [x, *bounds], "final_norm/last")
        x = self.head(x)
        if shape.final_softcap:
            x = self.softcap(x, shape.final_softcap)
        self.node("Cast", [x], "logits", to=TensorProto.FLOAT)
        rows: str | int = "sequence" if self.options.all_logits else 1
        logits = self.value_info("logits", TensorProto.FLOAT, "batch", rows, shape.vocabulary)
        graph = helper.make_graph(
            self.nodes,
            shape.id,
            self.inputs,
            [logits, *self.outputs],
            initializer=list(self.constants.values()),
        )
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(CONTRIB, 1)]
        model = helper.make_model(
            graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="tierlab"
        )
        return Graph(model, tuple(self.tensors.values()))
