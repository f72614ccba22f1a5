// What every host shares: the class over the wasm one. The entries beside this file say only where the
// module and the artifacts come from on their host; load.js, how they arrive.

import { Router as Wasm } from "./pennyroute.js";
import { PennyrouteError } from "./error.js";
import { Feedback } from "./feedback.js";
import { curve, plan } from "./optimize.js";
import { changed } from "./revision.js";
import { asBytes, asColumns, asNumber, asRequest, checkDepth, guard } from "./values.js";

export { PennyrouteError };

export class Router {
  #wasm;
  #feedback = new Feedback();

  constructor(artifacts, options) {
    const { catalog, index, outcomes = [] } = options ?? {};
    checkDepth(catalog, "bad_catalog", "catalog");
    this.#wasm = guard(() => new Wasm(artifacts, catalog, asBytes(index) ?? index));
    try {
      this.#tell(outcomes, { wait: true, given: catalog });
    } catch (error) {
      this.free();
      throw error;
    }
    changed(this);
  }

  route(request) {
    return this.#call((wasm) => stamped((now) => this.#healthy(request, (asked) => wasm.route(asked, now))));
  }

  estimate(request) {
    return this.#call((wasm) => wasm.estimate(asRequest(request), Date.now()));
  }

  explain(request) {
    return this.#call((wasm) => {
      let explanation;
      stamped((now) => this.#healthy(request, (asked) => (explanation = wasm.explain(asked, now)).decision));
      explanation.lambda ??= Infinity;
      return explanation;
    });
  }

  estimateBatch(requests) {
    return this.#call((wasm) => {
      if (!Array.isArray(requests) || !requests.length) throw new PennyrouteError("bad_request", "requests: must be an array, not empty");
      const now = Date.now();
      const asked = requests.map(asRequest);
      const failing = this.#feedback.unhealthy(now);
      const batch = wasm.estimateBatch(asked.map((request) => without(failing, request)), now);
      const { queries, models, cost_usd } = batch;
      const barred = (_, i) => Array.from({ length: models }, (_, j) => cost_usd[j * queries + i]).every(Number.isNaN);
      const bare = failing.length === 0 ? [] : asked.map(barred);
      if (!bare.includes(true)) return batch;
      return wasm.estimateBatch(asked.map((request, i) => (bare[i] ? request : without(failing, request))), now);
    });
  }

  plan(problem, options) {
    this.#alive();
    return plan(problem, options);
  }

  curve(problem, points, options) {
    this.#alive();
    return curve(problem, points, options);
  }

  frontier(at) {
    return this.#call((wasm) => wasm.frontier(at, Date.now()));
  }

  constants(at) {
    return this.#call((wasm) => wasm.constants(at, Date.now()));
  }

  fit(outcomes) {
    return this.#call((wasm) => {
      if (!Array.isArray(outcomes) || !outcomes.length) throw new PennyrouteError("bad_request", "outcomes: must be an array, not empty");
      return wasm.fit(...asColumns(outcomes));
    });
  }

  feedback(outcomes) {
    const result = this.#tell(Array.isArray(outcomes) ? outcomes : [outcomes]);
    if (result.models.length > 0) changed(this);
    return result;
  }

  outcomes() {
    return this.#call(() => this.#feedback.outcomes());
  }

  abilityFromScores(scores) {
    return this.#call((wasm) => {
      const names = Object.keys(scores ?? {});
      const values = Float64Array.from(names, (name) => asNumber(scores[name], `scores.${name}`));
      return wasm.abilityFromScores(names, values);
    });
  }

  cost(model, usage, at) {
    return this.#call((wasm) => {
      if (usage === null || typeof usage !== "object") throw new PennyrouteError("bad_request", "usage: must be an object of token counts");
      const { input_tokens, cached_tokens = 0, output_tokens } = usage;
      const counts = Object.entries({ input_tokens, cached_tokens, output_tokens }).map(([name, tokens]) => asNumber(tokens, name));
      return wasm.cost(String(model), ...counts, at, Date.now());
    });
  }

  catalog() {
    return this.#call((wasm) => this.#feedback.catalog(wasm));
  }

  setCatalog(catalog) {
    checkDepth(catalog, "bad_catalog", "catalog");
    this.#call((wasm) => this.#feedback.setCatalog(wasm, catalog));
    changed(this);
  }

  checkCatalog(catalog, at) {
    checkDepth(catalog, "bad_catalog", "catalog");
    return this.#call((wasm) => wasm.checkCatalog(catalog, at, Date.now()));
  }

  diffCatalogs(before, after) {
    checkDepth(before, "bad_catalog", "before");
    checkDepth(after, "bad_catalog", "after");
    return guard(() => Wasm.diffCatalogs(before, after));
  }

  importCatalog(table, version = `${new Date().toISOString().slice(0, 10)}-litellm`) {
    const json = typeof table === "string" ? table : guard(() => JSON.stringify(table), "bad_catalog");
    return this.#call((wasm) => wasm.importCatalog(String(json), String(version)));
  }

  setIndex(index) {
    this.#call((wasm) => wasm.setIndex(asBytes(index) ?? index));
  }

  get versions() {
    return this.#call((wasm) => wasm.versions());
  }

  free() {
    this.#wasm?.free();
    this.#wasm = undefined;
  }

  /** Decides without the models that fail at this moment; where that leaves none, with them: one of them may be well again. */
  #healthy(request, decide) {
    const asked = asRequest(request);
    const failing = this.#feedback.unhealthy(Date.now());
    const decision = decide(without(failing, asked));
    return decision.model === null && failing.length > 0 ? decide(asked) : decision;
  }

  #tell(outcomes, options) {
    return this.#call((wasm) => {
      if (!Array.isArray(outcomes)) throw new PennyrouteError("bad_request", "outcomes: must be an array");
      return this.#feedback.tell(wasm, outcomes, Date.now(), options);
    });
  }

  #call(method) {
    const wasm = this.#alive();
    return guard(() => method(wasm));
  }

  #alive() {
    if (!this.#wasm) throw new PennyrouteError("bad_request", "this router has been freed");
    return this.#wasm;
  }
}

/** A request that leaves out the models `failing` too. */
function without(failing, asked) {
  const { unhealthy = [] } = asked ?? {};
  // Anything but a list is for wasm to refuse.
  return failing.length > 0 && Array.isArray(unhealthy) ? { ...asked, unhealthy: [...unhealthy, ...failing] } : asked;
}

/** A decision with what only a host can give it: an id, and the time that it took. */
function stamped(decide) {
  const start = performance.now();
  const decision = decide(Date.now());
  decision.id = uuid();
  decision.elapsed_us = Math.round((performance.now() - start) * 1000);
  return decision;
}

// Hosts without `using` have no such symbol.
if (Symbol.dispose) Router.prototype[Symbol.dispose] = Router.prototype.free;

function uuid() {
  // A page without TLS has no randomUUID.
  if (crypto.randomUUID) return crypto.randomUUID();
  const hex = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte, i) => {
    if (i === 6) byte = (byte & 0x0f) | 0x40;
    if (i === 8) byte = (byte & 0x3f) | 0x80;
    return byte.toString(16).padStart(2, "0");
  }).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
