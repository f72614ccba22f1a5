/** The plot's figures as a sortable table. */
import { gauge } from "./decision.js";
import { h } from "./dom.js";
import { count, effortName, modelParts, percent, percentRange, usd } from "./format.js";
import { sorting } from "./sorting.js";

/** @typedef {import("./rows.js").Row} Row */

/**
 * `first`: the direction of the first press.
 * @type {{ label: string, title?: string, key: (row: Row) => number | string | null, first: 1 | -1, numeric?: boolean, className?: string }[]}
 */
const COLUMNS = [
  { label: "Model", key: (row) => row.model, first: 1 },
  { label: "Quality", title: "Expected quality with its 90 % interval", key: (row) => row.quality?.estimate ?? null, first: -1, numeric: true },
  { label: "Per 1,000", title: "Expected cost of 1,000 such calls with its 90 % interval", key: (row) => row.cost?.estimate ?? null, first: 1, numeric: true },
  { label: "Answer tokens", title: "Expected tokens of the answer, reasoning included", key: (row) => row.tokens?.estimate ?? null, first: 1, numeric: true, className: "tokens" },
  { label: "Standing", title: "Its place, and why it is not chosen: what it costs beside what its quality is worth at this target", key: (row) => row.rank, first: 1, className: "standing" },
];

/**
 * @param {HTMLElement} container
 * @param {(model: string | null) => void} onPoint called as the pointer enters a row, with null as it leaves
 */
export function modelsTable(container, onPoint) {
  /** @type {Row[]} */
  let rows = [];

  const body = h("tbody");
  const { headers, sorted } = sorting(COLUMNS, COLUMNS[4], { tie: (a, b) => (a.cost?.estimate ?? Infinity) - (b.cost?.estimate ?? Infinity) || 0, onSort: draw });
  container.replaceChildren(h("table", {},
    h("caption", { className: "visually-hidden", textContent: "Expected quality and cost of every model for this prompt. Column headers sort." }),
    h("thead", {}, h("tr", {}, ...headers)), body));
  body.onpointerover = (event) => onPoint(/** @type {HTMLElement} */ (event.target).closest("tr")?.dataset.model ?? null);
  body.onpointerleave = () => onPoint(null);

  function draw() {
    body.replaceChildren(...sorted(rows).map(line));
  }

  return {
    /** @param {Row[]} next */
    show(next) {
      rows = next;
      draw();
    },
  };
}

/** @param {Row} row */
function line(row) {
  const { provider, name, effort } = modelParts(row.model);
  const tr = h("tr", { className: row.role },
    h("th", { scope: "row" },
      h("span", { className: "name", textContent: name }), effort ? h("span", { className: "effort", textContent: effortName(effort) }) : null,
      h("span", { className: "quiet" }, provider, h("span", { className: "narrow", textContent: [provider && " ", row.status, row.why].filter(Boolean).join(" · ") }))),
    row.quality
      ? h("td", { className: "numeric" }, gauge(row.quality), value(percent(row.quality.estimate, 1), percentRange(row.quality)))
      : missing(),
    row.cost ? h("td", { className: "numeric cost" }, value(usd(row.cost.estimate), `${usd(row.cost.lo)} to ${usd(row.cost.hi)}`)) : missing(),
    row.tokens ? h("td", { className: "numeric tokens", textContent: count(row.tokens.estimate) }) : missing("tokens"),
    h("td", { className: "standing" }, h("span", { className: `pill ${row.role}`, textContent: row.status }), h("span", { className: "why quiet", textContent: row.why })));
  tr.dataset.model = row.model;
  return tr;
}

/**
 * @param {string} estimate
 * @param {string} interval
 */
function value(estimate, interval) {
  return h("span", {}, estimate, " ", h("small", { textContent: interval }));
}

function missing(column = "") {
  return h("td", { className: `numeric quiet ${column}` }, h("span", { "aria-hidden": "true", textContent: "–" }), h("span", { className: "visually-hidden", textContent: "unknown" }));
}
