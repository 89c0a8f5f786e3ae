// LiteRT-LM on the web: the file as a stream, a conversation a prompt; greedy.

import { idsOf } from "/adapters/words.js";

/** @param {any} config */
export async function prepare(config) {
  const { Backend, Engine, SamplerType } = await import(config.module);
  const { loadLiteRtLm } = await import(config.loader);
  await loadLiteRtLm(config.wasm);
  const gpu = config.backend === "webgpu";
  return async (/** @type {any[]} */ [{ url }]) => {
    const engine = await Engine.create({
      model: (await fetch(url)).body,
      backend: gpu ? Backend.GPU_ARTISAN : Backend.CPU,
      mainExecutorSettings: { maxNumTokens: config.contextTokens },
      benchmarkEnabled: true, // or it does not tell how long the prompt was
    });

    return async (
      /** @type {{text: string}} */ prompt,
      /** @type {number} */ count,
      /** @type {(ids: number[]) => void} */ onIds,
    ) => {
      const conversation = await engine.createConversation({
        sessionConfig: {
          samplerParams: {
            type: gpu ? SamplerType.TOP_K : SamplerType.TOP_P,
            ...{ k: 1, p: 1, temperature: 1, seed: 1 },
          },
          maxOutputTokens: count,
        },
      });
      let text = "";
      let told = 0;
      const take = (/** @type {any} */ { content }) => {
        text += (content ?? []).map((/** @type {any} */ part) => part.text ?? "").join("");
        const ids = idsOf(text).slice(told, count);
        told += ids.length;
        if (ids.length) onIds(ids);
      };
      if (gpu) {
        for await (const message of conversation.sendMessageStreaming(prompt.text)) {
          take(message);
          if (told >= count) break;
        }
      } else {
        // Below the stream, which gives everything at the end where nothing yields in between.
        const content = [{ type: "text", text: prompt.text }];
        await conversation.conversation.sendMessageAsync(
          JSON.stringify({ role: "user", content }),
          (/** @type {string} */ chunk) => chunk && take(JSON.parse(chunk)),
        );
        await conversation.engine.waitUntilDone();
      }
      const { lastPrefillTokenCount } = await conversation.getBenchmarkInfo();
      await conversation.delete();
      return lastPrefillTokenCount;
    };
  };
}
