// Figures from samples.

/** @param {number} value */
export const round = (value) => Math.round(value * 1000) / 1000;

/** @param {number[]} samples @param {number} q */
export function quantile(samples, q) {
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted.length === 0 ? null : round(sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]);
}

/** @param {number[]} samples */
export const mean = (samples) => round(samples.reduce((sum, value) => sum + value, 0) / samples.length);

/**
 * What a gateway added to each answer: the client's wait less the time that providers took, by the
 * request's name.
 * @param {{user: string, latency: number}[]} answers
 * @param {import("./providers.mjs").Entry[]} entries
 */
export function overheads(answers, entries) {
  /** @type {Map<string, number>} */
  const theirs = new Map();
  for (const { user, opened, closed = NaN } of entries) theirs.set(String(user), (theirs.get(String(user)) ?? 0) + closed - opened);
  return answers.map(({ user, latency }) => latency - (theirs.get(user) ?? NaN)).filter(Number.isFinite);
}
