// What the page can say of its surroundings without measuring anything.

// Smallest modules that use the feature: validation alone says whether the engine knows it.
const HEADER = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];
const FEATURES = {
  // one function of type () -> v128: i32.const 0, i8x16.splat
  simd: [1, 5, 1, 0x60, 0, 1, 0x7b, 3, 2, 1, 0, 10, 8, 1, 6, 0, 0x41, 0, 0xfd, 15, 0x0b],
  // a shared memory of one page
  threads: [5, 4, 1, 3, 1, 1],
  // a memory of one page with 64-bit addresses
  memory64: [5, 3, 1, 4, 1],
};

/** @param {number[]} body */
function validates(body) {
  try {
    return WebAssembly.validate(new Uint8Array([...HEADER, ...body]));
  } catch {
    return false;
  }
}

/** The environment section of a report. */
export function environment() {
  const nav = globalThis.navigator ?? {};
  const wasm = typeof WebAssembly === "object";
  return {
    user_agent: String(nav.userAgent ?? ""),
    hardware_concurrency: nav.hardwareConcurrency ?? null,
    device_memory_gib: nav.deviceMemory ?? null,
    cross_origin_isolated: globalThis.crossOriginIsolated ?? null,
    secure_context: globalThis.isSecureContext ?? null,
    js_heap_limit_bytes: globalThis.performance?.memory?.jsHeapSizeLimit ?? null,
    wasm,
    wasm_simd: wasm && validates(FEATURES.simd),
    wasm_threads: wasm && validates(FEATURES.threads),
    wasm_memory64: wasm && validates(FEATURES.memory64),
    webgpu: nav.gpu !== undefined && nav.gpu !== null,
  };
}
