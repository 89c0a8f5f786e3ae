// One probe, and what follows from it for any number of candidates. `preflight` and `recommend` are
// two ways to ask for it.
import { expand, load, needed } from "./catalogue.js";
import { conditions, hints, warnings, watchVisibility } from "./conditions.js";
import { probe } from "./index.js";
import { estimateMemory, probeMemory } from "./memory.js";
import { predict, tierRank, unpredicted } from "./predict.js";

/** Of the report that `preflight` gives; the probe's own, inside, has a version of its own. */
export const PREFLIGHT_VERSION = 1;

const DEFAULT_BUDGET_MS = 1200;
const VERDICTS = ["ok", "unknown", "oom", "unsupported"];

function atLeast(least, options, name, otherwise) {
  const value = options[name] ?? otherwise;
  if (value === undefined || (Number.isFinite(value) && value >= least)) return value;
  throw new TypeError(`${name} must be a number of at least ${least}, not ${String(value)}`);
}

/** The options with their defaults. Throws a TypeError for what is a slip of the caller's. */
function checked(options) {
  if (options === null || typeof options !== "object") throw new TypeError("options must be an object");
  if (options.onProgress !== undefined && typeof options.onProgress !== "function") {
    throw new TypeError("onProgress must be a function");
  }
  if (options.history !== undefined && !Array.isArray(options.history)) {
    throw new TypeError("history must be an array of {prediction, measured}");
  }
  return {
    ...options,
    promptTokens: atLeast(1, options, "promptTokens", 128),
    outputTokens: atLeast(1, options, "outputTokens", 64),
    budgetMs: atLeast(1, options, "budgetMs", DEFAULT_BUDGET_MS),
    memoryBytes: atLeast(1, options, "memoryBytes", undefined),
  };
}

/** Better first: what runs, then the higher tier, then the faster answer. */
export function byMerit(a, b) {
  const speed = ({ decode_tokens_per_s: decode }) => decode.expected ?? 0;
  return (
    VERDICTS.indexOf(a.verdict) - VERDICTS.indexOf(b.verdict) ||
    tierRank(b.tier ?? "unsupported") - tierRank(a.tier ?? "unsupported") ||
    speed(b) - speed(a)
  );
}

/** One probe and, where it was asked for, one memory probe, with what was noticed around them. */
async function observe({ signal, onProgress, budgetMs, threads, seed, memory, report }, wanted) {
  const around = hints();
  const visibility = watchVisibility();
  let raw = report;
  let wasHidden;
  try {
    raw ??= await probe({ signal, onProgress, budgetMs, threads, seed, ...wanted });
  } finally {
    wasHidden = visibility.stop();
  }
  const asked = memory === true ? {} : memory;
  if (asked) raw = { ...raw, memory: await probeMemory({ ...asked, signal, onProgress }) };
  return { raw, at: conditions(raw, await around, wasHidden) };
}

/**
 * A report over all workloads that the candidates stand for, and the predictions of each candidate
 * apart. Rejects when `signal` aborts, and with a TypeError for wrong names and options.
 * @param {{model?: string, quant?: string, runtime?: string}[]} candidates
 */
export async function survey(given, candidates) {
  const options = checked(given);
  const { signal, promptTokens, outputTokens, memoryBytes, history = [] } = options;
  signal?.throwIfAborted();
  const problems = [];
  let known = null;
  try {
    known = await load({ ...options, problems });
  } catch (error) {
    signal?.throwIfAborted();
    problems.push(`nothing is predicted: ${error.message}`);
  }
  const groups = known ? candidates.map((candidate) => expand(known.catalogue, candidate)) : [];
  const wanted = known ? needed(known, groups.flat()) : {};
  const { raw, at } = await observe(options, wanted);
  signal?.throwIfAborted();
  const memoryProbe = raw.memory ?? null;
  const memory = estimateMemory(raw.environment, { memoryBytes, memoryProbe });
  const told = groups.map((workloads) => workloads.map((workload) => {
    const full = { ...workload, promptTokens, outputTokens };
    return workload.missing ? unpredicted(full, workload.missing) : predict(raw, full, { ...known, memory, history });
  }));
  const predictions = told.flat().sort(byMerit);
  const [best] = predictions;
  const report = {
    version: PREFLIGHT_VERSION,
    features: { ...raw.environment, adapter: raw.backends.webgpu?.adapter ?? null },
    conditions: at,
    memory: { budget: memory, probe: memoryProbe },
    predictions,
    tier: best?.tier ?? null,
    verdict: best?.verdict ?? "unknown",
    reason: best?.reason ?? problems.at(-1) ?? "there are no candidates",
    calibrated: Boolean(best?.calibrated),
    warnings: warnings(at, predictions),
    problems: [...problems, ...raw.problems],
    probe: raw,
  };
  return { report, told, catalogue: known?.catalogue ?? null };
}

/**
 * The promise, or with a callback, nothing: it is called once, and what it throws is an uncaught
 * error as everywhere.
 * @template T
 * @param {Promise<T>} work
 * @param {((error: unknown, value?: T) => void) | undefined} callback
 */
export function answered(work, callback) {
  if (callback === undefined) return work;
  const later = (...values) => queueMicrotask(() => callback(...values));
  work.then((value) => later(null, value), (error) => later(error));
  return undefined;
}
