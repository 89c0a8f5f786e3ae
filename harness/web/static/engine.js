// Runs one engine: source, engine, generation, each step announced before it begins. The same loop
// serves the worker and the page. Timings are taken here, on this realm's own clock, so that no
// message queue is part of them.

import { openSource } from "/page/source.js";
import { watchWebGpu } from "/page/webgpu_watch.js";

/** Errors of engines are often not Error objects (a number, a string). @param {any} error */
export function describe(error) {
  return {
    name: String(error?.name ?? typeof error),
    message: String(error?.message ?? error).slice(0, 4000),
    stack: String(error?.stack ?? "").slice(0, 4000),
  };
}

const PROGRESS_INTERVAL_MS = 250;
const TEXT_CHARACTERS = 2000;

/** What is known of all tokens: false beats unknown, unknown beats true. @param {any[]} values */
function all(values) {
  return values.includes(false) ? false : values.every(Boolean) ? true : null;
}

/**
 * @param {object} job  from the harness: adapter, config, prompt, outputTokens, source, gpuBytes,
 *   warmLimitMs
 * @param {(event: Record<string, unknown>) => void} emit
 */
export async function runEngine(job, emit) {
  const post = (/** @type {Record<string, unknown>} */ event) =>
    emit({ ...event, at_ms: performance.now() });
  const phase = (/** @type {string} */ name) => post({ type: "phase", name });
  let last = -Infinity;
  /** Byte counts often enough to be seen and rarely enough to cost nothing. */
  const progress = (/** @type {number} */ done, /** @type {number} */ total) => {
    const now = performance.now();
    if (now - last < PROGRESS_INTERVAL_MS && done < total) return;
    last = now;
    post({ type: "progress", done, total });
  };
  const text = (/** @type {any} */ value) => String(value).slice(0, TEXT_CHARACTERS);
  const events = {
    onDeviceLost: (/** @type {any} */ info) =>
      post({ type: "device-lost", reason: String(info.reason), message: String(info.message) }),
    onValidation: (/** @type {string} */ message) =>
      post({ type: "validation", message: text(message) }),
    onUnsupported: (/** @type {string} */ reason) => post({ type: "unsupported", reason }),
    onCpuFallback: (/** @type {string} */ message) =>
      post({ type: "cpu-fallback", message: text(message) }),
    onArtifactRefused: (/** @type {string} */ message) =>
      post({ type: "artifact-refused", message: text(message) }),
    onPromptTokens: (/** @type {number} */ tokens) => post({ type: "prompt", tokens }),
  };
  try {
    phase("start");
    const gpu = watchWebGpu(events);
    const { createEngine } = await import(job.adapter);
    const engine = await createEngine(job.config, events);
    if (!engine) return; // the adapter said why

    const source = await openSource(job.source.kind, job.source.files, {
      picked: job.source.picked,
      onPhase: phase,
      onProgress: progress,
      onStorage: (/** @type {object} */ figures) => post({ type: "storage", ...figures }),
    });
    phase("download");
    const handle = await engine.download(source, progress);
    phase("create");
    await engine.create(handle, progress);

    phase("first-token");
    let count = 0;
    /** @type {(boolean | null)[]} */
    const finite = [];
    let since = performance.now();
    let firstMs = 0;
    /** @param {any[]} batch @param {number} made  more where the last of them were not asked for */
    const onTokens = (batch, made = batch.length) => {
      const ms = ((performance.now() - since) * batch.length) / made;
      const known = all(batch.map((token) => token.finite));
      finite.push(known);
      post({ type: "tokens", ids: batch.map((token) => token.id), ms, finite: known });
      if (count === 0) {
        firstMs = ms;
        phase("decode");
      }
      count += batch.length;
      since = performance.now();
    };
    await engine.generate(job.prompt, job.outputTokens, onTokens);
    // The same prompt again: what it takes less is compilation and first use. Where it took very
    // long, the second time would as well.
    if (count > 0 && firstMs <= job.warmLimitMs) {
      phase("warm");
      since = performance.now();
      let ms = 0;
      await engine.generate(job.prompt, 1, () => (ms ||= performance.now() - since));
      post({ type: "warm", ms });
    }
    post({ type: "gpu", ...gpu.figures() });
    if (job.gpuBytes && !engine.gpuElsewhere && gpu.figures().peak_bytes < job.gpuBytes / 2) {
      events.onCpuFallback(
        `${gpu.figures().peak_bytes} bytes in GPU buffers and textures for weights of ${job.gpuBytes} bytes`,
      );
    }
    post({ type: "done", tokens: count, finite: all(finite) });
    await engine.dispose();
    post({ type: "disposed" });
  } catch (error) {
    post({ type: "error", ...describe(error) });
  }
}
