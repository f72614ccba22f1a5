// The package on a page whose Content-Security-Policy allows it nothing but itself.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { findChromium, launch, serve } from "./browser.mjs";
import { findFirefox, launchFirefox } from "./firefox.mjs";
import { root } from "./hosts.mjs";

const STRICT = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'; worker-src 'self'";

const ATTEMPT = `
  import { Router } from "/dist/browser.js";
  export async function attempt() {
    let evaluates = true;
    try {
      new Function("");
    } catch {
      evaluates = false;
    }
    const outcome = await Router.load().then((router) => ({ model: router.route("2 + 2?").model }), ({ code, message }) => ({ code, message }));
    return { evaluates, ...outcome };
  }`;

/** Shows what a router gave on the page and in a worker of it. */
const APP = `
  import { attempt } from "/attempt.js";
  const worker = new Worker("/worker.js", { type: "module" });
  const answer = new Promise((resolve) => (worker.onmessage = ({ data }) => resolve(data)));
  document.body.textContent = JSON.stringify({ page: await attempt(), worker: await answer });`;

const FILES = {
  "/": '<!doctype html><title>strict</title><body><script type="module" src="/app.js"></script>',
  "/app.js": APP,
  "/attempt.js": ATTEMPT,
  "/worker.js": 'import { attempt } from "/attempt.js"; postMessage(await attempt());',
};

const BROWSERS = { Chromium: [findChromium(), launch], Firefox: [findFirefox(), launchFirefox] };

for (const [name, [executable, start]] of Object.entries(BROWSERS)) {
  describe(`${name}, under a strict policy`, { skip: executable === undefined }, () => {
    test("with 'wasm-unsafe-eval' the package decides, on the page and in a worker", async () => {
      const { page, worker } = await outcomes(start, executable, STRICT);
      assert.equal(page.evaluates, false);
      assert.match(page.model, /./);
      assert.deepEqual(worker, page);
    });

    test("without it the error says so, and how to allow it", async () => {
      const { page, worker } = await outcomes(start, executable, STRICT.replace(" 'wasm-unsafe-eval'", ""));
      for (const { code, message } of [page, worker]) {
        assert.equal(code, "wasm_blocked");
        assert.match(message, /Content-Security-Policy.*script-src.*'wasm-unsafe-eval'/);
      }
    });
  });
}

/** What the page under `policy` shows. */
async function outcomes(start, executable, policy) {
  const site = await serve(root, FILES, { headers: { "content-security-policy": policy } });
  const browser = await start(executable);
  try {
    const page = await browser.newPage();
    await page.goto(site.url);
    await page.waitForFunction(() => document.body?.textContent.startsWith("{"));
    return JSON.parse(await page.evaluate(() => document.body.textContent));
  } finally {
    await browser.close();
    await site.close();
  }
}
