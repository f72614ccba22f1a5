// The extension in Chromium, on a chat page with a server of its own.

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildExtension } from "../../src/js/tools/extension.mjs";
import { launchWithProfile, serve } from "./browser.mjs";
import { PAUSE, chatServer } from "./chat-server.mjs";

const FIXTURES = fileURLToPath(new URL("../fixtures/", import.meta.url));

/** A busy machine is not to make a test of whether a request is routed one of how fast. */
export const PATIENCE_MS = 60_000;

/** Names that the chat page's server offers; the last is in no catalog. */
export const OFFERED = ["gpt-5.4-nano", "anthropic/claude-haiku-5.5", "claude-opus-5-5", "nobody-knows-this-one"];

/**
 * @param {string} executable
 * @param {(manifest: any) => any} [manifested] what to change in the manifest
 */
export async function startExtension(executable, manifested) {
  const folder = await mkdtemp(join(tmpdir(), "pennyroute-extension-"));
  const { unpacked } = await buildExtension({ out: join(folder, "extension"), patience_ms: PATIENCE_MS });
  if (manifested) {
    const path = join(unpacked, "manifest.json");
    await writeFile(path, JSON.stringify(manifested(JSON.parse(await readFile(path, "utf8")))));
  }
  const chat = chatServer();
  const server = await serve(FIXTURES, {}, { handler: chat.handler });
  const context = await launchWithProfile(executable, join(folder, "profile"), unpacked);
  const worker = context.serviceWorkers()[0] ?? await context.waitForEvent("serviceworker");
  const id = new URL(worker.url()).host;
  const page = await context.newPage();
  const own = (path) => `chrome-extension://${id}/${path}`;

  const browser = {
    id, context, page, server, chat, unpacked, own,

    /** The chat page, opened afresh on a server that offers `names`. */
    async open(names, on = page) {
      chat.models = names;
      chat.received.length = 0;
      chat.pause = PAUSE;
      const listed = on.waitForResponse("**/v1/models");
      await on.goto(`${server.url}/chat-page.html`);
      await (await listed).finished();
    },

    async send(message, model = "auto", on = page) {
      await on.getByLabel("Model").fill(model);
      await on.getByLabel("Message").fill(message);
      await on.getByRole("button", { name: "Send" }).click();
    },

    state: (text, on = page) => on.locator("#state", { hasText: text }).waitFor(),

    /** The popup as opened over a tab, in a tab of its own: what is stood in for is which tab it was opened over. */
    async popup(url = page.url()) {
      const opened = await context.newPage();
      await opened.setViewportSize({ width: 350, height: 620 });
      await opened.addInitScript((over) => {
        if (globalThis.chrome?.tabs) chrome.tabs.query = async () => [{ id: 1, url: over }];
      }, url);
      await opened.goto(own("popup.html"));
      return opened;
    },

    /** Runs a function in one of the extension's own pages. */
    async within(run, argument) {
      const opened = await context.newPage();
      await opened.goto(own("options.html"));
      const result = await opened.evaluate(run, argument);
      await opened.close();
      return result;
    },

    /** What is in storage. */
    stored: () => browser.within(() => chrome.storage.local.get()),

    /** What is in storage once this many requests have their receipts, which are written after the requests have left. */
    async kept(calls) {
      const opened = await context.newPage();
      await opened.goto(own("options.html"));
      await opened.waitForFunction(async (count) => (await chrome.storage.local.get("totals")).totals?.calls === count, calls);
      await opened.close();
      return browser.stored();
    },

    /** The worker's answer to a message from the content script of the chat page. */
    async fromContent(message) {
      const devtools = await context.newCDPSession(page);
      const world = new Promise((resolve) => devtools.on("Runtime.executionContextCreated", ({ context: { id: number, origin } }) => {
        if (origin === `chrome-extension://${id}`) resolve(number);
      }));
      await devtools.send("Runtime.enable");
      const expression = `chrome.runtime.sendMessage(${JSON.stringify(message)})`;
      const { result } = await devtools.send("Runtime.evaluate", { contextId: await world, expression, awaitPromise: true, returnByValue: true });
      await devtools.detach();
      return result.value;
    },

    /** Stops the service worker, as the browser does when it likes, and waits for it to be gone. */
    async killWorker() {
      const devtools = await context.newCDPSession(page);
      const stopped = new Promise((resolve) => devtools.on("ServiceWorker.workerVersionUpdated", ({ versions }) => {
        if (versions.some(({ runningStatus }) => runningStatus === "stopped")) resolve(undefined);
      }));
      await devtools.send("ServiceWorker.enable");
      await devtools.send("ServiceWorker.stopAllWorkers");
      await stopped;
      await devtools.detach();
    },

    async close() {
      await context.close();
      await server.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
  // Loaded once, so that a busy machine does not cost the first test its patience.
  await browser.within(() => chrome.runtime.sendMessage({ type: "wake" }));
  return browser;
}
