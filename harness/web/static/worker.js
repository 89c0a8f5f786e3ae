// Runs one engine: load, generate, dispose, each step announced before it begins. The timings are
// taken here, on the worker's own clock, so that no message queue is part of them.

/** @param {Record<string, unknown>} event */
const post = (event) => self.postMessage({ ...event, at_ms: performance.now() });

/** Errors of engines are often not Error objects (a number, a string). @param {any} error */
function describe(error) {
  return {
    name: String(error?.name ?? typeof error),
    message: String(error?.message ?? error).slice(0, 4000),
    stack: String(error?.stack ?? "").slice(0, 4000),
  };
}

const PROGRESS_INTERVAL_MS = 250;

/** Report byte counts often enough to be seen and rarely enough to cost nothing. */
function throttledProgress() {
  let last = -Infinity;
  return (/** @type {number} */ done, /** @type {number} */ total) => {
    const now = performance.now();
    if (now - last < PROGRESS_INTERVAL_MS && done < total) return;
    last = now;
    post({ type: "progress", done, total });
  };
}

self.onmessage = async ({ data: job }) => {
  try {
    post({ type: "phase", name: "start" });
    const { createEngine } = await import(job.adapter);
    const engine = await createEngine(job.config, {
      onDeviceLost: (/** @type {any} */ info) =>
        post({ type: "device-lost", reason: String(info.reason), message: String(info.message) }),
      onValidation: (/** @type {string} */ message) =>
        post({ type: "validation", message: String(message).slice(0, 2000) }),
      onUnsupported: (/** @type {string} */ reason) => post({ type: "unsupported", reason }),
    });
    if (!engine) return; // the adapter said why

    post({ type: "phase", name: "download" });
    const source = await engine.download(throttledProgress());
    post({ type: "phase", name: "create" });
    await engine.create(source);

    post({ type: "phase", name: "first-token" });
    let count = 0;
    let finite = true;
    let last = performance.now();
    await engine.generate(job.prompt, job.outputTokens, (/** @type {any} */ token) => {
      const now = performance.now();
      finite &&= token.finite;
      post({ type: "token", index: count, id: token.id, ms: now - last, finite: token.finite });
      if (count === 0) post({ type: "phase", name: "decode" });
      count += 1;
      last = now;
    });
    post({ type: "done", tokens: count, finite });
    await engine.dispose();
    post({ type: "disposed" });
  } catch (error) {
    post({ type: "error", ...describe(error) });
  }
};
