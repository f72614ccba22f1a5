/** Time against N on log axes, ours and the peers', as an SVG for light and dark pages. */
import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";

/** Colours that stand out on white and on black; ours is the strong one. */
const COLORS = {
  "Pennyroute": "#e8590c",
  "Pennyroute, wasm": "#f5a05f",
  "one argmin pass": "#868e96",
  "PuLP + CBC": "#4c7fd0",
  "HiGHS MIP": "#2f9e6e",
  "HiGHS MIP, wasm": "#74b89a",
  "HiGHS LP": "#9a6bd0",
  "OR-Tools min-cost flow": "#4c7fd0",
  "Hungarian (scipy)": "#2f9e6e",
};
const MARGIN = { top: 44, right: 160, bottom: 44, left: 56 };
const [WIDTH, HEIGHT] = [1040, 520];
const LABEL_HEIGHT = 15;

const PAGE = `
  .plot { color: #24292f; --plot-background: #ffffff; font: 12px system-ui, sans-serif; }
  @media (prefers-color-scheme: dark) { .plot { color: #d1d7de; --plot-background: #0d1117; } }
`;

/** The powers of ten among values. */
function powers(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)].map((value) => Math.log10(value));
  return Array.from({ length: Math.floor(high) - Math.ceil(low) + 1 }, (_, i) => 10 ** (Math.ceil(low) + i));
}

const plain = (value) => value.toLocaleString("en", { maximumSignificantDigits: 1 });

/** Where the label of every line stands: at its end, moved down where another is in its way. */
function labels(points, { low, high, height }) {
  const pixels = (ms) => (height * Math.log(high / ms)) / Math.log(high / low);
  const last = new Map();
  for (const point of points) {
    const key = `${point.panel} ${point.series}`;
    if (!last.has(key) || point.n > last.get(key).n) last.set(key, point);
  }
  const placed = [];
  for (const point of [...last.values()].sort((a, b) => b.ms - a.ms)) {
    let y = pixels(point.ms);
    for (const other of placed) {
      if (other.panel === point.panel && other.n === point.n && y - other.y < LABEL_HEIGHT) y = other.y + LABEL_HEIGHT;
    }
    placed.push({ ...point, y });
  }
  return placed.map((label) => ({ ...label, ms: high * (low / high) ** (label.y / height) }));
}

/** @param {{ panel: string, series: string, n: number, ms: number }[]} points */
export function plot(points) {
  const { document } = parseHTML("<!doctype html><html><body></body></html>");
  const times = points.map(({ ms }) => ms);
  const [low, high] = [Math.min(...times), Math.max(...times)];
  const ours = (point) => point.series.startsWith("Pennyroute");
  const isPass = ({ series }) => series === "one argmin pass";
  const line = { x: "n", y: "ms", fx: "panel", z: "series", stroke: (point) => COLORS[point.series] };
  const svg = Plot.plot({
    document,
    className: "plot",
    ariaLabel: "CPU time against the number of queries, Pennyroute and other solvers",
    width: WIDTH,
    height: HEIGHT,
    marginTop: MARGIN.top,
    marginRight: MARGIN.right,
    marginBottom: MARGIN.bottom,
    marginLeft: MARGIN.left,
    style: { fontSize: "12px", overflow: "visible" },
    fx: { label: null, padding: 0.33 },
    x: { type: "log", label: "queries (N), 10 models", labelAnchor: "right", ticks: powers(points.map(({ n }) => n)), tickFormat: plain },
    y: { type: "log", domain: [low, high], label: "CPU time, ms, one thread", grid: true, ticks: powers(times), tickFormat: plain },
    color: { type: "identity" },
    marks: [
      Plot.line(points.filter(isPass), { ...line, strokeDasharray: "2 4" }),
      // Ours last, on top.
      Plot.line(points.filter((point) => !isPass(point) && !ours(point)), { ...line, strokeWidth: 1.75 }),
      Plot.line(points.filter((point) => ours(point) && point.series !== "Pennyroute"), { ...line, strokeWidth: 2.5 }),
      Plot.line(points.filter(({ series }) => series === "Pennyroute"), { ...line, strokeWidth: 3 }),
      Plot.dot(points, { ...line, stroke: null, fill: line.stroke, r: 2.5 }),
      Plot.text(labels(points, { low, high, height: HEIGHT - MARGIN.top - MARGIN.bottom }), {
        ...line,
        stroke: "var(--plot-background)",
        strokeWidth: 4,
        fill: line.stroke,
        fontWeight: (point) => (ours(point) ? 700 : 400),
        text: "series",
        textAnchor: "start",
        dx: 7,
      }),
    ],
  });
  svg.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  const style = document.createElementNS("http://www.w3.org/2000/svg", "style");
  style.textContent = PAGE;
  svg.append(style);
  return `${svg.outerHTML}\n`;
}
