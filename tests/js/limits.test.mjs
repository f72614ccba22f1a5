// Budgets and limits in a real workerd, with the ledger as a Durable Object.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { bundleWorker, simulatedProviders, startGateway } from "../../src/js/tools/gateway.mjs";
import { root } from "../../src/js/tools/shell.mjs";
import { startSimulator } from "../../worker/simulator.mjs";

const ADMIN = "admin-key";
const MODEL = "openai/gpt-5.4-nano@none";
const catalog = JSON.parse(readFileSync(join(root, "models", "catalog.json"), "utf8"));
const sha256 = (text) => createHash("sha256").update(text).digest("hex");
const folder = mkdtempSync(join(tmpdir(), "pennyroute-ledger-"));

let simulator;
let modules;
const running = new Set();

before(async () => {
  simulator = await startSimulator({ latencyMs: 1, chunkMs: 0 });
  modules = await bundleWorker();
});

after(async () => {
  await Promise.all([...running].map((gateway) => gateway.close()));
  await simulator?.close();
  rmSync(folder, { recursive: true });
});

async function started(tenant, { vars = {}, options = {}, providers = simulator } = {}) {
  const POLICY = { format: 1, version: "p", tenants: { default: tenant } };
  const gateway = await startGateway({ modules, options, vars: { ...simulatedProviders(catalog, providers.url), ADMIN_KEY: ADMIN, POLICY, ...vars } });
  running.add(gateway);
  const ask = async (method, path, body, key = ADMIN) => {
    const init = { method, body: body && JSON.stringify(body), headers: { authorization: `Bearer ${key}` } };
    const response = await fetch(gateway.url + path, init);
    const text = await response.text();
    return { status: response.status, headers: response.headers, text, json: text.startsWith("{") ? JSON.parse(text) : undefined };
  };
  const chat = (more = {}, key) => ask("POST", "/v1/chat/completions", { model: "auto", messages: [{ role: "user", content: "Why?" }], ...more }, key);
  const ledger = async () => (await ask("GET", "/admin/ledger")).json;
  const entries = async () => (await ask("GET", "/admin/entries")).json.entries;
  return { ...gateway, chat, ledger, entries, ask, close: () => (running.delete(gateway), gateway.close()) };
}

async function until(condition) {
  for (let i = 0; i < 300; i++) {
    const value = await condition();
    if (value) return value;
    await sleep(20);
  }
  assert.fail(`never: ${condition}`);
}

const settled = (gateway, n) =>
  until(async () => {
    const entries = await gateway.entries();
    return entries.length >= n && entries.every(({ state }) => state !== "open") && entries;
  });

const nanodollars = (id, { input, cached = 0, output }) => {
  const { cost } = catalog.models.find((model) => model.id === id);
  return Math.ceil(((input - cached) * cost.input + cached * (cost.cache_read ?? cost.input) + output * cost.output) * 1e3 - 1e-6);
};

describe("the ledger", { concurrency: 3 }, () => {
  test("holds every call with the usage that the provider counted", async () => {
    const { PROVIDERS } = simulatedProviders(catalog, simulator.url);
    PROVIDERS.openai.output_limit = "max_completion_tokens";
    const gateway = await started({}, { vars: { PROVIDERS } });
    const plain = await gateway.chat();
    const { usage, model } = plain.json;
    const streamed = await gateway.chat({ stream: true, model: MODEL, max_tokens: 7 });
    assert.equal(streamed.status, 200);
    const [first, second] = await settled(gateway, 2);
    assert.equal(first.id, `${plain.headers.get("x-pennyroute-id")}.1`);
    assert.deepEqual([first.model, first.state, first.input_tokens, first.output_tokens], [model, "settled", usage.prompt_tokens, usage.completion_tokens]);
    assert.equal(first.nanodollars, nanodollars(model, { input: usage.prompt_tokens, output: usage.completion_tokens }));
    assert.equal(Number(plain.headers.get("x-pennyroute-spent-usd")), first.nanodollars / 1e9);
    assert.equal(second.output_tokens, 7);
    const sent = simulator.calls.find((call) => call.headers["x-client-request-id"] === first.id);
    assert.ok(sent.body.max_tokens > 0 && sent.body.max_tokens <= 16_384, "the limit that was reserved is sent");
    const named = simulator.calls.find((call) => call.headers["x-client-request-id"] === second.id).body;
    assert.deepEqual([named.max_completion_tokens, named.max_tokens], [7, undefined], "under the provider's name for it");
    for (const { reserved, nanodollars } of [first, second]) assert.ok(reserved >= nanodollars);
  });

  test("charges the reservation where the usage never arrives, and nothing for a refusal", async () => {
    const gateway = await started({});
    await gateway.chat({ stream: true, model: MODEL, simulate: "late_cut" });
    await gateway.chat({ model: MODEL, simulate: "500" });
    const [cut, refused] = await settled(gateway, 2);
    assert.deepEqual([cut.state, cut.nanodollars], ["unsettled", cut.reserved]);
    assert.deepEqual([refused.state, refused.nanodollars], ["void", 0]);
  });

  test("a client that goes away leaves its reservation charged", async () => {
    const slow = await startSimulator({ latencyMs: 1, chunkMs: 200 });
    const gateway = await started({}, { providers: slow });
    const away = new AbortController();
    const response = await fetch(`${gateway.url}/v1/chat/completions`, {
      method: "POST", signal: away.signal, body: JSON.stringify({ model: MODEL, stream: true, messages: [{ role: "user", content: "Why?" }] }),
    });
    await response.body.getReader().read();
    away.abort();
    const [entry] = await settled(gateway, 1);
    assert.equal(entry.state, "unsettled");
    await slow.close();
  });

  test("feedback is kept beside what was expected, for whoever asked", async () => {
    const keys = { a: { sha256: sha256("key-a") }, b: { sha256: sha256("key-b") } };
    const gateway = await started({ keys });
    const answer = await gateway.chat({ model: MODEL }, "key-a");
    const id = answer.headers.get("x-pennyroute-id");
    await settled(gateway, 1);
    const tell = (body, key = "key-a") => gateway.ask("POST", "/v1/feedback", body, key);
    assert.deepEqual((await tell({ id, correct: false })).json, { id, model: MODEL, correct: 0 });
    assert.deepEqual((await tell({ id, correct: 0.75 })).json, { id, model: MODEL, correct: 0.75 });
    const { feedback } = await gateway.ledger();
    assert.deepEqual(feedback, [{ model: MODEL, answers: 1, correct: 0.75, expected: Number(feedback[0].expected) }]);
    assert.ok(feedback[0].expected > 0.2 && Math.abs(feedback[0].expected - Number(answer.headers.get("x-pennyroute-quality"))) < 1e-3);
    assert.equal((await tell({ id, correct: true }, "key-b")).json.error.code, "unknown_decision");
    for (const [body, param] of [[{ id }, "correct"], [{ id, correct: 2 }, "correct"], [{ id: 5, correct: 1 }, "id"], [{ id, correct: 1, note: "x" }, "note"]]) {
      const { status, json } = await tell(body);
      assert.deepEqual([status, json.error.param], [400, param]);
    }
  });

  test("a budget is never exceeded, and then says so", async () => {
    const gateway = await started({ budget_usd: { day: 0.006 }, max_output_tokens: 100 });
    const answers = [];
    for (let i = 0; i < 10; i++) answers.push(...(await Promise.all(Array.from({ length: 10 }, () => gateway.chat({ model: "anthropic/claude-haiku-4-5@none" })))));
    const ok = answers.filter(({ status }) => status === 200);
    const refused = answers.filter(({ status }) => status !== 200);
    assert.ok(ok.length > 5 && refused.length > 5, `${ok.length} answered, ${refused.length} refused`);
    for (const { status, json, headers } of refused) {
      assert.deepEqual([status, json.error.code, json.error.type], [429, "budget_spent", "insufficient_quota"]);
      assert.equal(headers.get("x-should-retry"), "false");
    }
    await settled(gateway, ok.length);
    const { limits } = await gateway.ledger();
    const { used, max } = limits.find(({ name }) => name === "usd/day");
    assert.ok(used <= max && used > max / 2, `${used} of ${max}`);
  });

  test("calls at once: the next model is taken, or the client told to come back", async (t) => {
    const slow = await startSimulator({ latencyMs: 300 });
    t.after(() => slow.close());
    const gateway = await started({ models: { [MODEL]: { concurrent: 3 } } }, { providers: slow });
    const pinned = await Promise.all(Array.from({ length: 12 }, () => gateway.chat({ model: MODEL })));
    const ok = pinned.filter(({ status }) => status === 200).length;
    assert.ok(ok >= 1 && ok <= 3, `${ok} at once`);
    for (const { status, json, headers } of pinned.filter(({ status }) => status !== 200)) {
      assert.ok([429, 503].includes(status) && Number(headers.get("retry-after")) >= 1, JSON.stringify(json));
    }
    await settled(gateway, ok);
    // With no quality to keep, all want the cheapest; those that find no slot are served by the next.
    const pennyroute = { allow: [MODEL, "openai/gpt-5.4-mini@none"], quality: 0 };
    await until(async () => (await gateway.chat({ pennyroute: { ...pennyroute, dry_run: true } })).json.model === MODEL);
    const routed = await Promise.all(Array.from({ length: 12 }, () => gateway.chat({ pennyroute })));
    assert.ok(routed.every(({ status }) => status === 200));
    const cheapest = routed.filter(({ json }) => json.model === MODEL).length;
    assert.ok(cheapest >= 1 && cheapest <= 3, `${cheapest} of 12 by the cheapest`);
  });

  test("requests in a minute, of a key and of a model", async () => {
    const keys = { a: { sha256: sha256("key-a"), requests_per_minute: 4 }, b: { sha256: sha256("key-b") } };
    const gateway = await started({ keys, models: { "openai/*": { requests_per_minute: 9 } } });
    const count = async (key, n) => (await Promise.all(Array.from({ length: n }, () => gateway.chat({ model: MODEL }, key)))).filter(({ status }) => status === 200).length;
    assert.equal(await count("key-a", 8), 4);
    assert.equal(await count("key-b", 12), 5);
    const { limits } = await gateway.ledger();
    assert.deepEqual(limits.map(({ name }) => name).sort(), ["key a: requests/minute", "model openai/*: requests/minute"]);
    assert.equal((await gateway.chat({ pennyroute: { deny: ["openai/*"] } }, "key-b")).status, 200);
    const other = await gateway.chat({ model: "auto" }, "key-b");
    assert.equal(other.status, 200);
    assert.ok(!other.json.model.startsWith("openai/"), "what is full is not chosen");
  });

  test("what was spent is known after a restart, and what was under way is charged", async () => {
    const tenant = { budget_usd: { day: 0.002 }, max_output_tokens: 100 };
    const options = { durableObjectsPersist: folder };
    const before = await started(tenant, { options });
    for (let i = 0; i < 5; i++) await before.chat({ model: MODEL });
    const entries = await settled(before, 5);
    const [limit] = (await before.ledger()).limits;
    await before.close();
    const gateway = await started(tenant, { options });
    assert.deepEqual(await gateway.entries(), entries);
    await gateway.chat({ model: MODEL });
    const [now] = (await gateway.ledger()).limits;
    assert.ok(now.used > limit.used && now.max === limit.max);
  });

  test("without the ledger: refused or served, as the owner prefers", async () => {
    // A ledger that another process should hold, but nobody does.
    const gone = { unsafeDevRegistryPath: folder, durableObjects: { LEDGER: { className: "Ledger", scriptName: "nobody", useSQLite: true } } };
    for (const [ledger_down, status] of [["refuse", 503], ["degrade", 200]]) {
      const gateway = await started({ ledger_down, budget_usd: { day: 1 } }, { options: gone });
      const answer = await gateway.chat({ model: MODEL });
      assert.equal(answer.status, status, answer.text);
      if (status === 503) assert.equal(answer.json.error.code, "ledger_unreachable");
    }
  });
});
