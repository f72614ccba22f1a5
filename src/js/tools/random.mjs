// Chance that is the same in every run: drawn from a seed and a name, so that it does not depend on
// the order in which concurrent requests happen to arrive.

/**
 * A generator of numbers in [0, 1) (mulberry32 over a hash of the names).
 * @param {...(string | number)} names
 */
export function random(...names) {
  let state = 0x811c9dc5;
  for (const character of names.join("\n")) state = Math.imul(state ^ character.charCodeAt(0), 0x01000193);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** An integer from `low` to `high`, both included. @param {() => number} next @param {number} low @param {number} high */
export const between = (next, low, high) => low + Math.floor(next() * (high - low + 1));

/** @template T @param {() => number} next @param {T[]} items */
export const pick = (next, items) => items[Math.floor(next() * items.length)];
