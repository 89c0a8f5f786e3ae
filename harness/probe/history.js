// What earlier loads on this device say of later ones: a page that has loaded one model keeps what
// was predicted of it and what was measured, and the next prediction for the same engine is corrected
// by how they differed.

/** As if so many further loads had been predicted exactly: one load alone moves little. */
const PRIOR = 2;

/** Of each quantity, the field of a prediction that has it, and whether that is a speed. */
const FIELDS = {
  load: ["load_seconds", false],
  first_token: ["first_token_seconds", false],
  prefill: ["prefill_tokens_per_s", true],
  decode: ["decode_tokens_per_s", true],
  memory: ["peak_memory_bytes", false],
};

/** Measured over predicted, in seconds or bytes, as it was before any correction; null if unknown. */
function ratio({ prediction, measured }, quantity) {
  const [field, speed] = FIELDS[quantity];
  const value = measured?.[field];
  const expected = prediction[field]?.expected;
  if (!(value > 0 && expected > 0)) return null;
  return (speed ? expected / value : value / expected) * (prediction.corrections?.[quantity] ?? 1);
}

/**
 * The factor on a predicted quantity that earlier loads by the same recipe speak for: the geometric
 * mean of their measured over predicted, drawn towards 1. Null where there was none.
 * @param {import("./index.d.ts").EarlierLoad[]} history
 */
export function correction(history, recipe, quantity) {
  const ratios = history
    .filter(({ prediction }) => prediction.recipe === recipe)
    .map((earlier) => ratio(earlier, quantity))
    .filter((value) => value !== null);
  if (ratios.length === 0) return null;
  const total = ratios.reduce((sum, value) => sum + Math.log(value), 0);
  return Math.exp(total / (ratios.length + PRIOR));
}
