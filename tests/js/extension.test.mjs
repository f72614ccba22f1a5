/** The browser extension in Chromium, on a chat page with a server of its own. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import fc from "fast-check";
import { candidates, modelNames, offeredNames } from "../../src/js/names.js";
import { root } from "../../src/js/tools/shell.mjs";
import { ADAPTERS } from "../../www/extension/adapters/index.js";
import { withMember } from "../../www/extension/json.js";
import { DEFAULTS, onSite, wants, withPolicy, withSite } from "../../www/extension/settings.js";
import { findChromium } from "./browser.mjs";
import { LONG_PAUSE, PAUSE, PIECES } from "./chat-server.mjs";
import { OFFERED, startExtension } from "./extension-chromium.mjs";

test("names that pages use are matched to the catalog's", () => {
  const model = { id: "anthropic/claude-haiku-5-5@low", base: "claude-haiku-5-5", effort: "low" };
  for (const name of ["claude-haiku-5-5", "claude-haiku-5.5", "anthropic/claude-haiku-5.5", "claude-haiku-5-5-20260901", "Claude-Haiku-5-5-latest"]) {
    assert.equal(offeredNames(["gpt-5.5", name])(model), name);
  }
  for (const name of ["claude-haiku-5", "claude-haiku-5-5-mini", "haiku"]) assert.equal(offeredNames([name])(model), undefined);
  // An exact name wins over one that merely fits.
  assert.equal(offeredNames(["other/claude-haiku-5.5", "claude-haiku-5-5"])(model), "claude-haiku-5-5");

  const all = [model, { ...model, id: "anthropic/claude-haiku-5-5@high", effort: "high" }, { id: "google/gemma", base: "gemma" }];
  assert.deepEqual([...candidates(all, ["claude-haiku-5.5", "gemma"], undefined)].map(([id, { name, effort }]) => [id, name, effort]), [
    ["anthropic/claude-haiku-5-5@low", "claude-haiku-5.5", "low"],
    ["anthropic/claude-haiku-5-5@high", "claude-haiku-5.5", "high"],
    ["google/gemma", "gemma", null],
  ]);
  // A model that takes no effort may refuse one.
  assert.deepEqual([...candidates(all, ["claude-haiku-5-5", "gemma"], "high").keys()], ["anthropic/claude-haiku-5-5@high"]);
  assert.deepEqual([...candidates(all, ["gemma"], "high").keys()], []);
});

test("a name that is another model's, or says another provider, is not a model's", () => {
  const catalog = ["local/llama-3", "cloud/llama-3", "host/gemma-4"].map((id) => ({ id, provider: id.replace(/\/.*/, ""), base: id.replace(/.*\//, "") }));
  catalog[2].base = "cloud/Gemma-4";
  catalog.push({ id: "lab/tide-2026-05-01", provider: "lab", base: "tide-2026-05-01" }, { id: "lab/tide", provider: "lab", base: "tide" });
  const ids = (...names) => [...candidates(catalog, names, undefined)].map(([id, { name }]) => [id, name]);
  assert.deepEqual(ids("cloud/llama-3"), [["cloud/llama-3", "cloud/llama-3"]]);
  assert.deepEqual(ids("Cloud/llama-3-latest"), [["cloud/llama-3", "Cloud/llama-3-latest"]]);
  assert.deepEqual(ids("gateway/cloud/llama-3"), [["cloud/llama-3", "gateway/cloud/llama-3"]]);
  // What is in front of a base may be its maker.
  assert.deepEqual(ids("cloud/gemma-4"), [["host/gemma-4", "cloud/gemma-4"]]);
  assert.deepEqual(ids("tide"), [["lab/tide", "tide"]]);
  assert.deepEqual(ids("x/tide-2026-01-01", "x/tide-2026-05-01").find(([id]) => id === "lab/tide-2026-05-01"), ["lab/tide-2026-05-01", "x/tide-2026-05-01"]);
});

test("one member of a JSON text is replaced, and no other byte", () => {
  const cases = [
    ['{ "model" : "auto", "n":1e21 }', '{ "model" : "m", "n":1e21 }'],
    ['{"a":{"model":"x"},"model":"auto","b":["model"]}', '{"a":{"model":"x"},"model":"m","b":["model"]}'],
    ['{"model":{"deep":[1,{"}":"]"}]} ,"z":0}', '{"model":"m" ,"z":0}'],
    ['{"model":"a","model":"b"}', '{"model":"a","model":"m"}'],
    ['{"mo\\u0064el":"auto"}', '{"mo\\u0064el":"m"}'],
    ['{"text":"\\"model\\":\\\\","model":12345678901234567890\n}', '{"text":"\\"model\\":\\\\","model":"m"\n}'],
    ["{}", '{"model":"m"}'],
    ['{"a":[1,2] }', '{"a":[1,2],"model":"m" }'],
  ];
  for (const [before, after] of cases) assert.equal(withMember(before, "model", "m"), after);
  fc.assert(fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.string(), fc.jsonValue(), fc.nat(3), (object, key, value, indent) => {
    const text = JSON.stringify(object, null, indent);
    const expected = { ...JSON.parse(text) };
    Object.defineProperty(expected, key, { value: JSON.parse(JSON.stringify(value)), enumerable: true, configurable: true, writable: true });
    assert.deepEqual(JSON.parse(withMember(text, key, value)), JSON.parse(JSON.stringify(expected)));
  }));
  const image = "A".repeat(3_000_000);
  assert.equal(withMember(`{"i":"${image}","model":"x"}`, "model", "m"), `{"i":"${image}","model":"m"}`);
});

/** Requests as the applications' pages send them, and what is read from each. */
const REQUESTS = [
  {
    name: "an OpenAI-compatible server", url: "https://x/v1/chat/completions", adapter: "openai",
    body: { model: "auto:0.8", stream: true, reasoning_effort: "low", messages: [{ role: "user", content: [{ type: "text", text: "hi" }, { type: "image_url", image_url: { url: "data:secret" } }] }] },
    chat: { model: "auto:0.8", pool: "/v1", effort: "low", effortField: "reasoning_effort" },
    messages: [{ role: "user", content: [{ type: "text", text: "hi" }, { type: "image_url", text: undefined }] }],
  },
  {
    name: "Open WebUI", url: "https://x/api/chat/completions", adapter: "openwebui",
    body: {
      stream: true, model: "gpt-5.5", params: { model_controls: {}, system: "Be brief." }, tool_ids: [], tool_servers: [],
      features: { image_generation: false, web_search: false }, variables: { "{{USER_NAME}}": "secret" },
      model_item: { id: "gpt-5.5", name: "gpt-5.5" }, session_id: "s", chat_id: "c", id: "m",
      message_ids: [{ model_id: "gpt-5.5", message_id: "m", modelIdx: 0 }], parent_id: null,
      user_message: { id: "u", role: "user", content: "hi", files: [{ type: "image", url: "secret" }], models: ["gpt-5.5"] },
      background_tasks: { title_generation: true },
    },
    chat: { model: "gpt-5.5", pool: "/api", effort: undefined, effortField: "reasoning_effort" },
    messages: [{ role: "system", content: "Be brief." }, { role: "user", content: [{ type: "text", text: "hi" }, { type: "image_url", text: undefined }] }],
  },
  {
    name: "Open WebUI before 0.9, and pages like it", url: "https://x/api/chat/completions", adapter: "openwebui",
    body: { stream: true, model: "gpt-5.5", messages: [{ role: "user", content: "hi" }], params: {}, model_item: { id: "gpt-5.5" }, session_id: "s", chat_id: "c", id: "m" },
    chat: { model: "gpt-5.5", pool: "/api", effort: undefined, effortField: "reasoning_effort" },
    messages: [{ role: "user", content: "hi" }],
  },
  {
    name: "Ollama", url: "http://x:11434/api/chat", adapter: "ollama",
    body: { model: "gemma3:4b", messages: [{ role: "user", content: "hi", images: ["secret"] }], format: "json", options: { num_predict: 50 } },
    chat: { model: "gemma3:4b", pool: "", effort: undefined, effortField: null },
    messages: [{ role: "user", content: [{ type: "text", text: "hi" }, { type: "image_url" }] }],
  },
  {
    name: "LibreChat", url: "https://x/api/agents/chat/openAI", adapter: "librechat",
    body: {
      text: "hi", sender: "User", clientTimestamp: "2026-11-21T00:00:00", isCreatedByUser: true, parentMessageId: "00000000-0000-0000-0000-000000000000",
      messageId: "secret", error: false, endpoint: "openAI", model: "gpt-5.5", promptPrefix: "Be brief.", conversationId: null,
      isTemporary: false, isRegenerate: false, isContinued: false, ephemeralAgent: { mcp: [], execute_code: false },
    },
    chat: { model: "gpt-5.5", pool: "openAI", effort: undefined, effortField: "reasoning_effort" },
    messages: [{ role: "system", content: "Be brief." }, { role: "user", content: "hi" }],
  },
  {
    name: "LobeChat", url: "https://x/webapi/chat/openai", adapter: "lobechat",
    body: { model: "gpt-5.5", stream: true, temperature: 1, top_p: 1, messages: [{ role: "user", content: "hi" }], enabledSearch: false },
    chat: { model: "gpt-5.5", pool: "openai", effort: undefined, effortField: "reasoning_effort" },
    messages: [{ role: "user", content: "hi" }],
  },
];

test("each adapter knows its own requests, and reads no more than routing needs", () => {
  for (const { name, url, adapter, body, chat, messages } of REQUESTS) {
    const address = new URL(url);
    assert.deepEqual(ADAPTERS.filter((one) => one.isChat(address)).map((one) => one.name), [adapter], name);
    const { request, also: _also, ...read } = ADAPTERS.find((one) => one.name === adapter).read(structuredClone(body), address);
    assert.deepEqual(read, chat, name);
    assert.deepEqual(request.messages, messages, name);
    assert.doesNotMatch(JSON.stringify(request), /secret/, name);
  }
  // An effort of null or "" is none.
  for (const { url, adapter, body } of REQUESTS.filter(({ chat: { effortField } }) => effortField)) {
    for (const reasoning_effort of [null, ""]) {
      const { read } = ADAPTERS.find((one) => one.name === adapter);
      assert.equal(read({ ...body, reasoning_effort }, new URL(url)).effort, undefined, adapter);
    }
  }
  for (const { url, adapter, body } of REQUESTS) {
    const { read } = ADAPTERS.find((one) => one.name === adapter);
    for (const odd of [null, 1, "auto", [], {}, { ...body, model: undefined }, { ...body, messages: undefined, text: undefined, user_message: undefined }]) {
      assert.equal(read(odd, new URL(url)), null);
    }
  }
  for (const url of ["https://x/v1/completions", "https://x/v1/chat/completions/abc", "https://x/api/agents/chat/stream/1", "https://x/webapi/chat"]) {
    assert.ok(!ADAPTERS.some((one) => one.isChat(new URL(url))), url);
  }
  // An agent's model is its own; the stop button's request asks for nothing.
  const libre = ADAPTERS.find(({ name }) => name === "librechat");
  const libreRequest = REQUESTS.find(({ adapter }) => adapter === "librechat");
  assert.equal(libre.read({ ...libreRequest.body, endpoint: "agents", agent_id: "a" }, new URL(libreRequest.url)), null);
  assert.equal(libre.read({ streamId: "s", conversationId: "c" }, new URL("https://x/api/agents/chat/abort")), null);
  assert.equal(libre.read({ ...libreRequest.body, endpoint: "anthropic" }, new URL("https://x/api/agents/chat/anthropic")).effortField, null);
});

test("Open WebUI: each answer names its model, of several side by side only the one that asks is changed", () => {
  const { read } = ADAPTERS.find(({ name }) => name === "openwebui");
  const url = new URL("https://x/api/chat/completions");
  const { body } = REQUESTS.find(({ adapter }) => adapter === "openwebui");
  const answers = (...models) => models.map((model_id, modelIdx) => ({ model_id, message_id: `m${modelIdx}`, modelIdx }));
  const several = read({ ...body, message_ids: answers("gpt-5.5", "auto", "auto") }, url);
  assert.equal(several.model, "auto");
  assert.equal(several.effortField, null);
  assert.deepEqual(several.also("chosen"), { model: "gpt-5.5", message_ids: answers("gpt-5.5", "chosen", "chosen") });
  assert.deepEqual(read(body, url).also("chosen"), { model: "chosen", message_ids: [{ model_id: "chosen", message_id: "m", modelIdx: 0 }] });
  // What the user has set beside the chat.
  const set = read({ ...body, params: { max_tokens: 50, reasoning_effort: "high" }, tool_ids: ["calculator"] }, url);
  assert.equal(set.effort, "high");
  assert.equal(set.request.max_tokens, 50);
  assert.equal(set.request.tools.length, 1);
  // A temporary chat sends what was said before; of a direct model the page asks the provider itself.
  const output = [{ type: "reasoning", id: "r" }, { type: "message", role: "assistant", content: [{ type: "output_text", text: "b" }] }];
  const messages = [{ id: "1", role: "user", content: "a" }, { role: "assistant", model: "auto", output }, { id: "2", role: "user", content: "c" }];
  assert.deepEqual(read({ ...body, chat_id: "temporary:s", messages }, url).request.messages,
    [{ role: "user", content: "a" }, { role: "assistant", content: "b" }, { role: "user", content: "c" }]);
  assert.equal(read({ ...body, model_item: { ...body.model_item, direct: true } }, url), null);
});

test("models are learned from each application's lists", () => {
  const learned = (url, list) => {
    const address = new URL(url);
    return ADAPTERS.filter((one) => one.isList(address)).map((one) => [one.name, one.models(list, address)]);
  };
  assert.deepEqual(learned("https://x/v1/models", { data: [{ id: "a" }, { name: "b" }, {}] }), [["openai", { "/v1": ["a", "b"] }], ["openwebui", { "/v1": ["a", "b"] }]]);
  // Open WebUI and LibreChat list at the same address; each adapter takes only its own shape.
  assert.deepEqual(learned("https://x/api/models", { data: [{ id: "a" }] }), [["openai", { "/api": ["a"] }], ["openwebui", { "/api": ["a"] }], ["librechat", {}]]);
  assert.deepEqual(learned("https://x/api/models", { openAI: ["a"], custom: ["b"] }), [["openai", { "/api": [] }], ["openwebui", { "/api": [] }], ["librechat", { openAI: ["a"], custom: ["b"] }]]);
  assert.deepEqual(learned("https://x/api/tags", { models: [{ name: "a:1b" }] }), [["ollama", { "": ["a:1b"] }]]);
  const state = { enabledAiModels: [{ id: "a", providerId: "openai", type: "chat" }, { id: "i", providerId: "openai", type: "image" }, { id: "b", providerId: "groq" }] };
  const lambda = "https://x/trpc/lambda/aiProvider.getAiProviderRuntimeState";
  assert.deepEqual(learned(`${lambda}?batch=1`, [{ result: { data: { json: state } } }]), [["lobechat", { openai: ["a"], groq: ["b"] }]]);
  assert.deepEqual(learned(lambda, { result: { data: state } }), [["lobechat", { openai: ["a"], groq: ["b"] }]]);
  assert.deepEqual(learned("https://x/trpc/lambda/a.b,aiProvider.getAiProviderRuntimeState", [{}, { result: { data: { json: state } } }]), [["lobechat", { openai: ["a"], groq: ["b"] }]]);
  assert.deepEqual(learned("https://x/webapi/models/open%20ai", [{ id: "a" }]).at(-1), ["lobechat", { "open ai": ["a"] }]);
  for (const odd of [null, "text", { error: {} }, { data: null }]) assert.deepEqual(modelNames(odd), []);
});

test("what a user sets holds on one site", () => {
  const settings = { ...DEFAULTS, ...withSite({}, "a", { privacy: "private", replaceable: ["gpt"], policy: { quality: 0.8 } }) };
  assert.equal(wants(onSite(settings, "a"), "gpt"), true);
  assert.equal(wants(onSite(settings, "b"), "gpt"), false);
  assert.equal(wants(onSite(settings, "b"), "auto:0.5"), true);
  assert.equal(wants(onSite(settings, "b"), "automatic"), false);
  assert.equal(onSite(settings, "a").private, true);
  assert.deepEqual(onSite(settings, "a").policy, { ...DEFAULTS.policy, quality: 0.8 });
  const without = withPolicy(settings, "a", { quality: null, cap_usd: 1 });
  assert.deepEqual(without.sites.a.policy, { cap_usd: 1 });
  for (const change of [{ on: false }, { privacy: "alone" }]) {
    assert.equal(wants(onSite({ ...settings, ...withSite(settings.sites, "a", change) }, "a"), "auto"), false);
  }
  assert.equal(wants(onSite({ ...settings, on: false }, "a"), "auto"), false);
});

test("a request that cannot say an effort gets only models without one", () => {
  const models = [{ id: "p/a@low", base: "a", effort: "low" }, { id: "p/b", base: "b" }];
  assert.deepEqual([...candidates(models, ["a", "b"], undefined, false).keys()], ["p/b"]);
});

const PROMPT = "Write a haiku about the tide at Wivenhoe.";

const executable = findChromium();

describe("extension in Chromium: a page's requests", { skip: executable === undefined }, () => {
  let browser, page, chat, open, send, state;

  before(async () => {
    browser = await startExtension(executable);
    ({ page, chat, open, send, state } = browser);
  });

  after(() => browser?.close());

  test("auto leaves with a model that the server offers, and streams", async () => {
    await open(OFFERED);
    await send(PROMPT);
    await state(/done after/);
    assert.equal(chat.received.length, 1);
    const [{ body, headers }] = chat.received;
    assert.ok(OFFERED.slice(0, 3).includes(body.model), body.model);
    const { reasoning_effort: _effort, ...rest } = body;
    assert.deepEqual(rest, { model: body.model, messages: [{ role: "user", content: PROMPT }], stream: true, temperature: 0.3 });
    assert.equal(headers.authorization, "Bearer secret");
    assert.equal(await page.locator("#answer").textContent(), PIECES.join(""));
    const [, pieces] = /after (\d+)/.exec(await page.locator("#state").textContent());
    assert.ok(Number(pieces) > 1, "the answer came in one piece");
  });

  test("where nothing was listed, what the site listed before is on offer; if it never did, nothing is", async () => {
    await browser.within(() => chrome.storage.local.clear());
    await open([]);
    await send(PROMPT, "auto:0.6");
    await state(/done after/);
    assert.equal(chat.received[0].body.model, "auto:0.6");
    await browser.within((sites) => chrome.storage.local.set({ sites }), { [new URL(browser.server.url).host]: { offered: OFFERED } });
    await open([]);
    await send(PROMPT, "auto:0.6");
    await state(/done after/);
    assert.ok(OFFERED.slice(0, 3).includes(chat.received[0].body.model), chat.received[0].body.model);
  });

  test("where nobody listens any more, a request leaves at once", async () => {
    await open(OFFERED);
    // This takes all listeners away. Were it waited for somebody, this test would not end in time.
    await page.evaluate(async () => {
      document.open();
      document.write("<p>anew");
      document.close();
      await fetch("/v1/chat/completions", { method: "POST", body: '{"model":"auto","messages":[]}', signal: AbortSignal.timeout(30_000) });
    });
    assert.equal(chat.received[0].body.model, "auto");
  });

  test("the prompt stays in the page's world where its model is not to be routed", async () => {
    await open(OFFERED);
    const told = await page.evaluate(async (prompt) => {
      const details = [];
      for (const name of ["ask", "decide", "used"]) document.addEventListener(`pennyroute:${name}`, ({ detail }) => details.push(detail));
      const post = (model) => fetch("/v1/chat/completions", { method: "POST", body: JSON.stringify({ model, messages: [{ role: "user", content: prompt }] }) });
      await post("gpt-x");
      const before = details.join();
      await post("auto");
      return { before, after: details.join() };
    }, PROMPT);
    assert.match(told.before, /gpt-x/);
    assert.doesNotMatch(told.before, /Wivenhoe/);
    assert.match(told.after, /Wivenhoe/);
  });

  test("an abort reaches the server in mid-stream, and before the decision keeps the call at home", async () => {
    await open(OFFERED);
    chat.pause = LONG_PAUSE;
    const closed = chat.closed();
    await send(PROMPT);
    await state(/piece 1/);
    await page.getByRole("button", { name: "Stop" }).click();
    await state("AbortError");
    assert.equal((await closed).cut, true);

    chat.pause = PAUSE;
    chat.received.length = 0;
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
    // One that is sent later arrives; the other is not there before it.
    await send("later");
    await state(/done after/);
    assert.deepEqual(chat.received.map(({ body }) => body.messages[0].content), ["later"]);
  });

  test("what does not ask for routing is not touched", async () => {
    await open(OFFERED);
    const sent = await page.evaluate(async () => {
      // Spaces and order of keys would not survive being parsed and written again.
      const body = '{ "stream":true,  "model":"gpt-x", "messages":[{"role":"user","content":"say \\"auto\\""}] }';
      await fetch("/v1/chat/completions", { method: "POST", body });
      return body;
    });
    assert.equal(chat.received[0].text, sent);
    assert.deepEqual(await page.evaluate(() => [fetch, XMLHttpRequest.prototype.open, XMLHttpRequest.prototype.send]
      .map((one) => [one.name, one.length, /native code/.test(Function.prototype.toString.call(one))])), [["fetch", 1, true], ["open", 2, true], ["send", 0, true]]);
    assert.equal(await page.evaluate(() => fetch("http://[").catch((error) => error.name)), "TypeError");
  });

  test("of a routed request only model and effort change: body to the byte, headers, and where it goes", async () => {
    await open(OFFERED);
    const body = '{ "n":12345678901234567890, "model" : "auto",\t"messages":[{"role":"user","content":"\\u0068i \\"model\\":\\"auto\\""}], "x":1e21 }';
    const headers = { "x-mine": "kept", authorization: "Bearer secret-key", "content-type": "application/json" };
    const post = (url) => page.evaluate(([to, text, sent]) => fetch(to, { method: "POST", body: text, headers: sent }).then(() => {}), [url, body, headers]);
    await post("/v1/chat/completions");
    // The same to an address that the extension does not know.
    await post("/api/chat/completions?plain");
    await browser.within(() => chrome.storage.local.set({ on: false }));
    await post("/v1/chat/completions");
    await browser.within(() => chrome.storage.local.set({ on: true }));
    const [routed, , plain] = chat.received;
    assert.equal(plain.text, body);
    const effort = routed.body.reasoning_effort;
    assert.equal(routed.text, body.replace('"model" : "auto"', `"model" : "${routed.body.model}"`)
      .replace("1e21 }", effort ? `1e21,"reasoning_effort":"${effort}" }` : "1e21 }"));
    const others = ({ rawHeaders }) => rawHeaders.filter((_, i) => rawHeaders[i - (i % 2)].toLowerCase() !== "content-length");
    assert.deepEqual(others(routed), others(plain));
    assert.equal(routed.headers.authorization, "Bearer secret-key");
  });

  test("a Request object is routed too, and a body of bytes", async () => {
    await open(OFFERED);
    await page.evaluate(async () => {
      const body = JSON.stringify({ model: "auto", messages: [{ role: "user", content: "hello" }] });
      await fetch(new Request("/v1/chat/completions", { method: "POST", headers: { "x-mine": "kept" }, body }));
      await fetch("/v1/chat/completions", { method: "POST", body: new TextEncoder().encode(body) });
      await fetch("/v1/chat/completions", { method: "POST", body: new Blob([body]) });
    });
    for (const { body } of chat.received) assert.ok(OFFERED.includes(body.model));
    assert.equal(chat.received.length, 3);
    assert.equal(chat.received[0].headers["x-mine"], "kept");
  });

  test("whatever kind a body is of, headers are as without the extension", async () => {
    await open(OFFERED);
    const post = () => page.evaluate(async () => {
      const body = JSON.stringify({ model: "auto", messages: [{ role: "user", content: "hello" }] });
      const bytes = new TextEncoder().encode(body);
      const url = "/v1/chat/completions";
      for (const kind of [body, bytes, bytes.buffer, new Blob([body]), new Blob([body], { type: "application/json" })]) {
        await fetch(url, { method: "POST", body: kind });
        await fetch(new Request(url, { method: "POST", body: kind, referrer: "/elsewhere" }));
        await fetch(new Request(url, { method: "POST", body: kind, referrerPolicy: "no-referrer" }));
        await new Promise((resolve) => {
          const request = new XMLHttpRequest();
          request.onloadend = resolve;
          request.open("POST", url);
          request.send(kind);
        });
      }
    });
    await post();
    const routed = chat.received.splice(0);
    await browser.within(() => chrome.storage.local.set({ on: false }));
    await post();
    await browser.within(() => chrome.storage.local.set({ on: true }));
    const others = ({ headers: { "content-length": _length, ...rest } }) => rest;
    assert.equal(routed.length, 20);
    for (const [i, call] of routed.entries()) {
      assert.notEqual(call.body.model, "auto");
      assert.equal(chat.received[i].body.model, "auto");
      assert.deepEqual(others(call), others(chat.received[i]), `request ${i}`);
    }
    assert.match(routed[1].headers.referer, /elsewhere$/);
  });

  test("errors of the server pass through", async () => {
    await open(OFFERED);
    await send("fail");
    await state("error 429");
    assert.equal(chat.received.length, 1);
  });

  test("with no model to choose, the request leaves unchanged", async () => {
    await open(["nobody-knows-this-one"]);
    await send(PROMPT);
    await state(/done after/);
    assert.equal(chat.received[0].body.model, "auto");
  });

  /** Sends by XMLHttpRequest; resolves with the events that the page saw and what came back. */
  const xhr = (body, { url = "/v1/chat/completions", abort = "" } = {}) => page.evaluate(([to, text, when]) => new Promise((resolve) => {
    const request = new XMLHttpRequest();
    const events = [];
    for (const type of ["loadstart", "progress", "load", "abort", "error", "loadend"]) {
      request.addEventListener(type, () => {
        if (events.at(-1) !== type) events.push(type);
        if (type === "progress" && when === "stream") request.abort();
        if (type === "loadend") resolve({ events, status: request.status, text: request.responseText, state: request.readyState });
      });
    }
    request.open("POST", to);
    request.setRequestHeader("x-mine", "kept");
    request.send(text);
    try {
      request.send(text);
    } catch (error) {
      events.push(error.name);
    }
    try {
      request.setRequestHeader("x-late", "1");
    } catch (error) {
      events.push(error.name);
    }
    if (when === "at once") request.abort();
  }), [url, body, abort]);
  const AUTO = JSON.stringify({ model: "auto", messages: [{ role: "user", content: PROMPT }], stream: true });

  test("XMLHttpRequest is routed, streams, stops and fails as before", async () => {
    await open(OFFERED);
    const { events, status, text } = await xhr(AUTO);
    assert.deepEqual(events, ["InvalidStateError", "InvalidStateError", "loadstart", "progress", "load", "loadend"]);
    assert.equal(status, 200);
    assert.match(text, /\[DONE\]/);
    assert.ok(OFFERED.includes(chat.received[0].body.model), chat.received[0].body.model);
    assert.equal(chat.received[0].headers["x-mine"], "kept");

    // In mid-stream the server hears of it; before the decision nothing leaves.
    chat.pause = LONG_PAUSE;
    const closed = chat.closed();
    assert.deepEqual((await xhr(AUTO, { abort: "stream" })).events, ["InvalidStateError", "InvalidStateError", "loadstart", "progress", "abort", "loadend"]);
    assert.equal((await closed).cut, true);
    chat.pause = PAUSE;
    chat.received.length = 0;
    assert.deepEqual((await xhr(AUTO, { abort: "at once" })).events, ["InvalidStateError", "InvalidStateError", "abort", "loadend"]);
    assert.equal((await xhr(AUTO.replace(PROMPT, "fail"))).status, 429);
    assert.deepEqual(chat.received.map(({ body }) => body.messages[0].content), ["fail"]);
    // Another model's request goes out at once, to the byte.
    await xhr('{ "model": "gpt-x", "messages": [] }');
    assert.equal(chat.received.at(-1).text, '{ "model": "gpt-x", "messages": [] }');
    // A synchronous one cannot wait; `undefined` for a third argument makes it one.
    for (const async of [false, undefined]) {
      const { length } = chat.received;
      await page.evaluate(([body, third]) => {
        const request = new XMLHttpRequest();
        request.open("POST", "/v1/chat/completions", third);
        request.send(body);
      }, [AUTO, async]);
      assert.equal(chat.received.length, length + 1);
      assert.equal(chat.received.at(-1).body.model, "auto");
    }
  });

  test("an XMLHttpRequest that is aborted while it waits is as one that the browser aborted, and can be used again", async () => {
    await open(OFFERED);
    /** The states that a page sees, when `send` reaches the browser at once and when it waits for a decision. */
    const states = (model) => page.evaluate(async ([text, asked]) => {
      const request = new XMLHttpRequest();
      const seen = [];
      const refused = (call) => {
        try {
          call();
        } catch (error) {
          seen.push(error.name);
        }
      };
      for (const type of ["readystatechange", "abort", "loadend"]) request.addEventListener(type, () => seen.push(type, request.readyState));
      request.open("POST", "/v1/chat/completions");
      request.send(text.replace("auto", asked));
      refused(() => request.send("again"));
      request.abort();
      seen.push(request.readyState);
      refused(() => request.send("again"));
      refused(() => request.setRequestHeader("x-late", "1"));
      request.abort();
      const listed = new Promise((resolve) => request.addEventListener("loadend", resolve));
      request.open("GET", "/v1/models");
      seen.push(request.readyState);
      request.send();
      await listed;
      return [...seen, request.status];
    }, [AUTO, model]);
    // To an address that is none of a chat, the browser's own.
    const native = await page.evaluate(() => {
      const request = new XMLHttpRequest();
      const seen = [];
      for (const type of ["readystatechange", "abort", "loadend"]) request.addEventListener(type, () => seen.push(type, request.readyState));
      request.open("POST", "/nothing");
      request.send("x");
      request.abort();
      return [...seen, request.readyState];
    });
    assert.deepEqual(native, ["readystatechange", 1, "readystatechange", 4, "abort", 4, "loadend", 4, 0]);
    const refused = "InvalidStateError";
    assert.deepEqual(await states("auto"), [
      "readystatechange", 1, refused, ...native.slice(2), refused, refused,
      "readystatechange", 1, 1, "readystatechange", 2, "readystatechange", 3, "readystatechange", 4, "loadend", 4, 200,
    ]);

    // A list that was read by an object which then asks for something else is not read again.
    const offers = await page.evaluate(async (body) => {
      const told = [];
      document.addEventListener("pennyroute:offers", ({ detail }) => told.push(detail));
      const request = new XMLHttpRequest();
      for (const [method, url, data] of [["GET", "/v1/models"], ["POST", "/v1/chat/completions", body], ["GET", "/api/tags"]]) {
        await new Promise((resolve) => {
          request.onloadend = resolve;
          request.open(method, url);
          request.send(data);
        });
      }
      return told.length;
    }, AUTO);
    assert.equal(offers, 2);
  });

  test("axios, as LibreChat's page uses it: routed, streamed, cancelled, refused as before", async () => {
    await open([]);
    Object.assign(chat, { models: ["gpt-5.4-nano", "gpt-5.4-mini"], shape: "librechat" });
    await page.addScriptTag({ content: await readFile(join(root, "node_modules/axios/dist/axios.min.js"), "utf8") });
    const told = await page.evaluate(async (prompt) => {
      const { axios } = globalThis;
      const post = (text, options) => axios.post("/api/agents/chat/openAI", { text, endpoint: "openAI", model: "auto" }, { headers: { authorization: "Bearer secret" }, ...options });
      const list = await axios.get("/api/models");
      let pieces = 0;
      const answer = await post(prompt, { onDownloadProgress: () => (pieces += 1) });
      const early = new AbortController();
      const cancelled = post(prompt, { signal: early.signal }).catch((error) => error.code);
      early.abort();
      const late = new AbortController();
      const stopped = post(prompt, { signal: late.signal, onDownloadProgress: () => late.abort() }).catch((error) => error.code);
      return {
        list: Object.keys(list.data), status: answer.status, text: answer.data, pieces,
        cancelled: await cancelled, stopped: await stopped, refused: await post("fail").catch((error) => [error.response.status, error.response.headers["retry-after"]]),
      };
    }, PROMPT);
    chat.shape = "openai";
    assert.deepEqual({ ...told, text: "", pieces: 0 }, {
      list: ["initial", "openAI", "anthropic", "assistants"], status: 200, text: "", pieces: 0,
      cancelled: "ERR_CANCELED", stopped: "ERR_CANCELED", refused: [429, "7"],
    });
    assert.ok(told.pieces > 1 && told.text.endsWith("data: [DONE]\n\n"), "not streamed");
    assert.deepEqual(chat.received.map(({ body }) => body.text), [PROMPT, PROMPT, "fail"], "the one that was cancelled early never left");
    for (const { body, headers } of chat.received) {
      assert.ok(body.model.startsWith("gpt-5.4-"), body.model);
      assert.equal(headers.authorization, "Bearer secret");
    }
  });

  test("Open WebUI, LibreChat and LobeChat: lists are learned and requests routed, each by its adapter", async () => {
    const applications = [
      { shape: "openai", list: "/api/models", chat: "/api/chat/completions", extra: { messages: [{ role: "user", content: PROMPT }], model_item: { id: "auto" } } },
      { shape: "librechat", list: "/api/models", chat: "/api/agents/chat/openAI", extra: { text: PROMPT, endpoint: "openAI" } },
      { shape: "lobechat", list: "/trpc/lambda/user.getUserState,aiProvider.getAiProviderRuntimeState", chat: "/webapi/chat/openai", extra: { messages: [{ role: "user", content: PROMPT }] } },
    ];
    const names = ["gpt-5.4-nano", "gpt-5.4-mini", "gpt-5.4"];
    for (const { shape, list, chat: url, extra } of applications) {
      await open([]);
      Object.assign(chat, { models: names, shape });
      // axios lists and sends by XMLHttpRequest; what was learned so is good for fetch, and the other way round.
      await page.evaluate((to) => new Promise((resolve) => {
        const request = new XMLHttpRequest();
        request.onloadend = resolve;
        request.open("GET", to);
        request.send();
      }), list);
      const body = JSON.stringify({ model: "auto", ...extra });
      await page.evaluate(([to, text]) => fetch(to, { method: "POST", body: text }).then(() => {}), [url, body]);
      await page.evaluate((to) => fetch(to).then((response) => response.json()).then(() => {}), list);
      await xhr(body, { url });
      assert.equal(chat.received.length, 2);
      for (const { body: sent, path } of chat.received) {
        assert.ok(names.includes(sent.model), `${path}: ${sent.model}`);
        const { reasoning_effort: _effort, model: _model, ...rest } = sent;
        assert.deepEqual(rest, extra);
      }
    }
    chat.shape = "openai";
    // Ollama's models are in no catalog; its requests are seen, and leave as they are.
    await open([]);
    chat.models = ["gemma3:4b"];
    await page.evaluate(async () => {
      await fetch("/api/tags").then((response) => response.json());
      await fetch("/api/chat", { method: "POST", body: '{"model":"auto","messages":[]}' });
    });
    assert.equal(chat.received[0].text, '{"model":"auto","messages":[]}');
  });

  test("nothing is sent anywhere but what the page sends", async () => {
    const elsewhere = [];
    const watch = (request) => {
      const { protocol, origin } = new URL(request.url());
      if (protocol.startsWith("http") && origin !== browser.server.url) elsewhere.push(request.url());
    };
    browser.context.on("request", watch);
    await open(OFFERED);
    chat.asked.length = 0;
    await send(PROMPT);
    await state(/done after/);
    const popup = await browser.popup();
    await popup.locator("#quality:not(:disabled)").waitFor();
    await popup.close();
    browser.context.off("request", watch);
    assert.deepEqual(elsewhere, []);
    assert.deepEqual(chat.asked.filter((path) => path !== "/favicon.ico"), ["/v1/chat/completions"]);
    assert.doesNotMatch(JSON.stringify(await browser.stored()), /Wivenhoe|secret/);
  });
});
