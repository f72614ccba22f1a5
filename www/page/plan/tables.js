/** The tables under a plan. Inputs keep their focus while the figures around them change. */
import { h } from "../dom.js";
import { count, effortName, modelParts, percent, shortName, usd } from "../format.js";

/**
 * @param {string} caption
 * @param {{ label: string, className?: string }[]} columns
 */
function table(caption, columns) {
  const body = h("tbody");
  const element = h("table", { className: "plain" },
    h("caption", { className: "visually-hidden", textContent: caption }),
    h("thead", {}, h("tr", {}, ...columns.map(({ label, className = "" }) => h("th", { scope: "col", className, textContent: label })))), body);
  return { element, body };
}

/** Replaces rows; the input that has the focus gets it back. */
function refill(body, rows) {
  const { key } = /** @type {HTMLElement} */ (document.activeElement).dataset;
  const focused = body.contains(document.activeElement);
  body.replaceChildren(...rows);
  if (focused) [...body.querySelectorAll("input")].find((input) => input.dataset.key === key)?.focus();
}

/** @param {string} model */
function modelName(model) {
  const { provider, name, effort } = modelParts(model);
  return h("th", { scope: "row" },
    h("span", { className: "name", textContent: name }), effort ? h("span", { className: "effort", textContent: effortName(effort) }) : null,
    h("span", { className: "quiet", textContent: provider }));
}

const cell = (text, className = "numeric") => h("td", { className, textContent: text });

/**
 * @param {string} key
 * @param {Record<string, unknown>} props
 * @param {(value: number | undefined) => void} onChange with undefined where it is emptied
 */
function numberInput(key, props, onChange) {
  const input = h("input", { type: "number", inputMode: "decimal", ...props });
  input.dataset.key = key;
  input.onchange = () => onChange(input.validity.badInput ? NaN : input.value === "" ? undefined : input.valueAsNumber);
  return input;
}

/**
 * The models of a plan with their shares, and the most calls of each.
 * @param {HTMLElement} container
 * @param {(model: string, most: number | undefined) => void} onLimit
 */
export function modelsTable(container, onLimit) {
  const { element, body } = table("Models of the plan: their calls, cost and mean quality, and the most calls that each may get", [
    { label: "Model" }, { label: "Share", className: "share" }, { label: "Calls", className: "numeric" }, { label: "Cost", className: "numeric" },
    { label: "Mean quality", className: "numeric wide" }, { label: "Most calls", className: "numeric" },
  ]);
  container.replaceChildren(element);
  return {
    show({ models, queries }) {
      refill(body, models.map(({ model, queries: calls, cost_usd: cost, quality, limit }) => h("tr", {},
        modelName(model),
        h("td", { className: "share" }, bar(calls / queries)),
        cell(count(calls)), cell(usd(cost)), cell(quality === null ? "–" : percent(quality, 1), "numeric wide"),
        h("td", { className: "numeric" }, numberInput(model, { min: "0", step: "1", placeholder: "any", value: limit ?? "", ariaLabel: `Most calls of ${shortName(model)}` }, (most) => onLimit(model, most))))));
    },
  };
}

/** @param {number} share */
function bar(share) {
  const element = h("span", { className: "share-bar", "aria-hidden": "true" });
  element.style.setProperty("--share", `${share * 100}%`);
  return h("span", { className: "share-cell" }, element, h("span", { textContent: share > 0 && share < 0.0005 ? "under 0.1\u00a0%" : percent(share, share < 0.0995 ? 1 : 0) }));
}

/**
 * Groups, with a floor for each.
 * @param {HTMLElement} container
 * @param {(group: string, least: number | undefined) => void} onFloor
 */
export function groupsTable(container, onFloor) {
  const { element, body } = table("Groups: their prompts, mean quality and the least mean quality that each is to have", [
    { label: "Group" }, { label: "Prompts", className: "numeric" }, { label: "Mean quality", className: "numeric" }, { label: "Floor, %", className: "numeric" },
  ]);
  container.replaceChildren(element);
  return {
    show({ groups }) {
      refill(body, groups.map(({ name, queries, quality, floor }) => h("tr", {},
        h("th", { scope: "row", className: "group", textContent: name || "no group" }),
        cell(count(queries)), cell(quality === null ? "–" : percent(quality, 1)),
        h("td", { className: "numeric" }, numberInput(name, { min: "0", max: "100", step: "any", placeholder: "none", value: floor === null ? "" : String(Number((floor * 100).toFixed(2))), ariaLabel: `Floor of ${name || "no group"}, percent` },
          (least) => onFloor(name, least === undefined ? undefined : least / 100))))));
    },
  };
}

/**
 * What it would be to always call one model: those that reach the plan's quality first, the cheapest of them on top.
 * @param {HTMLElement} container
 */
export function constantsTable(container) {
  const { element, body } = table("What it would cost to always call one model, and what the plan saves against it", [
    { label: "Always" }, { label: "Mean quality", className: "numeric" }, { label: "Cost", className: "numeric" }, { label: "The plan saves", className: "numeric" },
  ]);
  container.replaceChildren(element);
  return {
    show(constants, plan) {
      const reaches = (constant) => constant.refused === 0 && constant.quality >= plan.quality;
      const sorted = [...constants].sort((a, b) => Number(reaches(b)) - Number(reaches(a)) || (reaches(a) ? a.cost_usd - b.cost_usd : b.quality - a.quality));
      refill(body, sorted.map((constant) => {
        const saved = constant.cost_usd - plan.cost_usd;
        return h("tr", { className: reaches(constant) ? "reaches" : "" },
          modelName(constant.model),
          cell(`${percent(constant.quality, 1)}${constant.refused > 0 ? `, refuses ${count(constant.refused)}` : ""}`),
          cell(usd(constant.cost_usd)),
          h("td", { className: `numeric ${saved > 0 && reaches(constant) ? "saved" : ""}` },
            ...(saved > 0 ? [h("span", { className: "wide", textContent: `${usd(saved)}, ` }), percent(saved / constant.cost_usd)] : [usd(saved)])));
      }));
    },
  };
}
