/**
 * What limits are worth: the dual prices by which every isolate decides as if it saw all traffic.
 *
 * - `steer` multiplies the price of quality. It rises while the mean estimated quality of decisions is
 *   below the targets that were asked for, and falls while it is above (dual ascent on the target).
 * - `pace`, by budget, multiplies it too. It falls below 1 while spending at the present rate would use
 *   up the budget before its period ends: cheaper models first, refusals last.
 * - `surcharges`, by limit on calls, requests or tokens, in USD per call: what a slot of a nearly full
 *   model must be worth to be taken, so that slots go to the queries that gain most by them.
 *
 * Prices only choose; the hard limits are kept by the books.
 */

/**
 * @typedef {{target: number | null, quality: number, cost_usd: number}} Decided `target`: asked for by the request or the owner
 * @typedef {{steer: number, at: number, mean_usd: number, pace: Record<string, number>, used: Record<string, {start: number, used: number}>, rate: Record<string, number>, surcharges: Record<string, number>}} State
 *   `steer` and `pace` as logarithms
 */

/** Change of log steer per unit of missing quality of one decision. */
const STEP = 0.005;
/** Prices of quality stay within a factor of the catalog's own. */
const MOST_STEER = Math.log(4);
const LEAST_PACE = Math.log(1 / 64);
/** Over which spending is measured, as a share of the budget's period. */
const HORIZON = 1 / 48;
/** A limit gets a price when it is this full. */
const FULL = 0.9;
/** Decisions over which the mean cost is kept. */
const MEMORY = 200;

export class Prices {
  /** @param {State | undefined} state as kept */
  constructor(state) {
    /** @type {State} */
    this.state = state ?? { steer: 0, at: 0, mean_usd: 0, pace: {}, used: {}, rate: {}, surcharges: {} };
  }

  /**
   * @param {Decided[]} decided since the last update
   * @param {{name: string, unit: string, window: string | null, max: number, used: number, leased: number}[]} limits
   * @param {number} now
   */
  update(decided, limits, now) {
    const { state } = this;
    for (const { target, quality, cost_usd } of decided) {
      if (target !== null) state.steer = clamp(state.steer + STEP * (target - quality), -MOST_STEER, MOST_STEER);
      state.mean_usd += (cost_usd - state.mean_usd) / (state.mean_usd === 0 ? 1 : MEMORY);
    }
    const seconds = Math.min(60, Math.max(0, now - state.at) / 1000);
    state.at = now;
    for (const limit of limits) {
      if (limit.unit === "nanodollars") this.#pace(limit, seconds, now);
      else this.#surcharge(limit, seconds);
    }
  }

  /** Factors and surcharges for those who decide. */
  get current() {
    const { steer, pace, surcharges } = this.state;
    const factors = Object.entries(pace).flatMap(([name, log]) => (log < 0 ? [[name, Math.exp(log)]] : []));
    return { steer: Math.exp(steer), pace: Object.fromEntries(factors), surcharges: Object.fromEntries(Object.entries(surcharges).filter(([, usd]) => usd > 0)) };
  }

  /** @param {{name: string, window: string | null, max: number, used: number}} limit @param {number} seconds @param {number} now */
  #pace({ name, window, max, used }, seconds, now) {
    const { state } = this;
    const { start, total, left } = span(window, now);
    // A reservation that is given back counts as it came; a new period begins at nothing.
    const before = state.used[name];
    if (before && seconds === 0) return;
    state.used[name] = { start, used };
    if (!before) return;
    const spent = used - (before.start === start ? before.used : 0);
    const weight = Math.min(1, seconds / (total * HORIZON));
    state.rate[name] = (state.rate[name] ?? 0) + weight * (spent / seconds - (state.rate[name] ?? 0));
    const affordable = Math.max(0, max - used) / left;
    // Towards the rate that lasts, by as much as the rate is off, over the horizon.
    const off = Math.log(Math.max(affordable, 1e-9) / Math.max(state.rate[name], 1e-9));
    state.pace[name] = clamp((state.pace[name] ?? 0) + weight * off, LEAST_PACE, 0);
  }

  /** @param {{name: string, max: number, used: number, leased: number}} limit @param {number} seconds */
  #surcharge({ name, max, used, leased }, seconds) {
    const { state } = this;
    const excess = max > 0 ? (used + leased) / max - FULL : 0;
    state.surcharges[name] = clamp((state.surcharges[name] ?? 0) + seconds * state.mean_usd * excess, 0, 100 * state.mean_usd);
  }
}

/** When the UTC day or month of a moment began (ms), its seconds, and how many of them are left. @param {string | null} window @param {number} now */
function span(window, now) {
  const date = new Date(now);
  const [year, month, day] = [date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate()];
  const start = window === "day" ? Date.UTC(year, month, day) : Date.UTC(year, month, 1);
  const end = window === "day" ? Date.UTC(year, month, day + 1) : Date.UTC(year, month + 1, 1);
  return { start, total: (end - start) / 1000, left: Math.max(1, (end - now) / 1000) };
}

/** @param {number} value @param {number} least @param {number} most */
function clamp(value, least, most) {
  return Math.min(most, Math.max(least, value));
}
