/** What the simulated APIs share: refusing what the real ones refuse. */

/** A request that the simulated API refuses with 400. */
export class Refused extends Error {}

/** @param {unknown} condition @param {string} message */
export function need(condition, message) {
  if (!condition) throw new Refused(message);
}

/**
 * Refuses unknown fields, as strict APIs do.
 * @param {any} value
 * @param {string[]} known
 * @param {string} at
 */
export function only(value, known, at) {
  need(value !== null && typeof value === "object" && !Array.isArray(value), `${at}: an object is needed`);
  for (const name of Object.keys(value)) need(known.includes(name), `${at}.${name}: Extra inputs are not permitted`);
}

/** Pieces of a text, as a stream sends them. @param {string | null} text */
export function piecesOf(text) {
  return (text ?? "").match(/\s*\S{1,8}/g) ?? [];
}
