/**
 * What the drop-ins share: a call is routed here, made, and falls back to the decision's next model
 * as long as nothing of an answer was handed on.
 */

import { PennyrouteError } from "./error.js";
import { receiptBody } from "./receipts.js";
import { revisionOf } from "./revision.js";

/**
 * @typedef {import("pennyroute").Router} Router
 * @typedef {import("pennyroute").Decision} Decision
 * @typedef {import("pennyroute").CatalogModel} CatalogModel
 * @typedef {{ model: string, failure: string, message: string, retryAfter: string | null }} Failed
 * @typedef {{ input_tokens: number, cached_tokens?: number, output_tokens: number }} Counts
 *
 * A model that can be called: its catalog entry, who would be called (a refused key holds for all of theirs) and under
 * which name.
 * @typedef {{ model: CatalogModel, provider: string, name: string }} Candidate
 */

/** Fields of a request that are policy, in the words of `route`. */
const POLICY = [
  ...["quality", "floor", "cap_usd", "allow", "deny", "private", "budget_usd", "workloads"],
  ...["unhealthy", "warm", "reuse", "steer", "surcharges", "at"],
];

const LIMITS = { maxAttempts: 4, deadlineMs: 300_000, firstTokenMs: 60_000, replyMs: 180_000 };
/** A timer of more ms than this would end at once. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** Statuses after which another model may well answer; any other 4xx is the request's own fault. */
const WORTH_ANOTHER = new Set([401, 402, 403, 404, 408, 409, 425, 429]);
/** Of these, the ones that every model of that provider would meet. */
const OF_PROVIDER = new Set([401, 402]);
/** Codes of a 400 that is about the model, not about the request. */
const OF_MODEL = new Set(["unsupported_parameter", "unsupported_value", "context_length_exceeded", "model_not_found"]);

/** One model could not answer; another may. */
export class Failure extends Error {
  /**
   * @param {string} failure the status, or `network`, `timeout`, `redirect`, `bad_reply`, `error_event`
   * @param {string} message
   * @param {{ ofProvider?: boolean, ofRequest?: boolean, retryAfter?: string | null, cause?: unknown }} [more]
   *   `ofProvider`: every model of the provider would fail like this; `ofRequest`: it says nothing of the model's health
   */
  constructor(failure, message, { ofProvider = false, ofRequest = false, retryAfter = null, cause } = {}) {
    super(message, { cause });
    Object.assign(this, { failure, ofProvider, ofRequest, retryAfter });
  }
}

/**
 * What an error answer means: a failure of this model, or null where the request is at fault.
 * @param {number} status
 * @param {unknown} code the provider's
 * @param {string} message
 * @param {string | null} [retryAfter]
 */
export function refusal(status, code, message, retryAfter = null) {
  const failure = String(status);
  // The text may quote the key that was refused.
  if (OF_PROVIDER.has(status)) return new Failure(failure, "the provider refuses the key or account", { ofProvider: true });
  if (status === 400 && OF_MODEL.has(/** @type {string} */ (code))) return new Failure(failure, message, { ofRequest: true });
  // A 403 may be about this model or this prompt; neither is a matter of health.
  if (WORTH_ANOTHER.has(status) || status >= 500) return new Failure(failure, message, { ofRequest: status === 403, retryAfter });
  return null;
}

/**
 * Policy fields, checked by name: a misspelt cap must not be ignored. Their values are checked by `route`.
 * @param {any} value
 * @param {string} place
 * @returns {Record<string, any>}
 */
export function readPolicy(value, place) {
  if (value === undefined || value === null) return {};
  if (typeof value !== "object" || Array.isArray(value)) throw new PennyrouteError("bad_request", `${place}: must be an object`);
  for (const name of Object.keys(value)) {
    if (!POLICY.includes(name)) throw new PennyrouteError("bad_request", `${place}.${name}: is not known; known are ${POLICY.join(", ")}`);
  }
  return Object.fromEntries(Object.entries(value).filter(([, given]) => given !== undefined && given !== null));
}

/** @param {Record<string, unknown>} options */
export function readLimits(options) {
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  for (const [name, value] of Object.entries(given)) {
    if (!Object.hasOwn(LIMITS, name)) throw new PennyrouteError("bad_request", `${name}: is not an option`);
    if (typeof value !== "number" || !(value > 0)) throw new PennyrouteError("bad_request", `${name}: must be a number above 0`);
  }
  return { ...LIMITS, ...given };
}

/**
 * A router, or a promise of one, as a promise that may wait for its first call.
 * @param {any} router
 * @returns {Promise<any>}
 */
export function routerOf(router) {
  if (typeof router?.route !== "function" && typeof router?.then !== "function") {
    throw new PennyrouteError("bad_request", "router: must be a Router, or a promise of one");
  }
  const loading = Promise.resolve(router);
  // Where loading fails, the calls say so.
  loading.catch(() => {});
  return loading;
}

/** Catalogs as they were read last: reading one takes longer than a decision. @type {WeakMap<object, { revision: number, models: CatalogModel[] }>} */
const CATALOGS = new WeakMap();

/**
 * The models of a router's catalog, for reading only.
 * @param {any} router
 * @returns {Promise<CatalogModel[]>}
 */
export async function modelsOf(router) {
  const revision = revisionOf(router);
  const known = CATALOGS.get(router);
  if (known && known.revision === revision) return known.models;
  const { models } = await router.catalog();
  if (revision !== undefined) CATALOGS.set(router, { revision, models });
  return models;
}

/** No model answered; `failed` names every attempt. */
export class NoAnswer extends PennyrouteError {
  /**
   * @param {"no_candidate" | "all_attempts_failed"} code
   * @param {string} message
   * @param {{ status: number, decision: Decision, failed?: Failed[], retryAfter?: string, cause?: unknown }} more
   *   `status`: the HTTP status that says the same
   */
  constructor(code, message, { status, decision, failed = [], retryAfter, cause }) {
    super(code, message, { cause });
    Object.assign(this, { status, decision, failed, retryAfter });
  }
}

/**
 * Settles as `promise` does, unless the signal aborts first.
 * @template T
 * @param {Promise<T> | T} promise
 * @param {AbortSignal | null | undefined} signal
 * @returns {Promise<T>}
 */
export function abortable(promise, signal) {
  const settled = Promise.resolve(promise);
  if (!signal) return settled;
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort);
    settled.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

/**
 * Routes one request among the candidates and calls them in turn until one begins to answer. Throws `NoAnswer` where
 * none does, the signal's reason where it aborts, and what `call` throws other than a `Failure`.
 * @template T
 * @param {object} options
 * @param {any} options.router a Router, in this thread or another
 * @param {CatalogModel[]} options.catalog
 * @param {Record<string, any>} options.request without policy
 * @param {Record<string, any>} options.policy of every call
 * @param {Record<string, any>} options.own of this one, which wins
 * @param {Map<string, Candidate>} options.candidates by id
 * @param {{ maxAttempts: number, deadlineMs: number, attemptMs: number }} options.limits
 * @param {AbortSignal | null} [options.signal]
 * @param {(decision: Decision) => void} [options.onDecision]
 * @param {(candidate: Candidate, signal: AbortSignal) => Promise<T>} call resolves when the answer has begun; aborting stops it for good
 * @returns {Promise<{ answer: T, answered: Answered }>}
 */
export async function firstAnswer({ router, catalog, request, policy, own, candidates, limits, signal, onDecision }, call) {
  const ends = Date.now() + limits.deadlineMs;
  const decision = await abortable(decide(router, request, { catalog, policy, own, candidates }), signal);
  notify(onDecision, decision);
  if (decision.model === null) throw noCandidate(decision);
  /** @type {Failed[]} */
  const failed = [];
  let cause;
  /** Who would fail again: a provider, or a model of one at any effort. */
  const dead = new Set();
  const alive = (/** @type {Candidate} */ { provider, name }) => !dead.has(provider) && !dead.has(`${provider} ${name}`);
  // A catalog that was replaced meanwhile may have others.
  const order = [decision.model, ...decision.fallbacks, ...decision.alternatives.map(({ model }) => model)].filter((id) => candidates.has(id));
  /** Keeps a model out of later decisions, unless it is the last that is left: one that failed lately is better than none. */
  const blame = (/** @type {Candidate} */ { model, provider, name }, /** @type {string} */ failure) => {
    dead.add(`${provider} ${name}`);
    // A connection that fails is the provider's: to rest one of its models is no use while there is no other provider.
    const left = order.map((id) => /** @type {Candidate} */ (candidates.get(id))).filter(alive);
    if (!left.some((other) => failure !== "network" || other.provider !== provider)) return;
    if (failure === "network") cutOff(router).set(model.id, provider);
    tell(router, { model: model.id, error: failure });
  };
  for (const id of new Set(order)) {
    const candidate = /** @type {Candidate} */ (candidates.get(id));
    const { provider, name } = candidate;
    const left = ends - Date.now();
    if (failed.length >= limits.maxAttempts || left <= 0) break;
    if (!alive(candidate)) continue;
    const attempt = new AbortController();
    const abort = () => attempt.abort(signal?.reason);
    signal?.addEventListener("abort", abort);
    const ms = Math.min(limits.attemptMs, left, LONGEST_TIMER);
    const timer = setTimeout(() => attempt.abort(new Failure("timeout", `no answer within ${ms / 1000} s`)), ms);
    const release = () => signal?.removeEventListener("abort", abort);
    try {
      signal?.throwIfAborted();
      const answer = await abortable(call(candidate, attempt.signal), attempt.signal);
      const fail = (/** @type {string} */ failure) => blame(candidate, failure);
      return { answer, answered: new Answered(router, decision, { model: id, provider, failed, attempt, release, fail }) };
    } catch (error) {
      release();
      // Whatever went wrong, the provider must not go on for nobody.
      attempt.abort();
      signal?.throwIfAborted();
      if (!(error instanceof Failure)) throw error;
      const { failure, message, ofProvider, ofRequest, retryAfter } = /** @type {any} */ (error);
      failed.push({ model: id, failure, message, retryAfter });
      cause = error.cause ?? error;
      dead.add(ofProvider ? provider : `${provider} ${name}`);
      if (!ofRequest) blame(candidate, failure);
    } finally {
      clearTimeout(timer);
    }
  }
  throw allFailed(decision, failed, cause);
}

/** An answer that has begun. */
export class Answered {
  #router;
  #provider;
  #attempt;
  #release;
  #fail;
  #ended = false;

  /**
   * @param {any} router
   * @param {Decision} decision
   * @param {{ model: string, provider: string, failed: Failed[], attempt: AbortController, release: () => void, fail: (failure: string) => void }} call
   */
  constructor(router, decision, { model, provider, failed, attempt, release, fail }) {
    Object.assign(this, { decision, model, failed, signal: attempt.signal });
    this.#attempt = attempt;
    this.#router = router;
    this.#provider = provider;
    this.#release = release;
    this.#fail = fail;
  }

  /**
   * The answer has ended, as a whole or with an error: the receipt, once.
   * @param {{ counts?: Counts | null, error?: string }} [how]
   * @returns {Promise<object | undefined>}
   */
  async end({ counts, error } = {}) {
    if (this.#ended) return;
    this.#ended = true;
    this.#release();
    const { decision, model, failed } = /** @type {any} */ (this);
    // Without the prompt: what a router is told it keeps.
    if (error) this.#fail(error);
    else this.#succeed({ model, ...(counts && { output_tokens: counts.output_tokens }) });
    // A catalog that was replaced meanwhile may not have the model.
    const spent = counts ? await Promise.resolve().then(() => this.#router.cost(model, counts)).catch(() => undefined) : undefined;
    return receiptBody(decision, { model, failed, spent });
  }

  /** @param {{ model: string }} outcome */
  #succeed(outcome) {
    tell(this.#router, outcome);
    const cut = cutOff(this.#router);
    cut.delete(outcome.model);
    // The provider can be reached again, so its other models can; those of this very call may have failed by themselves.
    const { failed } = /** @type {any} */ (this);
    for (const [model, provider] of cut) {
      if (provider !== this.#provider || failed.some((/** @type {Failed} */ attempt) => attempt.model === model)) continue;
      cut.delete(model);
      tell(this.#router, { model });
    }
  }

  /** The caller has left, or was refused: nothing is known of how it would have ended. */
  left() {
    this.#ended = true;
    this.#release();
  }

  /** @param {unknown} reason */
  stop(reason) {
    this.#attempt.abort(reason);
  }
}

/** @param {any} router @param {Record<string, any>} request @param {{ catalog: CatalogModel[], policy: Record<string, any>, own: Record<string, any>, candidates: Map<string, Candidate> }} more */
async function decide(router, request, { catalog, policy, own, candidates }) {
  const merged = { ...policy, ...own };
  const { model } = request;
  // `auto:0.9` says more of this call than a default does, and less than its own policy.
  const target = typeof model === "string" && model.startsWith("auto:");
  if (target && own.quality === undefined) delete merged.quality;
  const named = target && own.quality !== undefined ? "auto" : model;
  // Models that cannot be called are denied by id: `allow` may hold globs, which cannot be narrowed to them.
  const unreachable = catalog.filter(({ id }) => !candidates.has(id)).map(({ id }) => id);
  const deny = merged.deny === undefined || Array.isArray(merged.deny) ? [...(merged.deny ?? []), ...unreachable] : merged.deny;
  const decision = await router.route({ ...request, ...merged, model: named, deny });
  // What could not be called anyway is no news.
  return { ...decision, excluded: decision.excluded.filter((excluded) => candidates.has(excluded.model)) };
}

/**
 * Calls back. What that throws is told to the console: it is no reason to fail a call that may be paid for.
 * @template T
 * @param {((value: T) => void) | undefined} callback
 * @param {T} value
 */
export function notify(callback, value) {
  try {
    callback?.(value);
  } catch (error) {
    console.error("pennyroute: a callback threw", error);
  }
}

/** By router, the models that rest for a failed connection, by id with their provider. @type {WeakMap<object, Map<string, string>>} */
const CUT_OFF = new WeakMap();

/** @param {object} router @returns {Map<string, string>} */
function cutOff(router) {
  const known = CUT_OFF.get(router) ?? new Map();
  CUT_OFF.set(router, known);
  return known;
}

/** @param {any} router @param {object} outcome */
function tell(router, outcome) {
  // What a router makes of an outcome is no reason to fail a call.
  Promise.resolve().then(() => router.feedback?.(outcome)).catch(() => {});
}

/** @param {Decision} decision */
function noCandidate(decision) {
  const { reason, excluded } = decision;
  const why = excluded.map(({ model, code }) => `${model} (${code.replaceAll("_", " ")})`).join(", ");
  // Health passes with time; the rest would meet the same gates.
  const retryAfter = excluded.some(({ code }) => code === "unhealthy") ? "1" : undefined;
  return new NoAnswer("no_candidate", `${reason} Excluded: ${why || "none of the catalog's models can be called"}.`, { status: 503, decision, retryAfter });
}

/** @param {Decision} decision @param {Failed[]} failed @param {unknown} cause */
function allFailed(decision, failed, cause) {
  const told = failed.map(({ model, failure, message }) => `${model}: ${failure} (${message.replace(/\.$/, "")})`).join("; ");
  const every = (/** @type {string[]} */ ...failures) => failed.every(({ failure }) => failures.includes(failure));
  // One status where all agree on it; else the gateway's, for that is what this code is then.
  const same = failed.length > 0 && every(failed[0].failure) && /^4\d\d$/.test(failed[0].failure) ? Number(failed[0].failure) : null;
  const status = same ?? (every("timeout") ? 504 : 502);
  const waits = failed.flatMap(({ retryAfter }) => retryAfter ?? []);
  // The first model to be free again is enough; a date instead of seconds is passed on as it is.
  const retryAfter = waits.every((wait) => /^\d+$/.test(wait)) && waits.length ? String(Math.min(...waits.map(Number))) : waits[0];
  const message = told ? `No model answered. ${told}.` : "The deadline passed before any model was tried.";
  return new NoAnswer("all_attempts_failed", message, { status, decision, failed, retryAfter, cause });
}
