// One probing thread: its own wasm memory, random data made on the spot, kernels run in slices.
// Messages in: {op: "init" | "warm" | "run", ...}; every one is answered by one message, an error
// by {error}. Driven by wasm.js.

const MIB = 1 << 20;
const PAGE = 65536;
const DEPTH = 1024;
const LAYER_COLUMNS = 2048; // with DEPTH: 8 MiB as fp32, about a layer's matrix of a small model
const DOT_BLOCKS = DEPTH / 32;
const CHAIN_WIDTH = 1024;
const CHAIN_ROUNDS = 200;
const GEMM_COLUMNS = 512;

/** @type {Record<string, Function>} */
let kernels;
/** @type {Record<string, number>} addresses */
let at;
let floatBytes = 0;
let weightBytes = 0;

/** Turns through the quantised weights, so that successive slices read different ones. */
let turn = 0;
function weights(bytes) {
  const places = Math.floor(weightBytes / bytes);
  return at.weights + (turn++ % Math.max(1, places)) * bytes;
}

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

function dot(bits, share) {
  const rowBytes = DOT_BLOCKS * (bits === 4 ? 18 : 34);
  const rows = multiple(Math.min(8192, weightBytes / rowBytes) * share, 1);
  const bytes = rows * rowBytes;
  const kernel = bits === 4 ? kernels.dot_int4 : kernels.dot_int8;
  kernel(at.y, weights(bytes), at.packed, rows, DOT_BLOCKS);
  return (rows * DEPTH * bits) / 8;
}

function gemm(rows, columns) {
  const bytes = columns * DEPTH * 4;
  const places = Math.max(1, Math.floor(floatBytes / bytes));
  kernels.gemm(at.y, at.x, at.floats + (turn++ % places) * bytes, at.panel, rows, columns, DEPTH);
  return 2 * rows * columns * DEPTH;
}

function stream(bytes) {
  const places = Math.max(1, Math.floor(floatBytes / bytes));
  kernels.stream(at.floats + (turn++ % places) * bytes, bytes);
  return bytes;
}

function chain(rounds) {
  kernels.chain(at.chain, CHAIN_WIDTH, rounds);
  return 3 * rounds;
}

const multiple = (value, of) => Math.max(of, Math.floor(value / of) * of);
/** A slice of each kernel, its size scaled by `share` (0..1]; returns the work done. */
const SLICES = {
  int4_layer: (share) => matmul(4, multiple(LAYER_COLUMNS * share, 16)),
  int4_head: (share) => matmul(4, multiple((floatBytes / 4 / DEPTH) * share, 16)),
  int8_layer: (share) => matmul(8, multiple(LAYER_COLUMNS * share, 16)),
  int8_head: (share) => matmul(8, multiple((floatBytes / 4 / DEPTH) * share, 16)),
  chain: (share) => chain(multiple(CHAIN_ROUNDS * share, 1)),
  gemm_m16: (share) => gemm(16, multiple(GEMM_COLUMNS * share, 16)),
  gemm_m64: (share) => gemm(64, multiple(GEMM_COLUMNS * share, 16)),
  dequant_int4: (share) => expandOnly(multiple(LAYER_COLUMNS * share, 16)),
  dot_int4: (share) => dot(4, share),
  dot_int8: (share) => dot(8, share),
  fp16_head: (share) => fp16(multiple((weightBytes / 2 / DEPTH) * share, 16)),
  stream: (share) => stream(multiple(Math.min(16 * MIB, floatBytes) * share, 64)),
};

function init({ module, seed, bytes }) {
  const began = performance.now();
  floatBytes = bytes;
  weightBytes = bytes / 4; // as many 8-bit weights as there are floats
  at = { weights: 2 * PAGE };
  at.floats = at.weights + weightBytes;
  at.scales = at.floats + floatBytes;
  at.x = at.scales + floatBytes / 32;
  at.y = at.x + 64 * DEPTH * 4;
  at.panel = at.y + Math.max(floatBytes / DEPTH, 64 * GEMM_COLUMNS * 4);
  at.packed = at.panel + 128 * 128 * 4;
  at.chain = at.packed + DOT_BLOCKS * 34 + 64 - ((DOT_BLOCKS * 34) % 64);
  const end = at.chain + 3 * CHAIN_WIDTH * 4;
  const memory = new WebAssembly.Memory({ initial: Math.ceil(end / PAGE) });
  kernels = new WebAssembly.Instance(module, { env: { memory } }).exports;
  kernels.fill_bytes(at.weights, weightBytes / 8, seed);
  kernels.fill_floats(at.scales, floatBytes / 128, seed + 1, 0.005, 0.015);
  kernels.fill_floats(at.x, 64 * DEPTH, seed + 2, -0.5, 0.5);
  kernels.fill_bytes(at.packed, (DOT_BLOCKS * 34) / 8, seed + 3);
  kernels.fill_floats(at.chain, 3 * CHAIN_WIDTH, seed + 4, 0.5, 1.5);
  // Memory never written reads several times too fast: expand real weights over all of it.
  const columns = floatBytes / 4 / DEPTH;
  kernels.dequant_int4(at.floats, at.weights, at.scales, columns, DEPTH);
  return { memory_bytes: memory.buffer.byteLength, fill_ms: performance.now() - began };
}

/**
 * Runs small slices of all kernels in turn for `ms`; small, so that the JIT sees many calls. The
 * best time of each, scaled to a full slice: what it will take once it is compiled and undisturbed.
 */
function warm({ ms }) {
  const began = performance.now();
  const full_slice_ms = {};
  let rounds = 0;
  do {
    for (const [name, slice] of Object.entries(SLICES)) {
      const share = name.endsWith("_head") ? 1 / 128 : 1 / 32;
      const start = performance.now();
      slice(share);
      const full = (performance.now() - start) / share;
      full_slice_ms[name] = Math.min(full_slice_ms[name] ?? Infinity, full);
    }
    rounds++;
  } while (performance.now() - began < ms);
  return { rounds, wall_ms: performance.now() - began, full_slice_ms };
}

/**
 * Runs each window's kernel until the window ends. `windows`: [kernel, round, share, end], `end` in
 * ms after `start` (epoch ms), the same in all workers, so that they run the same kernel together.
 */
function run({ start, windows }) {
  const clock = () => performance.timeOrigin + performance.now() - start;
  const slices = [];
  const last = windows[windows.length - 1][3];
  while (clock() < 0);
  for (const [name, round, share, end] of windows) {
    // An overrun window still gets one slice, unless the phase is over and the kernel has run before.
    if (round > 0 && clock() >= last) continue;
    let begin = clock();
    do {
      const work = SLICES[name](share);
      const now = clock();
      slices.push([name, round, begin, now, work]);
      begin = now;
    } while (begin < end);
  }
  return { slices };
}

const OPERATIONS = { init, warm, run };

self.onmessage = ({ data }) => {
  try {
    self.postMessage({ id: data.id, ...OPERATIONS[data.op](data) });
  } catch (error) {
    self.postMessage({ id: data.id, error: `${error?.name}: ${error?.message}` });
  }
};
