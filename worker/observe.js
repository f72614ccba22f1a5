/**
 * What is told of a finished request: metrics, and one line of JSON in the log. Neither holds a prompt, an answer, a
 * key, or text that a client chose freely.
 */

import { metrics } from "./metrics.js";

/**
 * @typedef {object} Summary undefined where unknown
 * @property {string} [id] of the decision
 * @property {string} [trace]
 * @property {string} [tenant]
 * @property {string | null} [key] the name of the client's key
 * @property {string} api
 * @property {boolean} stream
 * @property {string} [asked] the model in the request
 * @property {string | null} [model] that answered
 * @property {string | null} [chosen] by the decision
 * @property {string} [code] the decision's reason
 * @property {string} [group]
 * @property {number} status
 * @property {string} [error] an error's code
 * @property {{model: string, failure: string}[]} [attempts] that failed
 * @property {number} [input_tokens]
 * @property {number} [output_tokens]
 * @property {number} [cached_tokens]
 * @property {number} [cost_usd]
 * @property {number} [baseline_usd] what the best constant model would have cost
 * @property {number} [route_ms]
 * @property {number} [ours_ms] routing included
 * @property {number} [theirs_ms] until the first token of a stream, else until the whole reply
 * @property {boolean} [unsettled]
 */

/**
 * @param {Summary} summary
 * @param {{has: (model: string) => boolean}} models of the catalog
 */
export function observe(summary, models) {
  const { api, stream, status, model, code, attempts = [] } = summary;
  metrics.count("pennyroute_requests_total", { api, status, stream: String(stream) });
  if (code !== undefined) metrics.count("pennyroute_decisions_total", { model: summary.chosen ?? "none", code });
  for (const attempt of attempts) metrics.count("pennyroute_fallbacks_total", { model: attempt.model, failure: word(attempt.failure) });
  if (model) {
    for (const kind of /** @type {const} */ (["input", "output", "cached"])) {
      const tokens = summary[`${kind}_tokens`];
      if (tokens) metrics.count("pennyroute_tokens_total", { model, kind }, tokens);
    }
    if (summary.cost_usd !== undefined) {
      metrics.count("pennyroute_cost_usd_total", { model }, summary.cost_usd);
      // Without anything to compare with there is no saving.
      metrics.count("pennyroute_baseline_usd_total", {}, summary.baseline_usd ?? summary.cost_usd);
    }
  }
  if (summary.unsettled) metrics.count("pennyroute_unsettled_total");
  if (summary.ours_ms !== undefined) metrics.observe("pennyroute_ours_seconds", {}, summary.ours_ms / 1000);
  if (summary.theirs_ms !== undefined) metrics.observe("pennyroute_theirs_seconds", {}, summary.theirs_ms / 1000);
  const { asked, error, ...told } = summary;
  console.log(JSON.stringify({ event: "request", ...told, asked: askedFor(asked, models), error: error === undefined ? undefined : word(error) }));
}

/** The model that was asked for, where it is one of ours. @param {string | undefined} asked @param {{has: (model: string) => boolean}} models */
function askedFor(asked, models) {
  if (asked === undefined || models.has(asked)) return asked;
  return asked === "auto" || asked.startsWith("auto:") ? "auto" : "other";
}

/** A code that may come from a provider. @param {string} code */
function word(code) {
  return /^[a-z0-9_]{1,40}$/.test(code) ? code : "other";
}
