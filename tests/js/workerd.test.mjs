// The package inside workerd: its decisions are the native ones, its artifacts matter, and the
// bundle that would be deployed is small enough and whole.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { bundleWorker, simulatedProviders, startGateway } from "../../src/js/tools/gateway.mjs";
import { assertAgrees, repacked, requests, root, summary, swapAbilities, withoutPredictor } from "./hosts.mjs";

/** The free plan's limit on a Worker, gzipped. */
const MOST_KIB = 3 * 1024;

const manifest = JSON.parse(readFileSync(join(root, "models", "manifest.json"), "utf8"));
const catalog = JSON.parse(readFileSync(join(root, "models", "catalog.json"), "utf8"));
// Configured, so that the whole catalog is served; deciding calls none of them.
const vars = simulatedProviders(catalog, "http://127.0.0.1:9");

/** The packed artifacts with one file replaced, under a manifest that is true of it. */
function replacing(role, bytes) {
  const { path } = manifest.files[role];
  const entry = { path, bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
  return repacked({
    manifest: (original) => ({ ...original, files: { ...original.files, [role]: entry } }),
    file: (name, original) => (name === path ? bytes : original),
  });
}

async function withGateway(artifacts, work) {
  const modules = await bundleWorker(artifacts && { "artifacts.bin": artifacts });
  const gateway = await startGateway({ modules, vars });
  try {
    return await work(async (request) => {
      const response = await fetch(`${gateway.url}/v1/route`, { method: "POST", body: JSON.stringify(request) });
      const text = await response.text();
      assert.equal(response.status, 200, text);
      return JSON.parse(text);
    });
  } finally {
    await gateway.close();
  }
}

test("decides as the native build does", async () => {
  await withGateway(undefined, async (route) => {
    const decisions = {};
    for (const { name, request } of requests()) decisions[name] = summary(await route(request));
    assertAgrees(decisions);
  });
});

test("decides otherwise when two abilities are swapped", async () => {
  const prompts = requests().flatMap(({ request }) => (request.prompt ? [request] : [])).slice(0, 10);
  const decide = (artifacts) => withGateway(artifacts, (route) => Promise.all(prompts.map(route)));
  const usual = await decide();
  const { model, fallbacks } = usual.find((decision) => decision.fallbacks.length > 0);
  const swapped = swapAbilities(catalog, [model, fallbacks[0]]);
  const others = await decide(replacing("catalog", Buffer.from(JSON.stringify(swapped))));
  const models = (decisions) => decisions.map((decision) => decision.model);
  assert.notDeepEqual(models(others), models(usual));
});

const onnx = readFileSync(join(root, "models", manifest.files.predictor.path));
for (const [name, artifacts] of [
  ["missing", withoutPredictor()],
  ["truncated", replacing("predictor", onnx.subarray(0, 5000))],
]) {
  test(`does not start when the ONNX file is ${name}`, async () => {
    const modules = await bundleWorker({ "artifacts.bin": artifacts });
    await assert.rejects(startGateway({ modules, vars }), /bad_artifact: .*(predictor|onnx)/);
  });
}

test("wrangler bundles it whole, offline, within the free plan's limit", (t) => {
  const out = mkdtempSync(join(tmpdir(), "pennyroute-worker-"));
  try {
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [join(root, "node_modules/wrangler/bin/wrangler.js"), "deploy", "--dry-run", "--outdir", out, "--config", join(root, "worker", "wrangler.jsonc")],
      { encoding: "utf8", timeout: 120_000, env: { ...process.env, CI: "1", WRANGLER_SEND_METRICS: "false", WRANGLER_HIDE_BANNER: "true", NO_COLOR: "1" } },
    );
    assert.equal(status, 0, stderr);
    assert.match(stdout, /env\.CONFIG .*KV Namespace/, "provisioned by the deploy, as its id is left out");
    const kib = Number(/gzip: ([\d.]+) KiB/.exec(stdout)?.[1]);
    t.diagnostic(`the Worker is ${kib} KiB gzipped`);
    assert.ok(kib < MOST_KIB, stdout);
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
});
