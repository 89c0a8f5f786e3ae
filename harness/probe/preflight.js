// Will this device run that model, how fast, and will it die of it? Answered before anything is
// downloaded but this package's own files.
import { answered, survey } from "./survey.js";

export { models } from "./catalogue.js";
export { REPORT_VERSION, probe } from "./index.js";
export { forgetMemory, probeMemory } from "./memory.js";
export { predict } from "./predict.js";
export { recommend } from "./recommend.js";
export { PREFLIGHT_VERSION } from "./survey.js";

/**
 * Measures this device and predicts what a model will do on it. Resolves with a report on any
 * device; rejects only when `signal` aborts, or with a TypeError for names and options that are
 * wrong on any device. With a callback, `(error, report)`, it returns nothing.
 * @param {import("./index.d.ts").PreflightOptions} [options]
 * @param {(error: unknown, report?: import("./index.d.ts").PreflightReport) => void} [callback]
 * @returns {Promise<import("./index.d.ts").PreflightReport> | undefined}
 */
export function preflight(options = {}, callback = undefined) {
  const { model, quant, runtime } = options ?? {};
  return answered(survey(options, [{ model, quant, runtime }]).then(({ report }) => report), callback);
}
