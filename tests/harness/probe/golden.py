"""Predictions that both sides of the probe must make alike, in Python and in JavaScript.

    python -m tests.harness.probe.golden       writes data/golden_predictions.json

The file has `reports` and a `calibration`, and `cases`: a workload on one of the reports, with or
without the calibration, and what is expected of it. `terms` are (base, factor); intervals are
[low, expected, high], null for "unknown".
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

from harness.foresight import foresee_by
from harness.models import Workload
from harness.probe.predict import MemoryBudget
from harness.probe.report import ProbeReport
from harness.runtimes import find_runtime
from harness.runtimes.base import engine_on
from results.calibration import Calibration, Fit, Training
from results.observation import Quantity
from tests.harness.probe.samples import DATA, sample, second

if TYPE_CHECKING:
    from results.record import Interval, Prediction

GOLDEN_PATH: Final = DATA / "golden_predictions.json"
GIB: Final = 1 << 30


def reports() -> dict[str, ProbeReport]:
    """The reports that cases name."""
    wasm, gpu = second("chromium_wasm"), second("chromium_h200")
    swiftshader = second("chromium_swiftshader")
    both = wasm.model_copy(
        update={"backends": wasm.backends.model_copy(update={"webgpu": gpu.backends.webgpu})}
    )
    shaky = wasm.model_dump()
    shaky["backends"]["wasm"]["settle"]["steady"] = False
    shaky["backends"]["wasm"]["phases"][1] |= {"drift": 1.4, "duty": 0.45}
    alone = wasm.model_dump()
    alone["environment"]["cross_origin_isolated"] = False
    alone["backends"]["wasm"]["phases"] = alone["backends"]["wasm"]["phases"][:1]
    narrow = swiftshader.model_dump()
    narrow["backends"]["webgpu"]["adapter"]["limits"] |= {
        "maxStorageBufferBindingSize": 128 << 20,
        "maxBufferSize": 256 << 20,
    }
    bare = wasm.model_dump()
    bare["environment"] |= {"wasm_memory64": False, "webgpu": False}
    return {
        "first version": sample("chromium_wasm"),
        "two threads": wasm,
        "a gpu": gpu,
        "both sides": both,
        "software": swiftshader,
        "unsteady": ProbeReport.model_validate(shaky),
        "not isolated": ProbeReport.model_validate(alone),
        "small bindings": ProbeReport.model_validate(narrow),
        "without much": ProbeReport.model_validate(bare),
    }


def calibration() -> Calibration:
    """Made-up fits: of one engine wholly, of another in part."""

    def fit(factors: dict[str, float], low: float = 0.85, high: float = 1.25) -> Fit:
        return Fit(
            factors=factors, low=low, high=high, n=40, devices=8, median_error=0.05, p90_error=0.15
        )

    return Calibration(
        probe_version=2,
        training=Training(
            trials=40,
            sha256="0" * 64,
            devices=("a", "b"),
            models=("gemma-3-270m",),
            processors=("one",),
            newest="2026-11-26T00:00:00Z",
        ),
        engines={
            "wllama/wasm": {
                Quantity.LOAD: fit({"bytes": 3.1, "bytes_cpu": 0.7, "fixed_cpu": 0.4}),
                Quantity.FIRST_TOKEN: fit({"prefill": 1.1, "fixed": 0.05}),
                Quantity.PREFILL: fit({"product.q8_0": 0.93, "small": 1.2, "barrier": 0.0}),
                Quantity.DECODE: fit(
                    {"matrix.q8_0": 1.04, "small": 1.3, "barrier": 9.5, "vocabulary": 2.0}
                ),
                Quantity.MEMORY: fit({"file": 1.21, "kv": 1.0, "fixed": 0.45}, 0.9, 1.3).model_copy(
                    update={"margin": 1.12}
                ),
            },
            "mediapipe/webgpu:gpu": {
                Quantity.DECODE: fit({"matrix.int4": 1.4, "encode": 9.0, "submit": 4.0}),
            },
        },
    )


# Report, engine, model, weights, prompt, output, bytes of memory, and whether with the calibration.
CASES: Final[tuple[tuple[str, str, str, str, int, int, int | None, bool], ...]] = (
    ("two threads", "wllama/wasm", "gemma-3-270m", "q8_0", 128, 64, None, False),
    ("two threads", "wllama/wasm", "gemma-3-270m", "q8_0", 128, 64, 4 * GIB, True),
    # A fit that knows no such weights gives way to the recipe's own factors.
    ("two threads", "wllama/wasm", "gemma-2b", "q4_k", 32, 32, 16 * GIB, True),
    ("two threads", "wllama/wasm", "gemma-3-270m", "q4_0", 3000, 100, 16 * GIB, False),
    ("two threads", "wllama/wasm", "qwen2.5-0.5b", "fp16", 32, 32, 16 * GIB, False),
    # Its address space, whatever the memory.
    ("two threads", "wllama/wasm", "gemma-7b", "q4_k", 32, 32, 64 * GIB, False),
    ("two threads", "wllama/wasm", "gemma-2b", "q4_k", 32, 32, 1 * GIB, False),
    ("two threads", "wllama/wasm", "gemma-2b", "q4_k", 32, 32, 3 * GIB, False),
    # With a fit the margin decides: within the interval, on either side of it.
    ("two threads", "wllama/wasm", "gemma-2b", "q4_k", 32, 32, int(2.5 * GIB), True),
    ("two threads", "wllama/wasm", "gemma-2b", "q4_k", 32, 32, int(2.4 * GIB), True),
    ("two threads", "wllama/wasm", "phi-2", "q8_0", 32, 32, None, False),
    ("first version", "wllama/wasm", "gemma-3-270m", "q8_0", 32, 32, None, False),
    ("unsteady", "wllama/wasm", "gemma-3-1b-it", "q8_0", 100, 20, None, True),
    ("not isolated", "wllama/wasm", "gemma-3-1b-it", "q8_0", 100, 20, None, True),
    ("without much", "wllama/wasm", "gemma-3-270m", "q8_0", 32, 32, None, False),
    ("two threads", "onnxruntime-web/wasm", "gemma-3-270m", "int4", 128, 64, None, False),
    ("first version", "onnxruntime-web/wasm", "gemma-3-1b-it", "int8", 16, 16, 8 * GIB, False),
    ("two threads", "onnxruntime-web/wasm", "gemma-3-270m", "fp16", 128, 64, 8 * GIB, False),
    ("two threads", "onnxruntime-web/wasm", "gemma-3-270m", "fp32", 128, 64, 3 * GIB, False),
    ("two threads", "onnxruntime-web/wasm", "gemma-2-2b-it", "int4", 64, 64, 3 * GIB, False),
    ("two threads", "litert-lm/wasm", "gemma-3-270m", "int8", 20, 20, None, False),
    ("two threads", "litert-lm/wasm", "gemma-3-1b-it", "int4", 129, 20, 16 * GIB, False),
    ("two threads", "litert-lm/wasm", "gemma-2b", "int8", 20, 20, 64 * GIB, False),
    ("a gpu", "mediapipe/webgpu", "gemma-2b", "int4", 512, 64, None, False),
    ("a gpu", "mediapipe/webgpu", "gemma-3-270m", "int4", 16, 8, 16 * GIB, True),
    ("a gpu", "mediapipe/webgpu", "gemma-2b", "int8", 2000, 200, 16 * GIB, False),
    ("both sides", "litert-lm/webgpu", "gemma-4-e2b", "int4", 16, 8, 16 * GIB, False),
    ("a gpu", "onnxruntime-web/webgpu", "gemma-2b", "int4", 512, 64, None, False),
    ("a gpu", "onnxruntime-web/webgpu", "gemma-2b", "fp16", 64, 64, None, False),
    ("a gpu", "wllama/webgpu", "gemma-2b", "q4_k", 512, 64, None, False),
    ("software", "onnxruntime-web/webgpu", "gemma-3-270m", "int8", 16, 16, None, False),
    ("software", "onnxruntime-web/webgpu", "gemma-3-270m", "fp16", 16, 16, None, False),
    ("software", "mediapipe/webgpu", "gemma-3-270m", "int4", 16, 16, 2 * GIB, False),
    ("software", "wllama/webgpu", "gemma-3-270m", "q8_0", 16, 16, None, False),
    ("small bindings", "mediapipe/webgpu", "gemma-3-270m", "int4", 16, 16, None, False),
    ("small bindings", "onnxruntime-web/webgpu", "gemma-2b", "int4", 16, 16, None, False),
    ("without much", "mediapipe/webgpu", "gemma-2b", "int4", 16, 16, None, False),
)


def golden() -> dict[str, Any]:
    """The whole content of the file."""
    seen, fits = reports(), calibration()
    return {
        "reports": {name: report.model_dump(mode="json") for name, report in seen.items()},
        "calibration": fits.model_dump(mode="json"),
        "cases": [_case(case, seen[case[0]], fits) for case in CASES],
    }


def _case(
    case: tuple[str, str, str, str, int, int, int | None, bool],
    report: ProbeReport,
    fits: Calibration,
) -> dict[str, Any]:
    name, runtime, model, quantisation, prompt, output, memory, calibrated = case
    workload = Workload(model, quantisation, runtime, prompt, output)
    budget = MemoryBudget(memory, "given by the caller")
    found = foresee_by(report, workload, budget, fits if calibrated else None)
    recipe = engine_on(find_runtime(runtime), quantisation, report)
    return {
        "report": name,
        "runtime": runtime,
        "model": model,
        "quantisation": quantisation,
        "prompt_tokens": prompt,
        "output_tokens": output,
        "memory_bytes": memory,
        "with_calibration": calibrated,
        "expected": {
            "recipe": None if found.verdict == "unsupported" else recipe.key,
            "verdict": found.verdict,
            "tier": found.tier,
            "calibrated": found.calibrated,
            "reason": found.reason,
            **_quantities(found),
            "terms": {
                quantity: {term: [value.base, value.factor] for term, value in terms.items()}
                for quantity, terms in found.terms.items()
            },
        },
    }


def _quantities(found: Prediction) -> dict[str, Any]:
    return {
        name: _bounds(getattr(found, name))
        for name in (
            "load_seconds",
            "first_token_seconds",
            "prefill_tokens_per_s",
            "decode_tokens_per_s",
            "peak_memory_bytes",
        )
    }


def _bounds(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.low, interval.expected, interval.high]


def text() -> str:
    """What the file must say: a line a report and a case."""
    content = golden()
    compact: dict[str, Any] = {"separators": (",", ":")}
    named = ",\n".join(
        f"{json.dumps(name)}:{json.dumps(report, **compact)}"
        for name, report in content["reports"].items()
    )
    cases = ",\n".join(json.dumps(case, **compact) for case in content["cases"])
    fits = json.dumps(content["calibration"], **compact)
    return f'{{"reports":{{\n{named}\n}},\n"calibration":{fits},\n"cases":[\n{cases}\n]}}\n'


if __name__ == "__main__":
    GOLDEN_PATH.write_text(text(), encoding="utf-8")
    sys.stdout.write(f"{GOLDEN_PATH.name}: {len(CASES)} cases\n")
