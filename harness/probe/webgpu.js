// Measures the WebGPU side: what the adapter says of itself, then the kernels of `gpu-kernels.js`.
// Each is sized by time, from small to large and never planned ahead; then all take turns, first
// until their pace is steady, then until the budget is used up.
import { definitions, allocate, fill, FILL, weightBytes, WEBGPU_KERNELS } from "./gpu-kernels.js";
import { Gpu, GpuProblem } from "./gpu.js";
import { driftOf, dutyOf, median, summary, undisturbed } from "./statistics.js";

export { WEBGPU_KERNELS };

/** A browser that has just begun says that there is no adapter: it is asked again. */
const ADAPTER_TRIES = 3;
const ADAPTER_WAIT_MS = 250;
/** Sizing and settling take no longer; a window spans two periods of a CPU quota. */
const SETTLE_MS = 1500;
const WINDOW_MS = 200;
const STEADY_WINDOWS = 3;
const STEADY_RATIO = 1.1;
/** Aimed at, so that at least three are left where the host gets busier. */
const ROUNDS = 6;
const PACES = 3;
const LEAST_SLICES = 3;
/**
 * Ms of a submission: far above what timestamps are rounded to (65.5 us). In software far below the
 * 100 ms after which a CPU quota is renewed, so that some submissions lie between two stalls.
 */
const TARGET_MS = { least: 2, software: 4, hardware: 15 };
const MAX_REPEATS = 4096;
/** Until the chain has been measured, or where it was not asked for: ms of a small dispatch. */
const OPERATION_MS = 0.005;

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

const clamp = (value, low, high) => Math.max(low, Math.min(high, value));
/** Ms of a submission; for kernels whose encoding counts, with it. */
const wallOf = ({ encoded, begin, end }, kernel) => end - (kernel.encoded ? encoded : begin);
/** Less what an empty submission costs, but never less than a tenth. */
const netOf = (wall, overhead) => Math.max(wall - overhead, 0.1 * wall);

/**
 * Ms of a repeat: repeats grow until a submission takes long enough to tell; the best of a few, as a
 * host that is busy makes it longer.
 */
async function paceOf(gpu, kernel, sized, { targetMs, overheadMs, deadline }) {
  const once = async (repeats) => {
    const wall = wallOf(await gpu.submit((pass) => sized.record(pass, repeats)), kernel);
    return netOf(wall, overheadMs);
  };
  for (let repeats = 1; ; ) {
    let net = await once(repeats);
    if (net >= targetMs / 4 || repeats >= MAX_REPEATS) {
      for (let i = 1; i < PACES && performance.now() < deadline; i++) {
        net = Math.min(net, await once(repeats));
      }
      return net / repeats;
    }
    repeats = Math.min(MAX_REPEATS, repeats * clamp(Math.ceil(targetMs / 3 / net), 2, 16));
  }
}

/** Sizes a kernel; what ran for the first time is never counted. */
async function size(gpu, kernel, pipeline, options) {
  let found = null;
  for (let step = 0; ; step++) {
    const sized = await gpu.scoped(async () => {
      const built = kernel.build(gpu, pipeline, step);
      if (built) await gpu.submit((pass) => built.record(pass, 1));
      return built;
    });
    if (!sized) return found;
    const each = await paceOf(gpu, kernel, sized, options);
    found = { ...kernel, ...sized, each };
    if (!kernel.grow?.(each, options, sized) || performance.now() > options.deadline) return found;
  }
}

/** All kernels that can be compiled and run here; the others are told in `problems`. */
async function prepare(gpu, { software, half, asked, buffers, problems, targetMs, pipelines, deadline }) {
  const options = { targetMs, deadline, operationMs: OPERATION_MS, byteMs: 0 };
  const empties = [];
  for (let i = 0; i < 5; i++) empties.push(wallOf(await gpu.submit(() => {}), {}));
  options.overheadMs = median(empties);
  const kernels = [];
  // The empty submission is always measured: it is part of all others.
  for (const kernel of definitions({ software, half, asked: [...asked, "submit"], buffers })) {
    try {
      if (kernel.code === null) {
        kernels.push({ ...kernel, ...kernel.build(), each: options.overheadMs, repeats: 1 });
        continue;
      }
      if (pipelines.get(kernel.code) === undefined || kernel.fits?.(options) === false) continue;
      const sized = await size(gpu, kernel, pipelines.get(kernel.code), options);
      if (kernel.name === "chain") options.operationMs = sized.each / sized.work;
      if (kernel.name === "gemv_int4") options.byteMs = sized.each / sized.work;
      kernels.push({ ...sized, repeats: repeatsFor(sized.each, targetMs) });
    } catch (error) {
      if (!(error instanceof GpuProblem)) throw error;
      problems.push(`webgpu: ${kernel.name}: ${error.message}`);
    }
  }
  return { kernels, overheadMs: options.overheadMs };
}

const repeatsFor = (each, targetMs) => clamp(Math.round(targetMs / each), 1, MAX_REPEATS);

/** Kernels take turns until the pace is steady, within the deadline; the repeats follow the pace. */
async function settle(gpu, kernels, { overheadMs, targetMs, deadline }) {
  const began = performance.now();
  const paces = [];
  const expected = new Map(kernels.map((kernel) => [kernel, kernel.each]));
  let steady = false;
  let roundMs = 0;
  do {
    const from = performance.now();
    let rounds = 0;
    let work = 0;
    do {
      for (const kernel of kernels) {
        const wall = wallOf(await gpu.submit((pass) => kernel.record(pass, kernel.repeats)), kernel);
        work += expected.get(kernel) * kernel.repeats;
        if (kernel.code !== null) {
          kernel.each = Math.min(kernel.each, netOf(wall, overheadMs) / kernel.repeats);
        }
      }
      rounds++;
    } while (performance.now() - from < WINDOW_MS && performance.now() < deadline);
    const wall = performance.now() - from;
    roundMs = wall / rounds;
    paces.push(work / wall);
    for (const kernel of kernels) {
      if (kernel.code !== null) kernel.repeats = repeatsFor(kernel.each, targetMs);
    }
    const last = paces.slice(-STEADY_WINDOWS);
    steady = last.length === STEADY_WINDOWS && Math.max(...last) / Math.min(...last) < STEADY_RATIO;
  } while (!steady && performance.now() < deadline);
  return { roundMs, settle: { steady, windows: paces.length, wall_ms: performance.now() - began } };
}

/**
 * Kernels take turns until the budget is used up, to within one submission. A slice lasts from the
 * end of the one before, so that a stall between two is seen as well.
 */
async function run(gpu, kernels, budgetMs) {
  const began = performance.now();
  const slices = [];
  let last = began;
  for (let round = 0; ; round++) {
    for (const kernel of round % 2 ? [...kernels].reverse() : kernels) {
      if (last - began >= budgetMs) return { slices, measure_ms: last - began };
      const times = await gpu.submit((pass) => kernel.record(pass, kernel.repeats), true);
      const wall = wallOf(times, kernel);
      slices.push({ kernel: kernel.name, begin: last, end: times.end, wall, slot: times.slot });
      last = times.end;
    }
  }
}

/** By kernel, the slices that were not stopped in between; on a busy host, the three fastest. */
function calmIn(slices) {
  const calm = undisturbed(slices);
  return (name) => {
    const own = calm.filter(({ kernel }) => kernel === name);
    if (own.length >= LEAST_SLICES) return own;
    return slices.filter(({ kernel }) => kernel === name)
      .sort((a, b) => (a.end - a.begin) - (b.end - b.begin)).slice(0, LEAST_SLICES);
  };
}

/** The figures of one kernel from those of its slices that were not stopped in between. */
function figures({ name, unit, work, share, repeats }, slices, overheadMs, gpuMs) {
  if (name === "submit") {
    return { op_us: summary(slices.map(({ wall }) => 1000 * wall)), slices: slices.length };
  }
  const net = slices.map(({ wall }) => netOf(wall, overheadMs));
  const inside = slices.map(({ slot }) => gpuMs[slot]).filter((ms) => ms);
  const units = repeats * work;
  const convert = unit === "op_us" ? (ms) => (1000 * ms) / units : (ms) => (1000 * units) / ms;
  return {
    [unit]: summary(net.map(convert)), slices: net.length, share, repeats,
    gpu_over_wall: inside.length ? median(inside) / median(net) : null,
  };
}

/** Compiles one after the other, as each is timed; a shader that two kernels share only once. */
async function compile(gpu, { software, half, asked, buffers, problems }) {
  const pipelines = new Map();
  const compile_ms = {};
  for (const { name, code } of definitions({ software, half, asked, buffers })) {
    if (code === null || pipelines.has(code)) continue;
    pipelines.set(code, undefined);
    try {
      const made = await gpu.scoped(() => gpu.pipeline(code));
      pipelines.set(code, made.pipeline);
      compile_ms[name] = made.compile_ms;
    } catch (error) {
      if (!(error instanceof GpuProblem)) throw error;
      problems.push(`webgpu: ${name}: ${error.message}`);
    }
  }
  return { pipelines, compile_ms };
}

async function measureDevice(gpu, { software, seed, zeros, budgetMs, kernels: asked, onProgress, problems }) {
  const { limits, features } = gpu.device;
  const half = features.has("shader-f16");
  onProgress({ backend: "webgpu", step: "fill" });
  const wanted = weightBytes({
    room: Math.min(limits.maxStorageBufferBindingSize, limits.maxBufferSize),
    software,
    deviceMemory: globalThis.navigator?.deviceMemory ?? 8,
  });
  const filler = await gpu.pipeline(FILL);
  const buffers = await allocate(gpu, wanted, GpuProblem);
  await gpu.scoped(() => fill(gpu, filler.pipeline, buffers, { seed, zeros }));
  const shared = { software, half, asked, buffers, problems };
  const { pipelines, compile_ms } = await compile(gpu, shared);

  onProgress({ backend: "webgpu", step: "settle" });
  const deadline = performance.now() + SETTLE_MS;
  const most = software ? TARGET_MS.software : TARGET_MS.hardware;
  const targetMs = clamp(budgetMs / ROUNDS / asked.length, TARGET_MS.least, most);
  const prepared = await prepare(gpu, { ...shared, targetMs, pipelines, deadline });
  const { kernels, overheadMs } = prepared;
  const settled = await settle(gpu, kernels, { overheadMs, targetMs, deadline });
  // Throttled, a round takes longer than planned: less of each, so that there are rounds enough.
  const fit = Math.min(1, budgetMs / (ROUNDS * settled.roundMs));
  for (const kernel of kernels) kernel.repeats = Math.max(1, Math.floor(kernel.repeats * fit));

  onProgress({ backend: "webgpu", step: "measure" });
  const { slices, measure_ms } = await run(gpu, kernels, budgetMs);
  const gpuMs = await gpu.times();
  // What was not executed is not a figure.
  if (gpu.failed) throw new Error(gpu.failed);
  const of = calmIn(slices);
  const empty = of("submit").map(({ wall }) => wall);
  const measured = {};
  for (const kernel of kernels.filter(({ name }) => asked.includes(name))) {
    const own = of(kernel.name);
    if (own.length === 0) {
      problems.push(`webgpu: ${kernel.name}: the budget was used up before it was measured`);
    } else {
      measured[kernel.name] = figures(kernel, own, empty.length ? median(empty) : overheadMs, gpuMs);
    }
  }
  return {
    kernels: measured,
    compile_ms: { fill: filler.compile_ms, ...compile_ms },
    memory_bytes: gpu.bytes,
    weight_bytes: buffers.weights.size,
    settle: settled.settle,
    duty: dutyOf(slices),
    drift: driftOf(slices),
    measure_ms,
  };
}

/** An adapter, null where there is none after a few tries. */
async function adapterOf(checkpoint) {
  for (let tries = 1; ; tries++) {
    const found = await checkpoint(
      navigator.gpu.requestAdapter({ powerPreference: "high-performance" }));
    if (found || tries === ADAPTER_TRIES) return found;
    await checkpoint(new Promise((resolve) => { setTimeout(resolve, ADAPTER_WAIT_MS); }));
  }
}

/** A device with all the room that the adapter has, and the features that are measured. */
async function deviceOf(adapter, checkpoint) {
  const requiredFeatures = ["timestamp-query", "shader-f16"].filter((it) => adapter.features.has(it));
  const asked = adapter.requestDevice({
    requiredFeatures,
    requiredLimits: {
      maxStorageBufferBindingSize: adapter.limits.maxStorageBufferBindingSize,
      maxBufferSize: adapter.limits.maxBufferSize,
    },
  });
  try {
    return await checkpoint(asked);
  } catch (error) {
    // It may still come, after an abort.
    asked.then((device) => device.destroy(), () => {});
    throw error;
  }
}

/**
 * Resolves also where nothing can be measured, with the reason; adds what it finds wrong to
 * `problems`. Nothing of the device is left, however it ends.
 * @param {{budgetMs: number, seed: number, zeros?: boolean, onProgress: Function, problems: string[],
 *          checkpoint: (work: Promise<any>) => Promise<any>, kernels?: string[]}} options
 *   `budgetMs` is for measuring alone: compiling comes before it, and up to 1.5 s of settling;
 *   `kernels` that are not this backend's are left aside
 */
export async function probeWebGPU({ budgetMs, seed, zeros, onProgress, checkpoint, problems, kernels }) {
  const began = performance.now();
  const asked = WEBGPU_KERNELS.filter((name) => kernels?.includes(name) ?? true);
  let about;
  let device = null;
  try {
    const adapter = await adapterOf(checkpoint);
    if (!adapter) return { available: false, reason: "requestAdapter() found no adapter" };
    const info = adapter.info ?? {};
    const software = isSoftware(info, adapter);
    about = {
      info: { ...plain(info), isFallbackAdapter: Boolean(info.isFallbackAdapter ?? adapter.isFallbackAdapter) },
      software,
      features: [...adapter.features].sort(),
      limits: plain(adapter.limits),
    };
    const requested = performance.now();
    device = await deviceOf(adapter, checkpoint);
    const device_ms = performance.now() - requested;
    const timestamps = device.features.has("timestamp-query");
    const gpu = new Gpu(device, problems, checkpoint, timestamps);
    const measured = await measureDevice(gpu, {
      software, seed, zeros, budgetMs, kernels: asked, onProgress, problems,
    });
    return {
      available: true, reason: null, adapter: about, timestamps, device_ms, ...measured,
      wall_ms: performance.now() - began,
    };
  } catch (error) {
    const reason = `${error?.name ?? "Error"}: ${error?.message ?? error}`;
    problems.push(`webgpu: ${reason}`);
    return { available: false, reason, ...(about && { adapter: about }) };
  } finally {
    device?.destroy();
  }
}
