// The drop-ins with OpenAI's client and the AI SDK inside workerd and Chromium: the same as in Node.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { after, before, test } from "node:test";
import { build } from "esbuild";
import { Miniflare } from "miniflare";
import { Router } from "pennyroute";
import { readConfig } from "../../src/js/tools/gateway.mjs";
import { startSimulator } from "../../worker/simulator.mjs";
import { drive } from "../fixtures/drop-ins-host.mjs";
import { findChromium, launch, serve } from "./browser.mjs";
import { root } from "./hosts.mjs";

const EXPECTED = {
  texts: ["[simulated", "[simulated", "[simulated"],
  receipts: [["string"], ["error_event", "string"], ["429", "429", "429", "429", "object"], ["error_event", "string"]],
  aborted: true,
  refused: [429, "all_attempts_failed"],
  served: "string",
};

let simulator;
before(async () => {
  simulator = await startSimulator({ latencyMs: 1, chunkMs: 0 });
});
after(() => simulator.close());

test("Node", async () => {
  assert.deepEqual(await drive(await Router.load(), `${simulator.url}/server/v1`), EXPECTED);
});

test("workerd", async () => {
  const binaries = new Map();
  const { outputFiles } = await build({
    stdin: {
      contents: `
        import { Router } from "pennyroute";
        import { drive } from "./tests/fixtures/drop-ins-host.mjs";
        export default { fetch: async (request, { server }) => Response.json(await drive(await Router.load(), server)) };`,
      resolveDir: root,
    },
    bundle: true,
    format: "esm",
    target: "es2024",
    conditions: ["workerd", "worker", "browser"],
    write: false,
    logLevel: "warning",
    plugins: [{
      name: "binary-modules",
      setup: (setup) => setup.onResolve({ filter: /\.(wasm|bin)$/ }, ({ path, resolveDir }) => {
        binaries.set(basename(path), readFileSync(join(resolveDir, path)));
        return { path: `./${basename(path)}`, external: true };
      }),
    }],
  });
  const modules = [...binaries].map(([path, contents]) => ({ type: path.endsWith(".wasm") ? "CompiledWasm" : "Data", path, contents }));
  const { compatibility_date: compatibilityDate } = readConfig();
  const miniflare = new Miniflare({
    ...{ cf: false, compatibilityDate, modulesRoot: "/", bindings: { server: `${simulator.url}/server/v1` } },
    modules: [{ type: "ESModule", path: "index.js", contents: outputFiles[0].text }, ...modules],
  });
  try {
    const response = await miniflare.dispatchFetch("http://localhost/");
    const text = await response.text();
    assert.equal(response.status, 200, text);
    assert.deepEqual(JSON.parse(text), EXPECTED);
  } finally {
    await miniflare.dispose();
  }
});

const executable = findChromium();

test("Chromium", { skip: executable === undefined }, async () => {
  const { outputFiles } = await build({
    stdin: { contents: 'export { Router } from "pennyroute"; export { drive } from "./tests/fixtures/drop-ins-host.mjs";', resolveDir: root },
    ...{ bundle: true, format: "esm", write: false, platform: "browser", external: ["pennyroute"] },
  });
  // The simulator knows nothing of other origins, so the page's own server stands before it.
  const handler = async (request, response) => {
    if (request.method !== "POST") return false;
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const { "content-type": type } = request.headers;
    const gone = new AbortController();
    response.once("close", () => gone.abort());
    const answer = await fetch(simulator.url + request.url, { method: "POST", headers: { "content-type": type }, body: Buffer.concat(chunks), signal: gone.signal }).catch(() => null);
    if (!answer) return true;
    response.writeHead(answer.status, { "content-type": answer.headers.get("content-type") });
    for await (const chunk of answer.body) response.write(chunk);
    response.end();
    return true;
  };
  const imports = { pennyroute: "/dist/browser.js", "pennyroute/fetch": "/dist/fetch.js", "pennyroute/ai-sdk": "/dist/ai-sdk.js" };
  const map = `<!doctype html><script type="importmap">${JSON.stringify({ imports })}</script>`;
  const server = await serve(root, { "/": map, "/host.js": outputFiles[0].contents }, { handler });
  const browser = await launch(executable);
  try {
    const page = await browser.newPage();
    await page.goto(server.url);
    const seen = await page.evaluate(async () => {
      const { Router, drive } = await import("/host.js");
      return drive(await Router.load(), `${location.origin}/server/v1`);
    });
    assert.deepEqual(seen, EXPECTED);
  } finally {
    await browser.close();
    server.close();
  }
});
