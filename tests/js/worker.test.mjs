// The gateway in a real workerd before simulated providers: every route, OpenAI's own client, and
// what happens when providers fail.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import OpenAI from "openai";
import { simulatedProviders, startGateway } from "../../src/js/tools/gateway.mjs";
import { root } from "../../src/js/tools/shell.mjs";
import { startSimulator } from "../../worker/simulator.mjs";

const CLIENT_KEY = "client-key-2";
const SITE = "https://app.example";
const MESSAGES = [{ role: "user", content: "Why is the sky blue?" }];
/** Long enough for a busy machine, short enough to wait for. */
const LIMIT_MS = 800;

const hashed = (key) => ({ sha256: createHash("sha256").update(key).digest("hex") });
const KEYS = {
  one: hashed("client-key-1"),
  two: hashed(CLIENT_KEY),
  narrow: { ...hashed("client-key-narrow"), route: { allow: ["openai/*"], cap_usd: 0.01 } },
};
const catalog = JSON.parse(readFileSync(join(root, "models", "catalog.json"), "utf8"));
const byId = new Map(catalog.models.map((model) => [model.id, model]));

let simulator;
let gateway;
let openai;
let key;
/** Everything that any client was sent, for the search for keys at the end. */
let received = "";

before(async () => {
  simulator = await startSimulator({ latencyMs: 1, chunkMs: 0 });
  const vars = simulatedProviders(catalog, simulator.url);
  key = vars.SIMULATED_KEY;
  gateway = await startGateway({
    vars: {
      ...vars,
      POLICY: { format: 1, version: "test", tenants: { default: { keys: KEYS, groups: { careful: { quality: 0.9 } } } } },
      CORS_ORIGINS: [SITE],
      MAX_BODY_BYTES: 100_000,
      FIRST_BYTE_MS: LIMIT_MS,
      REPLY_MS: LIMIT_MS,
      IDLE_MS: LIMIT_MS,
    },
    onOutput: (text) => (received += text),
  });
  openai = new OpenAI({ apiKey: CLIENT_KEY, baseURL: `${gateway.url}/v1`, maxRetries: 0, fetch: recorded });
});

after(async () => {
  await gateway?.close();
  await simulator?.close();
});

async function recorded(url, init) {
  const response = await fetch(url, init);
  received += JSON.stringify([...response.headers]);
  const [copy, kept] = response.body?.tee() ?? [];
  (async () => {
    for await (const chunk of kept ?? []) received += Buffer.from(chunk).toString();
  })().catch(() => {});
  return new Response(copy, response);
}

const authorization = `Bearer ${CLIENT_KEY}`;

function call(path, { headers, ...init } = {}) {
  return recorded(gateway.url + path, { ...init, headers: { authorization, ...headers } });
}

async function post(path, body, headers = {}) {
  const response = await call(path, { method: "POST", body: typeof body === "string" ? body : JSON.stringify(body), headers });
  const text = await response.text();
  return { status: response.status, headers: response.headers, text, json: text.startsWith("{") ? JSON.parse(text) : undefined };
}

const anyChat = (more = {}, headers = {}) => post("/v1/chat/completions", { model: "auto", messages: MESSAGES, ...more }, headers);
const chat = anyChat;
const decide = async (more = {}) => (await post("/v1/route", { messages: MESSAGES, ...more })).json;

/** The data of a stream's events. */
const events = (text) => [...text.matchAll(/^data: (.*)$/gm)].map(([, data]) => (data === "[DONE]" ? data : JSON.parse(data)));
const contentOf = (chunks) => chunks.map((chunk) => chunk.choices?.[0]?.delta?.content ?? "").join("");

/** What the simulator calls a model of the catalog. */
const upstream = (id) => byId.get(id).base;

function assertError({ status, json }, expected, code, param) {
  assert.equal(status, expected);
  assert.deepEqual(Object.keys(json), ["error"]);
  assert.deepEqual(Object.keys(json.error).sort(), ["code", "message", "param", "type"]);
  assert.equal(json.error.code, code);
  assert.ok(json.error.message.length > 10 && json.error.type.length > 0);
  if (param !== undefined) assert.equal(json.error.param, param);
}

/** A bare connection, for what fetch does not do. */
async function connected() {
  const socket = connect(Number(new URL(gateway.url).port), "127.0.0.1");
  await once(socket, "connect");
  return socket;
}

async function until(condition) {
  for (let i = 0; i < 200 && !condition(); i++) await sleep(10);
  assert.ok(condition());
}

describe("routes", () => {
  test("/healthz stands open and names the artifacts", async () => {
    const response = await recorded(`${gateway.url}/healthz`);
    const health = await response.json();
    assert.equal(response.status, 200);
    assert.equal(health.status, "ok");
    assert.equal(health.versions.catalog, catalog.version);
    assert.equal((await recorded(`${gateway.url}/healthz`, { method: "HEAD" })).status, 200);
  });

  test("/v1/models lists auto and what can be chosen", async () => {
    const page = await openai.models.list();
    assert.equal(page.data[0].id, "auto");
    assert.ok(page.data.length > 1);
    for (const { id, object, created } of page.data) {
      assert.equal(object, "model");
      assert.ok(Number.isInteger(created));
      if (id !== "auto") assert.ok(byId.get(id).ability && byId.get(id).cost && !byId.get(id).unroutable, id);
    }
    const { id } = page.data[1];
    assert.equal((await openai.models.retrieve(id)).id, id);
    await assert.rejects(openai.models.retrieve("nobody/nothing"), OpenAI.NotFoundError);
    const garbled = await call("/v1/models/%E0%A4%A");
    assertError({ status: garbled.status, json: await garbled.json() }, 404, "model_not_found");
  });

  test("/v1/route decides and calls nobody", async () => {
    const calls = simulator.calls.length;
    const { status, headers, json } = await post("/v1/route", { messages: MESSAGES, quality: 0.8 });
    assert.equal(status, 200);
    assert.ok(byId.has(json.model));
    assert.equal(json.target.quality, 0.8);
    assert.match(json.id, /^[0-9a-f-]{36}$/);
    assert.equal(headers.get("x-pennyroute-model"), json.model);
    assert.equal(simulator.calls.length, calls);
  });

  test("policy comes in the body, in `pennyroute` or in headers, and the body wins", async () => {
    assert.equal((await post("/v1/route", { prompt: "x", pennyroute: { quality: 0.6 } })).json.target.quality, 0.6);
    assert.equal((await post("/v1/route", { prompt: "x" }, { "x-pennyroute-quality": "0.7" })).json.target.quality, 0.7);
    assert.equal((await post("/v1/route", { prompt: "x", pennyroute: { quality: 0.6 } }, { "x-pennyroute-quality": "0.7" })).json.target.quality, 0.6);
    assert.equal((await post("/v1/route", { prompt: "x", model: "auto:0.55" })).json.target.quality, 0.55);
    const { provider } = byId.get((await decide()).model);
    const denied = await post("/v1/route", { prompt: "x" }, { "x-pennyroute-deny": `${provider}/*, nobody/*` });
    assert.ok(denied.json.excluded.some(({ model, code }) => byId.get(model).provider === provider && code === "not_allowed"));
    assert.notEqual(byId.get(denied.json.model)?.provider, provider);
  });

  test("no candidate is a decision on /v1/route, and 503 with reasons for a completion", async () => {
    const { status, json } = await post("/v1/route", { prompt: "x", allow: ["nobody/*"] });
    assert.equal(status, 200);
    assert.equal(json.model, null);
    assert.equal(json.code, "no_candidate");
    const failed = await chat({ pennyroute: { cap_usd: 1e-12 } });
    assertError(failed, 503, "no_candidate");
    assert.match(failed.json.error.message, /\(over cap\)/);
    assert.equal(failed.headers.get("x-should-retry"), "false");
  });

  test("a dry run decides as the completion would, and calls nobody", async () => {
    const calls = simulator.calls.length;
    for (const { status, json } of [await chat({ pennyroute: { dry_run: true } }), await chat({}, { "x-pennyroute-dry-run": "true" })]) {
      assert.equal(status, 200);
      assert.equal(json.model, (await decide()).model);
    }
    assert.equal(simulator.calls.length, calls);
  });
});

describe("completions", () => {
  test("OpenAI's client, plain", async () => {
    const { data, response } = await openai.chat.completions.create({ model: "auto", messages: MESSAGES, temperature: 0.3 }).withResponse();
    const { model } = await decide();
    assert.equal(data.model, model);
    assert.match(data.choices[0].message.content, /simulated answer from/);
    assert.ok(data.usage.prompt_tokens > 0 && data.usage.completion_tokens > 0);
    for (const name of ["id", "model", "code", "quality", "cost-usd", "saving-usd", "catalog"]) {
      assert.match(response.headers.get(`x-pennyroute-${name}`) ?? "", /^[\x21-\x7e]+$/, name);
    }
    assert.equal(response.headers.get("x-pennyroute-model"), model);
    const { path, headers, body } = simulator.calls.at(-1);
    assert.match(path, new RegExp(`^/${byId.get(model).provider}/v1/`));
    assert.equal(headers.authorization, `Bearer ${key}`);
    assert.equal(body.model, upstream(model));
    assert.equal(body.temperature, 0.3);
    assert.equal(body.reasoning_effort, byId.get(model).effort ?? undefined);
  });

  test("OpenAI's client, streaming, with usage", async () => {
    const stream = await openai.chat.completions.create({ model: "auto:0.7", messages: MESSAGES, stream: true, stream_options: { include_usage: true } });
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    const { model } = await decide({ quality: 0.7 });
    assert.ok(chunks.every((chunk) => chunk.model === model));
    assert.match(contentOf(chunks), /simulated answer from/);
    assert.ok(chunks.at(-1).usage.completion_tokens > 0);
    assert.deepEqual(chunks.at(-1).choices, []);
  });

  test("a stream ends with [DONE], and tells usage only when asked", async () => {
    for (const more of [{}, { pennyroute: { session: "usage" } }]) {
      const { headers, text } = await chat({ stream: true, ...more });
      assert.match(headers.get("content-type"), /^text\/event-stream/);
      const sent = events(text);
      assert.equal(sent.pop(), "[DONE]");
      assert.ok(sent.every((chunk) => chunk.choices.length === 1));
    }
  });

  test("tools and unknown fields reach the provider, `pennyroute` does not", async () => {
    const tools = [{ type: "function", function: { name: "weather", description: "Weather of a town", parameters: { type: "object", properties: { town: { type: "string" } } } } }];
    const given = { tools, tool_choice: "auto", parallel_tool_calls: false, seed: 7, vendor_field: { deep: [1, null, "ü"] } };
    const plain = await openai.chat.completions.create({ model: "auto", messages: MESSAGES, ...given, pennyroute: { quality: 0.7 } });
    assert.equal(plain.choices[0].message.tool_calls[0].function.name, "weather");
    assert.equal(byId.get(plain.model).tool_call, true);
    const { body } = simulator.calls.at(-1);
    for (const [name, value] of Object.entries(given)) assert.deepEqual(body[name], value, name);
    assert.equal(body.pennyroute, undefined);
    const stream = await openai.chat.completions.create({ model: "auto", messages: MESSAGES, tools, stream: true });
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    assert.ok(chunks.some((chunk) => chunk.choices[0]?.delta.tool_calls?.[0].function.name === "weather"));
  });

  test("a named model is used as it is, effort and all", async () => {
    const { data } = await openai.models.list();
    const model = byId.get((data.find(({ id }) => byId.get(id)?.effort) ?? data[1]).id);
    const { status, headers, json } = await chat({ model: model.id });
    assert.equal(status, 200);
    assert.equal(json.model, model.id);
    assert.equal(headers.get("x-pennyroute-code"), "pinned");
    const { body } = simulator.calls.at(-1);
    assert.equal(body.model, model.base);
    assert.equal(body.reasoning_effort, model.effort ?? undefined);
    const calls = simulator.calls.length;
    assertError(await chat({ model: model.id, simulate: "500" }), 502, "all_attempts_failed");
    assert.equal(simulator.calls.length, calls + 1, "a named model has no fallback");
    assertError(await chat({ model: "nobody/nothing" }), 404, "model_not_found", "model");
    assertError(await post("/v1/route", { model: "nobody/nothing", messages: MESSAGES }), 404, "model_not_found", "model");
  });

  test("a conversation's next turn counts what is warm", async () => {
    const long = [{ role: "user", content: "Summarise this. ".repeat(400) }];
    const served = "openai/gpt-4.1-mini";
    const first = await chat({ model: served, messages: long, stream: true });
    await until(() => first.text.includes("[DONE]"));
    const rest = [{ role: "assistant", content: "Done." }, { role: "user", content: "Shorter, please, in a single line." }];
    const cost = async (messages) => Number((await chat({ model: served, messages, pennyroute: { dry_run: true } })).headers.get("x-pennyroute-cost-usd"));
    const other = [{ role: "user", content: "Summarise that. ".repeat(400) }];
    const [warm, cold] = [await cost([...long, ...rest]), await cost([...other, ...rest])];
    assert.ok(warm < cold, `${warm} < ${cold}`);
  });

  test("a client that leaves stops the provider", async () => {
    const leaving = new AbortController();
    const stream = await openai.chat.completions.create({ model: "auto", messages: MESSAGES, stream: true, simulate: "late_stall" }, { signal: leaving.signal });
    const streaming = simulator.calls.at(-1);
    for await (const _chunk of stream) {
      leaving.abort();
      break;
    }
    await until(() => streaming.aborted);
    // While it waits, workerd takes a closed connection for a half-closed one; a reset is clear.
    const calls = simulator.calls.length;
    const body = JSON.stringify({ model: "auto", messages: MESSAGES, simulate: "stall" });
    const socket = await connected();
    socket.write(`POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: ${authorization}\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
    await until(() => simulator.calls.length > calls);
    const logged = received.length;
    socket.resetAndDestroy();
    await until(() => simulator.calls[calls].aborted);
    // By the client, not by the limit, after which the next model would be asked.
    await until(() => received.includes('"status":499', logged));
    assert.equal(simulator.calls.length, calls + 1, "nothing falls back for a client that is gone");
  });
});

describe("failures", () => {
  // What failed is left alone for a while, unless it is asked for by name; its success ends that.
  let failing = new Set();
  const chat = async (...args) => {
    const answer = await anyChat(...args);
    for (const name of ["failed", "model"]) {
      for (const told of answer.headers.get(`x-pennyroute-${name}`)?.split(", ") ?? []) failing.add(told.split(" ")[0]);
    }
    return answer;
  };
  afterEach(async () => {
    for (const model of failing) assert.equal((await anyChat({ model })).status, 200, model);
    failing = new Set();
  });

  for (const stream of [false, true]) {
    for (const failure of ["429", "500", "404", "401", "cut", "stall", "error_frame", "empty"]) {
      test(`${stream ? "stream" : "plain"}: ${failure} before the first byte falls back`, async () => {
        const { model, fallbacks } = await decide();
        const { status, headers, json, text } = await chat({ stream, simulate: { [upstream(model)]: failure } });
        assert.equal(status, 200, text);
        const served = headers.get("x-pennyroute-model");
        assert.ok(fallbacks.includes(served));
        assert.notEqual(upstream(served), upstream(model));
        if (failure === "401") assert.notEqual(byId.get(served).provider, byId.get(model).provider);
        assert.ok(headers.get("x-pennyroute-failed").startsWith(`${model} `));
        if (!stream) assert.equal(json.model, served);
        else assert.equal(events(text).at(-1), "[DONE]");
      });
    }

    test(`${stream ? "stream" : "plain"}: when all fail, the error tells every attempt`, async () => {
      const failed = await chat({ stream, simulate: "500" });
      assertError(failed, 502, "all_attempts_failed");
      const attempts = failed.headers.get("x-pennyroute-failed").split(", ");
      assert.ok(attempts.length > 1);
      assert.equal(failed.headers.get("x-pennyroute-model"), null);
      for (const attempt of attempts) assert.ok(failed.json.error.message.includes(attempt.replace(" ", ": ")), attempt);
      const limited = await chat({ stream, simulate: "429" });
      assertError(limited, 429, "all_attempts_failed");
      assert.equal(limited.headers.get("retry-after"), "7");
    });
  }

  test("what is told to rest is excluded until it may be asked again, unless it is named", async () => {
    const { model } = await decide();
    await chat({ simulate: { [upstream(model)]: "429" } });
    const next = await chat({ pennyroute: { receipt: true } });
    assert.notEqual(upstream(next.json.model), upstream(model));
    assert.equal(next.headers.get("x-pennyroute-failed"), null, "it is not even tried");
    assert.ok(next.json.pennyroute.excluded.some((each) => each.model === model && each.code === "unhealthy"));
    assert.equal((await chat({ model })).json.model, model);
    assert.equal((await chat()).json.model, model, "its success ends the rest");
  });

  for (const failure of ["late_cut", "late_stall", "late_error_frame"]) {
    test(`${failure} after the first byte becomes an error event`, async () => {
      const { status, text } = await chat({ stream: true, simulate: failure });
      assert.equal(status, 200);
      const sent = events(text);
      const { error } = sent.at(-1);
      assert.deepEqual(Object.keys(error).sort(), ["code", "message", "param", "type"]);
      assert.match(error.code, /^stream_(network|timeout|error_event)$/);
      assert.match(contentOf(sent), /^\[simulated/);
      const stream = await openai.chat.completions.create({ model: "auto", messages: MESSAGES, stream: true, simulate: failure });
      await assert.rejects(async () => {
        for await (const _chunk of stream);
      }, OpenAI.APIError);
    });
  }

  test("a fault of the request is not tried elsewhere", async () => {
    const failed = await chat({ simulate: "400" });
    assertError(failed, 400, "unsupported_parameter");
    assert.match(failed.json.error.message, /not supported/);
    assert.ok(failed.headers.get("x-pennyroute-model"));
    assert.equal(failed.headers.get("x-pennyroute-failed"), null);
  });

  test("a provider that quotes our key is not repeated", async () => {
    const leak = await chat({ simulate: "leak" });
    assert.equal(leak.status, 400);
    assert.match(leak.json.error.message, /\[key\]/);
    assert.equal((await chat({ simulate: "401" })).status, 502);
  });
});

describe("bad input", () => {
  const bad = [
    ["not JSON", "{", "bad_request"],
    ["an empty body", "", "bad_request"],
    ["a list", "[]", "bad_request"],
    ["null", "null", "bad_request"],
    ["deep nesting", `{"model":"auto","messages":${"[".repeat(5000)}${"]".repeat(5000)}}`, "bad_request"],
    ["no model", { messages: MESSAGES }, "bad_request", "model"],
    ["a model that is no text", { model: 5, messages: MESSAGES }, "bad_request", "model"],
    ["no messages", { model: "auto" }, "bad_request", "messages"],
    ["empty messages", { model: "auto", messages: [] }, "bad_request", "messages"],
    ["messages of another type", { model: "auto", messages: "hi" }, "bad_request", "messages"],
    ["a message without a role", { model: "auto", messages: [{ content: "x" }] }, "bad_request"],
    ["stream of another type", { model: "auto", messages: MESSAGES, stream: "yes" }, "bad_request", "stream"],
    ["a quality beyond 1", { model: "auto", messages: MESSAGES, pennyroute: { quality: 2 } }, "bad_number", "quality"],
    ["a quality of another type", { model: "auto", messages: MESSAGES, pennyroute: { quality: "high" } }, "bad_request"],
    ["an unknown knob", { model: "auto", messages: MESSAGES, pennyroute: { qualty: 0.5 } }, "bad_request", "pennyroute.qualty"],
    ["knobs that are no object", { model: "auto", messages: MESSAGES, pennyroute: [] }, "bad_request", "pennyroute"],
    ["a session of another type", { model: "auto", messages: MESSAGES, pennyroute: { session: 5 } }, "bad_request", "pennyroute.session"],
    ["auto:x", { model: "auto:x", messages: MESSAGES }, "bad_request"],
  ];
  for (const [name, body, code, param] of bad) {
    test(name, async () => {
      const calls = simulator.calls.length;
      assertError(await post("/v1/chat/completions", body), 400, code, param);
      assert.equal(simulator.calls.length, calls);
    });
  }

  test("bad headers, encodings, sizes, paths, methods", async () => {
    assertError(await chat({}, { "x-pennyroute-quality": "high" }), 400, "bad_request", "x-pennyroute-quality");
    assertError(await chat({}, { "x-pennyroute-qualty": "1" }), 400, "bad_request", "x-pennyroute-qualty");
    assertError(await chat({}, { "x-pennyroute-private": "maybe" }), 400, "bad_request", "x-pennyroute-private");
    const latin = await call("/v1/route", { method: "POST", body: Buffer.from('{"prompt":"\xe9"}', "latin1") });
    assertError({ status: latin.status, json: await latin.json() }, 400, "bad_request");
    assertError(await post("/v1/route", { prompt: "x".repeat(100_001) }), 413, "body_too_large");
    // Sent in chunks, so without a content-length to go by.
    const unsized = ReadableStream.from([1, 2, 3, 4].map(() => new Uint8Array(50_000)));
    const large = await call("/v1/route", { method: "POST", body: unsized, duplex: "half" });
    assertError({ status: large.status, json: await large.json() }, 413, "body_too_large");
    for (const path of ["/v1", "/v1/", "/v2/route", "/v1/routes", "/constructor"]) {
      const unknown = await call(path);
      assertError({ status: unknown.status, json: await unknown.json() }, 404, "not_found");
    }
    const wrong = await call("/v1/route");
    assert.equal(wrong.headers.get("allow"), "POST, OPTIONS");
    assertError({ status: wrong.status, json: await wrong.json() }, 405, "method_not_allowed");
  });

  test("policy of any type is used or refused", async () => {
    const values = [null, true, -1, 0, 0.5, 1e300, "", "x", "*", [], [null], [[]], ["*"], ["openai/*", 5], {}, { a: 1 }, "__proto__", "\u0000"];
    for (const knob of ["quality", "floor", "cap_usd", "allow", "deny", "private", "session", "group", "dry_run", "__proto__", "constructor"]) {
      for (const value of values) {
        const given = JSON.parse(`{${JSON.stringify(knob)}: ${JSON.stringify(value)}}`);
        for (const answer of [await chat({ pennyroute: given }), await post("/v1/route", { prompt: "x", pennyroute: given }), await post("/v1/route", { prompt: "x", ...given })]) {
          if (answer.status === 503) assert.equal(answer.json.error.code, "no_candidate");
          else assert.ok(answer.status === 200 || answer.status === 400, `${knob} ${JSON.stringify(value)}: ${answer.text}`);
        }
      }
    }
  });

  test("a lone surrogate is text like any other", async () => {
    const { status, json } = await chat({ messages: [{ role: "user", content: "half a \ud83d face" }] });
    assert.equal(status, 200);
    assert.ok(byId.has(json.model));
  });

  test("a body that never ends its headers' promise does no harm", async () => {
    const socket = await connected();
    socket.write(`POST /v1/route HTTP/1.1\r\nhost: x\r\nauthorization: ${authorization}\r\ncontent-length: 50\r\n\r\n{`);
    await sleep(20);
    socket.resetAndDestroy();
    assert.equal((await post("/v1/route", { prompt: "x" })).status, 200);
  });
});

describe("access", () => {
  test("a client key is needed for all of /v1", async () => {
    for (const [path, method] of [["/v1/models", "GET"], ["/v1/route", "POST"], ["/v1/chat/completions", "POST"]]) {
      for (const given of ["", "Bearer ", "Bearer client-key-", "Bearer client-key-22", "Basic Y2xpZW50LWtleS0x", `Bearer ${key}`]) {
        const response = await recorded(gateway.url + path, { method, headers: given ? { authorization: given } : {} });
        assertError({ status: response.status, json: await response.json() }, 401, "invalid_api_key");
      }
    }
    await assert.rejects(new OpenAI({ apiKey: "wrong", baseURL: `${gateway.url}/v1`, maxRetries: 0 }).models.list(), OpenAI.AuthenticationError);
    assert.equal((await call("/v1/models", { headers: { authorization: "bearer client-key-1" } })).status, 200);
    const xApiKey = async (given) => (await recorded(`${gateway.url}/v1/models`, { headers: { "x-api-key": given } })).status;
    assert.deepEqual([await xApiKey("client-key-1"), await xApiKey("client-key-3"), await xApiKey("")], [200, 401, 401]);
    const hash = await recorded(`${gateway.url}/v1/models`, { headers: { authorization: `Bearer ${hashed("client-key-1").sha256}` } });
    assert.equal(hash.status, 401, "a hash is no key");
  });

  test("a key's policy narrows what its client asks for, and what it sees", async () => {
    const as = (authorization) => ({ authorization: `Bearer ${authorization}` });
    const { data } = await (await call("/v1/models", { headers: as("client-key-narrow") })).json();
    assert.ok(data.length > 1 && data.every(({ id }) => id === "auto" || id.startsWith("openai/")));
    const { json, headers } = await post("/v1/route", { messages: MESSAGES, allow: ["*"], private: false, cap_usd: 1 }, as("client-key-narrow"));
    assert.ok(json.model.startsWith("openai/") && json.fallbacks.every((id) => id.startsWith("openai/")));
    assert.equal(json.target.cap_usd, 0.01);
    assert.equal(headers.get("x-pennyroute-policy"), "test");
    assert.equal(json.versions.config, "test");
    assert.equal((await chat({}, as("client-key-narrow"))).json.model, json.model);
    const named = [...byId.values()].find(({ id, ability, cost }) => id.startsWith("anthropic/") && ability && cost).id;
    assertError(await chat({ model: named }, as("client-key-narrow")), 503, "no_candidate");
    assert.equal((await post("/v1/route", { prompt: "x", pennyroute: { group: "careful" } })).json.target.quality, 0.9);
    assert.equal((await post("/v1/route", { prompt: "x", model: "auto:0.5" }, { "x-pennyroute-group": "careful" })).json.target.quality, 0.5);
    assertError(await chat({ pennyroute: { group: "carefree" } }), 400, "unknown_group", "pennyroute.group");
    assertError(await chat({ pennyroute: { allow: ["openai/*"], deny: ["openai/*"] } }), 400, "contradictory_policy", "deny");
  });

  test("a client sets neither the clock of a completion nor a header or an address of its own", async () => {
    assertError(await chat({ pennyroute: { at: "2020-01-01T00:00:00Z" } }), 400, "bad_request", "pennyroute.at");
    assertError(await chat({}, { "x-pennyroute-at": "2020-01-01T00:00:00Z" }), 400, "bad_request", "x-pennyroute-at");
    const cost = async (more) => (await chat({ pennyroute: { dry_run: true }, ...more })).json.cost_usd;
    assert.deepEqual(await cost({ at: "2020-01-01T00:00:00Z", workloads: {}, budget_usd: 0, input_tokens: 1 }), await cost({}));
    // Line breaks in what comes back as a header, and in what goes into one.
    const injected = await chat({ model: "openai/x\r\nx-evil: 1", pennyroute: { session: "a\r\nx-evil: 1" } });
    assert.equal(injected.status, 404);
    assert.equal(injected.headers.get("x-evil"), null);
    const socket = await connected();
    let answer = "";
    socket.on("data", (data) => (answer += data));
    socket.write(`GET /v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer ${CLIENT_KEY}\nx-evil: 1\r\ntraceparent: a\rb\r\n\r\n`);
    await once(socket, "close");
    assert.match(answer, /^HTTP\/1\.1 (400|200) /);
    assert.ok(!/x-evil/i.test(answer));
    const elsewhere = await startSimulator();
    try {
      const { model } = await decide();
      const given = { base_url: elsewhere.url, api_base: elsewhere.url, provider: { base_url: elsewhere.url }, model: "auto", pennyroute: {} };
      const sent = await chat(given, { host: new URL(elsewhere.url).host, "x-forwarded-host": new URL(elsewhere.url).host, "openai-base-url": elsewhere.url });
      assert.equal(sent.json.model, model);
      assert.equal(elsewhere.calls.length, 0);
    } finally {
      await elsewhere.close();
    }
  });

  test("CORS: an allowed origin reads the receipt, others are refused before anything is spent", async () => {
    const allowed = await chat({}, { origin: SITE });
    assert.equal(allowed.headers.get("access-control-allow-origin"), SITE);
    assert.match(allowed.headers.get("access-control-expose-headers"), /x-pennyroute-model/);
    assert.match(allowed.headers.get("vary"), /origin/i);
    const error = await post("/v1/route", "{", { origin: SITE });
    assert.equal(error.headers.get("access-control-allow-origin"), SITE, "errors too must be readable");
    const calls = simulator.calls.length;
    for (const origin of ["https://evil.example", "https://app.example.evil.example", "http://app.example", "null"]) {
      const refused = await chat({}, { origin });
      assertError(refused, 403, "origin_not_allowed");
      assert.equal(refused.headers.get("access-control-allow-origin"), null);
    }
    assert.equal(simulator.calls.length, calls);
    const own = await chat({}, { origin: gateway.url });
    assert.equal(own.status, 200);
  });

  test("OPTIONS answers a preflight", async () => {
    const ask = (origin) =>
      recorded(`${gateway.url}/v1/chat/completions`, {
        method: "OPTIONS",
        headers: { origin, "access-control-request-method": "POST", "access-control-request-headers": "authorization,x-stainless-os" },
      });
    const allowed = await ask(SITE);
    assert.equal(allowed.status, 204);
    assert.equal(allowed.headers.get("access-control-allow-origin"), SITE);
    assert.equal(allowed.headers.get("access-control-allow-methods"), "POST");
    assert.equal(allowed.headers.get("access-control-allow-headers"), "authorization,x-stainless-os");
    const refused = await ask("https://evil.example");
    assert.equal(refused.status, 403);
    assert.equal(refused.headers.get("access-control-allow-origin"), null);
  });
});

test("no answer and no log holds a key", () => {
  assert.ok(received.length > 10_000);
  for (const secret of [key, CLIENT_KEY, "client-key-1"]) assert.ok(!received.includes(secret), secret);
});
