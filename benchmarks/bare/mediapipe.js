// MediaPipe's LLM inference: the file as a stream, an answer in parts of about three tokens; greedy.

import { idsOf } from "/adapters/words.js";

/** @param {any} config */
export async function prepare(config) {
  const { FilesetResolver, LlmInference } = await import(config.module);
  const files = await FilesetResolver.forGenAiTasks(config.wasm, true);
  return async (/** @type {any[]} */ [{ url }]) => {
    const response = await fetch(url);
    const llm = await LlmInference.createFromOptions(files, {
      baseOptions: { modelAssetBuffer: response.body.getReader() },
      maxTokens: config.contextTokens,
      topK: 1,
      temperature: 0,
      randomSeed: 1,
      disableRewinding: true, // or the same prompt again is answered from memory
    });

    return async (
      /** @type {{text: string}} */ prompt,
      /** @type {number} */ count,
      /** @type {(ids: number[]) => void} */ onIds,
    ) => {
      let text = "";
      let told = 0;
      await llm.generateResponse(prompt.text, (/** @type {string} */ part) => {
        text += part;
        const ids = idsOf(text).slice(told, count);
        told += ids.length;
        if (ids.length) onIds(ids);
        if (told >= count) llm.cancelProcessing();
      });
      return llm.sizeInTokens(prompt.text) + 1; // it puts a token before every prompt
    };
  };
}
