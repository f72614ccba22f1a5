/**
 * What a quality target means over traffic: the catalog's cost-quality frontier on the reference
 * queries, and the constant choices beside it.
 *
 * @typedef {import("pennyroute").FrontierPoint} FrontierPoint
 * @typedef {{ model: string, quality: number, cost_usd: number }} Constant
 */

/** The target that a request without one gets: this share of the best single model's quality. */
const DEFAULT_SHARE = 0.97;

/** @param {Constant[]} constants */
export function defaultTarget(constants) {
  return DEFAULT_SHARE * Math.max(...constants.map((constant) => constant.quality));
}

/**
 * Mean cost per query at a mean quality. Between two points of the frontier the router mixes their
 * policies, so the cost is linear there.
 * @param {FrontierPoint[]} frontier cheapest first
 * @param {number} quality
 */
export function meanCost(frontier, quality) {
  // The first point that reaches it; a frontier has thousands, so by halves.
  let [above, end] = [0, frontier.length - 1];
  while (above < end) {
    const middle = (above + end) >> 1;
    if (frontier[middle].quality >= quality) end = middle;
    else above = middle + 1;
  }
  const [a, b] = [frontier[Math.max(0, above - 1)], frontier[above]];
  if (quality <= a.quality || quality >= b.quality) return quality <= a.quality ? a.cost_usd : b.cost_usd;
  return a.cost_usd + ((quality - a.quality) / (b.quality - a.quality)) * (b.cost_usd - a.cost_usd);
}

/**
 * The cheapest single model that reaches a mean quality, if one does.
 * @param {Constant[]} constants
 * @param {number} quality
 */
export function cheapestConstant(constants, quality) {
  return constants
    .filter((constant) => constant.quality >= quality)
    .sort((a, b) => a.cost_usd - b.cost_usd)
    .at(0);
}

/**
 * Draws log mean cost over quality behind the slider, with the part below the target filled.
 * @param {SVGElement} svg
 * @param {FrontierPoint[]} frontier
 * @param {number} target
 */
export function drawCurve(svg, frontier, target) {
  const [first, last] = [frontier[0], frontier[frontier.length - 1]];
  // The log of no cost is nowhere: what costs less than the first point that costs something is drawn where that is.
  const least = frontier.find(({ cost_usd: cost }) => cost > 0)?.cost_usd ?? 1;
  const [low, high] = [least, last.cost_usd].map((cost) => Math.log(Math.max(cost, least)));
  const x = (quality) => (100 * (quality - first.quality)) / (last.quality - first.quality || 1);
  const y = (cost) => 36 - (32 * (Math.log(Math.max(cost, least)) - low)) / (high - low || 1);
  // Costs between two points are not straight lines on a log axis: sample along the quality axis.
  const steps = Array.from({ length: 101 }, (_, i) => first.quality + (i / 100) * (last.quality - first.quality));
  const line = (upTo) => [...steps.filter((quality) => quality < upTo), upTo]
    .map((quality) => `${x(quality).toFixed(2)},${y(meanCost(frontier, quality)).toFixed(2)}`)
    .join("L");
  svg.setAttribute("viewBox", "0 0 100 40");
  svg.replaceChildren(
    path("below", `M0,40L${line(target)}L${x(target).toFixed(2)},40Z`),
    path("all", `M${line(last.quality)}`),
  );
}

/**
 * @param {string} name
 * @param {string} d
 */
function path(name, d) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", "path");
  element.setAttribute("class", name);
  element.setAttribute("d", d);
  return element;
}
