/**
 * The cost-quality plot of one prompt: a point per model, whiskers for 90 % intervals, and the most
 * quality that each amount of money buys.
 */
import * as Plot from "@observablehq/plot";
import { percent, percentRange, shortName, usd } from "./format.js";
import { MARGIN, costPlot, costRange, pointerTip } from "./plot.js";
import { efficient } from "./rows.js";

/** @typedef {import("./rows.js").Row} Row */

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
  const x = { domain: costDomain(points), range: [MARGIN.left, width - MARGIN.right] };
  const y = { domain: qualityDomain(points), range: [height - MARGIN.bottom, MARGIN.top] };
  /** Where a cost is drawn: the axis has no zero. */
  const shown = (cost) => Math.max(cost, x.domain[0]);
  const at = positions(x, y, shown);
  const place = { x: (row) => shown(row.cost.estimate), y: (row) => row.quality.estimate };
  const whiskersOf = (rows, className, transform) => whiskers(rows, place, shown, className, transform);
  const important = [...of("chosen"), ...of("fallback").sort((a, b) => a.rank - b.rank), ...frontier.filter((row) => row.role === "candidate").reverse()];
  const labels = placeLabels(important, points, at, { width, height });

  const svg = costPlot({
    label: "Expected quality over cost of every model for this prompt",
    description: describe(points, frontier),
    width,
    height,
    x: x.domain,
    y: y.domain,
    unit: "such calls",
    marks: [
      floor === null ? null : Plot.ruleY([floor], { stroke: "var(--copper)", strokeDasharray: "2 4", clip: true }),
      cap === null ? null : Plot.ruleX([shown(cap * 1000)], { stroke: "var(--copper)", strokeDasharray: "2 4", clip: true }),

      Plot.line(frontier, { ...place, curve: "step-after", stroke: "var(--ink)", strokeOpacity: 0.45, strokeWidth: 1.5 }),
      Plot.dot(of("excluded"), { ...place, r: 3, stroke: "var(--muted)", strokeOpacity: 0.5, fill: "var(--surface)", className: "excluded" }),
      Plot.dot(of("candidate"), { ...place, r: 4, fill: "var(--dot)", stroke: "var(--surface)", strokeWidth: 1 }),
      whiskersOf(of("fallback").filter((row) => row.rank <= WHISKERED_FALLBACKS), "whisker fallback"),
      Plot.dot(of("fallback"), { ...place, r: 5, fill: "var(--surface)", stroke: "var(--copper)", strokeWidth: 2 }),
      whiskersOf(of("chosen"), "whisker chosen"),
      Plot.dot(of("chosen"), { ...place, r: 7.5, fill: "var(--copper)", stroke: "var(--surface)", strokeWidth: 2 }),
      SIDES.flatMap((side) => [true, false].map((bold) => Plot.text(labels.filter((label) => label.side === side && (label.row.role === "chosen") === bold), {
        x: (label) => place.x(label.row),
        y: (label) => place.y(label.row),
        text: (label) => shortName(label.row.model),
        textAnchor: side.anchor,
        dx: side.dx,
        dy: side.dy,
        fill: "var(--ink)",
        fontWeight: bold ? 700 : 400,
        stroke: "var(--surface)",
        strokeWidth: 4,
      }))),
      whiskersOf(points, "whisker", (options) => Plot.pointer({ ...options, px: place.x, py: place.y })),
      pointerTip(points, { ...place, title: tooltip }),
    ],
  });
  const byModel = new Map(points.map((row) => [row.model, row]));
  return Object.assign(svg, {
    at: (model) => (byModel.has(model) ? at(byModel.get(model)) : null),
  });
}

/**
 * @param {Row[]} rows
 * @param {{ x: (row: Row) => number, y: (row: Row) => number }} place
 * @param {(cost: number) => number} shown
 * @param {string} className
 * @param {(options: object) => object} [transform] such as one that shows them under the pointer only
 */
function whiskers(rows, { x, y }, shown, className, transform = (options) => options) {
  const common = { stroke: "currentColor", className, clip: true };
  return [
    Plot.ruleX(rows, transform({ x, y1: (row) => row.quality.lo, y2: (row) => row.quality.hi, ...common })),
    Plot.ruleY(rows, transform({ y, x1: (row) => shown(row.cost.lo), x2: (row) => shown(row.cost.hi), ...common })),
  ];
}

/**
 * The costs of all points that are not free, widened to a third of a decade so that typing does not shake the axis.
 * @param {Row[]} points
 * @returns {[number, number]}
 */
function costDomain(points) {
  const [low, high] = costRange(points.map((row) => row.cost.estimate));
  const snap = (value, round, away) => 10 ** (round(Math.log10(value * away) * 3) / 3);
  return [snap(low, Math.floor, 0.85), snap(high, Math.ceil, 1.2)];
}

/** @param {Row[]} points @returns {[number, number]} */
function qualityDomain(points) {
  const worst = Math.min(1, ...points.map((row) => row.quality.estimate));
  return [Math.max(0, Math.floor(worst * 10 - 0.5) / 10), 1];
}

/** Pixels of a row under the two scales. */
function positions(x, y, shown) {
  const [left, right] = x.range;
  const [bottom, top] = y.range;
  const along = (value, [a, b]) => (value - a) / (b - a);
  return (row) => [
    left + (right - left) * along(Math.log(shown(row.cost.estimate)), x.domain.map(Math.log)),
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
