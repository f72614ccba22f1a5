// What a router was told of its models: which answers were right, which calls failed.
//
// Abilities are always refitted from where they started, with every outcome of the model so far: each
// counts once, whatever the order in which they were told. A model whose calls fail is left alone for a
// while, the longer the more often that has been so since it last succeeded; calls that fail during a rest,
// such as those that had begun before it, say nothing new. All of it is in memory only.

import { PennyrouteError } from "./error.js";
import { asColumns, asRequest, checkDepth } from "./values.js";

/** How long the first failure since a success keeps a model out; each further one doubles it. */
const FIRST_REST_MS = 5_000;
const LONGEST_REST_MS = 300_000;
/** Rests in a row that get longer and longer; the failures that began earlier ones need not be kept. */
const FAILURES_KEPT = 1 + Math.ceil(Math.log2(LONGEST_REST_MS / FIRST_REST_MS));

const RFC_3339 = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/;

export class Feedback {
  /** Graded answers, and failures that began a rest since the last success of their model, in the order in which they were told. */
  #kept = [];
  /** Models that the catalog is known to have. */
  #ids = new Set();
  /** Ability and length of a model before any of its outcomes, by id. */
  #starting = new Map();

  /**
   * Learns from outcomes. A model that the catalog does not have is refused, or with `wait` its outcomes
   * are kept until a catalog has it. `given`: the catalog as it was handed in.
   */
  tell(wasm, outcomes, now, { wait = false, given } = {}) {
    if (outcomes.length === 0) return { models: [], unhealthy: this.unhealthy(now) };
    const told = outcomes.map((outcome, i) => read(outcome, `outcomes[${i}]`, now));
    if (told.every((row) => !graded(row) && this.#ids.has(row.model))) {
      this.#kept = current([...this.#kept, ...told]);
      return { models: [], unhealthy: this.unhealthy(now) };
    }
    const catalog = wasm.catalog();
    const entries = new Map(catalog.models.map((entry) => [entry.id, entry]));
    this.#ids = new Set(entries.keys());
    for (const [i, { model }] of told.entries()) {
      if (wait || entries.has(model)) continue;
      throw new PennyrouteError("bad_request", `outcomes[${i}].model: the catalog has no model \`${model}\``);
    }
    const places = told.flatMap((row, i) => (graded(row) && entries.has(row.model) ? [i] : []));
    // Those that wait are fitted too, for another model and to no effect, so that none is kept that is wrong.
    const waiting = told.flatMap((row, i) => (graded(row) && !entries.has(row.model) ? [i] : []));
    if (waiting.length > 0) checked(wasm, waiting.map((i) => ({ ...told[i], model: catalog.models[0].id })), waiting);
    const models = new Set(places.map((i) => told[i].model));
    const priors = priorsIn(given);
    for (const id of models) if (!this.#starting.has(id)) this.#starting.set(id, priors.get(id) ?? start(entries.get(id)));
    // The new ones come first, so that an error about the n-th is about the n-th of `places`.
    const rows = [...places.map((i) => told[i]), ...this.#kept.filter((row) => graded(row) && models.has(row.model))];
    let fitted = [];
    try {
      fitted = this.#refit(wasm, catalog, rows);
    } catch (error) {
      for (const id of models) if (!this.#kept.some((row) => graded(row) && row.model === id)) this.#starting.delete(id);
      throw placed(error, places);
    }
    this.#kept = current([...this.#kept, ...told]);
    return {
      models: fitted.map(({ model, ability, outcomes }) => ({ model, before: entries.get(model).ability, ability, outcomes })),
      unhealthy: this.unhealthy(now),
    };
  }

  /** Puts a catalog in use, and to it what the outcomes so far have to say. */
  setCatalog(wasm, catalog) {
    this.#ids = new Set();
    const rows = this.#kept.filter(graded);
    if (rows.length === 0) return wasm.setCatalog(catalog);
    const before = wasm.catalog();
    wasm.setCatalog(catalog);
    const next = wasm.catalog();
    const [priors, started] = [priorsIn(catalog), this.#starting];
    const told = new Set(rows.map(({ model }) => model));
    this.#starting = new Map(next.models.filter(({ id }) => told.has(id)).map((entry) => [entry.id, priors.get(entry.id) ?? start(entry)]));
    try {
      this.#refit(wasm, next, rows.filter(({ model }) => this.#starting.has(model)));
    } catch (error) {
      this.#starting = started;
      wasm.setCatalog(before);
      throw error;
    }
  }

  /** The catalog in use; models that were told of, with what they started from. */
  catalog(wasm) {
    const catalog = wasm.catalog();
    for (const entry of catalog.models) if (this.#starting.has(entry.id)) entry.prior = structuredClone(this.#starting.get(entry.id));
    return catalog;
  }

  /** Models to leave alone now. */
  unhealthy(now) {
    const failures = new Map();
    for (const { model, error, at } of this.#kept) {
      if (error !== undefined) failures.set(model, [...(failures.get(model) ?? []), { at }]);
    }
    return [...failures].filter(([, rows]) => now < restsUntil(rows)).map(([model]) => model);
  }

  /** A copy of what is kept. */
  outcomes() {
    return structuredClone(this.#kept);
  }

  /** Fits the models of `rows` to them, each from where it started, and puts that in use; or changes nothing. */
  #refit(wasm, catalog, rows) {
    if (rows.length === 0) return [];
    const models = new Set(rows.map(({ model }) => model));
    const columns = asColumns(rows);
    const entry = (it) => (models.has(it.id) ? { ...it, ...this.#starting.get(it.id) } : it);
    try {
      wasm.setCatalog({ ...catalog, models: catalog.models.map(entry) });
      const fitted = wasm.fit(...columns);
      wasm.setCatalog(fitted.catalog);
      return fitted.models;
    } catch (error) {
      wasm.setCatalog(catalog);
      throw error;
    }
  }
}

function checked(wasm, rows, places) {
  try {
    wasm.fit(...asColumns(rows));
  } catch (error) {
    throw placed(error, places);
  }
}

const graded = ({ correct }) => correct !== undefined;

const start = ({ ability = null, length = null }) => ({ ability, length });

/**
 * What the models of a catalog that came from `catalog()` started from, by id: they have their outcomes in them already.
 * An ability that was put in since is a start of its own.
 */
function priorsIn(catalog) {
  const fitted = (catalog?.models ?? []).filter(({ ability, prior }) => ability?.source === "fitted" && prior);
  return new Map(fitted.map(({ id, prior }) => [id, structuredClone(start(prior))]));
}

/** One outcome, checked as far as fitting it does not; a copy, so that what is kept cannot change. */
function read(outcome, place, now) {
  const refuse = (field, what) => {
    throw new PennyrouteError("bad_request", `${place}${field}: ${what}`);
  };
  if (outcome === null || typeof outcome !== "object") refuse("", "must be an object");
  const { model, prompt, messages, correct, output_tokens, error, at } = outcome;
  if (typeof model !== "string") refuse(".model", "must be the id of a model");
  if (error !== undefined && typeof error !== "string") refuse(".error", "must be a string");
  if (error !== undefined && correct !== undefined) refuse(".error", "is given together with `correct`");
  if (at !== undefined && !(typeof at === "string" && RFC_3339.test(at) && Date.parse(at) === Date.parse(at))) refuse(".at", "must be an RFC 3339 time");
  checkDepth(messages, "bad_request", `${place}.messages`);
  // A clock that runs ahead must not keep a model out for longer.
  const moment = new Date(Math.min(now, at === undefined ? now : Date.parse(at))).toISOString();
  const row = asRequest({ model, prompt, messages, correct, output_tokens, error, at: moment });
  try {
    return structuredClone(row);
  } catch {
    return refuse(".messages", "must be plain data");
  }
}

/** The end of the rest that the last of a model's failures began, in ms; -Infinity without any. */
function restsUntil(failures) {
  const last = Math.max(...failures.map(({ at }) => Date.parse(at)));
  return last + Math.min(LONGEST_REST_MS, FIRST_REST_MS * 2 ** (failures.length - 1));
}

/** What is worth keeping: graded answers, and per model the last failures that began a rest since its last success. */
function current(rows) {
  const failures = new Map();
  for (const row of rows.slice().sort((a, b) => Date.parse(a.at) - Date.parse(b.at))) {
    const { model, error } = row;
    const earlier = failures.get(model) ?? [];
    if (error === undefined) failures.set(model, []);
    else if (Date.parse(row.at) >= restsUntil(earlier)) failures.set(model, [...earlier, row].slice(-FAILURES_KEPT));
  }
  const kept = new Set([...failures.values()].flat());
  return rows.filter((row) => graded(row) || kept.has(row));
}

/** An error of a fit about its n-th row, as one about the n-th of `places`. */
function placed(error, places) {
  if (!(error instanceof PennyrouteError)) return error;
  const message = error.message.replace(/outcomes\[(\d+)\]/, (_, row) => `outcomes[${places[row]}]`);
  return new PennyrouteError(error.code, message, { cause: error });
}
