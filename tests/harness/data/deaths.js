// An engine that ends as it is told: `config.act` happens when the phase `config.phase` is reached.
// The other phases do what a good engine does, with three tokens at the end.

const MIB = 1024 * 1024;

/** Never answers, and leaves the worker free. */
const wait = () => new Promise(() => {});

/** A WebGPU device that reports its loss. @param {any} events */
async function openDevice(events) {
  const adapter = await navigator.gpu?.requestAdapter();
  if (!adapter) {
    events.onUnsupported(navigator.gpu ? "no WebGPU adapter" : "the browser has no WebGPU");
    return null;
  }
  const device = await adapter.requestDevice({
    requiredLimits: { maxBufferSize: adapter.limits.maxBufferSize },
  });
  device.lost.then((/** @type {any} */ info) => events.onDeviceLost(info));
  device.addEventListener("uncapturederror", (/** @type {any} */ event) =>
    events.onValidation(event.error.message),
  );
  return device;
}

/** @type {Record<string, (events: any, config: any) => unknown>} */
const acts = {
  wait,

  /** Never answers, and keeps the worker busy. */
  spin() {
    for (;;);
  },

  /** Uses memory of the renderer outside of V8's heap, 16 MiB at a time. */
  async touch() {
    const kept = [];
    for (;;) {
      kept.push(new Uint8Array(16 * MIB).fill(1));
      await new Promise((done) => setTimeout(done));
    }
  },

  /** Uses V8's heap. */
  heap() {
    const kept = [];
    for (;;) kept.push(new Array(100_000).fill(kept.length + 0.5));
  },

  /** Asks for more memory than an array can have. */
  refused() {
    return new Uint8Array(new ArrayBuffer(2 ** 34));
  },

  /** A real engine on a graph whose one tensor is larger than a 32-bit memory. */
  async engine(_, config) {
    const ort = await import(config.bundle);
    ort.env.wasm.wasmPaths = config.wasmPaths;
    ort.env.wasm.numThreads = 1;
    const session = await ort.InferenceSession.create(config.graph, {
      executionProviders: ["wasm"],
    });
    const elements = new ort.Tensor("int64", BigInt64Array.from([BigInt(config.elements)]), [1]);
    await session.run({ shape: elements });
  },

  /** Holds a device and waits for its end. */
  async hold(events) {
    await openDevice(events);
    await wait();
  },

  /** Uses memory of the GPU process. */
  async buffers(events) {
    const device = await openDevice(events);
    const size = 64 * MIB;
    const ones = new Uint8Array(size).fill(1);
    const kept = [];
    for (;;) {
      const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST;
      const buffer = device.createBuffer({ size, usage });
      device.queue.writeBuffer(buffer, 0, ones);
      await device.queue.onSubmittedWorkDone();
      kept.push(buffer);
    }
  },

  /** A command that the GPU rejects; the engine goes on. */
  async invalid(events) {
    const device = await openDevice(events);
    device.createBuffer({ size: 16, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.STORAGE });
    await device.queue.onSubmittedWorkDone();
  },

  async noAdapter(events) {
    return (await openDevice(events)) === null;
  },
};

/**
 * @param {{act?: string, phase?: string, tokens?: number, finite?: boolean}} config
 * @param {any} events
 */
export async function createEngine(config, events) {
  const reach = (/** @type {string} */ phase) =>
    config.act && config.phase === phase ? acts[config.act](events, config) : undefined;

  if ((await reach("start")) === true) return null; // the act said why
  return {
    async download() {
      await reach("download");
    },
    async create() {
      await reach("create");
    },
    /** @param {number[]} _ @param {number} count @param {(token: any) => void} onToken */
    async generate(_, count, onToken) {
      await reach("first-token");
      for (let id = 0; id < (config.tokens ?? count); id++) {
        onToken({ id, finite: config.finite ?? true });
        if (id === 0) await reach("decode");
      }
    },
    async dispose() {
      await reach("dispose");
    },
  };
}
