"""Preflight and recommendation in a real Chromium, with a small catalogue of their own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.probe.page import SWIFTSHADER, opened
from tests.harness.probe.samples import DATA

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

pytestmark = pytest.mark.integration

CATALOGUE = json.loads((DATA / "small_catalogue.json").read_text())
SAMPLE = json.loads((DATA / "chromium_wasm.json").read_text())
GPU = json.loads((DATA / "chromium_h200.json").read_text())
QUICK = {"budgetMs": 300, "threads": 1, "catalogue": CATALOGUE, "calibration": None}
GIVEN = {"report": SAMPLE, "catalogue": CATALOGUE, "calibration": None}
CALL = """async ([name, options]) => {
  const module = await import("/preflight.js");
  try {
    return { value: await module[name](options) };
  } catch (error) {
    return { error: { message: error.message, type: error instanceof TypeError } };
  }
}"""
QUANTITIES = (
    "load_seconds",
    "first_token_seconds",
    "prefill_tokens_per_s",
    "decode_tokens_per_s",
    "peak_memory_bytes",
)


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with opened(*SWIFTSHADER) as opening:
        yield opening


def call(page: Page, name: str, **options: Any) -> Any:
    answer = page.evaluate(CALL, [name, options])
    assert "error" not in answer, answer
    return answer["value"]


def refusal(page: Page, name: str, **options: Any) -> str:
    answer = page.evaluate(CALL, [name, options])
    assert answer["error"]["type"], answer
    message: str = answer["error"]["message"]
    return message


def test_one_workload_is_measured_and_predicted(page: Page) -> None:
    report = call(
        page, "preflight", model="gemma-3-270m", quant="int8", runtime="wllama/wasm", **QUICK
    )
    assert report["version"] == 1
    assert report["features"]["wasm_simd"] is True
    assert report["conditions"]["hidden"] is False
    assert report["conditions"]["phases"][0]["duty"] > 0
    assert report["memory"]["probe"] is None
    (prediction,) = report["predictions"]
    assert prediction["quantisation"] == "q8_0"
    assert prediction["prompt_tokens"] == 128
    assert prediction["output_tokens"] == 64
    for quantity in QUANTITIES:
        assert 0 < prediction[quantity]["low"] <= prediction[quantity]["expected"]
        assert prediction[quantity]["expected"] <= prediction[quantity]["high"]
    assert report["verdict"] == prediction["verdict"]
    assert report["tier"] == prediction["tier"]
    assert report["calibrated"] is False
    assert any("not calibrated" in warning for warning in report["warnings"])
    assert report["probe"]["backends"].keys() == {"wasm"}


def test_only_what_the_recipes_need_is_asked_for(page: Page) -> None:
    needed = page.evaluate(
        """async (catalogue) => {
          const { expand, needed } = await import("/catalogue.js");
          const known = { catalogue, calibration: null };
          const of = (candidate) => needed(known, expand(catalogue, candidate));
          return [of({ model: "gemma-2b", runtime: "wllama/wasm" }), of({ model: "gemma-2b" })];
        }""",
        CATALOGUE,
    )
    assert needed[0]["backends"] == ["wasm"]
    assert set(needed[0]["kernels"]) == {"dot_int4", "chain"}
    assert set(needed[1]["backends"]) == {"wasm", "webgpu"}
    assert set(needed[1]["kernels"]) == {"dot_int4", "chain", "gemv_int4", "matmul"}


def test_an_earlier_report_is_not_measured_again(page: Page) -> None:
    report = call(page, "preflight", model="gemma-2b", **GIVEN)
    assert report["probe"] == SAMPLE
    assert {item["runtime"] for item in report["predictions"]} == {
        "wllama/wasm",
        "mediapipe/webgpu",
    }


def test_a_callback_is_called_once_in_the_style_of_node(page: Page) -> None:
    answers = page.evaluate(
        """async (options) => {
          const { preflight } = await import("/preflight.js");
          const call = (more) => new Promise((resolve) => {
            const calls = [];
            const returned = preflight({ ...options, ...more }, (...values) => {
              calls.push(values);
              setTimeout(() => resolve({ calls: calls.length, returned: returned === undefined,
                error: values[0]?.message ?? null, verdict: values[1]?.verdict ?? null }));
            });
          });
          return [await call({ model: "gemma-3-270m" }), await call({ model: "gema-3-270m" })];
        }""",
        GIVEN,
    )
    assert answers[0]["calls"] == answers[1]["calls"] == 1
    assert answers[0]["returned"] is True
    assert answers[0]["error"] is None
    assert answers[0]["verdict"] == "ok"
    assert "did you mean gemma-3-270m" in answers[1]["error"]


def test_what_a_callback_throws_is_an_uncaught_error(page: Page) -> None:
    message = page.evaluate(
        """async (options) => {
          const { preflight } = await import("/preflight.js");
          return new Promise((resolve) => {
            const onError = (event) => { event.preventDefault(); resolve(event.message); };
            addEventListener("error", onError, { once: true });
            preflight(options, () => { throw new Error("mine"); });
          });
        }""",
        GIVEN,
    )
    assert "mine" in message


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": "gema-2b"}, "did you mean gemma-2b"),
        ({"runtime": "wlama/wasm"}, "did you mean wllama/wasm"),
        ({"model": "gemma-2b", "quant": "q4k"}, "did you mean q4_k"),
        ({"runtime": "qqqqqqqqqqqqqqqqqqqqqqqqq"}, "known: wllama/wasm"),
        ({"promptTokens": 0}, "promptTokens must be a number of at least 1"),
        ({"budgetMs": "long"}, "budgetMs must be a number"),
        ({"memoryBytes": -1}, "memoryBytes must be a number"),
        ({"onProgress": 1}, "onProgress must be a function"),
    ],
)
def test_a_slip_of_the_caller_is_a_type_error(
    page: Page, options: dict[str, Any], words: str
) -> None:
    assert words in refusal(page, "preflight", **{**GIVEN, **options})


def test_other_names_of_a_model_are_known(page: Page) -> None:
    report = call(page, "preflight", model="gemma_2B", **GIVEN)
    assert {item["model"] for item in report["predictions"]} == {"gemma-2b"}


def test_a_pair_that_does_not_exist_is_unsupported_and_no_error(page: Page) -> None:
    report = call(page, "preflight", model="gemma-7b", runtime="mediapipe/webgpu", **GIVEN)
    assert report["verdict"] == report["tier"] == "unsupported"
    assert report["reason"] == "there is no gemma-7b on mediapipe/webgpu"


def test_an_abort_rejects_with_its_reason(page: Page) -> None:
    name = page.evaluate(
        """async (options) => {
          const { preflight } = await import("/preflight.js");
          const controller = new AbortController();
          const { signal } = controller;
          const onProgress = () => controller.abort();
          try {
            await preflight({ ...options, model: "gemma-2b", signal, onProgress });
            return "resolved";
          } catch (error) {
            return error.name;
          }
        }""",
        QUICK,
    )
    assert name == "AbortError"


def test_without_its_catalogue_it_measures_and_says_why_nothing_is_predicted(page: Page) -> None:
    for name in ("catalogue", "calibration"):
        page.route(f"**/{name}.json", lambda route: route.fulfill(status=404))
    report = call(page, "preflight", model="gemma-2b", budgetMs=300, threads=1)
    recommendation = call(page, "recommend", report=SAMPLE)
    page.unroute_all()
    assert report["verdict"] == "unknown"
    assert report["tier"] is None
    assert report["predictions"] == []
    assert report["reason"] == "nothing is predicted: catalogue.json: HTTP 404"
    assert report["probe"]["backends"]["wasm"]["available"] is True
    assert recommendation["best"] is None
    assert recommendation["report"]["reason"] == report["reason"]


def test_a_device_that_can_nothing_gets_a_report(page: Page) -> None:
    bare = json.loads(json.dumps(SAMPLE))
    bare["environment"].update(wasm=False, wasm_simd=False, webgpu=False)
    bare["backends"] = {
        name: {"available": False, "reason": "missing"} for name in ("wasm", "webgpu")
    }
    report = call(page, "preflight", model="gemma-2b", **{**GIVEN, "report": bare})
    assert report["verdict"] == report["tier"] == "unsupported"
    recommendation = call(page, "recommend", **{**GIVEN, "report": bare})
    assert recommendation["best"] is None
    assert recommendation["chain"] == []
    assert {item["reason"] for item in recommendation["refused"]} == {
        "the browser has no WebAssembly SIMD",
        "the browser has no WebGPU",
    }


def test_it_runs_in_a_worker_too(page: Page) -> None:
    answer = page.evaluate(
        """async (options) => {
          const code = `import { preflight } from "${location.origin}/preflight.js";
            onmessage = async ({ data }) => {
              postMessage(await preflight(data).catch((error) => ({ error: String(error) })));
            };
            postMessage("ready");`;
          const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
          const worker = new Worker(url, { type: "module" });
          const next = () => new Promise((resolve) => {
            worker.onmessage = ({ data }) => resolve(data);
          });
          await next();
          const memory = { maxBytes: 1 << 20 };
          worker.postMessage({ ...options, model: "gemma-3-270m", runtime: "wllama/wasm", memory });
          return next();
        }""",
        QUICK,
    )
    assert answer["verdict"] == "ok"
    assert answer["memory"]["probe"]["good_bytes"] == 1 << 20


def test_the_software_adapter_is_told(page: Page) -> None:
    report = call(page, "preflight", model="gemma-2b", runtime="mediapipe/webgpu", **QUICK)
    assert report["conditions"]["software_adapter"] is True
    assert report["features"]["adapter"]["software"] is True
    assert any("adapter is software" in warning for warning in report["warnings"])
    assert report["predictions"][0]["recipe"] == "mediapipe/webgpu"


def test_given_candidates_are_in_order_of_preference(page: Page) -> None:
    found = call(
        page,
        "recommend",
        candidates=[
            {"model": "gemma-3-270m", "runtime": "mediapipe/webgpu"},
            {"model": "gemma-7b", "runtime": "mediapipe/webgpu"},
            {"model": "gemma-2b", "runtime": "mediapipe/webgpu"},
        ],
        minTier="high",
        **{**GIVEN, "report": GPU},
    )
    assert found["best"]["model"] == "gemma-3-270m"
    assert found["best"]["recipe"] == "mediapipe/webgpu:gpu"
    assert [item["model"] for item in found["chain"]] == ["gemma-2b"]
    (refused,) = found["refused"]
    assert refused["candidate"]["model"] == "gemma-7b"
    assert refused["reason"] == "there is no gemma-7b on mediapipe/webgpu"


def test_without_candidates_larger_models_come_first(page: Page) -> None:
    found = call(page, "recommend", **{**GIVEN, "report": GPU})
    assert [found["best"]["model"], *(item["model"] for item in found["chain"])] == [
        "gemma-2b",
        "gemma-3-270m",
    ]
    reasons = {item["candidate"]["runtime"]: item["reason"] for item in found["refused"]}
    assert "was not measured" in reasons["wllama/wasm"]


def test_what_is_too_slow_is_refused_with_its_speeds_and_taken_by_request(page: Page) -> None:
    found = call(page, "recommend", candidates=[{"model": "gemma-2b"}], **GIVEN)
    assert found["best"] is None
    assert any(item["reason"].startswith("too slow: reads ") for item in found["refused"])
    anything = call(
        page, "recommend", candidates=[{"model": "gemma-2b"}], minTier="unsupported", **GIVEN
    )
    assert anything["best"]["runtime"] == "wllama/wasm"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"minTier": "hihg"}, "did you mean high?"),
        ({"candidates": {}}, "candidates must be an array"),
        ({"candidates": ["gemma-2b"]}, "candidates must be an array of {model, quant, runtime}"),
        ({"history": {}}, "history must be an array"),
        ({"candidates": [{"model": "gema-2b"}]}, "did you mean gemma-2b"),
    ],
)
def test_a_slip_in_what_is_to_be_recommended_is_a_type_error(
    page: Page, options: dict[str, Any], words: str
) -> None:
    assert words in refusal(page, "recommend", **GIVEN, **options)


def test_models_are_listed_smallest_first(page: Page) -> None:
    listed = call(page, "models", catalogue=CATALOGUE)
    assert [model["id"] for model in listed] == ["gemma-3-270m", "gemma-2b", "gemma-7b"]
    assert listed[0]["file_bytes"]["low"] < listed[0]["file_bytes"]["high"]
    assert listed[2]["runtimes"] == ["wllama/wasm"]
