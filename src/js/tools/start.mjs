// `npm start`: builds what is missing or old, then serves the page and the gateway on one port, with
// every provider simulated. Nothing leaves this machine; PORT overrides the port.

import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { dist, fail, root, run } from "./shell.mjs";

if (Number(process.versions.node.split(".")[0]) < 20) fail(`Node 20 or newer is needed; this is ${process.versions.node}`);
const port = Number(process.env.PORT ?? 8787);
if (!Number.isInteger(port) || port < 0 || port > 65535) fail(`PORT: ${process.env.PORT} is not a port`);
await checkFree(port);

if (!existsSync(join(root, "node_modules", "miniflare"))) {
  run("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"]);
}
run(process.execPath, [join(root, "src/js/tools/build.mjs")]);

// Only now are the packages there that these import.
const { simulatedProviders, startGateway } = await import("./gateway.mjs");
const { startSimulator } = await import("../../../worker/simulator.mjs");

const catalog = JSON.parse(readFileSync(join(root, "models", "catalog.json"), "utf8"));
const simulator = await startSimulator({ latencyMs: 100, chunkMs: 10 });
const gateway = await startGateway({
  port,
  vars: {
    ...simulatedProviders(catalog, simulator.url),
    // Whoever reaches this machine's loopback may see the figures.
    ADMIN_KEY: "local",
    POLICY: { format: 1, version: "local", tenants: { default: { budget_usd: { day: 1 } } } },
  },
  assets: join(dist, "www"),
  onOutput: (text) => process.stderr.write(text),
}).catch((error) => fail(error.message));

console.log(`
Pennyroute is running; every provider is simulated, so nothing is called and nothing is spent.

  page      ${gateway.url}/
  gateway   ${gateway.url}/v1   (OpenAI-compatible; model "auto" is routed)
  dashboard ${gateway.url}/dashboard   (key: local)

  curl ${gateway.url}/v1/chat/completions -i -H 'content-type: application/json' \\
    -d '{"model": "auto", "messages": [{"role": "user", "content": "Why is the sky blue?"}]}'

  curl ${gateway.url}/v1/route -d '{"prompt": "Why is the sky blue?"}'

Ctrl-C stops it.`);

let stopping = false;
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, async () => {
    if (stopping) return;
    stopping = true;
    await Promise.allSettled([gateway.close(), simulator.close()]);
    process.exit(0);
  });
}

/** Fails before the build rather than after it. */
async function checkFree(port) {
  const server = createServer().listen(port, "127.0.0.1");
  const [error] = await Promise.race([once(server, "listening"), once(server, "error")]).catch((error) => [error]);
  if (error) fail(`port ${port} cannot be had (${error.code}); choose another: PORT=${port + 1} npm start`);
  await new Promise((resolve) => server.close(resolve));
}
