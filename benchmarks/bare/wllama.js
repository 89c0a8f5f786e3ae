// wllama: files fetched as blobs, a completion that streams text; greedy.

import { idsOf } from "/adapters/words.js";

/** @param {any} config */
export async function prepare(config) {
  const { Wllama } = await import(config.module);
  return async (/** @type {any[]} */ files) => {
    const wllama = new Wllama({ default: config.wasm }, { suppressNativeLog: true });
    wllama.setCompat(null); // or it fetches another build from a CDN where a feature is missing
    const blobs = [];
    for (const { url } of files) blobs.push(await (await fetch(url)).blob());
    await wllama.loadModel(blobs, {
      n_ctx: config.contextTokens,
      n_threads: config.threads,
      n_gpu_layers: config.backend === "webgpu" ? 99999 : 0,
      n_parallel: 1,
      warmup: false,
    });
    if (!wllama.getLoadedContextInfo().success) throw new Error("the model was not loaded");

    return async (
      /** @type {{text: string}} */ prompt,
      /** @type {number} */ count,
      /** @type {(ids: number[]) => void} */ onIds,
    ) => {
      let usage = null;
      await wllama.createCompletion({
        prompt: prompt.text,
        max_tokens: count,
        temperature: 0,
        ignore_eos: true,
        cache_prompt: false,
        stream: true,
        onData(/** @type {any} */ chunk) {
          usage = chunk.usage ?? usage;
          const text = chunk.choices?.[0]?.text;
          if (text) onIds(idsOf(text));
        },
      });
      return usage?.prompt_tokens;
    };
  };
}
