// What the worker knows of prompt caches: its bookkeeping by itself, with the clock in hand, and then
// in a real workerd.

import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { simulatedProviders, startGateway } from "../../src/js/tools/gateway.mjs";
import { root } from "../../src/js/tools/shell.mjs";
import { openSession } from "../../worker/sessions.js";
import { startSimulator } from "../../worker/simulator.mjs";

const MINUTE = 60_000;
const START = Date.UTC(2026, 10, 20, 12);
const SYSTEM = { role: "system", content: "Answer as a librarian would. ".repeat(300) };
const user = (content) => ({ role: "user", content });
const assistant = (content) => ({ role: "assistant", content });

const model = (provider, base) => ({ provider, base });
const models = new Map([
  ["openai/a", model("openai", "a")],
  ["openai/a@low", model("openai", "a")],
  ["openai/b", model("openai", "b")],
  ["anthropic/c", model("anthropic", "c")],
  ["deepseek/d", model("deepseek", "d")],
  ["google/g", model("google", "g")],
]);

let tenants = 0;
/** A client that nobody knows yet. */
function newClient() {
  const tenant = `tenant ${tenants++}`;
  return (messages, { ctx, open = openSession, name, ...more } = {}) => open({ tenant, key: "key", name, models, body: { messages, ...more } }, ctx);
}

const usage = (prompt_tokens, details = {}) => ({ prompt_tokens, prompt_tokens_details: details });
const CONVERSATION = [SYSTEM, user("Who wrote it?"), assistant("A friend of hers."), user("When? ".repeat(500))];
const LONGER = [...CONVERSATION, assistant("In May."), user("Of which year?")];

describe("what is warm", () => {
  test("the next turn, at the model that answered and its other efforts", async () => {
    const open = newClient();
    const first = await open(CONVERSATION);
    assert.deepEqual(first.warm(START), {});
    first.answered("openai/a@low", usage(3000), START);
    assert.deepEqual((await open(LONGER)).warm(START + MINUTE), { "openai/a": 3000, "openai/a@low": 3000 });
  });

  test("every model that answered, each up to where it was asked", async () => {
    const open = newClient();
    (await open(CONVERSATION)).answered("openai/a", usage(3000), START);
    (await open(LONGER)).answered("openai/b", usage(3400), START + MINUTE);
    const last = await open([...LONGER, assistant("1871."), user("Thanks.")]);
    assert.deepEqual(last.warm(START + 2 * MINUTE), { "openai/a": 3000, "openai/a@low": 3000, "openai/b": 3400 });
  });

  test("of an edited conversation, what it has in common with the old one", async () => {
    const open = newClient();
    (await open(LONGER)).answered("openai/a", usage(4000), START);
    const warm = async (messages, more) => (await open(messages, more)).warm(START + 1)["openai/a"];
    const edited = await warm([...CONVERSATION.slice(0, 3), user("Why?")]);
    assert.ok(edited > 2000 && edited < 3500, `${edited}`);
    assert.equal(await warm([{ ...SYSTEM, content: `Now: ${SYSTEM.content}` }, ...LONGER.slice(1)]), undefined);
    assert.equal(await warm(LONGER, { tools: [{ type: "function", function: { name: "search" } }] }), undefined);
    assert.equal(await warm(LONGER, { response_format: { type: "json_object" } }), undefined);
  });

  test("a system prompt that another conversation has sent", async () => {
    const open = newClient();
    (await open([SYSTEM, user("One.")])).answered("openai/a", usage(1800), START);
    const tokens = (await open([SYSTEM, user("Another.")])).warm(START + 1)["openai/a"];
    assert.ok(tokens > 1700 && tokens < 1800, `${tokens}`);
  });

  test("for the time, and from the length on, that the provider keeps", async () => {
    for (const [id, minutes, tokens] of [["openai/a", 5, 3000], ["google/g", 3, 5000], ["deepseek/d", 120, 3000]]) {
      const open = newClient();
      (await open(CONVERSATION)).answered(id, usage(tokens), START);
      const next = await open(LONGER);
      assert.equal(next.warm(START + minutes * MINUTE - 1)[id], tokens);
      assert.equal(next.warm(START + minutes * MINUTE)[id], undefined);
    }
    const open = newClient();
    (await open(CONVERSATION)).answered("openai/a", usage(1023), START);
    (await open(CONVERSATION)).answered("google/g", usage(4095), START);
    assert.deepEqual((await open(LONGER)).warm(START), {});
  });

  test("every turn renews it", async () => {
    const open = newClient();
    (await open(CONVERSATION)).answered("openai/a", usage(3000), START);
    (await open(LONGER)).answered("openai/a", usage(3400), START + 4 * MINUTE);
    assert.equal((await open(CONVERSATION)).warm(START + 8 * MINUTE)["openai/a"] > 2500, true);
  });

  test("where the provider keeps what is marked: what it says it kept, wherever the marks are next", async () => {
    const open = newClient();
    (await open(CONVERSATION)).answered("anthropic/c", usage(3000), START);
    assert.deepEqual((await open(LONGER)).warm(START), {});
    const marked = { ...SYSTEM, content: [{ type: "text", text: SYSTEM.content, cache_control: { type: "ephemeral" } }] };
    const plain = { ...SYSTEM, content: [{ type: "text", text: SYSTEM.content }] };
    (await open([marked, user("Who?")])).answered("anthropic/c", usage(2200, { cached_tokens: 500, cache_creation_tokens: 1400 }), START);
    const next = [plain, user("Who?"), assistant("She."), { role: "user", content: [{ type: "text", text: "When?", cache_control: { type: "ephemeral" } }] }];
    assert.equal((await open(next)).warm(START)["anthropic/c"], 1900);
  });

  test("nothing of another client's", async () => {
    (await newClient()(CONVERSATION)).answered("openai/a", usage(3000), START);
    assert.deepEqual((await newClient()(LONGER)).warm(START), {});
    const body = { messages: CONVERSATION };
    (await openSession({ tenant: "same", key: "one", body, models })).answered("openai/a", usage(3000), START);
    assert.deepEqual((await openSession({ tenant: "same", key: "two", body, models })).warm(START), {});
  });

  test("bodies and usage of any kind do no harm", async () => {
    const open = newClient();
    for (const messages of [undefined, null, "text", [], [null], [5, "x", { role: "user" }]]) {
      const session = await open(messages);
      for (const bad of [undefined, {}, usage(-1), usage(1.5), usage("9"), usage(0)]) session.answered("openai/a", bad, START);
      session.answered("nobody/nothing", usage(3000), START);
      assert.deepEqual(session.warm(START), {});
    }
  });
});

describe("what a call is worth to the next one", () => {
  /** Conversations of so many turns, a minute apart. */
  async function talk(open, conversations, turns) {
    for (let c = 0; c < conversations; c++) {
      const messages = [SYSTEM, user(`Conversation ${c}.`)];
      for (let t = 0; t < turns; t++) {
        (await open(messages)).answered("openai/a", usage(2000 + 10 * t), START + (c * turns + t) * MINUTE);
        messages.push(assistant("So."), user(`Turn ${t}?`));
      }
    }
  }

  test("nothing to single calls, most of it in long conversations, less in short ones", async () => {
    const [single, short, long] = [newClient(), newClient(), newClient()];
    await talk(single, 40, 1);
    await talk(short, 20, 2);
    await talk(long, 4, 20);
    const share = async (open) => (await open([SYSTEM, user("A new one."), assistant("Yes?"), user("Well.")])).reuse()["openai/b"] ?? 0;
    const [ofSingle, ofShort, ofLong] = [await share(single), await share(short), await share(long)];
    assert.equal(ofSingle, 0);
    assert.equal(ofShort, 0);
    assert.ok(ofLong > 0.6 && ofLong < 0.8, `${ofLong}`);
    assert.ok((await short([SYSTEM, user("A first turn.")])).reuse()["openai/b"] > 0.5);
  });

  test("nothing where the provider keeps nothing", async () => {
    const open = newClient();
    await talk(open, 4, 20);
    const next = [SYSTEM, user("First.")];
    const reuse = (await open(next)).reuse();
    assert.ok(reuse["openai/a"] > 0);
    assert.equal(reuse["anthropic/c"], undefined, "it is not marked");
    assert.equal(reuse["google/g"], undefined, "it is too short");
    assert.ok((await open(next, { cache_control: { type: "ephemeral" } })).reuse()["anthropic/c"] > 0);
    assert.deepEqual((await open([user("Hi.")])).reuse(), {});
  });

  test("turns that come too late do not count", async () => {
    const open = newClient();
    for (let c = 0; c < 10; c++) {
      const messages = [SYSTEM, user(`Conversation ${c}.`)];
      (await open(messages)).answered("openai/a", usage(2000), START);
      (await open([...messages, assistant("So."), user("Now?")])).answered("openai/a", usage(2010), START + 60 * MINUTE);
    }
    assert.deepEqual((await open([SYSTEM, user("First.")])).reuse(), {});
  });
});

describe("shared between isolates", () => {
  const kept = new Map();
  const stored = [];
  const stand = {
    match: async (url) => kept.get(url)?.clone(),
    put: async (url, response) => {
      stored.push(url, await response.clone().text());
      kept.set(url, response);
    },
  };
  after(() => delete globalThis.caches);
  const writes = [];
  const ctx = { waitUntil: (work) => writes.push(work) };

  test("a later turn finds what another isolate knows, under the conversation's name", async () => {
    globalThis.caches = { default: stand };
    const other = (await import("../../worker/sessions.js?another-isolate")).openSession;
    const open = newClient();
    for (const name of [undefined, "my conversation"]) {
      const conversation = [SYSTEM, user(`Call it ${name}.`), ...CONVERSATION.slice(2)];
      const session = await open(conversation, { ctx, name });
      session.answered("openai/a", usage(3000), START);
      await Promise.all(writes);
      const next = [...conversation, assistant("In May."), user("Of which year?")];
      assert.equal((await open(next, { open: other, name })).warm(START + 1)["openai/a"], 3000);
      assert.equal((await open(next, { name })).id, session.id);
    }
  });

  test("no text of a prompt, no key and no name is in what is stored", () => {
    assert.ok(stored.length >= 4);
    for (const text of stored) assert.doesNotMatch(text, /librarian|friend|When|tenant|"key"|my conversation|Call it/);
  });

  test("a cache that fails, or holds nonsense, is as none", async () => {
    const open = newClient();
    globalThis.caches = { default: { match: () => Promise.reject(new Error("down")), put: () => Promise.reject(new Error("down")) } };
    (await open(CONVERSATION, { ctx })).answered("openai/a", usage(3000), START);
    assert.equal((await open(LONGER)).warm(START)["openai/a"], 3000);
    await Promise.all(writes);
    globalThis.caches = { default: { match: async () => Response.json([["x", null], 5]), put: async () => {} } };
    assert.deepEqual((await newClient()(LONGER)).warm(START), {});
  });
});

describe("in workerd", () => {
  test("a gateway that starts anew finds the conversation in the Cache API, and no text in it", async () => {
    const catalog = JSON.parse(readFileSync(join(root, "models", "catalog.json"), "utf8"));
    const cache = mkdtempSync(join(tmpdir(), "sessions-"));
    const simulator = await startSimulator({ latencyMs: 1, chunkMs: 0 });
    const vars = simulatedProviders(catalog, simulator.url);
    const served = "openai/gpt-4.1-mini";
    const first = [user("Summarise this. ".repeat(400))];
    const next = [...first, assistant("Done."), user("Shorter.")];
    /** @param {(ask: (path: string, body: object) => Promise<any>) => Promise<void>} work */
    const withGateway = async (work) => {
      const gateway = await startGateway({ vars, cache });
      await work(async (path, body) => (await fetch(gateway.url + path, { method: "POST", body: JSON.stringify({ model: served, ...body }) })).json());
      await gateway.close();
    };
    try {
      let cold;
      await withGateway(async (ask) => {
        cold = (await ask("/v1/route", { messages: next })).cost_usd.estimate;
        await ask("/v1/chat/completions", { messages: first });
        const warm = (await ask("/v1/route", { messages: next })).cost_usd.estimate;
        assert.ok(warm < cold, `${warm} < ${cold}`);
        // What is shared is written after the answer.
        for (let i = 0; i < 100 && readdirSync(cache, { recursive: true }).length < 3; i++) await sleep(20);
        await sleep(100);
      });
      await withGateway(async (ask) => {
        const warm = (await ask("/v1/route", { messages: next })).cost_usd.estimate;
        assert.ok(warm < cold, `${warm} < ${cold}`);
      });
      const files = readdirSync(cache, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
      assert.ok(files.length > 0);
      for (const { path, name } of files) assert.ok(!readFileSync(join(path, name)).includes("Summarise"));
    } finally {
      await simulator.close();
      rmSync(cache, { recursive: true, force: true });
    }
  });
});
