/** The headers of a table, which sort it. */
import { h } from "./dom.js";

/**
 * @template Row
 * @typedef {{ label: string, title?: string, key: (row: Row) => number | string | null, first: 1 | -1, numeric?: boolean, className?: string }} Column
 *   `first`: the direction of the first press; each further one turns it
 */

/**
 * @template Row
 * @param {Column<Row>[]} columns
 * @param {Column<Row>} column by which it is sorted at first
 * @param {{ tie: (a: Row, b: Row) => number, onSort: () => void }} options `tie`: the order of equals
 * @returns {{ headers: HTMLElement[], sorted: (rows: Row[]) => Row[] }}
 */
export function sorting(columns, column, { tie, onSort }) {
  let direction = column.first;
  const headers = columns.map((each) => h("th", { scope: "col", className: [each.numeric ? "numeric" : "", each.className ?? ""].join(" ") },
    h("button", { type: "button", textContent: each.label, title: each.title ?? "", onclick: () => sortBy(each) })));
  mark();

  /** @param {Column<Row>} chosen */
  function sortBy(chosen) {
    direction = /** @type {1 | -1} */ (chosen === column ? -direction : chosen.first);
    column = chosen;
    mark();
    onSort();
  }

  function mark() {
    headers.forEach((header, i) => {
      if (columns[i] === column) header.ariaSort = direction === 1 ? "ascending" : "descending";
      else header.removeAttribute("aria-sort");
    });
  }

  /** Rows without a figure come last, whichever the direction. @param {Row} a @param {Row} b */
  function compare(a, b) {
    const [x, y] = [column.key(a), column.key(b)];
    if (x === null || y === null) return Number(x === null) - Number(y === null) || tie(a, b);
    const order = typeof x === "string" ? x.localeCompare(/** @type {string} */ (y)) : x - /** @type {number} */ (y);
    return order * direction || tie(a, b);
  }

  return { headers, sorted: (rows) => [...rows].sort(compare) };
}
