// The zero-weight probe: measures in a second or two what decides how fast a language model would run
// here, with random data made on the device. Nothing is downloaded but this package's own files.
import { environment } from "./environment.js";
import { KERNELS as WASM_KERNELS, probeWasm } from "./wasm.js";
import { WEBGPU_KERNELS, probeWebGPU } from "./webgpu.js";

export const REPORT_VERSION = 2;

/** Each thread has memory of its own: more of them would need more than 200 MB. */
const MAX_THREADS = 8;
const DEFAULT_THREADS = 4;
/** A backend that takes so many budgets and ms (settling, filling its memory) longer is cut off. */
const GRACE = 3;
const GRACE_MS = 15_000;

/** How the device came to rest, over all backends; null where none was measured. */
function settleOf(results) {
  const settled = results.map(({ settle }) => settle).filter((settle) => settle);
  if (settled.length === 0) return null;
  return {
    steady: settled.every(({ steady }) => steady),
    windows: settled.reduce((sum, { windows }) => sum + windows, 0),
    wall_ms: settled.reduce((sum, { wall_ms }) => sum + wall_ms, 0),
  };
}

/** A guard for one backend: rejects when aborted or when the time is up, whatever the work does. */
function guard(signal, limitMs) {
  let fail;
  const ended = new Promise((_, reject) => { fail = reject; });
  ended.catch(() => {});
  const abort = () => fail(signal.reason);
  const timer = setTimeout(() => fail(new Error(`took longer than ${Math.round(limitMs)} ms`)), limitMs);
  signal?.addEventListener("abort", abort, { once: true });
  return {
    checkpoint: (work) => Promise.race([work, ended]),
    release() {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    },
  };
}

/**
 * Runs the probe. Resolves with a report also where nothing can be measured: `backends.*.reason` and
 * `problems` say why. Rejects only when `signal` aborts, with its reason.
 * @param {import("./index.d.ts").ProbeOptions} [options]
 * @returns {Promise<import("./index.d.ts").ProbeReport>}
 */
export async function probe(options = {}) {
  const { signal, onProgress = () => {}, budgetMs = 1200, backends = ["wasm", "webgpu"] } = options;
  const seed = (options.seed ?? 1) >>> 0;
  const zeros = options.data === "zeros";
  signal?.throwIfAborted();
  const began = performance.now();
  const surroundings = environment();
  const concurrency = surroundings.hardware_concurrency ?? 1;
  const wanted = options.threads ?? DEFAULT_THREADS;
  const threads = Math.max(1, Math.min(concurrency, wanted, MAX_THREADS));
  const problems = [];
  const results = {};
  const asked = options.kernels ?? [...WASM_KERNELS, ...WEBGPU_KERNELS];
  for (const name of new Set(asked)) {
    if (!WASM_KERNELS.includes(name) && !WEBGPU_KERNELS.includes(name)) {
      problems.push(`unknown kernel: ${String(name).slice(0, 100)}`);
    }
  }
  const shared = backends.includes("wasm") && backends.includes("webgpu") && surroundings.webgpu;
  const runs = {
    wasm: [probeWasm, WASM_KERNELS, surroundings.wasm_simd ? null : "WebAssembly SIMD is missing"],
    webgpu: [probeWebGPU, WEBGPU_KERNELS, surroundings.webgpu ? null : "navigator.gpu is missing"],
  };
  for (const name of backends) {
    const [run, known, missing] = runs[name] ?? [null, [], "unknown backend"];
    const kernels = known.filter((kernel) => asked.includes(kernel));
    const reason = missing ?? (kernels.length > 0 ? null : "none of its kernels was asked for");
    if (reason) {
      results[name] = { available: false, reason };
      continue;
    }
    onProgress({ backend: name, step: "start" });
    const budget = shared ? budgetMs / 2 : budgetMs;
    const { checkpoint, release } = guard(signal, GRACE * budget + GRACE_MS);
    try {
      results[name] = await run({
        budgetMs: budget, threads, seed, zeros, kernels, onProgress, checkpoint, problems,
      });
      signal?.throwIfAborted();
    } catch (error) {
      signal?.throwIfAborted();
      const reason = `${error?.name ?? "Error"}: ${error?.message ?? error}`;
      results[name] = { available: false, reason };
      problems.push(`${name}: ${reason}`);
    } finally {
      release();
    }
  }
  return {
    version: REPORT_VERSION,
    seed,
    budget_ms: budgetMs,
    total_ms: performance.now() - began,
    measure_ms: Object.values(results).reduce((sum, { measure_ms }) => sum + (measure_ms ?? 0), 0),
    settle: settleOf(Object.values(results)),
    environment: surroundings,
    backends: results,
    problems,
  };
}
