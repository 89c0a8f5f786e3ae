// LiteRT-LM on the web: `.litertlm` files, greedy decoding, on WebGPU ("artisan" weights) and on the
// CPU (prefill/decode files).
//
// It runs in the page: its modules need an import map, which workers do not have. A conversation is
// used, since a session has no streaming; synthetic files have a chat template that adds nothing.

import { countedStream, watchConsole } from "./streams.js";
import { idsOf } from "./words.js";

/**
 * @typedef {object} Config
 * @property {"wasm" | "webgpu"} backend
 * @property {string} module  URL of the engine's module
 * @property {string} loader  URL of the module that loads its WebAssembly
 * @property {string} wasm  URL of the folder with its WebAssembly
 * @property {number} contextTokens  prompt and output together
 * @property {boolean} synthetic  whether text consists of the words of the synthetic vocabulary
 */

const REFUSED = /Tensor size does not match|not found in the model|Unknown model type/i;

/**
 * What `sendMessageStreaming` does, but for its stream: on a processor nothing yields between tokens,
 * so that a stream hands all of them over at the end. The engine's callback comes for each.
 * @param {any} conversation @param {string} text @param {(message: any) => void} take
 */
async function sendOnProcessor(conversation, text, take) {
  const message = { role: "user", content: [{ type: "text", text }] };
  let failure = "";
  await conversation.conversation.sendMessageAsync(
    JSON.stringify(message),
    (/** @type {string} */ chunk, /** @type {boolean} */ done, /** @type {string} */ error) => {
      if (error) failure = error;
      else if (chunk) take(JSON.parse(chunk));
    },
  );
  await conversation.engine.waitUntilDone();
  if (failure) throw new Error(failure);
}

/**
 * @param {Config} config
 * @param {{onDeviceLost: Function, onValidation: Function, onUnsupported: Function,
 *   onCpuFallback: Function, onArtifactRefused: Function, onPromptTokens: Function}} events
 */
export async function createEngine(config, events) {
  const gpu = config.backend === "webgpu";
  if (gpu && !(await navigator.gpu?.requestAdapter())) {
    events.onUnsupported(navigator.gpu ? "no WebGPU adapter" : "the browser has no WebGPU");
    return null;
  }
  watchConsole((line) => {
    if (REFUSED.test(line)) events.onArtifactRefused(line);
  });
  const { Backend, Engine, SamplerType } = await import(config.module);
  const { loadLiteRtLm } = await import(config.loader);
  await loadLiteRtLm(config.wasm);
  /** @type {any} */ let engine = null;

  return {
    download: countedStream,

    /** @param {ReadableStream<Uint8Array>} stream */
    async create(stream) {
      engine = await Engine.create({
        model: stream,
        backend: gpu ? Backend.GPU_ARTISAN : Backend.CPU,
        mainExecutorSettings: { maxNumTokens: config.contextTokens },
        // Only so does it tell how long the prompt was.
        benchmarkEnabled: true,
      });
    },

    /**
     * @param {{ids: number[], text: string}} prompt @param {number} count
     * @param {(batch: {id: number, finite: boolean | null}[]) => void} onTokens
     */
    async generate(prompt, count, onTokens) {
      const conversation = await engine.createConversation({
        sessionConfig: {
          // The most likely token, by either name: each backend has only one kind of sampler.
          samplerParams: {
            type: gpu ? SamplerType.TOP_K : SamplerType.TOP_P,
            ...{ k: 1, p: 1, temperature: 1, seed: 1 },
          },
          maxOutputTokens: count,
        },
      });
      try {
        let text = "";
        let told = 0;
        const tell = (/** @type {{id: number, finite: boolean | null}[]} */ batch) => {
          if (!batch.length) return;
          told += batch.length;
          onTokens(batch);
        };
        const take = (/** @type {any} */ message) => {
          const parts = message.content ?? [];
          const part = parts.map((/** @type {any} */ { text: own = "" }) => own).join("");
          if (!part) return;
          text += part;
          // A message is one token: a piece of text that is held back comes with the next one.
          const ids = config.synthetic ? idsOf(text).slice(told, count) : told < count ? [-1] : [];
          tell(ids.map((id) => ({ id, finite: config.synthetic ? id >= 0 : null })));
        };
        if (gpu) {
          for await (const message of conversation.sendMessageStreaming(prompt.text)) {
            take(message);
            if (told >= count) break;
          }
        } else {
          await sendOnProcessor(conversation, prompt.text, take);
        }
        if (told < count && config.synthetic) tell([{ id: -1, finite: false }]);
        const info = await conversation.getBenchmarkInfo();
        events.onPromptTokens(info.lastPrefillTokenCount);
      } finally {
        await conversation.delete();
      }
    },

    async dispose() {
      await engine?.delete();
      engine = null;
    },
  };
}
