// Measures the WebGPU side: what the adapter says of itself, then four kernels, each bounded in
// time: the work of a submission is doubled until it is long enough to time, never planned ahead.
import { CHAIN, FILL, GEMV, MATMUL } from "./shaders.js";
import { median, summary } from "./statistics.js";

const MIB = 1 << 20;
const DEPTH = 2048;
const ROW_BYTES = DEPTH / 2;
// Past the caches of most devices; halved until the limits, and for software adapters much smaller.
const WEIGHT_BYTES = 64 * MIB;
const SOFTWARE_WEIGHT_BYTES = 8 * MIB;
const MAX_REPEATS = 4096;
const SAMPLES = 5;

/** Limits and info are objects with getters on their prototype: copied by name. */
function plain(source) {
  const copy = {};
  for (const name in source) {
    const value = source[name];
    if (["number", "string", "boolean"].includes(typeof value)) copy[name] = value;
  }
  return copy;
}

function isSoftware(info, adapter) {
  const text = `${info.vendor} ${info.architecture} ${info.device} ${info.description}`;
  return Boolean(info.isFallbackAdapter ?? adapter.isFallbackAdapter)
    || /swiftshader|llvmpipe|lavapipe|basic render|software/i.test(text);
}

/** A device with its problems collected: nothing here throws for a validation error or a loss. */
class Gpu {
  constructor(device, problems, checkpoint, timestamps) {
    Object.assign(this, { device, problems, checkpoint, timestamps, lost: false });
    device.addEventListener?.("uncapturederror", (event) => {
      event.preventDefault?.();
      if (problems.length < 20) problems.push(`webgpu: ${event.error?.constructor?.name}: ${event.error?.message}`);
    });
    this.gone = device.lost.then((info) => {
      this.lost = true;
      throw new Error(`device lost (${info.reason || "unknown"}): ${info.message}`);
    });
    this.gone.catch(() => {});
    if (timestamps) {
      this.queries = device.createQuerySet({ type: "timestamp", count: 2 });
      this.resolved = this.buffer(16, GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC);
      this.readable = this.buffer(16, GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ);
    }
  }

  /** Waits, but no longer than the device lives or the probe may run. */
  wait(work) {
    return this.checkpoint(Promise.race([work, this.gone]));
  }

  buffer(size, usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC) {
    return this.device.createBuffer({ size, usage });
  }

  uniform(values) {
    const buffer = this.buffer(16, GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST);
    this.device.queue.writeBuffer(buffer, 0, new Uint32Array([...values, 0, 0, 0, 0].slice(0, 4)));
    return buffer;
  }

  async pipeline(code) {
    const began = performance.now();
    const module = this.device.createShaderModule({ code });
    const made = await this.wait(this.device.createComputePipelineAsync({
      layout: "auto", compute: { module, entryPoint: "main" },
    }));
    return { pipeline: made, compile_ms: performance.now() - began };
  }

  bind(pipeline, buffers) {
    const entries = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
    return this.device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
  }

  /** One submission of one pass; wall ms until the queue is done, and GPU ms where they can be read. */
  async submit(record) {
    const encoder = this.device.createCommandEncoder();
    const timed = this.timestamps
      ? { timestampWrites: { querySet: this.queries, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 } }
      : {};
    const pass = encoder.beginComputePass(timed);
    record(pass);
    pass.end();
    if (this.timestamps) {
      encoder.resolveQuerySet(this.queries, 0, 2, this.resolved, 0);
      encoder.copyBufferToBuffer(this.resolved, 0, this.readable, 0, 16);
    }
    const commands = encoder.finish();
    const began = performance.now();
    this.device.queue.submit([commands]);
    await this.wait(this.device.queue.onSubmittedWorkDone());
    const wall_ms = performance.now() - began;
    if (!this.timestamps) return { wall_ms, gpu_ms: null };
    await this.wait(this.readable.mapAsync(GPUMapMode.READ));
    const [from, to] = new BigUint64Array(this.readable.getMappedRange().slice(0));
    this.readable.unmap();
    return { wall_ms, gpu_ms: to > from ? Number(to - from) / 1e6 : null };
  }

  /**
   * Doubles the repeats of a submission until it takes `targetMs`, then samples it, all within
   * `limitMs`. The first pass is discarded. Returns samples of {wall_ms, gpu_ms, repeats}.
   */
  async measure(record, targetMs, limitMs) {
    const began = performance.now();
    const left = () => limitMs - (performance.now() - began);
    let repeats = 1;
    let first = await this.submit((pass) => record(pass, 1));
    const samples = [];
    while (first.wall_ms < targetMs && repeats < MAX_REPEATS && left() > 3 * first.wall_ms) {
      repeats *= 2;
      first = await this.submit((pass) => record(pass, repeats));
    }
    do {
      samples.push({ ...(await this.submit((pass) => record(pass, repeats))), repeats });
    } while (samples.length < SAMPLES && left() > first.wall_ms);
    return samples;
  }
}

/** Wall times less what an empty submission costs; GPU times beside them as a cross-check. */
function timing(samples, overheadMs) {
  const net = samples.map(({ wall_ms, repeats }) => Math.max(wall_ms - overheadMs, 0.1 * wall_ms) / repeats);
  const gpu = samples.filter(({ gpu_ms }) => gpu_ms).map(({ gpu_ms, repeats }) => gpu_ms / repeats);
  return { net, gpu, repeats: samples[0].repeats };
}

function report(unit, { net, gpu, repeats }, convert) {
  return {
    [unit]: summary(net.map(convert)),
    slices: net.length,
    repeats,
    gpu_over_wall: gpu.length ? median(gpu) / median(net) : null,
  };
}

async function measureDevice(gpu, { adapter, software, seed, budgetMs, onProgress }) {
  const { device } = gpu;
  const share = budgetMs / 4;
  const target = software ? 40 : 60;
  const kernels = {};
  const compile_ms = {};
  const make = async (name, code) => {
    const made = await gpu.pipeline(code);
    compile_ms[name] = made.compile_ms;
    return made.pipeline;
  };
  const fill = await make("fill", FILL);
  const gemv = await make("gemv_int4", GEMV);
  const matmul = await make("matmul", MATMUL);
  const chain = await make("chain", CHAIN);

  const room = Math.min(device.limits.maxStorageBufferBindingSize, device.limits.maxBufferSize);
  let weightBytes = software ? SOFTWARE_WEIGHT_BYTES : WEIGHT_BYTES;
  const deviceMemory = globalThis.navigator?.deviceMemory ?? 8;
  while (weightBytes > room || (weightBytes > 32 * MIB && deviceMemory < 4)) weightBytes /= 2;
  const rows = weightBytes / ROW_BYTES;
  const n = software ? 128 : 1024;
  const weights = gpu.buffer(weightBytes);
  const scales = gpu.buffer(weightBytes / 4);
  const x = gpu.buffer(DEPTH * 4);
  const y = gpu.buffer(rows * 4);
  const a = gpu.buffer(n * n * 4);
  const b = gpu.buffer(n * n * 4);
  const c = gpu.buffer(n * n * 4);
  const values = gpu.buffer(2048 * 4);
  const memory_bytes = weightBytes * 1.25 + DEPTH * 4 + rows * 4 + 3 * n * n * 4 + 2048 * 4;

  onProgress({ backend: "webgpu", step: "fill" });
  for (const [i, buffer] of [weights, scales, a, b].entries()) {
    const count = buffer.size / 4;
    const groups = Math.min(1024, Math.ceil(count / 64));
    const group = gpu.bind(fill, [buffer, gpu.uniform([count, seed + 7919 * i, groups * 64])]);
    await gpu.submit((pass) => {
      pass.setPipeline(fill);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(groups);
    });
  }
  device.queue.writeBuffer(values, 0, new Float32Array(2048).fill(0.5));
  device.queue.writeBuffer(x, 0, Float32Array.from({ length: DEPTH }, (_, i) => ((i * 7919) % 1021) / 1021 - 0.5));

  onProgress({ backend: "webgpu", step: "measure" });
  const empties = [];
  for (let i = 0; i < 5; i++) empties.push((await gpu.submit(() => {})).wall_ms);
  const overhead = median(empties);

  // Slices of the weights in turn, each an eighth of them, so that no repeat finds them in a cache.
  const eighth = rows / 8;
  const groups = [];
  for (let i = 0; i < 8; i++) {
    groups.push(gpu.bind(gemv, [weights, scales, x, y, gpu.uniform([eighth, i * eighth])]));
  }
  const gemvSamples = await gpu.measure((pass, repeats) => {
    pass.setPipeline(gemv);
    for (let i = 0; i < repeats; i++) {
      pass.setBindGroup(0, groups[i % 8]);
      pass.dispatchWorkgroups(eighth / 4);
    }
  }, target, share);
  kernels.gemv_int4 = report("bytes_per_s", timing(gemvSamples, overhead),
    (ms) => (eighth * ROW_BYTES * 1000) / ms);

  const product = gpu.bind(matmul, [a, b, c, gpu.uniform([n])]);
  const matmulSamples = await gpu.measure((pass, repeats) => {
    pass.setPipeline(matmul);
    pass.setBindGroup(0, product);
    for (let i = 0; i < repeats; i++) pass.dispatchWorkgroups(n / 64, n / 64);
  }, target, share);
  kernels.matmul = report("flops_per_s", timing(matmulSamples, overhead), (ms) => (2 * n ** 3 * 1000) / ms);

  const small = gpu.bind(chain, [values]);
  const chainSamples = await gpu.measure((pass, repeats) => {
    pass.setPipeline(chain);
    pass.setBindGroup(0, small);
    for (let i = 0; i < repeats * 16; i++) pass.dispatchWorkgroups(32);
  }, target, share);
  kernels.chain = report("op_us", timing(chainSamples, overhead), (ms) => (ms * 1000) / 16);
  kernels.submit = { op_us: summary(empties.map((ms) => ms * 1000)), slices: empties.length };
  return { kernels, compile_ms, memory_bytes, weight_bytes: weightBytes };
}

/** As `probeWasm`; adds what it finds wrong to `problems`. */
export async function probeWebGPU({ budgetMs, seed, onProgress, checkpoint, problems }) {
  const began = performance.now();
  const adapter = await checkpoint(navigator.gpu.requestAdapter({ powerPreference: "high-performance" }));
  if (!adapter) return { available: false, reason: "requestAdapter() found no adapter" };
  const info = adapter.info ?? {};
  const software = isSoftware(info, adapter);
  const about = {
    info: { ...plain(info), isFallbackAdapter: Boolean(info.isFallbackAdapter ?? adapter.isFallbackAdapter) },
    software,
    features: [...adapter.features].sort(),
    limits: plain(adapter.limits),
  };
  const timestamps = adapter.features.has("timestamp-query");
  let device;
  try {
    device = await checkpoint(adapter.requestDevice({
      requiredFeatures: timestamps ? ["timestamp-query"] : [],
      requiredLimits: {
        maxStorageBufferBindingSize: adapter.limits.maxStorageBufferBindingSize,
        maxBufferSize: adapter.limits.maxBufferSize,
      },
    }));
  } catch (error) {
    return { available: false, reason: `requestDevice(): ${error?.message}`, adapter: about };
  }
  const device_ms = performance.now() - began;
  const gpu = new Gpu(device, problems, checkpoint, timestamps);
  try {
    const measured = await measureDevice(gpu, { adapter, software, seed, budgetMs, onProgress });
    return {
      available: true, reason: null, adapter: about, timestamps, device_ms, ...measured,
      wall_ms: performance.now() - began,
    };
  } catch (error) {
    const reason = `${error?.name}: ${error?.message}`;
    problems.push(`webgpu: ${reason}`);
    return { available: false, reason, adapter: about };
  } finally {
    device.destroy();
  }
}
