// MediaPipe's LLM inference (tasks-genai) on WebGPU: streams the container, greedy decoding.
//
// It takes and gives text, and a callback carries three tokens. In a synthetic text they are counted
// by its words. Any other text the engine can count only when it has finished: until then three are
// assumed, which may be one or two too many where the model ends by itself.

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
const TOKENS_A_CALLBACK = 3;

/** Rejects with the next error that nothing has caught. @returns {Promise<never>} */
function nextRejection() {
  return new Promise((_, reject) => {
    const take = (/** @type {PromiseRejectionEvent} */ event) => {
      event.preventDefault(); // it is caught now
      reject(event.reason);
    };
    globalThis.addEventListener("unhandledrejection", take, { once: true });
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
        // Otherwise it keeps what it knows of the last prompt, and the same prompt again takes a
        // twentieth of the time (600 words: 0.4 s instead of 8 s, which is what others took).
        disableRewinding: true,
      });
      // What it throws while it reads the file is nobody's: the promise stays as it is, for ever.
      llm = await Promise.race([made, nextRejection()]).catch(refused);
    },

    /**
     * @param {{ids: number[], text: string}} prompt @param {number} count
     * @param {(batch: {id: number, finite: boolean | null}[], made?: number) => void} onTokens
     */
    async generate(prompt, count, onTokens) {
      // Its count leaves out the start token that it puts before every prompt.
      events.onPromptTokens(llm.sizeInTokens(prompt.text) + 1);
      let text = "";
      let told = 0;
      /** @param {{id: number, finite: boolean | null}[]} batch @param {number} [made] */
      const tell = (batch, made) => {
        if (!batch.length) return;
        told += batch.length;
        onTokens(batch, made);
      };
      const unknown = (/** @type {number} */ many) =>
        Array.from({ length: Math.max(0, many) }, () => ({ id: -1, finite: null }));
      let broken = false;
      const onPart = (/** @type {string} */ part, /** @type {boolean} */ done) => {
        text += part;
        if (config.synthetic) {
          if (broken) return;
          const all = idsOf(text);
          const ids = all.slice(told, count);
          // Anything but a word has a logit of zero: it is chosen only when others are no numbers,
          // and nothing better follows.
          broken = ids.includes(-1);
          tell(
            ids.map((id) => ({ id, finite: id >= 0 })),
            all.length - told,
          );
        } else if (!done) {
          tell(unknown(Math.min(TOKENS_A_CALLBACK, count - told)));
        }
        if (told >= count || broken) llm.cancelProcessing();
      };
      await llm.generateResponse(prompt.text, onPart);
      if (!config.synthetic) tell(unknown(Math.min(count, llm.sizeInTokens(text)) - told));
      else if (told < count && !broken) tell([{ id: -1, finite: false }]);
    },

    async dispose() {
      llm?.close();
      llm = null;
    },
  };
}
