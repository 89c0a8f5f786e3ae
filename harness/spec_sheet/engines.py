"""The engines that a spec sheet is read for, and which published figures speak for each.

An engine whose own figures are too few or too alike stands on those of its processor (`cpu`,
`gpu`). One on WebAssembly stands on the native engines of the processor and is slower by what the
two were measured to differ on one machine: that is a belief about every other machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from harness.errors import unknown
from harness.weights.mediapipe.recipe import takes
from results.record import Interval

if TYPE_CHECKING:
    from harness.profiles import Kind
    from harness.spec_sheet.shapes import Shape

Family = Literal["xnnpack/cpu", "llama.cpp/cpu", "litert/gpu", "llama.cpp/gpu", "mediapipe/webgpu"]
Processor = Literal["cpu", "gpu"]

PROCESSORS: Final[dict[Family, Processor]] = {
    "xnnpack/cpu": "cpu",
    "llama.cpp/cpu": "cpu",
    "litert/gpu": "gpu",
    "llama.cpp/gpu": "gpu",
    "mediapipe/webgpu": "gpu",
}


def kv_bytes(family: Family | None) -> int:
    """Bytes of one key or value: XNNPACK's are fp32, all others fp16.

    Seen in figures of gemma-3-1b at contexts of 1280 and 4096: its memory and its seconds a token
    grow by as much.
    """
    return 4 if family == "xnnpack/cpu" else 2


_LITERT_QUANTISATIONS: Final = ("int4", "int8", "fp32")
_LLAMA_QUANTISATIONS: Final = ("q4_k", "q8_0", "q4_0", "fp16")
# Where llama.cpp has no 4 bits of that block, it has them of another.
_ROWS: Final = {"int4": ("q4_k", "q4_0"), "int8": ("q8_0",)}
_EVERYWHERE: Final[tuple[Kind, ...]] = ("desktop", "android", "ios")


@dataclass(frozen=True, slots=True)
class Slowdown:
    """How many times slower than the native engines, and the factor that this may be off by."""

    decode: float
    prefill: float
    spread: float
    source: str


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine on one processor.

    Attributes:
        id: as users type it; web engines as `harness.runtimes` names them.
        processor: what it runs on.
        family: whose published figures are its own; None: no figure with a known spec sheet is.
        web: whether it runs in a page.
        quantisations: the ways of storing weights that it takes; the first is its default.
        kinds: of devices that it exists for.
        slowdown: what is slower than where its figures are from; None: nothing.
        copies, base: peak memory = copies * file + keys and values + base (bytes), where measured
            here; None: as fitted to published figures.
        heap_bytes: its address space.
        heap_copies: of the file in that space.
        aliases: other names for it.
    """

    id: str
    processor: Processor
    family: Family | None
    web: bool
    quantisations: tuple[str, ...]
    kinds: tuple[Kind, ...] = _EVERYWHERE
    slowdown: Slowdown | None = None
    copies: Interval | None = None
    base: Interval | None = None
    heap_bytes: int | None = None
    heap_copies: float = 1.0
    aliases: tuple[str, ...] = ()

    def quantisation(self, name: str, shape: Shape) -> str:
        """What the engine makes of a name: llama.cpp has `int4` and `int8` under names of its own.

        `q4_k` needs rows of a multiple of 256; where a model has others, it is `q4_0`.
        """
        if name in self.quantisations:
            if name == "q4_k" and not _blocks(shape):
                return "q4_0"
            return name
        for own in _ROWS.get(name, ()):
            if own in self.quantisations:
                return self.quantisation(own, shape)
        return name

    def unsupported(self, shape: Shape, quantisation: str) -> str | None:
        """Why it cannot run the model stored like that, on whatever device; None when it may."""
        if quantisation not in self.quantisations:
            return f"{self.id} takes {', '.join(self.quantisations)}, not {quantisation}"
        if self.family == "mediapipe/webgpu" and shape.architecture is not None:
            return None if takes(shape.architecture) else f"{self.id} has no graph for {shape.id}"
        return None


def _blocks(shape: Shape) -> bool:
    model = shape.architecture
    return model is None or not any(
        width % 256 for width in (model.hidden, model.ffn, model.query_width)
    )


WASM32_BYTES: Final = 1 << 32


def _seen(low: float, expected: float, high: float) -> Interval:
    return Interval(low=low, expected=expected, high=high)


_MEASURED: Final = "measured on one 2-core x86-64 machine: benchmarks/README.md, all engines"

# Decode and prefill of llama.cpp/native over wllama/wasm: 3.3 and 5.4 (gemma-2b, q4_k), 5.8 and
# 11 (gemma-3-270m, q8_0). litert-lm/native over litert-lm/wasm, which has one thread: 2.4 and 5.1
# (270m); over onnxruntime-web/wasm: 37 and 1.8 (gemma-2b), 41 and 3.0 (270m).
_WLLAMA: Final = Slowdown(4.4, 7.8, 2.0, _MEASURED)
_LITERT_WASM: Final = Slowdown(2.4, 5.1, 2.5, _MEASURED)
_ONNXRUNTIME: Final = Slowdown(39.0, 2.4, 2.0, _MEASURED)

ENGINES: Final[dict[str, Engine]] = {
    engine.id: engine
    for engine in (
        Engine("mediapipe/webgpu", "gpu", "mediapipe/webgpu", web=True,
               quantisations=("int4", "int8")),
        Engine("litert-lm/webgpu", "gpu", "mediapipe/webgpu", web=True,
               quantisations=("int4", "int8")),
        Engine("onnxruntime-web/webgpu", "gpu", None, web=True, quantisations=("int4", "fp16")),
        # Memory of the engines below as in harness/runtimes/*_recipe.py, where it is measured.
        Engine("wllama/webgpu", "gpu", None, web=True, quantisations=_LLAMA_QUANTISATIONS,
               copies=_seen(1, 1.36, 2.2), base=_seen(0.8e9, 1.36e9, 1.7e9)),
        Engine("wllama/wasm", "cpu", None, web=True, quantisations=_LLAMA_QUANTISATIONS,
               slowdown=_WLLAMA, copies=_seen(1.1, 1.5, 1.65), base=_seen(0.3e9, 0.6e9, 0.75e9),
               heap_bytes=WASM32_BYTES),
        Engine("onnxruntime-web/wasm", "cpu", None, web=True, quantisations=("int4", "int8"),
               slowdown=_ONNXRUNTIME, copies=_seen(2, 2, 2.1), base=_seen(0.38e9, 0.44e9, 0.55e9),
               heap_bytes=WASM32_BYTES),
        Engine("litert-lm/wasm", "cpu", None, web=True, quantisations=("int8", "int4", "fp32"),
               slowdown=_LITERT_WASM, copies=_seen(2.6, 4.8, 5.2),
               base=_seen(0.26e9, 0.35e9, 0.5e9),
               heap_bytes=WASM32_BYTES, heap_copies=2.4),
        Engine("litert-lm/gpu", "gpu", "litert/gpu", web=False, kinds=("android",),
               quantisations=_LITERT_QUANTISATIONS, aliases=("mediapipe/gpu",)),
        Engine("litert-lm/cpu", "cpu", "xnnpack/cpu", web=False,
               quantisations=_LITERT_QUANTISATIONS,
               aliases=("litert-lm/native", "mediapipe/cpu", "executorch/cpu")),
        Engine("llama.cpp/gpu", "gpu", "llama.cpp/gpu", web=False,
               quantisations=_LLAMA_QUANTISATIONS, aliases=("llama.cpp/metal",)),
        Engine("llama.cpp/cpu", "cpu", "llama.cpp/cpu", web=False,
               quantisations=_LLAMA_QUANTISATIONS, aliases=("llama.cpp/native",)),
    )
}  # fmt: skip
"""A line an engine: the order is that of tables."""


def find_engine(name: str) -> Engine:
    """The engine of that id or alias.

    Raises:
        UserError: there is none; the message names the nearest ones.
    """
    for engine in ENGINES.values():
        if name == engine.id or name in engine.aliases:
            return engine
    raise unknown("runtime", name, [*ENGINES, *(a for e in ENGINES.values() for a in e.aliases)])
