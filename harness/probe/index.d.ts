/** What repeated measurements came to; null where none succeeded. */
export interface Summary { n: number; median: number; p10: number; p90: number }

/**
 * One kernel. Exactly one of the units is present. `bytes_per_s` counts the quantised weights
 * (without their scales) or, for `stream`, the bytes read.
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

export interface WasmResult {
  available: true;
  reason: null;
  compile_ms: number;
  start_ms: number;
  fill_ms: number;
  memory_bytes: number;
  wall_ms: number;
  settle: { steady: boolean; windows: number; wall_ms: number };
  /** At one thread, and at `threads`. `duty` is burst time over wall time: below 1 when throttled. */
  phases: { threads: number; duty: number; wall_ms: number; kernels: Record<string, Kernel> }[];
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
  wall_ms: number;
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
  version: 1;
  seed: number;
  budget_ms: number;
  total_ms: number;
  environment: Environment;
  backends: { wasm?: WasmResult | Unavailable; webgpu?: WebGPUResult | Unavailable };
  /** What went wrong without ending the probe, in words. */
  problems: string[];
}

export interface ProbeOptions {
  /** Ends the probe: the promise rejects with its reason and nothing is left running. */
  signal?: AbortSignal;
  onProgress?: (event: { backend: string; step: string; threads?: number }) => void;
  /** Aimed at, not a hard limit; default 4000. Below about 1500 the figures get unsteady. */
  budgetMs?: number;
  /** Default: the smaller of navigator.hardwareConcurrency and 4; at most 8. */
  threads?: number;
  backends?: ("wasm" | "webgpu")[];
  seed?: number;
}

export const REPORT_VERSION: 1;
/** Resolves with a report on any device; rejects only when `signal` aborts. */
export function probe(options?: ProbeOptions): Promise<ProbeReport>;
