"""What the WebGPU kernels compute, beside the same in JavaScript; in Chromium, in software."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.probe.page import SWIFTSHADER, opened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

pytestmark = pytest.mark.integration

# Runs one dispatch on random words, and works out the same from these words in double precision.
HARNESS = """async () => {
  const shaders = await import("/shaders.js");
  const adapter = await navigator.gpu.requestAdapter();
  const half = adapter.features.has("shader-f16");
  const device = await adapter.requestDevice({ requiredFeatures: half ? ["shader-f16"] : [] });
  let state = 1;
  const words = (count) => Uint32Array.from({ length: count }, () => {
    state = (Math.imul(state, 747796405) + 2891336453) >>> 0;
    const word = Math.imul((state >>> ((state >>> 28) + 4)) ^ state, 277803737);
    return ((word ^ (state >>> 9)) & 0xbbffbbff) >>> 0;
  });
  const view = new DataView(new ArrayBuffer(4));
  const small = (word) => {
    view.setUint32(0, ((word & 0x807fffff) | 0x3c000000) >>> 0);
    return view.getFloat32(0);
  };
  /** Half float `i` (0 or 1) of a word. */
  const half16 = (word, i) => {
    const bits = (word >>> (16 * i)) & 0xffff;
    const [exponent, fraction] = [(bits >> 10) & 31, (bits & 0x3ff) / 1024];
    const size = exponent ? (1 + fraction) * 2 ** (exponent - 15) : fraction * 2 ** -14;
    return bits & 0x8000 ? -size : size;
  };
  const nibble = (word, i) => ((word >>> (4 * i)) & 15) - 8;
  const byte = (word, i) => (word << (24 - 8 * i)) >> 24;
  const x = Float32Array.from({ length: 2048 }, (_, i) => Math.sin(i));
  const storage = (data) => {
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
    const buffer = device.createBuffer({ size: data.byteLength, usage });
    device.queue.writeBuffer(buffer, 0, data);
    return buffer;
  };
  const uniform = (values) => {
    const usage = GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST;
    const buffer = device.createBuffer({ size: 16, usage });
    device.queue.writeBuffer(buffer, 0, new Uint32Array([...values, 0, 0, 0, 0].slice(0, 4)));
    return buffer;
  };
  /** The floats (or words) of binding `out` after one dispatch. */
  const dispatch = async (code, buffers, workgroups, out, kind = Float32Array) => {
    const module = device.createShaderModule({ code });
    const pipeline = await device.createComputePipelineAsync({
      layout: "auto", compute: { module, entryPoint: "main" } });
    const entries = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
    const { size } = buffers[out];
    const usage = GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ;
    const readable = device.createBuffer({ size, usage });
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0), entries }));
    pass.dispatchWorkgroups(...workgroups);
    pass.end();
    encoder.copyBufferToBuffer(buffers[out], 0, readable, 0, size);
    device.queue.submit([encoder.finish()]);
    await readable.mapAsync(GPUMapMode.READ);
    return new kind(readable.getMappedRange().slice(0));
  };
  /** The largest difference over the largest value. */
  const error = (found, wanted) => {
    const scale = Math.max(...wanted.map(Math.abs));
    return Math.max(...wanted.map((value, i) => Math.abs(found[i] - value))) / scale;
  };
  const sum = (count, term) => {
    let total = 0;
    for (let i = 0; i < count; i++) total += term(i);
    return total;
  };
  const rows = (count, value) => Array.from({ length: count }, (_, row) => value(row));

  const gemv = async (code, perWord, value) => {
    const [count, first] = [8, 4];  // rows of the product, and the row that it begins with
    const rowWords = 2048 / perWord;
    const weights = words((first + count) * rowWords);
    const scales = words((first + count) * 64);
    const scaled = perWord !== 2;
    const found = await dispatch(code, [
      storage(weights), ...(scaled ? [storage(scales)] : []), storage(x),
      storage(new Float32Array(count)), uniform([count, first]),
    ], [count / 4], scaled ? 3 : 2);
    const wanted = rows(count, (row) => sum(2048, (i) => {
      const at = (first + row) * 2048 + i;
      return value(weights[Math.floor(at / perWord)], at % perWord) * x[i]
        * (scaled ? small(scales[Math.floor(at / 32)]) : 1);
    }));
    return error(found, wanted);
  };
  const matmul = async (code, perWord, value) => {
    const n = 128;
    const [a, b] = [words(n * n / perWord), words(n * n / perWord)];
    const found = await dispatch(code, [
      storage(a), storage(b), storage(new Float32Array(n * n)), uniform([n]),
    ], [n / 64, n / 64], 2);
    const at = (matrix, row, column) => {
      const place = row * n + column;
      return value(matrix[Math.floor(place / perWord)], place % perWord);
    };
    return error(found, rows(n * n, (place) => {
      const [row, column] = [Math.floor(place / n), place % n];
      return sum(n, (k) => at(a, row, k) * at(b, k, column));
    }));
  };
  const attention = async (count) => {
    const [keys, values] = [words(count * 8192), words(count * 8192)];
    // Larger queries than the probe's, so that weights differ.
    const query = x.map((value) => 200 * value);
    const found = await dispatch(shaders.ATTENTION, [
      storage(keys), storage(values), storage(query),
      storage(new Float32Array(count * 33 * 4)), uniform([count]),
    ], [count], 3);
    const errors = rows(count, (block) => {
      const scores = rows(64, (position) => sum(128, (i) =>
        small(keys[((block * 32 + (i >> 2)) * 64 + position) * 4 + (i & 3)])
          * query[(block % 16) * 128 + i]) / Math.sqrt(128));
      const most = Math.max(...scores);
      const weights = scores.map((score) => Math.exp(score - most));
      const wanted = rows(128, (i) => sum(64, (position) =>
        weights[position] * small(values[(block * 64 + position) * 128 + i])));
      const own = found.slice(block * 132, (block + 1) * 132);
      return Math.max(error(own, wanted), error([own[128]], [most]),
        error([own[129]], [sum(64, (i) => weights[i])]));
    });
    return Math.max(...errors);
  };
  const fill = async () => {
    const [count, seed] = [100, 7];
    const found = await dispatch(shaders.FILL,
      [storage(new Uint32Array(128)), uniform([count, seed, 64])], [1], 0, Uint32Array);
    const wanted = rows(128, (i) => {
      if (i >= count) return 0;
      const state = (Math.imul(i + seed, 747796405) + 2891336453) >>> 0;
      const word = Math.imul((state >>> ((state >>> 28) + 4)) ^ state, 277803737) >>> 0;
      return (((word >>> 22) ^ word) & 0xbbffbbff) >>> 0;
    });
    return wanted.filter((word, i) => word !== found[i]).length;
  };
  const chain = async () => {
    const before = Float32Array.from({ length: 2048 }, (_, i) => i / 100 - 10);
    const found = await dispatch(shaders.CHAIN, [storage(before)], [32], 0);
    return error(found, [...before].map((value) => (1 + value) / (1 + Math.abs(value))));
  };
  try {
    return {
      half,
      fill: await fill(),
      chain: await chain(),
      gemv_int4: await gemv(shaders.GEMV, 8, nibble),
      gemv_int8: await gemv(shaders.GEMV_INT8, 4, byte),
      gemv_f16: half ? await gemv(shaders.GEMV_F16, 2, half16) : null,
      matmul: await matmul(shaders.MATMUL, 1, small),
      matmul_f16: half ? await matmul(shaders.MATMUL_F16, 2, half16) : null,
      attention: await attention(3),
    };
  } finally {
    device.destroy();
  }
}"""
# Sums of 2048 products in fp32 are off by some 1e-6 of the largest; of halves by 2**-11 a product.
SINGLE = 2e-5
HALF = 5e-3


@pytest.fixture(scope="module")
def errors() -> Iterator[dict[str, Any]]:
    with opened(*SWIFTSHADER) as page:
        yield _errors(page)


def _errors(page: Page) -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate(HARNESS)
    return found


def test_fill_writes_the_hash_of_the_seed_and_no_further(errors: dict[str, Any]) -> None:
    assert errors["fill"] == 0


@pytest.mark.parametrize("name", ["chain", "gemv_int4", "gemv_int8", "matmul", "attention"])
def test_kernels_compute_what_their_reference_does(errors: dict[str, Any], name: str) -> None:
    assert errors[name] < SINGLE


@pytest.mark.parametrize("name", ["gemv_f16", "matmul_f16"])
def test_half_float_kernels_compute_what_their_reference_does(
    errors: dict[str, Any], name: str
) -> None:
    if not errors["half"]:
        pytest.skip("this browser's adapter in software has no shader-f16")
    assert errors[name] < HALF
