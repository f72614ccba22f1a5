/**
 * The frame that plots of quality over cost share: axes, grid, what Plot needs under the page's policy, and
 * the logarithmic axis of costs, which has no zero: what is free stands at its left edge.
 */
import * as Plot from "@observablehq/plot";
import { percent, usd } from "./format.js";

export const MARGIN = { top: 14, right: 16, bottom: 44, left: 46 };

/**
 * @param {{ width: number, height: number, x: [number, number], y: [number, number], unit: string, label: string, description: string, marks: any[] }} plot
 *   domains; what `unit` of calls the costs are of
 * @returns {any} the svg, one image with a description
 */
export function costPlot({ width, height, x, y, unit, label, description, marks }) {
  const svg = Plot.plot({
    className: "plot-svg",
    ariaLabel: label,
    ariaDescription: description,
    width,
    height,
    marginTop: MARGIN.top,
    marginRight: MARGIN.right,
    marginBottom: MARGIN.bottom,
    marginLeft: MARGIN.left,
    style: { fontFamily: "inherit", fontSize: "12px", overflow: "visible" },
    x: { type: "log", domain: x, label: null },
    y: { domain: y, label: null },
    marks: [
      Plot.gridX({ ticks: decades(x, width), stroke: "var(--line)", strokeOpacity: 1 }),
      Plot.gridY({ ticks: 5, stroke: "var(--line)", strokeOpacity: 1 }),
      Plot.axisX({ ticks: decades(x, width), tickFormat: costTick, tickSize: 0, tickPadding: 8, fill: "var(--muted)" }),
      Plot.axisY({ ticks: 5, tickFormat: (value) => percent(value), tickSize: 0, tickPadding: 8, fill: "var(--muted)" }),
      Plot.text([`US dollars per 1,000 ${unit}, log scale`], { frameAnchor: "bottom-right", dy: 40, fill: "var(--muted)" }),
      ...marks,
    ],
  });
  // Plot brings its rules as an inline <style>, which the page's policy forbids; style.css has them.
  svg.querySelector("style")?.remove();
  // To assistive technology it is one image, described as a whole; Plot would name every layer.
  svg.setAttribute("role", "img");
  for (const layer of svg.querySelectorAll("[aria-label]")) layer.removeAttribute("aria-label");
  return svg;
}

/** The tip at the point under the pointer. */
export const pointerTip = (points, options) =>
  Plot.tip(points, Plot.pointer({ ...options, fill: "var(--surface)", stroke: "var(--line)", textPadding: 10, lineHeight: 1.35 }));

/**
 * The least and the most of the costs that are not zero.
 * @param {number[]} costs
 * @returns {[number, number]}
 */
export function costRange(costs) {
  const paid = costs.filter((cost) => cost > 0);
  return paid.length > 0 ? [Math.min(...paid), Math.max(...paid)] : [0.01, 100];
}

/**
 * Powers of ten on the axis, and 3 times those where there is room.
 * @param {number[]} domain
 * @param {number} width
 */
function decades([low, high], width) {
  const [first, last] = [Math.ceil(Math.log10(low) - 1e-9), Math.floor(Math.log10(high) + 1e-9)];
  const tens = Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => 10 ** (first + i));
  if (width / (tens.length + 1) < 150) return tens;
  return [first - 1, ...tens.map((_, i) => first + i)]
    .flatMap((power) => [10 ** power, 3 * 10 ** power])
    .filter((value) => value >= low * 0.999 && value <= high * 1.001);
}

/** A cost on the axis: no zeros at its end. @param {number} cost */
const costTick = (cost) => usd(cost).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
