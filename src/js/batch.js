// Estimates of many requests, in the shape that plan() takes.

import { PennyrouteError } from "./error.js";

/**
 * @param {import("./pennyroute.js").Router} wasm
 * @param {Record<string, any>[]} requests
 * @param {number} now
 */
export function estimateBatch(wasm, requests, now) {
  const queries = requests.length;
  const each = requests.map((request, i) => {
    try {
      return { ...wasm.estimate(request, now), decision: wasm.route(request, now) };
    } catch (error) {
      throw error instanceof PennyrouteError ? new PennyrouteError(error.code, `requests[${i}]: ${error.message}`, { cause: error }) : error;
    }
  });
  // The models with a price and an ability: the same ones for every request.
  const ids = each[0].models.map(({ model }) => model);
  const models = ids.length;
  const columns = () => new Float64Array(queries * models);
  const [cost_usd, quality, output_tokens] = [columns(), columns(), columns()];
  each.forEach((it, i) => {
    const excluded = new Set(it.decision.excluded.map(({ model }) => model));
    it.models.forEach((estimate, j) => {
      const at = j * queries + i;
      cost_usd[at] = excluded.has(estimate.model) ? NaN : estimate.cost_usd.estimate;
      quality[at] = estimate.quality.estimate;
      output_tokens[at] = estimate.output_tokens.estimate;
    });
  });
  return {
    queries, models, ids, cost_usd, quality, output_tokens,
    input_tokens: Float64Array.from(each, (it) => it.input_tokens),
    in_distribution: Uint8Array.from(each, (it) => Number(it.in_distribution)),
  };
}

/** Batches over the same models as one, in their order. */
export function joined(parts) {
  const [{ models, ids }] = parts;
  const queries = parts.reduce((sum, part) => sum + part.queries, 0);
  const batch = { queries, models, ids };
  for (const field of ["cost_usd", "quality", "output_tokens"]) {
    batch[field] = new Float64Array(queries * models);
    for (let j = 0, at = 0; j < models; j += 1) {
      for (const part of parts) {
        batch[field].set(part[field].subarray(j * part.queries, (j + 1) * part.queries), at);
        at += part.queries;
      }
    }
  }
  for (const [field, Column] of [["input_tokens", Float64Array], ["in_distribution", Uint8Array]]) {
    batch[field] = Column.from(parts.flatMap((part) => [...part[field]]));
  }
  return batch;
}
