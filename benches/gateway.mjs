// Our gateway beside Portkey's (Node, its npm package), in the same run and in turns: the same load,
// no faults, providers simulated in a process of their own. Portkey forwards to a fixed target; ours
// is measured with a fixed model too, and with `auto`. A direct client shows what the providers, the
// client and the machine cost without any gateway.
//
// Portkey and its 95 packages are installed under target/ when this runs, not as a devDependency:
// nothing else needs them. The server that it depends on is pinned, since with newer ones it fails
// every stream (Portkey-AI/gateway issue 1389).

import { execFileSync, fork } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { simulatedProviders } from "../src/js/tools/gateway.mjs";
import { root, target } from "../src/js/tools/shell.mjs";
import { readBooks } from "./load/books.mjs";
import { drive } from "./load/drive.mjs";
import { mean, overheads, quantile, round } from "./load/figures.mjs";
import { start, stop } from "./load/fork.mjs";
import { cpuMs, residentMb } from "./load/process.mjs";
import { requestOf } from "./load/prompts.mjs";

const ROUNDS = 3;
const FIXED = "openai/gpt-4.1";
/** Few clients measure what a gateway adds, many what it bears. */
const LOADS = [
  { name: "light", clients: 4, count: 400 },
  { name: "full", clients: 100, count: 1500 },
];
const PORTKEY = {
  private: true,
  dependencies: { "@portkey-ai/gateway": "1.15.2", hono: "4.9.7" },
  overrides: { "@hono/node-server": "1.13.1", hono: "4.9.7" },
};

async function startPortkey() {
  const folder = join(target, "portkey");
  const manifest = join(folder, "package.json");
  if (!existsSync(join(folder, "node_modules", ".package-lock.json")) || readFileSync(manifest, "utf8") !== JSON.stringify(PORTKEY)) {
    mkdirSync(folder, { recursive: true });
    writeFileSync(manifest, JSON.stringify(PORTKEY));
    execFileSync("npm", ["install", "--ignore-scripts", "--no-audit", "--no-fund"], { cwd: folder, stdio: ["ignore", "ignore", "inherit"] });
  }
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  const program = join(folder, "node_modules/@portkey-ai/gateway/build/start-server.js");
  const child = fork(program, [`--port=${port}`, "--headless"], { silent: true, execArgv: [] });
  const url = `http://127.0.0.1:${port}`;
  for (let tries = 0; ; tries++) {
    const answers = await fetch(url).then(() => true, () => false);
    if (answers) return { url, pid: child.pid, close: () => child.kill("SIGKILL") };
    if (tries > 100 || child.exitCode !== null) throw new Error("Portkey does not start");
    await sleep(100);
  }
}

const catalog = JSON.parse(readFileSync(join(root, "models", "catalog.json"), "utf8"));
const providers = await start("./providers.mjs", { args: ["1"] });
const gateway = await start("./gateway.mjs", { message: { vars: simulatedProviders(catalog, providers.ready.url) } });
const portkey = await startPortkey();

const provider = `${providers.ready.url}/openai`;
const forward = { "x-portkey-provider": "openai", "x-portkey-custom-host": `${provider}/v1`, authorization: "Bearer sk-simulated" };
const peers = {
  direct: { url: provider, pid: undefined, model: "gpt-4.1", headers: {} },
  ours_fixed: { ...gateway.ready, model: FIXED, headers: {} },
  ours_auto: { ...gateway.ready, model: "auto", headers: {} },
  portkey: { ...portkey, model: "gpt-4.1", headers: forward },
};
const names = Object.keys(peers);

/** One load on one peer. */
async function measure(name, { clients, count }, phase) {
  const { url, pid, model, headers } = peers[name];
  const before = pid ? cpuMs(pid) : 0;
  // The same prompts and fates for each of them.
  const { answers, seconds } = await drive({
    targets: () => [{ url, alive: true }],
    ...{ clients, count },
    headers: () => headers,
    request: (index) => ({ ...requestOf("bench", phase, index, { model }), user: `${phase}-${name}-${index}` }),
  });
  const failed = answers.filter(({ outcome }) => outcome !== "complete");
  if (failed.length) throw new Error(`${name}: ${failed.length} of ${count} failed: ${failed[0].why}`);
  return { answers, per_second: count / seconds, cpu: pid ? (cpuMs(pid) - before) / count : 0, resident_mb: pid ? residentMb(pid) : 0 };
}

const result = {};
for (const name of names) await measure(name, { clients: 16, count: 400 }, "warm");
for (const load of LOADS) {
  const samples = Object.fromEntries(names.map((name) => [name, []]));
  // In turns, so that whatever else the machine does meets all of them.
  for (let round = 0; round < ROUNDS; round++) for (const name of names) samples[name].push(await measure(name, load, `${load.name}${round}`));
  const books = await readBooks(providers.ready.url);
  result[load.name] = Object.fromEntries(
    names.map((name) => {
      const added = overheads(samples[name].flatMap(({ answers }) => answers), books);
      return [
        name,
        {
          per_second: mean(samples[name].map(({ per_second }) => per_second)),
          added_p50_ms: quantile(added, 0.5),
          added_p99_ms: quantile(added, 0.99),
          cpu_ms: mean(samples[name].map(({ cpu }) => cpu)),
          resident_mb: samples[name].at(-1).resident_mb,
        },
      ];
    }),
  );
  console.log(`\n${load.name}: ${load.clients} clients, ${ROUNDS} × ${load.count} requests each, half of them streaming`);
  console.table(result[load.name]);
}
const ratios = (name) =>
  Object.fromEntries(
    LOADS.map((load) => {
      const { portkey: other, [name]: ours } = result[load.name];
      return [load.name, Object.fromEntries(Object.keys(ours).map((figure) => [figure, round(ours[figure] / other[figure])]))];
    }),
  );
portkey.close();
await stop(gateway.child);
await stop(providers.child);
console.log(JSON.stringify({ ...result, ours_to_portkey: { fixed: ratios("ours_fixed"), auto: ratios("ours_auto") } }));
