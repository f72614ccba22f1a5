/** The receipt of a decision once a model has answered: as response headers, and whole. */

/** @typedef {import("pennyroute").Decision} Decision */

/**
 * A header value: printable ASCII on one line. Model ids come from a catalog, which is data.
 * @param {string} value
 */
export function headerValue(value) {
  return value.replace(/[^\x20-\x7e]+/g, "?").trim().slice(0, 512);
}

/**
 * The headers for the model that answered, which after a failure is not the one first chosen, or
 * is none.
 * @param {Decision} decision
 * @param {{model?: string | null, failed?: {model: string, failure: string}[]}} [served]
 * @returns {Record<string, string>}
 */
export function receiptHeaders(decision, { model = decision.model, failed = [] } = {}) {
  const { id, code, baseline, versions } = decision;
  const { first, quality, cost } = estimateOf(decision, model);
  const saving = baseline && cost !== undefined ? baseline.cost_usd - cost : undefined;
  /** @type {Record<string, string | undefined>} */
  const values = {
    id,
    model: model ?? undefined,
    code,
    quality: quality?.toFixed(4),
    "cost-usd": dollars(cost),
    "saving-usd": dollars(first ? first.saving_usd : saving),
    catalog: versions.catalog,
    failed: failed.length ? failed.map((f) => `${f.model} ${f.failure}`).join(", ") : undefined,
  };
  return Object.fromEntries(
    Object.entries(values).flatMap(([name, value]) => (value === undefined ? [] : [[`x-pennyroute-${name}`, headerValue(value)]])),
  );
}

/** What the decision expected of a model. @param {Decision} decision @param {string | null} model */
export function estimateOf(decision, model) {
  const other = decision.alternatives.find((alternative) => alternative.model === model);
  const first = model !== null && model === decision.model ? decision : undefined;
  const quality = first ? first.quality?.estimate : other?.quality;
  const cost = first ? first.cost_usd?.estimate : other?.cost_usd;
  return { first, quality, cost };
}

/**
 * The whole receipt, for the answer itself: the decision, which model answered, what it really cost if that is
 * known, and which failed before.
 * @param {Decision} decision
 * @param {{model: string, failed: {model: string, failure: string}[], spent?: number}} served
 */
export function receiptBody(decision, { model, failed, spent }) {
  return { ...decision, served: model, spent_usd: spent ?? null, failed: failed.map(({ model, failure }) => ({ model, failure })) };
}

/**
 * Dollars as plain decimals, which every language parses, to a ten-millionth of a cent.
 * @param {number | null | undefined} value
 */
export function dollars(value) {
  return value === null || value === undefined ? undefined : value.toFixed(9).replace(/\.?0+$/, "");
}
