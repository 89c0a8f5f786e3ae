// One probing thread: its own wasm memory, random data made on the spot, kernels run in slices.
// Messages in: {op: "init" | "warm" | "run", ...}; every one is answered by one message, an error
// by {error}. Driven by wasm.js, which also calls OPERATIONS itself where no worker can be started.
import { burstTime, weightedMedian } from "./statistics.js";

const MIB = 1 << 20;
const PAGE = 65536;
const DEPTH = 1024;
const LAYER_COLUMNS = 2048; // with DEPTH: 8 MiB as fp32, about a layer's matrix of a small model
const DOT_BLOCKS = DEPTH / 32;
const K_BLOCKS = DEPTH / 256;
const WIDTH = 1024;
const GEMM_COLUMNS = 4096;
const HEAD_WIDTH = 128;
const HEAD_TOKENS = 256;
// Full slices of kernels that are cut to any size: 10 ms or more on the fastest devices.
const CHAIN_ROUNDS = 20_000;
const SMALL_ROUNDS = 2000;
const DOT_ROWS = 1 << 18;
const STREAM_BYTES = 512 * MIB;
const COPY_BYTES = 256 * MIB;
const HEADS = 2048;
/** They walk memory in pieces, so that any size turns through all of it. */
const PIECE_BYTES = 4 * MIB;
const PIECE_ROWS = 4096;
const FIRST_SHARE = 1 / 128;
const MIN_WARM_MS = 0.5;
/** Slices of the head kernels that were any larger would be too long. */
const mostWarm = (name) => (name.endsWith("_head") ? 1 / 32 : 1);

/** @type {Record<string, Function>} */
let kernels;
/** @type {Record<string, number>} addresses */
let at;
let floatBytes = 0;
let weightBytes = 0;
/** @type {Int32Array | null} shared by all threads: four words, each on a cache line of its own */
let meeting = null;
const ARRIVED = 0;
const PHASE = 16;
const LAST = 32;
const ENOUGH = 48;
/** Meetings are timed so many together at most, while they take less than this. */
const MEETINGS = 256;
const QUICK_MEETING_MS = 0.05;
const MIN_MEETINGS = 2;
/** Threads that have to share processors may need longer than a window for one meeting. */
const ENOUGH_MS = 50;

/** Turns through memory, so that successive slices read different parts of it. */
let turn = 0;
function place(bytes, size) {
  return (turn++ % Math.max(1, Math.floor(size / bytes))) * bytes;
}
const weights = (bytes) => at.weights + place(bytes, weightBytes);
const floats = (bytes) => at.floats + place(bytes, floatBytes);
/** Formats in which any bits do as weights walk all of the memory. */
const anywhere = (bytes) => at.weights + place(bytes, weightBytes + floatBytes);

/** Expands and multiplies `columns` columns; returns the bytes of quantised weights. */
function matmul(bits, columns) {
  const bytes = (columns * DEPTH * bits) / 8;
  const expand = bits === 4 ? kernels.dequant_int4 : kernels.dequant_int8;
  expand(at.floats, weights(bytes), at.scales, columns, DEPTH);
  kernels.gemm(at.y, at.x, at.floats, at.panel, 1, columns, DEPTH);
  return bytes;
}

function expandOnly(columns) {
  const bytes = (columns * DEPTH) / 2;
  kernels.dequant_int4(at.floats, weights(bytes), at.scales, columns, DEPTH);
  return bytes;
}

function fp16(columns) {
  const bytes = columns * DEPTH * 2;
  kernels.cast_fp16(at.floats, weights(bytes), columns * DEPTH);
  kernels.gemm(at.y, at.x, at.floats, at.panel, 1, columns, DEPTH);
  return bytes;
}

function inPieces(total, piece, work) {
  for (let done = 0; done < total; done += piece) work(Math.min(piece, total - done));
}

/** `rows` rows of DEPTH weights of `bits`, stored in `rowBytes` each. */
function dot(rows, bits, rowBytes, kernel) {
  inPieces(rows, PIECE_ROWS, (some) => kernel(anywhere(some * rowBytes), some));
  return (rows * DEPTH * bits) / 8;
}

function gemm(rows, columns) {
  kernels.gemm(at.y, at.x, floats(columns * DEPTH * 4), at.panel, rows, columns, DEPTH);
  return 2 * rows * columns * DEPTH;
}

function stream(bytes) {
  inPieces(bytes, PIECE_BYTES, (some) => kernels.stream(floats(some), some));
  return bytes;
}

/** Within the floats, so that they stay ordinary numbers. */
function copy(bytes) {
  inPieces(bytes, PIECE_BYTES, (some) => {
    const from = at.floats + place(some, floatBytes / 2);
    kernels.copy(from + floatBytes / 2, from, some);
  });
  return bytes;
}

function attention(heads) {
  const bytes = 2 * HEAD_TOKENS * HEAD_WIDTH * 4;
  for (let i = 0; i < heads; i++) {
    const keys = floats(bytes);
    kernels.attention(at.y, at.x, keys, keys + bytes / 2, at.panel, HEAD_TOKENS, HEAD_WIDTH);
  }
  return heads * bytes;
}

function chain(rounds) {
  kernels.chain(at.work, WIDTH, rounds);
  return 3 * rounds;
}

function smallOps(rounds) {
  kernels.small_ops(at.layer, WIDTH, rounds);
  return rounds;
}

const multiple = (value, of) => Math.max(of, Math.floor(value / of) * of);
const gemmColumns = (share) =>
  multiple(Math.min(GEMM_COLUMNS, floatBytes / 4 / DEPTH) * share, 16);
const bytesOf = { int8: DOT_BLOCKS * 34, int4: DOT_BLOCKS * 18, q4_k: K_BLOCKS * 144 };
/** A slice of each kernel, its size scaled by `share` (0..1]; returns the work done. */
const SLICES = {
  int4_layer: (share) => matmul(4, multiple(LAYER_COLUMNS * share, 16)),
  int4_head: (share) => matmul(4, multiple((floatBytes / 4 / DEPTH) * share, 16)),
  int8_layer: (share) => matmul(8, multiple(LAYER_COLUMNS * share, 16)),
  int8_head: (share) => matmul(8, multiple((floatBytes / 4 / DEPTH) * share, 16)),
  chain: (share) => chain(multiple(CHAIN_ROUNDS * share, 1)),
  gemm_m16: (share) => gemm(16, gemmColumns(share)),
  gemm_m64: (share) => gemm(64, gemmColumns(share)),
  dequant_int4: (share) => expandOnly(multiple(LAYER_COLUMNS * share, 16)),
  fp16_head: (share) => fp16(multiple((weightBytes / 2 / DEPTH) * share, 16)),
  stream: (share) => stream(multiple(STREAM_BYTES * share, 64)),
  copy: (share) => copy(multiple(COPY_BYTES * share, 64)),
  attention: (share) => attention(multiple(HEADS * share, 1)),
  small_ops: (share) => smallOps(multiple(SMALL_ROUNDS * share, 1)),
  dot_int4: (share) => dot(multiple(DOT_ROWS * share, 1), 4, bytesOf.int4, (w, rows) =>
    kernels.dot_int4(at.y, w, at.packed, rows, DOT_BLOCKS)),
  dot_int8: (share) => dot(multiple(DOT_ROWS * share, 1), 8, bytesOf.int8, (w, rows) =>
    kernels.dot_int8(at.y, w, at.packed, rows, DOT_BLOCKS)),
  dot_q4_k: (share) => dot(multiple(DOT_ROWS * share, 1), 4, bytesOf.q4_k, (w, rows) =>
    kernels.dot_q4_k(at.y, w, at.k_packed, rows, K_BLOCKS)),
  simd_int8: (share) => dot(multiple(DOT_ROWS * share, 4), 8, DEPTH, (w, rows) =>
    kernels.simd_int8(at.y, w, at.packed, rows, DEPTH, 0.01)),
  simd_int4: (share) => dot(multiple(DOT_ROWS * share, 4), 4, DEPTH / 2, (w, rows) =>
    kernels.simd_int4(at.y, w, at.packed, rows, DEPTH, 0.01)),
};

/** Addresses of everything, one behind the other, each on a line of its own; the last is the end. */
function layout(sizes) {
  const addresses = {};
  let next = 2 * PAGE;
  for (const [name, bytes] of Object.entries(sizes)) {
    addresses[name] = next;
    next += Math.ceil(bytes / 64) * 64;
  }
  return { addresses, end: next };
}

/** The activations of dot_q4_k: scales near 0.01, bytes at random, and their sums. */
function packK(buffer) {
  for (let block = 0; block < K_BLOCKS; block++) {
    const start = at.k_packed + block * 292;
    const view = new DataView(buffer, start, 292);
    view.setFloat32(0, 0.01, true);
    for (let i = 0; i < 16; i++) {
      const part = new Int8Array(buffer, start + 4 + 16 * i, 16);
      view.setInt16(260 + 2 * i, part.reduce((sum, value) => sum + value, 0), true);
    }
  }
}

function init({ module, seed, bytes, shared, zeros }) {
  const began = performance.now();
  floatBytes = bytes;
  weightBytes = bytes / 4; // as many 8-bit weights as there are floats
  meeting = shared ? new Int32Array(shared) : null;
  if (meeting) Atomics.store(meeting, LAST, -1);
  const { addresses, end } = layout({
    weights: weightBytes,
    floats: floatBytes,
    scales: floatBytes / 32,
    x: 64 * DEPTH * 4,
    y: Math.max(floatBytes / DEPTH, 64 * GEMM_COLUMNS * 4),
    panel: 128 * 128 * 4,
    packed: DOT_BLOCKS * 34,
    k_packed: K_BLOCKS * 292,
    work: 3 * WIDTH * 4,
    layer: 14 * WIDTH * 4,
  });
  at = addresses;
  const memory = new WebAssembly.Memory({ initial: Math.ceil(end / PAGE) });
  kernels = new WebAssembly.Instance(module, { env: { memory } }).exports;
  const anyBits = 0xffffffff;
  // Memory never written reads several times too fast, so all of it is. Floats by their bits: the
  // sign and the fraction at random, magnitudes in [2^-7, 2^-6).
  const [bits, floatBits, exponent] = zeros ? [0, 0, 0] : [anyBits, 0x807fffff, 0x3c000000];
  kernels.fill_words(at.weights, weightBytes / 8, seed, bits, 0);
  kernels.fill_words(at.floats, floatBytes / 8, seed + 5, floatBits, exponent);
  kernels.fill_floats(at.scales, floatBytes / 128, seed + 1, 0.005, 0.015);
  kernels.fill_floats(at.x, 64 * DEPTH, seed + 2, -0.5, 0.5);
  kernels.fill_words(at.packed, (DOT_BLOCKS * 34) / 8, seed + 3, anyBits, 0);
  kernels.fill_words(at.k_packed, (K_BLOCKS * 292) / 8, seed + 6, anyBits, 0);
  packK(memory.buffer);
  kernels.fill_floats(at.work, 3 * WIDTH, seed + 4, 0.5, 1.5);
  kernels.fill_floats(at.layer, 14 * WIDTH, seed + 7, 0.5, 1.5);
  return { memory_bytes: memory.buffer.byteLength, fill_ms: performance.now() - began };
}

/** Of a full slice, how much of each kernel the warm-up runs. */
const shares = {};

/**
 * Runs small slices of the named kernels in turn for `ms`: small, so that the compiler sees many
 * calls, but doubled until a coarse clock can time them. `work`: in full slices, what each did;
 * `full_slice_ms`: what a full slice would take without being stopped.
 */
function warm({ ms, names }) {
  const began = performance.now();
  const times = Object.fromEntries(names.map((name) => [name, []]));
  const work = Object.fromEntries(names.map((name) => [name, 0]));
  let begin = began;
  do {
    for (const name of names) {
      shares[name] ??= FIRST_SHARE;
      if (times[name].at(-1) < MIN_WARM_MS && shares[name] < mostWarm(name)) {
        shares[name] *= 2;
        times[name] = [];
      }
      SLICES[name](shares[name]);
      const end = performance.now();
      work[name] += shares[name];
      times[name].push(end - begin);
      begin = end;
    }
  } while (begin - began < ms);
  const full_slice_ms = {};
  for (const name of names) full_slice_ms[name] = burstTime(times[name]) / shares[name];
  return { wall_ms: begin - began, work, full_slice_ms };
}

/** Waits until all `count` threads are here, turning on the spot as engines do. The phase that ended. */
function meet(count) {
  const phase = Atomics.load(meeting, PHASE);
  if (Atomics.add(meeting, ARRIVED, 1) === count - 1) {
    Atomics.store(meeting, ARRIVED, 0);
    Atomics.add(meeting, PHASE, 1);
  } else {
    while (Atomics.load(meeting, PHASE) === phase);
  }
  return phase;
}

/**
 * Meets the other threads until the window ends; the leader says which meeting is the last, before
 * it goes there, and whether there will be another window. The first meeting, which waits for the
 * slowest to arrive, is not counted. `op_ms`: the usual time of a meeting, which says whether the
 * threads have a processor each; a stop of all threads, which the duty factor counts, is not in it.
 */
function barrier(leader, count, ended) {
  meet(count);
  const start = performance.now();
  const batches = [];
  let met = 0;
  let batch = 1;
  for (let last = false; !last;) {
    const began = performance.now();
    let done = 0;
    while (done < batch && !last) {
      if (leader && done === batch - 1) {
        const took = performance.now() - start;
        if (took > ENOUGH_MS || (met >= MIN_MEETINGS && ended())) {
          Atomics.store(meeting, LAST, Atomics.load(meeting, PHASE));
          if (took > ENOUGH_MS) Atomics.store(meeting, ENOUGH, 1);
        }
      }
      last = meet(count) === Atomics.load(meeting, LAST);
      done++;
    }
    met += done;
    const each = (performance.now() - began) / done;
    batches.push([each, done]);
    // A meeting that goes well takes as long as the clock's reading, one that goes badly milliseconds.
    batch = each < QUICK_MEETING_MS ? Math.min(MEETINGS, 4 * batch) : 1;
  }
  return { met, op_ms: weightedMedian(batches) };
}

/**
 * Runs each window's kernel until the window ends. `windows`: {kernel, round, share, expected, end}:
 * `expected` ms a slice; `end` in ms after `start` (epoch ms), the same in all workers, so that they
 * run the same kernel together. Round 0 is a rehearsal: one slice each. `barrier` windows are run by
 * all `count` threads together.
 */
function run({ start, windows, count, leader }) {
  const clock = () => performance.timeOrigin + performance.now() - start;
  const slices = [];
  const barriers = [];
  const last = windows[windows.length - 1].end;
  while (clock() < 0);
  for (const { kernel, round, share, expected, end } of windows) {
    if (kernel === "barrier") {
      // All threads have to come, also those that are late.
      if (Atomics.load(meeting, ENOUGH) === 1) continue;
      barriers.push({ round, ...barrier(leader, count, () => clock() >= end) });
      continue;
    }
    // An overrun window still gets one slice, unless the time is up and the kernel has run before.
    if (round === 0 ? clock() >= last / 3 : round > 1 && clock() >= last) continue;
    let begin = clock();
    do {
      const work = SLICES[kernel](share);
      const now = clock();
      if (round > 0) slices.push({ kernel, round, begin, end: now, work, expected });
      begin = now;
    } while (round > 0 && begin < end);
  }
  return { slices, barriers, wall_ms: clock() };
}

export const OPERATIONS = { init, warm, run };

if (typeof WorkerGlobalScope !== "undefined" && self instanceof WorkerGlobalScope) {
  self.onmessage = ({ data }) => {
    try {
      self.postMessage(OPERATIONS[data.op](data));
    } catch (error) {
      self.postMessage({ error: `${error?.name}: ${error?.message}` });
    }
  };
}
