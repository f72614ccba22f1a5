/**
 * What quality costs for a batch, as a plot: the best plans as a curve, every constant choice as a point,
 * and the plan at hand. Pressing somewhere plans for the quality there.
 */
import * as Plot from "@observablehq/plot";
import { costTick, decades } from "../chart.js";
import { count, percent, shortName, usd } from "../format.js";

const MARGIN = { top: 14, right: 16, bottom: 44, left: 46 };
const SVG = "http://www.w3.org/2000/svg";

/**
 * @param {{ frontier: import("pennyroute").FrontierPoint[], constants: { model: string, quality: number, cost_usd: number, refused: number }[] }} curve
 *   costs of a prompt on the frontier, of the batch for the constants
 * @param {number} width
 * @param {(quality: number) => void} onTarget
 * @returns {SVGSVGElement & { mark: (plan: { cost_usd: number, quality: number, queries: number } | null) => void }}
 */
export function frontierChart({ frontier, constants, queries }, width, onTarget) {
  const height = Math.round(Math.min(430, Math.max(300, width * 0.55)));
  const line = frontier.map(({ cost_usd: cost, quality }) => ({ cost: cost * 1000, quality }));
  const points = constants.filter(({ refused }) => refused === 0)
    .map(({ model, cost_usd: cost, quality }) => ({ model, cost: (cost * 1000) / queries, quality }));
  const all = [...line, ...points];
  const costs = all.map(({ cost }) => cost).filter((cost) => cost > 0);
  const domain = costs.length > 0 ? [Math.min(...costs) * 0.8, Math.max(...costs) * 1.25] : [0.01, 100];
  const least = Math.min(...all.map(({ quality }) => quality));
  const place = { x: "cost", y: "quality" };

  const svg = /** @type {any} */ (Plot.plot({
    className: "plot-svg",
    ariaLabel: "Mean quality over cost of the batch: the best plans, and every model by itself",
    ariaDescription: describe(line, points),
    width,
    height,
    marginTop: MARGIN.top,
    marginRight: MARGIN.right,
    marginBottom: MARGIN.bottom,
    marginLeft: MARGIN.left,
    style: { fontFamily: "inherit", fontSize: "12px", overflow: "visible" },
    x: { type: "log", domain, label: null },
    y: { domain: [Math.max(0, Math.floor(least * 10) / 10), 1], label: null },
    marks: [
      Plot.gridX({ ticks: decades(domain, width), stroke: "var(--line)", strokeOpacity: 1 }),
      Plot.gridY({ ticks: 5, stroke: "var(--line)", strokeOpacity: 1 }),
      Plot.axisX({ ticks: decades(domain, width), tickFormat: costTick, tickSize: 0, tickPadding: 8, fill: "var(--muted)" }),
      Plot.axisY({ ticks: 5, tickFormat: (value) => percent(value), tickSize: 0, tickPadding: 8, fill: "var(--muted)" }),
      Plot.text(["US dollars per 1,000 prompts, log scale"], { frameAnchor: "bottom-right", dy: 40, fill: "var(--muted)" }),
      Plot.dot(points, { ...place, r: 3.5, fill: "var(--dot)", stroke: "var(--surface)", strokeWidth: 1, className: "constant" }),
      Plot.line(line, { ...place, stroke: "var(--ink)", strokeOpacity: 0.55, strokeWidth: 1.75 }),
      Plot.tip(points, Plot.pointer({ ...place, title: tooltip, fill: "var(--surface)", stroke: "var(--line)", textPadding: 10, lineHeight: 1.35, maxRadius: 20 })),
    ],
  }));

  // Plot brings its rules as an inline <style>, which the page's policy forbids; style.css has them.
  svg.querySelector("style")?.remove();
  // To assistive technology it is one image, described as a whole; Plot would name every layer.
  svg.setAttribute("role", "img");
  for (const layer of svg.querySelectorAll("[aria-label]")) layer.removeAttribute("aria-label");

  const [x, y] = [svg.scale("x"), svg.scale("y")];
  svg.addEventListener("click", (event) => {
    const box = svg.getBoundingClientRect();
    onTarget(y.invert(((event.clientY - box.top) * height) / box.height));
  });
  const mark = document.createElementNS(SVG, "circle");
  mark.setAttribute("class", "here");
  mark.setAttribute("r", "7.5");
  return Object.assign(svg, {
    mark(plan) {
      if (!plan) return mark.remove();
      mark.setAttribute("cx", String(x.apply((plan.cost_usd * 1000) / plan.queries)));
      mark.setAttribute("cy", String(y.apply(plan.quality)));
      svg.append(mark);
    },
  });
}

/** @param {{ model: string, cost: number, quality: number }} point */
function tooltip({ model, cost, quality }) {
  return [`always ${model}`, `mean quality ${percent(quality, 1)}`, `${usd(cost)} per 1,000`].join("\n");
}

function describe(line, points) {
  const [first, last] = [line[0], line[line.length - 1]];
  const best = points.reduce((a, b) => (a && a.quality >= b.quality ? a : b), undefined);
  return [
    `The best plans reach from ${percent(first.quality, 1)} at ${usd(first.cost)} to ${percent(last.quality, 1)} at ${usd(last.cost)} per 1,000 prompts.`,
    best ? `Of ${count(points.length)} models by themselves the best is ${shortName(best.model)}: ${percent(best.quality, 1)} at ${usd(best.cost)}.` : "",
  ].join(" ");
}
