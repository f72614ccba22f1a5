/**
 * An isolate's side of one tenant's ledger. A call draws on the isolate's lease at once, without a
 * round trip, and is told to the ledger within milliseconds; where the lease is too small, the call
 * is asked for. What the ledger promises, and why, is told in books.js.
 *
 * Requests share this state, but each speaks with the ledger in its own context: workerd ends what a
 * request has begun together with the request.
 */

import { metrics } from "../metrics.js";
import { ask } from "./ask.js";

/** @typedef {import("./books.js").Call} Call */
/** @typedef {import("./books.js").Usage} Usage */
/** @typedef {import("./limits.js").Limit} Limit */
/** @typedef {{env: Record<string, any>, ctx: {waitUntil: (promise: Promise<any>) => void}, spoken?: number}} Io of the request that speaks */
/** @typedef {{granted: true} | {granted: false, limit: string, retryMs: number | null} | {granted: false, limit: null}} Answer `limit: null`: the ledger cannot be reached */

/** The lease is to hold about what calls take in four of these. */
const WINDOW_MS = 250;
/** Calls are told together where they come within this time of each other. */
const LINGER_MS = 20;
/** An answer that takes longer counts as none. */
const PATIENCE_MS = 3_000;
/** For so long, what is left of a limit is taken to be what the ledger said last. */
const BELIEVED_MS = 2_000;
/** Without a call for so long, the lease is given back. */
const IDLE_MS = 5_000;
/** Part of a lease's term after which it is not drawn from: ours starts before the ledger's. */
const TRUSTED = 0.8;
/** What a request has begun may live for 30 s after its answer; what speaks for all of them ends sooner. */
const TURN_MS = 20_000;
/** Messages that one request sends for all of them: its own calls need the rest of its 50 subrequests (free plan). */
const MOST_SPOKEN = 12;
/** Most decisions kept for the prices while the ledger cannot be reached. */
const MOST_DECIDED = 10_000;

export class Leases {
  #tenant;
  #isolate = crypto.randomUUID();
  /** @type {object | undefined} */
  #policy;
  #seq = 0;
  #heard = 0;
  /** The latest answer. @type {{lease: Record<string, number>, until: number}} */
  #held = { lease: {}, until: 0 };
  /** Calls that the ledger has not acknowledged, in whichever state they are. @type {Map<string, Call>} */
  #untold = new Map();
  /** What untold calls took out of the lease. @type {Record<string, number>} */
  #drawn = {};
  /** Of calls that were drawn from the lease and not asked for. @type {Set<string>} */
  #fromLease = new Set();
  /** Messages after which nothing is drawn until a later one is answered. */
  #stoppedAt = 0;
  #answered = 0;
  /** What calls have asked of each limit lately: since `#since`, and in the window before. @type {Record<string, number>} */
  #demand = {};
  /** @type {Record<string, number>} */
  #demanded = {};
  #since = 0;
  /** @type {Record<string, Limit>} */
  #limits = {};
  /** @type {import("./prices.js").Decided[]} */
  #decided = [];
  #flushing = 0;
  #keeping = 0;
  #lastCall = 0;
  /** Calls that were granted and have not been settled. */
  #underWay = 0;
  /** What was left of limits beside leases, and until when that is believed. @type {Record<string, {amount: number, until: number}>} */
  #left = {};
  /** Until when a limit is known to be full. @type {Map<string, number>} */
  #full = new Map();
  /** As of the latest answer. */
  prices = { steer: 1, pace: /** @type {Record<string, number>} */ ({}), surcharges: /** @type {Record<string, number>} */ ({}) };

  /** @param {string} tenant */
  constructor(tenant) {
    this.#tenant = tenant;
  }

  /** Forgets limits as an older policy had them, so that they are not told again. @param {object} policy in force */
  follow(policy) {
    if (policy === this.#policy) return;
    this.#policy = policy;
    const told = new Set([...this.#untold.values()].flatMap(({ amounts }) => Object.keys(amounts)));
    for (const name of Object.keys(this.#limits)) if (!told.has(name)) delete this.#limits[name];
    [this.#demand, this.#demanded, this.#left] = [{}, {}, {}];
    this.#full.clear();
  }

  /**
   * Reserves what a call may use at most. A call that was granted must be settled.
   * @param {Omit<Call, "usage">} call
   * @param {Record<string, Limit>} limits that it falls under
   * @param {Io} io
   * @returns {Promise<Answer>}
   */
  async draw(call, limits, io) {
    const now = Date.now();
    this.#lastCall = now;
    Object.assign(this.#limits, limits);
    if (now - this.#since > WINDOW_MS) {
      [this.#demanded, this.#demand] = [now - this.#since > 2 * WINDOW_MS ? {} : this.#demand, {}];
      this.#since = now;
    }
    for (const [name, amount] of Object.entries(call.amounts)) this.#demand[name] = (this.#demand[name] ?? 0) + amount;
    const unlimited = Object.keys(call.amounts).length === 0;
    const enough = now < this.#held.until && Object.entries(call.amounts).every(([name, amount]) => amount <= this.#available(name));
    this.#keep(io);
    if (unlimited || (enough && this.#stoppedAt <= this.#answered)) {
      this.#underWay += 1;
      this.#tell(call, true);
      this.#flushSoon(io);
      return this.#counted("lease", { granted: true });
    }
    let answer;
    try {
      // Where the lease would do once others have their answers, it need not stop for this one too.
      answer = (await this.#exchange(io, { asks: [call], stopped: !enough })).answers[call.id];
      if (answer !== null && enough) answer = (await this.#exchange(io, { asks: [call], stopped: true })).answers[call.id];
    } catch {
      Object.assign(this.#limits, limits);
      // It may have been granted all the same: told as void, it is closed when the ledger hears of it.
      this.#tell({ ...call, usage: { state: "void", nanodollars: 0, input_tokens: 0, output_tokens: 0 } }, false);
      return this.#counted("unanswered", { granted: false, limit: null });
    }
    if (answer === null) {
      this.#underWay += 1;
      return this.#counted("asked", { granted: true });
    }
    this.#full.set(answer.limit, Date.now() + Math.min(answer.retry_ms ?? 10_000, 1_000));
    return this.#counted("refused", { granted: false, limit: answer.limit, retryMs: answer.retry_ms });
  }

  /** @param {"lease" | "asked" | "refused" | "unanswered"} how @param {Answer} answer */
  #counted(how, answer) {
    metrics.count("pennyroute_ledger_draws_total", { how });
    return answer;
  }

  /**
   * Tells what a granted call used. Once per call.
   * @param {Omit<Call, "usage">} call
   * @param {Usage} usage
   * @param {Io} io
   */
  settle(call, usage, io) {
    this.#underWay -= 1;
    this.#tell({ ...call, usage }, this.#fromLease.has(call.id));
    this.#keep(io);
    this.#flushSoon(io);
  }

  /** A call without the ledger's consent, where the owner prefers that to a refusal; told when it can be. @param {Omit<Call, "usage">} call @param {Io} io */
  force(call, io) {
    this.#underWay += 1;
    this.#tell(call, false);
    this.#flushSoon(io);
  }

  /** A decision, for the prices. @param {import("./prices.js").Decided} decided */
  decided(decided) {
    if (this.#decided.length < MOST_DECIDED) this.#decided.push(decided);
  }

  /** Whether a limit is known to be full. @param {string} name */
  isFull(name) {
    return (this.#full.get(name) ?? 0) > Date.now();
  }

  /** The most that one call could be granted of a limit, as far as is known. @param {string} name */
  left(name) {
    const now = Date.now();
    const left = this.#left[name];
    // Others give back what they reserved, and periods end: what was heard long ago is not known now.
    if (left === undefined || left.until < now) return Infinity;
    return left.amount + (now < this.#held.until ? Math.max(0, this.#available(name)) : 0);
  }

  /** @param {string} name */
  #available(name) {
    return (this.#held.lease[name] ?? 0) - (this.#drawn[name] ?? 0);
  }

  /** @param {Call} call @param {boolean} fromLease */
  #tell(call, fromLease) {
    if (fromLease && !this.#fromLease.has(call.id)) {
      this.#fromLease.add(call.id);
      for (const [name, amount] of Object.entries(call.amounts)) this.#drawn[name] = (this.#drawn[name] ?? 0) + amount;
    }
    this.#untold.set(call.id, call);
  }

  /** @param {Io} io */
  #flushSoon(io) {
    const now = Date.now();
    // A flush that has not come was ended with the request that began it.
    if (now - this.#flushing < PATIENCE_MS + 1_000 || (io.spoken ?? 0) >= MOST_SPOKEN) return;
    this.#flushing = now;
    io.ctx.waitUntil(
      (async () => {
        try {
          do {
            await sleep(LINGER_MS);
            io.spoken = (io.spoken ?? 0) + 1;
            await this.#exchange(io);
            this.#flushing = Date.now();
          } while (this.#untold.size > 0 && io.spoken < MOST_SPOKEN);
        } catch {
          // Untold calls stay, for the next one.
          await sleep(500);
        } finally {
          this.#flushing = 0;
        }
      })(),
    );
  }

  /**
   * Renews the lease while calls come, and gives it back when none has come for a while, or when this
   * request has kept it long enough. Calls under way need no lease. @param {Io} io
   */
  #keep(io) {
    const now = Date.now();
    if (now - this.#keeping < 5_000) return;
    this.#keeping = now;
    io.ctx.waitUntil(
      (async () => {
        // A little longer than its turn, so that what ends with it, or is lost on the way, is told.
        while (this.#keeping - now < TURN_MS + 8_000) {
          await sleep(1_000);
          this.#keeping = Date.now();
          const over = this.#keeping - now > TURN_MS;
          const idle = this.#keeping - this.#lastCall > IDLE_MS;
          // With calls under way, the end of one of them goes on with this.
          if (over && !idle && this.#underWay > 0) break;
          const renew = this.#held.until - this.#keeping < 4_000;
          const held = this.#untold.size > 0 || Object.keys(this.#held.lease).length > 0;
          try {
            if (idle || over) {
              if (held) await this.#exchange(io, { stopped: true, leave: true });
              if (this.#untold.size === 0) break;
            } else if (renew) await this.#exchange(io);
            else if (this.#untold.size > 0) this.#flushSoon(io);
          } catch {
            // Told again in a second; the lease runs out by itself.
          }
        }
        this.#keeping = 0;
      })(),
    );
  }

  /**
   * @param {Io} io
   * @param {{asks?: Call[], stopped?: boolean, leave?: boolean}} [how] `stopped`: nothing is drawn from the lease
   *   until this is answered; `leave`: it is given back
   */
  async #exchange({ env }, { asks = [], stopped = false, leave = false } = {}) {
    const seq = ++this.#seq;
    const sent = Date.now();
    if (stopped) this.#stoppedAt = seq;
    /** @type {Record<string, number>} */
    const want = {};
    for (const demand of leave ? [] : [this.#demanded, this.#demand]) {
      for (const [name, amount] of Object.entries(demand)) want[name] = (want[name] ?? 0) + 2 * amount;
    }
    const calls = [...this.#untold.values()];
    const told = calls.map((call) => ({ ...call, leased: this.#fromLease.has(call.id) }));
    const decided = this.#decided;
    this.#decided = [];
    const counted = metrics.drain();
    const named = new Set([...calls, ...asks].flatMap(({ amounts }) => Object.keys(amounts)).concat(Object.keys(want)));
    const limits = Object.fromEntries([...named].flatMap((name) => (this.#limits[name] ? [[name, this.#limits[name]]] : [])));
    const message = {
      ...{ isolate: this.#isolate, seq, heard: this.#heard, limits, calls: told, asks, stopped },
      want,
      ...{ decided, counted },
    };
    let answer;
    try {
      answer = await within(PATIENCE_MS, ask(env, this.#tenant, "exchange", message));
    } catch (error) {
      metrics.merge(counted);
      throw error;
    }
    this.#answered = Math.max(this.#answered, seq);
    for (const call of calls) {
      // A call that has ended since then is to be told again.
      if (this.#untold.get(call.id) === call) this.#untold.delete(call.id);
      if (!this.#fromLease.delete(call.id)) continue;
      for (const [name, amount] of Object.entries(call.amounts)) this.#drawn[name] -= amount;
    }
    if (answer.turn > this.#heard) {
      this.#heard = answer.turn;
      this.#held = { lease: answer.lease, until: sent + answer.ms * TRUSTED };
      for (const [name, amount] of Object.entries(answer.left)) this.#left[name] = { amount, until: sent + BELIEVED_MS };
      this.prices = answer.prices;
    }
    return answer;
  }
}

/** @param {number} ms */
function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** @template T @param {number} ms @param {Promise<T>} promise @returns {Promise<T>} */
async function within(ms, promise) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("the ledger does not answer")), ms);
  });
  try {
    return /** @type {T} */ (await Promise.race([promise, late]));
  } finally {
    clearTimeout(timer);
  }
}
