// Every host request in headless Chromium, against what the native build decides.

import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { after } from "node:test";
import { build } from "esbuild";
import { findChromium, launch, serve } from "./browser.mjs";
import { assertAgrees, dist, requests, root, summary, swapAbilities, withoutPredictor } from "./hosts.mjs";

const executable = findChromium();
const skip = executable === undefined;
const bundle = mkdtempSync(join(tmpdir(), "pennyroute-"));
const blank = "<!doctype html><title>test</title>";
const server = await serve(root, { "/": blank, "/without-predictor.bin": withoutPredictor() });
const browser = skip ? undefined : await launch(executable);
const page = await browser?.newPage();
await page?.goto(server.url);

after(async () => {
  await browser?.close();
  server.close();
  rmSync(bundle, { recursive: true });
});

/** Summaries of all host requests, decided inside the page; `from` is the module to import. */
function summariesIn(inPage, from, catalog) {
  return inPage.evaluate(async ({ from, catalog, bodies, summarySource }) => {
    const { Router } = await import(from);
    const summary = new Function(`return ${summarySource}`)();
    const router = await Router.load({ catalog });
    const all = Object.fromEntries(bodies.map(({ name, request }) => [name, summary(router.route(request))]));
    router.free();
    return all;
  }, { from, catalog, bodies: requests(), summarySource: summary.toString() });
}

test("Chromium decides as the native build does", { skip }, async () => {
  assertAgrees(await summariesIn(page, "/dist/browser.js"));
});

test("swapping the abilities of two models changes decisions", { skip }, async () => {
  const catalog = await page.evaluate(async () => {
    const { Router } = await import("/dist/browser.js");
    return (await Router.load()).catalog();
  });
  const before = await summariesIn(page, "/dist/browser.js");
  const { model, fallbacks } = Object.values(before).find(({ code }) => code === "best_value");
  const after = await summariesIn(page, "/dist/browser.js", swapAbilities(catalog, [model, fallbacks[0]]));
  assert.ok(Object.keys(before).some((name) => before[name].model !== after[name].model));
});

test("artifacts arrive with progress, and without the ONNX file they are refused", { skip }, async () => {
  const { progress, error } = await page.evaluate(async () => {
    const { Router, PennyrouteError } = await import("/dist/browser.js");
    const progress = [];
    await Router.load({ onProgress: (loaded) => progress.push(loaded) });
    const error = await Router.load({ artifacts: "/without-predictor.bin" }).catch((e) => e);
    return { progress, error: { ours: error instanceof PennyrouteError, code: error.code, message: error.message } };
  });
  assert.ok(progress.at(-1) > 100_000 && progress.every((loaded, i) => i === 0 || loaded > progress[i - 1]));
  assert.deepEqual({ ours: error.ours, code: error.code }, { ours: true, code: "bad_artifact" });
  assert.match(error.message, /predictor/);
});

test("a missing file is one clear error", { skip }, async () => {
  const message = await page.evaluate(async () => {
    const { Router } = await import("/dist/browser.js");
    return Router.load({ artifacts: "/nothing-here.bin" }).then(() => "loaded", (e) => `${e.code}: ${e.message}`);
  });
  assert.match(message, /^bad_artifact: .*nothing-here\.bin.*404/);
});

test("an app bundled by esbuild runs with the two files beside it", { skip }, async () => {
  await build({
    stdin: { contents: 'export { Router, PennyrouteError } from "pennyroute";', resolveDir: root },
    bundle: true, format: "esm", outfile: join(bundle, "app.js"), conditions: ["browser"], logLevel: "error",
  });
  for (const file of ["pennyroute_bg.wasm", "artifacts.bin"]) copyFileSync(join(dist, file), join(bundle, file));
  const app = await serve(bundle, { "/": blank });
  const tab = await browser.newPage();
  await tab.goto(app.url);
  assertAgrees(await summariesIn(tab, "/app.js"));
  app.close();
});

test("the slim entry takes the module and the artifacts from a bundler's loader", { skip }, async () => {
  await build({
    stdin: {
      contents: `
        import { Router } from "pennyroute/slim";
        import module from "pennyroute/wasm";
        import artifacts from "pennyroute/artifacts";
        export const load = () => Router.loadSync({ module, artifacts });`,
      resolveDir: root,
    },
    bundle: true, format: "esm", outfile: join(bundle, "slim.js"), loader: { ".wasm": "binary", ".bin": "binary" }, logLevel: "error",
  });
  const app = await serve(bundle, { "/": blank });
  const tab = await browser.newPage();
  await tab.goto(app.url);
  const model = await tab.evaluate(async () => {
    // A page may compile this much only off its main thread.
    const source = 'import { load } from "/slim.js"; postMessage(load().route("2 + 2?").model);';
    const url = URL.createObjectURL(new Blob([source.replace("/slim.js", location.origin + "/slim.js")], { type: "text/javascript" }));
    const worker = new Worker(url, { type: "module" });
    return new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = ({ message }) => reject(new Error(message));
    });
  });
  assert.match(model, /./);
  app.close();
});
