// TensorFlow.js: multiplies matrices of a model's shapes on one of its backends. Its builds for
// script elements are used, which bring their own dependencies.

import { timed } from "./clock.js";
import { webglRenderer, webgpuAdapter } from "./gpu.js";
import { UnsupportedError, WrongResultError } from "./page.js";

const ROOT = "/npm/@tensorflow/";

// Elements are whole numbers from -LARGEST to LARGEST: their sums are exact in float32.
const LARGEST = 4;
// Of the sum of magnitudes. Exact where products are made in float32; a GPU may round to float16.
const TOLERANCE = 1e-3;
const CHECKED_COLUMNS = 16;

/** @param {string} name */
function load(name) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = `${ROOT}tfjs-${name}/dist/tf-${name}.min.js`;
    script.onload = resolve;
    script.onerror = () => reject(new Error(`${script.src} cannot be loaded`));
    document.head.append(script);
  });
}

/** @returns {any} the library, which puts itself there */
const library = () => /** @type {any} */ (globalThis).tf;

/**
 * Whole numbers of the same seed are the same (xorshift32, Marsaglia 2003).
 * @param {number} count @param {number} seed
 */
function wholeNumbers(count, seed) {
  const values = new Float32Array(count);
  let state = seed;
  for (let i = 0; i < count; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    values[i] = ((state >>> 8) % (2 * LARGEST + 1)) - LARGEST;
  }
  return values;
}

/**
 * Compare a product `[rows, columns]` with what is known of it: the sum of each row, which follows
 * from the sums of the right matrix's rows, and some elements, which a sum does not tell apart.
 * @param {Float32Array} left @param {Float32Array} right @param {Float32Array} product
 * @param {{rows: number, inner: number, columns: number}} shape
 */
function check(left, right, product, { rows, inner, columns }) {
  if (product.length !== rows * columns) {
    throw new WrongResultError(`${product.length} elements instead of ${rows * columns}`);
  }
  const sums = new Float64Array(inner);
  for (let k = 0; k < inner; k++) {
    for (let column = 0; column < columns; column++) sums[k] += right[k * columns + column];
  }
  /** @param {number} row @param {(k: number) => number} factor */
  const expected = (row, factor) => {
    let sum = 0;
    let magnitude = 0;
    for (let k = 0; k < inner; k++) {
      const part = left[row * inner + k] * factor(k);
      sum += part;
      magnitude += Math.abs(part);
    }
    return { sum, allowed: TOLERANCE * magnitude };
  };
  /** @param {string} what @param {number} is @param {{sum: number, allowed: number}} must */
  const compare = (what, is, { sum, allowed }) => {
    if (!(Math.abs(is - sum) <= allowed)) {
      throw new WrongResultError(`${what} is ${is}, and must be ${sum} (${allowed} allowed)`);
    }
  };
  for (let row = 0; row < rows; row++) {
    let sum = 0;
    for (let column = 0; column < columns; column++) sum += product[row * columns + column];
    compare(`the sum of row ${row}`, sum, expected(row, (k) => sums[k]));
    for (let i = 0; i < CHECKED_COLUMNS; i++) {
      const column = Math.floor(((i + 0.5) * columns) / CHECKED_COLUMNS);
      const is = product[row * columns + column];
      compare(`element ${row}, ${column}`, is, expected(row, (k) => right[k * columns + column]));
    }
  }
}

/** @param {string} backend */
function adapter(backend) {
  if (backend === "webgpu") return webgpuAdapter();
  return backend === "webgl" ? webglRenderer() : undefined;
}

/** @param {any} tf @param {string} backend */
async function start(tf, backend) {
  if (backend === "wasm") {
    tf.wasm.setWasmPaths(`${ROOT}tfjs-backend-wasm/dist/`);
  }
  if (!(await tf.setBackend(backend))) {
    throw new Error(`the backend ${backend} does not start`);
  }
  await tf.ready();
  // It falls back to the next best backend by itself.
  if (tf.getBackend() !== backend) throw new Error(`${tf.getBackend()} came up instead`);
}

/** @param {any} tf @param {string} backend */
async function variant(tf, backend) {
  const env = tf.env();
  if (backend === "webgl") {
    const exact = await env.getAsync("WEBGL_RENDER_FLOAT32_ENABLED");
    return `WebGL ${env.get("WEBGL_VERSION")}, ${exact ? "float32" : "float16"} textures`;
  }
  if (backend !== "wasm") return undefined;
  const simd = await env.getAsync("WASM_HAS_SIMD_SUPPORT");
  return simd ? "SIMD" : "no SIMD";
}

/**
 * @typedef {{rows: number, inner: number, columns: number}} Shape
 *   `[rows, inner]` times `[inner, columns]`
 */

/**
 * @param {string} backend  `cpu` (plain JavaScript), `wasm`, `webgl` or `webgpu`
 * @param {{shapes: Shape[], slowShapes: Shape[], budgetMs: number}} argument
 *   `slowShapes`: for plain JavaScript, and for a GPU in software; neighbours with the same right
 *   matrix share it; `budgetMs`: for each shape
 * @returns {Promise<import("./page.js").Found>}
 */
export async function ask(backend, { shapes, slowShapes, budgetMs }) {
  if (backend === "wasm" && typeof WebAssembly !== "object") {
    throw new UnsupportedError("the browser has no WebAssembly");
  }
  const gpu = await adapter(backend);
  await load("core");
  // WebGL hands small products to plain JavaScript.
  if (backend !== "cpu") await load("backend-cpu");
  await load(`backend-${backend}`);
  const tf = library();
  await start(tf, backend);

  const figures = [];
  /** @type {{key: string, values: Float32Array, tensor: any} | undefined} */ let right;
  for (const shape of backend === "cpu" || gpu?.software ? slowShapes : shapes) {
    const { rows, inner, columns } = shape;
    if (right?.key !== `${inner} ${columns}`) {
      right?.tensor.dispose();
      const values = wholeNumbers(inner * columns, 1);
      right = { key: `${inner} ${columns}`, values, tensor: tf.tensor2d(values, [inner, columns]) };
    }
    const values = wholeNumbers(rows * inner, 2);
    const left = tf.tensor2d(values, [rows, inner]);
    const { tensor } = right;
    const multiply = async () => {
      const product = tf.matMul(left, tensor);
      const data = await product.data();
      product.dispose();
      return data;
    };
    check(values, right.values, await multiply(), shape);
    const seconds = await timed(multiply, budgetMs);
    left.dispose();
    const operations = 2 * rows * inner * columns;
    figures.push({
      name: `${rows}x${inner} by ${inner}x${columns}`,
      unit: "GFLOP/s",
      values: seconds.map((each) => operations / each / 1e9),
    });
  }
  right?.tensor.dispose();
  const threads = backend === "wasm" ? tf.wasm.getThreadsCount() : undefined;
  return { figures, ...gpu, variant: await variant(tf, backend), threads };
}
