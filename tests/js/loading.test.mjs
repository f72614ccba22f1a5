// How the module and the artifacts arrive: cancelled, shared, broken, refused by the host; and that what is
// freed, or merely forgotten, gives its memory back.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import test, { after } from "node:test";
import { PennyrouteError, Router } from "pennyroute";
import { findChromium, launch, serve } from "./browser.mjs";
import { dist, root } from "./hosts.mjs";

const artifacts = readFileSync(join(dist, "artifacts.bin"));

/** A server of artifacts whose second half waits until the test lets it go. */
let asked = 0;
const held = [];
const server = createServer((request, response) => {
  // A connection that is kept may close just as the next test reuses it.
  response.setHeader("connection", "close");
  if (request.url === "/page") return void response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html><p>No such page");
  response.writeHead(200, { "content-length": artifacts.length });
  if (request.url === "/truncated") {
    response.write(artifacts.subarray(0, 1000), () => response.destroy());
  } else {
    asked += 1;
    response.write(artifacts.subarray(0, 800_000));
    held.push({ go: () => response.end(artifacts.subarray(800_000)), closed: once(response, "close") });
  }
});
server.listen(0, "127.0.0.1");
await once(server, "listening");
const url = (path) => `http://127.0.0.1:${server.address().port}${path}`;
after(() => {
  server.close();
  server.closeAllConnections();
});

/** A load that tells when its first bytes have come. */
function begun(options) {
  let loaded;
  const first = new Promise((resolve) => {
    loaded = Router.load({ artifacts: url("/held"), ...options, onProgress: resolve });
  });
  return { loaded, first };
}

test("loads share a download, and one that is aborted leaves it to the others", async () => {
  const controller = new AbortController();
  const [one, two] = [begun({ signal: controller.signal }), begun()];
  await Promise.all([one.first, two.first]);
  assert.equal(asked, 1);
  const mine = new Error("mine");
  controller.abort(mine);
  assert.equal(await one.loaded.catch((error) => error), mine);
  held.pop().go();
  const router = await two.loaded;
  assert.match(router.route("Hello").model, /./);
  router.free();
});

test("a download that nobody waits for any more is ended, and the next load begins another", async () => {
  const before = asked;
  const controller = new AbortController();
  const only = begun({ signal: controller.signal });
  await only.first;
  controller.abort();
  await assert.rejects(only.loaded, { name: "AbortError" });
  await held.pop().closed;
  const next = begun();
  await next.first;
  assert.equal(asked, before + 2);
  held.pop().go();
  (await next.loaded).free();
  await assert.rejects(Router.load({ signal: AbortSignal.abort() }), { name: "AbortError" });
});

test("what onProgress throws ends its own load", async () => {
  const mine = new Error("mine");
  const throwing = Router.load({ artifacts: url("/held"), onProgress: () => { throw mine; } });
  const other = begun();
  assert.equal(await throwing.catch((error) => error), mine);
  await other.first;
  held.splice(0).forEach(({ go }) => go());
  (await other.loaded).free();
});

test("artifacts that are cut off, or something else, are named by URL and status", async () => {
  const failed = async (path, message) => {
    const error = await Router.load({ artifacts: path }).catch((error) => error);
    assert.ok(error instanceof PennyrouteError);
    assert.equal(error.code, "bad_artifact");
    assert.match(error.message, message);
  };
  await failed(url("/truncated"), /\/truncated: HTTP 200, ended after \d+ of \d+ bytes/);
  await failed(url("/page"), /\/page: HTTP 200, text\/html, 30 bytes: /);
  await failed("http://127.0.0.1:1/artifacts.bin", /127\.0\.0\.1:1\/artifacts\.bin: /);
});

/** Runs a module in a process of its own; what it prints. */
function inProcess(source, flags = []) {
  const { stdout, stderr, status } = spawnSync(process.execPath, [...flags, "--input-type=module", "-e", source], { cwd: root, encoding: "utf8" });
  assert.equal(status, 0, stderr);
  return stdout.trim();
}

test("a host without WebAssembly, without SIMD or that may not compile is told which, before anything is fetched", () => {
  const told = (change) => inProcess(`
    ${change}
    let fetched = 0;
    globalThis.fetch = async () => (fetched += 1, new Response("{}"));
    const { Router } = await import("pennyroute");
    const error = await Router.load({ artifacts: "http://localhost/artifacts.bin" }).catch((error) => error);
    console.log(error.code + ": " + error.message + ", fetched " + fetched);`);
  assert.match(told("delete globalThis.WebAssembly;"), /^unsupported_host: .*no WebAssembly.*fetched 0$/);
  assert.match(told("WebAssembly.validate = () => false;"), /^unsupported_host: .*SIMD.*fetched 0$/);
  assert.match(told("WebAssembly.Module = function () { throw new WebAssembly.CompileError('refused'); };"), /^wasm_blocked: .*'wasm-unsafe-eval'.*refused.*fetched 0$/);
  assert.match(told(""), /^bad_artifact: .*fetched 1$/);
});

test("a module that cannot be had ends the download of the artifacts", () => {
  assert.match(inProcess(`
    import { once } from "node:events";
    import { createServer } from "node:http";
    import { Router } from "pennyroute/slim";
    let begun, ended;
    const loading = new Promise((resolve) => (begun = resolve));
    const closed = new Promise((resolve) => (ended = resolve));
    const server = createServer(async (request, response) => {
      if (request.url === "/module") return await loading, response.writeHead(404).end();
      response.on("close", () => ended("closed"));
      response.write("some of it");
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const at = (path) => "http://127.0.0.1:" + server.address().port + path;
    const failed = await Router.load({ module: at("/module"), artifacts: at("/artifacts"), onProgress: begun }).catch((error) => error);
    console.log(failed.message, await closed);
    server.close();`), /\/module: HTTP 404 closed$/);
});

test("loadSync refuses while a load is under way, and both have one module after it", () => {
  assert.equal(inProcess(`
    import { readFileSync } from "node:fs";
    import { Router } from "pennyroute";
    import { Router as Slim } from "pennyroute/slim";
    const [module, artifacts] = ["pennyroute_bg.wasm", "artifacts.bin"].map((file) => readFileSync("dist/" + file));
    const loading = Router.load();
    let refused;
    try { Slim.loadSync({ module, artifacts }); } catch (error) { refused = error.code; }
    const routers = [await loading, Slim.loadSync({ module, artifacts }), await Slim.load({ module, artifacts })];
    console.log(refused, new Set(routers.map((router) => router.route("Hello").model)).size);`), "bad_request 1");
});

test("routers that are freed, and routers that are forgotten, give their memory back", () => {
  const used = (rounds, each, flags) => JSON.parse(inProcess(`
    import { Router } from "pennyroute";
    import init from "./dist/pennyroute.js";
    const used = [];
    for (let round = 0; round < ${rounds}; round += 1) {
      let router = await Router.load();
      router.route("Hello");
      ${each}
      used.push((await init()).memory.buffer.byteLength);
    }
    console.log(JSON.stringify(used));`, flags));
  const freed = used(100, "router.free();");
  assert.equal(freed.at(-1), freed[2], "freed: it stays as it was after the first few");
  // A registry is called back after the next router is there already: it takes some rounds until holes fit.
  const forgotten = used(240, "router = undefined; gc(); await new Promise(setImmediate);", ["--expose-gc"]);
  assert.ok(forgotten.at(-1) <= 2 * freed.at(-1), `${forgotten.at(-1)} bytes, of ${freed.at(-1)}`);
  assert.equal(forgotten.at(-1), forgotten[119], "forgotten: it stays as it was after the first half");
});

const executable = findChromium();
const skip = executable === undefined;

test("in Chromium a policy without 'wasm-unsafe-eval' blocks it, and with it no more is needed", { skip }, async (t) => {
  const browser = await launch(executable);
  t.after(() => browser.close());
  const loads = async (policy) => {
    const requested = [];
    const handler = ({ url }) => void requested.push(url);
    const server = await serve(root, { "/": "<!doctype html><script type=module src=/load.js></script>",
      "/load.js": `import { Router } from "/dist/browser.js";
        document.title = await Router.load().then((router) => router.route("Hello").model, (error) => error.code + ": " + error.message);` },
    { handler, headers: { "content-security-policy": policy } });
    t.after(() => server.close());
    const page = await browser.newPage();
    await page.goto(server.url);
    await page.waitForFunction(() => document.title);
    return { title: await page.title(), fetched: requested.filter((url) => /\.(wasm|bin)$/.test(url)) };
  };
  const blocked = await loads("default-src 'self'");
  assert.match(blocked.title, /^wasm_blocked: .*script-src 'wasm-unsafe-eval'/);
  assert.deepEqual(blocked.fetched, []);
  assert.match((await loads("default-src 'self'; script-src 'self' 'wasm-unsafe-eval'")).title, /^[a-z]+\//);
});
