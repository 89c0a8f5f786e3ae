// MediaPipe's LLM inference (tasks-genai) on WebGPU: streams the container, greedy decoding.
//
// It takes and gives text. A callback carries about three tokens, which are counted: in a synthetic
// text by its words, in any other by the engine itself when it has finished.

import { countedStream, watchConsole } from "./streams.js";
import { idsOf } from "./words.js";

/**
 * @typedef {object} Config
 * @property {string} module  URL of the engine's module
 * @property {string} wasm  URL of the folder with its WebAssembly
 * @property {number} contextTokens  prompt and output together
 * @property {boolean} synthetic  whether text consists of the words of the synthetic vocabulary
 */

// The file is not what the engine takes. Of its tensors it says so with the first prompt, not before.
const REFUSED =
  /Tensor size does not match|Unknown model type|No model format matched|Data size is too small/;
// Callbacks of a text whose tokens cannot be counted before its end.
const LEAST_TOKENS_A_CALLBACK = 1;

/** Rejects with the next error that nothing has caught. @returns {Promise<never>} */
function nextRejection() {
  return new Promise((_, reject) => {
    globalThis.addEventListener("unhandledrejection", ({ reason }) => reject(reason), {
      once: true,
    });
  });
}

/**
 * @param {Config} config
 * @param {{onDeviceLost: Function, onValidation: Function, onUnsupported: Function,
 *   onCpuFallback: Function, onArtifactRefused: Function, onPromptTokens: Function}} events
 */
export async function createEngine(config, events) {
  if (!(await navigator.gpu?.requestAdapter())) {
    events.onUnsupported(navigator.gpu ? "no WebGPU adapter" : "the browser has no WebGPU");
    return null;
  }
  watchConsole((line) => {
    if (REFUSED.test(line)) events.onArtifactRefused(line);
  });
  const { FilesetResolver, LlmInference } = await import(config.module);
  // The module build: a module worker cannot import scripts.
  const files = await FilesetResolver.forGenAiTasks(config.wasm, true);
  /** @type {any} */ let llm = null;

  /** @param {any} error @returns {never} */
  function refused(error) {
    const text = String(error?.message ?? error);
    if (REFUSED.test(text)) events.onArtifactRefused(text);
    throw error;
  }

  return {
    download: countedStream,

    /** @param {ReadableStream<Uint8Array>} stream */
    async create(stream) {
      const made = LlmInference.createFromOptions(files, {
        baseOptions: { modelAssetBuffer: stream.getReader() },
        maxTokens: config.contextTokens,
        topK: 1,
        temperature: 0,
        randomSeed: 1,
      });
      // What it throws while it reads the file is nobody's: the promise stays as it is, for ever.
      llm = await Promise.race([made, nextRejection()]).catch(refused);
    },

    /**
     * @param {{ids: number[], text: string}} prompt @param {number} count
     * @param {(batch: {id: number, finite: boolean | null}[]) => void} onTokens
     */
    async generate(prompt, count, onTokens) {
      // Its count leaves out the start token that it puts before every prompt.
      events.onPromptTokens(llm.sizeInTokens(prompt.text) + 1);
      let text = "";
      let told = 0;
      const tell = (/** @type {{id: number, finite: boolean | null}[]} */ batch) => {
        if (!batch.length) return;
        told += batch.length;
        onTokens(batch);
      };
      const unknown = (/** @type {number} */ many) =>
        Array.from({ length: Math.max(0, many) }, () => ({ id: -1, finite: null }));
      let callbacks = 0;
      let broken = false;
      await llm.generateResponse(prompt.text, (/** @type {string} */ part) => {
        text += part;
        callbacks += 1;
        if (config.synthetic) {
          if (broken) return;
          const ids = idsOf(text).slice(told, count);
          broken = ids.includes(-1);
          // Anything but a word has a logit of zero: it is chosen only when others are no numbers.
          tell(ids.map((id) => ({ id, finite: id >= 0 })));
          // After a token without a finite logit nothing better follows.
          if (told >= count || broken) llm.cancelProcessing();
        } else {
          if (callbacks === 1) tell(unknown(LEAST_TOKENS_A_CALLBACK));
          if (callbacks >= count) llm.cancelProcessing();
        }
      });
      if (!config.synthetic) tell(unknown(Math.min(count, llm.sizeInTokens(text)) - told));
      else if (told < count && !broken) tell([{ id: -1, finite: false }]);
    },

    async dispose() {
      llm?.close();
      llm = null;
    },
  };
}
