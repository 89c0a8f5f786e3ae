// What is known without measuring: models, engines and their recipes (catalogue.json), and what
// engines cost as fitted from measured loads (calibration.json, optional).

const CATALOGUE_VERSION = 1;
const CALIBRATION_VERSION = 1;

/** The error for a name that is not in the catalogue: it names the nearest ones. */
export class UnknownNameError extends TypeError {
  constructor(kind, name, known) {
    const close = nearest(String(name), known);
    const hint = close.length ? `did you mean ${close.join(" or ")}?` : `known: ${known.join(", ")}`;
    super(`unknown ${kind} ${JSON.stringify(name)}: ${hint}`);
    this.name = "TypeError";
  }
}

/** Edits between two words (Levenshtein). @param {string} a @param {string} b */
function distance(a, b) {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const swap = row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(row[j] + 1, next[j - 1] + 1, swap));
    }
    row = next;
  }
  return row[b.length];
}

/** At most three known words that are like `word`, the nearest first. @param {string[]} known */
export function nearest(word, known) {
  const wanted = word.toLowerCase();
  return known
    .map((name) => ({ name, edits: distance(wanted, name.toLowerCase()) }))
    .filter(({ name, edits }) => edits <= 0.6 * Math.max(name.length, wanted.length))
    .sort((a, b) => a.edits - b.edits)
    .slice(0, 3)
    .map(({ name }) => name);
}

/** @type {Map<string, Promise<object>>} */
const kept = new Map();

/** The JSON at an address, which is asked for once. @param {URL} url */
async function fetched(url) {
  const name = url.pathname.split("/").pop();
  const read = async () => {
    const response = await fetch(url);
    if (!response.ok) throw new Error(`${name}: HTTP ${response.status}`);
    return response.json();
  };
  if (!kept.has(name)) kept.set(name, read());
  try {
    return await kept.get(name);
  } catch (error) {
    // An optional file that is not there stays so; what the network did may be over next time.
    if (!/HTTP 404$/.test(error.message)) kept.delete(name);
    throw error;
  }
}

/** The work's result, or a rejection as soon as `signal` aborts. */
function until(work, signal) {
  if (!signal) return work;
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

/**
 * Reads both files from beside this module. The calibration is null, and `problems` says why, where
 * there is none or none that fits. Rejects when the catalogue cannot be read.
 */
export async function load({ signal, catalogue, calibration, problems = [] } = {}) {
  // Addresses in this very form are what bundlers look for.
  const both = Promise.allSettled([
    catalogue ?? fetched(new URL("./catalogue.json", import.meta.url)),
    calibration === undefined ? fetched(new URL("./calibration.json", import.meta.url)) : calibration,
  ]);
  signal?.throwIfAborted();
  const [known, fits] = await until(both, signal);
  if (known.status === "rejected") throw known.reason;
  if (known.value.version !== CATALOGUE_VERSION) {
    throw new Error(`catalogue.json: version ${known.value.version}, not ${CATALOGUE_VERSION}`);
  }
  if (fits.status === "rejected") problems.push(`not calibrated: ${fits.reason.message}`);
  else if (fits.value && fits.value.version !== CALIBRATION_VERSION) {
    problems.push(`not calibrated: calibration.json has version ${fits.value.version}`);
  } else return { catalogue: known.value, calibration: fits.value };
  return { catalogue: known.value, calibration: null };
}

/** The id of a model by its id or one of its other names. */
export function findModel(catalogue, name) {
  const models = Object.entries(catalogue.models);
  const wanted = String(name).toLowerCase();
  const found = models.find(([id, { aliases }]) =>
    [id, ...aliases].some((known) => known.toLowerCase() === wanted));
  if (!found) throw new UnknownNameError("model", name, models.flatMap(([id, { aliases }]) => [id, ...aliases]));
  return found[0];
}

/** The id of an engine, such as "wllama/wasm". */
export function findRuntime(catalogue, name) {
  if (Object.hasOwn(catalogue.engines, name)) return name;
  throw new UnknownNameError("runtime", name, Object.keys(catalogue.engines));
}

/**
 * How an engine calls a quantisation, for one model: "int4" and "int8" mean what it has of as many
 * bits, as the model's rows allow. Null where it has none.
 */
export function findQuantisation(catalogue, model, runtime, name) {
  if (!Object.hasOwn(catalogue.quantisations, name)) {
    throw new UnknownNameError("quantisation", name, Object.keys(catalogue.quantisations));
  }
  const files = catalogue.engines[runtime].files[model] ?? {};
  if (Object.hasOwn(files, name)) return name;
  if (name !== "int4" && name !== "int8") return null;
  const { bits } = catalogue.quantisations[name];
  const order = Object.keys(catalogue.engines[runtime].quantisations);
  return order.find((own) => own in files && catalogue.quantisations[own].bits === bits) ?? null;
}

/**
 * The models that some engine runs in a page, smallest first, with the range of their downloads.
 * @param {{signal?: AbortSignal, catalogue?: object}} [options]
 * @returns {Promise<import("./index.d.ts").Model[]>}
 */
export async function models(options = {}) {
  const { catalogue } = await load({ ...options, calibration: null });
  const engines = Object.entries(catalogue.engines);
  return Object.entries(catalogue.models)
    .map(([id, { aliases, parameters }]) => {
      const able = engines.filter(([, { files }]) => files[id]);
      const sizes = able.flatMap(([, { files }]) => Object.values(files[id])).sort((a, b) => a - b);
      const file_bytes = { low: sizes[0], high: sizes.at(-1) };
      return { id, aliases, parameters, runtimes: able.map(([name]) => name), file_bytes };
    })
    .filter(({ runtimes }) => runtimes.length > 0)
    .sort((a, b) => a.parameters - b.parameters);
}

/** Weights of more bits are several times the download: only who names them means them. */
const MOST_BITS = 8;

/** The ways of storing a model's weights that come into question where none is named. */
function usual({ quantisations }, { files, quantisations: own }, model) {
  const names = Object.keys(own).filter((name) => name in (files[model] ?? {}));
  const small = names.filter((name) => quantisations[name].bits <= MOST_BITS);
  return small.length ? small : names;
}

/**
 * All workloads that a candidate stands for: what it leaves out is every choice there is, but of
 * weights only those of at most 8 bits, where there are any. A choice that is not there at all comes
 * with `missing`, the reason.
 * @param {object} catalogue
 * @param {{model?: string, quant?: string, runtime?: string}} candidate
 */
export function expand(catalogue, { model, quant, runtime }) {
  const models = model === undefined ? Object.keys(catalogue.models) : [findModel(catalogue, model)];
  const engines = runtime === undefined
    ? Object.keys(catalogue.engines)
    : [findRuntime(catalogue, runtime)];
  const found = [];
  for (const id of models) {
    for (const engine of engines) {
      const names = quant === undefined
        ? usual(catalogue, catalogue.engines[engine], id)
        : [findQuantisation(catalogue, id, engine, quant)].filter((name) => name !== null);
      for (const name of names) found.push({ model: id, quantisation: name, runtime: engine });
    }
  }
  if (found.length === 0) {
    const what = [model ?? "any model", quant ? `in ${quant}` : "", runtime ? `on ${runtime}` : "in a page"];
    const missing = `there is no ${what.filter(Boolean).join(" ")}`;
    found.push({ model: model === undefined ? null : models[0], quantisation: quant ?? null, runtime: runtime ?? null, missing });
  }
  return found;
}

/** Kernels that a term needs beside those of the engine's matrices; `*_cpu` are of one thread of wasm. */
const NEEDS = {
  small: "small_ops", vocabulary: "small_ops", barrier: "barrier", attention: "attention",
  operations: "chain", encode: "rebind_chain", submit: "submit", fixed_cpu: "chain", bytes_cpu: "chain",
};

/**
 * What has to be measured for some workloads: the union of what their recipes' terms need. On which
 * adapter they will run is not known yet, so both recipes of a WebGPU engine count.
 */
export function needed({ catalogue, calibration }, workloads) {
  const backends = new Set();
  const kernels = new Set();
  for (const { runtime, quantisation, missing } of workloads) {
    if (missing) continue;
    const { backend, quantisations, gpu } = catalogue.engines[runtime];
    backends.add(backend);
    for (const key of [quantisations[quantisation], gpu?.[quantisation]]) {
      const recipe = catalogue.recipes[key];
      if (!recipe) continue;
      for (const name of Object.values(recipe.kernels[quantisation] ?? {})) if (name) kernels.add(name);
      const fits = Object.values({ ...recipe.defaults, ...calibration?.engines[key] });
      for (const term of fits.flatMap(({ factors }) => Object.keys(factors))) {
        const [name] = term.split(".");
        if (name in NEEDS) kernels.add(NEEDS[name]);
        if (name.endsWith("_cpu")) backends.add("wasm");
      }
    }
  }
  return { backends: [...backends], kernels: [...kernels] };
}
