// What a decision was chosen among, at which price of quality, and what other targets would choose.
//
// The price is the router's own: the first point of its market's frontier that reaches the target. A
// market is what the gates before any estimate leave of the catalog. The package's module offers the
// frontier of a whole catalog, so a smaller market is asked for as a catalog of its own, for a moment; that
// takes fifty times as long as a decision, and the last few markets' frontiers are kept.

/** Rounding between a frontier's quality and a target, as the router forgives it. */
const SAME_QUALITY = 1e-12;

/** Exclusions by what is asked and under which policy: without one, the market is the whole catalog's. */
const BY_REQUEST = new Set(["not_allowed", "not_private", "unknown_capability", "missing_capability", "context_too_small"]);
/** All that come before the market; the others leave a model in it. */
const BEFORE_MARKET = new Set([...BY_REQUEST, "retired", "price_unknown", "ability_unknown"]);

/** More than any input: all of it is read from the prompt cache. */
const ALL_TOKENS = Number.MAX_SAFE_INTEGER;

/** Frontiers kept; hosts use one or two markets at a time. */
const KEPT = 4;

export class Explainer {
  /** @type {import("./index.js").Catalog | undefined} */
  #catalog;
  /** @type {Map<string, import("./index.js").FrontierPoint[]>} */
  #curves = new Map();

  /** To be called when the catalog has changed. */
  forget() {
    this.#catalog = undefined;
    this.#curves.clear();
  }

  /**
   * Explains the `decision` that was made on `request` at `now`.
   * @param {import("./pennyroute.js").Router} wasm
   * @param {Record<string, any>} request
   * @param {import("./index.js").Decision} decision
   * @param {number} now
   */
  explain(wasm, request, decision, now) {
    this.#catalog ??= wasm.catalog();
    return explain(wasm, this.#catalog, this.#curve(wasm, this.#catalog, request, decision, now), request, decision, now);
  }

  /** The frontier of the models among which the price of quality of this request was found. */
  #curve(wasm, catalog, request, decision, now) {
    // A pinned model has the market that it would have unpinned.
    const { model } = request;
    const pinned = typeof model === "string" && model !== "auto" && !model.startsWith("auto:");
    const { excluded } = pinned ? wasm.route({ ...request, model: "auto" }, now) : decision;
    const out = new Set(excluded.filter(({ code }) => BEFORE_MARKET.has(code)).map(({ model }) => model));
    const models = catalog.models.filter(({ id, unroutable }) => !unroutable && !out.has(id));
    if (models.length === 0) return [];
    // Prices are by the minute.
    const key = JSON.stringify([request.at ?? Math.floor(now / 60_000), models.map(({ id }) => id)]);
    const whole = !excluded.some(({ code }) => BY_REQUEST.has(code));
    const curve = this.#curves.get(key) ?? (whole ? wasm.frontier(request.at, now) : frontierOf(wasm, catalog, models, request.at, now));
    this.#curves.delete(key);
    this.#curves.set(key, curve);
    if (this.#curves.size > KEPT) this.#curves.delete(this.#curves.keys().next().value);
    return curve;
  }
}

/** The frontier of some models of the catalog in use. */
function frontierOf(wasm, catalog, models, at, now) {
  try {
    wasm.setCatalog({ ...catalog, models });
    return wasm.frontier(at, now);
  } finally {
    wasm.setCatalog(catalog);
  }
}

function explain(wasm, catalog, curve, request, decision, now) {
  const estimates = byModel(wasm.estimate(request, now));
  const steer = request.steer ?? 1;
  const reached = curve.findIndex(({ quality }) => quality >= decision.target.quality - SAME_QUALITY);
  const lambda = curve.length === 0 ? 0 : (curve[reached]?.lambda ?? Infinity) * steer;

  const costs = comparedCosts(wasm, request, estimates, now);
  const choosable = new Set([decision.model, ...decision.alternatives.map(({ model }) => model)]);
  const candidates = catalog.models
    .filter(({ id }) => choosable.has(id))
    .map(({ id }) => ({ id, quality: estimates.get(id).quality.estimate, cost: costs.get(id) }));
  const order = ranking(request.floor);
  const fallbacks = new Set(decision.fallbacks);
  const standing = (id) => (id === decision.model ? "chosen" : fallbacks.has(id) ? "fallback" : "candidate");
  const row = (model, fields) => {
    const { quality = null, cost_usd = null, output_tokens = null } = estimates.get(model) ?? {};
    return { model, ...fields, quality, cost_usd, output_tokens };
  };
  const net = ({ quality, cost }) => (lambda === Infinity ? null : cost - lambda * quality);
  return {
    decision,
    lambda,
    candidates: [
      ...candidates.slice().sort(order(lambda)).map((it) => ({ ...row(it.id, { standing: standing(it.id) }), net_usd: net(it) })),
      ...decision.excluded.map(({ model, code }) => ({ ...row(model, { standing: "excluded", code }), net_usd: null })),
    ],
    switches: switches(candidates, curve.map(({ lambda, quality }) => ({ lambda: lambda * steer, quality })), order),
  };
}

const byModel = ({ models }) => new Map(models.map((estimate) => [estimate.model, estimate]));

/** The costs that are compared, by model: with surcharges, and without what reuse of a warm cache will save. */
function comparedCosts(wasm, request, estimates, now) {
  const { reuse = {}, surcharges = {}, warm = {} } = request;
  const reused = Object.keys(reuse);
  const allWarm = { ...request, warm: { ...warm, ...Object.fromEntries(reused.map((id) => [id, ALL_TOKENS])) } };
  const warmest = reused.length > 0 ? byModel(wasm.estimate(allWarm, now)) : estimates;
  const compared = ([id, { cost_usd }]) => {
    const warmed = cost_usd.estimate - warmest.get(id).cost_usd.estimate;
    return [id, cost_usd.estimate + (surcharges[id] ?? 0) - (reuse[id] ?? 0) * warmed];
  };
  return new Map([...estimates].map(compared));
}

/**
 * The router's order at a price: those that reach the floor first, by `cost − λ·quality`; the others, and
 * all where the target is out of reach, by quality. Ties go to the cheaper, then to the earlier in the
 * catalog, which is the order that a stable sort finds them in.
 */
function ranking(floor) {
  return (lambda) => {
    const below = ({ quality }) => typeof floor === "number" && quality < floor;
    const value = (it) => (below(it) || lambda === Infinity ? -it.quality : it.cost - lambda * it.quality);
    return (a, b) => Number(below(a)) - Number(below(b)) || value(a) - value(b) || a.cost - b.cost;
  };
}

/** What each target chooses. The quality of the choice rises with the price, so that a choice once left is not met again. */
function switches(candidates, curve, order) {
  if (candidates.length === 0) return [];
  const steps = (curve.at(-1)?.quality ?? 0) < 1 ? [...curve, { lambda: Infinity, quality: 1 }] : curve;
  const choice = (step) => {
    const better = order(steps[step].lambda);
    return candidates.reduce((best, it) => (better(it, best) < 0 ? it : best)).id;
  };
  const found = [];
  for (let step = 0; step < steps.length; ) {
    const model = choice(step);
    let [last, left] = [step, steps.length];
    while (left - last > 1) {
      const middle = (last + left) >> 1;
      if (choice(middle) === model) last = middle;
      else left = middle;
    }
    found.push({ model, quality_from: found.at(-1)?.quality_to ?? 0, quality_to: steps[last].quality });
    step = left;
  }
  return found;
}
