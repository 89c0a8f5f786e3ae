"""The prediction in JavaScript: the same figures as in Python, from the shipped catalogue."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from tests.harness.probe.node import PACKAGE, evaluated
from tests.harness.probe.samples import DATA

GOLDEN = json.loads((DATA / "golden_predictions.json").read_text())
SMALL = json.loads((DATA / "small_catalogue.json").read_text())
CATALOGUE = json.loads((PACKAGE / "catalogue.json").read_text())
SAMPLE = json.loads((DATA / "chromium_wasm.json").read_text())
CLOSE = 1e-9
QUANTITIES = (
    "load_seconds",
    "first_token_seconds",
    "prefill_tokens_per_s",
    "decode_tokens_per_s",
    "peak_memory_bytes",
)
PREDICT = """
    const { predict } = await import("./predict.js");
    return cases.map(({ report, runtime, model, quantisation, prompt_tokens, output_tokens,
        memory_bytes, with_calibration }) => predict(
      reports[report],
      { runtime, model, quantisation, promptTokens: prompt_tokens, outputTokens: output_tokens },
      {
        catalogue,
        calibration: with_calibration ? calibration : null,
        memory: memory_bytes === null ? null
          : { low_bytes: memory_bytes, high_bytes: memory_bytes, source: "given by the caller" },
      },
    ));
"""


@pytest.fixture(scope="module")
def predicted() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = evaluated(PREDICT, catalogue=CATALOGUE, **GOLDEN)
    return found


def near(found: float, expected: float) -> bool:
    return math.isclose(found, expected, rel_tol=CLOSE)


@pytest.mark.parametrize("number", range(len(GOLDEN["cases"])))
def test_both_languages_predict_alike(number: int, predicted: list[dict[str, Any]]) -> None:
    expected, found = GOLDEN["cases"][number]["expected"], predicted[number]
    same = ("verdict", "tier", "calibrated", "recipe")
    assert {key: found[key] for key in same} == {key: expected[key] for key in same}, found
    if expected["verdict"] in {"ok", "oom"}:
        assert found["reason"] == expected["reason"]
    for name in QUANTITIES:
        interval = expected[name]
        if interval is None:
            assert found[name]["unknown"]
            continue
        for key, value in zip(("low", "expected", "high"), interval, strict=True):
            assert near(found[name][key], value), (name, key)
    assert found["terms"].keys() == expected["terms"].keys()
    for quantity, terms in expected["terms"].items():
        assert found["terms"][quantity].keys() == terms.keys()
        for term, (base, factor) in terms.items():
            assert near(found["terms"][quantity][term]["base"], base), term
            assert near(found["terms"][quantity][term]["factor"], factor), term


def small(**options: Any) -> dict[str, Any]:
    """One prediction by the small catalogue."""
    workload = {"model": "gemma-2b", "runtime": "wllama/wasm", "quant": "int4"}
    body = """
        const { predict } = await import("./predict.js");
        return predict(report, workload, { catalogue, ...options });
    """
    found: dict[str, Any] = evaluated(
        body, report=SAMPLE, workload=workload, catalogue=SMALL, options=options
    )
    return found


def budget(low: float, high: float | None) -> dict[str, Any]:
    return {"low_bytes": low, "high_bytes": high, "source": "a test"}


@pytest.mark.parametrize(
    ("memory", "verdict", "words"),
    [
        (None, "ok", "the memory limit is not known"),
        (budget(9e9, None), "ok", "expected to fit a test"),
        (budget(1e9, None), "unknown", "at least 1.00 GB (a test)"),
        (budget(1e9, 9e9), "unknown", "1.00 to 9.00 GB (a test)"),
        (budget(0.5e9, 1e9), "oom", "above the limit of 1.00 GB (a test)"),
    ],
)
def test_the_verdict_takes_a_budget_that_is_not_known_exactly(
    memory: dict[str, Any] | None, verdict: str, words: str
) -> None:
    found = small(memory=memory)
    assert found["verdict"] == verdict
    assert words in found["reason"]


def test_a_given_limit_wins() -> None:
    assert small(memory=budget(9e9, None), memoryBytes=1e9)["verdict"] == "oom"


def test_history_corrects_what_the_same_engine_does_next() -> None:
    before = small()
    decode, load = before["decode_tokens_per_s"], before["load_seconds"]
    # Half as fast as predicted, three times: 2 ** (3 / 5) with two loads as predicted beside them.
    half = {"prediction": before, "measured": {"decode_tokens_per_s": decode["expected"] / 2}}
    after = small(history=[half] * 3)
    slower = 2 ** (3 / 5)
    assert after["corrections"] == {"decode": pytest.approx(slower)}
    for bound in ("low", "expected", "high"):
        assert after["decode_tokens_per_s"][bound] == pytest.approx(decode[bound] / slower)
    assert after["load_seconds"] == load
    # A prediction that was corrected before counts as what it was without.
    again = {
        "prediction": after,
        "measured": {"decode_tokens_per_s": decode["expected"] / 2, "load_seconds": None},
    }
    assert small(history=[again] * 3)["corrections"] == {"decode": pytest.approx(slower)}
    other = {**half, "prediction": {**before, "recipe": "mediapipe/webgpu"}}
    assert small(history=[other])["corrections"] == {}


QUIET: dict[str, Any] = {
    "hidden": False,
    "settle": {"wasm": {"steady": True}, "webgpu": None},
    "phases": [{"threads": 1, "duty": 0.97, "drift": 1.02}],
    "webgpu": None,
    "software_adapter": None,
    "battery": {"charging": True, "level": 0.1},
    "storage": {"quota_bytes": 10_000, "usage_bytes": 100},
    "network": {"save_data": False},
}
FINE = {"verdict": "ok", "calibrated": True, "file_bytes": 9_000}


@pytest.mark.parametrize(
    ("conditions", "prediction", "words"),
    [
        ({}, {}, []),
        ({"battery": None, "storage": None, "network": None}, {}, []),
        ({"hidden": True}, {}, ["the page was hidden"]),
        ({"settle": {"wasm": {"steady": False}, "webgpu": None}}, {}, ["did not come to rest"]),
        ({"phases": [{"threads": 2, "duty": 0.5, "drift": None}]}, {}, ["2 threads ran for 50 %"]),
        ({"phases": [{"threads": 1, "duty": 1, "drift": 1.3}]}, {}, ["1 thread got 30 % slower"]),
        ({"webgpu": {"duty": 0.5, "drift": 1.5}}, {}, ["the GPU ran for 50 %", "50 % slower"]),
        ({"webgpu": {"duty": None, "drift": None}}, {}, []),
        ({"software_adapter": True}, {}, ["adapter is software"]),
        ({"battery": {"charging": False, "level": 0.1}}, {}, ["on battery at 10 %"]),
        ({"network": {"save_data": True}}, {}, ["less data"]),
        ({}, {"file_bytes": 9_901}, ["larger than what this site may store"]),
        ({}, {"calibrated": False}, ["not calibrated"]),
        ({}, {"calibrated": False, "verdict": "unsupported"}, []),
    ],
)
def test_what_speaks_against_the_figures_is_told(
    conditions: dict[str, Any], prediction: dict[str, Any], words: list[str]
) -> None:
    found = evaluated(
        """
        const { warnings } = await import("./conditions.js");
        return warnings(at, predictions);
        """,
        at={**QUIET, **conditions},
        predictions=[{**FINE, **prediction}],
    )
    assert len(found) == len(words), found
    for warning, part in zip(found, words, strict=True):
        assert part in warning


def test_int4_and_int8_mean_what_the_engine_has() -> None:
    names = evaluated(
        """
        const { findQuantisation } = await import("./catalogue.js");
        return cases.map((names) => findQuantisation(catalogue, ...names));
        """,
        catalogue=CATALOGUE,
        cases=[
            ["gemma-2b", "wllama/wasm", "int4"],
            ["gemma-3-270m", "wllama/wasm", "int4"],
            ["gemma-3-270m", "wllama/wasm", "int8"],
            ["gemma-3-270m", "onnxruntime-web/wasm", "int4"],
            ["gemma-3-270m", "onnxruntime-web/wasm", "q4_k"],
        ],
    )
    assert names == ["q4_k", "q4_0", "q8_0", "int4", None]


def test_weights_of_many_bits_are_meant_only_by_name() -> None:
    usual, named = evaluated(
        """
        const { expand } = await import("./catalogue.js");
        const of = (candidate) => expand(catalogue, candidate).map((it) => it.quantisation);
        const asked = { model: "gemma-3-270m", runtime: "wllama/wasm" };
        return [of(asked), of({ ...asked, quant: "fp16" })];
        """,
        catalogue=CATALOGUE,
    )
    assert usual == ["q8_0", "q4_0"]
    assert named == ["fp16"]


def test_every_engine_of_the_catalogue_is_asked_for_kernels_that_the_probe_has() -> None:
    needed = evaluated(
        """
        const { expand, needed } = await import("./catalogue.js");
        return needed({ catalogue, calibration: null }, expand(catalogue, {}));
        """,
        catalogue=CATALOGUE,
    )
    assert set(needed["backends"]) == {"wasm", "webgpu"}
    known = "".join((PACKAGE / name).read_text() for name in ("wasm.js", "worker.js", "webgpu.js"))
    known += "".join(path.read_text() for path in PACKAGE.glob("gpu*.js"))
    assert [name for name in needed["kernels"] if name not in known] == []
