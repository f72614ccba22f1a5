/**
 * A JSON object's text with one member's value replaced, or the member added; every other byte stays
 * as the page wrote it, which parsing and writing again would not keep.
 * @param {string} text of an object that parses
 * @param {string} key
 * @param {unknown} value
 */
export function withMember(text, key, value) {
  const written = JSON.stringify(value);
  let depth = 0;
  /** The member of the outermost object at hand: its name, where its value starts, where it ended so far. */
  let [name, start, end] = [/** @type {string | null} */ (null), 0, 0];
  /** @type {[number, number] | undefined} the last one of that name counts, as in parsing */
  let found;
  for (let i = 0; i < text.length; i += 1) {
    const c = text[i];
    if (c === '"') {
      const close = stringEnd(text, i);
      if (depth === 1 && name === null) name = JSON.parse(text.slice(i, close));
      i = close - 1;
    } else if (depth === 1 && (c === "," || c === "}")) {
      if (name === key) found = [start, end];
      if (c === "}") break;
      name = null;
    } else if (c === ":" && depth === 1) start = i + 1 + /^\s*/.exec(text.slice(i + 1, i + 100))[0].length;
    else if (c === "{" || c === "[") depth += 1;
    else if (c === "}" || c === "]") depth -= 1;
    if (!/\s/.test(c)) end = i + 1;
  }
  if (found) return text.slice(0, found[0]) + written + text.slice(found[1]);
  const comma = name === null ? "" : ",";
  return `${text.slice(0, end)}${comma}${JSON.stringify(key)}:${written}${text.slice(end)}`;
}

/**
 * Where the string that opens at `open` is over. Quotes are looked for, not each character: a string
 * may be an image of megabytes.
 * @param {string} text
 * @param {number} open
 */
function stringEnd(text, open) {
  for (let close = open; ;) {
    close = text.indexOf('"', close + 1);
    let backslashes = 0;
    while (text[close - 1 - backslashes] === "\\") backslashes += 1;
    if (backslashes % 2 === 0) return close + 1;
  }
}
