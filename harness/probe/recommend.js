// Which of several models, on which engine: one probe, all candidates, the best first.
import { nearest } from "./catalogue.js";
import { tierRank } from "./predict.js";
import { answered, byMerit, survey } from "./survey.js";

const TIERS = ["unsupported", "low", "medium", "high"];

/** Why a prediction is not good enough; null when it is. */
function objection({ verdict, reason, tier, prefill_tokens_per_s: prefill, decode_tokens_per_s: decode }, minTier) {
  if (verdict !== "ok") return reason;
  if (tierRank(tier) >= tierRank(minTier)) return null;
  const speeds = `reads ${prefill.expected.toPrecision(2)} and writes ${decode.expected.toPrecision(2)} tokens a second`;
  return tier === "unsupported" ? `too slow: ${speeds}` : `${speeds}: tier ${tier}, below ${minTier}`;
}

function check({ candidates, minTier = "low" }) {
  const isObject = (it) => it !== null && typeof it === "object";
  if (candidates !== undefined && !(Array.isArray(candidates) && candidates.every(isObject))) {
    throw new TypeError("candidates must be an array of {model, quant, runtime}");
  }
  if (!TIERS.includes(minTier)) {
    const close = nearest(String(minTier), TIERS);
    throw new TypeError(`unknown tier ${JSON.stringify(minTier)}: one of ${TIERS.join(", ")}${
      close.length ? `; did you mean ${close[0]}?` : ""}`);
  }
}

async function recommended(options) {
  check(options ?? {});
  const { candidates, minTier = "low" } = options;
  const { report, told, catalogue } = await survey(options, candidates ?? [{}]);
  const size = (prediction) => catalogue.models[prediction.model]?.parameters ?? 0;
  const usable = ({ tier }) => Number(tierRank(tier) >= tierRank("low"));
  // Given candidates are in order of preference. Without, a larger model is taken to be the better,
  // of those that are as fast as somebody reads.
  const order = candidates
    ? told.flatMap((group) => [...group].sort(byMerit))
    : told.flat().sort((a, b) => usable(b) - usable(a) || size(b) - size(a) || byMerit(a, b));
  const accepted = [];
  const refused = [];
  for (const prediction of order) {
    const reason = objection(prediction, minTier);
    const { model, quantisation, runtime } = prediction;
    if (reason === null) accepted.push(prediction);
    else refused.push({ candidate: { model, quant: quantisation, runtime }, reason, prediction });
  }
  const [best = null, ...chain] = accepted;
  return { best, chain, refused, report };
}

/**
 * The best of some candidates for this device, those to fall back on in order, and why the others
 * are not among them. Without `candidates`: all that the catalogue has for pages. Resolves, rejects
 * and calls back as `preflight` does; `best` is null when none is good enough.
 * @param {import("./index.d.ts").RecommendOptions} [options]
 * @param {(error: unknown, value?: import("./index.d.ts").Recommendation) => void} [callback]
 * @returns {Promise<import("./index.d.ts").Recommendation> | undefined}
 */
export function recommend(options = {}, callback = undefined) {
  return answered(recommended(options), callback);
}
