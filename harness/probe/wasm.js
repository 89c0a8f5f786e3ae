// Measures the WebAssembly side in workers, one a thread, each with its own memory: no
// SharedArrayBuffer, hence no cross-origin isolation is needed. What several threads do is the sum
// of what each did while all ran the same kernel.
import { median, summary } from "./statistics.js";

const MIB = 1 << 20;
const ROUNDS = 3;
const SETTLE_WINDOW_MS = 110;
const START_DELAY_MS = 20;
// Kernels and how much of a round's time each gets; those that matter most come first.
const WEIGHTS = {
  int4_head: 3, int4_layer: 1.5, int8_head: 3, int8_layer: 1, chain: 0.5, gemm_m64: 1, gemm_m16: 0.7,
  dequant_int4: 1, dot_int4: 0.7, dot_int8: 0.7, fp16_head: 1.2, stream: 0.7,
};
// Warm-up slices are small and stay in the caches; the same work over the whole buffer took 1.2 to
// 1.6 times as long per weight (one Xeon at 2.8 GHz, 48 MiB of L3).
const HEAD_SLOWDOWN = 1.6;
const RATE = { chain: "op_us", gemm_m16: "flops_per_s", gemm_m64: "flops_per_s" };
const WORKER_FLOATS = 64 * MIB;

/** A worker whose calls are promises; a dead worker rejects what waits. */
class Thread {
  constructor() {
    this.waiting = null;
    this.worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    this.worker.onmessage = ({ data }) => {
      const { resolve, reject } = this.waiting;
      if (data.error) reject(new Error(data.error));
      else resolve(data);
    };
    this.worker.onerror = (event) => {
      event.preventDefault?.();
      const problem = new Error(`worker: ${event.message || "could not be started"}`);
      this.failed = problem;
      this.waiting?.reject(problem);
    };
  }

  call(op, data = {}) {
    if (this.failed) return Promise.reject(this.failed);
    return new Promise((resolve, reject) => {
      this.waiting = { resolve, reject };
      this.worker.postMessage({ op, ...data });
    });
  }

  end() {
    this.worker.terminate();
  }
}

async function compile() {
  const response = await fetch(new URL("./kernels.wasm", import.meta.url));
  if (!response.ok) throw new Error(`kernels.wasm: HTTP ${response.status}`);
  const bytes = await response.arrayBuffer();
  const began = performance.now();
  const module = await WebAssembly.compile(bytes);
  return { module, compile_ms: performance.now() - began };
}

/** Runs all kernels on every thread until the pace is steady: JIT warm-up and settling in one. */
async function settle(threads, limitMs) {
  const began = performance.now();
  const paces = [];
  let full;
  let steady = false;
  do {
    const all = await Promise.all(threads.map((t) => t.call("warm", { ms: SETTLE_WINDOW_MS })));
    full = all[0].full_slice_ms;
    paces.push(all.reduce((sum, { rounds, wall_ms }) => sum + rounds / wall_ms, 0));
    const [a, b, c] = paces.slice(-3);
    steady = paces.length >= 3 && Math.max(a, b, c) / Math.min(a, b, c) < 1.1;
  } while (!steady && performance.now() - began < limitMs - SETTLE_WINDOW_MS);
  return { full, settle: { steady, windows: paces.length, wall_ms: performance.now() - began } };
}

/** The plan of windows for `ms`: every kernel once a round; slices are cut to fit their window. */
function plan(ms, fullSliceMs) {
  const names = Object.keys(WEIGHTS);
  const total = names.reduce((sum, name) => sum + WEIGHTS[name], 0) * ROUNDS;
  const windows = [];
  let end = 0;
  for (let round = 0; round < ROUNDS; round++) {
    for (const name of names) {
      const window = (ms * WEIGHTS[name]) / total;
      end += window;
      // The size of the memory walked is the point of the head kernels: they get one slice a
      // window, the others several.
      const slice = Math.max(fullSliceMs[name], 0.01);
      const fits = name.endsWith("_head") ? window / (HEAD_SLOWDOWN * slice) : window / (4 * slice);
      windows.push([name, round, Math.min(1, fits), end]);
    }
  }
  return windows;
}

/**
 * Burst time over wall time: a short burst does not see throttling (quota, governor, heat), the
 * share of time in which the device ran at its burst speed does.
 */
function dutyOf(slices) {
  const groups = new Map();
  for (const [name, , begin, end] of slices) {
    groups.set(name, [...(groups.get(name) ?? []), end - begin]);
  }
  let burst = 0;
  for (const times of groups.values()) burst += median(times) * times.length;
  const wall = slices[slices.length - 1][3] - slices[0][2];
  return wall > 0 ? Math.min(1, burst / wall) : 1;
}

/** One phase: the first `count` threads run the same plan; the kernels section of the report. */
async function phase(threads, count, ms, fullSliceMs) {
  const windows = plan(ms, fullSliceMs);
  const start = performance.timeOrigin + performance.now() + START_DELAY_MS;
  const used = threads.slice(0, count);
  const answers = await Promise.all(used.map((t) => t.call("run", { start, windows })));
  const kernels = {};
  for (const name of Object.keys(WEIGHTS)) {
    const rounds = [];
    let slices = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const rates = answers.map((answer) => {
        const mine = answer.slices.filter((slice) => slice[0] === name && slice[1] === round);
        slices += mine.length;
        return median(mine.map(([, , begin, end, work]) => (1000 * work) / Math.max(end - begin, 0.001)));
      });
      rounds.push(rates.reduce((sum, rate) => sum + rate, 0));
    }
    const unit = RATE[name] ?? "bytes_per_s";
    // A chain is dependent: more threads do not shorten it, hence the mean and not the sum.
    const values = unit === "op_us" ? rounds.map((rate) => 1e6 / (rate / count)) : rounds;
    const share = windows.find((window) => window[0] === name)[2];
    kernels[name] = { [unit]: summary(values), slices, share };
  }
  const wall_ms = Math.max(...answers.map((a) => a.slices[a.slices.length - 1][3]));
  const duty = answers.reduce((sum, a) => sum + dutyOf(a.slices), 0) / count;
  return { threads: count, duty, wall_ms, kernels };
}

/**
 * @param {{budgetMs: number, threads: number, seed: number, onProgress: Function,
 *          checkpoint: (work: Promise<any>) => Promise<any>}} options
 *   `checkpoint` rejects when the probe is aborted or out of time.
 */
export async function probeWasm({ budgetMs, threads: count, seed, onProgress, checkpoint }) {
  const began = performance.now();
  const threads = [];
  try {
    const { module, compile_ms } = await checkpoint(compile());
    let memory_bytes = 0;
    let fill_ms = 0;
    // The other threads share as much as the first has; 8 MiB is one full slice of a layer.
    const each = Math.floor(WORKER_FLOATS / MIB / Math.max(1, count - 1)) * MIB;
    const others = Math.max(8 * MIB, each);
    for (let i = 0; i < count; i++) threads.push(new Thread());
    const filled = await checkpoint(Promise.all(threads.map((thread, i) =>
      thread.call("init", { module, seed: seed + 16 * i, bytes: i ? others : WORKER_FLOATS }))));
    for (const answer of filled) {
      memory_bytes += answer.memory_bytes;
      fill_ms = Math.max(fill_ms, answer.fill_ms);
    }
    const start_ms = performance.now() - began;
    onProgress({ backend: "wasm", step: "settle" });
    const settled = await checkpoint(settle(threads, Math.max(360, budgetMs * 0.2)));
    const left = Math.max(300, budgetMs - (performance.now() - began));
    const phases = [];
    const counts = count > 1 ? [1, count] : [1];
    for (const n of counts) {
      onProgress({ backend: "wasm", step: "measure", threads: n });
      phases.push(await checkpoint(phase(threads, n, (0.9 * left) / counts.length, settled.full)));
    }
    return {
      available: true, reason: null, compile_ms, start_ms, fill_ms, memory_bytes,
      settle: settled.settle, phases, wall_ms: performance.now() - began,
    };
  } finally {
    for (const thread of threads) thread.end();
  }
}
