// Transformers.js: loads a model's directory from this server and generates tokens greedily.

import { webgpuAdapter } from "./gpu.js";
import { UnsupportedError, WrongResultError } from "./page.js";

const LIBRARY = "/npm/@huggingface/transformers/dist/transformers.web.min.js";
const ENGINE = "/npm/@huggingface/transformers/node_modules/onnxruntime-web/dist/";

/**
 * @param {string} backend  `wasm` or `webgpu`
 * @param {{models: string, model: string, text: string, ids: number[], count: number}} argument
 *   `models`: path of the folder that holds the directory `model`; `text`: the prompt, of which the
 *   tokenizer must make `ids`; `count`: how many tokens to generate
 * @returns {Promise<import("./page.js").Found>}
 */
export async function ask(backend, { models, model, text, ids, count }) {
  const gpu = backend === "webgpu" ? await webgpuAdapter() : {};
  if (typeof WebAssembly !== "object") throw new UnsupportedError("the browser has no WebAssembly");
  const { AutoModelForCausalLM, AutoTokenizer, env } = await import(LIBRARY);
  env.allowRemoteModels = false;
  env.allowLocalModels = true;
  env.localModelPath = models;
  env.useBrowserCache = false;
  env.useWasmCache = false;
  env.backends.onnx.wasm.wasmPaths = new URL(ENGINE, location.href).href;
  const threads = globalThis.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency, 4) : 1;
  env.backends.onnx.wasm.numThreads = threads;

  const start = performance.now();
  const tokenizer = await AutoTokenizer.from_pretrained(model);
  const causal = await AutoModelForCausalLM.from_pretrained(model, {
    dtype: "q4",
    device: backend,
  });
  const loadSeconds = (performance.now() - start) / 1e3;

  const prompt = tokenizer(text);
  const made = Array.from(prompt.input_ids.data, Number);
  if (String(made) !== String(ids)) {
    throw new WrongResultError(`the tokenizer makes ${made} of the prompt, and must make ${ids}`);
  }
  /** @type {number[]} */ const times = [];
  const from = performance.now();
  const streamer = {
    // The first call brings the prompt, the others one token each.
    put: () => times.push((performance.now() - from) / 1e3),
    end() {},
  };
  const output = await causal.generate({
    ...prompt,
    max_new_tokens: count,
    do_sample: false,
    streamer,
  });
  const tokens = Array.from(output.data, Number).slice(ids.length);
  if (tokens.length !== count) {
    throw new WrongResultError(`${tokens.length} tokens came out instead of ${count}`);
  }
  await causal.dispose();
  // The first token is the prompt's; decoding is the rest.
  const decode = times.slice(2).map((time, i) => 1 / (time - times[i + 1]));
  return {
    ...gpu,
    threads: backend === "wasm" ? threads : undefined,
    variant: `onnxruntime-web ${env.backends.onnx.versions?.web ?? "of unknown version"}`,
    figures: [
      { name: "load", unit: "s", values: [loadSeconds] },
      { name: "first token", unit: "s", values: [times[1]] },
      { name: "decode", unit: "tokens/s", values: decode },
    ],
    result: { tokens, text: tokenizer.decode(tokens) },
  };
}
