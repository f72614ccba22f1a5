// Batches of estimates that were made a part at a time.

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
