/**
 * Decision and estimates joined: one row per model of the catalog.
 *
 * @typedef {import("pennyroute").Interval} Interval
 * @typedef {"chosen" | "fallback" | "candidate" | "excluded"} Role
 * @typedef {{
 *   model: string, role: Role, rank: number, status: string,
 *   quality: Interval | null, cost: Interval | null, tokens: Interval | null, why: string,
 * }} Row `rank` orders rows as they would be tried; `cost` is in USD per thousand calls; `why`: the reason in
 * words why it is not chosen, once that is known
 */
import { CODES } from "./format.js";

/**
 * @param {import("pennyroute").Decision} decision
 * @param {import("pennyroute").Estimates} estimates
 * @returns {Row[]}
 */
export function joinRows(decision, estimates) {
  const estimated = new Map(estimates.models.map((estimate) => [estimate.model, estimate]));
  const excluded = new Map(decision.excluded.map(({ model, code }) => [model, code]));
  const others = [...decision.alternatives, ...decision.excluded].map(({ model }) => model);
  return (decision.model === null ? others : [decision.model, ...others]).map((model) => {
    const estimate = estimated.get(model);
    return {
      model,
      ...standing(model, decision, excluded.get(model)),
      quality: estimate?.quality ?? null,
      cost: estimate ? perThousand(estimate.cost_usd) : null,
      tokens: estimate?.output_tokens ?? null,
      why: "",
    };
  });
}

/**
 * @param {string} model
 * @param {import("pennyroute").Decision} decision
 * @param {string | undefined} code why it is excluded, if it is
 * @returns {{ role: Role, rank: number, status: string }}
 */
function standing(model, decision, code) {
  if (model === decision.model) return { role: "chosen", rank: 0, status: "chosen" };
  const fallback = decision.fallbacks.indexOf(model);
  if (fallback !== -1) return { role: "fallback", rank: 1 + fallback, status: `fallback ${fallback + 1}` };
  if (code) return { role: "excluded", rank: 1e6, status: CODES[code] ?? code };
  return { role: "candidate", rank: 1e3, status: "candidate" };
}

/** @param {Interval} interval */
function perThousand({ estimate, lo, hi }) {
  return { estimate: estimate * 1000, lo: lo * 1000, hi: hi * 1000 };
}

/**
 * The rows that no cheaper row matches in quality, cheapest first. Excluded rows do not count.
 * @param {Row[]} rows
 */
export function efficient(rows) {
  let best = -Infinity;
  return rows
    .filter((row) => row.role !== "excluded" && row.cost && row.quality)
    .sort((a, b) => a.cost.estimate - b.cost.estimate || b.quality.estimate - a.quality.estimate)
    .filter((row) => {
      if (row.quality.estimate <= best) return false;
      best = row.quality.estimate;
      return true;
    });
}
