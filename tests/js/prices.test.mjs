// The ledger's dual prices, in a simulated day and against a limit: random queries with fixed seeds.

import assert from "node:assert/strict";
import { test } from "node:test";
import { random } from "../../src/js/tools/random.mjs";
import { Prices } from "../../worker/ledger/prices.js";

/** Models of rising price; the dearer ones are worth it on some queries only. */
const COSTS = [0.0001, 0.001, 0.01];
function query(next) {
  const difficulty = next();
  return [0.9 - 0.6 * difficulty, 0.93 - 0.35 * difficulty, 0.96 - 0.12 * difficulty].map((quality, m) => ({ quality, cost: COSTS[m] * (0.5 + next()) }));
}

/** The router's rule: least cost − λ·quality, surcharges counted. */
function choose(options, lambda, { surcharges = [], room = () => true }) {
  let best = -1;
  const value = (m) => options[m].cost + (surcharges[m] ?? 0) - lambda * options[m].quality;
  for (const m of options.keys()) if (room(m) && (best < 0 || value(m) < value(best))) best = m;
  return best;
}

test("a budget lasts its period, and is used", () => {
  const START = Date.parse("2026-11-20T00:00:00Z");
  const BUDGET = 40; // unpaced traffic would spend about 100
  const day = (paced) => {
    const next = random(7);
    const prices = new Prices(undefined);
    let used = 0;
    let refused = 0;
    let quality = 0;
    for (let s = 0; s < 86_400; s += 5) {
      const now = START + s * 1000;
      const limit = { name: "usd/day", unit: "nanodollars", window: "day", max: BUDGET * 1e9, used: used * 1e9, leased: 0 };
      prices.update([], [limit], now);
      const options = query(next);
      const lambda = 0.1 * (paced ? (prices.current.pace["usd/day"] ?? 1) : 1);
      const m = choose(options, lambda, { room: (m) => used + options[m].cost <= BUDGET });
      if (m < 0) {
        refused += 1;
        continue;
      }
      used += options[m].cost;
      quality += options[m].quality;
    }
    return { used, refused, quality: quality / 17_280 };
  };
  const paced = day(true);
  const unpaced = day(false);
  assert.ok(unpaced.refused > 0.2 * 17_280, `unpaced, ${unpaced.refused} are refused`);
  assert.ok(paced.refused < 60, `paced, ${paced.refused} are refused, in the day's last minute`);
  assert.ok(paced.used > 0.85 * BUDGET && paced.used <= BUDGET, `paced, ${paced.used} of ${BUDGET} are used`);
  assert.ok(paced.quality > unpaced.quality + 0.1, `${paced.quality} beside ${unpaced.quality}`);
});

test("slots of a full model go to the queries that gain most", () => {
  const run = (priced) => {
    const next = random(3);
    const prices = new Prices(undefined);
    const begun = [];
    let value = 0;
    const MAX = 120; // a minute; about 300 would like one
    for (let n = 0; n < 12_000; n++) {
      const now = 1e12 + n * 100;
      while (begun[0] <= now - 60_000) begun.shift();
      const options = query(next);
      const surcharges = priced ? [0, 0, prices.current.surcharges["model c: requests/minute"] ?? 0] : [];
      const m = choose(options, 0.1, { surcharges, room: (m) => m !== 2 || begun.length < MAX });
      if (m === 2) begun.push(now);
      value += 0.1 * options[m].quality - options[m].cost;
      prices.update([{ target: null, quality: options[m].quality, cost_usd: options[m].cost }], [{ name: "model c: requests/minute", unit: "requests", window: "minute", max: MAX, used: begun.length, leased: 0 }], now);
    }
    return { value, full: prices.current.surcharges["model c: requests/minute"] };
  };
  const priced = run(true);
  const first = run(false);
  assert.ok(priced.full > 0);
  assert.ok(priced.value > first.value * 1.005, `${priced.value} beside ${first.value}, first come, first served`);
});

test("mean quality is steered to the target, and prices stay within bounds", () => {
  const next = random(5);
  const prices = new Prices(undefined);
  let sum = 0;
  const N = 20_000;
  const TARGET = 0.8;
  for (let n = 0; n < N; n++) {
    const options = query(next);
    // The price that would fit other traffic is too low here.
    const m = choose(options, 0.02 * prices.current.steer, {});
    if (n >= N / 2) sum += options[m].quality;
    prices.update([{ target: TARGET, quality: options[m].quality, cost_usd: options[m].cost }], [], n * 1000);
  }
  assert.ok(Math.abs(sum / (N / 2) - TARGET) < 0.01, `${sum / (N / 2)}`);
  for (let n = 0; n < 10_000; n++) prices.update([{ target: 1, quality: 0, cost_usd: 1 }], [], n);
  assert.ok(prices.current.steer <= 4 + 1e-9);
});
