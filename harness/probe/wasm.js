// Measures the WebAssembly side in workers, one a thread, each with its own memory: no
// SharedArrayBuffer, hence no cross-origin isolation is needed but for the `barrier` kernel. What
// several threads do is the sum of what each did while all ran the same kernel.
import { driftOf, dutyOf, median, summary, undisturbed } from "./statistics.js";

const MIB = 1 << 20;
const SETTLE_WINDOW_MS = 200;
const SETTLE_LIMIT_MS = 3000;
/** Windows whose paces differ by less are steady; a kernel whose time still falls is being compiled. */
const STEADY_WINDOWS = 3;
const STEADY_RATIO = 1.1;
const COMPILED_RATIO = 1.3;
const START_DELAY_MS = 20;
/** Below this duty the device is throttled: phases last longer, to see enough periods. */
const THROTTLED = 0.9;
/** Of the budget, a phase takes so much; the second less, where the first overran, but so much at least. */
const PHASE_SHARE = 0.42;
const THROTTLED_PHASE_SHARE = 0.55;
const TOTAL_SHARE = 1.2;
const MIN_PHASE_SHARE = 0.2;
const MIN_ROUNDS = 3;
const MAX_ROUNDS = 8;
const WINDOW_MS = 15;
/** Shorter than what a quota leaves of a period; the longer, the less a coarse clock matters. */
const SLICE_MS = 5;
const THROTTLED_SLICE_MS = 3;
/** The size of the memory walked is the point of the head kernels: theirs are longer. */
const HEAD_SLICE_MS = 20;
const THROTTLED_HEAD_SLICE_MS = 8;
const REHEARSED_BARRIER_MS = 5;
// How much of a round's time each kernel gets.
const WEIGHTS = {
  int4_layer: 1, int4_head: 2, int8_layer: 1, int8_head: 2, dequant_int4: 1, gemm_m16: 1, gemm_m64: 1,
  fp16_head: 2, chain: 0.7, dot_int4: 1, dot_int8: 1, dot_q4_k: 1, simd_int8: 1, simd_int4: 1,
  small_ops: 1, attention: 1, stream: 1, copy: 0.7, barrier: 0.5,
};
/** The names of all kernels. */
export const KERNELS = Object.keys(WEIGHTS);
const UNITS = {
  chain: "op_us", small_ops: "op_us", barrier: "op_us", gemm_m16: "flops_per_s", gemm_m64: "flops_per_s",
};
// Warm-up slices are small and stay in the caches; the same work over the whole buffer took 1.2 to
// 1.6 times as long per weight (one Xeon at 2.8 GHz, 48 MiB of L3).
const HEAD_SLOWDOWN = 1.6;
const WORKER_FLOATS = 64 * MIB;
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const isHead = (kernel) => kernel.endsWith("_head");

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
      this.failed = new Error(`worker: ${event.message || "could not be started"}`);
      this.waiting?.reject(this.failed);
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

/** The page's own thread, behind the same calls: it stands still while it measures. */
class Here {
  constructor(operations) {
    this.operations = operations;
  }

  async call(op, data = {}) {
    await new Promise((resolve) => { setTimeout(resolve); }); // lets the page breathe, and abort
    return this.operations[op](data);
  }

  end() {}
}

async function compile() {
  const response = await fetch(new URL("./kernels.wasm", import.meta.url));
  if (!response.ok) throw new Error(`kernels.wasm: HTTP ${response.status}`);
  const bytes = await response.arrayBuffer();
  const began = performance.now();
  const module = await WebAssembly.compile(bytes);
  return { module, compile_ms: performance.now() - began };
}

/**
 * Starts `count` threads and fills their memory. Those that cannot get theirs are left out; where no
 * worker can be started (a content security policy), the page's own thread does it alone.
 * `threads` holds what was started, also after an error.
 */
async function start(threads, count, options, problems) {
  // The other threads share as much as the first has; 8 MiB is one full slice of a layer.
  const others = Math.max(8 * MIB, Math.floor(WORKER_FLOATS / MIB / Math.max(1, count - 1)) * MIB);
  const init = (thread, i) =>
    thread.call("init", { ...options, seed: options.seed + 16 * i, bytes: i ? others : WORKER_FLOATS });
  let failure;
  let filled = [];
  try {
    for (let i = 0; i < count; i++) threads.push(new Thread());
    filled = await Promise.allSettled(threads.map(init));
    failure = filled[0].reason;
  } catch (error) {
    failure = error;
  }
  if (failure) {
    const started = threads.length > 0 && !threads[0].failed;
    for (const thread of threads.splice(0)) thread.end();
    if (started) throw failure;
    const { OPERATIONS } = await import("./worker.js").catch(() => { throw failure; });
    problems.push(`wasm: ${failure.message}: measured on the page's own thread`);
    threads.push(new Here(OPERATIONS));
    return [await init(threads[0], 0)];
  }
  for (let i = count - 1; i > 0; i--) {
    if (filled[i].status === "fulfilled") continue;
    problems.push(`wasm: thread ${i + 1} of ${count} is left out: ${filled[i].reason.message}`);
    threads.splice(i, 1)[0].end();
  }
  return filled.filter(({ status }) => status === "fulfilled").map(({ value }) => value);
}

/** The best time so far of a full slice of each kernel, on the first thread. */
function bestOf(windows) {
  const best = {};
  for (const { full } of windows) {
    for (const [name, ms] of Object.entries(full)) best[name] = Math.min(best[name] ?? Infinity, ms);
  }
  return best;
}

/** Of each of the last windows, the share (about 0..1) of the best pace so far that it kept up. */
function pacesOf(windows) {
  const best = bestOf(windows);
  return windows.slice(-STEADY_WINDOWS).map(({ answers }) => mean(answers.map(({ work, wall_ms }) =>
    Object.keys(best).reduce((sum, name) => sum + work[name] * best[name], 0) / wall_ms)));
}

/** Whether the last windows had the same pace and no kernel is still being compiled. */
function isSteady(windows) {
  if (windows.length < STEADY_WINDOWS) return false;
  const paces = pacesOf(windows);
  const [before, now] = windows.slice(-2).map(({ full }) => full);
  return Math.max(...paces) / Math.min(...paces) < STEADY_RATIO
    && Object.keys(now).every((name) => before[name] < COMPILED_RATIO * now[name]);
}

/** Runs the kernels on every thread until the pace is steady: JIT warm-up and settling in one. */
async function settle(threads, names, checkpoint) {
  const began = performance.now();
  const windows = [];
  do {
    const answers = await checkpoint(
      Promise.all(threads.map((thread) => thread.call("warm", { ms: SETTLE_WINDOW_MS, names }))));
    windows.push({ answers, full: answers[0].full_slice_ms });
  } while (!isSteady(windows) && performance.now() - began < SETTLE_LIMIT_MS - SETTLE_WINDOW_MS);
  return {
    full: bestOf(windows),
    settle: {
      steady: isSteady(windows),
      windows: windows.length,
      wall_ms: performance.now() - began,
      duty: Math.min(1, median(pacesOf(windows))),
    },
  };
}

/**
 * The plan of windows for `ms`: a rehearsal, then every kernel once a round, a window of a few slices
 * each. Slices are cut to size by what they took in the warm-up.
 */
function plan(ms, names, fullSliceMs, throttled) {
  const [usual, head] = throttled
    ? [THROTTLED_SLICE_MS, THROTTLED_HEAD_SLICE_MS] : [SLICE_MS, HEAD_SLICE_MS];
  const longest = (name) => (isHead(name) ? head : usual);
  const total = names.reduce((sum, name) => sum + WEIGHTS[name], 0);
  const count = Math.round(ms / (names.length * WINDOW_MS));
  const rounds = Math.min(MAX_ROUNDS, Math.max(MIN_ROUNDS, count));
  const shares = {};
  const expected = {};
  let rehearsal = 0;
  for (const name of names) {
    if (name === "barrier") {
      rehearsal += REHEARSED_BARRIER_MS;
      continue;
    }
    const window = (ms * WEIGHTS[name]) / total / rounds;
    const slice = Math.min(longest(name), isHead(name) ? window : window / 2);
    const full = Math.max(fullSliceMs[name], 0.01) * (isHead(name) ? HEAD_SLOWDOWN : 1);
    shares[name] = Math.min(1, slice / full);
    expected[name] = shares[name] * full;
    rehearsal += slice;
  }
  const windows = [];
  const rehearsed = ["barrier", ...names.filter((name) => name !== "barrier")];
  for (const kernel of rehearsed.filter((name) => names.includes(name))) {
    windows.push({ kernel, round: 0, share: shares[kernel] ?? 1, end: REHEARSED_BARRIER_MS });
  }
  let end = rehearsal;
  for (let round = 1; round <= rounds; round++) {
    for (const kernel of names) {
      end += ((ms - rehearsal) * WEIGHTS[kernel]) / total / rounds;
      windows.push({ kernel, round, share: shares[kernel] ?? 1, expected: expected[kernel], end });
    }
  }
  return { windows, rounds, shares };
}

/** The rate of one kernel on one thread in each round, of slices that were not stopped. NaN: none. */
function ratesOf(slices, rounds) {
  const done = new Array(rounds).fill(0);
  const took = new Array(rounds).fill(0);
  for (const { round, begin, end, work } of slices) {
    done[round - 1] += work;
    took[round - 1] += end - begin;
  }
  // The mean and not the median: slices are few, and some clocks are coarse.
  return done.map((work, i) => (1000 * work) / Math.max(took[i], work > 0 ? 0.001 : 0));
}

/** A kernel's section of a phase, from the slices of each thread. */
function kernelOf(name, logs, rounds, share) {
  const unit = UNITS[name] ?? "bytes_per_s";
  const mine = logs.map(({ calm }) => calm.filter(({ kernel }) => kernel === name));
  const rates = mine.map((slices) => ratesOf(slices, rounds));
  const sum = (values) => values.reduce((total, value) => total + value, 0);
  let totals = Array.from({ length: rounds }, (_, round) => sum(rates.map((own) => own[round])));
  if (!totals.some(Number.isFinite)) {
    // Where stalls are many, no round may have calm slices on all threads; a thread may have none.
    const anyRate = (own, i) => {
      const { work, expected } = logs[i].slices.find(({ kernel }) => kernel === name);
      return own.some(Number.isFinite) ? median(own.filter(Number.isFinite)) : (1000 * work) / expected;
    };
    totals = [sum(rates.map(anyRate))];
  }
  // A chain is dependent: more threads do not shorten it, hence the mean and not the sum.
  const values = unit === "op_us" ? totals.map((rate) => (1e6 * logs.length) / rate) : totals;
  const slices = sum(logs.map((log) => log.slices.filter(({ kernel }) => kernel === name).length));
  return { [unit]: summary(values), slices, share };
}

/** The rehearsal's meetings count only where they took so long that no others were held. */
function barrierOf(barriers) {
  const measured = barriers.filter(({ round }) => round > 0);
  const used = measured.length > 0 ? measured : barriers;
  return {
    op_us: summary(used.map(({ op_ms }) => 1000 * op_ms)),
    slices: used.reduce((sum, { met }) => sum + met, 0),
  };
}

/** One phase: the first `count` threads run the same plan; a phase of the report. */
async function phase(threads, count, ms, names, fullSliceMs, throttled) {
  const { windows, rounds, shares } = plan(ms, names, fullSliceMs, throttled);
  const start = performance.timeOrigin + performance.now() + START_DELAY_MS;
  const answers = await Promise.all(threads.slice(0, count).map((thread, i) =>
    thread.call("run", { start, windows, count, leader: i === 0 })));
  const logs = answers.map(({ slices }) => ({ slices, calm: undisturbed(slices) }));
  const kernels = {};
  for (const name of names) {
    kernels[name] = name === "barrier"
      ? barrierOf(answers[0].barriers) : kernelOf(name, logs, rounds, shares[name]);
  }
  const drifts = logs.map(({ slices }) => driftOf(slices)).filter((drift) => drift !== null);
  return {
    threads: count,
    duty: mean(logs.map(({ slices }) => dutyOf(slices))),
    drift: drifts.length > 0 ? median(drifts) : null,
    wall_ms: Math.max(...answers.map(({ wall_ms }) => wall_ms)),
    kernels,
  };
}

/**
 * @param {{budgetMs: number, threads: number, seed: number, zeros: boolean, kernels: string[], onProgress: Function,
 *          checkpoint: (work: Promise<any>) => Promise<any>, problems: string[]}} options
 *   `kernels`: of KERNELS. `checkpoint` rejects when the probe is aborted or out of time.
 */
export async function probeWasm({ budgetMs, threads: asked, seed, zeros, kernels, onProgress, checkpoint, problems }) {
  const began = performance.now();
  const threads = [];
  try {
    const { module, compile_ms } = await checkpoint(compile());
    const meets = asked > 1 && kernels.includes("barrier") && globalThis.crossOriginIsolated === true;
    const shared = meets ? new SharedArrayBuffer(256) : null;
    const filled = await checkpoint(start(threads, asked, { module, seed, zeros, shared }, problems));
    const start_ms = performance.now() - began;
    const alone = kernels.filter((name) => name !== "barrier");
    onProgress({ backend: "wasm", step: "settle" });
    const settled = await settle(threads, alone, checkpoint);
    const throttled = settled.settle.duty < THROTTLED;
    const usual = budgetMs * (throttled ? THROTTLED_PHASE_SHARE : PHASE_SHARE);
    const phases = [];
    let left = budgetMs * TOTAL_SHARE;
    for (const count of threads.length > 1 ? [1, threads.length] : [1]) {
      onProgress({ backend: "wasm", step: "measure", threads: count });
      const names = count > 1 && shared ? kernels : alone;
      const ms = Math.max(budgetMs * MIN_PHASE_SHARE, Math.min(usual, left));
      const done = await checkpoint(phase(threads, count, ms, names, settled.full, throttled));
      phases.push(done);
      left -= done.wall_ms;
    }
    return {
      available: true, reason: null, compile_ms, start_ms,
      fill_ms: Math.max(...filled.map(({ fill_ms }) => fill_ms)),
      memory_bytes: filled.reduce((sum, { memory_bytes }) => sum + memory_bytes, 0),
      settle: settled.settle, phases,
      measure_ms: phases.reduce((sum, { wall_ms }) => sum + wall_ms, 0),
      wall_ms: performance.now() - began,
    };
  } finally {
    for (const thread of threads) thread.end();
  }
}
