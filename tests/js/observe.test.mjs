// What the gateway tells of itself: metrics as Prometheus reads them, one log line per request, traces.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import parsePrometheus from "parse-prometheus-text-format";
import { simulatedProviders, startGateway } from "../../src/js/tools/gateway.mjs";
import { root } from "../../src/js/tools/shell.mjs";
import { Metrics } from "../../worker/metrics.js";
import { startSimulator } from "../../worker/simulator.mjs";

const KEY = "client-key-1";
const SECRET = "the prompt that nobody else may read";
const catalog = JSON.parse(readFileSync(join(root, "models", "catalog.json"), "utf8"));

let simulator;
let gateway;
let log = "";

before(async () => {
  simulator = await startSimulator({ latencyMs: 20, chunkMs: 0 });
  const POLICY = { format: 1, version: "p1", tenants: { default: { groups: { support: {} }, keys: { web: { sha256: createHash("sha256").update(KEY).digest("hex") } } } } };
  gateway = await startGateway({
    vars: { ...simulatedProviders(catalog, simulator.url), POLICY, METRICS_KEY: "metrics-key", FIRST_BYTE_MS: 300, IDLE_MS: 300 },
    onOutput: (text) => (log += text),
  });
});

after(async () => {
  await gateway?.close();
  await simulator?.close();
});

async function post(path, body, headers = {}) {
  const response = await fetch(gateway.url + path, { method: "POST", body: JSON.stringify(body), headers: { authorization: `Bearer ${KEY}`, ...headers } });
  return { status: response.status, headers: response.headers, text: await response.text() };
}

const chat = (more = {}, headers) => post("/v1/chat/completions", { model: "auto", messages: [{ role: "user", content: SECRET }], ...more }, headers);

/** The samples of a metric, by their labels in order. */
async function scraped() {
  const response = await fetch(`${gateway.url}/metrics`, { headers: { authorization: "Bearer metrics-key" } });
  assert.match(response.headers.get("content-type"), /^text\/plain; version=0\.0\.4/);
  return byName(await response.text());
}

function byName(text) {
  const families = new Map(parsePrometheus(text).map((family) => [family.name, family]));
  return (name, labels = {}) => {
    const found = families.get(name)?.metrics.filter((metric) => Object.entries(labels).every(([label, value]) => metric.labels?.[label] === value)) ?? [];
    return found.reduce((sum, { value, count }) => sum + Number(value ?? count), 0);
  };
}

const lines = () => log.split("\n").filter((line) => line.startsWith('{"event":"request"')).map((line) => JSON.parse(line));

async function logged(find) {
  for (let i = 0; i < 500; i++) {
    const line = lines().find(find);
    if (line) return line;
    await sleep(10);
  }
  return assert.fail(`not logged; last: ${JSON.stringify(lines().at(-1))}`);
}

describe("of requests", () => {
  test("every kind of end is counted once, in metrics that Prometheus reads", async () => {
    const { headers } = await chat({ pennyroute: { group: "support" } });
    const model = headers.get("x-pennyroute-model");
    const base = catalog.models.find(({ id }) => id === model).base;
    await chat({ stream: true });
    const fallen = await chat({ simulate: { [base]: "500" } });
    await chat({ simulate: "500" });
    await chat({ stream: true, simulate: "late_cut" });
    await chat({ model: "client/invented" });
    await chat({ pennyroute: { dry_run: true } });
    await chat({}, { authorization: "Bearer wrong" });
    await post("/v1/route", { prompt: SECRET, pennyroute: { quality: 0.5 } });
    await fetch(`${gateway.url}/v1/${SECRET.replaceAll(" ", "-")}`, { headers: { authorization: `Bearer ${KEY}` } });
    await logged(({ status }) => status === 404);
    const value = await scraped();
    const requests = (labels) => value("pennyroute_requests_total", labels);
    assert.equal(requests({}), 10);
    assert.equal(requests({ api: "/v1/chat/completions", status: "200", stream: "false" }), 3);
    assert.equal(requests({ api: "/v1/chat/completions", status: "200", stream: "true" }), 2);
    assert.deepEqual(["502", "404", "401"].map((status) => requests({ status })), [1, 2, 1]);
    assert.equal(requests({ api: "other" }), 1);
    assert.equal(value("pennyroute_decisions_total"), 7);
    assert.ok(value("pennyroute_decisions_total", { model, code: headers.get("x-pennyroute-code") }) >= 5);
    assert.ok(value("pennyroute_fallbacks_total", { model, failure: "500" }) >= 2);
    assert.equal(value("pennyroute_tokens_total", { model: fallen.headers.get("x-pennyroute-model"), kind: "output" }), JSON.parse(fallen.text).usage.completion_tokens);
    assert.ok(value("pennyroute_tokens_total", { model, kind: "input" }) > 0);
    const [cost, baseline] = [value("pennyroute_cost_usd_total"), value("pennyroute_baseline_usd_total")];
    assert.ok(cost > 0 && baseline >= cost * 0.5, `${cost} ${baseline}`);
    assert.equal(value("pennyroute_theirs_seconds"), 4, "answers that began");
    assert.equal(value("pennyroute_ours_seconds"), 4);
  });

  test("the log has a line for each, without prompt, key or the client's own words", async () => {
    const all = lines();
    assert.equal(all.length, 10);
    assert.ok(all.every(({ trace }) => /^[0-9a-f]{32}$/.test(trace)));
    const answered = all.find(({ group }) => group === "support");
    assert.deepEqual([answered.tenant, answered.key, answered.asked, answered.status, answered.stream], ["default", "web", "auto", 200, false]);
    assert.ok(answered.input_tokens > 0 && answered.output_tokens > 0 && answered.theirs_ms >= 0 && answered.cost_usd > 0);
    assert.equal(all.find(({ error }) => error === "model_not_found").asked, "other");
    assert.equal(all.find(({ error }) => error === "all_attempts_failed").attempts.length, 4);
    assert.ok(all.some(({ error, stream, status }) => error === "stream_network" && stream && status === 200));
    await chat({ pennyroute: { group: "my own words" } });
    await logged(({ error }) => error === "unknown_group");
    for (const secret of ["Simulated:", "my own words", SECRET, SECRET.replaceAll(" ", "-"), "invented", KEY, "sk-simulated"]) assert.ok(!log.includes(secret), secret);
  });

  test("a client that leaves a stream is logged as such", async () => {
    // An answer that goes on: the local runtime does not always notice who left while nothing is sent.
    const slow = await startSimulator({ latencyMs: 1, chunkMs: 50 });
    const leaves = await startGateway({ vars: simulatedProviders(catalog, slow.url), onOutput: (text) => (log += text) });
    const leaving = new AbortController();
    const body = JSON.stringify({ model: "auto", messages: [{ role: "user", content: SECRET }], stream: true });
    const response = await fetch(`${leaves.url}/v1/chat/completions`, { method: "POST", body, signal: leaving.signal });
    const trace = response.headers.get("x-pennyroute-trace");
    await response.body.getReader().read();
    leaving.abort();
    const line = await logged((each) => each.trace === trace);
    assert.deepEqual([line.status, line.error, line.unsettled], [499, "client_closed_request", true]);
    await leaves.close();
    await slow.close();
  });
});

describe("traces", () => {
  const id = "4bf92f3577b34da6a3ce929d0e0e4736";
  test("a valid traceparent is carried on under a new span, another is replaced", async () => {
    for (const [given, kept] of [
      [`00-${id}-00f067aa0ba902b7-01`, true],
      [`cc-${id}-00f067aa0ba902b7-01-later`, true],
      [`00-${id}-00f067aa0ba902b7-01-extra`, false],
      [`00-${"0".repeat(32)}-00f067aa0ba902b7-01`, false],
      [`00-${id}-${"0".repeat(16)}-01`, false],
      [`ff-${id}-00f067aa0ba902b7-01`, false],
      [id.toUpperCase(), false],
      ["", false],
    ]) {
      const answer = await chat({}, { traceparent: given });
      const trace = answer.headers.get("x-pennyroute-trace");
      assert.equal(trace === id, kept, given);
      const sent = simulator.calls.at(-1).headers.traceparent;
      assert.match(sent, new RegExp(`^00-${trace}-(?!00f067aa0ba902b7)[0-9a-f]{16}-0[01]$`));
    }
  });
});

describe("the registry", () => {
  test("labels are escaped, histograms are cumulative, unknown names are refused", () => {
    const metrics = new Metrics();
    const model = 'a"b\\c\nd';
    metrics.count("pennyroute_cost_usd_total", { model }, 0.25);
    metrics.count("pennyroute_cost_usd_total", { model }, 0.5);
    for (const seconds of [0.0005, 0.02, 0.02, 1000]) metrics.observe("pennyroute_ours_seconds", {}, seconds);
    const families = parsePrometheus(metrics.render());
    const [cost, ours] = families;
    assert.deepEqual([cost.type, cost.metrics], ["COUNTER", [{ value: "0.75", labels: { model } }]]);
    const [{ buckets, count, sum }] = ours.metrics;
    assert.equal(ours.type, "HISTOGRAM");
    assert.deepEqual([buckets["0.001"], buckets["0.01"], buckets["0.025"], buckets["300"], buckets["+Inf"], count], ["1", "1", "3", "3", "4", "4"]);
    assert.ok(Math.abs(Number(sum) - 1000.0405) < 1e-9);
    assert.throws(() => metrics.count("pennyroute_typo_total"), /no metric/);
  });

  test("what many registries drain into one is what one would have counted", () => {
    const [one, central] = [new Metrics(), new Metrics()];
    for (let isolate = 0; isolate < 5; isolate++) {
      const local = new Metrics();
      for (let i = 0; i < 40; i++) {
        for (const metrics of [one, local]) {
          metrics.count("pennyroute_requests_total", { api: `a${i % 3}`, status: 200 });
          metrics.observe("pennyroute_theirs_seconds", {}, (isolate * i) / 16);
        }
        if (i % 9 === 0) central.merge(JSON.parse(JSON.stringify(local.drain())));
      }
      local.set("pennyroute_config_age_seconds", {}, 5);
      central.merge(local.drain());
      assert.deepEqual(local.drain(), {});
      assert.match(local.render(), /config_age_seconds 5/);
    }
    central.merge({ pennyroute_of_another_version: { "[]": { value: 1 } } });
    assert.equal(central.render(), one.render());
  });
});
