/**
 * One request's dealings with its tenant's ledger: what limits and prices say before the decision,
 * a reservation for each call, and its settlement with the real usage.
 *
 * Where no Durable Object is bound as `LEDGER`, nothing is counted; a policy with limits is then
 * refused when it is read, unless its owner prefers to do without (`ledger_down: "degrade"`).
 */

import { AttemptError } from "./errors.js";
import { Leases } from "./ledger/leases.js";
import { amountsOf, callMs, limitsOf, nanodollars, reserve } from "./ledger/limits.js";

/** @typedef {import("pennyroute").CatalogModel} CatalogModel */
/** @typedef {import("./ledger/limits.js").Limit} Limit */
/** @typedef {{input_tokens: number, cached_tokens: number, output_tokens: number}} Tokens */
/** A call that may be made. @typedef {{settle: (tokens: Tokens, usd: number) => void, lose: () => void, cancel: () => void}} Reserved */

/** Without a limit of its owner's, output ends here. */
const DEFAULT_OUTPUT_TOKENS = 16_384;
/** What a call may take beyond its limit: the last wait for a piece of a stream, and the way to the ledger. */
const SLACK_MS = 10_000;

/** This isolate's side of every tenant's ledger. @type {Map<string, Leases>} */
const ledgers = new Map();

/** Limits of every model of a catalog, by policy, then by tenant and key. @type {WeakMap<object, WeakMap<object, Map<string, Map<string, Record<string, Limit>>>>>} */
const known = new WeakMap();

export class Meter {
  #io;
  #caller;
  #tenant;
  /** @type {Map<string, Record<string, Limit>>} */
  #limits;
  /** @type {Leases | null} */
  #ledger;

  /**
   * @param {import("./policy.js").Policy} policy
   * @param {import("./policy.js").Caller} caller
   * @param {Map<string, CatalogModel>} models
   * @param {import("./ledger/leases.js").Io} io
   */
  constructor(policy, caller, models, io) {
    this.#io = io;
    this.#caller = caller;
    this.#tenant = policy.tenants[caller.tenant];
    this.#ledger = io.env.LEDGER ? ledgerOf(caller.tenant) : null;
    this.#ledger?.follow(policy);
    this.#limits = limitsFor(policy, caller, models);
  }

  /** The owner's limit on output tokens. */
  get mostOutput() {
    return this.#tenant.max_output_tokens ?? DEFAULT_OUTPUT_TOKENS;
  }

  /**
   * What is known of limits and prices, as a routing request takes it.
   * @param {boolean} targeted whether a quality was asked for, by the request or the owner
   */
  conditions(targeted) {
    if (!this.#ledger) return {};
    const ledger = this.#ledger;
    const { steer, pace, surcharges } = ledger.prices;
    /** @type {Record<string, number>} */
    const workloads = {};
    /** @type {Record<string, number>} */
    const extra = {};
    let budget = Infinity;
    let factor = targeted ? steer : 1;
    let first = true;
    for (const [id, limits] of this.#limits) {
      for (const [name, { unit }] of Object.entries(limits)) {
        if (unit === "nanodollars") {
          // Budgets are the same for every model.
          if (!first) continue;
          budget = Math.min(budget, ledger.left(name) / 1e9);
          factor *= pace[name] ?? 1;
          continue;
        }
        if (ledger.isFull(name)) workloads[id] = 0;
        if (surcharges[name]) extra[id] = (extra[id] ?? 0) + surcharges[name];
      }
      first = false;
    }
    return {
      ...(Object.keys(workloads).length > 0 && { workloads }),
      ...(Number.isFinite(budget) && { budget_usd: budget }),
      ...(factor !== 1 && { steer: factor }),
      ...(Object.keys(extra).length > 0 && { surcharges: extra }),
    };
  }

  /** A decision, for the prices. @param {{target: number | null, quality: number, cost_usd: number}} decided */
  decided(decided) {
    this.#ledger?.decided(decided);
  }

  /**
   * Reserves the most that a call can come to; throws AttemptError where there is no room for it.
   * @param {string} id of the call
   * @param {CatalogModel} model
   * @param {Record<string, any>} body as sent
   * @param {number} mostOutput tokens of one choice, as sent
   * @param {number} [quality] that the decision expects of it
   * @returns {Promise<Reserved>}
   */
  async reserve(id, model, body, mostOutput, quality) {
    const ledger = this.#ledger;
    if (!ledger) return { settle() {}, lose() {}, cancel() {} };
    const io = this.#io;
    const limits = this.#limits.get(model.id) ?? {};
    const reserved = reserve(model, body, mostOutput);
    const call = {
      ...{ id, key: this.#caller.key ?? "", model: model.id, amounts: amountsOf(limits, reserved), nanodollars: reserved.nanodollars },
      quality: quality ?? null,
      ms: callMs(io.env) + SLACK_MS,
    };
    const answer = await ledger.draw(call, limits, io);
    if (!answer.granted) {
      if (answer.limit !== null) throw full(answer.limit, limits[answer.limit], answer.retryMs);
      if (this.#refuses(limits)) throw new AttemptError("ledger_unreachable", "the ledger that keeps the limits cannot be reached", { ofGateway: true });
      ledger.force(call, io);
    }
    let ended = false;
    const end = (/** @type {import("./ledger/books.js").Usage} */ usage) => {
      if (ended) return;
      ended = true;
      ledger.settle(call, usage, io);
    };
    return {
      settle: ({ input_tokens, output_tokens }, usd) => end({ state: "settled", nanodollars: nanodollars(usd), input_tokens, output_tokens }),
      lose: () => end({ state: "unsettled", nanodollars: reserved.nanodollars, input_tokens: 0, output_tokens: 0 }),
      cancel: () => end({ state: "void", nanodollars: 0, input_tokens: 0, output_tokens: 0 }),
    };
  }

  /** @param {Record<string, Limit>} limits */
  #refuses(limits) {
    return Object.keys(limits).length > 0 && this.#tenant.ledger_down !== "degrade";
  }
}

/** @param {string} tenant */
function ledgerOf(tenant) {
  const ledger = ledgers.get(tenant) ?? new Leases(tenant);
  ledgers.set(tenant, ledger);
  return ledger;
}

/**
 * @param {import("./policy.js").Policy} policy
 * @param {import("./policy.js").Caller} caller
 * @param {Map<string, CatalogModel>} models
 */
function limitsFor(policy, caller, models) {
  const byPolicy = known.get(models) ?? new WeakMap();
  known.set(models, byPolicy);
  const byCaller = byPolicy.get(policy) ?? new Map();
  byPolicy.set(policy, byCaller);
  const place = JSON.stringify([caller.tenant, caller.key]);
  const limits = byCaller.get(place) ?? new Map([...models.keys()].map((id) => [id, limitsOf(policy.tenants[caller.tenant], caller.key ?? undefined, id)]));
  byCaller.set(place, limits);
  return limits;
}

/** @param {string} name @param {Limit | undefined} limit @param {number | null} retryMs */
function full(name, limit, retryMs) {
  const retryAfter = retryMs === null ? null : String(Math.ceil(retryMs / 1000));
  if (limit?.unit === "nanodollars") return new AttemptError("budget_spent", `the budget \`${name}\` has no room for it`, { ofGateway: true });
  return new AttemptError("workload_full", `the limit \`${name}\` is reached`, { ofGateway: true, retryAfter });
}
