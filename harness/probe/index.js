// The zero-weight probe: measures in a few seconds what decides how fast a language model would run
// here, with random data made on the device. Nothing is downloaded but this package's own files.
import { environment } from "./environment.js";
import { probeWasm } from "./wasm.js";
import { probeWebGPU } from "./webgpu.js";

export const REPORT_VERSION = 1;

/** Each thread has memory of its own: more of them would need more than 200 MB. */
const MAX_THREADS = 8;
/** How much longer than its budget a backend may take before it is cut off. */
const GRACE = 3;

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
  const { signal, onProgress = () => {}, budgetMs = 4000, backends = ["wasm", "webgpu"] } = options;
  const seed = (options.seed ?? 1) >>> 0;
  signal?.throwIfAborted();
  const began = performance.now();
  const surroundings = environment();
  const concurrency = surroundings.hardware_concurrency ?? 1;
  const threads = Math.max(1, Math.min(options.threads ?? Math.min(concurrency, 4), MAX_THREADS));
  const problems = [];
  const results = {};
  const shared = backends.includes("wasm") && backends.includes("webgpu") && surroundings.webgpu;
  const runs = {
    wasm: [probeWasm, shared ? 0.7 : 1, surroundings.wasm_simd ? null : "WebAssembly SIMD is missing"],
    webgpu: [probeWebGPU, shared ? 0.3 : 1, surroundings.webgpu ? null : "navigator.gpu is missing"],
  };
  for (const name of backends) {
    const [run, share, missing] = runs[name] ?? [null, 0, "unknown backend"];
    if (missing) {
      results[name] = { available: false, reason: missing };
      continue;
    }
    onProgress({ backend: name, step: "start" });
    const budget = budgetMs * share;
    const { checkpoint, release } = guard(signal, GRACE * budget + 2000);
    try {
      results[name] = await run({ budgetMs: budget, threads, seed, onProgress, checkpoint, problems });
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
    environment: surroundings,
    backends: results,
    problems,
  };
}
