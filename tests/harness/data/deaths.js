// An engine that ends as it is told: `config.act` happens when the phase `config.phase` is reached.
// The other phases do what a good engine does. An act that waits for its end from outside says,
// by the progress of a download, that it is ready for it.

const MIB = 1024 * 1024;

const forever = () => new Promise(() => {});

/** A WebGPU device that reports its loss and its errors. @param {any} events */
async function openDevice(events) {
  const adapter = await navigator.gpu.requestAdapter();
  const device = await adapter.requestDevice();
  device.lost.then((/** @type {any} */ info) => events.onDeviceLost(info));
  device.addEventListener("uncapturederror", (/** @type {any} */ event) =>
    events.onValidation(event.error.message),
  );
  return device;
}

/** @type {Record<string, (ready: () => void, events: any, config: any) => unknown>} */
const acts = {
  /** Never answers, and leaves the worker free. */
  wait(ready) {
    ready();
    return forever();
  },

  /** Never answers, and keeps the worker busy. */
  spin() {
    for (;;);
  },

  /** Holds a WebGPU device and waits for its end. */
  async hold(ready, events) {
    await openDevice(events);
    ready();
    await forever();
  },

  /** Waits until it may go on: `config.gate` is an address that then is found. */
  async gate(ready, _, config) {
    ready();
    const open = () => fetch(config.gate).then(({ ok }) => ok, () => false);
    while (!(await open())) await new Promise((done) => setTimeout(done, 20));
  },

  /** Uses memory of the renderer outside of V8's heap. */
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

  /** Asks for more memory than there can be. */
  refused() {
    return new ArrayBuffer(2 ** 53 - 1);
  },

  /** A real engine, on a graph whose one tensor does not fit into a 32-bit memory. */
  async engine(_, __, config) {
    const ort = await import(config.bundle);
    ort.env.wasm.wasmPaths = config.wasmPaths;
    ort.env.wasm.numThreads = 1;
    const session = await ort.InferenceSession.create(config.graph, {
      executionProviders: ["wasm"],
    });
    const shape = BigInt64Array.from([BigInt(config.elements)]);
    await session.run({ shape: new ort.Tensor("int64", shape, [1]) });
  },

  /** Uses memory of the GPU process, and none of the renderer: the GPU fills the buffers. */
  async buffers(_, events) {
    const device = await openDevice(events);
    const kept = [];
    for (;;) {
      const buffer = device.createBuffer({ size: 32 * MIB, usage: GPUBufferUsage.COPY_DST });
      const encoder = device.createCommandEncoder();
      encoder.clearBuffer(buffer);
      device.queue.submit([encoder.finish()]);
      await device.queue.onSubmittedWorkDone();
      kept.push(buffer);
    }
  },

  /** A command that the GPU rejects; the engine goes on. */
  async invalid(_, events) {
    const device = await openDevice(events);
    device.createBuffer({ size: 16, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.STORAGE });
    await device.queue.onSubmittedWorkDone();
  },

  /** An end that nobody handles, outside of the engine's calls. */
  stray() {
    setTimeout(() => {
      throw new TypeError("stray");
    });
    return forever();
  },
};

// Kept for as long as the engine lives.
let ballast = new Uint8Array(0);

/**
 * `ballast`: MiB that the page holds from the start, so that its process is the largest of its kind.
 * @param {{act?: string, phase?: string, tokens?: number, finite?: boolean, ballast?: number}} config
 * @param {any} events
 */
export async function createEngine(config, events) {
  ballast = new Uint8Array((config.ballast ?? 0) * MIB).fill(1);
  const reach = (/** @type {string} */ phase, ready = () => {}) =>
    config.act && config.phase === phase ? acts[config.act](ready, events, config) : undefined;

  await reach("start");
  return {
    /** @param {any} _ @param {(done: number, total: number) => void} onProgress */
    async download(_, onProgress) {
      await reach("download", () => onProgress(MIB, MIB));
    },
    async create() {
      await reach("create");
    },
    /** @param {any} _ @param {number} count @param {(tokens: any[]) => void} onTokens */
    async generate(_, count, onTokens) {
      await reach("first-token");
      for (let id = 0; id < (config.tokens ?? count); id++) {
        onTokens([{ id, finite: config.finite ?? true }]);
        if (id === 0) await reach("decode");
      }
    },
    async dispose() {
      await reach("dispose");
    },
  };
}
