/** A plan in words. */
import { count, nameInText, percent, usd } from "../format.js";

/** @param {number} seconds */
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return "unknown time";
  if (seconds < 1.5) return "1 s";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return `${Math.round(seconds / 60)} min`;
}

/**
 * The cheapest constant choice with the plan's quality over all prompts, or else the best one there is.
 * @param {{ model: string, quality: number, cost_usd: number, refused: number }[]} constants
 * @param {number} quality
 */
export function rival(constants, quality) {
  const able = constants.filter((constant) => constant.refused === 0);
  const equal = able.filter((constant) => constant.quality >= quality).sort((a, b) => a.cost_usd - b.cost_usd).at(0);
  const best = able.reduce((a, b) => (a && a.quality >= b.quality ? a : b), undefined);
  return { model: equal ?? best, reaches: equal !== undefined };
}

/**
 * How good a plan is proven to be.
 * @param {{ status: string, gap: number, stopped: boolean }} plan
 */
export function proof({ status, gap, stopped }) {
  if (status === "optimal") return { value: "proven", note: "no assignment is better" };
  return {
    // Rounded up, since it is a promise.
    value: `within ${Math.max(1e-5, ceil(gap * 100))}\u00a0%`,
    note: stopped ? "of the proven bound, where the search was stopped" : "of the best there can be: the bound is proven",
  };
}

/** Up to one digit. @param {number} value above 0 */
function ceil(value) {
  const step = 10 ** Math.floor(Math.log10(value));
  return Number((Math.ceil(value / step) * step).toPrecision(1));
}

/**
 * The shadow prices: what a little more of each requirement costs.
 * @param {any} plan
 * @param {boolean} toBudget the goal is a budget
 */
export function shadowPrices({ queries, quality, point_usd: point, models, groups }, toBudget) {
  const sentences = [];
  const thousand = (value) => `${usd((value * 1000) / queries)} per 1,000 prompts`;
  if (point > 0) sentences.push(toBudget ? `The last point of quality costs ${thousand(point)}.` : `One more point of quality costs ${thousand(point)}.`);
  else if (!toBudget) sentences.push(`The target costs nothing: the cheapest plan reaches ${percent(quality, 1)} by itself.`);
  for (const { model, slot_usd: slot } of models.filter((each) => each.slot_usd > 0)) {
    sentences.push(toBudget ? `One more call of ${nameInText(model)} is worth ${usd(slot)}.` : `One more call of ${nameInText(model)} would save ${usd(slot)}.`);
  }
  for (const { name, point_usd: price } of groups.filter((each) => each.point_usd > 0)) {
    sentences.push(`One more point for ${name || "prompts without a group"} costs ${usd(price)}.`);
  }
  return sentences;
}

/**
 * Why there is no plan, and the change that makes one possible.
 * @param {any} plan
 * @returns {{ why: string, label: string, change: { quality?: number, budget?: number, scale?: number, limits?: boolean, policy?: boolean } }}
 */
export function infeasible({ code, reason, proven, largest_feasible: largest, queries }) {
  const doubt = proven ? "" : " (This much was found, not proven.)";
  const down = (share) => Math.floor(share * 1000) / 1000;
  // Up to five digits, so that rounding does not ask for too little again.
  const up = (dollars) => {
    const step = 10 ** (Math.floor(Math.log10(dollars)) - 4);
    return Number((Math.ceil(dollars / step) * step).toPrecision(6));
  };
  switch (code) {
    case "quality_unreachable":
      return { why: `The batch can reach a mean quality of ${percent(largest, 1)} at most.${doubt}`, label: `Aim for ${percent(down(largest), 1)}`, change: { quality: down(largest) } };
    case "budget_unreachable":
      return { why: `The cheapest plan costs ${usd(largest)}.${doubt}`, label: `Allow ${usd(largest)}`, change: { budget: up(largest) } };
    case "budget_too_small":
      return { why: `The budget buys a mean quality of ${percent(largest, 1)} at most.${doubt}`, label: `Aim for ${percent(down(largest), 1)}`, change: { quality: down(largest) } };
    case "floors_unreachable":
      return { why: `Only ${percent(largest, 1)} of what is asked of the groups and the batch can be met at once.${doubt}`, label: `Lower all of it to ${percent(down(largest), 1)}`, change: { scale: down(largest) } };
    case "workload_total":
    case "workload_hall":
      return { why: `With these limits of calls ${count(largest)} of ${count(queries)} prompts can be answered.${doubt}`, label: "Lift the limits", change: { limits: true } };
    case "no_candidate":
      return { why: `${count(queries - largest)} prompts may go to none of the models that take part.${doubt}`, label: "Let all models take part", change: { policy: true } };
    default:
      return { why: reason, label: "", change: {} };
  }
}

/**
 * What a path's rate was taken from.
 * @param {"cpu" | "gpu"} path
 * @param {import("pennyroute/encoder").EncoderReceipt} receipt
 * @param {{ texts: number } | undefined} rate
 */
export function rateNote(path, receipt, rate) {
  if (!rate) return "not measured";
  if (path !== receipt.path) return `measured on ${count(rate.texts)} of the prompts`;
  return [`${count(receipt.texts)} prompts, ${receipt.precision}`, receipt.adapter].filter(Boolean).join(", ");
}

/**
 * Why a batch was embedded on the path that its receipt names.
 * @param {{ receipt: import("pennyroute/encoder").EncoderReceipt, forced: boolean, calibration: import("pennyroute/encoder").Calibration[] }} done
 */
export function pathReason({ receipt: { path, fallback, texts }, forced, calibration }) {
  if (fallback) return `On the CPU, since the GPU would not (${fallback.code}: ${fallback.reason}).`;
  if (forced) return `On the ${path === "gpu" ? "GPU" : "CPU"}, as you asked.`;
  const size = calibration.findLast(({ batch }) => batch <= texts) ?? calibration[0];
  if (!size) return "On the CPU, the only path there is here.";
  const times = size.path === "gpu" ? size.cpu_ms / size.gpu_ms : size.gpu_ms / size.cpu_ms;
  const measured = size.cpu_measured && size.gpu_measured ? "measured" : "estimated from smaller batches";
  return `On the ${size.path === "gpu" ? "GPU" : "CPU"}, ${times < 9.5 ? times.toFixed(1) : count(times)} times as fast for ${count(size.batch)} short texts (${measured} as the encoder was loaded).`;
}
