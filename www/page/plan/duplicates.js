/**
 * Near-duplicates among vectors of unit length: those whose cosine with an earlier one that is none itself reaches a
 * threshold. Exact: every pair is compared, but most by a part of their numbers alone. What the others can add to
 * a product is at most the product of their lengths (Cauchy and Schwarz), and that is seldom enough.
 */

/** Numbers that are looked at first. */
const HEAD = 64;
/** Products in a row: a twentieth of a second or so. */
const PART = 500_000;
/** What float32 may be off. */
const SLACK = 1e-5;

/**
 * @param {Float32Array} vectors one after another
 * @param {number} dimensions
 * @param {number} threshold
 * @param {{ progress?: (progress: { done: number, total: number }) => void, pause?: () => Promise<void> }} [context]
 * @returns {Promise<{ of: Uint32Array, cosine: Float32Array }>} the most similar one that each repeats, itself where
 *   it repeats none, and their cosine
 */
export async function nearDuplicates(vectors, dimensions, threshold, { progress, pause } = {}) {
  const total = vectors.length / dimensions;
  const head = Math.min(HEAD, dimensions);
  const of = Uint32Array.from({ length: total }, (_, i) => i);
  const cosine = new Float32Array(total).fill(1);
  const tails = Float32Array.from({ length: total }, (_, i) => Math.sqrt(dot(vectors, i * dimensions, i * dimensions, head, dimensions)));
  /** Those that repeat none. */
  const kept = new Uint32Array(total);
  let [length, products] = [0, 0];
  for (let i = 0; i < total; i++) {
    let least = threshold - SLACK;
    for (let k = 0; k < length; k++) {
      const j = kept[k];
      const part = dot(vectors, i * dimensions, j * dimensions, 0, head);
      if (part + tails[i] * tails[j] < least) continue;
      const whole = part + dot(vectors, i * dimensions, j * dimensions, head, dimensions);
      // The earlier one of several that are as similar.
      if (whole < least || (of[i] !== i && whole <= cosine[i])) continue;
      [of[i], cosine[i], least] = [j, whole, whole];
    }
    products += length;
    if (of[i] === i) kept[length++] = i;
    if (products < PART) continue;
    products = 0;
    progress?.({ done: i + 1, total });
    await pause?.();
  }
  return { of, cosine };
}

/** The product of numbers `from` to `to` of two vectors, by where they begin. */
function dot(vectors, a, b, from, to) {
  let sum = 0;
  for (let k = from; k < to; k++) sum += vectors[a + k] * vectors[b + k];
  return sum;
}
