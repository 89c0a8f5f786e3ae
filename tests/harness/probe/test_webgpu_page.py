"""The WebGPU side of the probe, in Chromium on an adapter in software."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from harness.probe.report import WebGpuResult
from tests.harness.probe.page import SWIFTSHADER, opened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

pytestmark = pytest.mark.integration

# Runs the WebGPU side alone; `spoil` is code that spoils a device, `abort` the step to abort at.
RUN = """async ({ options, spoil, abort }) => {
  const { probeWebGPU } = await import("/webgpu.js");
  const devices = [];
  const original = GPUAdapter.prototype.requestDevice;
  GPUAdapter.prototype.requestDevice = async function (...asked) {
    if (abort === "device") fail(new Error("aborted"));
    const device = await original.apply(this, asked);
    const end = device.destroy.bind(device);
    const entry = { destroyed: false };
    device.destroy = () => { entry.destroyed = true; end(); };
    devices.push(entry);
    if (spoil) new Function("device", spoil)(device);
    return device;
  };
  let fail;
  const ended = new Promise((_, reject) => { fail = reject; });
  ended.catch(() => {});
  const steps = [];
  const problems = [];
  const result = await probeWebGPU({
    budgetMs: 200, seed: 1, ...options, problems,
    checkpoint: (work) => Promise.race([work, ended]),
    onProgress: ({ step }) => {
      steps.push(step);
      if (step === abort) fail(new Error("aborted"));
    },
  });
  // A device that came after an abort is destroyed in its own time.
  const left = () => devices.length === 0 || devices.some(({ destroyed }) => !destroyed);
  while (abort === "device" && left()) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  GPUAdapter.prototype.requestDevice = original;
  const { available, reason } = result;
  return { text: JSON.stringify(result), available, reason, steps, problems, devices };
}"""
UNITS = {
    "gemv_int4": "bytes_per_s", "gemv_int8": "bytes_per_s", "attention": "bytes_per_s",
    "matmul": "flops_per_s", "chain": "op_us", "rebind_chain": "op_us", "submit": "op_us",
}  # fmt: skip
HALF_UNITS = {"gemv_f16": "bytes_per_s", "matmul_f16": "flops_per_s"}


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with opened(*SWIFTSHADER, isolated=True) as it:
        yield it


def run(page: Page, *, spoil: str = "", abort: str = "", **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate(RUN, {"options": options, "spoil": spoil, "abort": abort})
    assert found["devices"], "no device was asked for"
    assert all(device["destroyed"] for device in found["devices"])
    return found


def measured(answer: dict[str, Any]) -> WebGpuResult:
    assert answer["available"], answer["reason"]
    return WebGpuResult.model_validate_json(answer["text"])


def test_all_kernels_are_measured_in_one_unit_each(page: Page) -> None:
    answer = run(page, budgetMs=1200)
    result = measured(answer)
    assert answer["problems"] == []
    assert answer["steps"] == ["fill", "settle", "measure"]
    half = HALF_UNITS if "shader-f16" in result.adapter.features else {}
    assert set(result.kernels) == {*UNITS, *half}
    for name, unit in (UNITS | half).items():
        kernel = result.kernels[name]
        figure = getattr(kernel, unit)
        assert figure is not None, name
        assert figure.median > 0, name
        assert kernel.slices == figure.n, name
    assert result.duty is not None
    assert result.drift is None or result.drift > 0
    assert result.settle is not None
    assert result.measure_ms is not None
    assert set(result.compile_ms) == {"fill", *UNITS, *half} - {"rebind_chain", "submit"}


def test_in_software_little_memory_is_taken_and_no_large_matrix(page: Page) -> None:
    result = measured(run(page, kernels=["head_int4", "chain"]))
    assert result.adapter.software
    assert set(result.kernels) == {"chain"}
    assert result.memory_bytes <= 16_000_000


def test_only_the_kernels_asked_for_are_compiled_and_measured(page: Page) -> None:
    result = measured(run(page, kernels=["rebind_chain", "int4_layer"]))
    assert set(result.kernels) == {"rebind_chain"}
    assert set(result.compile_ms) == {"fill", "rebind_chain"}


def test_an_adapter_that_comes_late_is_asked_for_again(page: Page) -> None:
    page.evaluate("""() => {
      const original = GPU.prototype.requestAdapter;
      GPU.prototype.requestAdapter = async function () {
        GPU.prototype.requestAdapter = original;
        return null;
      };
    }""")
    assert set(measured(run(page, kernels=["submit"])).kernels) == {"submit"}


@pytest.mark.parametrize("step", ["device", "fill", "settle", "measure"])
def test_an_abort_leaves_no_device(page: Page, step: str) -> None:
    answer = run(page, abort=step, kernels=["chain"])
    assert not answer["available"]
    assert answer["reason"] == "Error: aborted"


def test_a_kernel_that_does_not_compile_is_told_and_the_others_are_measured(page: Page) -> None:
    answer = run(
        page,
        kernels=["chain", "gemv_int8"],
        spoil="""
      const original = device.createShaderModule.bind(device);
      device.createShaderModule = ({ code }) =>
        original({ code: code.includes("vec4i") ? "not WGSL" : code });""",
    )
    assert set(measured(answer).kernels) == {"chain"}
    assert [problem.split(": ")[:2] for problem in answer["problems"]] == [["webgpu", "gemv_int8"]]


def test_without_the_shader_that_fills_nothing_is_measured(page: Page) -> None:
    answer = run(
        page,
        spoil="""
      const original = device.createShaderModule.bind(device);
      device.createShaderModule = () => original({ code: "not WGSL" });""",
    )
    assert not answer["available"]
    assert json.loads(answer["text"])["adapter"]["software"]
    assert answer["problems"]


def test_what_is_not_valid_while_measuring_is_no_figure(page: Page) -> None:
    answer = run(
        page,
        kernels=["chain"],
        spoil="""
      const original = device.queue.submit.bind(device.queue);
      let times = 0;
      Object.defineProperty(device, "queue", { value: new Proxy(device.queue, {
        get(queue, key) {
          if (key === "submit") {
            return (commands) => {
              times++;
              if (times === 60) device.createBuffer({ size: 4, usage: 0xffff });
              original(commands);
            };
          }
          const value = queue[key];
          return typeof value === "function" ? value.bind(queue) : value;
        },
      }) });""",
    )
    assert not answer["available"]
    assert "GPUValidationError" in answer["reason"]


def test_a_device_lost_while_measuring_is_the_reason(page: Page) -> None:
    answer = run(
        page,
        kernels=["chain"],
        spoil="""
      const original = device.createCommandEncoder.bind(device);
      let times = 0;
      device.createCommandEncoder = () => {
        times++;
        if (times === 40) device.destroy();
        return original();
      };""",
    )
    assert not answer["available"]
    assert "device lost (destroyed)" in answer["reason"]


def test_memory_that_is_not_there_is_asked_for_in_half_the_size(page: Page) -> None:
    sizes = page.evaluate("""async () => {
      const { allocate, weightBytes } = await import("/gpu-kernels.js");
      const { Gpu, GpuProblem } = await import("/gpu.js");
      const device = await (await navigator.gpu.requestAdapter()).requestDevice();
      const gpu = new Gpu(device, [], (work) => work, false);
      const scoped = gpu.scoped.bind(gpu);
      let fail = 2;
      gpu.scoped = async (work) => {
        const answer = await scoped(work);
        if (fail-- > 0) throw new GpuProblem("GPUOutOfMemoryError: full");
        return answer;
      };
      const mib = 1 << 20;
      const made = await allocate(gpu, 32 * mib, GpuProblem);
      device.destroy();
      const of = (options) => weightBytes({
        room: 2 ** 31 - 4, software: false, deviceMemory: 8, mobile: false, ...options }) / mib;
      return {
        made: made.weights.size / mib,
        counted: gpu.bytes < 12 * mib,
        desktop: of({}), phone: of({ mobile: true }), small: of({ deviceMemory: 4 }),
        least: of({ deviceMemory: 2 }), limited: of({ room: 128 * mib - 4 }),
        software: of({ software: true }),
      };
    }""")
    assert sizes == {
        "made": 8, "counted": True, "desktop": 144, "phone": 64, "small": 64, "least": 32,
        "limited": 64, "software": 8,
    }  # fmt: skip


def test_a_desktop_takes_no_more_than_256_megabytes(page: Page) -> None:
    """The sizes of a real GPU, on one in software: only made, not measured."""
    made = page.evaluate("""async () => {
      const { allocate, definitions, weightBytes } = await import("/gpu-kernels.js");
      const { Gpu, GpuProblem } = await import("/gpu.js");
      const adapter = await navigator.gpu.requestAdapter();
      const { maxStorageBufferBindingSize, maxBufferSize } = adapter.limits;
      const device = await adapter.requestDevice({
        requiredLimits: { maxStorageBufferBindingSize, maxBufferSize } });
      const gpu = new Gpu(device, [], (work) => work, false);
      const room = Math.min(maxStorageBufferBindingSize, maxBufferSize);
      const wanted = weightBytes({ room, software: false, deviceMemory: 8, mobile: false });
      const buffers = await allocate(gpu, wanted, GpuProblem);
      const asked = [
        "chain", "gemv_int4", "rebind_chain", "matmul", "attention", "gemv_int8", "head_int4",
      ];
      const kernels = {};
      for (const it of definitions({ software: false, half: false, asked, buffers })) {
        const { pipeline } = await gpu.pipeline(it.code);
        kernels[it.name] = await gpu.scoped(async () => {
          let [step, last] = [0, null];
          for (let sized; (sized = it.build(gpu, pipeline, step)); step++) {
            last = sized;
            // Recorded and ended, which validates it, but never submitted.
            const encoder = device.createCommandEncoder();
            const pass = encoder.beginComputePass();
            sized.record(pass, 2);
            pass.end();
            encoder.finish();
            if (!it.grow) return { sizes: 1, work: last.work };
          }
          return { sizes: step, work: last.work };
        });
      }
      device.destroy();
      return { bytes: gpu.bytes, kernels };
    }""")
    mib = 1 << 20
    assert made["bytes"] <= 256_000_000
    assert made["kernels"]["head_int4"] == {"sizes": 1, "work": 144 * mib}
    assert made["kernels"]["gemv_int4"] == {"sizes": 7, "work": 64 * mib}
    assert made["kernels"]["attention"] == {"sizes": 7, "work": 64 * mib}
    assert made["kernels"]["matmul"] == {"sizes": 3, "work": 2 * 1024**3}
