// The capabilities page: asks one library on one backend to do one thing, checks the result, and
// answers with what came of it. Each library is a module of its own beside this one.

/**
 * A repeated measurement, every value of it.
 * @typedef {{name: string, unit: string, values: number[]}} Figure
 */

/**
 * What was found where the thing was done, and its result was right.
 * @typedef {object} Found
 * @property {Figure[]} figures
 * @property {string} [adapter]  the GPU as it names itself
 * @property {boolean} [software]  whether it is one in software
 * @property {string} [variant]  which build or mode of the library it was
 * @property {number} [threads]
 * @property {Record<string, any>} [result]  what came out, for a comparison elsewhere
 */

/**
 * @typedef {{ok: Found} | {unsupported: string} | {wrong: string}
 *   | {error: {name: string, message: string}}} Answer
 */

/** Says that the browser lacks what the library needs: no failure of the library. */
export class UnsupportedError extends Error {}

/** Says that the library did it, and that its result is not the right one. */
export class WrongResultError extends Error {}

const LIBRARIES = {
  "litert.js": () => import("./litert.js"),
  "tensorflow.js": () => import("./tensorflow.js"),
  "transformers.js": () => import("./transformers.js"),
};

/**
 * Ask once.
 * @param {{library: keyof typeof LIBRARIES, backend: string, argument: any}} question
 * @returns {Promise<Answer>}
 */
globalThis.tierlabCapability = async ({ library, backend, argument }) => {
  const doing = document.getElementById("doing");
  if (doing) doing.textContent = `${library} on ${backend}`;
  try {
    const { ask } = await LIBRARIES[library]();
    return { ok: await ask(backend, argument) };
  } catch (/** @type {any} */ error) {
    const message = String(error?.message ?? error).slice(0, 4000);
    if (error instanceof UnsupportedError) return { unsupported: message };
    if (error instanceof WrongResultError) return { wrong: message };
    return { error: { name: String(error?.name ?? typeof error), message } };
  }
};
