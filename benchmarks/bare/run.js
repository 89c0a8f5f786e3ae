// Times one engine that is driven by its own interface, as its documentation does it. Nothing of
// the harness is used, but for reading the ids off a text, so that both can be compared.
//
// A module here exports `prepare(config)`, which brings in the engine's code, and gives back
// `load(files)`, which fetches and creates; that gives back `generate(prompt, count, onIds)`, which
// calls `onIds` with the ids that came together, and returns how many tokens the engine made of the
// prompt where it says so.

/** @param {Function} generate @param {any} prompt @param {number} count */
async function timed(generate, prompt, count) {
  /** @type {number[]} */ const tokens = [];
  /** @type {number[]} */ const tokenMs = [];
  /** @type {number | null} */ let firstMs = null;
  let since = performance.now();
  const promptTokens = await generate(prompt, count, (/** @type {number[]} */ ids) => {
    const now = performance.now();
    tokens.push(...ids);
    // What came together shares the time since the last batch.
    for (const _ of ids) tokenMs.push((now - since) / ids.length);
    firstMs ??= now - since;
    since = performance.now();
  });
  return { tokens, tokenMs, firstMs, promptTokens: promptTokens ?? null };
}

/** @param {any} job  module, config, files, prompt, outputTokens, warmLimitMs */
export async function run(job) {
  const { prepare } = await import(job.module);
  const load = await prepare(job.config);
  const began = performance.now();
  const generate = await load(job.files);
  const loadMs = performance.now() - began;
  const cold = await timed(generate, job.prompt, job.outputTokens);
  // As in the harness: where the first token took very long, the second time would as well.
  const warm = cold.firstMs <= job.warmLimitMs ? await timed(generate, job.prompt, 1) : null;
  return { loadMs, ...cold, warmMs: warm?.firstMs ?? null };
}

if (typeof WorkerGlobalScope !== "undefined") {
  self.onmessage = ({ data }) =>
    run(data).then(
      (result) => self.postMessage({ result }),
      (error) => self.postMessage({ error: String(error?.message ?? error) || "failed" }),
    );
}
