// LiteRT.js: runs one layer of a decoder, a `.tflite` file.

import { timed } from "./clock.js";
import { webgpuAdapter } from "./gpu.js";
import { UnsupportedError, WrongResultError } from "./page.js";

const WASM = "/npm/@litertjs/core/wasm/";

/**
 * @param {string} backend  `wasm` or `webgpu`
 * @param {{model: string, shape: number[], numbers: number[], budgetMs: number}} argument
 *   `model`: path of the file; `shape`: of its one input, which is filled with `numbers` over and
 *   over again
 * @returns {Promise<import("./page.js").Found>} with the output, flattened
 */
export async function ask(backend, { model, shape, numbers, budgetMs }) {
  const gpu = backend === "webgpu" ? await webgpuAdapter() : {};
  if (typeof WebAssembly !== "object") throw new UnsupportedError("the browser has no WebAssembly");
  const { Tensor, loadAndCompile, loadLiteRt, supportsFeature } = await import("@litertjs/core");
  // Its build with threads needs relaxed SIMD as well.
  const threaded =
    backend === "wasm" &&
    globalThis.crossOriginIsolated &&
    (await supportsFeature("threads")) &&
    (await supportsFeature("relaxedSimd"));
  await loadLiteRt(WASM, { threads: threaded });
  const threads = threaded ? Math.min(navigator.hardwareConcurrency, 4) : 1;
  const start = performance.now();
  const compiled = await loadAndCompile(model, {
    accelerator: backend,
    cpuOptions: { numThreads: threads },
  });
  const loadSeconds = (performance.now() - start) / 1e3;
  if (backend === "webgpu" && !compiled.isFullyAccelerated) {
    throw new UnsupportedError("some operators fall back to the CPU");
  }
  const count = shape.reduce((product, size) => product * size, 1);
  const values = Float32Array.from({ length: count }, (_, i) => numbers[i % numbers.length]);
  const input = new Tensor(values, shape);
  const once = async () => {
    const given = backend === "webgpu" ? await input.copyTo("webgpu") : input;
    const [result] = await compiled.run([given]);
    const data = (await result.data()).slice();
    result.delete();
    if (given !== input) given.delete();
    return data;
  };
  const output = await once();
  if (!output.every(Number.isFinite)) throw new WrongResultError("the output is not finite");
  const seconds = await timed(once, budgetMs);
  input.delete();
  compiled.delete();
  return {
    ...gpu,
    threads: backend === "wasm" ? threads : undefined,
    figures: [
      { name: "load", unit: "s", values: [loadSeconds] },
      { name: "layer", unit: "ms", values: seconds.map((each) => each * 1e3) },
    ],
    result: { output: Array.from(output) },
  };
}
