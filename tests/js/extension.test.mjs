/** The browser extension in Chromium, on a chat page with a server of its own. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { buildExtension } from "../../src/js/tools/extension.mjs";
import { autoBody, modelNames, routedBody, routeRequest } from "../../www/extension/chat.js";
import { candidates, offeredNames } from "../../src/js/names.js";
import { accessibilityViolations, findChromium, launchWithProfile, resultFile, serve } from "./browser.mjs";

test("names that pages use are matched to the catalog's", () => {
  const model = { id: "anthropic/claude-haiku-5-5@low", base: "claude-haiku-5-5", effort: "low" };
  for (const name of ["claude-haiku-5-5", "claude-haiku-5.5", "anthropic/claude-haiku-5.5", "claude-haiku-5-5-20260901", "Claude-Haiku-5-5-latest"]) {
    assert.equal(offeredNames(["gpt-5.5", name])(model), name);
  }
  for (const name of ["claude-haiku-5", "claude-haiku-5-5-mini", "haiku"]) assert.equal(offeredNames([name])(model), undefined);
  // An exact name wins over one that merely fits.
  assert.equal(offeredNames(["other/claude-haiku-5.5", "claude-haiku-5-5"])(model), "claude-haiku-5-5");

  const all = [model, { ...model, id: "anthropic/claude-haiku-5-5@high", effort: "high" }, { id: "google/gemma", base: "gemma" }];
  assert.deepEqual([...candidates(all, null, undefined)].map(([id, { name, effort }]) => [id, name, effort]), [
    ["anthropic/claude-haiku-5-5@low", "anthropic/claude-haiku-5-5", "low"],
    ["anthropic/claude-haiku-5-5@high", "anthropic/claude-haiku-5-5", "high"],
    ["google/gemma", "google/gemma", null],
  ]);
  assert.deepEqual([...candidates(all, ["claude-haiku-5-5"], "high").keys()], ["anthropic/claude-haiku-5-5@high"]);
});

test("only a chat completion for auto is read, and only model and effort are written", () => {
  const body = { model: "auto:0.8", stream: true, messages: [{ role: "user", content: [{ type: "text", text: "hi" }, { type: "image_url", image_url: { url: "data:secret" } }] }] };
  assert.deepEqual(autoBody(JSON.stringify(body)), body);
  for (const other of [{ ...body, model: "automatic" }, { ...body, model: "gpt-x", user: "auto" }, { model: "auto" }, "auto"]) {
    assert.equal(autoBody(JSON.stringify(other)), null);
  }
  assert.doesNotMatch(JSON.stringify(routeRequest(body)), /secret/);
  assert.deepEqual(JSON.parse(routedBody(body, { name: "m", effort: null })), { ...body, model: "m" });
  assert.equal(JSON.parse(routedBody(body, { name: "m", effort: "low" })).reasoning_effort, "low");
  assert.equal(JSON.parse(routedBody({ ...body, reasoning_effort: "high" }, { name: "m", effort: "high" })).reasoning_effort, "high");
  assert.deepEqual(modelNames({ data: [{ id: "a" }, { id: "auto" }, { name: "b" }, {}] }), ["a", "b"]);
  for (const odd of [null, "text", { error: {} }]) assert.deepEqual(modelNames(odd), []);
});

const FIXTURES = fileURLToPath(new URL("../fixtures/", import.meta.url));
const PROMPT = "Write a haiku about the tide at Wivenhoe.";
const PIECES = ["The ", "tide ", "comes ", "in."];

const executable = findChromium();

describe("extension", { skip: executable === undefined }, () => {
  let folder, context, server, page, extensionId;
  /** What reached the server: chat completions, and how their connections ended. */
  let received = [];
  let models = [];
  /** A server that waits lets a test look at the middle of a stream. */
  let pause = 30;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pennyroute-extension-"));
    const { unpacked } = await buildExtension({ out: join(folder, "extension") });
    server = await serve(FIXTURES, {}, { handler: chatServer });
    context = await launchWithProfile(executable, join(folder, "profile"), unpacked);
    const worker = context.serviceWorkers()[0] ?? await context.waitForEvent("serviceworker");
    extensionId = new URL(worker.url()).host;
    const catalog = await worker.evaluate(() => fetch("artifacts.bin").then((response) => response.ok));
    assert.ok(catalog, "the artifacts are in the package");
    page = await context.newPage();
  });

  after(async () => {
    await context?.close();
    await server?.close();
    await rm(folder, { recursive: true, force: true });
  });

  /** An OpenAI-compatible server that streams a fixed answer. */
  async function chatServer(req, res) {
    if (req.url === "/v1/models") {
      res.writeHead(200, { "content-type": "application/json" });
      res.end(JSON.stringify({ object: "list", data: models.map((id) => ({ id, object: "model" })) }));
      return true;
    }
    if (req.url !== "/v1/chat/completions") return false;
    const chunks = [];
    for await (const chunk of req) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString();
    const call = { text, body: JSON.parse(text), headers: req.headers, cut: false };
    received.push(call);
    if (call.body.messages[0].content === "fail") {
      res.writeHead(429, { "content-type": "application/json", "retry-after": "7" }).end('{"error":{"message":"slow down"}}');
      return true;
    }
    res.on("close", () => (call.cut = !res.writableFinished));
    res.writeHead(200, { "content-type": "text/event-stream" });
    for (const content of PIECES) {
      if (res.destroyed) return true;
      res.write(`data: ${JSON.stringify({ choices: [{ delta: { content } }] })}\n\n`);
      await new Promise((done) => setTimeout(done, pause));
    }
    res.end("data: [DONE]\n\n");
    return true;
  }

  /** The chat page, opened afresh on a server that offers `names`. */
  async function open(names) {
    models = names;
    received = [];
    pause = 30;
    const listed = page.waitForResponse("**/v1/models");
    await page.goto(`${server.url}/chat-page.html`);
    await (await listed).finished();
  }

  async function send(message, model = "auto") {
    await page.getByLabel("Model").fill(model);
    await page.getByLabel("Message").fill(message);
    await page.getByRole("button", { name: "Send" }).click();
  }

  const state = (text) => page.locator("#state", { hasText: text }).waitFor();
  const popup = async () => {
    const opened = await context.newPage();
    await opened.setViewportSize({ width: 350, height: 620 });
    await opened.goto(`chrome-extension://${extensionId}/popup.html`);
    return opened;
  };
  /** The state in storage, seen from one of the extension's own pages. */
  const stored = async () => {
    const opened = await popup();
    const state = await opened.evaluate(() => chrome.storage.local.get());
    await opened.close();
    return state;
  };

  const OFFERED = ["gpt-5.4-nano", "anthropic/claude-haiku-5.5", "claude-opus-5-5", "nobody-knows-this-one"];

  test("auto leaves with a model that the server offers, and streams", async () => {
    await open(OFFERED);
    await send(PROMPT);
    await state(/done after/);
    assert.equal(received.length, 1);
    const [{ body, headers }] = received;
    assert.ok(OFFERED.slice(0, 3).includes(body.model), body.model);
    const { reasoning_effort: _effort, ...rest } = body;
    assert.deepEqual(rest, { model: body.model, messages: [{ role: "user", content: PROMPT }], stream: true, temperature: 0.3 });
    assert.equal(headers.authorization, "Bearer secret");
    assert.equal(await page.locator("#answer").textContent(), PIECES.join(""));
    const [, pieces] = /after (\d+)/.exec(await page.locator("#state").textContent());
    assert.ok(Number(pieces) > 1, "the answer came in one piece");
  });

  test("before any list of models was seen, the whole catalog is offered", async () => {
    await open([]);
    await send(PROMPT, "auto:0.6");
    await state(/done after/);
    assert.notEqual(received[0].body.model, "auto:0.6");
    assert.doesNotMatch(received[0].body.model, /@/);
  });

  test("an abort reaches the server in mid-stream, and before the decision keeps the call at home", async () => {
    await open(OFFERED);
    pause = 400;
    await send(PROMPT);
    await state(/piece 1/);
    await page.getByRole("button", { name: "Stop" }).click();
    await state("AbortError");
    await page.waitForTimeout(pause);
    assert.equal(received.at(-1).cut, true);

    received = [];
    const error = await page.evaluate(() => {
      const controller = new AbortController();
      const call = fetch("/v1/chat/completions", {
        method: "POST",
        body: JSON.stringify({ model: "auto", messages: [{ role: "user", content: "x" }] }),
        signal: controller.signal,
      });
      controller.abort(new Error("enough"));
      return call.catch((reason) => reason.message);
    });
    assert.equal(error, "enough");
    assert.equal(received.length, 0);
  });

  test("what does not ask for routing is not touched", async () => {
    await open(OFFERED);
    const sent = await page.evaluate(async () => {
      // Spaces and order of keys would not survive being parsed and written again.
      const body = '{ "stream":true,  "model":"gpt-x", "messages":[{"role":"user","content":"say \\"auto\\""}] }';
      await fetch("/v1/chat/completions", { method: "POST", body });
      return body;
    });
    assert.equal(received[0].text, sent);
    assert.deepEqual(await page.evaluate(() => [fetch.name, fetch.length, /native code/.test(Function.prototype.toString.call(fetch))]), ["fetch", 1, true]);
    assert.equal(await page.evaluate(() => fetch("http://[").catch((error) => error.name)), "TypeError");
  });

  test("a Request object is routed too", async () => {
    await open(OFFERED);
    await page.evaluate(() => fetch(new Request("/v1/chat/completions", {
      method: "POST",
      headers: { "x-mine": "kept" },
      body: JSON.stringify({ model: "auto", messages: [{ role: "user", content: "hello" }] }),
    })));
    assert.ok(OFFERED.includes(received[0].body.model));
    assert.equal(received[0].headers["x-mine"], "kept");
  });

  test("errors of the server pass through", async () => {
    await open(OFFERED);
    await send("fail");
    await state("error 429");
    assert.equal(received.length, 1);
  });

  test("with no model to choose, the request leaves unchanged", async () => {
    await open(["nobody-knows-this-one"]);
    await send(PROMPT);
    await state(/done after/);
    assert.equal(received[0].body.model, "auto");
  });

  test("a service worker that was stopped comes back and has forgotten nothing", async () => {
    await open(OFFERED);
    const before = await stored();
    assert.ok(before.totals.calls > 0);
    const devtools = await context.newCDPSession(page);
    const stopped = new Promise((resolve) => devtools.on("ServiceWorker.workerVersionUpdated", ({ versions }) => {
      if (versions.some(({ runningStatus }) => runningStatus === "stopped")) resolve();
    }));
    await devtools.send("ServiceWorker.enable");
    await devtools.send("ServiceWorker.stopAllWorkers");
    await stopped;
    await send(PROMPT);
    await state(/done after/);
    assert.ok(OFFERED.includes(received[0].body.model), received[0].body.model);
    const after = await stored();
    assert.equal(after.totals.calls, before.totals.calls + 1);
    assert.deepEqual(after.receipts.slice(1, 1 + before.receipts.length), before.receipts.slice(0, after.receipts.length - 1));
  });

  test("the popup shows the receipt, never the prompt, and switches off", async () => {
    await open(OFFERED);
    await send(PROMPT);
    await state(/done after/);
    const state1 = await stored();
    assert.doesNotMatch(JSON.stringify(state1), /Wivenhoe/);

    const opened = await popup();
    const problems = [];
    opened.on("console", (message) => message.type() === "error" && problems.push(message.text()));
    await opened.getByText("Last decisions").waitFor();
    await opened.locator("#quality:not(:disabled)").waitFor();
    const text = await opened.locator("#receipts li").first().innerText();
    assert.ok(text.includes(state1.receipts[0].reason));
    assert.match(text, /cost \$/);
    assert.match(await opened.locator("#calls").textContent(), new RegExp(`over ${state1.totals.calls} call`));
    await opened.screenshot({ path: resultFile("popup.png"), fullPage: true });
    await opened.emulateMedia({ colorScheme: "dark" });
    await opened.screenshot({ path: resultFile("popup-dark.png"), fullPage: true });
    await opened.emulateMedia({ colorScheme: "light" });
    assert.deepEqual(await accessibilityViolations(opened), []);

    await opened.getByRole("switch").uncheck();
    await page.bringToFront();
    received = [];
    await send(PROMPT);
    await state(/done after/);
    assert.equal(received[0].body.model, "auto");

    await opened.getByRole("switch").check();
    await opened.getByLabel("Quality target").fill(await opened.getByLabel("Quality target").getAttribute("min"));
    await opened.getByRole("button", { name: "Default" }).waitFor();
    await opened.getByRole("button", { name: "Clear" }).click();
    await opened.getByText("None yet").waitFor();
    assert.deepEqual(problems, []);
    await opened.close();
  });
});
