/** Numbers and names as people read them. Costs are per thousand calls wherever several are compared. */

/**
 * US dollars: whole ones, or cents, or the first two digits that count.
 * @param {number} value
 */
export function usd(value) {
  // What rounds up to ten cents is written as ten cents are.
  const size = Math.abs(value) < 0.1 ? Number(Math.abs(value).toPrecision(2)) : Math.abs(value);
  const places = size >= 100 || size === 0 ? 0 : size >= 0.1 ? 2 : Math.min(1 - Math.floor(Math.log10(size)), 9);
  const digits = size.toLocaleString("en-US", { minimumFractionDigits: size >= 0.1 ? places : 0, maximumFractionDigits: places });
  return `${value < 0 ? "−" : ""}$${digits}`;
}

/** A price as its provider states it, with all its digits. @param {number} value USD per million tokens */
export const price = (value) => `$${value.toLocaleString("en-US", { minimumFractionDigits: Number.isInteger(value) ? 0 : 2, maximumFractionDigits: 12 })}`;

/** @param {number} value USD of one call */
export const usdPerThousand = (value) => usd(value * 1000);

/**
 * @param {number} value a share, 0 to 1
 * @param {number} [places]
 */
export const percent = (value, places = 0) => `${(value * 100).toFixed(places)}\u00a0%`;

/**
 * The ends of an interval of shares.
 * @param {{ lo: number, hi: number }} interval
 */
export const percentRange = ({ lo, hi }) => `${(lo * 100).toFixed(0)} to ${(hi * 100).toFixed(0)}\u00a0%`;

/** @param {number} value */
export const count = (value) => Math.round(value).toLocaleString("en-US");

/** @param {number} microseconds */
export function elapsed(microseconds) {
  return microseconds < 1000 ? `${Math.max(1, Math.round(microseconds))} µs` : `${(microseconds / 1000).toFixed(microseconds < 10000 ? 1 : 0)} ms`;
}

/**
 * The parts of a model id such as `anthropic/claude-sonnet-5-5@low`.
 * @param {string} id
 * @returns {{ provider: string, name: string, effort: string }} absent parts are empty
 */
export function modelParts(id) {
  const [, provider = "", name, effort = ""] = /^(?:([^/]+)\/)?([^@]+)(?:@(.+))?$/.exec(id) ?? [id, "", id, ""];
  return { provider, name, effort };
}

/** @param {string} id the short name of a model: no provider */
export function shortName(id) {
  const { name, effort } = modelParts(id);
  return effort ? `${name} ${effortName(effort)}` : name;
}

/** @param {string} id the same inside a sentence, where it is not to break at its hyphens */
export const nameInText = (id) => shortName(id).replaceAll("-", "\u2011");

/** @param {string} effort */
export const effortName = (effort) => (effort === "none" ? "no reasoning" : effort);

/** Exclusion and decision codes in words. */
export const CODES = {
  best_value: "best value",
  below_floor: "below the floor",
  warm_cache: "warm cache",
  only_candidate: "only candidate",
  pinned: "pinned",
  no_candidate: "no candidate",
  price_unknown: "price unknown",
  over_cap: "over the price cap",
  context_too_small: "context too small",
  unknown_capability: "capability not stated",
  missing_capability: "lacks a capability",
  not_allowed: "not allowed",
  not_private: "provider not private",
  unhealthy: "unhealthy",
  workload_full: "workload full",
  budget_spent: "budget spent",
  retired: "retired",
  ability_unknown: "ability unknown",
};
