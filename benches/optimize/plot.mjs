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
  "HiGHS LP (bound only)": "#9a6bd0",
  "OR-Tools min-cost flow": "#4c7fd0",
  "Hungarian (scipy)": "#2f9e6e",
};
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

/** @param {{ panel: string, series: string, n: number, ms: number }[]} points */
export function plot(points) {
  const { document } = parseHTML("<!doctype html><html><body></body></html>");
  const ours = (point) => point.series.startsWith("Pennyroute");
  const line = { x: "n", y: "ms", fx: "panel", z: "series", stroke: (point) => COLORS[point.series] };
  const svg = Plot.plot({
    document,
    className: "plot",
    ariaLabel: "CPU time against the number of queries, Pennyroute and other solvers",
    width: 1040,
    height: 520,
    marginLeft: 56,
    marginTop: 44,
    marginRight: 160,
    marginBottom: 44,
    style: { fontSize: "12px", overflow: "visible" },
    fx: { label: null, padding: 0.33 },
    x: { type: "log", label: "queries (N), 10 models", labelAnchor: "right", ticks: powers(points.map(({ n }) => n)), tickFormat: plain },
    y: { type: "log", label: "CPU time, ms, one thread", grid: true, ticks: powers(points.map(({ ms }) => ms)), tickFormat: plain },
    color: { type: "identity" },
    marks: [
      Plot.line(points.filter((point) => point.series === "one argmin pass"), { ...line, strokeDasharray: "2 4" }),
      Plot.line(points.filter((point) => point.series !== "one argmin pass"), { ...line, strokeWidth: (point) => (ours(point) ? 3 : 1.75) }),
      Plot.dot(points, { ...line, stroke: null, fill: line.stroke, r: 2.5 }),
      Plot.text(points, Plot.selectLast({
        ...line,
        stroke: "var(--plot-background)",
        strokeWidth: 4,
        fill: line.stroke,
        fontWeight: (point) => (ours(point) ? 700 : 400),
        text: "series",
        textAnchor: "start",
        dx: 7,
      })),
    ],
  });
  svg.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  const style = document.createElementNS("http://www.w3.org/2000/svg", "style");
  style.textContent = PAGE;
  svg.append(style);
  return `${svg.outerHTML}\n`;
}
