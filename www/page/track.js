/** A model's level after each rating, as a line in the band of its 90 % interval. */
import { percent, percentRange } from "./format.js";

const WIDTH = 260;
const HEIGHT = 96;
const PAD = { left: 40, right: 8, top: 8, bottom: 8 };

/** @param {({ ratings: number } & import("pennyroute").Interval)[]} levels */
export function levelChart(levels) {
  const [low, high] = range(levels);
  const last = levels.at(-1).ratings;
  const x = (ratings) => PAD.left + ((WIDTH - PAD.left - PAD.right) * (last === levels[0].ratings ? 0.5 : (ratings - levels[0].ratings) / (last - levels[0].ratings)));
  const y = (value) => PAD.top + ((HEIGHT - PAD.top - PAD.bottom) * (high - value)) / (high - low);
  const point = (value, { ratings }) => `${x(ratings).toFixed(1)},${y(value).toFixed(1)}`;
  const line = levels.map((level) => point(level.estimate, level)).join("L");
  const band = [...levels.map((level) => point(level.hi, level)), ...levels.toReversed().map((level) => point(level.lo, level))].join("L");

  const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "level-chart", role: "img", "aria-label": spoken(levels) });
  for (const value of [low, high]) {
    svg.append(shape("line", { class: "rule", x1: PAD.left, x2: WIDTH - PAD.right, y1: y(value), y2: y(value) }));
    const label = shape("text", { x: PAD.left - 5, y: y(value) + 3.5 });
    label.textContent = percent(value);
    svg.append(label);
  }
  svg.append(shape("path", { class: "band", d: `M${band}Z` }), shape("path", { class: "mean", d: `M${line}` }));
  for (const level of levels) svg.append(shape("circle", { class: "dot", cx: x(level.ratings), cy: y(level.estimate), r: level === levels.at(-1) ? 3.5 : 2 }));
  return svg;
}

/** Round ends, at least ten points apart. */
function range(levels) {
  // In twentieths, which are whole numbers.
  const low = Math.floor(Math.min(...levels.map(({ lo }) => lo)) * 20);
  const high = Math.max(Math.ceil(Math.max(...levels.map(({ hi }) => hi)) * 20), low + 2);
  return high > 20 ? [0.9, 1] : [low / 20, high / 20];
}

function spoken(levels) {
  return levels.map(({ ratings, estimate, ...ends }) => `${ratings === 0 ? "before" : `after ${ratings}`}: ${percent(estimate, 1)}, ${percentRange(ends)}`).join("; ");
}

/** @param {string} name @param {Record<string, string | number>} attributes */
function shape(name, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  return element;
}
