// What the providers' books say, beside what clients and the ledger say.

/** @typedef {import("./providers.mjs").Entry} Entry */
/**
 * @typedef {{id: string, key: string, model: string, state: "open" | "settled" | "unsettled" | "void",
 *   input_tokens: number, output_tokens: number, nanodollars: number}} Charge
 */

/** @param {string} url of the providers @returns {Promise<Entry[]>} */
export async function readBooks(url) {
  const text = await (await fetch(`${url}/books`)).text();
  return text.split("\n").filter(Boolean).map((line) => JSON.parse(line));
}

/** The most calls that were open at one moment. @param {Entry[]} entries */
export function mostOpen(entries) {
  // At the same moment, an end comes before a beginning.
  const events = entries.flatMap(({ opened, closed = Infinity }) => [[opened, 1], [closed, -1]]).sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  let open = 0;
  let most = 0;
  for (const [, change] of events) most = Math.max(most, (open += change));
  return most;
}

/** The most of something in any 60 seconds. @param {Entry[]} entries @param {(entry: Entry) => number} amount */
export function mostPerMinute(entries, amount) {
  const sorted = entries.toSorted((a, b) => a.opened - b.opened);
  let sum = 0;
  let most = 0;
  let first = 0;
  for (const entry of sorted) {
    sum += amount(entry);
    while (entry.opened - sorted[first].opened >= 60_000) sum -= amount(sorted[first++]);
    most = Math.max(most, sum);
  }
  return most;
}

/** @param {Entry} entry */
export const tokens = ({ input, output }) => input + output;

/**
 * What a call's tokens cost, in nanodollars: a catalog's price is per million tokens.
 * @param {Entry} entry
 * @param {Map<string, any>} models by `provider/base`
 */
export function cost({ provider, model, input, output }, models) {
  if (input + output === 0) return 0;
  const rate = models.get(`${provider}/${model}`).cost;
  return (input * rate.input + output * rate.output) * 1000;
}

/**
 * By how much calls went over the limits of a policy, in calls and tokens.
 * @param {Entry[]} entries
 * @param {Record<string, {concurrent?: number, requests_per_minute?: number, tokens_per_minute?: number}>} limits by `PROVIDER/PREFIX*`
 */
export function overWorkload(entries, limits) {
  return Object.entries(limits).map(([glob, { concurrent = Infinity, requests_per_minute = Infinity, tokens_per_minute = Infinity }]) => {
    const own = entries.filter(({ provider, model }) => `${provider}/${model}`.startsWith(glob.replace(/\*$/, "")));
    const seen = { concurrent: mostOpen(own), requests_per_minute: mostPerMinute(own, () => 1), tokens_per_minute: mostPerMinute(own, tokens) };
    const over =
      Math.max(0, seen.concurrent - concurrent) +
      Math.max(0, seen.requests_per_minute - requests_per_minute) +
      Math.max(0, seen.tokens_per_minute - tokens_per_minute);
    return { models: glob, over, ...seen };
  });
}

/**
 * Requests that more than one call answered in full: paid twice.
 * @param {Entry[]} entries
 * @param {Set<string>} retried requests that a client sent again itself
 */
export function answeredTwice(entries, retried) {
  const whole = entries.filter((entry) => entry.whole && !retried.has(String(entry.user)));
  return whole.length - new Set(whole.map(({ user }) => user)).size;
}

/** Calls that share an id with another, without which no ledger could tell them apart. @param {Entry[]} entries */
export function sharedIds(entries) {
  const ids = entries.flatMap(({ id }) => (id === undefined ? [] : [id]));
  return ids.length - new Set(ids).size;
}

/**
 * The ledger's charges against the books, call by call.
 * @param {Entry[]} entries
 * @param {Charge[]} charges
 * @param {(entry: Entry) => boolean} unheard whether a call's gateway was killed, perhaps before it told the ledger
 * @param {Map<string, any>} models by `provider/base`
 */
export function reconcile(entries, charges, unheard, models) {
  const booked = new Map(entries.map((entry) => [entry.id, entry]));
  const charged = new Map(charges.map((charge) => [charge.id, charge]));
  let mismatch = 0;
  let undercharged = 0;
  for (const { id, state, input_tokens, output_tokens, nanodollars } of charges) {
    const entry = booked.get(id) ?? { input: 0, output: 0 };
    if (state === "settled") mismatch += Math.abs(entry.input - input_tokens) + Math.abs(entry.output - output_tokens);
    // What was served must be paid for, also where the exact usage never came.
    if (state === "void") mismatch += entry.input + entry.output;
    if (state === "unsettled" && booked.has(id) && nanodollars < cost(/** @type {Entry} */ (entry), models)) undercharged += 1;
  }
  const unknown = entries.filter(({ id, input }) => input > 0 && !charged.has(String(id)));
  for (const entry of unknown) if (!unheard(entry)) mismatch += tokens(entry);
  return {
    ledger_mismatch_tokens: mismatch,
    unsettled: charges.filter(({ state }) => state === "unsettled").length,
    undercharged,
    settled: charges.filter(({ state }) => state === "settled").length,
    open: charges.filter(({ state }) => state === "open").length,
    unheard: unknown.filter(unheard).length,
    charged_twice: charges.length - charged.size,
  };
}
