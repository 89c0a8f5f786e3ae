// From a probe report to a prediction for one workload. Pure: no clock, no request, no device. The
// same sums as predict.py and terms.py make; tests hold both to the same figures.
import { findModel, findQuantisation, findRuntime } from "./catalogue.js";
import { isFor, phaseOf, Speeds, Step } from "./terms.js";

const TIERS = ["unsupported", "low", "medium", "high"];

/** The place of a tier, lowest first. @param {string} tier */
export const tierRank = (tier) => TIERS.indexOf(tier);

/** The tier of a speed in one phase. */
function tierOf(steps, tokensPerSecond) {
  return steps.reduce((reached, step) => (tokensPerSecond >= step.tokens_per_s ? step.tier : reached), "unsupported");
}

/** The adapter of a report, also where its device could not be measured. */
const adapterOf = (report) => report.backends.webgpu?.adapter ?? null;

/** Why structure alone forbids it; null when it does not. */
function structure(report, engine, recipe, model, bits) {
  const here = report.environment;
  const { backend } = recipe;
  const result = report.backends[backend];
  const adapter = adapterOf(report);
  // Not asked for is not the same as not there: the environment still knows. And a probe that failed
  // on a backend that is there says nothing about the device.
  const there = backend === "wasm" ? here.wasm_simd : result ? adapter !== null : here.webgpu;
  if (!result?.available && !there) return result ? `${backend}: ${result.reason}` : `the browser has no ${backend}`;
  for (const need of engine.needs ?? []) {
    const known = Object.hasOwn(here, need);
    if (known ? here[need] : adapter === null || adapter.features.includes(need)) continue;
    return `the ${known ? "browser" : "adapter"} has no ${need}`;
  }
  if (recipe.binds_whole_tensors && report.backends.webgpu?.available) {
    // The payload is bound apart from its scales.
    const largest = Math.floor((model.largest_tensor_parameters * bits) / 8);
    const limit = adapter.limits.maxStorageBufferBindingSize;
    if (limit !== undefined && largest > limit) {
      return `its largest tensor has ${largest} bytes, the adapter binds at most ${limit}`;
    }
  }
  return null;
}

/** First and last third of a probe may differ by so much. */
const STEADY_DRIFT = 1.1;
/** Errors of a probe on a device that had not come to rest were as much larger (90th percentile). */
const UNSETTLED = 1.5;
const MOST_UNSTEADY = 3;

/** By what the intervals of times are widened for a probe that was not steady; 1 is not at all. */
function unsteadiness(report, { backend }, threads) {
  const result = report.backends[backend];
  if (!result?.available) return 1;
  const drift = (backend === "wasm" ? phaseOf(result, threads) : result).drift || 1;
  const wider = Math.max(1, Math.max(drift, 1 / drift) / STEADY_DRIFT);
  return Math.min(MOST_UNSTEADY, (result.settle?.steady ?? true) ? wider : wider * UNSETTLED);
}

/**
 * The factors of a fit, or the recipe's own. A fit that saw no weights stored in this way has no
 * factor for their matrices: the sum without them would promise far too much.
 */
function factorsOf(recipe, quantity, quantisation, fit) {
  const own = recipe.defaults[quantity] ?? null;
  const choices = recipe.terms?.[quantity] ?? Object.keys(own?.factors ?? {});
  const named = (term) => term.includes(".");
  const blind = fit && choices.some(named) &&
    !Object.keys(fit.factors).some((term) => named(term) && isFor(term, quantisation));
  return fit && !blind ? { known: fit, fitted: true } : { known: own, fitted: false };
}

const number = (bytes) => (bytes / 1e9).toFixed(2);
const gb = (bytes) => `${number(bytes)} GB`;

/** Why memory does not suffice, or may not: a verdict and a reason; null without an objection. */
function tooMuch(recipe, runtime, heap, peak, memory) {
  if (recipe.heap_bytes && heap > recipe.heap_bytes) {
    return ["oom", `needs ${gb(heap)} of ${runtime}'s address space of ${gb(recipe.heap_bytes)}`];
  }
  if (!memory || peak.unknown) return null;
  const { low_bytes: low, high_bytes: high, source } = memory;
  const need = `peaks at ${number(peak.low)} to ${gb(peak.high)}`;
  if (high !== null && peak.low > high) return ["oom", `${need}, above the limit of ${gb(high)} (${source})`];
  if (peak.high > low) {
    const have = high === low ? gb(low) : high === null ? `at least ${gb(low)}` : `${number(low)} to ${gb(high)}`;
    return ["unknown", `${need}, which the limit of ${have} (${source}) may or may not hold`];
  }
  return null;
}

const invert = (tokens, seconds) =>
  (seconds.unknown
    ? seconds
    : { low: tokens / seconds.high, expected: tokens / seconds.expected, high: tokens / seconds.low });

/** The prediction for what cannot run at all, whatever the device's speed. */
export function unpredicted(workload, reason) {
  const { model, quantisation, runtime, promptTokens, outputTokens, fileBytes = null } = workload;
  const unknown = { unknown: reason };
  return {
    model, quantisation, runtime, prompt_tokens: promptTokens, output_tokens: outputTokens,
    recipe: null, file_bytes: fileBytes, threads: null,
    verdict: "unsupported", reason, tier: "unsupported", calibrated: false, terms: {},
    load_seconds: unknown, first_token_seconds: unknown, prefill_tokens_per_s: unknown,
    decode_tokens_per_s: unknown, peak_memory_bytes: unknown,
  };
}

/**
 * What a workload will do on the device of a report.
 * @param {import("./index.d.ts").ProbeReport} report
 * @param {import("./index.d.ts").PredictWorkload} workload
 * @param {import("./index.d.ts").PredictOptions} options
 * @returns {import("./index.d.ts").Prediction}
 */
export function predict(report, workload, { catalogue, calibration = null, memoryBytes, memory, history = [] }) {
  const { promptTokens = 128, outputTokens = 64 } = workload;
  const modelId = findModel(catalogue, workload.model);
  const runtime = findRuntime(catalogue, workload.runtime);
  const asked = workload.quantisation ?? workload.quant;
  const quantisation = findQuantisation(catalogue, modelId, runtime, asked);
  const told = {
    model: modelId, quantisation: quantisation ?? asked, runtime,
    prompt_tokens: promptTokens, output_tokens: outputTokens,
  };
  const engine = catalogue.engines[runtime];
  const fileBytes = engine.files[modelId]?.[quantisation];
  const refused = (reason) => unpredicted({ ...told, promptTokens, outputTokens, fileBytes }, reason);
  if (fileBytes === undefined) return refused(`${runtime} does not run ${modelId} in ${asked}`);
  const adapter = adapterOf(report);
  const onGpu = engine.backend === "webgpu" && adapter !== null && !adapter.software;
  const key = (onGpu && engine.gpu?.[quantisation]) || engine.quantisations[quantisation];
  const recipe = catalogue.recipes[key];
  const model = catalogue.models[modelId];
  const { bits } = catalogue.quantisations[quantisation];
  const missing = structure(report, engine, recipe, model, bits);
  if (missing) return refused(missing);

  const isolated = Boolean(report.environment.cross_origin_isolated);
  const threads = engine.needs_isolation && !isolated ? 1 : engine.max_threads;
  const speeds = new Speeds(report, recipe.backend, threads);
  const step = new Step(speeds, recipe, {
    model, quantisation, bits, prompt: promptTokens, output: outputTokens, fileBytes,
  });
  const terms = {};
  const fitted = [];
  const wider = unsteadiness(report, recipe, threads);
  const quantity = (name, prefillSeconds = null) => {
    const chosen = factorsOf(recipe, name, quantisation, calibration?.engines[key]?.[name]);
    const speedless = name !== "memory" && name !== "load" && !recipe.kernels[quantisation];
    if (!chosen.known || speedless) return { unknown: `this is not predicted for ${runtime}` };
    const { factors, low, high } = chosen.known;
    const used = {};
    let expected = 0;
    for (const [term, factor] of Object.entries(factors)) {
      if (factor === 0 || !isFor(term, quantisation)) continue;
      const base = step.base(name, term, prefillSeconds);
      if (base === null) return { unknown: `a kernel that "${term}" needs was not measured` };
      used[term] = { base, factor };
      expected += factor * base;
    }
    if (!(Number.isFinite(expected) && expected > 0)) return { unknown: "it comes to nothing" };
    terms[name] = used;
    fitted.push(chosen.fitted);
    const widened = name === "memory" ? 1 : wider;
    return { low: (expected * low) / widened, expected, high: expected * high * widened };
  };
  const peak = quantity("memory");
  const load = quantity("load");
  const decodeSeconds = quantity("decode");
  const prefillSeconds = quantity("prefill");
  const first = quantity("first_token", prefillSeconds.unknown ? null : prefillSeconds.expected);
  const prefill = invert(promptTokens, prefillSeconds);
  const decode = invert(1, decodeSeconds);

  const limits = memoryBytes === undefined || memoryBytes === null
    ? (memory ?? null)
    : { low_bytes: memoryBytes, high_bytes: memoryBytes, source: "the limit that was given" };
  const objection = tooMuch(recipe, runtime, step.heapNeed(), peak, limits);
  const measured = !prefill.unknown && !decode.unknown;
  let [verdict, reason] = objection ?? ["ok", limits
    ? `expected to fit ${limits.source}` : "nothing speaks against it; the memory limit is not known"];
  if (!objection && !measured) [verdict, reason] = ["unknown", decode.unknown ?? prefill.unknown];
  let tier = null;
  if (verdict === "oom") tier = "unsupported";
  if (verdict === "ok") {
    const pair = [tierOf(catalogue.tiers.prefill, prefill.expected), tierOf(catalogue.tiers.decode, decode.expected)];
    tier = pair.sort((a, b) => tierRank(a) - tierRank(b))[0];
  }
  return {
    ...told, recipe: key, file_bytes: fileBytes, threads: recipe.backend === "wasm" ? speeds.threads : null,
    verdict, reason, tier, calibrated: fitted.length > 0 && fitted.every(Boolean), terms,
    load_seconds: load, first_token_seconds: first, prefill_tokens_per_s: prefill,
    decode_tokens_per_s: decode, peak_memory_bytes: peak,
  };
}
