// onnxruntime-web: a decoder with the inputs that onnxruntime-genai exports (input_ids,
// attention_mask, past_key_values.N.key/value), greedy decoding, on `wasm` or `webgpu`.

/**
 * @typedef {object} Config
 * @property {"wasm" | "webgpu"} backend
 * @property {string} bundle  URL of the engine's module
 * @property {string} wasmPaths  URL of the folder with the engine's WebAssembly
 * @property {number} threads
 * @property {{layers: number, kv_heads: number, head_dim: number, vocabulary: number}} shape
 * @property {"fp32" | "fp16"} floatType
 */

/** The index of the largest logit of the last position; -1 when one of them is not a number. */
function argmax(/** @type {Float32Array} */ logits, /** @type {number} */ vocabulary) {
  const base = logits.length - vocabulary;
  let best = -1;
  let value = -Infinity;
  for (let i = 0; i < vocabulary; i++) {
    const logit = logits[base + i];
    if (Number.isNaN(logit)) return -1;
    if (logit > value) {
      best = i;
      value = logit;
    }
  }
  return Number.isFinite(value) ? best : -1;
}

/**
 * @param {Config} config
 * @param {{onDeviceLost: Function, onValidation: Function, onUnsupported: Function}} events
 */
export async function createEngine(config, events) {
  const gpu = config.backend === "webgpu";
  if (gpu && !(await navigator.gpu?.requestAdapter())) {
    events.onUnsupported(navigator.gpu ? "no WebGPU adapter" : "the browser has no WebGPU");
    return null;
  }
  const ort = await import(config.bundle);
  ort.env.wasm.wasmPaths = config.wasmPaths;
  ort.env.wasm.numThreads = config.threads;
  ort.env.logLevel = "warning";

  const { layers, kv_heads, head_dim, vocabulary } = config.shape;
  const half = config.floatType === "fp16";
  /** @type {any} */ let session = null;
  /** @type {Record<string, any>} */ let past = {};

  const names = [];
  for (let layer = 0; layer < layers; layer++) {
    names.push(`${layer}.key`, `${layer}.value`);
  }

  function emptyCache() {
    const type = half ? "float16" : "float32";
    for (const name of names) {
      const old = past[`past_key_values.${name}`];
      if (old?.location === "gpu-buffer") old.dispose();
      const data = half ? new (globalThis.Float16Array ?? Uint16Array)(0) : new Float32Array(0);
      past[`past_key_values.${name}`] = new ort.Tensor(type, data, [1, kv_heads, 0, head_dim]);
    }
  }

  /** One run: feed `ids`, keep the cache. @param {number[]} ids @param {number} total */
  async function step(ids, total) {
    const outputs = await session.run({
      ...past,
      input_ids: new ort.Tensor("int64", BigInt64Array.from(ids, BigInt), [1, ids.length]),
      attention_mask: new ort.Tensor("int64", new BigInt64Array(total).fill(1n), [1, total]),
    });
    for (const name of names) {
      const old = past[`past_key_values.${name}`];
      if (old.location === "gpu-buffer") old.dispose();
      past[`past_key_values.${name}`] = outputs[`present.${name}`];
    }
    const logits = outputs.logits.location === "gpu-buffer"
      ? await outputs.logits.getData(true)
      : outputs.logits.data;
    return argmax(logits, vocabulary);
  }

  return {
    /** @param {any} source @param {(done: number, total: number) => void} onProgress */
    async download(source, onProgress) {
      const total = source.files.reduce(
        (/** @type {number} */ sum, /** @type {any} */ file) => sum + file.bytes,
        0,
      );
      let done = 0;
      const parts = [];
      for (const file of source.files) {
        const data = await source.buffer(file.name, (/** @type {number} */ bytes) =>
          onProgress((done += bytes), total),
        );
        parts.push({ path: file.name, data });
      }
      return parts;
    },

    /** @param {{path: string, data: Uint8Array}[]} parts */
    async create(parts) {
      /** @type {Record<string, any>} */
      const options = {
        executionProviders: [config.backend],
        graphOptimizationLevel: "all",
        externalData: parts.slice(1).map((part) => ({ ...part })),
      };
      if (gpu) {
        options.preferredOutputLocation = Object.fromEntries(
          names.map((name) => [`present.${name}`, "gpu-buffer"]),
        );
      }
      session = await ort.InferenceSession.create(parts[0].data, options);
      // The engine has its own copy now. Ours is given back at once: the first run needs the memory,
      // and when the garbage collector would come is anybody's guess (the peak of the same load
      // varied by a whole file size).
      options.externalData = null;
      for (const part of parts) part.data.buffer.transfer?.(0);
      parts.length = 0;
    },

    /**
     * @param {{ids: number[]}} prompt @param {number} count
     * @param {(batch: {id: number, finite: boolean}[]) => void} onTokens
     */
    async generate(prompt, count, onTokens) {
      emptyCache();
      let length = prompt.ids.length;
      let id = await step(prompt.ids, length);
      onTokens([{ id, finite: id >= 0 }]);
      for (let i = 1; i < count && id >= 0; i++) {
        length += 1;
        id = await step([id], length);
        onTokens([{ id, finite: id >= 0 }]);
      }
    },

    async dispose() {
      await session?.release();
      session = null;
      past = {};
    },
  };
}
