/** Globs over model ids. */

/**
 * Whether a glob (`*` any text, `?` one character) matches a text. By hand, because a regular expression of many
 * stars can take exponential time, and globs come from requests.
 * @param {string} glob
 * @param {string} text
 */
export function matches(glob, text) {
  let [g, t, star, retry] = [0, 0, -1, 0];
  while (t < text.length) {
    if (glob[g] === "*") [star, retry] = [g++, t];
    else if (g < glob.length && (glob[g] === "?" || glob[g] === text[t])) [g, t] = [g + 1, t + 1];
    else if (star >= 0) [g, t] = [star + 1, ++retry];
    else return false;
  }
  while (glob[g] === "*") g++;
  return g === glob.length;
}
