// onnxruntime-web with a decoder as onnxruntime-genai exports it; greedy.

/** @param {any} config */
export async function prepare(config) {
  const ort = await import(config.bundle);
  ort.env.wasm.wasmPaths = config.wasmPaths;
  ort.env.wasm.numThreads = config.threads;
  const { layers, kv_heads, head_dim, vocabulary } = config.shape;
  const kinds = ["key", "value"];
  const names = [...Array(layers).keys()].flatMap((n) => kinds.map((kind) => `${n}.${kind}`));
  const gpu = config.backend === "webgpu";

  return async (/** @type {any[]} */ files) => {
    const bytes = [];
    for (const { url } of files) {
      bytes.push(new Uint8Array(await (await fetch(url)).arrayBuffer()));
    }
    const session = await ort.InferenceSession.create(bytes[0], {
      executionProviders: [config.backend],
      externalData: files.slice(1).map(({ name }, n) => ({ path: name, data: bytes[n + 1] })),
      ...(gpu && {
        preferredOutputLocation: Object.fromEntries(
          names.map((name) => [`present.${name}`, "gpu-buffer"]),
        ),
      }),
    });
    bytes.length = 0;

    return async (
      /** @type {{ids: number[]}} */ prompt,
      /** @type {number} */ count,
      /** @type {(ids: number[]) => void} */ onIds,
    ) => {
      const half = config.floatType === "fp16";
      const empty = () =>
        half
          ? new ort.Tensor("float16", new Float16Array(0), [1, kv_heads, 0, head_dim])
          : new ort.Tensor("float32", new Float32Array(0), [1, kv_heads, 0, head_dim]);
      let cache = Object.fromEntries(names.map((name) => [`past_key_values.${name}`, empty()]));
      let ids = prompt.ids;
      for (let length = ids.length; count > 0; count--, length++) {
        const outputs = await session.run({
          ...cache,
          input_ids: new ort.Tensor("int64", BigInt64Array.from(ids, BigInt), [1, ids.length]),
          attention_mask: new ort.Tensor("int64", new BigInt64Array(length).fill(1n), [1, length]),
        });
        for (const tensor of Object.values(cache)) tensor.dispose();
        cache = Object.fromEntries(
          names.map((name) => [`past_key_values.${name}`, outputs[`present.${name}`]]),
        );
        const logits = (await outputs.logits.getData(true)).subarray(-vocabulary);
        let best = 0;
        for (let id = 1; id < vocabulary; id++) if (logits[id] > logits[best]) best = id;
        ids = [best];
        onIds(ids);
      }
      for (const tensor of Object.values(cache)) tensor.dispose();
    };
  };
}
