/**
 * The cost-quality plot of one prompt: a point per model, whiskers for 90 % intervals, and the most
 * quality that each amount of money buys.
 */
import * as Plot from "@observablehq/plot";
import { percent, percentRange, shortName, usd } from "./format.js";
import { efficient } from "./rows.js";

/** @typedef {import("./rows.js").Row} Row */

const MARGIN = { top: 14, right: 16, bottom: 44, left: 46 };
const LABEL_HEIGHT = 15;
/** Mean width of a character of the labels; they only have to keep out of each other's way. */
const CHARACTER = 6.6;
/** Where a label may stand, the best place first. */
const SIDES = [
  { anchor: "start", dx: 11, dy: 0 },
  { anchor: "end", dx: -11, dy: 0 },
  { anchor: "middle", dx: 0, dy: -17 },
  { anchor: "middle", dx: 0, dy: 17 },
  { anchor: "start", dx: 9, dy: -14 },
  { anchor: "start", dx: 9, dy: 14 },
  { anchor: "end", dx: -9, dy: -14 },
  { anchor: "end", dx: -9, dy: 14 },
];
/** A hundred whiskers hide each other: those that matter are drawn, any other under the pointer. */
const WHISKERED_FALLBACKS = 3;
/** Points that a label may hide; the chosen model's label hides what it must. */
const HIDDEN_AT_MOST = 1;

/**
 * @param {Row[]} rows
 * @param {{ width: number, floor: number | null, cap: number | null }} options `cap` in USD per call
 * @returns {SVGSVGElement & { at: (model: string) => [number, number] | null }}
 */
export function chart(rows, { width, floor, cap }) {
  const height = Math.round(Math.min(460, Math.max(320, width * 0.62)));
  const points = rows.filter((row) => row.cost && row.quality);
  const of = (...roles) => points.filter((row) => roles.includes(row.role));
  const frontier = efficient(points);
  const x = { type: "log", domain: costDomain(points), range: [MARGIN.left, width - MARGIN.right] };
  const y = { domain: qualityDomain(points), range: [height - MARGIN.bottom, MARGIN.top] };
  const at = positions(x, y);
  const place = { x: (row) => row.cost.estimate, y: (row) => row.quality.estimate };
  const important = [...of("chosen"), ...of("fallback").sort((a, b) => a.rank - b.rank), ...frontier.filter((row) => row.role === "candidate").reverse()];
  const labels = placeLabels(important, points, at, { width, height });

  const svg = Plot.plot({
    className: "plot-svg",
    ariaLabel: "Expected quality over cost of every model for this prompt",
    ariaDescription: describe(points, frontier),
    width,
    height,
    marginTop: MARGIN.top,
    marginRight: MARGIN.right,
    marginBottom: MARGIN.bottom,
    marginLeft: MARGIN.left,
    style: { fontFamily: "inherit", fontSize: "12px", overflow: "visible" },
    x: { ...x, label: null },
    y: { ...y, label: null },
    marks: [
      Plot.gridX({ ticks: decades(x.domain, width), stroke: "var(--line)", strokeOpacity: 1 }),
      Plot.gridY({ ticks: 5, stroke: "var(--line)", strokeOpacity: 1 }),
      Plot.axisX({ ticks: decades(x.domain, width), tickFormat: costTick, tickSize: 0, tickPadding: 8, fill: "var(--muted)" }),
      Plot.axisY({ ticks: 5, tickFormat: (value) => percent(value), tickSize: 0, tickPadding: 8, fill: "var(--muted)" }),
      Plot.text(["US dollars per 1,000 such calls, log scale"], { frameAnchor: "bottom-right", dy: 40, fill: "var(--muted)" }),

      floor === null ? null : Plot.ruleY([floor], { stroke: "var(--copper)", strokeDasharray: "2 4", clip: true }),
      cap === null ? null : Plot.ruleX([cap * 1000], { stroke: "var(--copper)", strokeDasharray: "2 4", clip: true }),

      Plot.line(frontier, { ...place, curve: "step-after", stroke: "var(--ink)", strokeOpacity: 0.45, strokeWidth: 1.5 }),
      Plot.dot(of("excluded"), { ...place, r: 3, stroke: "var(--muted)", strokeOpacity: 0.5, fill: "var(--surface)", className: "excluded" }),
      Plot.dot(of("candidate"), { ...place, r: 4, fill: "var(--dot)", stroke: "var(--surface)", strokeWidth: 1 }),
      whiskers(of("fallback").filter((row) => row.rank <= WHISKERED_FALLBACKS), "whisker fallback"),
      Plot.dot(of("fallback"), { ...place, r: 5, fill: "var(--surface)", stroke: "var(--copper)", strokeWidth: 2 }),
      whiskers(of("chosen"), "whisker chosen"),
      Plot.dot(of("chosen"), { ...place, r: 7.5, fill: "var(--copper)", stroke: "var(--surface)", strokeWidth: 2 }),
      SIDES.flatMap((side) => [true, false].map((bold) => Plot.text(labels.filter((label) => label.side === side && (label.row.role === "chosen") === bold), {
        x: (label) => label.row.cost.estimate,
        y: (label) => label.row.quality.estimate,
        text: (label) => shortName(label.row.model),
        textAnchor: side.anchor,
        dx: side.dx,
        dy: side.dy,
        fill: "var(--ink)",
        fontWeight: bold ? 700 : 400,
        stroke: "var(--surface)",
        strokeWidth: 4,
      }))),
      whiskers(points, "whisker", (options) => Plot.pointer({ ...options, px: place.x, py: place.y })),
      Plot.tip(points, Plot.pointer({ ...place, title: tooltip, fill: "var(--surface)", stroke: "var(--line)", textPadding: 10, lineHeight: 1.35 })),
    ],
  });

  // Plot brings its rules as an inline <style>, which the page's policy forbids; style.css has them.
  svg.querySelector("style")?.remove();
  // To assistive technology it is one image, described as a whole; Plot would name every layer.
  svg.setAttribute("role", "img");
  for (const layer of svg.querySelectorAll("[aria-label]")) layer.removeAttribute("aria-label");
  const byModel = new Map(points.map((row) => [row.model, row]));
  return Object.assign(svg, {
    at: (model) => (byModel.has(model) ? at(byModel.get(model)) : null),
  });
}

/**
 * @param {Row[]} rows
 * @param {string} className
 * @param {(options: object) => object} [transform] such as one that shows them under the pointer only
 */
function whiskers(rows, className, transform = (options) => options) {
  const common = { stroke: "currentColor", className, clip: true };
  return [
    Plot.ruleX(rows, transform({ x: (row) => row.cost.estimate, y1: (row) => row.quality.lo, y2: (row) => row.quality.hi, ...common })),
    Plot.ruleY(rows, transform({ y: (row) => row.quality.estimate, x1: (row) => row.cost.lo, x2: (row) => row.cost.hi, ...common })),
  ];
}

/**
 * The costs of all points, widened to a third of a decade so that typing does not shake the axis.
 * @param {Row[]} points
 */
function costDomain(points) {
  const costs = points.map((row) => row.cost.estimate);
  const [low, high] = costs.length ? [Math.min(...costs), Math.max(...costs)] : [0.01, 100];
  const snap = (value, round, away) => 10 ** (round(Math.log10(value * away) * 3) / 3);
  return [snap(low, Math.floor, 0.85), snap(high, Math.ceil, 1.2)];
}

/** @param {Row[]} points */
function qualityDomain(points) {
  const worst = Math.min(1, ...points.map((row) => row.quality.estimate));
  return [Math.max(0, Math.floor(worst * 10 - 0.5) / 10), 1];
}

/**
 * Powers of ten on the axis, and 3 times those where there is room.
 * @param {number[]} domain
 * @param {number} width
 */
export function decades([low, high], width) {
  const [first, last] = [Math.ceil(Math.log10(low) - 1e-9), Math.floor(Math.log10(high) + 1e-9)];
  const tens = Array.from({ length: last - first + 1 }, (_, i) => 10 ** (first + i));
  if (width / (tens.length + 1) < 150) return tens;
  return [first - 1, ...tens.map((_, i) => first + i)]
    .flatMap((power) => [10 ** power, 3 * 10 ** power])
    .filter((value) => value >= low * 0.999 && value <= high * 1.001);
}

/**
 * A cost on the axis: no zeros at its end.
 * @param {number} cost
 */
export function costTick(cost) {
  return usd(cost).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
}

/** Pixels of a row under the two scales. */
function positions(x, y) {
  const [left, right] = x.range;
  const [bottom, top] = y.range;
  const along = (value, [a, b]) => (value - a) / (b - a);
  return (row) => [
    left + (right - left) * along(Math.log(row.cost.estimate), x.domain.map(Math.log)),
    bottom + (top - bottom) * along(row.quality.estimate, y.domain),
  ];
}

/**
 * Labels for as many of `rows`, the most important first, as fit: off one another, off the chosen
 * and fallback points, and hiding as few other points as can be.
 * @param {Row[]} rows
 * @param {Row[]} points
 * @param {(row: Row) => [number, number]} at
 * @param {{ width: number, height: number }} size
 * @returns {{ row: Row, side: (typeof SIDES)[number] }[]}
 */
function placeLabels(rows, points, at, { width, height }) {
  const dots = points.map((row) => ({ row, ...around(...at(row), 5, 5) }));
  /** @type {ReturnType<typeof around>[]} */
  const labels = [];
  const placed = [];
  for (const row of rows) {
    const [x, y] = at(row);
    const half = (shortName(row.model).length * CHARACTER * (row.role === "chosen" ? 1.12 : 1)) / 2;
    const options = SIDES.map((side) => {
      const shift = side.anchor === "start" ? half : side.anchor === "end" ? -half : 0;
      const label = around(x + side.dx + shift, y + side.dy, half, LABEL_HEIGHT / 2);
      const hidden = dots.filter((dot) => dot.row !== row && overlap(dot, label));
      const outside = label.left < MARGIN.left || label.right > width || label.top < 0 || label.bottom > height - MARGIN.bottom;
      const blocked = labels.some((other) => overlap(other, label)) || hidden.some(({ row: { role } }) => role === "chosen" || role === "fallback");
      return { side, label, cost: (outside ? 1000 : 0) + (blocked ? 100 : 0) + hidden.length };
    });
    const best = options.reduce((a, b) => (b.cost < a.cost ? b : a));
    if (best.cost > HIDDEN_AT_MOST && row.role !== "chosen") continue;
    labels.push(best.label);
    placed.push({ row, side: best.side });
  }
  return placed;
}

/** The box around a centre. */
const around = (x, y, halfWidth, halfHeight) => ({ left: x - halfWidth, right: x + halfWidth, top: y - halfHeight, bottom: y + halfHeight });

const overlap = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;

/** @param {Row} row */
function tooltip({ model, status, quality, cost }) {
  return [
    model,
    `quality ${percent(quality.estimate)} (${percentRange(quality)})`,
    `${usd(cost.estimate)} per 1,000 (${usd(cost.lo)} to ${usd(cost.hi)})`,
    status,
  ].join("\n");
}

/**
 * @param {Row[]} points
 * @param {Row[]} frontier
 */
function describe(points, frontier) {
  const excluded = points.filter((row) => row.role === "excluded").length;
  const chosen = points.find((row) => row.role === "chosen");
  const say = (row) => `${shortName(row.model)}, ${percent(row.quality.estimate)} at ${usd(row.cost.estimate)}`;
  return [
    `${points.length} models, ${excluded} of them excluded.`,
    chosen ? `Chosen: ${say(chosen)} per 1,000 calls.` : "None is chosen.",
    frontier.length ? `Most quality for the money, from the cheapest: ${frontier.map(say).join("; ")}.` : "",
  ].join(" ");
}
