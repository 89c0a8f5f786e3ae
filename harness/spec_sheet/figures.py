"""Published figures: each row read, and brought to a profile, a shape and a family of engines.

`published_figures.csv` is reference data: speeds and memory of language models on phones, tablets
and computers as their makers and users published them, each with its source. What a row cannot be
compared for is told in words, never left out in silence.
"""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from harness.errors import UserError
from harness.spec_sheet.engines import PROCESSORS, Family, kv_bytes
from harness.spec_sheet.model import Load, Storage
from harness.spec_sheet.shapes import SHAPES
from harness.spec_sheet.sheet import sheet_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.profiles import Profile
    from harness.spec_sheet.engines import Processor
    from harness.spec_sheet.model import SheetQuantity
    from harness.spec_sheet.sheet import Sheet

FIGURES: Final = "published_figures.csv"
_COLUMNS: Final = (
    "source", "device", "soc_or_gpu", "browser_or_runtime", "backend", "model", "quant",
    "prefill_tps", "decode_tps", "peak_mem_mb", "gpu_mem_mb", "ctx", "prompt_tokens",
)  # fmt: skip
_MEGA: Final = 1e6

# Where a card does not say how long its prompts were: what other cards of its makers used.
USUAL_PROMPT: Final = 1024
USUAL_CONTEXT: Final = 1280

# By device and processor: a name alone is two machines.
PROFILES: Final[Mapping[tuple[str, str], str]] = {
    ("Samsung S24 Ultra", ""): "galaxy-s24-ultra",
    ("Samsung S25 Ultra", ""): "galaxy-s25-ultra",
    ("MacBook Pro 2024", "Apple M4 Max"): "macbook-pro-m4-max",
    ("MacBook Pro 2024", "Apple M4"): "macbook-pro-m4",
    ("MacBook Pro 2023", "Apple M3"): "macbook-pro-m3",
    ("OnePlus 12", ""): "oneplus-12",
    ("desktop (RDNA-4)", ""): "desktop-rdna4",
    ("windows desktop (RDNA-4)", ""): "desktop-rdna4",
    ("Pixel 6 Pro", ""): "pixel6-pro",
    ("Vivo X200 Pro", ""): "vivo-x200-pro",
    ("Samsung Galaxy A34 5G", ""): "galaxy-a34",
    ("Samsung Galaxy S24+", ""): "galaxy-s24-plus",
    ("iPhone 16e", ""): "iphone-16e",
    ("AMD Strix Halo iGPU", ""): "strix-halo",
}

# What the cards call a model; the rest of their names are file formats and publishers.
_SHAPES: Final[Mapping[str, str]] = {
    "gemma-3-1b-it": "gemma-3-1b-it",
    "gemma-3-27b-it": "gemma-3-27b",
    "medgemma-27b-text-it": "gemma-3-27b",
    "gemma-2-2b-it": "gemma-2-2b-it",
    "gemma-2b-it": "gemma-2b",
    "gemma-3n-E2B-it": "gemma-3n-e2b",
    "gemma-3n-E4B-it": "gemma-3n-e4b",
    "gemma-4-E2B-it": "gemma-4-e2b",
    "Llama-3.2-1B": "llama-3.2-1b",
    "Llama-3.2-3B": "llama-3.2-3b",
    "Llama-3.2-1B-Instruct-q4f16_1-MLC": "llama-3.2-1b",
    "onnx-community/Llama-3.2-1B-Instruct-ONNX": "llama-3.2-1b",
    "bartowski/Llama-3.2-1B-Instruct-GGUF": "llama-3.2-1b",
    "Qwen2.5-1.5B-Instruct-q4f16_1-MLC": "qwen2.5-1.5b",
    "onnx-community/Qwen2.5-1.5B-Instruct": "qwen2.5-1.5b",
    "bartowski/Qwen2.5-1.5B-Instruct-GGUF": "qwen2.5-1.5b",
}

# Bits a weight with scales: what the sizes of the published files come to. "b128" is the block of
# a scale. Without quantisation-aware training (QAT) the table is kept in 8 bits: the file of
# gemma-3-1b in int4 b128 has 657 MB, where 4 bits throughout would be 0.51 GB.
_INT4: Final = Storage(4.125, 8)
_STORAGE: Final[Mapping[str, Storage]] = {
    "fp32": Storage(32, 32),
    "BF16": Storage(16, 16),
    "dynamic_int4 b128": _INT4,
    "dynamic_int4 b32": Storage(4.5, 8),
    "dynamic_int4 QAT": Storage(4, 4),
    "dynamic_int4": _INT4,
    "int4": _INT4,
    "litertlm": _INT4,
    "dynamic_int8": Storage(8, 8),
    "int8": Storage(8, 8),
    "Q4_0": Storage(4.5, 16),
    "SpinQuant": Storage(4.5, 8, tables=2),
    "QLoRA": Storage(4.5, 8, tables=2),
    "q4f16_1": Storage(4.5, 4.5),
    "q4f16": Storage(4.5, 4.5),
    "q4f16 (assumed)": Storage(4.5, 4.5),
    "Q4_K_M": Storage(4.85, 6.56),
}

_FAMILIES: Final[tuple[tuple[str, str, Family], ...]] = (
    # Part of the runtime's name, backend, family; the first that fits.
    ("MediaPipe LLM Inference web", "WebGPU", "mediapipe/webgpu"),
    ("Google AI Edge for Web", "WebGPU", "mediapipe/webgpu"),
    ("MediaPipe", "CPU", "xnnpack/cpu"),
    ("MediaPipe", "GPU", "litert/gpu"),
    ("LiteRT-LM", "CPU", "xnnpack/cpu"),
    ("LiteRT-LM", "GPU", "litert/gpu"),
    ("AI Edge", "CPU", "xnnpack/cpu"),
    ("AI Edge", "GPU", "litert/gpu"),
    ("ExecuTorch", "CPU", "xnnpack/cpu"),
    ("Cactus", "CPU", "llama.cpp/cpu"),
    ("llama.cpp", "Metal", "llama.cpp/gpu"),
)
# Engines of which no figure can be computed have a name all the same: it is shown.
_OTHERS: Final[tuple[tuple[str, str], ...]] = (
    ("webllm", "web-llm/webgpu"),
    ("transformersjs", "onnxruntime-web/webgpu"),
    ("wllama", "wllama/webgpu"),
    ("MLC-LLM", "mlc/gpu"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One published row.

    Attributes:
        line: its number in the file, the heading being line 1.
        device, engine, model, quant, source: as published; `engine` as this project names it.
        sheet: the spec sheet of its device.
        family: whose factors its speeds speak of.
        load: the model at its length.
        measured: tokens a second, and bytes of memory.
        unusable: why nothing can be computed of it, for all quantities; else None.
    """

    line: int
    source: str
    device: str
    engine: str
    model: str
    quant: str
    sheet: Sheet | None
    family: Family | None
    load: Load | None
    measured: Mapping[SheetQuantity, float]
    unusable: str | None

    @property
    def processor(self) -> Processor | None:
        """What it ran on."""
        return PROCESSORS[self.family] if self.family else None

    @property
    def flops(self) -> float | None:
        """The peak of that, where the sheet has it."""
        if self.sheet is None or self.family is None:
            return None
        return self.sheet.cpu_flops if self.processor == "cpu" else self.sheet.gpu_flops

    def why_not(self, quantity: SheetQuantity) -> str | None:
        """Why this quantity cannot be computed; None when it can."""
        if self.unusable:
            return self.unusable
        if self.sheet is None or self.load is None or self.family is None:
            return "not brought to a device, a model and an engine"
        if quantity != "memory" and self.sheet.bandwidth is None:
            return f"the profile {self.sheet.device} has no bandwidth_gb_s"
        if quantity == "prefill" and self.flops is None:
            return f"the profile {self.sheet.device} has no {self.processor}_gflops_f32"
        return None


def figures_text() -> str:
    """The file as shipped."""
    return files("harness.spec_sheet").joinpath(FIGURES).read_text(encoding="utf-8")


def figures_sha256() -> str:
    """The digest of the file."""
    return hashlib.sha256(figures_text().encode()).hexdigest()


def read_figures(text: str, profiles: Mapping[str, Profile]) -> list[Row]:
    """All rows of a file of published figures.

    Raises:
        UserError: a column is missing, or a number is none; the message names the line.
    """
    reader = csv.DictReader(text.splitlines())
    missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise UserError(
            f"{FIGURES}: there is no column {missing[0]!r}", f"columns: {', '.join(_COLUMNS)}"
        )
    return [_row(number, row, profiles) for number, row in enumerate(reader, start=2)]


def _row(line: int, row: Mapping[str, str], profiles: Mapping[str, Profile]) -> Row:
    numbers = {
        name: _number(line, name, row[name])
        for name in ("prefill_tps", "decode_tps", "peak_mem_mb", "gpu_mem_mb", "ctx")
    }
    prompt = _number(line, "prompt_tokens", row["prompt_tokens"])
    family = _family(row)
    shape = SHAPES.get(_SHAPES.get(row["model"], ""))
    storage = _STORAGE.get(row["quant"].partition(" act ")[0])
    profile = profiles.get(_profile(row))
    load = None
    if shape and storage:
        load = Load(
            shape=shape,
            storage=storage,
            prompt=round(prompt or USUAL_PROMPT),
            context=numbers["ctx"] or (prompt or USUAL_CONTEXT - 256) + 256,
            kv_bytes=kv_bytes(family),
        )
    unusable = _unusable(row, family, load, profile)
    return Row(
        line=line,
        source=row["source"],
        device=row["device"],
        engine=_engine(row, family),
        model=row["model"],
        quant=row["quant"],
        sheet=sheet_of(profile) if profile else None,
        family=family,
        load=load,
        measured=_measured(numbers, family),
        unusable=unusable,
    )


def _measured(
    numbers: Mapping[str, float | None], family: Family | None
) -> dict[SheetQuantity, float]:
    found: dict[SheetQuantity, float] = {}
    if (decode := numbers["decode_tps"]) is not None:
        found["decode"] = decode
    if (prefill := numbers["prefill_tps"]) is not None:
        found["prefill"] = prefill
    if (peak := numbers["peak_mem_mb"]) is not None:
        # In a browser the page's process and the GPU's are told apart; natively one has both.
        apart = numbers["gpu_mem_mb"] or 0 if family == "mediapipe/webgpu" else 0
        found["memory"] = (peak + apart) * _MEGA
    return found


def _number(line: int, name: str, text: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise UserError(
            f"{FIGURES}, line {line}: {name}: {text!r} is no number above 0",
            "correct it, or leave it empty where it is not known",
        )
    return value


def _family(row: Mapping[str, str]) -> Family | None:
    for part, backend, family in _FAMILIES:
        if part in row["browser_or_runtime"] and backend == row["backend"]:
            return family
    return None


def _engine(row: Mapping[str, str], family: Family | None) -> str:
    if family:
        return family
    for part, name in _OTHERS:
        if part in row["browser_or_runtime"]:
            return name
    return f"{row['browser_or_runtime']}, {row['backend']}"


def _profile(row: Mapping[str, str]) -> str:
    exact = PROFILES.get((row["device"], row["soc_or_gpu"]))
    return exact or PROFILES.get((row["device"], ""), "")


def _unusable(
    row: Mapping[str, str], family: Family | None, load: Load | None, profile: Profile | None
) -> str | None:
    """The first of the reasons for which nothing can be computed."""
    shape_known = row["model"] in _SHAPES
    reasons = (
        (profile is None, f"no profile is for {row['device']}"),
        (row["backend"] == "NPU", "an NPU: no spec sheet says what one makes of a model"),
        (
            "speculative" in row["backend"],
            "decodes speculatively: how many tokens a pass gives is not known",
        ),
        (not shape_known, f"the shape of {row['model']} is not known"),
        (load is None, f"how it is stored ({row['quant']}) is not known"),
        (
            profile is not None and profile.hardware.bandwidth_gb_s is None,
            f"the profile {profile.id if profile else ''} has no bandwidth_gb_s",
        ),
        (family is None, f"no factors are fitted for {_engine(row, None)}"),
    )
    return next((reason for holds, reason in reasons if holds), None)
