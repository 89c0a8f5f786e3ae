// What a GPU does in WebGPU without any engine: bandwidth, matrices, dispatches, compilation, transfers.
// Each figure is bounded in time; what the adapter cannot do, or what fails, is null with a reason.

import { CHAIN, FILL, GEMV, MATMUL } from "/probe/shaders.js";
import { summary } from "/probe/statistics.js";

const MIB = 1 << 20;
const DEPTH = 2048;
const GROUPS = 1024;
const SAMPLES = 5;
const STORAGE = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;

const HEAD = `
struct Parameters { count: u32, stride: u32 }
@group(0) @binding(0) var<storage, read> input: array<vec4u>;
@group(0) @binding(1) var<storage, read_write> output: array<vec4u>;
@group(0) @binding(2) var<uniform> parameters: Parameters;
@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u) {`;
const READ = `${HEAD}
  var a = vec4u(0); var b = vec4u(0); var c = vec4u(0); var d = vec4u(0);
  let step = parameters.stride;
  for (var i = id.x; i + 3u * step < parameters.count; i += 4u * step) {
    a ^= input[i]; b ^= input[i + step]; c ^= input[i + 2u * step]; d ^= input[i + 3u * step];
  }
  output[id.x] = a ^ b ^ c ^ d;
}`;
const COPY = `${HEAD}
  for (var i = id.x; i < parameters.count; i += parameters.stride) { output[i] = input[i]; }
}`;

/** Products of four rows a workgroup, as the probe's, with weights that are not quantised. */
const plainGemv = (/** @type {"fp32" | "fp16"} */ kind) => `
${kind === "fp16" ? "enable f16;" : ""}
struct Parameters { rows: u32, first: u32 }
@group(0) @binding(0) var<storage, read> weights: array<${kind === "fp16" ? "vec4<f16>" : "vec4f"}>;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(3) var<uniform> parameters: Parameters;
var<workgroup> partial: array<vec4f, 64>;
fn row(number: u32, lane: u32) -> f32 {
  var sum = 0.0;
  for (var i = lane; i < 512u; i += 64u) { sum += dot(vec4f(weights[number * 512u + i]), x[i]); }
  return sum;
}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let quad = group.x + group.y * groups.x;
  if (quad * 4u >= parameters.rows) { return; }
  let first = parameters.first + quad * 4u;
  partial[lane] = vec4f(row(first, lane), row(first + 1u, lane), row(first + 2u, lane),
                        row(first + 3u, lane));
  for (var half = 32u; half > 0u; half >>= 1u) {
    workgroupBarrier();
    if (lane < half) { partial[lane] += partial[lane + half]; }
  }
  if (lane == 0u) { y[quad] = partial[0]; }
}`;

/** The probe's int4 GEMV with its arithmetic in half floats. */
const HALF_GEMV = `enable f16;\n${GEMV}`
  .replace(/fn nibbles[^}]*}/, `fn nibbles(word: u32) -> vec4<f16> {
  return vec4<f16>((vec4u(word) >> vec4u(0, 4, 8, 12)) & vec4u(15)) - 8.0h; }`)
  .replace("x: array<vec4f>", "x: array<vec4<f16>>")
  .replace(/return dot\(([^;]*);/, "return f32(dot($1);")
  .replace("x[at + 7u]);", "x[at + 7u]));");
/** The probe's matrix product in half floats. */
const HALF_MATMUL = `enable f16;\n${MATMUL}`
  .replaceAll("array<f32, 1024>", "array<f16, 1024>")
  .replaceAll("array<vec4f, ", "array<vec4<f16>, ")
  .replace("-> f32 { return ", "-> f16 { return f16(")
  .replace("0x3c000000u); }", "0x3c000000u)); }")
  .replace("tile_b[lane] = vec4f(", "tile_b[lane] = vec4<f16>(")
  .replace("= sums[r][i];", "= f32(sums[r][i]);");
/** Random bits as small numbers: exponents that are neither infinite nor subnormal. */
const fillOf = (/** @type {string} */ mask, /** @type {string} */ bits) =>
  FILL.replace("& 0xbbffbbffu;", `& ${mask}) | ${bits};`).replace("words[i] = (", "words[i] = ((");
const FILLS = {
  bits: FILL,
  fp32: fillOf("0x807fffffu", "0x3c000000u"),
  fp16: fillOf("0x83ff83ffu", "0x24002400u"),
};
/** The same shader with another constant, on which its results depend: no cache knows it. */
const salted = (/** @type {string} */ code) => code
  .replaceAll("0x3c000000u", `0x${(0x3c000000 + Math.floor(Math.random() * 0x7fffff)).toString(16)}u`)
  .replace("(1.0 + value)", `(${(1 + Math.random()).toFixed(9)} + value)`);

class Bench {
  /** @param {any} device @param {number} shrink */
  constructor(device, shrink) {
    Object.assign(this, { device, shrink, timed: device.features.has("timestamp-query") });
    this.pipelines = new Map();
    if (this.timed) {
      this.queries = device.createQuerySet({ type: "timestamp", count: 2 });
      this.resolved = this.buffer(16, GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC);
      this.readable = this.buffer(16, GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ);
    }
  }

  buffer(size, usage = STORAGE) { return this.device.createBuffer({ size, usage }); }

  uniform(values) {
    const buffer = this.buffer(16, GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST);
    this.device.queue.writeBuffer(buffer, 0, new Uint32Array([...values, 0, 0].slice(0, 4)));
    return buffer;
  }

  async compile(code) {
    const module = this.device.createShaderModule({ code });
    return this.device.createComputePipelineAsync({
      layout: "auto", compute: { module, entryPoint: "main" },
    });
  }

  async pipeline(code) {
    if (!this.pipelines.has(code)) this.pipelines.set(code, await this.compile(code));
    return this.pipelines.get(code);
  }

  bind(pipeline, buffers) {
    const entries = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
    return this.device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
  }

  /** A buffer of random numbers, which is also its first use. */
  async filled(size, kind = "bits") {
    const [buffer, pipeline] = [this.buffer(size), await this.pipeline(FILLS[kind])];
    const group = this.bind(pipeline, [buffer, this.uniform([size / 4, 7919, GROUPS * 64])]);
    await this.submit((encoder) => this.pass(encoder, pipeline, () => group, [GROUPS], 1));
    return buffer;
  }

  /** `count` dispatches in one pass, each with the bind group of its number. */
  pass(encoder, pipeline, groupOf, size, count) {
    const pass = encoder.beginComputePass(this.timed ? { timestampWrites: {
      querySet: this.queries, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 } } : {});
    pass.setPipeline(pipeline);
    let bound = null;
    for (let i = 0; i < count; i++) {
      const group = groupOf(i);
      if (group !== bound) pass.setBindGroup(0, (bound = group));
      pass.dispatchWorkgroups(...size);
    }
    pass.end();
  }

  /** Milliseconds until the queue is done, and between the GPU's timestamps. */
  async submit(record, timed = false) {
    const encoder = this.device.createCommandEncoder();
    record(encoder);
    const read = timed && this.timed;
    if (read) {
      encoder.resolveQuerySet(this.queries, 0, 2, this.resolved, 0);
      encoder.copyBufferToBuffer(this.resolved, 0, this.readable, 0, 16);
    }
    const commands = encoder.finish();
    const began = performance.now();
    this.device.queue.submit([commands]);
    await this.device.queue.onSubmittedWorkDone();
    const wall = performance.now() - began;
    if (!read) return { wall, gpu: null };
    await this.readable.mapAsync(GPUMapMode.READ);
    const [from, to] = new BigUint64Array(this.readable.getMappedRange().slice(0));
    this.readable.unmap();
    return { wall, gpu: Number(to - from) / 1e6 };
  }

  /** Doubles the repeats until a submission takes 30 ms, then samples; `work` units a repeat. */
  async measure(record, work, { timed = true, most = 8192 } = {}) {
    const run = (repeats) => this.submit((encoder) => record(encoder, repeats), timed);
    let repeats = 1;
    await run(1);
    for (let ms = 0; (ms = (await run(repeats)).wall) < 30 && repeats < most; ) repeats *= 2;
    const samples = [];
    for (let i = 0; i < SAMPLES; i++) samples.push(await run(repeats));
    const rate = (ms) => (1000 * work * repeats) / ms;
    const gpu = samples.map((sample) => sample.gpu).filter(Boolean);
    return { wall: summary(samples.map(({ wall }) => rate(wall))), gpu: summary(gpu.map(rate)), repeats };
  }

  async bandwidth(code, mib, passes) {
    const size = (mib * MIB) / this.shrink;
    const from = await this.filled(size);
    const to = this.buffer(Math.max(size * (passes - 1), GROUPS * 256 * 16));
    const pipeline = await this.pipeline(code);
    const group = this.bind(pipeline, [from, to, this.uniform([size / 16, GROUPS * 256])]);
    const found = await this.measure(
      (encoder, repeats) => this.pass(encoder, pipeline, () => group, [GROUPS], repeats), passes * size);
    from.destroy();
    to.destroy();
    return found;
  }

  async bufferCopy(mib) {
    const size = (mib * MIB) / this.shrink;
    const [from, to] = [await this.filled(size), this.buffer(size)];
    const found = await this.measure((encoder, repeats) => {
      for (let i = 0; i < repeats; i++) encoder.copyBufferToBuffer(from, 0, to, 0, size);
    }, 2 * size, { timed: false, most: 256 });
    from.destroy();
    to.destroy();
    return found;
  }

  /** Eighths of `mib` of weights in turn. */
  async gemv(code, mib, rowBytes, fill, xBytes = 4) {
    const size = (mib * MIB) / this.shrink;
    const rows = size / rowBytes;
    const made = [await this.filled(size, fill)];
    if (rowBytes === DEPTH / 2) made.push(await this.filled(size / 4));
    made.push(await this.filled(DEPTH * xBytes, xBytes === 2 ? "fp16" : "fp32"), this.buffer(rows * 4));
    const pipeline = await this.pipeline(code);
    const groups = Array.from({ length: 8 }, (_, i) =>
      this.bind(pipeline, [...made, this.uniform([rows / 8, (i * rows) / 8])]));
    const found = await this.measure((encoder, repeats) =>
      this.pass(encoder, pipeline, (i) => groups[i % 8], [rows / 32], repeats), size / 8);
    for (const buffer of made) buffer.destroy();
    return found;
  }

  async matmul(code, side) {
    const n = Math.max(64, side / Math.min(this.shrink, 4));
    const made = [await this.filled(n * n * 4), await this.filled(n * n * 4), this.buffer(n * n * 4)];
    const pipeline = await this.pipeline(code);
    const group = this.bind(pipeline, [...made, this.uniform([n])]);
    const found = await this.measure((encoder, repeats) =>
      this.pass(encoder, pipeline, () => group, [n / 64, n / 64], repeats), 2 * n ** 3);
    for (const buffer of made) buffer.destroy();
    return found;
  }

  /** Dispatches a second that depend on each other: in one pass, in a pass each, submitted each. */
  async chain(how) {
    const pipeline = await this.pipeline(CHAIN);
    const group = this.bind(pipeline, [await this.filled(DEPTH * 4, "fp32")]);
    const one = (encoder) => this.pass(encoder, pipeline, () => group, [32], 1);
    if (how === "pass") {
      return this.measure((encoder, repeats) =>
        this.pass(encoder, pipeline, () => group, [32], 256 * repeats), 256, { most: 64 });
    }
    if (how === "passes") {
      return this.measure((encoder, repeats) => {
        for (let i = 0; i < 64 * repeats; i++) one(encoder);
      }, 64, { timed: false, most: 64 });
    }
    const rates = [];
    for (let sample = 0; sample < SAMPLES; sample++) {
      const began = performance.now();
      for (let i = 0; i < 64; i++) {
        const encoder = this.device.createCommandEncoder();
        one(encoder);
        this.device.queue.submit([encoder.finish()]);
      }
      await this.device.queue.onSubmittedWorkDone();
      rates.push(64_000 / (performance.now() - began));
    }
    return { wall: summary(rates), gpu: null, repeats: 64 };
  }

  /** Something each time anew; how often a second. */
  async each(work, times = 30) {
    const rates = [];
    for (let i = 0; i < times; i++) {
      const began = performance.now();
      await work();
      rates.push(1000 / (performance.now() - began));
    }
    return { wall: summary(rates), gpu: null, repeats: 1 };
  }

  async transfer(direction, mib) {
    const size = (mib * MIB) / this.shrink;
    const data = crypto.getRandomValues(new Uint8Array(65_536));
    const bytes = new Uint8Array(size).map((_, i) => data[i & 65_535]);
    const [inner, outer] = [this.buffer(size), this.buffer(size, GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ)];
    const write = async () => {
      this.device.queue.writeBuffer(inner, 0, bytes);
      await this.device.queue.onSubmittedWorkDone();
    };
    const read = async () => {
      await this.submit((encoder) => encoder.copyBufferToBuffer(inner, 0, outer, 0, size));
      await outer.mapAsync(GPUMapMode.READ);
      bytes.set(new Uint8Array(outer.getMappedRange()));
      outer.unmap();
    };
    await write();
    const { wall } = await this.each(direction === "write" ? write : read, SAMPLES);
    inner.destroy();
    outer.destroy();
    const scaled = Object.entries(wall).map(([key, value]) => [key, key === "n" ? value : value * size]);
    return { wall: Object.fromEntries(scaled), gpu: null, repeats: 1 };
  }
}

/** Name, unit, and what is measured; in units a second. */
const FIGURES = [
  ...[2040, 256, 64, 8].map((mib) => [`read ${mib} MiB`, "B", (b) => b.bandwidth(READ, mib, 1)]),
  ["copy 1024 MiB by a shader", "B", (b) => b.bandwidth(COPY, 1024, 2)],
  ["copy 1024 MiB by copyBufferToBuffer", "B", (b) => b.bufferCopy(1024)],
  ["GEMV fp32, 128 MiB a dispatch", "B", (b) => b.gemv(plainGemv("fp32"), 1024, DEPTH * 4, "fp32")],
  ["GEMV fp16, 128 MiB a dispatch", "B", (b) => b.gemv(plainGemv("fp16"), 1024, DEPTH * 2, "fp16")],
  ["GEMV int4, 128 MiB a dispatch", "B", (b) => b.gemv(GEMV, 1024, DEPTH / 2, "bits")],
  ["GEMV int4 in half floats, 128 MiB a dispatch", "B", (b) => b.gemv(HALF_GEMV, 1024, DEPTH / 2, "bits", 2)],
  ["GEMV int4, 8 MiB a dispatch", "B", (b) => b.gemv(GEMV, 64, DEPTH / 2, "bits")],
  ...[256, 1024, 4096].map((n) => [`matrix product fp32, n = ${n}`, "flop", (b) => b.matmul(MATMUL, n)]),
  ["matrix product fp16, n = 1024", "flop", (b) => b.matmul(HALF_MATMUL, 1024)],
  ["dispatches in one pass", "", (b) => b.chain("pass")],
  ["dispatches with a pass each", "", (b) => b.chain("passes")],
  ["dispatches submitted each", "", (b) => b.chain("submissions")],
  ["submissions and their ends", "", (b) => b.each(() => b.submit(() => {}))],
  ...Object.entries({ chain: CHAIN, GEMV, "matrix product": MATMUL }).flatMap(([name, code]) => [
    [`new pipelines, ${name}`, "", (b) => b.each(() => b.compile(salted(code)), 8)],
    [`known pipelines, ${name}`, "", (b) => b.each(() => b.compile(code), 8)],
  ]),
  ["writeBuffer of 256 MiB", "B", (b) => b.transfer("write", 256)],
  ["reading back 256 MiB", "B", (b) => b.transfer("read", 256)],
];

/** @param {{shrink: number}} options  sizes are divided by it, for GPUs in software */
export async function measure({ shrink }) {
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) throw new Error("no WebGPU adapter");
  const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
  const device = await adapter.requestDevice({
    requiredFeatures: ["timestamp-query", "shader-f16"].filter((name) => adapter.features.has(name)),
    requiredLimits: { maxBufferSize, maxStorageBufferBindingSize },
  });
  const bench = new Bench(device, shrink);
  const figures = [];
  for (const [name, unit, run] of FIGURES) {
    device.pushErrorScope("validation");
    let found = null;
    let reason = null;
    try {
      found = await run(bench);
    } catch (/** @type {any} */ error) {
      reason = String(error?.message ?? error);
    }
    reason = (await device.popErrorScope())?.message ?? reason;
    figures.push({ name, unit, reason: reason?.slice(0, 300) ?? null, ...(reason ? { wall: null, gpu: null } : found) });
  }
  device.destroy();
  const { vendor, architecture, isFallbackAdapter } = adapter.info;
  return { adapter: `${vendor} ${architecture}`.trim(), software: isFallbackAdapter, maxBufferSize,
    maxStorageBufferBindingSize, features: [...adapter.features].sort(), shrink, figures };
}
