/** The catalog as a sortable table; a row opens its model. */
import { SOURCES, level, levelGauge } from "../ability.js";
import { h } from "../dom.js";
import { count, effortName, modelParts, percent, price } from "../format.js";
import { sorting } from "../sorting.js";

/** @typedef {import("pennyroute").CatalogModel & { alone: number | null, changed: boolean }} Row `alone`: its quality on average traffic */

/** `first`: the direction of the first press. */
const COLUMNS = [
  { label: "Model", key: (row) => row.id, first: 1 },
  { label: "Alone", title: "Share of average traffic that it would answer right", key: (row) => row.alone, first: -1, numeric: true, className: "alone" },
  { label: "In", title: "USD per million input tokens", key: (row) => row.cost?.input ?? null, first: 1, numeric: true },
  { label: "Out", title: "USD per million output tokens", key: (row) => row.cost?.output ?? null, first: 1, numeric: true },
  { label: "Cached", title: "USD per million input tokens read from the provider's cache", key: (row) => row.cost?.cache_read ?? null, first: 1, numeric: true, className: "wide-only" },
  { label: "Context", title: "Most tokens of input and output together", key: (row) => row.limit?.context ?? null, first: -1, numeric: true, className: "wide-only" },
  { label: "Can", key: (row) => abilities(row).length, first: -1, className: "wide-only" },
  { label: "Ability by", key: (row) => row.ability?.source ?? null, first: 1, className: "wide-only" },
  { label: "Retires", key: (row) => row.deprecation_date ?? null, first: 1, className: "wide-only" },
];

/** What a model can do, in a word each. @param {import("pennyroute").CatalogModel} model */
export function abilities({ tool_call, json, modalities, reasoning, private: isPrivate }) {
  const other = (modalities ?? []).filter((kind) => kind !== "text").map((kind) => ({ image: "images", video: "video", audio: "audio", pdf: "PDF" })[kind] ?? kind);
  return [tool_call && "tools", json && "JSON", reasoning && "reasoning", ...other, isPrivate && "private"].filter(Boolean);
}

/**
 * @param {HTMLElement} container
 * @param {(id: string) => void} onOpen
 */
export function catalogTable(container, onOpen) {
  /** @type {Row[]} */
  let rows = [];

  const body = h("tbody");
  const { headers, sorted } = sorting(COLUMNS, COLUMNS[1], { tie: (a, b) => a.id.localeCompare(b.id), onSort: draw });
  container.replaceChildren(h("table", { className: "catalog-table" },
    h("caption", { className: "visually-hidden", textContent: "Models of the catalog, prices in USD per million tokens. Column headers sort; a model's name opens it." }),
    h("thead", {}, h("tr", {}, ...headers)), body));

  function draw() {
    const focused = [...body.rows].find((row) => row.contains(document.activeElement));
    body.replaceChildren(...sorted(rows).map(line));
    if (focused) focus(focused.dataset.model);
    if (rows.length === 0) body.replaceChildren(h("tr", {}, h("td", { colSpan: COLUMNS.length, className: "none quiet", textContent: "No model of the catalog is like that." })));
  }

  /** The focus to the model's row, or the table where it has none any more. @param {string} id */
  function focus(id) {
    const row = [...body.rows].find(({ dataset }) => dataset.model === id);
    (row?.querySelector("button") ?? container).focus({ preventScroll: true });
  }

  /** @param {Row} row */
  function line(row) {
    const { provider, name, effort } = modelParts(row.id);
    const interval = level(row.ability);
    const tr = h("tr", { className: row.changed ? "changed" : "" },
      h("th", { scope: "row" },
        h("button", { type: "button", className: "open", onclick: () => onOpen(row.id) },
          h("span", { className: "name", textContent: name }), effort ? h("span", { className: "effort", textContent: effortName(effort) }) : null),
        h("span", { className: "quiet", textContent: provider }), row.changed ? h("span", { className: "pill chosen", textContent: "yours" }) : null),
      h("td", { className: "numeric alone" }, interval && levelGauge(interval), row.alone === null ? none() : percent(row.alone, 1)),
      priceCell(row.cost?.input), priceCell(row.cost?.output), priceCell(row.cost?.cache_read, "wide-only"),
      h("td", { className: "numeric wide-only" }, row.limit?.context ? tokens(row.limit.context) : none()),
      h("td", { className: "wide-only quiet", textContent: abilities(row).join(", ") }),
      h("td", { className: "wide-only quiet", textContent: SOURCES[row.ability?.source] ?? "nothing yet" }),
      h("td", { className: "wide-only quiet" }, row.deprecation_date ?? none()));
    tr.dataset.model = row.id;
    return tr;
  }

  return {
    focus,
    /**
     * @param {import("pennyroute").CatalogModel[]} models
     * @param {{ constants: { model: string, quality: number }[] }} known
     * @param {import("../state.js").Changes} changes
     */
    show(models, { constants }, changes) {
      const alone = new Map(constants.map(({ model, quality }) => [model, quality]));
      rows = models.map((model) => ({ ...model, alone: alone.get(model.id) ?? null, changed: model.id in changes }));
      draw();
    },
  };
}

/** Tokens in words as short as a column needs. @param {number} value */
export function tokens(value) {
  return value >= 1e6 ? `${(value / 1e6).toFixed(value % 1e6 < 5e4 ? 0 : 1)} M` : value >= 1e4 ? `${Math.round(value / 1e3)} k` : count(value);
}

/** @param {number | null | undefined} value @param {string} [className] */
function priceCell(value, className = "") {
  return h("td", { className: `numeric ${className}` }, typeof value === "number" ? price(value) : none());
}

const none = () => h("span", { className: "quiet" }, h("span", { "aria-hidden": "true", textContent: "–" }), h("span", { className: "visually-hidden", textContent: "not stated" }));
