/** The extension in Firefox: the same package as in Chromium, and the whole way of enabling a site. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { buildExtension } from "../../src/js/tools/extension.mjs";
import { resultFile, serve } from "./browser.mjs";
import { LONG_PAUSE, PAUSE, PIECES, chatServer } from "./chat-server.mjs";
import { extensionPrefs, findFirefox, launchFirefox, openExtensionPage } from "./firefox.mjs";

const FIXTURES = fileURLToPath(new URL("../fixtures/", import.meta.url));
const OFFERED = ["gpt-5.4-nano", "anthropic/claude-haiku-5.5", "claude-opus-5-5", "nobody-knows-this-one"];
const UUID = "6f3c1c5e-2a77-4f27-9a53-1f0f4f5f6a01";
const own = (path) => `moz-extension://${UUID}/${path}`;
const executable = findFirefox();

describe("extension in Firefox", { skip: executable === undefined }, () => {
  let folder, browser, server, page, chat, port;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pennyroute-firefox-"));
    const { unpacked } = await buildExtension({ out: join(folder, "extension"), patience_ms: 60_000 });
    const { browser_specific_settings: { gecko } } = JSON.parse(await readFile(join(unpacked, "manifest.json"), "utf8"));
    chat = chatServer();
    server = await serve(FIXTURES, {}, { handler: chat.handler });
    port = new URL(server.url).port;
    browser = await launchFirefox(executable, {
      prefs: {
        ...extensionPrefs(gecko.id, UUID),
        "network.proxy.no_proxies_on": "localhost, 127.0.0.1, .localhost",
        // The event page is stopped after less idleness than the usual 30 s, but not while it loads.
        "extensions.background.idle.timeout": 4000,
      },
    });
    await browser.installExtension(unpacked);
    page = await browser.newPage();
  });

  after(async () => {
    await browser?.close();
    await server?.close();
    await rm(folder, { recursive: true, force: true });
  });

  /** The chat page at `address`, on a server that offers models; what it got for one request for `model`. */
  async function asked(model, { address = server.url, load = true } = {}) {
    chat.models = OFFERED;
    chat.received.length = 0;
    await page.bringToFront();
    if (load) {
      const listed = page.waitForResponse((response) => response.url().endsWith("/v1/models"));
      await page.goto(`${address}/chat-page.html`);
      await listed;
    }
    await page.$eval("#model", (input, value) => (input.value = value), model);
    await page.$eval("#message", (input) => (input.value = "Write a haiku about the tide at Wivenhoe."));
    await page.$eval("#state", (state) => (state.textContent = "idle"));
    await page.click("form button");
    await page.waitForFunction(() => /done|error/i.test(document.getElementById("state").textContent));
    return chat.received[0].body.model;
  }
  const stored = (opened) => opened.evaluate(() => chrome.storage.local.get());

  test("auto is routed, streams, stops; by XMLHttpRequest too", async () => {
    const sent = await asked("auto");
    assert.ok(OFFERED.slice(0, 3).includes(sent), sent);
    assert.equal(await page.$eval("#answer", (answer) => answer.textContent), PIECES.join(""));
    assert.match(await page.$eval("#state", (state) => state.textContent), /after [2-9]/);
    assert.equal(chat.received[0].headers.authorization, "Bearer secret");
    assert.equal(await asked("gpt-x", { load: false }), "gpt-x");

    chat.received.length = 0;
    const events = await page.evaluate(() => new Promise((resolve) => {
      const request = new XMLHttpRequest();
      const seen = [];
      for (const type of ["load", "abort", "error", "loadend"]) {
        request.addEventListener(type, () => {
          seen.push(type);
          if (type === "loadend") resolve(seen);
        });
      }
      request.open("POST", "/v1/chat/completions");
      request.send('{"model":"auto","messages":[{"role":"user","content":"x"}]}');
    }));
    assert.deepEqual(events, ["load", "loadend"]);
    assert.ok(OFFERED.includes(chat.received[0].body.model));

    chat.pause = LONG_PAUSE;
    const closed = chat.closed();
    await page.click("form button");
    await page.waitForFunction(() => document.getElementById("state").textContent === "piece 1");
    await page.click("#stop");
    await page.waitForFunction(() => document.getElementById("state").textContent === "AbortError");
    assert.equal((await closed).cut, true);
    chat.pause = PAUSE;
  });

  test("the popup shows the receipts, and the event page may be gone in between", async () => {
    const popup = await openExtensionPage(browser, own("popup.html"));
    await popup.waitForFunction(() => document.querySelectorAll("#receipts li").length > 0 && !document.getElementById("quality").disabled);
    await popup.setViewport({ width: 350, height: 620 });
    await popup.screenshot({ path: resultFile("popup-firefox.png"), fullPage: true });
    const gone = () => popup.waitForFunction(() => chrome.extension.getViews().every(({ location }) => !/background/.test(location.href)));
    for (let i = 0; i < 2; i += 1) {
      const before = await stored(popup);
      await gone();
      const sent = await asked("auto", { load: false });
      assert.ok(OFFERED.slice(0, 3).includes(sent), sent);
      await popup.waitForFunction(async (calls) => (await chrome.storage.local.get("totals")).totals.calls === calls, {}, before.totals.calls + 1);
    }
    assert.doesNotMatch(JSON.stringify(await stored(popup)), /Wivenhoe|secret/);
    await popup.close();
  });

  test("a site is enabled, routed on, has a model replaced, and is taken back", async () => {
    const address = `http://chat.localhost:${port}`;
    assert.equal(await asked("auto", { address }), "auto", "not before it is enabled");

    const options = await openExtensionPage(browser, own("options.html"));
    for (const one of [address.replace("http", "https"), address]) {
      await options.$eval("#site-note", (note) => (note.textContent = ""));
      await options.type("#site", one);
      await options.click("#add-site button");
      await options.waitForFunction(() => /Enabled from/.test(document.getElementById("site-note").textContent));
    }
    const granted = async () => (await options.evaluate(() => chrome.permissions.getAll())).origins.filter((origin) => origin.includes("chat.localhost")).sort();
    assert.deepEqual(await granted(), ["http://chat.localhost/*", "https://chat.localhost/*"]);
    assert.equal(await asked("auto", { address, load: false }), "auto", "from the next load on");
    const sent = await asked("auto", { address });
    assert.ok(OFFERED.slice(0, 3).includes(sent), sent);

    await options.bringToFront();
    await options.reload({ waitUntil: [] });
    await options.waitForFunction(() => document.querySelector('[aria-label^="chat.localhost:"] details'));
    await options.evaluate(() => document.querySelectorAll("details").forEach((one) => (one.open = true)));
    await options.click('[aria-label^="chat.localhost:"] input[aria-label="claude-opus-5-5 may be replaced"]');
    await options.waitForFunction(async () => Object.values((await chrome.storage.local.get("sites")).sites).some(({ replaceable }) => replaceable?.length === 1));
    await options.waitForFunction(() => document.querySelectorAll("#providers tr").length > 3);
    await options.screenshot({ path: resultFile("options-firefox.png"), fullPage: true });
    // Evaluated rather than added as a script: the page's policy admits no script that is not its own.
    const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
    await options.evaluate(axe);
    assert.deepEqual((await options.evaluate(() => globalThis.axe.run())).violations.map(({ id }) => id), []);
    const other = await asked("claude-opus-5-5", { address });
    assert.ok(["gpt-5.4-nano", "anthropic/claude-haiku-5.5"].includes(other), other);

    await options.bringToFront();
    await options.click('[aria-label^="Remove chat.localhost"]');
    await options.waitForFunction(() => document.querySelector('[aria-label^="Remove chat.localhost"]') === null);
    assert.deepEqual(await granted(), []);
    const kept = await stored(options);
    assert.equal(await asked("auto", { address, load: false }), "auto", "an open tab is left at once");
    assert.equal(await asked("auto", { address }), "auto");
    assert.deepEqual(await stored(options), kept, "a site that was removed is not learned of again");

    // Erasing takes sites back too; a site that is granted over others is not in the way.
    await options.bringToFront();
    await options.evaluate((origins) => {
      document.querySelector("h1").onclick = async ({ target }) => (target.id = String(await chrome.permissions.request({ origins })));
    }, ["http://*/*", "http://chat.localhost/*"]);
    await options.click("h1");
    await options.waitForSelector("h1#true");
    await options.evaluate(() => chrome.runtime.sendMessage({ type: "register" }));
    assert.ok(OFFERED.slice(0, 3).includes(await asked("auto", { address })));
    await options.bringToFront();
    await options.click("#erase");
    await options.click('#confirm button[value="yes"]');
    await options.waitForFunction(() => document.getElementById("erase-note").textContent === "Erased.");
    assert.equal(await asked("auto", { address, load: false }), "auto");
    // This machine's grant is the manifest's, until the user takes it back in the browser.
    assert.ok(OFFERED.slice(0, 3).includes(await asked("auto")));
    await options.evaluate(() => chrome.permissions.remove({ origins: ["http://127.0.0.1/*"] }));
    assert.equal(await asked("auto", { load: false }), "auto");
    await options.close();
  });
});
