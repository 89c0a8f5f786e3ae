// wllama (llama.cpp as WebAssembly): loads GGUF files, greedy decoding, on the CPU or on WebGPU.
//
// It runs llama.cpp in a worker of its own, which asks here for the pieces of the files that it reads.
// What goes wrong there is on llama.cpp's log only: a load that failed resolves, and the exception of
// an abort is empty. Hence the log is kept, and errors carry what it said.

import { idsOf } from "./words.js";

/**
 * @typedef {object} Config
 * @property {"wasm" | "webgpu"} backend
 * @property {string} module  URL of the engine's module
 * @property {string} wasm  URL of its WebAssembly
 * @property {number} threads
 * @property {number} contextTokens  keys and values are allocated for so many
 * @property {string[]} needs  features that the WebGPU adapter must have
 */

/** @typedef {{level: string, text: string}} Line */

const LINES = 400;
const ALL_LAYERS = 99999;
const LOG_INFO = 2;
const CAUSES = 6;
const COPY_BYTES = 4 << 20;

// Lines that say why, also where llama.cpp does not call them errors.
const CAUSE =
  /insufficient memory|failed|GGML_ASSERT|not within|invalid|illegal|out of memory|exceeds/i;
// What follows from a failure, and what wllama adds when it reads an answer that is not there.
const CONSEQUENCE =
  /failed to load model(,| ')|failed to create.context|Invalid typed array length|^Stack trace|Failed to get an adapter/;
// The file is not what llama.cpp takes: cut off, a part of it missing, or no GGUF at all.
const REFUSED =
  /not within the file bounds|split file|failed to read (key-value|tensor)|invalid magic|gguf_init|missing tensor|tensor '[^']*' not found|wrong number of tensors|done_getting_tensors|wrong shape/;
const BUFFER = /(?:load_tensors):\s+(\S+) model buffer size =\s+([\d.]+) MiB/;

/** Text of what wllama hands to a logger. @param {any} value */
function textOf(value) {
  if (value instanceof Error) return `${value.name}: ${value.message}`;
  if (typeof value?.message === "string") return value.message;
  if (typeof value !== "object") return String(value);
  try {
    return JSON.stringify(value);
  } catch {
    return String(value);
  }
}

/** Keeps the latest lines, and calls `onLine` with each. @param {(line: Line) => void} onLine */
function keepLog(onLine) {
  /** @type {Line[]} */ const lines = [];
  const at = (/** @type {string} */ level) => (/** @type {any[]} */ ...values) => {
    const line = { level, text: values.map(textOf).join(" ").trim().slice(0, 1000) };
    lines.push(line);
    if (lines.length > LINES) lines.shift();
    onLine(line);
  };
  const logger = { debug: at("debug"), log: at("log"), warn: at("warn"), error: at("error") };
  return { lines, logger };
}

/** Why it failed, in the engine's own words; "" when the log does not say. @param {Line[]} lines */
function causeOf(lines) {
  const telling = lines.filter(
    ({ level, text }) => (level === "error" || CAUSE.test(text)) && !CONSEQUENCE.test(text),
  );
  return [...new Set(telling.map(({ text }) => text))].slice(0, CAUSES).join("; ");
}

/**
 * What comes, in one buffer of that size at most: `arrayBuffer()` would hold it twice.
 * @param {ReadableStream<Uint8Array>} stream @param {number} size
 */
async function filled(stream, size) {
  const data = new Uint8Array(size);
  const reader = stream.getReader();
  let at = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return at === size ? data.buffer : data.slice(0, at).buffer;
    if (at + value.length > size) throw new Error(`more than the ${size} bytes asked for`);
    data.set(value, at);
    at += value.length;
  }
}

/**
 * A part of a file that looks like a `Blob` to wllama. Fetched whole, a blob has all of its bytes in
 * the memory of the browser's own process beside those of the engine (1.8 GB for a file of 1.55 GB);
 * fetched in the pieces that the engine reads, only these.
 */
class Pieces {
  /**
   * @param {string} name @param {Blob | string} from  the file, or its address
   * @param {number} start @param {number} end @param {(bytes: number) => void} onBytes
   */
  constructor(name, from, start, end, onBytes) {
    Object.assign(this, { file: name, from, start, end, onBytes });
    this.size = end - start;
  }

  /** @param {number} from @param {number} to */
  slice(from, to) {
    const { file, start, end, onBytes } = /** @type {any} */ (this);
    const [first, last] = [from, to].map((at) => Math.min(start + at, end));
    return new Pieces(file, /** @type {any} */ (this).from, first, last, onBytes);
  }

  async arrayBuffer() {
    const { file, from, start, end, onBytes } = /** @type {any} */ (this);
    if (start === end) return new ArrayBuffer(0);
    let data;
    if (typeof from === "string") {
      const response = await fetch(from, { headers: { Range: `bytes=${start}-${end - 1}` } });
      if (response.status !== 206 || !response.body) {
        throw new Error(`${from}: HTTP ${response.status} for a range`);
      }
      data = await filled(response.body, end - start);
    } else {
      data = await from.slice(start, end).arrayBuffer();
    }
    if (data.byteLength !== end - start) {
      throw new Error(`${file}: ends after ${start + data.byteLength} bytes`);
    }
    onBytes(data.byteLength);
    return data;
  }

  /** Where the browser cannot suspend WebAssembly, wllama copies the whole file at first. */
  stream() {
    let at = 0;
    return new ReadableStream({
      pull: async (controller) => {
        const next = Math.min(at + COPY_BYTES, this.size);
        if (at === next) return controller.close();
        controller.enqueue(new Uint8Array(await this.slice(at, next).arrayBuffer()));
        at = next;
      },
    });
  }
}

/** @param {Config} config @param {any} events */
async function missing(config, events) {
  if (config.backend !== "webgpu") return false;
  const adapter = await navigator.gpu?.requestAdapter();
  const lacking = config.needs.filter((feature) => !adapter?.features.has(feature));
  if (adapter && !lacking.length) return false;
  events.onUnsupported(
    adapter
      ? `the WebGPU adapter lacks ${lacking.join(" and ")}, which the engine needs`
      : navigator.gpu
        ? "no WebGPU adapter"
        : "the browser has no WebGPU",
  );
  return true;
}

/**
 * @param {Config} config
 * @param {{onDeviceLost: Function, onValidation: Function, onUnsupported: Function,
 *   onCpuFallback: Function, onArtifactRefused: Function, onPromptTokens: Function}} events
 */
export async function createEngine(config, events) {
  const gpu = config.backend === "webgpu";
  if (await missing(config, events)) return null;
  const { Wllama } = await import(config.module);
  const { lines, logger } = keepLog(({ text }) => {
    // Its device lives in its own worker, and its callbacks write to the log.
    if (text.startsWith("ggml_webgpu: Device error")) events.onValidation(text);
    if (text.startsWith("ggml_webgpu: Device lost")) {
      events.onDeviceLost({ reason: "unknown", message: text });
    }
  });
  /** @type {any} */ let wllama = null;

  /** @template T @param {() => Promise<T>} work @returns {Promise<T>} */
  async function explained(work) {
    const began = lines.length;
    try {
      return await work();
    } catch (/** @type {any} */ error) {
      const cause = causeOf(began < LINES ? lines.slice(began) : lines);
      const own = textOf(error);
      throw new Error(cause && !own.includes(cause) ? `${cause} (${own})` : own, { cause: error });
    }
  }

  function refuse(/** @type {string} */ cause) {
    if (REFUSED.test(cause)) events.onArtifactRefused(cause);
    throw new Error(cause || "loadModel() failed without a word");
  }

  /** Megabytes of weights by the place they went to, as llama.cpp reports them. */
  function buffers() {
    /** @type {Map<string, number>} */ const sizes = new Map();
    for (const { text } of lines) {
      const [, place, size] = BUFFER.exec(text) ?? [];
      if (place) sizes.set(place, (sizes.get(place) ?? 0) + Number(size));
    }
    return sizes;
  }

  function checkPlace() {
    const sizes = buffers();
    const all = [...sizes.values()].reduce((sum, size) => sum + size, 0);
    const cpu = [...sizes].reduce((sum, [place, size]) => sum + (/^CPU/i.test(place) ? size : 0), 0);
    if (cpu <= all / 2 && all > 0) return;
    const places = [...sizes].map(([place, size]) => `${place} ${size} MiB`).join(", ");
    events.onCpuFallback(`weights are in: ${places || "no buffer that the log names"}`);
  }

  return {
    // Its device is in a worker of its own, where nobody else sees it.
    gpuElsewhere: true,

    /**
     * Nothing is loaded here: the engine asks for the pieces that it wants when it wants them.
     * @param {any} source
     */
    async download(source) {
      const parts = [];
      for (const { name, bytes } of source.files) {
        // What was picked or is kept is on the disk already, and reading it takes no memory.
        const from = source.kind === "network" ? source.url(name) : await source.blob(name);
        parts.push({ name, bytes, from });
      }
      return parts;
    },

    /**
     * @param {{name: string, bytes: number, from: Blob | string}[]} parts
     * @param {(done: number, total: number) => void} onProgress
     */
    async create(parts, onProgress) {
      const total = parts.reduce((sum, { bytes }) => sum + bytes, 0);
      let done = 0;
      const blobs = parts.map(
        ({ name, bytes, from }) =>
          new Pieces(name, from, 0, bytes, (more) =>
            onProgress(Math.min((done += more), total), total),
          ),
      );
      wllama = new Wllama({ default: config.wasm }, { logger, allowOffline: true });
      // Without these it would fetch a slower build from a CDN where the browser lacks JSPI or
      // 64-bit memories.
      wllama.setCompat(null);
      try {
        await explained(() =>
          wllama.loadModel(blobs, {
            n_ctx: config.contextTokens,
            n_threads: config.threads,
            n_gpu_layers: gpu ? ALL_LAYERS : 0,
            n_parallel: 1,
            warmup: false,
            log_level: LOG_INFO,
          }),
        );
      } catch (/** @type {any} */ error) {
        refuse(error.message);
      }
      if (!wllama.getLoadedContextInfo().success) refuse(causeOf(lines));
      if (gpu) checkPlace();
      onProgress(total, total);
    },

    /**
     * It takes text only, and gives ids where it is asked for probabilities.
     * @param {{text: string}} prompt @param {number} count
     * @param {(batch: {id: number, finite: boolean | null}[]) => void} onTokens
     */
    async generate(prompt, count, onTokens) {
      let came = 0;
      /** @type {any} */ let usage = null;
      const give = (/** @type {{id: number, finite: boolean | null}[]} */ batch) => {
        came += batch.length;
        if (batch.length) onTokens(batch);
      };
      await explained(() =>
        wllama.createCompletion({
          prompt: prompt.text,
          max_tokens: count,
          temperature: 0,
          ignore_eos: true,
          cache_prompt: false,
          n_probs: 1,
          stream: true,
          onData(/** @type {any} */ chunk) {
            usage = chunk.usage ?? usage;
            const { text, logprobs } = chunk.choices?.[0] ?? {};
            if (logprobs?.content) {
              // What is no number is null in JSON.
              give(
                logprobs.content.map((/** @type {any} */ { id, logprob }) => ({
                  id,
                  finite: Number.isFinite(logprob),
                })),
              );
            } else if (text) {
              give(idsOf(text).map((id) => ({ id, finite: null })));
            }
          },
        }),
      );
      // A token that ends inside a character is held back, and its id with it.
      const held = (usage?.completion_tokens ?? came) - came;
      if (held > 0) give(new Array(held).fill({ id: -1, finite: null }));
      if (usage) events.onPromptTokens(usage.prompt_tokens);
    },

    async dispose() {
      await wllama?.exit();
      wllama = null;
    },
  };
}
