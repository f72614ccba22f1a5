/**
 * The ledger as a Durable Object, one per tenant: every isolate in the world that serves the tenant
 * speaks with the same one.
 */

import { DurableObject } from "cloudflare:workers";
import { Metrics } from "../metrics.js";
import { Books } from "./books.js";
import { callMs } from "./limits.js";
import { Prices } from "./prices.js";

/** Entries are kept for two months, the current period of every budget and the one before; some hundreds of MB of them at most. */
const KEPT_MS = 62 * 24 * 3_600_000;
const KEPT_ENTRIES = 1_000_000;
/** Most entries of one answer. */
const PAGE = 5_000;

export class Ledger extends DurableObject {
  #books;
  #prices;
  /** What isolates have counted, whichever tenant it was for: the sum over all ledgers is the whole. */
  #metrics = new Metrics();
  #leaseMs;
  #pruneAt = 0;
  #alarmed = false;

  /** @param {DurableObjectState} context @param {Record<string, any>} env */
  constructor(context, env) {
    super(context, env);
    this.#leaseMs = Number(env.LEASE_MS ?? 15_000);
    this.#books = new Books(context.storage.sql, { leaseMs: this.#leaseMs, callMs: callMs(env) }, Date.now());
    this.#prices = new Prices(context.storage.kv.get("prices"));
    this.#metrics.merge(context.storage.kv.get("metrics") ?? {});
  }

  /** One message of an isolate. @param {Parameters<Books["exchange"]>[0] & {decided: import("./prices.js").Decided[], counted: import("../metrics.js").Deltas}} message */
  async exchange({ decided, counted, ...message }) {
    const now = Date.now();
    const answer = this.#books.exchange(message, now);
    this.#metrics.merge(counted);
    this.#prices.update(decided, this.#books.limits(now), now);
    if (!this.#alarmed) await this.#alarmIn(this.#leaseMs);
    return { ...answer, prices: this.#prices.current };
  }

  /** Limits, totals and prices, for the owner. */
  report() {
    return { ...this.#books.report(Date.now()), prices: this.#prices.current };
  }

  /** @param {string} decision @param {string} key @param {number} correct */
  feedback(decision, key, correct) {
    return this.#books.feedback(decision, key, correct, Date.now());
  }

  /** What was counted, and the limits as they stand. */
  metrics() {
    return { counted: this.#metrics.copy(), limits: this.#books.limits(Date.now()) };
  }

  /** @param {number} after number of the last entry seen */
  entries(after) {
    return this.#books.entries(after, PAGE);
  }

  /** Time passes also while nobody calls: leases and calls run out, old entries go. */
  async alarm() {
    const now = Date.now();
    this.#alarmed = false;
    this.#books.expire(now);
    this.ctx.storage.kv.put("prices", this.#prices.state);
    this.ctx.storage.kv.put("metrics", this.#metrics.copy());
    if (now > this.#pruneAt) {
      this.#books.prune(now - KEPT_MS, KEPT_ENTRIES);
      this.#pruneAt = now + 3_600_000;
    }
    if (this.#books.busy) await this.#alarmIn(this.#leaseMs);
  }

  /** @param {number} ms */
  async #alarmIn(ms) {
    this.#alarmed = true;
    await this.ctx.storage.setAlarm(Date.now() + ms);
  }
}
