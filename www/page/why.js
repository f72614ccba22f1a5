/** Why each other model was not chosen, in words: what it costs beside what its quality is worth. */
import { percent, usdPerThousand } from "./format.js";

/** Differences below this share of a percent are none. */
const NO_DIFFERENCE = 0.0005;

/**
 * @param {import("pennyroute").Explanation} explanation
 * @returns {Map<string, string>} by model
 */
export function reasons({ decision, candidates, lambda }) {
  const chosen = candidates.find(({ standing }) => standing === "chosen");
  const { floor } = decision.target;
  return new Map(chosen ? candidates.map((candidate) => [candidate.model, reason(candidate, chosen, lambda, floor)]) : []);
}

/**
 * @param {import("pennyroute").ExplainedCandidate} candidate
 * @param {import("pennyroute").ExplainedCandidate} chosen
 * @param {number} lambda
 * @param {number | null} floor
 */
function reason({ standing, quality, cost_usd: cost }, chosen, lambda, floor) {
  if (standing === "chosen" || standing === "excluded") return "";
  const better = quality.estimate - chosen.quality.estimate;
  const dearer = cost.estimate - chosen.cost_usd.estimate;
  if (floor !== null && quality.estimate < floor && chosen.quality.estimate >= floor) return `below the floor of ${percent(floor)}`;
  const points = `${(Math.abs(better) * 100).toFixed(1)} points`;
  if (Math.abs(better) < NO_DIFFERENCE) return dearer >= 0 ? `${usdPerThousand(dearer)} dearer and no better` : "no better";
  if (better < 0 && dearer >= 0) return `${usdPerThousand(dearer)} dearer and ${points} worse`;
  if (lambda === Infinity) return `${points} worse, and the target asks for the best`;
  const worth = usdPerThousand(Math.abs(better) * lambda);
  return better > 0
    ? `${points} better, worth ${worth}, for ${usdPerThousand(dearer)} more`
    : `saves ${usdPerThousand(-dearer)}, but is ${points} worse, a loss of ${worth}`;
}
