"""The JS package in a real Chromium."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.probe.report import Phase, ProbeReport, parse_report
from tests.harness.probe.page import SWIFTSHADER, opened

pytestmark = pytest.mark.integration

RUN = """async (options) => {
  const { probe } = await import("/index.js");
  const events = [];
  const report = await probe({ ...options, onProgress: (event) => events.push(event) });
  return { report: JSON.stringify(report), events };
}"""
SMALL = {"budgetMs": 600, "threads": 2}
WASM_KERNELS = {
    "int4_head", "int4_layer", "int8_head", "int8_layer", "chain", "gemm_m64", "gemm_m16",
    "dequant_int4", "dot_int4", "dot_int8", "dot_q4_k", "simd_int8", "simd_int4", "fp16_head",
    "small_ops", "attention", "stream", "copy",
}  # fmt: skip


def run(page: Any, **options: Any) -> tuple[ProbeReport, list[dict[str, Any]]]:
    answer = page.evaluate(RUN, {**SMALL, **options})
    return parse_report(answer["report"]), answer["events"]


def assert_measured(phase: Phase, names: set[str] = WASM_KERNELS) -> None:
    assert set(phase.kernels) == names
    for name, kernel in phase.kernels.items():
        units = [kernel.bytes_per_s, kernel.flops_per_s, kernel.op_us]
        figures = [unit for unit in units if unit is not None]
        assert len(figures) == 1, name
        assert figures[0].median > 0, name


@pytest.mark.parametrize("isolated", [False, True])
def test_wasm_is_measured_with_and_without_isolation(isolated: bool) -> None:
    with opened(isolated=isolated) as page:
        report, events = run(page, backends=["wasm"], seed=7)
    assert report.environment.cross_origin_isolated is isolated
    assert report.environment.wasm_simd
    assert report.seed == 7
    assert report.problems == []
    wasm = report.backends.wasm
    assert wasm is not None
    assert wasm.available
    assert [phase.threads for phase in wasm.phases] == [1, 2]
    assert_measured(wasm.phases[0])
    assert_measured(wasm.phases[1], WASM_KERNELS | ({"barrier"} if isolated else set()))
    assert 0 < wasm.memory_bytes <= 200_000_000
    assert report.version == 2
    assert wasm.settle.windows >= 3
    assert report.settle is not None
    assert report.settle.wall_ms == wasm.settle.wall_ms
    assert report.measure_ms == wasm.measure_ms == sum(phase.wall_ms for phase in wasm.phases)
    assert {"backend": "wasm", "step": "measure", "threads": 2} in events
    assert report.backends.webgpu is None


@pytest.mark.parametrize("backend", ["wasm", "webgpu"])
def test_weights_may_be_zeros_for_a_comparison(backend: str) -> None:
    names = {"wasm": ["dot_int8", "int4_head", "stream"], "webgpu": ["gemv_int4"]}[backend]
    with opened(*SWIFTSHADER) as page:
        report, _ = run(page, backends=[backend], kernels=names, data="zeros")
    assert report.problems == []
    if backend == "wasm":
        assert report.backends.wasm is not None
        assert report.backends.wasm.available
        assert_measured(report.backends.wasm.phases[0], set(names))
    else:
        assert report.backends.webgpu is not None
        assert report.backends.webgpu.available
        assert set(report.backends.webgpu.kernels) == set(names)


def test_without_webgpu_the_report_says_so() -> None:
    with opened("--disable-features=WebGPU") as page:
        page.evaluate("Object.defineProperty(Navigator.prototype, 'gpu', { value: undefined })")
        report, _ = run(page, backends=["webgpu"])
    webgpu = report.backends.webgpu
    assert webgpu is not None
    assert not webgpu.available
    assert webgpu.reason == "navigator.gpu is missing"


def test_without_an_adapter_the_report_says_so() -> None:
    with opened() as page:
        page.evaluate("navigator.gpu.requestAdapter = async () => null")
        report, _ = run(page, backends=["webgpu"])
    webgpu = report.backends.webgpu
    assert webgpu is not None
    assert not webgpu.available
    assert webgpu.reason == "requestAdapter() found no adapter"


def test_a_software_adapter_is_measured_and_marked() -> None:
    with opened(*SWIFTSHADER) as page:
        report, _ = run(page, backends=["webgpu"])
    webgpu = report.backends.webgpu
    assert webgpu is not None
    assert webgpu.available, webgpu.reason
    assert webgpu.adapter.software
    assert webgpu.adapter.info["architecture"] == "swiftshader"
    assert webgpu.adapter.limit("maxStorageBufferBindingSize")
    assert set(webgpu.kernels) >= {"gemv_int4", "matmul", "chain", "submit"}
    assert set(webgpu.compile_ms) >= {"fill", "gemv_int4", "matmul", "chain"}
    assert report.problems == []


def test_a_lost_device_is_reported_and_not_thrown() -> None:
    with opened(*SWIFTSHADER) as page:
        page.evaluate("""() => {
          const original = GPUAdapter.prototype.requestDevice;
          GPUAdapter.prototype.requestDevice = async function (...options) {
            const device = await original.apply(this, options);
            device.destroy();
            return device;
          };
        }""")
        report, _ = run(page, backends=["webgpu"])
    webgpu = report.backends.webgpu
    assert webgpu is not None
    assert not webgpu.available
    assert "device lost (destroyed)" in webgpu.reason
    assert any("device lost" in problem for problem in report.problems)


def test_a_broken_shader_is_reported_and_not_thrown() -> None:
    with opened(*SWIFTSHADER) as page:
        page.evaluate("""() => {
          const original = GPUDevice.prototype.createShaderModule;
          GPUDevice.prototype.createShaderModule = function () {
            return original.call(this, { code: "not WGSL" });
          };
        }""")
        report, _ = run(page, backends=["webgpu"])
    webgpu = report.backends.webgpu
    assert webgpu is not None
    assert not webgpu.available
    assert webgpu.adapter is not None
    assert any(problem.startswith("webgpu: ") for problem in report.problems)


def test_a_missing_kernel_file_is_reported_and_not_thrown() -> None:
    with opened() as page:
        page.route("**/kernels.wasm", lambda route: route.fulfill(status=404))
        report, _ = run(page, backends=["wasm"])
    wasm = report.backends.wasm
    assert wasm is not None
    assert not wasm.available
    assert "kernels.wasm: HTTP 404" in wasm.reason


def test_a_worker_that_cannot_start_is_reported_and_not_thrown() -> None:
    with opened() as page:
        page.route("**/worker.js", lambda route: route.fulfill(status=404))
        report, _ = run(page, backends=["wasm"])
    wasm = report.backends.wasm
    assert wasm is not None
    assert not wasm.available
    assert "worker: " in wasm.reason


@pytest.mark.parametrize("when", ["before", "settle", "measure"])
def test_an_abort_ends_it(when: str) -> None:
    with opened() as page:
        answer = page.evaluate(
            """async (when) => {
              const { probe } = await import("/index.js");
              const controller = new AbortController();
              const alive = new Set();
              const Original = Worker;
              globalThis.Worker = class extends Original {
                constructor(...options) { super(...options); alive.add(this); }
                terminate() { alive.delete(this); super.terminate(); }
              };
              if (when === "before") controller.abort();
              const onProgress = ({ step }) => { if (step === when) controller.abort(); };
              try {
                await probe({ signal: controller.signal, onProgress, backends: ["wasm"] });
                return { name: "none", alive: alive.size };
              } catch (error) {
                return { name: error.name, alive: alive.size };
              }
            }""",
            when,
        )
    assert answer == {"name": "AbortError", "alive": 0}


def test_only_the_kernels_asked_for_are_measured() -> None:
    asked = ["dot_int8", "barrier", "no such kernel", "small_ops", "gemv_int8"]
    with opened(isolated=True) as page:
        report, _ = run(page, backends=["wasm"], kernels=asked)
    assert report.problems == ["unknown kernel: no such kernel"]
    wasm = report.backends.wasm
    assert wasm is not None
    assert wasm.available, wasm.reason
    assert_measured(wasm.phases[0], {"dot_int8", "small_ops"})
    assert_measured(wasm.phases[1], {"dot_int8", "small_ops", "barrier"})


def test_a_backend_without_the_kernels_asked_for_says_so() -> None:
    with opened() as page:
        report, _ = run(page, backends=["wasm"], kernels=["submit"])
    wasm = report.backends.wasm
    assert wasm is not None
    assert not wasm.available
    assert wasm.reason == "none of its kernels was asked for"


@pytest.mark.parametrize("how", ["thrown", "event"])
def test_without_workers_the_page_measures_itself(how: str) -> None:
    refuse = {
        "thrown": """() => {
          globalThis.Worker = class { constructor() { throw new Error("refused"); } };
        }""",
        "event": """() => {
          globalThis.Worker = class {
            constructor() { setTimeout(() => this.onerror({ message: "refused" })); }
            postMessage() {}
            terminate() {}
          };
        }""",
    }
    with opened(isolated=True) as page:
        page.evaluate(refuse[how])
        report, _ = run(page, backends=["wasm"])
    wasm = report.backends.wasm
    assert wasm is not None
    assert wasm.available, wasm.reason
    assert [phase.threads for phase in wasm.phases] == [1]
    assert_measured(wasm.phases[0])
    assert [problem for problem in report.problems if "the page's own thread" in problem]


def test_an_unknown_backend_is_reported() -> None:
    with opened() as page:
        answer = page.evaluate(RUN, {**SMALL, "backends": ["abacus"]})
    report = json.loads(answer["report"])
    assert report["backends"] == {"abacus": {"available": False, "reason": "unknown backend"}}


def test_many_threads_stay_within_the_memory_bound() -> None:
    with opened() as page:
        page.evaluate(
            "Object.defineProperty(Navigator.prototype, 'hardwareConcurrency', { value: 64 })"
        )
        report, _ = run(page, backends=["wasm"], threads=64)
    wasm = report.backends.wasm
    assert wasm is not None
    assert wasm.available, wasm.reason
    assert [phase.threads for phase in wasm.phases] == [1, 8]
    assert_measured(wasm.phases[1])
    assert wasm.memory_bytes <= 200_000_000


def test_an_abort_with_a_reason_of_ones_own_ends_webgpu() -> None:
    with opened(*SWIFTSHADER) as page:
        message = page.evaluate("""async () => {
          const { probe } = await import("/index.js");
          const controller = new AbortController();
          const stop = () => controller.abort(new Error("mine"));
          const onProgress = ({ step }) => { if (step === "measure") stop(); };
          try {
            await probe({ signal: controller.signal, onProgress, backends: ["webgpu"] });
            return "resolved";
          } catch (error) {
            return error.message;
          }
        }""")
    assert message == "mine"
