// The kernels of the WebGPU side: what a dispatch of each works on, how large it may be, and what
// is recorded. All read one buffer of random words, each as what it takes them for.
import {
  ATTENTION, CHAIN, FILL, GEMV, GEMV_F16, GEMV_INT8, MATMUL, MATMUL_F16,
} from "./shaders.js";
import { isMobile } from "./memory.js";

const MIB = 1 << 20;
const KIB = 1 << 10;
export const DEPTH = 2048;
/** Past the caches of most devices; with a matrix above the default limit of a binding, 128 MiB. */
const WEIGHT_BYTES = 64 * MIB;
const SMALL_WEIGHT_BYTES = 32 * MIB;
const HEAD_BYTES = 144 * MIB;
/** A GPU in software is a hundred to ten thousand times slower, and its memory is the page's. */
const SOFTWARE_WEIGHT_BYTES = 8 * MIB;
const LEAST_WEIGHT_BYTES = 8 * MIB;
/** A dispatch begins with the first, reaches the second unless that is too slow, and may grow on. */
const SLICE_BYTES = MIB;
const USUAL_SLICE_BYTES = 8 * MIB;
/** About a ms each, and some workgroups for each core; not grown, as a busy host would decide. */
const SOFTWARE_SLICE_BYTES = 128 * KIB;
const SOFTWARE_ATTENTION_BYTES = 512 * KIB;
/** A dispatch should take so many times as long as the smallest one, or that is what is measured. */
const DISPATCHES = 16;
const SIDES = [256, 512, 1024];
const SOFTWARE_SIDE = 128;
/** The matrix above the limit is left out where one dispatch of it would hold up the GPU for long. */
const HEAD_MS = 100;
const CHAIN_OPERATIONS = 16;
const MOST_GROUPS = 64;
const CHAIN_VALUES = 2048;
const ATTENTION_BLOCK = 64 * KIB;
const ATTENTION_RESULT = 33 * 16;

/**
 * A kernel of one size: `work` units a repeat (bytes, operations, dispatches), `share` of the
 * largest size it has, and what is recorded for so many repeats.
 * @typedef {{work: number, share: number, record: (pass: any, repeats: number) => void}} Sized
 */
/**
 * `build(gpu, pipeline, step)` makes the kernel of a size, null past the largest. `grow` says whether
 * the next size is to be tried, from the ms of a dispatch and what was sized; `fits` whether the
 * kernel is to be, from the ms of a byte of `gemv_int4`. `encoded`: encoding is part of it.
 * @typedef {{name: string, code: string | null, unit: string, encoded?: boolean,
 *            grow?: Function, fits?: Function, build: Function}} Definition
 */

/** How many bytes of weights the device gets; above 128 MiB only where nothing speaks against it. */
export function weightBytes({ room, software, deviceMemory, mobile = isMobile() }) {
  if (software) return Math.min(SOFTWARE_WEIGHT_BYTES, powerBelow(room));
  if (room >= HEAD_BYTES && !mobile && deviceMemory >= 8) return HEAD_BYTES;
  const most = deviceMemory < 4 ? SMALL_WEIGHT_BYTES : WEIGHT_BYTES;
  return Math.min(most, powerBelow(room));
}

const powerBelow = (bytes) => 2 ** Math.floor(Math.log2(bytes));

/** The buffers that the kernels share, not yet filled; smaller where there is no memory for them. */
export async function allocate(gpu, wanted, GpuProblem) {
  for (let bytes = wanted; ; bytes = bytes > WEIGHT_BYTES ? WEIGHT_BYTES : bytes / 2) {
    const before = gpu.bytes;
    const made = [];
    const make = (size) => {
      made.push(gpu.buffer(size));
      return made[made.length - 1];
    };
    try {
      return await gpu.scoped(async () => ({
        weights: make(bytes),
        scales: make(bytes / 4),
        x: make(DEPTH * 4),
        y: make(Math.max((bytes / (DEPTH / 2)) * 4, (bytes / ATTENTION_BLOCK) * ATTENTION_RESULT)),
        values: make(CHAIN_VALUES * 4),
      }));
    } catch (error) {
      for (const buffer of made) buffer.destroy();
      gpu.bytes = before;
      if (!(error instanceof GpuProblem) || bytes <= LEAST_WEIGHT_BYTES) throw error;
    }
  }
}

/** Writes all of the buffers: drivers zero them at their first use otherwise, inside a measurement. */
export async function fill(gpu, pipeline, { weights, scales, x, y, values }, { seed, zeros }) {
  for (const [i, buffer] of [weights, scales, y].entries()) {
    const count = buffer.size / 4;
    const groups = Math.min(1024, Math.ceil(count / 64));
    const group = gpu.bind(pipeline, [buffer, gpu.uniform([count, (seed + 7919 * i) >>> 0, groups * 64])]);
    await gpu.submit((pass) => {
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(groups);
    });
  }
  const { queue } = gpu.device;
  if (zeros) {
    // After the random words, as a buffer that nothing has written yet may be no memory at all.
    const encoder = gpu.device.createCommandEncoder();
    encoder.clearBuffer(weights);
    queue.submit([encoder.finish()]);
  }
  queue.writeBuffer(values, 0, new Float32Array(CHAIN_VALUES).fill(0.5));
  queue.writeBuffer(x, 0, Float32Array.from({ length: DEPTH }, (_, i) => ((i * 7919) % 1021) / 1021 - 0.5));
}

/** Dispatches of one pipeline, each with the next of the bind groups. */
function inTurn(pipeline, groups, workgroups, dispatches = 1) {
  return (pass, repeats) => {
    pass.setPipeline(pipeline);
    let bound = null;
    for (let i = 0; i < repeats * dispatches; i++) {
      const group = groups[i % groups.length];
      if (group !== bound) pass.setBindGroup(0, (bound = group));
      pass.dispatchWorkgroups(...workgroups);
    }
  };
}

/**
 * Kernels that read slices of the weights in turn, so that no dispatch finds its own in a cache.
 * @param {any} context
 * @param {number} softwareBytes of a dispatch in software
 * @param {{parameters: (size: number) => number[], workgroups: (size: number) => number,
 *          resources: (offset: number, size: number, parameters: any) => any[]}} shader
 */
function sliced({ buffers, software }, softwareBytes, { parameters, resources, workgroups }) {
  const total = buffers.weights.size;
  const sliceBytes = software ? softwareBytes : SLICE_BYTES;
  return {
    grow: (ms, { operationMs, targetMs }, { work }) => !software
      && (ms < DISPATCHES * operationMs || (work < USUAL_SLICE_BYTES && 2 * ms <= targetMs)),
    build(gpu, pipeline, step) {
      const size = sliceBytes * 2 ** step;
      if (step > 0 && size > total / 2) return null;
      const uniform = gpu.uniform(parameters(size));
      const groups = Array.from({ length: Math.min(MOST_GROUPS, Math.floor(total / size)) }, (_, i) =>
        gpu.bind(pipeline, resources(i * size, size, uniform)));
      return { work: size, share: size / total, record: inTurn(pipeline, groups, [workgroups(size)]) };
    },
  };
}

function gemv(context, rowBytes, scaleShare) {
  const { weights, scales, x, y } = context.buffers;
  return sliced(context, (SOFTWARE_SLICE_BYTES * rowBytes) / (DEPTH / 2), {
    parameters: (size) => [size / rowBytes, 0],
    resources: (offset, size, parameters) => [
      { buffer: weights, offset, size },
      ...(scaleShare ? [{ buffer: scales, offset: offset / scaleShare, size: size / scaleShare }] : []),
      x, y, parameters,
    ],
    workgroups: (size) => size / rowBytes / 4,
  });
}

function attention(context) {
  const { weights, x, y } = context.buffers;
  return sliced(context, SOFTWARE_ATTENTION_BYTES, {
    parameters: (size) => [size / ATTENTION_BLOCK],
    resources: (offset, size, parameters) => [
      { buffer: weights, offset, size: size / 2 },
      { buffer: weights, offset: offset + size / 2, size: size / 2 },
      x, y, parameters,
    ],
    workgroups: (size) => size / ATTENTION_BLOCK,
  });
}

function head({ buffers: { weights, scales, x, y } }) {
  return {
    fits: ({ byteMs }) => byteMs * weights.size <= HEAD_MS,
    build(gpu, pipeline) {
      const rows = weights.size / (DEPTH / 2);
      const group = gpu.bind(pipeline, [weights, scales, x, y, gpu.uniform([rows, 0])]);
      return { work: weights.size, share: 1, record: inTurn(pipeline, [group], [rows / 4]) };
    },
  };
}

function matmul({ buffers: { weights }, software }, elementBytes) {
  const sides = software ? [SOFTWARE_SIDE] : SIDES;
  return {
    // Eight times the work; a little faster, mostly.
    grow: (ms, { targetMs }) => 8 * ms <= targetMs,
    build(gpu, pipeline, step) {
      const n = sides[step];
      const size = n * n * elementBytes;
      if (!n || 2 * size > weights.size) return null;
      const group = gpu.bind(pipeline, [
        { buffer: weights, offset: 0, size }, { buffer: weights, offset: size, size },
        gpu.buffer(n * n * 4), gpu.uniform([n]),
      ]);
      const share = (n / sides[sides.length - 1]) ** 3;
      return { work: 2 * n ** 3, share, record: inTurn(pipeline, [group], [n / 64, n / 64]) };
    },
  };
}

/** Two bind groups of the same buffer: setting them cannot be left out, nor dispatches overlap. */
function chain({ buffers: { values } }, groups) {
  return {
    build: (gpu, pipeline) => ({
      work: CHAIN_OPERATIONS,
      share: 1,
      record: inTurn(pipeline, Array.from({ length: groups }, () => gpu.bind(pipeline, [values])),
        [CHAIN_VALUES / 64], CHAIN_OPERATIONS),
    }),
  };
}

const nothing = { build: () => ({ work: 1, share: 1, record: () => {} }) };

/** Their names, in the order in which a round measures them. */
export const WEBGPU_KERNELS = [
  "chain", "gemv_int4", "rebind_chain", "matmul", "attention", "gemv_int8", "head_int4", "gemv_f16",
  "matmul_f16", "submit",
];

/**
 * The kernels that this device can run, of those asked for.
 * @param {{software: boolean, half: boolean, asked: string[], buffers: any}} options
 * @returns {Definition[]}
 */
export function definitions({ software, half, asked, buffers }) {
  const context = { buffers, software };
  const big = buffers.weights.size >= HEAD_BYTES;
  const all = {
    chain: { code: CHAIN, unit: "op_us", ...chain(context, 1) },
    gemv_int4: { code: GEMV, unit: "bytes_per_s", ...gemv(context, DEPTH / 2, 4) },
    rebind_chain: { code: CHAIN, unit: "op_us", encoded: true, ...chain(context, 2) },
    matmul: { code: MATMUL, unit: "flops_per_s", ...matmul(context, 4) },
    attention: { code: ATTENTION, unit: "bytes_per_s", ...attention(context) },
    gemv_int8: { code: GEMV_INT8, unit: "bytes_per_s", ...gemv(context, DEPTH, 8) },
    head_int4: big && { code: GEMV, unit: "bytes_per_s", ...head(context) },
    gemv_f16: half && { code: GEMV_F16, unit: "bytes_per_s", ...gemv(context, 2 * DEPTH, 0) },
    matmul_f16: half && { code: MATMUL_F16, unit: "flops_per_s", ...matmul(context, 2) },
    submit: { code: null, unit: "op_us", ...nothing },
  };
  return WEBGPU_KERNELS.filter((name) => all[name] && asked.includes(name))
    .map((name) => ({ name, ...all[name] }));
}

export { FILL };
