// `npm run load`: several gateways that share one ledger, before simulated providers that fail, under
// many clients, with one gateway killed in mid-run. Every answer is checked whole, and what the
// gateways charged is compared with the providers' own books. Loopback only. The last line is one
// JSON object.

import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { simulatedProviders } from "../../src/js/tools/gateway.mjs";
import { fail, root } from "../../src/js/tools/shell.mjs";
import { answeredTwice, cost, overWorkload, readBooks, reconcile, sharedIds } from "./books.mjs";
import { drive } from "./drive.mjs";
import { overheads, quantile, round } from "./figures.mjs";
import { start, stop, tell } from "./fork.mjs";
import { cpuMs, residentMb, threadMs } from "./process.mjs";
import { requestOf } from "./prompts.mjs";

const GATEWAYS = 3;
const ADMIN = "load-admin-secret";

const { values } = parseArgs({
  options: { requests: { type: "string", default: "20000" }, clients: { type: "string", default: "200" }, seed: { type: "string", default: "1" } },
});
const requests = positive("requests");
const clients = positive("clients");
const { seed } = values;

/** @param {"requests" | "clients"} name */
function positive(name) {
  const value = Number(values[name]);
  if (!Number.isSafeInteger(value) || value < 1) fail(`--${name}: ${values[name]} is not a whole number of at least 1`);
  return value;
}

/** Two clients: one may spend all it likes, the other runs out of its budget on the way. */
const KEYS = { plenty: "load-key-plenty", scarce: "load-key-scarce" };
const keyOf = (/** @type {number} */ index) => (index % 20 === 0 ? "scarce" : "plenty");
const sha256 = (/** @type {string} */ text) => createHash("sha256").update(text).digest("hex");
const BUDGETS = { tenant: requests * 1e-3, scarce: requests * 2e-6 };
/** Less than the traffic would take. */
const MODEL_LIMITS = {
  "anthropic/claude-haiku-5-5*": { concurrent: Math.ceil(clients / 8), requests_per_minute: Math.ceil(requests / 20) },
  "openai/gpt-6-luna*": { concurrent: Math.ceil(clients / 20), tokens_per_minute: 20 * requests },
};
const POLICY = {
  format: 1,
  version: "load",
  tenants: {
    default: {
      budget_usd: { day: BUDGETS.tenant },
      models: MODEL_LIMITS,
      max_output_tokens: 1024,
      keys: { plenty: { sha256: sha256(KEYS.plenty) }, scarce: { sha256: sha256(KEYS.scarce), budget_usd: { day: BUDGETS.scarce } } },
    },
  },
};

const catalog = JSON.parse(readFileSync(join(root, "models", "catalog.json"), "utf8"));
const folder = mkdtempSync(join(tmpdir(), "pennyroute-load-"));
const providers = await start("./providers.mjs", { args: [seed] });
const vars = {
  ...simulatedProviders(catalog, providers.ready.url),
  ...{ POLICY, ADMIN_KEY: ADMIN, CALL_MS: 20_000, FIRST_BYTE_MS: 3000, IDLE_MS: 3000, REPLY_MS: 5000 },
};
const registry = { unsafeDevRegistryPath: join(folder, "registry") };
const own = { LEDGER: { className: "Ledger", useSQLite: true } };
const others = { LEDGER: { className: "Ledger", useSQLite: true, scriptName: "ledger" } };

/** @param {string} name @param {object} options @returns {Promise<Gateway>} */
async function startOne(name, options) {
  const { child, ready } = await start("./gateway.mjs", { message: { vars, options: { ...registry, name, ...options } } });
  return { ...ready, child, alive: true, cpu: cpuMs(ready.pid), used: 0 };
}
/** @typedef {{url: string, pid: number, child: import("node:child_process").ChildProcess, alive: boolean, cpu: number, used: number}} Gateway */
const startGateway = (/** @type {number} */ index) => startOne(`gateway-${index}`, { durableObjects: others });

const ledger = await startOne("ledger", { durableObjects: own, durableObjectsPersist: join(folder, "objects") });
/** @type {Gateway[]} */
const gateways = [];
for (let index = 0; index < GATEWAYS; index++) gateways.push(await startGateway(index));
const standing = () => gateways.filter(({ alive }) => alive);
const headers = (/** @type {number} */ index) => ({ authorization: `Bearer ${KEYS[keyOf(index)]}` });
const say = (/** @type {string} */ text) => console.error(text);

// First without faults: what a gateway adds where nothing waits in a queue.
const quiet = { targets: standing, clients: 4, count: Math.max(40, Math.min(400, Math.floor(requests / 15))) };
const plenty = () => headers(1);
await drive({ ...quiet, headers: plenty, request: (index) => requestOf(seed, "warm", index) });
const light = await drive({ ...quiet, headers: plenty, request: (index) => requestOf(seed, "light", index) });
say(`light phase: ${light.answers.length} requests in ${round(light.seconds)} s`);

// Then one request at a time, about 1,000 tokens each: what it costs in CPU, to its very end.
const cpu = { plain: /** @type {number[]} */ ([]), stream: /** @type {number[]} */ ([]), thread: /** @type {number[]} */ ([]) };
for (let index = 0; index < quiet.count; index++) {
  const [gateway] = gateways;
  const stream = index % 2 === 1;
  const before = cpuMs(gateway.pid);
  const beforeInThread = threadMs(gateway.pid);
  const request = () => requestOf(seed, "cpu", index, { tokens: 1000, stream });
  await drive({ targets: () => [gateway], clients: 1, count: 1, headers: plenty, request });
  await sleep(5);
  cpu[stream ? "stream" : "plain"].push(cpuMs(gateway.pid) - before);
  cpu.thread.push(threadMs(gateway.pid) - beforeInThread);
}
say(`CPU phase: ${quiet.count} requests`);

// Now all at once, with everything going wrong.
const dead = { provider: "zhipu", from: Math.floor(requests * 0.3), to: Math.floor(requests * 0.45) };
providers.child.send({ faults: { rate429: 0.1, rate5xx: 0.05, cut: 0.02, stall: 0.01, dead } });
for (const gateway of gateways) gateway.cpu = cpuMs(gateway.pid);
const ledgerBefore = cpuMs(ledger.pid);
/** @type {Gateway[]} */
const killed = [];
/** @type {Promise<unknown> | undefined} */
let restarted;
const load = await drive({
  targets: standing,
  count: requests,
  clients,
  headers,
  request: (index) => ({ ...requestOf(seed, "load", index), model: ["auto", "auto", "auto:0.6", "auto:0.8"][index % 4] }),
  onAnswer: (answered) => {
    if (answered === Math.floor(requests * 0.4)) killed.push(kill(gateways[0]));
    if (answered === Math.floor(requests * 0.6)) restarted = startGateway(GATEWAYS).then((gateway) => gateways.push(gateway));
    if (answered % 2000 === 0) say(`${answered} of ${requests}`);
  },
});
await restarted;

/** With its workerd, and no chance to say goodbye. @param {Gateway} gateway */
function kill(gateway) {
  gateway.alive = false;
  gateway.used = cpuMs(gateway.pid) - gateway.cpu;
  process.kill(gateway.pid, "SIGKILL");
  gateway.child.kill("SIGKILL");
  return gateway;
}
for (const gateway of standing()) gateway.used = cpuMs(gateway.pid) - gateway.cpu;
const memory = await Promise.all(standing().map(async ({ child, pid }) => ({ resident_mb: residentMb(pid), ...(await tell(child, "memory")) })));

const entries = await readBooks(providers.ready.url);
const models = new Map(catalog.models.map((/** @type {any} */ model) => [`${model.provider}/${model.base}`, model]));
const doubtful = new Set(load.answers.filter(({ targets }) => targets.some(({ alive }) => !alive)).map(({ user }) => user));
const retried = new Set(load.answers.filter(({ retries }) => retries > 0).map(({ user }) => user));
const reconciled = reconcile(entries, await settled(ledger), ({ user }) => doubtful.has(String(user)), models);
const workload = overWorkload(entries, MODEL_LIMITS);
const scarce = new Set(load.answers.flatMap(({ user }) => (keyOf(Number(user.split("-")[1])) === "scarce" ? [user] : [])));
const spent = {
  tenant: sum(entries.map((entry) => cost(entry, models))) / 1e9,
  scarce: sum(entries.filter(({ user }) => scarce.has(String(user))).map((entry) => cost(entry, models))) / 1e9,
};

/** The ledger's entries, once no call is open any more. @param {{url: string}} gateway @returns {Promise<import("./books.mjs").Charge[]>} */
async function settled({ url }) {
  const get = async (/** @type {string} */ path) => {
    const response = await fetch(`${url}/admin/${path}`, { headers: { authorization: `Bearer ${ADMIN}` } });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return response.json();
  };
  while ((await get("ledger?tenant=default")).totals.open > 0) await sleep(1000);
  const all = [];
  for (;;) {
    const { entries } = await get(`entries?tenant=default&after=${all.at(-1)?.n ?? 0}`);
    if (entries.length === 0) return all;
    all.push(...entries);
  }
}

/** @param {number[]} values */
function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}

/** @param {import("./client.mjs").Result["outcome"][]} outcomes */
const count = (...outcomes) => load.answers.filter(({ outcome }) => outcomes.includes(outcome)).length;
/** How often each value occurs. @param {(string | undefined)[]} values */
const tally = (values) => Object.fromEntries([...new Set(values)].map((value) => [value, values.filter((other) => other === value).length]));
const ours = overheads(load.answers.filter(({ outcome, retries }) => outcome === "complete" && retries === 0), entries);
const alone = overheads(light.answers, entries);
const lost = load.answers.filter(({ outcome }) => outcome === "lost" || outcome === "reset");
for (const { why, status, user } of lost.slice(0, 5)) say(`lost: ${user} ${status} ${why}`);

const result = {
  requests,
  complete: count("complete"),
  wellformed_errors: count("error"),
  lost: lost.length,
  duplicate_charges: answeredTwice(entries, retried) + sharedIds(entries) + reconciled.charged_twice,
  budget_overshoot_usd: Math.max(0, spent.tenant - BUDGETS.tenant) + Math.max(0, spent.scarce - BUDGETS.scarce),
  workload_overshoot: sum(workload.map(({ over }) => over)),
  ledger_mismatch_tokens: reconciled.ledger_mismatch_tokens,
  unsettled: reconciled.unsettled,
  p50_ms: quantile(ours, 0.5),
  p99_ms: quantile(ours, 0.99),
  cpu_p99_ms: quantile([...cpu.plain, ...cpu.stream], 0.99),
  retried_after_kill: retried.size,
  light_p50_ms: quantile(alone, 0.5),
  light_p99_ms: quantile(alone, 0.99),
  cpu_p50_ms: quantile([...cpu.plain, ...cpu.stream], 0.5),
  cpu_thread_p50_ms: quantile(cpu.thread, 0.5),
  cpu_thread_p99_ms: quantile(cpu.thread, 0.99),
  cpu_plain_p50_ms: quantile(cpu.plain, 0.5),
  cpu_plain_p99_ms: quantile(cpu.plain, 0.99),
  cpu_stream_p99_ms: quantile(cpu.stream, 0.99),
  cpu_mean_under_load_ms: round(sum([...gateways].map(({ used }) => used)) / requests),
  ledger_cpu_mean_ms: round((cpuMs(ledger.pid) - ledgerBefore) / requests),
  machine_load: loadavg()[0],
  requests_per_second: round(requests / load.seconds),
  calls: entries.length,
  fates: tally(entries.map(({ fate }) => fate)),
  errors: tally(load.answers.flatMap(({ outcome, code }) => (outcome === "error" ? [code] : []))),
  spent_usd: spent,
  budgets_usd: BUDGETS,
  workload,
  ledger: reconciled,
  memory,
};
await Promise.all([...standing(), ledger].map(({ child }) => stop(child)));
await stop(providers.child);
rmSync(folder, { recursive: true, force: true });
console.log(JSON.stringify(result));
