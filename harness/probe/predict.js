// From a probe report to a prediction for one workload. Pure: no clock, no request, no device. The
// same sums as predict.py and terms.py make; tests hold both to the same figures.
import { findModel, findQuantisation, findRuntime } from "./catalogue.js";
import { correction } from "./history.js";
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

/** Names of the environment in words. */
const WORDS = { wasm_simd: "WebAssembly SIMD", wasm_memory64: "64-bit WebAssembly memory", webgpu: "WebGPU" };

/** Which of a model's tensors is too large for the adapter; null where none is. */
function aboveLimits({ limits }, bytes, names) {
  const name = names.find((limit) => limits[limit] !== undefined && bytes > limits[limit]);
  return name ? `its largest tensor has ${bytes} bytes, above the adapter's ${name} of ${limits[name]}` : null;
}

/** Why structure alone forbids it; null when it does not. */
function structure(report, engine, recipe, { model, id, quantisation, bits }) {
  const here = report.environment;
  const { backend } = recipe;
  const result = report.backends[backend];
  const adapter = adapterOf(report);
  for (const need of [...engine.needs, ...(engine.needs_of?.[quantisation] ?? [])]) {
    if (Object.hasOwn(here, need)) {
      if (!here[need]) return `the browser has no ${WORDS[need] ?? need}`;
    } else if (adapter && !adapter.features.includes(need)) return `the WebGPU adapter has no ${need}`;
  }
  // Not asked for is not the same as not there: the environment still knows. And a probe that failed
  // on a backend that is there says nothing about the device.
  const there = backend === "wasm" ? here.wasm_simd : result ? adapter !== null : here.webgpu;
  if (!result?.available && !there) return result ? `${backend}: ${result.reason}` : `the browser has no ${backend}`;
  const stored = engine.largest_tensors?.[id]?.[quantisation];
  if (adapter && stored) return aboveLimits(adapter, stored, ["maxBufferSize", "maxStorageBufferBindingSize"]);
  if (!adapter || !recipe.binds_whole_tensors) return null;
  // The payload is bound apart from its scales.
  const payload = Math.floor((model.largest_tensor_parameters * bits) / 8);
  return aboveLimits(adapter, payload, ["maxStorageBufferBindingSize"]);
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
 * factor for their matrices, but for others': the sum without them would promise far too much.
 */
function factorsOf(recipe, quantity, quantisation, fit) {
  const unseen = Object.entries(fit?.factors ?? {}).some(([term, factor]) =>
    factor > 0 && !isFor(term, quantisation) && !Object.hasOwn(fit.factors, `${term.split(".")[0]}.${quantisation}`));
  return fit && !unseen ? { known: fit, fitted: true } : { known: recipe.defaults[quantity], fitted: false };
}

const number = (bytes) => (bytes / 1e9).toFixed(2);
const gb = (bytes) => `${number(bytes)} GB`;

/**
 * Why memory does not suffice, or may not: a verdict and a reason; null without an objection. A fit
 * says itself from where on to refuse (`margin`); without one, the interval does.
 */
function tooMuch(recipe, heap, peak, margin, memory) {
  if (recipe.heap_bytes && heap > recipe.heap_bytes) {
    return ["oom", `needs ${gb(heap)} of ${recipe.name}'s address space of ${gb(recipe.heap_bytes)}`];
  }
  if (!memory || peak.unknown !== undefined) return null;
  const { low_bytes: low, source } = memory;
  const high = memory.high_bytes ?? Infinity;
  const wanted = margin ? peak.expected * margin : null;
  const need = `peaks at ${number(peak.low)} to ${gb(peak.high)}`;
  if ((wanted ?? peak.low) > high) {
    return ["oom", `${need}${wanted ? ` and wants ${gb(wanted)}` : ""}, above the limit of ${gb(high)} (${source})`];
  }
  if ((wanted ?? peak.high) > low) {
    const have = high === low ? gb(low) : high === Infinity ? `at least ${gb(low)}` : `${number(low)} to ${gb(high)}`;
    return ["unknown", `${need}, which the limit of ${have} (${source}) may or may not hold`];
  }
  return null;
}

/** How many threads an engine runs with here. */
function threadsOf(here, { max_threads: most, needs_isolation: isolation }) {
  if (isolation && !(here.cross_origin_isolated && here.wasm_threads)) return 1;
  return Math.max(1, Math.min(here.hardware_concurrency || 1, most));
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
    verdict: "unsupported", reason, tier: "unsupported", calibrated: false, terms: {}, corrections: {},
    load_seconds: unknown, first_token_seconds: unknown, prefill_tokens_per_s: unknown,
    decode_tokens_per_s: unknown, peak_memory_bytes: unknown,
  };
}

/** All quantities of one workload: intervals, and what they were made of. */
class Sums {
  /**
   * @param {Step} step what bases are computed from
   * @param {{key: string, fits: object | null, wider: number, history: object[]}} known key of the
   *   recipe, its fits, by what an unsteady probe widens intervals of time, earlier loads
   */
  constructor(step, { key, fits, wider, history }) {
    Object.assign(this, { step, key, fits, wider, history });
    this.terms = {};
    this.corrections = {};
    this.fitted = [];
  }

  factors(name) {
    return factorsOf(this.step.recipe, name, this.step.quantisation, this.fits?.[name]);
  }

  /** @param {number | null} [prefillSeconds] what first_token builds on */
  of(name, prefillSeconds = null) {
    const { step } = this;
    const { known, fitted } = this.factors(name);
    const timed = name !== "memory" && name !== "load";
    if (!known || (timed && !step.recipe.kernels[step.quantisation])) {
      return { unknown: `this is not predicted for ${step.recipe.name}` };
    }
    const terms = {};
    let sum = 0;
    for (const [term, factor] of Object.entries(known.factors)) {
      if (factor === 0 || !isFor(term, step.quantisation)) continue;
      const base = step.base(name, term, prefillSeconds);
      if (base === null) return { unknown: `a kernel that "${term}" needs was not measured` };
      terms[term] = { base, factor };
      sum += factor * base;
    }
    if (!(Number.isFinite(sum) && sum > 0)) return { unknown: "it comes to nothing" };
    this.terms[name] = terms;
    this.fitted.push(fitted);
    const corrected = correction(this.history, this.key, name);
    if (corrected !== null) this.corrections[name] = corrected;
    const wider = name === "memory" ? 1 : this.wider;
    const expected = sum * (corrected ?? 1);
    return { low: (expected * known.low) / wider, expected, high: expected * known.high * wider };
  }
}

/** The lower of the tiers of prefill and decode. */
function pairTier({ tiers }, prefill, decode) {
  const pair = [tierOf(tiers.prefill, prefill.expected), tierOf(tiers.decode, decode.expected)];
  return pair.sort((a, b) => tierRank(a) - tierRank(b))[0];
}

/** What the catalogue says of a workload on the adapter of a report. */
function found(report, { model: name, runtime: engineName, quant, quantisation: exact }, catalogue) {
  const id = findModel(catalogue, name);
  const runtime = findRuntime(catalogue, engineName);
  const asked = exact ?? quant;
  const quantisation = findQuantisation(catalogue, id, runtime, asked);
  const engine = catalogue.engines[runtime];
  const adapter = adapterOf(report);
  const half = adapter?.features.includes("shader-f16");
  const fileBytes = ((half && engine.files_shader_f16) || engine.files)[id]?.[quantisation];
  const onGpu = engine.backend === "webgpu" && adapter !== null && !adapter.software;
  const key = (onGpu && engine.gpu?.[quantisation]) || engine.quantisations[quantisation];
  return { id, runtime, quantisation: quantisation ?? asked, engine, fileBytes, key };
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
  const { id, runtime, quantisation, engine, fileBytes, key } = found(report, workload, catalogue);
  const told = { model: id, quantisation, runtime, promptTokens, outputTokens, fileBytes };
  if (fileBytes === undefined) return unpredicted(told, `${runtime} does not run ${id} in ${quantisation}`);
  const recipe = catalogue.recipes[key];
  const model = catalogue.models[id];
  const { bits } = catalogue.quantisations[quantisation];
  const missing = structure(report, engine, recipe, { model, id, quantisation, bits });
  if (missing) return unpredicted(told, missing);

  const threads = threadsOf(report.environment, engine);
  const speeds = new Speeds(report, recipe.backend, threads);
  const demand = { model, quantisation, bits, prompt: promptTokens, output: outputTokens, fileBytes };
  const step = new Step(speeds, recipe, demand);
  const fits = calibration?.engines[key] ?? null;
  const sums = new Sums(step, { key, fits, wider: unsteadiness(report, recipe, threads), history });
  const load = sums.of("load");
  const prefillSeconds = sums.of("prefill");
  const { prefill: corrected = 1 } = sums.corrections;
  const first = sums.of("first_token", prefillSeconds.unknown ? null : prefillSeconds.expected / corrected);
  const prefill = invert(promptTokens, prefillSeconds);
  const decode = invert(1, sums.of("decode"));
  const peak = sums.of("memory");

  const limits = memoryBytes
    ? { low_bytes: memoryBytes, high_bytes: memoryBytes, source: "the limit that was given" }
    : (memory ?? null);
  const unmeasured = decode.unknown ?? prefill.unknown;
  const [verdict, reason] =
    tooMuch(recipe, step.heapNeed(), peak, sums.factors("memory").known?.margin, limits) ??
    (unmeasured ? ["unknown", unmeasured] : null) ??
    ["ok", limits ? `expected to fit ${limits.source}` : "nothing speaks against it; the memory limit is not known"];
  const tiers = { ok: () => pairTier(catalogue, prefill, decode), oom: () => "unsupported", unknown: () => null };
  return {
    model: id, quantisation, runtime, prompt_tokens: promptTokens, output_tokens: outputTokens,
    recipe: key, file_bytes: fileBytes, threads: recipe.backend === "wasm" ? speeds.threads : null,
    verdict, reason, tier: tiers[verdict](),
    calibrated: sums.fitted.length > 0 && sums.fitted.every(Boolean),
    terms: sums.terms, corrections: sums.corrections,
    load_seconds: load, first_token_seconds: first, prefill_tokens_per_s: prefill,
    decode_tokens_per_s: decode, peak_memory_bytes: peak,
  };
}
