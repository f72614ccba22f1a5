/** Globs over catalog ids: `*` is any text, `?` any one character. They match as the router's own do. */

/** @type {Map<string, RegExp>} */
const compiled = new Map();

/** @param {string} glob @param {string} id */
export function matches(glob, id) {
  let pattern = compiled.get(glob);
  if (!pattern) {
    pattern = new RegExp(`^${glob.replace(/[\\^$.|+()[\]{}]/g, "\\$&").replaceAll("*", ".*").replaceAll("?", ".")}$`, "s");
    compiled.set(glob, pattern);
  }
  return pattern.test(id);
}
