/** The extension in Chromium: sites and their settings, popup and options, and a service worker that dies. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import { accessibilityViolations, findChromium, resultFile, serve } from "./browser.mjs";
import { OFFERED, startExtension } from "./extension-chromium.mjs";

const PROMPT = "Write a haiku about the tide at Wivenhoe.";
const executable = findChromium();

describe("extension in Chromium: sites, popup, options", { skip: executable === undefined }, () => {
  let browser, page, chat, open, send, state, host, files;

  before(async () => {
    files = await mkdtemp(join(tmpdir(), "pennyroute-files-"));
    browser = await startExtension(executable);
    ({ page, chat, open, send, state } = browser);
    host = new URL(browser.server.url).host;
  });
  beforeEach(() => browser.within(() => Promise.all([chrome.storage.local.clear(), chrome.storage.session.clear()])));
  after(async () => {
    await browser?.close();
    await rm(files, { recursive: true, force: true });
  });

  /** Settings as a page of the extension would write them. */
  const set = (settings) => browser.within((written) => chrome.storage.local.set(written), settings);
  /** What the server gets for a request for `model`. */
  async function asked(model) {
    chat.received.length = 0;
    await page.bringToFront();
    await send(PROMPT, model);
    await state(/done after/);
    return chat.received[0].body.model;
  }
  const options = async () => {
    const opened = await browser.context.newPage();
    await opened.setViewportSize({ width: 900, height: 900 });
    await opened.goto(browser.own("options.html"));
    await opened.locator("#catalog-state", { hasText: "models" }).waitFor();
    return opened;
  };
  const known = OFFERED.slice(0, 3);
  const base = (id) => id.replace(/^.*\/|@.*$/g, "").replaceAll(".", "-");

  test("a model that the user has marked is replaced, and the receipt says what it was instead of", async () => {
    await open(OFFERED);
    assert.equal(await asked("claude-opus-5-5"), "claude-opus-5-5");
    assert.equal((await browser.stored()).receipts, undefined);

    const popup = await browser.popup();
    await popup.locator("#models-box summary").click();
    await popup.getByLabel("claude-opus-5-5").check();
    await popup.getByText("may be replaced: 1 of 4").waitFor();
    const sent = await asked("claude-opus-5-5");
    assert.ok(["gpt-5.4-nano", "anthropic/claude-haiku-5.5"].includes(sent), sent);
    const { receipts: [receipt] } = await browser.kept(1);
    assert.equal(receipt.asked, "claude-opus-5-5");
    assert.ok(receipt.saving_usd > 0);
    await popup.getByText("instead of claude-opus-5-5").waitFor();
    // Other models are still the page's business.
    assert.equal(await asked("nobody-knows-this-one"), "nobody-knows-this-one");

    // What may not be chosen is not.
    await set({ sites: { [host]: { replaceable: ["claude-opus-5-5"], never: [sent] } } });
    const other = await asked("claude-opus-5-5");
    assert.ok(known.includes(other) && other !== sent, other);
    // Nor under another of its names.
    await set({ sites: { [host]: { never: ["openai/gpt-5.4-nano", "claude-haiku-5-5-latest"] } } });
    assert.equal(await asked("auto"), "claude-opus-5-5");
    await popup.close();
  });

  test("a site's policy goes before the general one, and off is off", async () => {
    await open(OFFERED);
    const usual = await asked("auto");
    await set({ policy: { quality: null, floor: null, cap_usd: null, allow: [], deny: [`*${base(usual)}*`] } });
    const denied = await asked("auto");
    assert.ok(known.includes(denied) && denied !== usual, denied);
    await set({ sites: { [host]: { policy: { deny: [], allow: ["anthropic/claude-opus*"] } } } });
    assert.equal(await asked("auto"), "claude-opus-5-5");
    await set({ sites: { [host]: { policy: { cap_usd: 1e-12 } } } });
    assert.equal(await asked("auto"), "auto", "nothing is that cheap");
    await set({ sites: { [host]: { on: false } } });
    assert.equal(await asked("auto"), "auto");
    await set({ sites: {}, on: false });
    assert.equal(await asked("auto"), "auto");
  });

  test("a site that the browser grants is routed on; one that it does not grant is out of reach", async () => {
    // Headless, nobody can answer Chromium's question: here the grant is in the manifest, and no address of ours is.
    const granted = await startExtension(executable, (manifest) => ({ ...manifest, host_permissions: ["http://*.chat.localhost/*", "http://chat.localhost/*"] }));
    const at = (name) => granted.server.url.replace("127.0.0.1", name);
    try {
      const scripts = await granted.within(async () => {
        await chrome.runtime.sendMessage({ type: "register" });
        await chrome.runtime.sendMessage({ type: "register" });
        return chrome.scripting.getRegisteredContentScripts();
      });
      assert.deepEqual(scripts.map(({ matches, js, world }) => [matches, js, world]).sort(), [
        [["http://*.chat.localhost/*"], ["content.js"], "ISOLATED"],
        [["http://*.chat.localhost/*"], ["page.js"], "MAIN"],
      ], "once, where one pattern covers another");
      for (const [name, routed] of [["chat.localhost", true], ["other.localhost", false]]) {
        granted.server.url = at(name);
        await granted.open(OFFERED);
        await granted.send(PROMPT);
        await granted.state(/done after/);
        assert.equal(granted.chat.received[0].body.model !== "auto", routed, name);
        granted.server.url = granted.server.url.replace(name, "127.0.0.1");
      }
    } finally {
      await granted.close();
    }
  });

  test("where the page may not use storage, and under a strict policy of the page, requests still leave", async () => {
    await open(OFFERED);
    await browser.within(() => chrome.storage.local.setAccessLevel({ accessLevel: "TRUSTED_CONTEXTS" }));
    assert.equal(await asked("auto"), "auto");
    await browser.within(() => chrome.storage.local.setAccessLevel({ accessLevel: "TRUSTED_AND_UNTRUSTED_CONTEXTS" }));
    assert.ok(known.includes(await asked("auto")));

    const strict = await serve("/nowhere", { "/": "<!doctype html><title>Strict</title>" }, {
      handler: chat.handler,
      headers: { "content-security-policy": "default-src 'none'; connect-src 'self'; require-trusted-types-for 'script'" },
    });
    const other = await browser.context.newPage();
    await other.goto(`${strict.url}/#`);
    chat.received.length = 0;
    await other.evaluate(async () => {
      await fetch("/v1/models").then((response) => response.json());
      await fetch("/v1/chat/completions", { method: "POST", body: '{"model":"auto","messages":[{"role":"user","content":"hi"}]}' });
    });
    assert.notEqual(chat.received[0].body.model, "auto");
    await other.close();
    await strict.close();
  });

  test("prompts of a private site go to private providers only, or are not read", async () => {
    await open(OFFERED);
    await set({ sites: { [host]: { privacy: "private" } } });
    assert.equal(await asked("auto"), "auto", "no provider is private from the start");
    await set({ providers: { openai: { private: true } } });
    assert.equal(await asked("auto"), "gpt-5.4-nano");
    await set({ providers: { openai: { private: true, allowed: false } } });
    assert.equal(await asked("auto"), "auto");
    await set({ providers: {}, sites: { [host]: { privacy: "alone" } } });
    assert.equal(await asked("auto"), "auto");
    await set({ providers: { anthropic: { allowed: false } }, sites: {} });
    assert.equal(await asked("auto"), "gpt-5.4-nano");
  });

  test("the popup: what is on, the policy, receipts; by keyboard, for screen readers, in the dark", async () => {
    await open(OFFERED);
    await asked("auto");
    await browser.kept(1);
    const popup = await browser.popup();
    const problems = [];
    popup.on("console", (message) => message.type() === "error" && problems.push(message.text()));
    await popup.locator("#quality:not(:disabled)").waitFor();
    assert.equal(await popup.locator("#site-name").textContent(), host);
    const { receipts: [receipt], totals } = await browser.stored();
    const text = await popup.locator("#receipts li").first().innerText();
    assert.ok(text.includes(receipt.reason));
    assert.match(text, /cost \$/);
    assert.match(await popup.locator("#calls").textContent(), new RegExp(`over ${totals.calls} request`));
    await popup.locator("#models-box summary").click();
    await popup.screenshot({ path: resultFile("popup.png"), fullPage: true });
    await popup.emulateMedia({ colorScheme: "dark" });
    await popup.screenshot({ path: resultFile("popup-dark.png"), fullPage: true });
    await popup.emulateMedia({ colorScheme: "light" });
    assert.deepEqual(await accessibilityViolations(popup), []);

    // From the first control on by the keyboard alone.
    await popup.locator("#on").focus();
    await popup.keyboard.press("Space");
    await popup.locator("#on-label", { hasText: "Off" }).waitFor();
    assert.equal(await asked("auto"), "auto");
    await popup.bringToFront();
    await popup.keyboard.press("Space");
    await popup.keyboard.press("Tab");
    await popup.keyboard.press("Space");
    await popup.waitForFunction(async (name) => (await chrome.storage.local.get("sites")).sites[name].on === false, host);
    await popup.keyboard.press("Space");
    await popup.getByRole("combobox").selectOption("alone");
    assert.equal(await asked("auto"), "auto");
    await popup.getByRole("combobox").selectOption("ordinary");

    await popup.getByLabel("Most per request").fill("-1");
    await popup.getByLabel("Most per request").blur();
    await popup.getByLabel("Most per request").fill("0.5");
    await popup.getByLabel("Most per request").blur();
    await popup.getByLabel("Quality target").fill(await popup.getByLabel("Quality target").getAttribute("min"));
    await popup.getByRole("button", { name: "Default" }).waitFor();
    const policy = (await browser.stored()).sites[host].policy;
    assert.equal(policy.cap_usd, 0.5);
    assert.ok(policy.quality < 0.9);
    await popup.getByRole("button", { name: "Default" }).click();
    await popup.getByRole("button", { name: "Default" }).waitFor({ state: "hidden" });
    await popup.getByRole("button", { name: "Clear" }).click();
    await popup.getByText("None yet").waitFor();
    assert.deepEqual((await browser.stored()).sites[host].policy, { cap_usd: 0.5 });
    assert.deepEqual(problems, []);
    await popup.close();
  });

  test("the popup over a site that is not enabled offers that one; over no web page, nothing", async () => {
    const other = await browser.popup("https://chat.example.org:8443/c/1?q=secret");
    await other.getByRole("button", { name: "Enable on chat.example.org:8443" }).waitFor();
    assert.equal(await other.locator("#site-on").isVisible(), false);
    await other.locator("#quality:not(:disabled)").waitFor();
    await other.screenshot({ path: resultFile("popup-not-enabled.png"), fullPage: true });
    assert.deepEqual(await accessibilityViolations(other), []);
    // What is asked for is that host and no more.
    await other.evaluate(() => {
      chrome.permissions.request = async (wanted) => {
        globalThis.wanted = wanted;
        return false;
      };
    });
    await other.getByRole("button", { name: /Enable on/ }).click();
    await other.getByText("Not granted").waitFor();
    assert.deepEqual(await other.evaluate(() => globalThis.wanted), { origins: ["https://chat.example.org/*"] });
    await other.close();

    const none = await browser.popup("chrome://newtab/");
    await none.getByText("No web page in this tab").waitFor();
    assert.equal(await none.locator("#site-off").isVisible(), false);
    await none.close();
  });

  test("a catalog of one's own: exported, changed, imported; a bad one is refused and says what and where", async () => {
    await open(OFFERED);
    const opened = await options();
    const [download] = await Promise.all([opened.waitForEvent("download"), opened.getByRole("button", { name: "Export" }).click()]);
    const catalog = JSON.parse(await readFile(await download.path(), "utf8"));
    assert.match(download.suggestedFilename(), /^pennyroute-catalog-.*\.json$/);

    const refused = async (name, text, message) => {
      await writeFile(join(files, name), text);
      await opened.getByLabel("Import").setInputFiles(join(files, name));
      await opened.locator("#catalog-note.bad", { hasText: message }).waitFor();
      assert.equal((await browser.stored()).catalog, undefined);
    };
    await refused("half.json", '{"format":', /half\.json: not JSON/);
    await refused("newer.json", JSON.stringify({ ...catalog, format: 99 }), /newer\.json: \w+: .*99/);
    await refused("bad.json", JSON.stringify({ ...catalog, models: [{ ...catalog.models[0], provider: 5 }] }), /bad\.json: bad_catalog: .*models\[0\]/);
    await refused("empty.json", "null", /empty\.json: bad_/);
    await refused("large.json", `"${"x".repeat(4_100_000)}"`, /large\.json: 4 MB; a catalog may have 4 MB/);

    const own = { ...catalog, version: "mine", models: catalog.models.filter(({ id }) => id.startsWith("anthropic/claude-opus")) };
    await writeFile(join(files, "mine.json"), JSON.stringify(own));
    await opened.getByLabel("Import").setInputFiles(join(files, "mine.json"));
    await opened.getByText("mine.json is in use").waitFor();
    await opened.getByText(`Your own: version mine, ${own.models.length} model`).waitFor();
    assert.equal(await asked("auto"), "claude-opus-5-5");
    await opened.getByRole("button", { name: "Back to the built-in one" }).click();
    await opened.getByText("The built-in one: version").waitFor();
    assert.notEqual(await asked("auto:0.6"), "claude-opus-5-5");
    await opened.close();
  });

  test("the options page: policy, sites, providers; erased when the user says so", async () => {
    await open(OFFERED);
    await asked("auto");
    await browser.kept(1);
    const opened = await options();
    await opened.getByRole("article", { name: host }).waitFor();
    await opened.getByText("Models: 0 of 4 may be replaced").click();
    await opened.getByLabel("claude-opus-5-5 may be replaced").check();
    await opened.getByText("Models: 1 of 4 may be replaced").waitFor();
    await opened.getByLabel("nobody-knows-this-one may be chosen").uncheck();
    await opened.getByText("Policy of this site").click();
    await opened.getByRole("article").getByLabel("Quality target").fill("90");
    await opened.getByRole("article").getByLabel("Never these models").fill("a/*, b/*");
    await opened.getByRole("article").getByLabel("Never these models").blur();
    await opened.locator("#policy").getByLabel("Least quality").fill("140");
    await opened.locator("#policy").getByLabel("Least quality").blur();
    await opened.locator("#policy").getByLabel("Only these models").fill("anthropic/*");
    await opened.locator("#policy").getByLabel("Only these models").blur();
    await opened.getByLabel("anthropic: private").check();
    await opened.waitForFunction(async () => (await chrome.storage.local.get("providers")).providers?.anthropic?.private);
    const { sites, policy } = await browser.stored();
    assert.deepEqual(sites[host].replaceable, ["claude-opus-5-5"]);
    assert.deepEqual(sites[host].never, ["nobody-knows-this-one"]);
    assert.deepEqual(sites[host].policy, { quality: 0.9, deny: ["a/*", "b/*"] });
    assert.equal(policy.floor, null, "140 % was not saved");
    assert.deepEqual(policy.allow, ["anthropic/*"]);

    await opened.reload();
    await opened.locator("#catalog-state", { hasText: "models" }).waitFor();
    await opened.getByText("Models: 1 of 4 may be replaced").click();
    await opened.screenshot({ path: resultFile("options.png"), fullPage: true });
    await opened.emulateMedia({ colorScheme: "dark" });
    await opened.screenshot({ path: resultFile("options-dark.png"), fullPage: true });
    await opened.setViewportSize({ width: 390, height: 800 });
    await opened.screenshot({ path: resultFile("options-phone.png"), fullPage: true });
    assert.ok(await opened.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "no sideways scrolling on a phone");
    await opened.emulateMedia({ colorScheme: "light" });
    assert.deepEqual(await accessibilityViolations(opened), []);

    await opened.getByLabel("Add a site").fill("ftp://example.org");
    await opened.getByRole("button", { name: "Enable" }).click();
    await opened.getByText("not a web page's address").waitFor();
    await opened.getByLabel("Add a site").fill("https://*.example.org");
    await opened.getByRole("button", { name: "Enable" }).click();
    await opened.getByText("one site at a time").waitFor();

    await opened.getByRole("button", { name: "Erase all data" }).click();
    await opened.getByRole("button", { name: "Keep it" }).click();
    assert.ok((await browser.stored()).receipts.length > 0);
    await opened.getByRole("button", { name: "Erase all data" }).click();
    await opened.getByRole("button", { name: "Erase", exact: true }).click();
    await opened.getByText("Erased.").waitFor();
    assert.deepEqual(await browser.stored(), {});
    await opened.close();
  });

  test("a service worker that was stopped, before or between requests, has forgotten nothing", async () => {
    await open(OFFERED);
    await asked("auto");
    const before = await browser.kept(1);
    await browser.killWorker();
    assert.ok(known.includes(await asked("auto")));
    await browser.killWorker();
    assert.ok(known.includes(await asked("auto")));
    const after = await browser.kept(3);
    assert.deepEqual(after.receipts.slice(2), before.receipts);
  });

  test("stopped while it decides, it is asked again; the page gets its answer and one receipt", async () => {
    await open(OFFERED);
    const devtools = await browser.context.newCDPSession(page);
    for (const [i, moment] of ["starting", "running"].entries()) {
      await browser.killWorker();
      let stopped = false;
      const stop = ({ versions }) => {
        if (stopped || !versions.some(({ runningStatus }) => runningStatus === moment)) return;
        stopped = true;
        devtools.send("ServiceWorker.stopAllWorkers");
      };
      devtools.on("ServiceWorker.workerVersionUpdated", stop);
      await devtools.send("ServiceWorker.enable");
      const sent = await asked("auto");
      devtools.off("ServiceWorker.workerVersionUpdated", stop);
      await devtools.send("ServiceWorker.disable");
      assert.ok(stopped, "it was not stopped");
      assert.ok(known.includes(sent), sent);
      assert.equal((await browser.kept(i + 1)).receipts.length, i + 1);
    }
    await devtools.detach();
  });

  test("receipts of two tabs at once are kept once each, told twice or not", async () => {
    const second = await browser.context.newPage();
    await open(OFFERED);
    await open(OFFERED, second);
    const ask = (on) => on.evaluate(() => Promise.all(Array.from({ length: 10 }, (_, i) => fetch("/v1/chat/completions", {
      method: "POST",
      body: JSON.stringify({ model: "auto", messages: [{ role: "user", content: `${i}` }] }),
    }).then((response) => response.text()))));
    await Promise.all([ask(page), ask(second)]);
    const { receipts } = await browser.kept(20);
    assert.equal(new Set(receipts.map(({ id }) => id)).size, 20);
    // A worker that died after writing, before it could say so, is told again.
    const tell = (receipt) => browser.fromContent({ type: "record", receipt });
    assert.deepEqual(await Promise.all([1, 2, 3].map(() => tell(receipts[3]))), [true, true, true]);
    await Promise.all([1, 2].map((i) => tell({ ...receipts[3], id: `new ${i}` })));
    assert.equal((await browser.kept(22)).receipts.length, 22);
    await second.close();
  });

  test("storage that is full costs old receipts, then new ones, never a request; the popup says so", async () => {
    await open(OFFERED);
    for (let i = 0; i < 7; i += 1) await asked("auto");
    await browser.kept(7);
    const fill = () => browser.within(async () => {
      const free = chrome.storage.local.QUOTA_BYTES - await chrome.storage.local.getBytesInUse();
      await chrome.storage.local.set({ filler: "x".repeat(free - "filler".length - 2 + ((await chrome.storage.local.get("filler")).filler?.length ?? 0)) });
    });
    await fill();
    assert.ok(known.includes(await asked("auto")));
    assert.equal((await browser.kept(8)).receipts.length, 5);

    await browser.within(() => chrome.storage.local.remove(["receipts", "totals", "filler"]));
    await fill();
    assert.ok(known.includes(await asked("auto")));
    const popup = await browser.popup();
    await popup.getByRole("alert").filter({ hasText: /could not be kept: .*quota/i }).waitFor();
    await popup.screenshot({ path: resultFile("popup-full.png"), fullPage: true });
    // A setting that cannot be kept says so too.
    await popup.getByRole("combobox").selectOption("private");
    await popup.getByRole("alert").filter({ hasText: /Not saved: .*quota/i }).waitFor();
    await browser.within(() => chrome.storage.local.remove("filler"));
    await asked("auto");
    await popup.getByRole("alert").waitFor({ state: "hidden" });
    await popup.close();
  });

  test("a page cannot speak for another site or for the extension, whatever it sends", async () => {
    await open(OFFERED);
    await asked("auto");
    const before = await browser.kept(1);
    const elsewhere = { replaceable: ["claude-opus-5-5"], offered: OFFERED };
    await set({ sites: { ...before.sites, "other.example": elsewhere } });
    const forged = { id: "1", model: "auto", type: "record", site: "other.example", receipt: { ...before.receipts[0], id: "forged" } };
    const answers = await page.evaluate(async (message) => {
      const answered = (name, detail) => new Promise((resolve) => {
        document.addEventListener("pennyroute:answer", ({ detail: answer }) => resolve(JSON.parse(answer).answer), { once: true });
        document.dispatchEvent(new CustomEvent(`pennyroute:${name}`, { detail: JSON.stringify(detail) }));
      });
      const request = { messages: [{ role: "user", content: "hi" }] };
      return [
        // The same as any decision of this site, and not kept before it is used.
        (await answered("decide", { ...message, request, offered: ["gpt-5.4-nano"], takesEffort: true })).name,
        // What another site has marked says nothing here.
        await answered("ask", { ...message, model: "claude-opus-5-5" }),
        await answered("decide", { ...message, model: "claude-opus-5-5", request, offered: ["gpt-5.4-nano"] }),
      ];
    }, forged);
    assert.deepEqual(answers, ["gpt-5.4-nano", false, null]);

    // Not even the content script may: what is for the extension's own pages, other sites, and what is no receipt.
    for (const type of ["check", "catalog", "register", "traffic", "toString"]) assert.equal(await browser.fromContent({ type, catalog: {} }), null, type);
    const [good] = before.receipts;
    for (const change of [{ site: "other.example" }, { cost_usd: "1" }, { saving_usd: null, cost_usd: null }, { id: 5 }, { reason: "x".repeat(5000) }]) {
      assert.equal(await browser.fromContent({ type: "record", receipt: { ...good, id: "new", ...change } }), null, JSON.stringify(change));
    }
    assert.equal(await browser.fromContent({ type: "offers", site: "other.example", names: ["mine", 5] }), true);
    const { sites, ...after } = await browser.stored();
    assert.deepEqual(sites, { [host]: { offered: ["mine"] }, "other.example": elsewhere });
    assert.deepEqual([after.totals, after.receipts], [before.totals, before.receipts]);
  });

  test("of a request that the router refuses, nothing is kept but code and field", async () => {
    await open(OFFERED);
    await page.evaluate((prompt) => fetch("/v1/chat/completions", {
      method: "POST",
      body: JSON.stringify({ model: "auto", messages: [{ role: "user", content: "x" }], max_tokens: prompt }),
    }).then((response) => response.text()), PROMPT);
    assert.equal(chat.received[0].body.model, "auto");
    const popup = await browser.popup();
    await popup.getByRole("alert").filter({ hasText: "left as it was: bad_request, request field `max_tokens`" }).waitFor();
    assert.doesNotMatch(JSON.stringify(await browser.within(() => chrome.storage.session.get())), /Wivenhoe/);
    await popup.close();
  });

  test("a target beyond what models reach is shown as it was set", async () => {
    await set({ policy: { quality: 0.99, floor: null, cap_usd: null, allow: [], deny: [] } });
    const popup = await browser.popup();
    await popup.locator("#quality:not(:disabled)").waitFor();
    assert.equal(await popup.locator("#quality").inputValue(), "0.99");
    await popup.close();
  });

  test("a router that cannot load leaves requests alone, and the popup says why", async () => {
    await open(OFFERED);
    await set({ catalog: { format: 1, version: "broken", models: "none" } });
    assert.equal(await asked("auto"), "auto");
    const popup = await browser.popup();
    await popup.getByRole("alert").filter({ hasText: /left as it was|went wrong: catalog/ }).waitFor();
    await popup.getByText("The router could not be loaded").waitFor();
    await popup.close();
  });
});
