/**
 * What quality costs for a batch, as a plot: the best plans as a curve, every constant choice as a point,
 * and the plan at hand. Pressing somewhere plans for the quality there.
 */
import * as Plot from "@observablehq/plot";
import { count, percent, shortName, usd } from "../format.js";
import { costPlot, costRange, pointerTip } from "../plot.js";

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
  const [low, high] = costRange(all.map(({ cost }) => cost));
  const domain = /** @type {[number, number]} */ ([low * 0.8, high * 1.25]);
  /** Where a cost is drawn: the axis has no zero. */
  const shown = (cost) => Math.max(cost, domain[0]);
  const least = Math.min(...all.map(({ quality }) => quality));
  const place = { x: ({ cost }) => shown(cost), y: "quality" };

  const svg = costPlot({
    label: "Mean quality over cost of the batch: the best plans, and every model by itself",
    description: describe(line, points),
    width,
    height,
    x: domain,
    y: [Math.max(0, Math.floor(least * 10) / 10), 1],
    unit: "prompts",
    marks: [
      Plot.dot(points, { ...place, r: 3.5, fill: "var(--dot)", stroke: "var(--surface)", strokeWidth: 1, className: "constant" }),
      Plot.line(line, { ...place, stroke: "var(--ink)", strokeOpacity: 0.55, strokeWidth: 1.75 }),
      pointerTip(points, { ...place, title: tooltip, maxRadius: 20 }),
    ],
  });

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
      mark.setAttribute("cx", String(x.apply(shown((plan.cost_usd * 1000) / plan.queries))));
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
