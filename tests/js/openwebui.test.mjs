// The browser extension on a chat application that is not ours: Open WebUI from PyPI, unmodified, in
// Chromium, in front of a provider that is simulated. First without the extension, then with it.

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Router } from "pennyroute";
import { findChromium, launchWithProfile, resultFile } from "./browser.mjs";
import { startExtension } from "./extension-chromium.mjs";
import { chatPage, installOpenWebUi, PIECES, REFUSAL, startOpenWebUi, startProvider } from "./openwebui.mjs";

/** What the provider lists, as a gateway would: `auto` and models, the last of which is in no catalog. */
const OFFERED = ["google/gemma-4-31B-it", "claude-haiku-5-5", "claude-opus-5-5", "house-model"];
const EASY = "What is the capital of France?";
const HARD = "Which enzyme deficiency causes maple syrup urine disease, and how does it alter the metabolism of branched-chain amino acids?";
const ANSWER = PIECES.join("");

const executable = findChromium();
const { bin, missing, noPython } = executable ? installOpenWebUi() : { missing: "there is no Chromium" };
if (missing !== undefined) {
  // A system without a Python that it runs on cannot be helped, and is no fault of ours.
  assert.ok(noPython || !process.env.PENNYROUTE_NO_SKIP, missing);
  console.error(`SKIP: Open WebUI is not tested: ${missing}`);
}

/**
 * A request's body without what differs from one to the next (times, and ids of chats, messages,
 * users and sockets), and apart from that what routing changes.
 * @param {any} body
 */
function compared(body) {
  const { model, message_ids, reasoning_effort, session_id: _session, variables: _variables, ...rest } = body;
  const same = JSON.stringify(rest).replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, "ID").replace(/"timestamp":\d+/g, '"timestamp":0');
  return { model, answers: message_ids.map(({ model_id }) => model_id), effort: reasoning_effort, rest: JSON.parse(same) };
}

describe("Open WebUI", { skip: missing }, () => {
  let folder, provider, app, router;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pennyroute-openwebui-profile-"));
    provider = await startProvider(["auto", ...OFFERED]);
    app = await startOpenWebUi(bin, provider.url);
    router = await Router.load();
  });

  after(async () => {
    await app?.close();
    await provider?.close();
    await rm(folder, { recursive: true, force: true });
  });

  /** What a router says that may choose among the offered: the name to ask for, and the effort. */
  function expected(message) {
    const { models } = router.catalog();
    const allow = models.filter(({ base }) => OFFERED.includes(base)).map(({ id }) => id);
    const { model } = router.route({ messages: [{ role: "user", content: message }], allow });
    const { base, effort } = models.find(({ id }) => id === model);
    return { model: base, answers: [base], effort: effort ?? undefined };
  }

  /** The provider's call for the answer to a message that is sent from now on. */
  const answering = (message) => provider.next((call) => call.body.stream && call.message === message);

  /** What left the page without the extension, by message. */
  const plain = {};

  describe("without the extension", () => {
    let context, chat;

    before(async () => {
      context = await launchWithProfile(executable, join(folder, "plain"));
      chat = chatPage(await context.newPage(), app.url);
      await chat.open();
      // What is new in this version: told to each user once.
      await chat.page.getByRole("button", { name: "Okay, Let's Go!" }).click();
      await chat.pick("auto");
    });

    after(() => context?.close());

    test("auto reaches the provider as auto", async () => {
      const asked = answering(EASY);
      plain[EASY] = compared(await chat.send(EASY));
      const call = await asked;
      assert.equal(call.body.model, "auto");
      assert.deepEqual([plain[EASY].model, plain[EASY].answers, plain[EASY].effort], ["auto", ["auto"], undefined]);
      call.go();
      await chat.shows(ANSWER);
    });

    test("an error of the provider is shown", async () => {
      plain.fail = compared(await chat.send("fail"));
      await chat.shows(REFUSAL);
    });
  });

  describe("with the extension", () => {
    let browser, chat;
    /** Origins of all that the page asked for. */
    const origins = new Set();

    before(async () => {
      browser = await startExtension(executable);
      browser.page.on("request", (request) => origins.add(new URL(request.url()).origin));
      chat = chatPage(browser.page, app.url);
      await chat.open();
      await chat.pick("auto");
    });

    after(() => browser?.close());

    test("auto leaves the page as the cheapest capable model on offer, and the answer streams into the chat", async () => {
      const asked = answering(EASY);
      const titled = provider.next(({ body, message }) => !body.stream && /title/i.test(message) && message.includes(EASY));
      const { rest, ...sent } = compared(await chat.send(EASY));
      assert.deepEqual(sent, expected(EASY));
      // Nothing else in the request is another than without the extension.
      assert.deepEqual(rest, plain[EASY].rest);
      const call = await asked;
      assert.equal(call.body.model, sent.model);
      assert.equal(call.body.reasoning_effort, sent.effort);
      await chat.shows(PIECES[0].trim());
      assert.equal((await chat.answer()).trim(), PIECES[0].trim());
      await chat.page.screenshot({ path: resultFile("openwebui-stream.png") });
      call.go();
      await chat.shows(ANSWER);
      // The server's own requests of that chat go to that model too.
      assert.equal((await titled).body.model, sent.model);
    });

    test("the service worker is killed, and the next message of the chat is routed too", async () => {
      await browser.killWorker();
      const asked = answering(HARD);
      const { rest: _rest, ...sent } = compared(await chat.send(HARD));
      assert.deepEqual(sent, expected(HARD));
      assert.notEqual(sent.model, expected(EASY).model);
      const call = await asked;
      assert.equal(call.body.model, sent.model);
      assert.deepEqual(call.body.messages.map(({ role }) => role), ["user", "assistant", "user"]);
      call.go();
      await chat.shows(ANSWER);
      // The picker still says what was asked for; the chat, read anew, who answered.
      await chat.page.reload();
      await chat.page.getByRole("button", { name: "Selected model: auto", exact: true }).waitFor();
      await chat.modelName.getByText(sent.model).waitFor();
      await chat.page.screenshot({ path: resultFile("openwebui-routed.png") });
    });

    test("the stop button ends the answer, at the provider too", async () => {
      const message = "Tell me a long story about the tide.";
      const asked = answering(message);
      await chat.send(message);
      const call = await asked;
      await chat.shows(PIECES[0].trim());
      await chat.stop.click();
      assert.equal(await call.closed, "cut");
      await chat.stop.waitFor({ state: "detached" });
      assert.equal((await chat.answer()).trim(), PIECES[0].trim());
    });

    test("an error of the provider is shown as without the extension", async () => {
      const { rest, ...sent } = compared(await chat.send("fail"));
      assert.deepEqual(sent, expected("fail"));
      assert.deepEqual(rest, plain.fail.rest);
      await chat.shows(REFUSAL);
      await chat.page.screenshot({ path: resultFile("openwebui-error.png") });
    });

    test("another model's requests are not touched", async () => {
      await chat.open();
      await chat.pick("house-model");
      const asked = answering(EASY);
      const sent = compared(await chat.send(EASY));
      assert.deepEqual([sent.model, sent.answers, sent.effort], ["house-model", ["house-model"], undefined]);
      const call = await asked;
      assert.equal(call.body.model, "house-model");
      call.go();
      await chat.shows(ANSWER);
      assert.deepEqual([...origins].filter((origin) => origin !== app.url && origin.startsWith("http")), []);
    });

    test("a model that was marked in the popup is replaced by the cheapest capable one", async () => {
      const popup = await browser.popup(app.url);
      await popup.getByText("Models that may be replaced").click();
      await popup.getByRole("checkbox", { name: "claude-opus-5-5" }).check();
      await popup.getByText("Models that may be replaced: 1 of 4").waitFor();
      await popup.screenshot({ path: resultFile("openwebui-popup.png"), fullPage: true });
      await popup.close();
      await chat.open();
      await chat.pick("claude-opus-5-5");
      const asked = answering(EASY);
      const { rest: _rest, ...sent } = compared(await chat.send(EASY));
      assert.deepEqual(sent, expected(EASY));
      const call = await asked;
      assert.equal(call.body.model, sent.model);
      call.go();
      await chat.shows(ANSWER);
    });

    test("each routed message has its receipt, and none a word of it", async () => {
      const { receipts } = await browser.kept(5);
      const { models } = router.catalog();
      const named = receipts.map(({ asked, model }) => [asked, models.find(({ id }) => id === model).base]).reverse();
      const [easy, hard] = [EASY, HARD].map((message) => expected(message).model);
      assert.deepEqual([named[0], named[1], named[4]], [[null, easy], [null, hard], ["claude-opus-5-5", easy]]);
      assert.ok(receipts.every(({ site }) => site === new URL(app.url).host));
      assert.doesNotMatch(JSON.stringify(await browser.stored()), /capital|enzyme|story/);
    });
  });
});
