// Catalog and policy as data: where they come from, what a bad one does, that no request sees two
// versions, and the owner's routes that replace them.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { bundleWorker, simulatedProviders, startGateway } from "../../src/js/tools/gateway.mjs";
import { root } from "../../src/js/tools/shell.mjs";
import { startSimulator } from "../../worker/simulator.mjs";

const ADMIN = "admin-key-1";
const KEY = "client-key-1";
const MESSAGES = [{ role: "user", content: "Why is the sky blue?" }];
const sha256 = (text) => createHash("sha256").update(text).digest("hex");
const policy = (version, tenant = { keys: { web: { sha256: sha256(KEY) } } }) => JSON.stringify({ format: 1, version, tenants: { default: tenant } });

const packed = JSON.parse(readFileSync(join(root, "models", "catalog.json"), "utf8"));
/** The packed catalog with the models of one provider, under another version. */
const only = (provider, version = provider) => JSON.stringify({ ...packed, version, models: packed.models.filter((model) => model.provider === provider) });

let simulator;
let modules;
const running = [];

before(async () => {
  simulator = await startSimulator({ latencyMs: 1, chunkMs: 0 });
  modules = await bundleWorker();
});

after(async () => {
  await Promise.all(running.map(({ close }) => close()));
  await simulator?.close();
});

/** A gateway, and its answers as `{status, headers, text, json}`. */
async function started({ vars = {}, kv } = {}) {
  let log = "";
  const all = { ...simulatedProviders(packed, simulator.url), ADMIN_KEY: ADMIN, CONFIG_TTL: 0, ...vars };
  // Without a ledger, which limits need.
  const options = { durableObjects: {} };
  const gateway = await startGateway({ modules, kv, vars: all, options, onOutput: (text) => (log += text) });
  running.push(gateway);
  const ask = async (method, path, { body, key = KEY, ...headers } = {}) => {
    const response = await fetch(gateway.url + path, { method, body, headers: { ...(key && { authorization: `Bearer ${key}` }), ...headers } });
    const text = await response.text();
    return { status: response.status, headers: response.headers, text, json: text.startsWith("{") ? JSON.parse(text) : undefined };
  };
  return {
    ...gateway,
    ask,
    log: () => log,
    health: async () => (await ask("GET", "/healthz")).json,
    decide: (more = {}) => ask("POST", "/v1/route", { body: JSON.stringify({ messages: MESSAGES, ...more }) }),
    chat: (more = {}, headers = {}) => ask("POST", "/v1/chat/completions", { body: JSON.stringify({ model: "auto", messages: MESSAGES, ...more }), ...headers }),
    admin: (method, path, body, headers = {}) => ask(method, `/admin/${path}`, { body, key: ADMIN, ...headers }),
  };
}

/** Readings happen beside requests, so that what they bring is seen by a later one. */
async function until(condition) {
  for (let i = 0; i < 200; i++) {
    if (await condition()) return;
    await sleep(20);
  }
  assert.fail("it did not come to that");
}

const catalogOf = ({ headers }) => headers.get("x-pennyroute-catalog");
const policyOf = ({ headers }) => headers.get("x-pennyroute-policy");

describe("sources", { concurrency: 2 }, () => {
  test("without KV: the packed catalog, open, and nowhere to write", async () => {
    const { health, decide, admin, chat } = await started();
    const { status, open, versions, config } = await health();
    assert.deepEqual([status, open, versions.catalog, config.policy, config.age_seconds], ["ok", true, packed.version, null, null]);
    const decision = await decide();
    assert.equal(decision.status, 200);
    assert.equal(policyOf(decision), null);
    assert.equal(decision.headers.get("x-pennyroute-warning"), null);
    assert.equal((await chat({}, { key: null })).status, 200);
    for (const name of ["catalog", "policy"]) {
      const put = await admin("PUT", name, policy("v1"));
      assert.deepEqual([put.status, put.json.error.code], [501, "no_kv"]);
      const get = await admin("GET", name);
      assert.deepEqual([get.status, get.headers.get("x-pennyroute-source")], [200, "deployment"]);
    }
    assert.deepEqual(JSON.parse((await admin("GET", "catalog")).text).version, packed.version);
  });

  test("the variable POLICY, as an object or as text; a bad one stops the start", async () => {
    for (const POLICY of [policy("var"), JSON.parse(policy("var"))]) {
      const { chat, health } = await started({ vars: { POLICY } });
      assert.equal((await health()).open, false);
      assert.equal((await chat({}, { key: null })).status, 401);
      assert.equal(policyOf(await chat()), "var");
    }
    for (const [POLICY, message] of [["{", /POLICY: /], [policy("v", { budget_usd: { day: -1 } }), /POLICY: tenants\.default\.budget_usd\.day: -1/], [policy("v", { budget_usd: { day: 1 } }), /LEDGER/]]) {
      await assert.rejects(started({ vars: { POLICY } }), message);
    }
  });

  test("KV empty: what comes with the deployment", async () => {
    const { decide, health } = await started({ kv: { CONFIG: {} }, vars: { POLICY: policy("var") } });
    const decision = await decide();
    assert.deepEqual([decision.status, catalogOf(decision), policyOf(decision)], [200, packed.version, "var"]);
    const { status, config } = await health();
    assert.equal(status, "ok");
    assert.ok(config.age_seconds >= 0 && config.stale === null);
  });

  test("KV out of reach: the declared policy and a warning; without one, nobody is let in", async () => {
    // A binding without its methods fails as one whose service is down does.
    const declared = await started({ vars: { CONFIG: {}, POLICY: policy("var") } });
    assert.equal((await declared.chat({}, { key: null })).status, 401);
    const answer = await declared.chat();
    assert.deepEqual([answer.status, policyOf(answer)], [200, "var"]);
    assert.match(answer.headers.get("x-pennyroute-warning"), /^config stale since this isolate's start$/);
    const undeclared = await started({ vars: { CONFIG: {} } });
    const refused = await undeclared.chat();
    assert.deepEqual([refused.status, refused.json.error.code, refused.headers.get("retry-after")], [503, "config_unavailable", "5"]);
    const health = await undeclared.ask("GET", "/healthz");
    assert.deepEqual([health.status, health.json.status, health.json.open], [503, "unavailable", false]);
    assert.match((await undeclared.admin("GET", "status")).json.errors.kv, /KV cannot be read/);
    const put = await undeclared.admin("PUT", "policy", policy("v2"));
    assert.deepEqual([put.status, put.json.error.code], [503, "kv_unavailable"]);
  });

  test("a bad policy in KV at the start closes the gateway, until a good one comes", async () => {
    const { chat, ask, admin, kv } = await started({ kv: { CONFIG: { policy: policy("bad", { keys: { web: { sha256: "x" } } }) } } });
    assert.equal((await chat()).status, 503);
    const health = await ask("GET", "/healthz");
    assert.deepEqual([health.json.config.errors, health.text.includes("keys.web")], [["policy"], false], "names of keys are the owner's");
    assert.match((await admin("GET", "status")).json.errors.policy, /tenants\.default\.keys\.web\.sha256/);
    assert.equal((await admin("PUT", "policy", policy("good"))).status, 200);
    assert.equal(policyOf(await chat()), "good");
    assert.equal(await (await kv("CONFIG")).get("policy"), policy("good"));
  });
});

describe("a bad version", () => {
  const bad = {
    "no JSON": "{",
    "a newer format": JSON.stringify({ ...packed, format: 99 }),
    "no models": JSON.stringify({ ...packed, models: [] }),
    "a model without an id": JSON.stringify({ ...packed, models: [{ ...packed.models[0], id: undefined }] }),
    "a list": "[]",
  };
  test("never replaces the last good one, is told, and is over when a good one comes", async () => {
    const gateway = await started({ kv: { CONFIG: { catalog: only("openai", "good"), policy: policy("p1") } }, vars: { CONFIG_STALE: 0.2 } });
    const { decide, health, kv, ask, admin } = gateway;
    const store = await kv("CONFIG");
    assert.equal(catalogOf(await decide()), "good");
    for (const [name, text] of Object.entries(bad)) {
      await store.put("catalog", text);
      await until(async () => (await health()).config.errors.includes("catalog"));
      const decision = await decide();
      assert.deepEqual([decision.status, catalogOf(decision), policyOf(decision)], [200, "good", "p1"], name);
      assert.equal((await ask("GET", "/healthz")).status, 200, "it still serves");
      await until(async () => /^config stale since 2\d{3}-/.test((await decide()).headers.get("x-pennyroute-warning") ?? ""));
      await store.put("catalog", only("openai", "good"));
      await until(async () => (await health()).status === "ok" && (await decide()).headers.get("x-pennyroute-warning") === null);
    }
    await store.put("policy", policy("p2", { keys: {}, budget: 1 }));
    await until(async () => (await admin("GET", "status")).json.errors.policy);
    assert.match((await admin("GET", "status")).json.errors.policy, /tenants\.default\.budget/);
    assert.deepEqual([(await ask("GET", "/v1/models", { key: null })).status, policyOf(await decide())], [401, "p1"]);
    const { text } = await admin("GET", "../metrics");
    assert.match(text, /^pennyroute_config_errors_total\{document="catalog"\} 5$/m);
    assert.match(text, /^pennyroute_config_age_seconds [\d.e-]+$/m);
    assert.equal(gateway.log().match(/"event":"config_refused","document":"policy"/g).length, 1, "told once, not at every reading");
  });
});

test("KV that fails later leaves the last good versions in use", async () => {
  const { decide, health, kv, log } = await started({ kv: { CONFIG: { catalog: only("openai", "good"), policy: policy("p1") } } });
  const store = await kv("CONFIG");
  const both = async () => [catalogOf(await decide()), policyOf(await decide())];
  assert.deepEqual(await both(), ["good", "p1"]);
  // More than KV hands out in one answer makes the reading itself fail.
  for (const name of ["catalog", "policy"]) await store.put(name, " ".repeat(14 * 1024 * 1024));
  await until(async () => (await health()).config.errors.includes("kv"));
  assert.deepEqual(await both(), ["good", "p1"]);
  assert.match(log(), /KV cannot be read/);
  await store.put("catalog", only("openai", "c2"));
  await store.put("policy", policy("p2"));
  await until(async () => (await health()).status === "ok");
  assert.deepEqual(await both(), ["c2", "p2"]);
});

describe("versions", () => {
  test("a request keeps the version that it began with, also when its body comes late", async () => {
    const { url, decide, kv } = await started({ kv: { CONFIG: { catalog: only("openai"), policy: policy("p1") } } });
    await decide();
    const body = JSON.stringify({ messages: MESSAGES });
    const socket = connect(Number(new URL(url).port), "127.0.0.1");
    await once(socket, "connect");
    let answer = "";
    socket.on("data", (data) => (answer += data));
    socket.write(`POST /v1/route HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer ${KEY}\r\ncontent-length: ${body.length}\r\n\r\n${body.slice(0, 5)}`);
    await sleep(50);
    const store = await kv("CONFIG");
    await store.put("catalog", only("anthropic"));
    await store.put("policy", policy("p2"));
    await until(async () => {
      const now = await decide();
      return catalogOf(now) === "anthropic" && policyOf(now) === "p2";
    });
    socket.write(body.slice(5));
    await once(socket, "close");
    assert.match(answer, /x-pennyroute-catalog: openai\r\n/i);
    assert.match(answer, /x-pennyroute-policy: p1\r\n/i);
    assert.match(answer, /x-pennyroute-model: openai\//i);
    assert.equal(catalogOf(await decide()), "anthropic");
  });

  test("swaps under traffic: catalog, policy, model and receipt of each answer agree", async () => {
    const { chat, decide, kv } = await started({ kv: { CONFIG: { catalog: only("openai"), policy: policy("openai") } } });
    const store = await kv("CONFIG");
    const seen = new Map();
    let running = true;
    const swaps = (async () => {
      for (let i = 0; running; i++) {
        await store.put("catalog", only(["anthropic", "openai", "google"][i % 3]));
        await sleep(15);
      }
    })();
    await Promise.all(
      Array.from({ length: 20 }, async (_, client) => {
        for (let i = 0; i < 10; i++) {
          const stream = (client + i) % 2 === 0;
          const answer = i % 4 === 0 ? await decide() : await chat({ stream });
          assert.equal(answer.status, 200, answer.text);
          const version = catalogOf(answer);
          assert.ok(answer.headers.get("x-pennyroute-model").startsWith(`${version}/`), `${version}: ${answer.headers.get("x-pennyroute-model")}`);
          const models = answer.json?.versions ? [answer.json.model, ...answer.json.fallbacks, ...answer.json.alternatives.map(({ model }) => model)] : [...answer.text.matchAll(/"model":"([^"]+)"/g)].map(([, model]) => model);
          assert.ok(models.length > 0 && models.every((model) => model.startsWith(`${version}/`)), version);
          seen.set(version, (seen.get(version) ?? 0) + 1);
        }
      }),
    );
    running = false;
    await swaps;
    assert.ok(seen.size >= 2, `several versions were served: ${[...seen]}`);
  });
});

describe("the owner's routes", () => {
  let gateway;
  before(async () => {
    gateway = await started({ kv: { CONFIG: { policy: policy("p1") } }, vars: { CONFIG_TTL: 60, METRICS_KEY: "metrics-key-1" } });
  });

  test("need the owner's key, and do not exist without one", async () => {
    const paths = [["GET", "/admin/status"], ["GET", "/admin/policy"], ["PUT", "/admin/policy"], ["GET", "/metrics"]];
    for (const [method, path] of paths) {
      for (const key of [null, "", KEY, "admin-key-", `${ADMIN}1`]) {
        const refused = await gateway.ask(method, path, { key, ...(method === "PUT" && { body: policy("stolen") }) });
        assert.deepEqual([refused.status, refused.json.error.code], [401, "invalid_admin_key"]);
      }
    }
    assert.equal((await gateway.ask("GET", "/metrics", { key: "metrics-key-1" })).status, 200);
    assert.equal((await gateway.ask("GET", "/admin/status", { key: "metrics-key-1" })).status, 401);
    assert.equal((await gateway.ask("GET", "/v1/models", { key: ADMIN })).status, 401, "nor is the owner's key a client's");
    const without = await started({ vars: { ADMIN_KEY: "" } });
    for (const [method, path] of paths) {
      for (const key of [null, "", "x"]) assert.equal((await without.ask(method, path, { key })).status, 404);
    }
    const foreign = await gateway.admin("GET", "policy", undefined, { origin: "https://evil.example" });
    assert.equal(foreign.status, 403);
  });

  test("PUT validates, replaces at once, and answers the version", async () => {
    const { admin, decide, chat, kv } = gateway;
    const put = await admin("PUT", "policy", policy("p2"), { "if-match": '"p1"' });
    assert.deepEqual([put.status, put.json, put.headers.get("etag")], [200, { version: "p2", replaced: "p1", warnings: [] }, '"p2"']);
    assert.equal(policyOf(await decide()), "p2");
    const stale = await admin("PUT", "policy", policy("p3"), { "if-match": '"p1"' });
    assert.deepEqual([stale.status, stale.json.error.code], [412, "version_conflict"]);
    const shown = await admin("GET", "policy");
    assert.deepEqual([shown.text, shown.headers.get("etag"), shown.headers.get("x-pennyroute-source")], [policy("p2"), '"p2"', "kv"]);
    for (const [body, code, param] of [
      ["{", "bad_request", null],
      ["[]", "bad_request", null],
      [policy("p4", { route: { floor: 2 } }), "bad_policy", "tenants.default.route.floor"],
      [policy("p4", { budget_usd: { day: 1 } }), "bad_policy", "tenants.default.budget_usd"],
      [policy("bad\r\nheader: x"), "bad_policy", "version"],
    ]) {
      const refused = await admin("PUT", "policy", body);
      assert.deepEqual([refused.status, refused.json.error.code, refused.json.error.param], [400, code, param]);
    }
    const catalog = await admin("PUT", "catalog", only("openai", "c2"));
    assert.deepEqual([catalog.status, catalog.json.version, catalog.json.replaced], [200, "c2", packed.version]);
    const answer = await chat();
    assert.deepEqual([catalogOf(answer), policyOf(answer)], ["c2", "p2"]);
    for (const [body, code, message] of [
      [JSON.stringify({ ...packed, format: 99 }), "unsupported_version", /99 is newer/],
      [JSON.stringify({ ...packed, models: [...packed.models, { id: 5 }] }), "bad_catalog", /models\[122\]/],
    ]) {
      const refused = await admin("PUT", "catalog", body);
      assert.deepEqual([refused.status, refused.json.error.code], [400, code]);
      assert.match(refused.json.error.message, message);
      assert.equal(catalogOf(await decide()), "c2", "the one in use stays");
    }
    assert.equal(await (await kv("CONFIG")).get("catalog"), only("openai", "c2"));
  });

  test("a policy's warnings and tenants are in /admin/status, its secrets nowhere", async () => {
    const tenant = { ledger_down: "degrade", budget_usd: { day: 5 }, keys: { web: { sha256: sha256(KEY) } } };
    const put = await gateway.admin("PUT", "policy", policy("p5", tenant));
    assert.match(put.json.warnings[0], /tenants\.default\.budget_usd: not kept/);
    const { json, text } = await gateway.admin("GET", "status");
    assert.deepEqual(json.tenants, { default: { budget_usd: { day: 5 }, keys: ["web"] } });
    assert.deepEqual(json.bindings, { CONFIG: true, LEDGER: false });
    for (const secret of [ADMIN, KEY, "sk-simulated", sha256(KEY)]) assert.ok(!text.includes(secret) && !gateway.log().includes(secret));
  });
});
