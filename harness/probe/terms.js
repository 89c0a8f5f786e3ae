// The terms of a prediction: what a probe report and a model's shape say without any engine's data.
// The twin of terms.py, which says what each term is; tests hold both to the same figures.

const MICRO = 1e-6;
const SMALL_WIDTH = 1024;
const SMALL_SOFTMAX = 65536;

const times = (amount, seconds) => (seconds === null ? null : amount * seconds);
const present = (result) => (result?.available ? result : null);

/** The phase nearest to `threads` from below, else the one with the fewest. */
export function phaseOf(wasm, threads) {
  const ordered = [...wasm.phases].sort((a, b) => a.threads - b.threads);
  return ordered.filter((phase) => phase.threads <= threads).at(-1) ?? ordered[0];
}

/** Seconds a unit of a kernel's work in a burst; null where it was not measured. */
function burst(kernels, name) {
  const kernel = name ? kernels[name] : null;
  if (!kernel) return null;
  if (kernel.op_us) return MICRO * kernel.op_us.median;
  const rate = kernel.bytes_per_s ?? kernel.flops_per_s;
  return rate?.median > 0 ? 1 / rate.median : null;
}

/** The seconds of a report's kernels, as one engine meets them. */
export class Speeds {
  /** @param {"wasm" | "webgpu"} side @param {number} threads */
  constructor(report, side, threads) {
    const wasm = present(report.backends.wasm);
    const webgpu = present(report.backends.webgpu);
    const one = wasm && phaseOf(wasm, 1);
    const own = side === "wasm" ? wasm && phaseOf(wasm, threads) : webgpu;
    const compile = Object.values((side === "webgpu" && webgpu?.compile_ms) || {});
    this.alone = one ?? { kernels: {}, duty: 1 };
    this.kernels = own?.kernels ?? {};
    this.duty = own?.duty || 1;
    this.processors = wasm ? Math.max(...wasm.phases.map((phase) => phase.threads * phase.duty)) : 1;
    this.threads = own?.threads ?? threads;
    this.compileSeconds = compile.length ? compile.reduce((a, b) => a + b, 0) / compile.length / 1000 : null;
  }

  /** Throttling included: a burst does not see it. */
  seconds(name) {
    return times(1 / this.duty, burst(this.kernels, name));
  }

  /** One barrier, which a stall makes longer itself; none where there is nobody to wait for. */
  barrier() {
    return this.threads === 1 ? 0 : burst(this.kernels, "barrier");
  }

  /** A small operation on one thread of WebAssembly. */
  operationAlone() {
    return this.aloneSeconds("chain");
  }

  /** The same where all processors work on many of them. */
  operationShared() {
    return times(1 / this.processors, burst(this.alone.kernels, "chain"));
  }

  /** As `seconds`, of one thread of WebAssembly. */
  aloneSeconds(name) {
    return times(1 / this.alone.duty, burst(this.alone.kernels, name));
  }

  countsOperations(name) {
    return Boolean(this.kernels[name]?.flops_per_s);
  }
}

/** Whether a term counts for weights stored in that way: all do that name no other one. */
export function isFor(term, quantisation) {
  const [, named = ""] = term.split(".");
  return named === "" || named === quantisation;
}

/** One engine with one demand: what the bases are computed from. */
export class Step {
  /**
   * @param {Speeds} speeds
   * @param {{model: object, quantisation: string, bits: number, prompt: number, output: number, fileBytes: number}} demand
   */
  constructor(speeds, recipe, demand) {
    Object.assign(this, { speeds, recipe, ...demand });
    const multiple = recipe.prefill_multiple;
    this.rows = Math.ceil(demand.prompt / multiple) * multiple;
    this.kernels = recipe.kernels[demand.quantisation] ?? {};
    this.operations = demand.model.layers * recipe.operations_per_layer + recipe.operations_fixed;
  }

  /** Bytes of so many weights, without their scales. */
  stored(parameters) {
    return (parameters * this.bits) / 8;
  }

  matrix(name) {
    const { model, speeds } = this;
    const parts = { body: model.body_parameters, head: model.embedding_parameters };
    const named = name === "matrix" || name === "alone" ? ["body", "head"] : [name];
    const all = named.map((part) => times(this.stored(parts[part]),
      name === "alone" ? speeds.aloneSeconds(this.kernels[part]) : speeds.seconds(this.kernels[part])));
    return all.includes(null) ? null : all.reduce((sum, one) => sum + one, 0);
  }

  attention(steps, context) {
    const read = this.model.layers * 2 * this.model.kv_width * 4 * context * steps;
    return times(read, this.speeds.seconds("attention"));
  }

  /** What every step has beside its matrices. */
  small(name, many) {
    const { model, speeds, recipe, operations } = this;
    const rows = recipe.rows_together ? 1 : many;
    switch (name) {
      case "small": return times((rows * model.layers * model.hidden) / SMALL_WIDTH, speeds.seconds("small_ops"));
      case "vocabulary": return times(model.vocabulary / SMALL_SOFTMAX, speeds.seconds("small_ops"));
      case "barrier": return times(model.layers, speeds.barrier());
      case "operations": return times(rows * operations, speeds.seconds("chain"));
      case "encode": return times(operations, speeds.seconds("rebind_chain"));
      case "submit": return speeds.seconds("submit");
      default: return this.constant(name, 1e-3);
    }
  }

  /** So many seconds, or millions of small operations as the processors get through them. */
  constant(name, amount) {
    const { speeds } = this;
    switch (name) {
      case "fixed": case "bytes": return amount;
      case "fixed_cpu": case "bytes_cpu": return times(1e6 * amount, speeds.operationAlone());
      case "fixed_cores": case "bytes_cores": return times(1e6 * amount, speeds.operationShared());
      case "serial": return times(1e6 * amount, speeds.seconds("chain"));
      default: return null;
    }
  }

  decode(name) {
    if (["matrix", "body", "head", "alone"].includes(name)) return this.matrix(name);
    if (name === "attention") return this.attention(1, this.prompt + this.output / 2);
    return this.small(name, 1);
  }

  prefill(name) {
    const { speeds, kernels, rows } = this;
    const body = this.model.body_parameters;
    switch (name) {
      case "product": {
        const work = speeds.countsOperations(kernels.product) ? 2 * body : this.stored(body);
        return times(rows * work, speeds.seconds(kernels.product));
      }
      case "expand": return times(this.stored(body), speeds.seconds(kernels.expand));
      case "head": return this.matrix("head");
      case "attention": return this.attention(rows, rows / 2);
      default: return this.small(name, rows);
    }
  }

  load(name) {
    if (name === "pipelines") return times(100, this.speeds.compileSeconds);
    return this.constant(name, name.startsWith("bytes") ? 1e-9 * this.fileBytes : 1);
  }

  memory(name) {
    const { model, recipe } = this;
    switch (name) {
      case "file": return this.fileBytes;
      case "largest": return 4 * model.largest_tensor_parameters;
      case "kv": {
        const tokens = Math.max(recipe.context_tokens ?? 0, this.prompt + this.output);
        return tokens * 2 * model.layers * model.kv_width * recipe.kv_element_bytes;
      }
      case "fixed": return 1e9;
      default: return null;
    }
  }

  /** Bytes that the engine's own address space must hold. */
  heapNeed() {
    const { heap_file: copies, heap_largest: expanded } = this.recipe;
    return copies * this.fileBytes + expanded * this.memory("largest") + this.memory("kv");
  }

  /** The base of a term; null where it cannot be computed. */
  base(quantity, term, prefillSeconds) {
    const [name] = term.split(".");
    if (quantity !== "first_token") return this[quantity](name);
    return name === "prefill" ? prefillSeconds : this.load(name);
  }
}
