/** Whom to try, in which order, and what to say when nobody answered. */

import { HttpError } from "./errors.js";
import { receiptHeaders } from "../src/js/receipts.js";

/** @typedef {import("pennyroute").Decision} Decision */
/** @typedef {import("./errors.js").AttemptError} AttemptError */
/** @typedef {{model: string, failure: string, message: string, retryAfter: string | null}} Failed */

/** Failures without a call. */
const UNCALLED = new Set(["workload_full", "budget_spent", "ledger_unreachable", "resting", "unsupported"]);

/**
 * The models to try in turn; one that was named in the request has no fallbacks. After a failure,
 * what would meet the same one is passed over: the same model at another effort, or every model of a
 * provider that refuses our key.
 * @param {Decision} decision
 * @param {import("./config.js").Settings} settings
 * @param {number} most calls
 * @param {Failed[]} failed so far
 */
export function* candidates(decision, { models, providers }, most, failed) {
  const dead = new Set();
  for (const id of [decision.model, ...decision.fallbacks]) {
    const model = models.get(/** @type {string} */ (id));
    const provider = model && providers.get(model.provider);
    if (failed.filter(({ failure }) => !UNCALLED.has(failure)).length >= most) return;
    if (!model || !provider || dead.has(provider.name) || dead.has(`${provider.name}/${model.base}`)) continue;
    yield {
      model,
      provider,
      failed: (/** @type {AttemptError} */ error) => {
        // Another effort of the same model may still have room in a budget.
        if (error.failure !== "budget_spent") dead.add(error.ofProvider ? provider.name : `${provider.name}/${model.base}`);
      },
    };
  }
}

/**
 * @param {Decision} decision
 * @param {string | undefined} named model, beside which the others do not matter
 */
export function noCandidate({ reason, excluded }, named) {
  const told = excluded.filter(({ model }) => named === undefined || model === named);
  const why = told.map(({ model, code }) => `${model} (${code.replaceAll("_", " ")})`).join(", ");
  const because = (/** @type {string} */ code) => told.some((excluded) => excluded.code === code);
  const message = `${reason} Excluded: ${why || "none"}.`;
  // What passes with time, the client may ask again; the rest would meet the same gates.
  const soon = { "retry-after": "1" };
  if (because("workload_full")) return new HttpError(429, "workload_full", message, { headers: soon });
  if (because("unhealthy")) return new HttpError(503, "no_candidate", message, { headers: soon });
  const headers = { "x-should-retry": "false" };
  if (because("budget_spent")) return new HttpError(429, "budget_spent", message, { type: "insufficient_quota", headers });
  return new HttpError(503, "no_candidate", message, { headers });
}

/**
 * Every attempt, in order, so that nobody has to guess which provider to look at.
 * @param {Decision} decision
 * @param {Failed[]} failed
 */
export function allFailed(decision, failed) {
  const told = failed.map(({ model, failure, message }) => `${model}: ${failure} (${message.replace(/\.$/, "")})`).join("; ");
  const every = (/** @type {string[]} */ ...failures) => failed.every(({ failure }) => failures.includes(failure));
  const headers = receiptHeaders(decision, { model: null, failed });
  if (failed.length === 0) return new HttpError(504, "deadline_exceeded", "The deadline passed before any model was tried.", { headers });
  if (every("budget_spent")) {
    return new HttpError(429, "budget_spent", `No model was called. ${told}.`, { type: "insufficient_quota", headers: { ...headers, "x-should-retry": "false" } });
  }
  if (failed.some(({ failure }) => failure === "ledger_unreachable")) return new HttpError(503, "ledger_unreachable", `No model answered. ${told}.`, { headers });
  const status = every("429", "workload_full", "budget_spent", "resting") ? 429 : every("timeout") ? 504 : every("unsupported") ? 400 : 502;
  const waits = failed.map(({ retryAfter }) => retryAfter).filter((wait) => wait !== null);
  // The first model to be free again is enough; a date instead of seconds is passed on as it is.
  const soonest = waits.every((wait) => /^\d+$/.test(wait)) ? String(Math.min(...waits.map(Number))) : waits[0];
  return new HttpError(status, every("workload_full") ? "workload_full" : "all_attempts_failed", `No model answered. ${told}.`, {
    headers: { ...headers, ...(waits.length ? { "retry-after": soonest } : {}) },
  });
}
