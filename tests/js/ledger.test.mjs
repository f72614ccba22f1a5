// The ledger's promise, with its real books and leases in virtual time: messages are lost, doubled,
// late and out of order, isolates die, the ledger restarts, and still no limit is ever exceeded.

import assert from "node:assert/strict";
import { describe, mock, test } from "node:test";
import initSqlJs from "sql.js";
import { random } from "../../src/js/tools/random.mjs";
import { Books } from "../../worker/ledger/books.js";
import { Leases } from "../../worker/ledger/leases.js";
import { amountsOf, limitsOf, nanodollars, reserve } from "../../worker/ledger/limits.js";
import { Prices } from "../../worker/ledger/prices.js";

const SQL = await initSqlJs();
const LEASE_MS = 15_000;
const CALL_MS = 30_000;
const START = Date.parse("2026-11-20T23:58:00Z"); // a day ends within each run

/** SQLite as a Durable Object offers it. */
function sqlite(database = new SQL.Database()) {
  const exec = (query, ...bindings) => {
    if (bindings.length === 0 && query.includes(";")) {
      database.exec(query);
      return { toArray: () => [] };
    }
    const statement = database.prepare(query, bindings);
    const rows = [];
    while (statement.step()) rows.push(statement.getAsObject());
    statement.free();
    return { toArray: () => rows };
  };
  return { exec, copy: () => sqlite(new SQL.Database(database.export())) };
}

/** Of two kinds of runs: what binds is the rates in one, money and slots in the other. */
const RATES = {
  "usd/day": { unit: "nanodollars", window: "day", max: 400_000 },
  "usd/month": { unit: "nanodollars", window: "month", max: 600_000 },
  "model a: calls": { unit: "calls", window: null, max: 7 },
  "model a: requests/minute": { unit: "requests", window: "minute", max: 60 },
  "model a: tokens/minute": { unit: "tokens", window: "minute", max: 9_000 },
};
const MONEY = {
  "usd/day": { unit: "nanodollars", window: "day", max: 300_000 },
  "usd/month": { unit: "nanodollars", window: "month", max: 500_000 },
  "model a: calls": { unit: "calls", window: null, max: 12 },
};

/**
 * Three minutes of traffic from several isolates; returns what the provider saw and what the books say.
 */
async function run(seed, limits, { lossy, kills, restarts }) {
  mock.timers.enable({ apis: ["Date", "setTimeout"], now: START });
  const next = random(seed);
  const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  let sql = sqlite();
  let books = new Books(sql, { leaseMs: LEASE_MS, callMs: CALL_MS }, START);

  /** The network: each message arrives never, once or twice, late, and its answer may be lost. */
  const network = (isolate) => ({
    idFromName: (name) => name,
    get: () => ({
      async exchange(message) {
        if (isolate.dead) return sleep(1e9);
        const copy = structuredClone(message);
        const deliver = async () => {
          await sleep(lossy && next() < 0.05 ? 20_000 * next() : 2 + 30 * next());
          const { decided: _, ...rest } = structuredClone(copy);
          return { ...books.exchange(rest, Date.now()), prices: { steer: 1, pace: {}, surcharges: {} } };
        };
        if (lossy && next() < 0.1) deliver();
        if (lossy && next() < 0.1) return sleep(1e9);
        const answer = await deliver();
        if (isolate.dead || (lossy && next() < 0.1)) return sleep(1e9);
        return answer;
      },
    }),
  });

  // What the provider sees, which is the truth.
  const seen = { calls: [], open: 0, mostOpen: 0, told: new Map(), granted: 0, refused: 0, unreachable: 0 };
  const isolates = Array.from({ length: 4 }, () => born());
  function born() {
    const isolate = { dead: false };
    isolate.leases = new Leases("tenant");
    isolate.env = { LEDGER: network(isolate) };
    return isolate;
  }

  function die(isolate) {
    isolate.dead = true;
    isolates[isolates.indexOf(isolate)] = born();
  }

  let n = 0;
  async function request(isolate) {
    const reserved = { nanodollars: 500 + Math.floor(next() * 4_000), tokens: 50 + Math.floor(next() * 400) };
    const call = { id: `call-${n++}`, key: "", model: "a", amounts: amountsOf(limits, reserved), nanodollars: reserved.nanodollars, quality: 0.8, ms: CALL_MS };
    const io = { env: isolate.env, ctx: { waitUntil: (promise) => promise.catch(() => {}) } };
    const answer = await isolate.leases.draw(call, limits, io);
    if (isolate.dead) return;
    if (!answer.granted) return void (seen[answer.limit === null ? "unreachable" : "refused"] += 1);
    seen.granted += 1;
    // With money, all that is reserved is used: nothing unheard of would go unnoticed.
    const share = limits === MONEY ? 1 : next();
    const used = { at: Date.now(), id: call.id, nanodollars: Math.floor(reserved.nanodollars * share), tokens: Math.floor(reserved.tokens * share) };
    seen.calls.push(used);
    seen.open += 1;
    seen.mostOpen = Math.max(seen.mostOpen, seen.open);
    // The worst moment: the call has begun, and nobody has been told.
    if (kills && next() < 0.04) die(isolate);
    await sleep(next() < 0.02 ? CALL_MS - 5_000 : 200 + 3_000 * next());
    seen.open -= 1;
    if (isolate.dead) return;
    const state = next() < 0.1 ? "unsettled" : "settled";
    const usage = { state, nanodollars: used.nanodollars, input_tokens: used.tokens, output_tokens: 0 };
    seen.told.set(call.id, { usage, isolate });
    isolate.leases.settle(call, usage, io);
  }

  const advance = async (ms) => {
    for (let t = 0; t < ms; t += 10) {
      mock.timers.tick(10);
      for (let i = 0; i < 8; i++) await Promise.resolve();
    }
  };
  for (let t = 0; t < 180_000; t += 250) {
    for (const isolate of isolates) {
      // Bursts and silences, so that leases are given back as well as used up.
      if (Math.sin(t / 15_000 + isolates.indexOf(isolate)) > -0.3 && next() < 0.25) request(isolate);
    }
    if (kills && next() < 0.01) die(isolates[Math.floor(next() * isolates.length)]);
    if (restarts && next() < 0.02) {
      sql = sql.copy();
      books = new Books(sql, { leaseMs: LEASE_MS, callMs: CALL_MS }, Date.now());
    }
    await advance(250);
  }
  for (let i = 0; i < 6; i++) {
    await advance(LEASE_MS);
    books.expire(Date.now()); // as the Durable Object's alarm does
  }
  const report = books.report(Date.now());
  const entries = books.entries(0, 1e9);
  mock.timers.reset();
  return { seen, report, entries };
}

/** The most of a quantity in any 60 seconds. */
function mostPerMinute(calls, amount) {
  let most = 0;
  let sum = 0;
  let first = 0;
  for (const call of calls) {
    sum += amount(call);
    while (calls[first].at <= call.at - 60_000) sum -= amount(calls[first++]);
    most = Math.max(most, sum);
  }
  return most;
}

describe("no limit is ever exceeded", () => {
  const cases = { quiet: {}, lossy: { lossy: true }, kills: { kills: true }, restarts: { restarts: true }, everything: { lossy: true, kills: true, restarts: true } };
  for (const [name, how] of Object.entries(cases)) {
    test(name, async () => {
      for (let seed = 1; seed <= 6; seed++) {
        const limits = seed % 2 ? MONEY : RATES;
        const { seen, report, entries } = await run(seed, limits, how);
        const place = `${name}, seed ${seed}`;
        assert.ok(seen.granted > 30 && seen.refused > 0, `${place}: ${JSON.stringify({ ...seen, calls: seen.calls.length })}`);
        assert.ok(seen.mostOpen <= limits["model a: calls"].max, `${place}: ${seen.mostOpen} calls at once`);
        if (limits === RATES) {
          assert.ok(mostPerMinute(seen.calls, () => 1) <= limits["model a: requests/minute"].max, `${place}: requests`);
          assert.ok(mostPerMinute(seen.calls, (call) => call.tokens) <= limits["model a: tokens/minute"].max, `${place}: tokens`);
        }
        const day = (at) => new Date(at).toISOString().slice(0, 10);
        for (const one of new Set(seen.calls.map(({ at }) => day(at)))) {
          const spent = seen.calls.filter(({ at }) => day(at) === one).reduce((sum, call) => sum + call.nanodollars, 0);
          assert.ok(spent <= limits["usd/day"].max, `${place}: ${spent} on ${one}`);
        }
        assert.ok(seen.calls.reduce((sum, call) => sum + call.nanodollars, 0) <= limits["usd/month"].max, `${place}: month`);

        // Once all is quiet, nothing is out, and the books hold every call as it was told.
        assert.equal(report.totals.open, 0, place);
        for (const { name, leased } of report.limits) assert.equal(leased, 0, `${place}: ${name}`);
        const byId = new Map(entries.map((entry) => [entry.id, entry]));
        assert.equal(byId.size, entries.length);
        for (const [id, { usage, isolate }] of seen.told) {
          if (isolate.dead) continue; // what it told last may not have arrived
          const { state, nanodollars, input_tokens, reserved } = byId.get(id);
          assert.equal(state, usage.state, `${place}: ${id}`);
          assert.equal(nanodollars, state === "settled" ? usage.nanodollars : reserved);
          if (state === "settled") assert.equal(input_tokens, usage.input_tokens);
        }
        const charged = entries.reduce((sum, entry) => sum + entry.amounts["usd/month"], 0);
        const month = report.limits.find(({ name }) => name === "usd/month");
        assert.equal(month.used, charged, place);
        // Only what was lost is ever in doubt.
        if (!how.kills && !how.lossy) assert.deepEqual(entries.filter(({ id }) => id.startsWith("doubt")), [], place);
      }
    });
  }
});

test("old entries and periods are forgotten, the present ones and what is open are not", () => {
  const now = START + 70 * 86_400_000;
  const books = new Books(sqlite(), { leaseMs: LEASE_MS, callMs: CALL_MS }, START);
  const call = (id, ms) => ({ id, key: "", model: "a", amounts: { "usd/day": 10 }, nanodollars: 10, quality: 0.5, ms });
  const told = { isolate: "i", heard: 0, limits: { "usd/day": MONEY["usd/day"] }, asks: [], want: {}, stopped: false };
  const usage = { state: "settled", nanodollars: 4, input_tokens: 1, output_tokens: 1 };
  books.exchange({ ...told, seq: 1, calls: [{ ...call("old.1", 1e10), usage }, call("slow.1", 1e10)] }, START);
  books.exchange({ ...told, seq: 2, calls: Array.from({ length: 5 }, (_, i) => ({ ...call(`new-${i}.1`, 1000), usage })) }, now);
  assert.equal(books.feedback("old", "", 1, now), "a");
  books.prune(now - 62 * 86_400_000, 3);
  assert.deepEqual(books.entries(0, 100).map(({ id }) => id), ["slow.1", "new-2.1", "new-3.1", "new-4.1"]);
  const { limits, feedback } = books.report(now);
  assert.equal(limits[0].used, 20, "five calls of today, whether their entries are kept or not");
  assert.deepEqual(feedback, []);
});

test("what was not drawn from a lease does not shrink it", () => {
  const books = new Books(sqlite(), { leaseMs: LEASE_MS, callMs: CALL_MS }, START);
  const limits = { "usd/day": { unit: "nanodollars", window: "day", max: 1000 } };
  const call = (id, amount, more) => ({ id, key: "", model: "a", amounts: { "usd/day": amount }, nanodollars: amount, quality: null, ms: CALL_MS, ...more });
  const message = { heard: 0, limits, calls: [], asks: [], want: {}, stopped: false };
  const { lease } = books.exchange({ ...message, isolate: "i", seq: 1, want: { "usd/day": 250 } }, START);
  assert.equal(lease["usd/day"], 250);
  // The isolate draws all of it, and tells first of a call that it had asked for and given up.
  const usage = { state: "void", nanodollars: 0, input_tokens: 0, output_tokens: 0 };
  books.exchange({ ...message, isolate: "i", seq: 2, calls: [call("given-up.1", 250, { usage })] }, START);
  const { answers } = books.exchange({ ...message, isolate: "j", seq: 1, asks: [call("other.1", 800)], stopped: true }, START);
  assert.equal(answers["other.1"].limit, "usd/day");
  books.exchange({ ...message, isolate: "i", seq: 3, calls: [call("drawn.1", 250, { leased: true })] }, START);
  const [{ used, leased }] = books.limits(START);
  assert.deepEqual([used, leased], [250, 0]);
});

describe("an isolate", () => {
  const LIMITS = { "usd/day": { unit: "nanodollars", window: "day", max: 1_000_000 } };
  const call = (id, amount) => ({ id, key: "", model: "a", amounts: { "usd/day": amount }, nanodollars: amount, quality: null, ms: CALL_MS });
  const used = { state: "settled", nanodollars: 1, input_tokens: 1, output_tokens: 1 };
  const advance = async (ms) => {
    for (let t = 0; t < ms; t += 5) {
      mock.timers.tick(5);
      for (let i = 0; i < 10; i++) await Promise.resolve();
    }
  };
  const io = (books, rtt) => ({
    env: {
      LEDGER: {
        idFromName: (name) => name,
        get: () => ({
          async exchange(message) {
            await new Promise((resolve) => setTimeout(resolve, rtt / 2));
            const { decided: _, counted: _metrics, ...told } = structuredClone(message);
            const answer = books.exchange(told, Date.now());
            await new Promise((resolve) => setTimeout(resolve, rtt / 2));
            return { ...answer, prices: { steer: 1, pace: {}, surcharges: {} } };
          },
        }),
      },
    },
    ctx: { waitUntil: (promise) => promise.catch(() => {}) },
  });

  test("usually draws without asking", async () => {
    mock.timers.enable({ apis: ["Date", "setTimeout"], now: START });
    const books = new Books(sqlite(), { leaseMs: LEASE_MS, callMs: CALL_MS }, START);
    const leases = new Leases("tenant");
    let [waited, n] = [0, 0];
    for (let t = 0; t < 30_000; t += 20, n++) {
      const mine = io(books, 50);
      const began = Date.now();
      const one = call(`${n}.1`, 100);
      leases.draw(one, LIMITS, mine).then(async () => {
        waited += Date.now() - began > 5 ? 1 : 0; // a round trip takes 50
        await new Promise((resolve) => setTimeout(resolve, 1_000));
        leases.settle(one, used, mine);
      });
      await advance(20);
    }
    await advance(10_000);
    mock.timers.reset();
    assert.ok(waited > 0 && waited < 0.02 * n, `${waited} of ${n} waited for the ledger`);
    const { totals, limits } = books.report(START + 60_000);
    assert.deepEqual([totals.calls, totals.open, limits[0].used, limits[0].leased], [n, 0, n, 0]);
  });

  test("does not believe for long that a budget is spent", async () => {
    mock.timers.enable({ apis: ["Date", "setTimeout"], now: START });
    const books = new Books(sqlite(), { leaseMs: LEASE_MS, callMs: CALL_MS }, START);
    const [a, b] = [new Leases("tenant"), new Leases("tenant")];
    const all = call("all.1", 1_000_000);
    a.draw(all, LIMITS, io(books, 10));
    await advance(100);
    const refused = b.draw(call("more.1", 10), LIMITS, io(books, 10));
    await advance(100);
    assert.equal((await refused).limit, "usd/day");
    assert.equal(b.left("usd/day"), 0);
    a.settle(all, used, io(books, 10));
    await advance(3_000);
    assert.equal(b.left("usd/day"), Infinity);
    const granted = b.draw(call("later.1", 10), LIMITS, io(books, 10));
    await advance(100);
    assert.equal((await granted).granted, true);
    mock.timers.reset();
  });
});
