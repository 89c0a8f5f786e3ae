/** What repeated measurements came to; null where none succeeded. */
export interface Summary { n: number; median: number; p10: number; p90: number }

/**
 * One kernel. Exactly one of the units is present. `bytes_per_s` counts the quantised weights
 * (without their scales), or the bytes read (`stream`, `attention`: keys and values) or copied.
 */
export interface Kernel {
  bytes_per_s?: Summary | null;
  flops_per_s?: Summary | null;
  op_us?: Summary | null;
  slices: number;
  /** WebAssembly: the size of a slice, 1 is full; the head kernels walk less memory below 1. */
  share?: number;
  /** WebGPU: dispatches in one submission. */
  repeats?: number;
  /** WebGPU: timestamp queries over wall time; null without them, near 1 when they agree. */
  gpu_over_wall?: number | null;
}

export interface Unavailable { available: false; reason: string; adapter?: Adapter }

/** How the device came to rest before it was measured. `duty`: as of a phase, of the last windows. */
export interface Settle { steady: boolean; windows: number; wall_ms: number; duty?: number }

/**
 * All kernels at one number of threads. `duty` is burst time over wall time: below 1 when throttled;
 * rates are those of bursts. `drift`: the time of a slice in the last third over that in the first.
 */
export interface Phase {
  threads: number;
  duty: number;
  drift?: number | null;
  wall_ms: number;
  kernels: Record<string, Kernel>;
}

export interface WasmResult {
  available: true;
  reason: null;
  compile_ms: number;
  start_ms: number;
  fill_ms: number;
  memory_bytes: number;
  measure_ms?: number;
  wall_ms: number;
  settle: Settle;
  /** At one thread, and at `threads`. */
  phases: Phase[];
}

export interface Adapter {
  info: Record<string, unknown>;
  software: boolean;
  features: string[];
  limits: Record<string, unknown>;
}

export interface WebGPUResult {
  available: true;
  reason: null;
  adapter: Adapter;
  timestamps: boolean;
  device_ms: number;
  compile_ms: Record<string, number>;
  memory_bytes: number;
  weight_bytes: number;
  measure_ms?: number;
  wall_ms: number;
  settle?: Settle | null;
  duty?: number | null;
  drift?: number | null;
  kernels: Record<string, Kernel>;
}

export interface Environment {
  user_agent: string;
  hardware_concurrency: number | null;
  device_memory_gib: number | null;
  cross_origin_isolated: boolean | null;
  secure_context: boolean | null;
  js_heap_limit_bytes: number | null;
  wasm: boolean;
  wasm_simd: boolean;
  wasm_threads: boolean;
  wasm_memory64: boolean;
  webgpu: boolean;
}

export interface ProbeReport {
  version: 1 | 2;
  seed: number;
  budget_ms: number;
  total_ms: number;
  /** Of it, the measuring alone, and the wait for quiet; absent in version 1. */
  measure_ms?: number;
  settle?: Settle | null;
  environment: Environment;
  backends: { wasm?: WasmResult | Unavailable; webgpu?: WebGPUResult | Unavailable };
  /** What went wrong without ending the probe, in words. */
  problems: string[];
}

export interface ProbeOptions {
  /** Ends the probe: the promise rejects with its reason and nothing is left running. */
  signal?: AbortSignal;
  onProgress?: (event: { backend: string; step: string; threads?: number }) => void;
  /**
   * For measuring, after a wait for quiet of 0.6 to 3 s; default 1200. Exceeded by a quarter at most
   * where the device is throttled, and by a slice a kernel where it is very slow.
   */
  budgetMs?: number;
  /** At most navigator.hardwareConcurrency and 8; default 4. */
  threads?: number;
  backends?: ("wasm" | "webgpu")[];
  /** Measure only these; default: all. Three to six of them get the best figures. */
  kernels?: string[];
  seed?: number;
  /** What weights are made of; default "random". Zeros are for showing what difference they make. */
  data?: "random" | "zeros";
}

export const REPORT_VERSION: 2;
/** Resolves with a report on any device; rejects only when `signal` aborts. */
export function probe(options?: ProbeOptions): Promise<ProbeReport>;

// ---------------------------------------------------------------------------------------------
// Predictions: preflight, recommend, predict, the memory probe.

export interface ProbeReport {
  /** Only where `preflight` or `recommend` was asked for it. */
  memory?: MemoryProbe | null;
}

/** How well a workload runs; "unsupported" is also one that runs, but slower than anybody reads. */
export type Tier = "unsupported" | "low" | "medium" | "high";
/** "unknown": memory may or may not hold it, or something that is needed was not measured. */
export type Verdict = "ok" | "oom" | "unsupported" | "unknown";

/** Where the true value should be 9 times in 10, or why nothing can be said. */
export type Predicted =
  | { low: number; expected: number; high: number; unknown?: undefined }
  | { unknown: string; low?: undefined; expected?: undefined; high?: undefined };

export type QuantityName = "load" | "first_token" | "prefill" | "decode" | "memory";

/** What one workload will do on this device. */
export interface Prediction {
  model: string | null;
  quantisation: string | null;
  runtime: string | null;
  prompt_tokens: number;
  output_tokens: number;
  /** The engine recipe whose terms and factors were used. */
  recipe: string | null;
  /** What would be downloaded. */
  file_bytes: number | null;
  /** WebAssembly: threads that the engine would run with here. */
  threads: number | null;
  verdict: Verdict;
  reason: string;
  tier: Tier | null;
  /** Whether all intervals are fitted from measured loads, and not beliefs. */
  calibrated: boolean;
  /** What each quantity adds up from: `factor * base`, in seconds or bytes. */
  terms: Partial<Record<QuantityName, Record<string, { base: number; factor: number }>>>;
  /** What `history` multiplied these by, where it had anything to say. */
  corrections: Partial<Record<QuantityName, number>>;
  /** From a near server until the engine stands; the user's network comes on top. */
  load_seconds: Predicted;
  first_token_seconds: Predicted;
  prefill_tokens_per_s: Predicted;
  decode_tokens_per_s: Predicted;
  peak_memory_bytes: Predicted;
}

/** An earlier load on this device, for the `history` of later predictions. */
export interface EarlierLoad {
  prediction: Prediction;
  /** What was measured of it, as far as it was. */
  measured: {
    load_seconds?: number;
    first_token_seconds?: number;
    prefill_tokens_per_s?: number;
    decode_tokens_per_s?: number;
    peak_memory_bytes?: number;
  };
}

/** From `low_bytes` on an engine may fail here; above `high_bytes` it will (null: not known). */
export interface MemoryBudget { low_bytes: number; high_bytes: number | null; source: string }

export interface PredictWorkload {
  model: string;
  /** "int4" and "int8" mean what the engine has of as many bits. */
  quant?: string;
  quantisation?: string;
  runtime: string;
  promptTokens?: number;
  outputTokens?: number;
}

export interface PredictOptions {
  /** As in catalogue.json. */
  catalogue: object;
  /** As in calibration.json; null or left out: the built-in beliefs, with wide intervals. */
  calibration?: object | null;
  /** What the engine may use; wins over `memory`. */
  memoryBytes?: number;
  memory?: MemoryBudget | null;
  history?: EarlierLoad[];
}

export interface MemoryProbeOptions {
  /** Default 1 GiB; never above half of `navigator.deviceMemory`. */
  maxBytes?: number;
  /** Default 64 MiB. */
  stepBytes?: number;
  /** Also on phones and tablets, where it can end the tab. */
  force?: boolean;
  signal?: AbortSignal;
  onProgress?: (event: ProbeProgress) => void;
}

export interface MemoryProbe {
  /** False: it was not tried, `reason` says why. */
  available: boolean;
  reason: string | null;
  /** Allocated and written in full. */
  good_bytes: number;
  /** What the last step was after. */
  tried_bytes: number;
  /** Whether `good_bytes` was all there was; else only the bound ended it. */
  limited: boolean;
  /** A tab died here on an earlier visit; nothing was tried on this one. */
  died: boolean;
  steps: number;
  wall_ms: number;
}

export interface ProbeProgress {
  backend: "wasm" | "webgpu" | "memory" | (string & {});
  step: string;
  threads?: number;
  bytes?: number;
}

interface SurveyOptions {
  promptTokens?: number;
  outputTokens?: number;
  signal?: AbortSignal;
  onProgress?: (event: ProbeProgress) => void;
  /** How long to measure; default 1200. */
  budgetMs?: number;
  threads?: number;
  seed?: number;
  /** What the engine may use, where you know it better than the browser tells. */
  memoryBytes?: number;
  /** Run the memory probe too. Off unless asked for. */
  memory?: boolean | Pick<MemoryProbeOptions, "maxBytes" | "stepBytes" | "force">;
  /** An earlier report of `probe`, in place of measuring. */
  report?: ProbeReport;
  /** Earlier loads on this device: later ones by the same engine are corrected by them. */
  history?: EarlierLoad[];
  /** In place of catalogue.json and calibration.json beside the module, for bundlers. */
  catalogue?: object;
  calibration?: object | null;
}

export interface PreflightOptions extends SurveyOptions {
  /** Left out, each of these is every choice there is (of weights, those of at most 8 bits). */
  model?: string;
  quant?: string;
  runtime?: string;
}

export interface Conditions {
  cross_origin_isolated: boolean | null;
  /** The page was hidden at some time while it was measured. */
  hidden: boolean;
  settle: Record<"wasm" | "webgpu", { steady: boolean; windows: number; wall_ms: number } | null>;
  phases: { threads: number; duty: number; drift: number | null }[];
  webgpu: { duty: number | null; drift: number | null } | null;
  software_adapter: boolean | null;
  battery: { charging: boolean; level: number } | null;
  storage: { quota_bytes: number | null; usage_bytes: number | null } | null;
  network: {
    save_data: boolean | null;
    effective_type: string | null;
    downlink_mbit_s: number | null;
    rtt_ms: number | null;
  } | null;
}

export interface PreflightReport {
  version: 1;
  features: Environment & { adapter: Adapter | null };
  conditions: Conditions;
  memory: { budget: MemoryBudget | null; probe: MemoryProbe | null };
  /** One for each workload asked for, the best first. */
  predictions: Prediction[];
  /** Of the best prediction, as are `verdict`, `reason` and `calibrated`. */
  tier: Tier | null;
  verdict: Verdict;
  reason: string;
  calibrated: boolean;
  /** What a reader of the figures should know, in words. */
  warnings: string[];
  /** What went wrong without ending it, in words. */
  problems: string[];
  probe: ProbeReport;
}

export interface Candidate { model?: string; quant?: string; runtime?: string }

export interface RecommendOptions extends SurveyOptions {
  /** In order of preference. Left out: all that the catalogue has for pages, larger models first. */
  candidates?: Candidate[];
  /** Default "low". "unsupported" accepts whatever runs, at any speed. */
  minTier?: Tier;
}

export interface Recommendation {
  best: Prediction | null;
  /** What to fall back on, in order. */
  chain: Prediction[];
  refused: { candidate: Candidate; reason: string; prediction: Prediction }[];
  report: PreflightReport;
}

export interface Model {
  id: string;
  aliases: string[];
  parameters: number;
  runtimes: string[];
  file_bytes: { low: number; high: number };
}

export const PREFLIGHT_VERSION: 1;
/**
 * Measures this device and predicts what a model will do on it. Resolves with a report on any
 * device; rejects only when `signal` aborts, and with a TypeError for wrong names and options.
 */
export function preflight(options?: PreflightOptions): Promise<PreflightReport>;
/** The same, calling back once; `report` is undefined where there is an error. */
export function preflight(
  options: PreflightOptions, callback: (error: unknown, report?: PreflightReport) => void,
): void;
/** The best of some candidates, by one probe, and those to fall back on. */
export function recommend(options?: RecommendOptions): Promise<Recommendation>;
export function recommend(
  options: RecommendOptions, callback: (error: unknown, recommendation?: Recommendation) => void,
): void;
/** Pure: from a report to a prediction for one workload. */
export function predict(
  report: ProbeReport, workload: PredictWorkload, options: PredictOptions,
): Prediction;
/** The models that some engine runs in a page, smallest first. */
export function models(options?: { signal?: AbortSignal; catalogue?: object }): Promise<Model[]>;
/** How much memory this page can really use, found step by step, behind a tombstone. */
export function probeMemory(options?: MemoryProbeOptions): Promise<MemoryProbe>;
/** Forgets that a tab died while it probed memory. */
export function forgetMemory(): Promise<void>;
