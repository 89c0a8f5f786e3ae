// The limits page: each attempt asks the browser, or an engine in it, for an amount of memory, and
// answers with what came of it. Amounts are bytes, or pages of 64 KiB where the name says so.

/**
 * What came of an attempt. GPU errors have no name of their own; theirs is that of their class.
 * @typedef {{ok: number | string} | {error: {name: string, message: string}}} Outcome
 */

const ORT = "/npm/onnxruntime-web/dist/";

/** @param {any} error @returns {Outcome} */
function failed(error) {
  const type = typeof error === "object" && error !== null ? error.constructor?.name : undefined;
  return {
    error: {
      name: String(error?.name ?? type ?? typeof error),
      message: String(error?.message ?? error).slice(0, 4000),
    },
  };
}

/** @param {string} url */
async function get(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: HTTP ${response.status}`);
  return response;
}

/** @param {{initialPages: number, maximumPages?: number, wide?: boolean}} options */
function wasmMemory({ initialPages, maximumPages, wide = false }) {
  const pages = wide ? BigInt : Number;
  return new WebAssembly.Memory({
    ...(wide ? { address: "i64" } : {}),
    initial: pages(initialPages),
    ...(maximumPages === undefined ? {} : { maximum: pages(maximumPages) }),
  });
}

/** @param {number} bytes */
async function gpuBuffer(bytes) {
  const adapter = await navigator.gpu?.requestAdapter();
  if (!adapter) throw new Error("no WebGPU adapter");
  const { maxBufferSize } = adapter.limits;
  const device = await adapter.requestDevice({ requiredLimits: { maxBufferSize } });
  try {
    device.pushErrorScope("out-of-memory");
    device.pushErrorScope("validation");
    const { size } = device.createBuffer({ size: bytes, usage: GPUBufferUsage.STORAGE });
    const error = (await device.popErrorScope()) ?? (await device.popErrorScope());
    if (error) throw error;
    return size;
  } finally {
    device.destroy();
  }
}

/**
 * Make a session from a model of `suites/oversized.py`, and run it once when `expand` is given.
 * @param {{graph: string, external?: {path: string, data: string}[], expand?: number}} options
 *   `external`: files by URL, which the engine fetches itself; `expand`: elements of the temporary
 */
async function onnxSession({ graph, external = [], expand }) {
  const ort = await import(`${ORT}ort.wasm.bundle.min.mjs`);
  ort.env.wasm.wasmPaths = ORT;
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "error";
  const session = await ort.InferenceSession.create(graph, {
    executionProviders: ["wasm"],
    externalData: external,
  });
  if (expand === undefined) return "created";
  const shape = new ort.Tensor("int64", [BigInt(expand)], [1]);
  const row = new ort.Tensor("int64", [0n], [1]);
  try {
    await session.run({ row, shape });
  } catch (error) {
    throw new Error(`created; run: ${error instanceof Error ? error.message : error}`);
  }
  return "ran";
}

const ATTEMPTS = {
  /** @param {number} bytes */
  arrayBuffer: (bytes) => new ArrayBuffer(bytes).byteLength,

  /** @param {string} url */
  fetchArrayBuffer: async (url) => (await (await get(url)).arrayBuffer()).byteLength,

  /** @param {string} url */
  fetchBlob: async (url) => (await (await get(url)).blob()).size,

  /** @param {string} url */
  blobArrayBuffer: async (url) => {
    const blob = await (await get(url)).blob();
    try {
      return (await blob.arrayBuffer()).byteLength;
    } catch (/** @type {any} */ error) {
      // So that it cannot be mistaken for a failure of the fetch.
      throw new DOMException(`blob of ${blob.size}: ${error.message}`, error.name);
    }
  },

  /** @param {Parameters<typeof wasmMemory>[0]} options */
  wasmMemory: (options) => wasmMemory(options).buffer.byteLength,

  /** @param {Parameters<typeof wasmMemory>[0] & {byPages: number}} options */
  wasmGrow: (options) => {
    const memory = wasmMemory(options);
    memory.grow(options.byPages);
    return memory.buffer.byteLength;
  },

  gpuBuffer,
  onnxSession,
};

/**
 * Make attempts one after the other.
 * @param {{attempt: keyof typeof ATTEMPTS, argument: any}[]} wanted
 * @returns {Promise<Outcome[]>} in the same order
 */
globalThis.tierlabLimits = async (wanted) => {
  const outcomes = [];
  for (const { attempt, argument } of wanted) {
    const doing = document.getElementById("doing");
    if (doing) doing.textContent = `${attempt} ${JSON.stringify(argument)}`;
    try {
      outcomes.push({ ok: await ATTEMPTS[attempt](argument) });
    } catch (error) {
      outcomes.push(failed(error));
    }
  }
  return outcomes;
};
