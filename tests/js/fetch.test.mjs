// pennyroute/fetch under OpenAI's own client, against simulated providers with failures and small servers of our own.

import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { createServer } from "node:http";
import { after, before, describe, test } from "node:test";
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import { PennyrouteError, Router } from "pennyroute";
import { routedFetch } from "pennyroute/fetch";
import { RouterWorker } from "pennyroute/worker";
import { startSimulator } from "../../worker/simulator.mjs";

const KEY = "sk-client-0123456789";
const MESSAGES = [{ role: "user", content: "Why is the sky blue?" }];
const SIMULATED = /^\[simulated answer from [^\]]+\] This text was written in advance/;
const base = ({ base }) => base;

const router = await Router.load();
/** The router for most tests: what one of them saw fail is not to bear on the next. */
const forgetful = { route: (request) => router.route(request), catalog: () => router.catalog(), cost: (...args) => router.cost(...args) };
const catalog = new Map(router.catalog().models.map((model) => [model.id, model]));
/** What is tried in turn: one model of a server at one effort only. */
const order = (decision) => [...new Set([decision.model, ...decision.fallbacks].map((id) => catalog.get(id).base))];

let simulator;
const closing = [];

before(async () => {
  simulator = await startSimulator({ latencyMs: 1, chunkMs: 0 });
});

after(async () => {
  await simulator.close();
  for (const server of closing) {
    server.closeAllConnections();
    server.close();
  }
});

/** A server of our own; `handle` gets the request, the response and the body. */
async function serve(handle) {
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString();
    await handle(request, response, text ? JSON.parse(text) : undefined);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  closing.push(server);
  return `http://127.0.0.1:${server.address().port}/v1`;
}

const reply = (model, content = "Hello.") => ({
  ...{ id: "chatcmpl-1", object: "chat.completion", created: 1, model },
  choices: [{ index: 0, message: { role: "assistant", content }, finish_reason: "stop" }],
  usage: { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 },
});
const json = (response, status, body, headers = {}) =>
  response.writeHead(status, { "content-type": "application/json", ...headers }).end(typeof body === "string" ? body : JSON.stringify(body));
const sse = (response) => response.writeHead(200, { "content-type": "text/event-stream" });
const delta = (delta, finish_reason = null) => `data: ${JSON.stringify({ choices: [{ index: 0, delta, finish_reason }] })}\n\n`;

/** OpenAI's client over a routed fetch, with what it decided, what it told, and every call that it made. */
function client(baseURL, options = {}, openai = {}) {
  const seen = { decisions: [], receipts: [], calls: [] };
  const record = (input, init) => {
    seen.calls.push({ url: String(input), init, body: init?.body && JSON.parse(init.body) });
    return fetch(input, init);
  };
  const fetching = routedFetch({
    ...{ router: forgetful, models: base, fetch: record },
    onDecision: (decision) => seen.decisions.push(decision),
    onReceipt: (receipt) => seen.receipts.push(receipt),
    ...options,
  });
  return Object.assign(seen, { fetch: fetching, openai: new OpenAI({ apiKey: KEY, baseURL, fetch: fetching, maxRetries: 0, ...openai }) });
}

const simulated = (options, openai) => client(`${simulator.url}/server/v1`, options, openai);
const collect = async (stream) => {
  const all = [];
  for await (const item of stream) all.push(item);
  return all;
};
const textOf = (chunks) => chunks.map(({ choices }) => choices[0]?.delta?.content ?? "").join("");
const raw = (fetching, url, body, init = {}) =>
  fetching(`${url}/chat/completions`, { method: "POST", headers: { "content-type": "application/json", authorization: `Bearer ${KEY}` }, body: JSON.stringify(body), ...init });

describe("an answer", () => {
  test("comes from the chosen model, as the server names it, with its receipt", async () => {
    const { openai, decisions, receipts, calls } = simulated();
    const asked = { model: "auto", messages: MESSAGES, temperature: 0.5, user: "u", pennyroute: { quality: 0.8 } };
    const { data, response } = await openai.chat.completions.create(asked).withResponse();
    assert.match(data.choices[0].message.content, SIMULATED);
    const [decision] = decisions;
    const chosen = catalog.get(decision.model);
    assert.equal(decision.target.quality, 0.8);
    assert.equal(data.model, chosen.base);
    const { pennyroute, ...sent } = asked;
    assert.deepEqual(calls.map(({ body }) => body), [{ ...sent, model: chosen.base, ...(chosen.effort && { reasoning_effort: chosen.effort }) }]);
    const header = (name) => response.headers.get(`x-pennyroute-${name}`);
    assert.equal(header("id"), decision.id);
    assert.equal(header("model"), decision.model);
    assert.equal(header("code"), decision.code);
    assert.equal(header("attempts"), "1");
    assert.equal(header("failed"), null);
    assert.equal(Number(header("quality")), Number(decision.quality.estimate.toFixed(4)));
    assert.ok(Math.abs(Number(header("cost-usd")) - decision.cost_usd.estimate) < 1e-9);
    assert.ok(Math.abs(Number(header("saving-usd")) - decision.saving_usd) < 1e-9);
    const { served, spent_usd, failed, ...rest } = receipts[0];
    assert.deepEqual(rest, decision);
    assert.deepEqual([served, failed], [decision.model, []]);
    const { prompt_tokens: input_tokens, completion_tokens: output_tokens } = data.usage;
    assert.equal(spent_usd, router.cost(decision.model, { input_tokens, output_tokens }));
  });

  test("streams", async () => {
    const { openai, receipts, calls } = simulated();
    const chunks = await collect(await openai.chat.completions.create({ model: "auto:0.9", messages: MESSAGES, stream: true }));
    assert.match(textOf(chunks), SIMULATED);
    assert.equal(chunks[0].model, calls[0].body.model);
    assert.equal(calls[0].body.stream_options, undefined);
    assert.deepEqual([receipts.length, receipts[0].target.quality, receipts[0].spent_usd], [1, 0.9, null]);
    // A client that reads no further than the end of the answer has its receipt too.
    const response = await raw(client(simulator.url, { onReceipt: (receipt) => receipts.push(receipt) }).fetch, `${simulator.url}/server/v1`, { model: "auto", messages: MESSAGES, stream: true });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    while (!(await reader.read()).value.includes("[DONE]"));
    await reader.cancel();
    assert.equal(receipts.splice(1).length, 1);
    // What the client itself asks to count is counted.
    await collect(await openai.chat.completions.create({ model: "auto", messages: MESSAGES, stream: true, stream_options: { include_usage: true } }));
    assert.ok(receipts[1].spent_usd > 0);
  });

  test("calls tools to the last answer, and parses JSON", async () => {
    const { openai, calls } = simulated();
    const runner = openai.chat.completions.runTools({
      model: "auto",
      messages: MESSAGES,
      tools: [{ type: "function", function: { name: "weather", description: "Weather", parameters: { type: "object", properties: {} }, function: () => "Rain.", parse: JSON.parse } }],
    });
    assert.match(await runner.finalContent(), SIMULATED);
    assert.equal(calls.length, 2);
    for (const { body } of calls) assert.ok([...catalog.values()].some((model) => model.base === body.model && model.tool_call));
    const Answer = z.object({ simulated: z.boolean(), answer: z.string() });
    const parsed = await openai.chat.completions.parse({ model: "auto", messages: MESSAGES, response_format: zodResponseFormat(Answer, "answer") });
    assert.equal(parsed.choices[0].message.parsed.simulated, true);
  });

  test("is the server's to the byte, whole and streamed, however it is cut", async () => {
    const whole = Buffer.from(` {"choices" : [{"index":0,"message":{"content":"h\\u00e9 ☃"},"finish_reason":"stop"}],\n "odd": 1.0 }\n`);
    const streamed = Buffer.from(`: hi\r\n\r\nevent: x\r\n${delta({ role: "assistant" }).replaceAll("\n", "\r\n")}${delta({ content: "☃é" })}data:${delta({}, "stop").slice(6)}: bye\n\ndata: [DONE]\n\ntrailing`);
    const url = await serve(async (request, response, { stream }) => {
      response.writeHead(200, { "content-type": stream ? "text/event-stream" : "application/json", "x-of-server": "kept" });
      for (const piece of stream ? [...streamed].map((byte) => Buffer.of(byte)) : [whole]) await new Promise((sent) => response.write(piece, sent));
      response.end();
    });
    const { fetch: fetching } = client(url);
    const answer = await raw(fetching, url, { model: "auto", messages: MESSAGES });
    assert.deepEqual(Buffer.from(await answer.arrayBuffer()), whole);
    assert.equal(answer.headers.get("x-of-server"), "kept");
    const stream = await raw(fetching, url, { model: "auto", messages: MESSAGES, stream: true });
    assert.deepEqual(Buffer.from(await stream.arrayBuffer()), streamed);
  });

  test("is routed from any kind of body, with its files left out of it", async () => {
    const body = { model: "auto", messages: [{ role: "user", content: [{ type: "text", text: "What is this?" }, { type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } }] }] };
    const text = JSON.stringify(body);
    const { fetch: fetching, calls, decisions } = simulated();
    const address = `${simulator.url}/server/v1/chat/completions?a=b`;
    const init = { method: "POST", headers: { authorization: `Bearer ${KEY}` } };
    for (const args of [
      [address, { ...init, headers: { ...init.headers, "content-length": String(text.length) }, body: text }],
      [new URL(address), { ...init, body: new TextEncoder().encode(text) }],
      [address, { ...init, body: new Blob([text]) }],
      [new Request(address, { ...init, body: text })],
    ]) {
      const response = await fetching(...args);
      assert.equal(response.status, 200);
      const { url, body: sent, init: { headers } } = calls.at(-1);
      assert.deepEqual([url, headers.get("authorization"), sent.messages], [address, `Bearer ${KEY}`, body.messages]);
      assert.ok(catalog.get(decisions.at(-1).model).modalities.includes("image"));
    }
  });
});

test("all else goes through with its arguments untouched", async () => {
  const passed = [];
  const answer = new Response("ok");
  const fetching = routedFetch({ router, fetch: (...args) => (passed.push(args), Promise.resolve(answer)) });
  const post = (body) => ({ method: "POST", body });
  for (const args of [
    ["http://h/v1/models"],
    ["http://h/v1/chat/completions"],
    ["http://h/v1/embeddings", post('{"model":"auto"}')],
    ["http://h/v1/chat/completions", post('{"model":"gpt-5.5","messages":[]}')],
    ["http://h/v1/chat/completions", post('{"model":"automatic"}')],
    ["http://h/v1/chat/completions", post("not JSON")],
    ["http://h/v1/chat/completions", post(new URLSearchParams({ model: "auto" }))],
    ["http://h/v1/chat/completions", post(null)],
    [new Request("http://h/v1/chat/completions", post('{"model":"gpt-5.5"}'))],
  ]) {
    assert.equal(await fetching(...args), answer);
    assert.equal(passed.at(-1).length, args.length === 1 ? 2 : args.length);
    args.forEach((arg, i) => assert.equal(passed.at(-1)[i], arg));
  }
  assert.equal(passed.at(-1)[0].bodyUsed, false);
});

describe("fallback", () => {
  const kinds = ["429", "500", "529", "404", "400", "cut", "error_frame", "empty"];
  const failureOf = { cut: "network", error_frame: "bad_reply", empty: "bad_reply" };
  for (const stream of [false, true]) {
    test(`after every kind of failure, in the decision's order, ${stream ? "streamed" : "whole"}`, async () => {
      for (const kind of kinds) {
        const { openai, decisions, receipts, calls } = simulated();
        // The two first are to fail: which they are, the same policy tells.
        const two = order(router.route({ messages: MESSAGES, model: "auto" })).slice(0, 2);
        const simulate = Object.fromEntries(two.map((name) => [name, kind]));
        const result = await openai.chat.completions.create({ model: "auto", messages: MESSAGES, stream, simulate }).withResponse();
        const content = stream ? textOf(await collect(result.data)) : result.data.choices[0].message.content;
        assert.match(content, SIMULATED, kind);
        assert.deepEqual(calls.map(({ body }) => body.model), order(decisions[0]).slice(0, 3), kind);
        assert.equal(result.response.headers.get("x-pennyroute-attempts"), "3");
        const failure = kind === "error_frame" && stream ? "error_event" : (failureOf[kind] ?? kind);
        assert.deepEqual(receipts[0].failed.map(({ failure }) => failure), [failure, failure]);
        assert.equal(catalog.get(receipts[0].served).base, calls[2].body.model);
        assert.equal(result.response.headers.get("x-pennyroute-model"), receipts[0].served);
      }
    });
  }

  test("a stream that ends or goes wrong after a mere role falls back", async () => {
    const starts = {
      ends: (response) => response.end(),
      "says it is done": (response) => response.end("data: [DONE]\n\n"),
      "reports an error": (response) => response.end('data: {"error":{"message":"no GPU"}}\n\n'),
      "reports an error, and goes on": (response) => response.write('data: {"error":{"message":"no GPU"}}\n\n'),
      "is garbled": (response) => response.end("data: <html>\n\n"),
      "is cut": (response) => response.destroy(),
    };
    for (const [name, then] of Object.entries(starts)) {
      let calls = 0;
      let closed;
      const url = await serve((request, response) => {
        closed ??= once(response, "close");
        sse(response).write(delta({ role: "assistant", content: "", tool_calls: [] }), () => (++calls === 1 ? then(response) : response.end(delta({ content: "Hi." }) + delta({}, "stop") + "data: [DONE]\n\n")));
      });
      const { openai, receipts } = client(url);
      const chunks = await collect(await openai.chat.completions.create({ model: "auto", messages: MESSAGES, stream: true }));
      assert.equal(textOf(chunks), "Hi.", name);
      assert.equal(calls, 2, name);
      // Nobody goes on for nobody.
      await closed;
      assert.equal(receipts[0].failed.length, 1, name);
    }
  });

  for (const [what, start, stream, ms] of [
    ["a whole reply that does not come within replyMs", () => {}, false, 180_000],
    ["a stream whose first byte does not come within firstTokenMs", () => {}, true, 60_000],
    ["a stream whose first token does not", (response) => sse(response).write(delta({ role: "assistant" })), true, 60_000],
  ]) {
    test(`${what} falls back`, async (t) => {
      t.mock.timers.enable({ apis: ["setTimeout"] });
      const server = new EventEmitter();
      const models = [];
      const url = await serve((request, response, body) => {
        models.push(body.model);
        if (models.length === 1) {
          response.once("close", () => server.emit("close"));
          start(response);
          return server.emit("call");
        }
        if (stream) sse(response).end(`${delta({ content: "Hi." })}${delta({}, "stop")}data: [DONE]\n\n`);
        else json(response, 200, reply(body.model, "Hi."));
      });
      const { openai, receipts, decisions } = client(url);
      const [called, closed] = [once(server, "call"), once(server, "close")];
      const asking = openai.chat.completions.create({ model: "auto", messages: MESSAGES, stream });
      await called;
      t.mock.timers.tick(ms - 1);
      assert.equal(models.length, 1);
      t.mock.timers.tick(1);
      const answer = await asking;
      assert.equal(stream ? textOf(await collect(answer)) : answer.choices[0].message.content, "Hi.");
      await closed;
      assert.deepEqual(models, order(decisions[0]).slice(0, 2));
      assert.deepEqual(receipts[0].failed, [{ model: decisions[0].model, failure: "timeout" }]);
    });
  }

  test("ends with the first token: what breaks later is the client's to see", async () => {
    const { openai, calls, receipts } = simulated();
    for (const failure of ["late_cut", "late_error_frame"]) {
      const before = calls.length;
      const stream = await openai.chat.completions.create({ model: "auto", messages: MESSAGES, stream: true, simulate: failure });
      await assert.rejects(collect(stream));
      assert.equal(calls.length, before + 1, failure);
      assert.equal(receipts.at(-1).spent_usd, null);
    }
  });

  test("ends after maxAttempts or the deadline, and the error names every attempt", async () => {
    for (const [maxAttempts, simulate, status, type] of [[3, "429", 429, OpenAI.RateLimitError], [2, "500", 502, OpenAI.InternalServerError], [4, "404", 404, OpenAI.NotFoundError]]) {
      const { openai, calls, decisions, receipts } = simulated({ maxAttempts });
      const error = await openai.chat.completions.create({ model: "auto", messages: MESSAGES, simulate }).catch((error) => error);
      assert.ok(error instanceof type && error instanceof OpenAI.APIError, error);
      assert.deepEqual([error.status, error.code], [status, "all_attempts_failed"]);
      assert.equal(calls.length, maxAttempts);
      for (const { model } of receipts[0].failed) assert.ok(error.message.includes(`${model}: ${simulate} (Simulated: `), error.message);
      assert.equal(error.headers.get("x-pennyroute-attempts"), String(maxAttempts));
      assert.equal(error.headers.get("retry-after"), simulate === "429" ? "7" : null);
      assert.equal(receipts[0].served, null);
      assert.equal(receipts[0].id, decisions[0].id);
    }
  });

  test("no model is waited for beyond the deadline, and none is tried after it", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout", "Date"], now: Date.now() });
    const server = new EventEmitter();
    const url = await serve(() => server.emit("call"));
    const called = once(server, "call");
    const { openai, calls } = client(url, { deadlineMs: 5_000 });
    const asking = openai.chat.completions.create({ model: "auto", messages: MESSAGES }).catch((error) => error);
    await called;
    t.mock.timers.tick(5_000);
    const error = await asking;
    assert.deepEqual([error.status, error.code, calls.length], [504, "all_attempts_failed", 1]);
    assert.match(error.message, /timeout \(no answer within 5 s\)/);
  });

  test("there may be no limit of time", async () => {
    const { openai } = simulated({ deadlineMs: Infinity, replyMs: 2 ** 40 });
    const answer = await openai.chat.completions.create({ model: "auto", messages: MESSAGES });
    assert.match(answer.choices[0].message.content, SIMULATED);
  });

  test("a redirect is not followed", async () => {
    const elsewhere = await serve(() => assert.fail("followed"));
    const url = await serve((request, response) => response.writeHead(307, { location: `${elsewhere}/chat/completions` }).end());
    const error = await client(url).openai.chat.completions.create({ model: "auto", messages: MESSAGES }).catch((error) => error);
    assert.match(error.message, /redirect/);
  });
});

test("what the request or the key is refused for is passed on as it is", async () => {
  const refusals = { 400: '{"error": {"message":"Your prompt is not allowed.", "type":"invalid_request_error","param":"messages","code":"content_policy"} }', 401: '{"error":{"message":"Incorrect API key."}}', 422: "unprocessable" };
  for (const [status, body] of Object.entries(refusals)) {
    let calls = 0;
    const url = await serve((request, response) => (calls++, json(response, Number(status), body)));
    const { fetch: fetching } = client(url);
    const response = await raw(fetching, url, { model: "auto", messages: MESSAGES, stream: true });
    assert.deepEqual([response.status, await response.text(), calls], [Number(status), body, 1]);
  }
});

describe("several providers", () => {
  /** Two servers for two providers, each with its key; `fail` says what a call of a provider gets. */
  async function two(fail = {}) {
    const reached = [];
    const origin = (provider) =>
      serve((request, response, body) => {
        reached.push({ provider, headers: request.headers, body });
        if (fail[provider]) return json(response, fail[provider].status, fail[provider].body, fail[provider].headers);
        return json(response, 200, reply(body.model));
      });
    const providers = {
      anthropic: { baseURL: `${await origin("anthropic")}/`, apiKey: "key-of-anthropic" },
      deepinfra: { baseURL: await origin("deepinfra"), headers: { "api-key": "key-of-deepinfra" }, models: { "deepinfra/gemma-4-31b-it": "my-gemma" } },
    };
    const own = await serve(() => assert.fail("the client's own base URL was called"));
    return { reached, ...client(own, { models: undefined, providers }, { defaultHeaders: { "x-own": "client" } }) };
  }

  test("each is called at its own address with its own key and no other", async () => {
    const { openai, reached, decisions } = await two({ anthropic: { status: 500, body: { error: { message: "down" } } } });
    const { data, response } = await openai.chat.completions.create({ model: "auto", messages: MESSAGES, pennyroute: { allow: ["anthropic/*"], quality: 0.97 } }).withResponse().catch((error) => ({ data: error }));
    assert.equal(data.status, 502, "only one provider is allowed");
    assert.ok(reached.length > 0 && reached.every(({ provider }) => provider === "anthropic"));
    reached.length = 0;
    const answer = await openai.chat.completions.create({ model: "auto", messages: MESSAGES, pennyroute: { allow: ["anthropic/claude-haiku-5-5", "deepinfra/*"], warm: { "anthropic/claude-haiku-5-5": 1 } } });
    assert.equal(answer.model, "my-gemma");
    for (const { provider, headers } of reached) {
      const sent = JSON.stringify(headers);
      assert.ok(sent.includes(`key-of-${provider}`), sent);
      for (const secret of [KEY, `key-of-${provider === "anthropic" ? "deepinfra" : "anthropic"}`, "x-own", "stainless"]) assert.ok(!sent.includes(secret), sent);
    }
    assert.ok(decisions.at(-1).excluded.every(({ model }) => /^(anthropic|deepinfra)\//.test(model)));
    assert.equal(response, undefined);
  });

  test("a provider that nobody reaches rests until one of its models answers again", async () => {
    const told = [];
    const haiku = "anthropic/claude-haiku-5-5";
    /** Prefers haiku, whatever it costs. */
    const route = (request) => {
      const decision = router.route(request);
      const all = [decision.model, ...decision.fallbacks];
      const [model, ...fallbacks] = [...all.filter((id) => id === haiku), ...all.filter((id) => id !== haiku)];
      return { ...decision, model, fallbacks };
    };
    const remote = { ...forgetful, route, feedback: (outcome) => void told.push(outcome) };
    let down = true;
    const answering = (cut) => serve((request, response, body) => (cut() ? response.destroy() : json(response, 200, reply(body.model))));
    const providers = { anthropic: { baseURL: await answering(() => down) }, groq: { baseURL: await answering(() => false) } };
    const { openai, receipts } = client(await serve(() => {}), { router: remote, models: undefined, providers });
    const ask = (...allow) => openai.chat.completions.create({ model: "auto", messages: MESSAGES, pennyroute: { allow } });
    await ask(haiku, "groq/*");
    assert.deepEqual(receipts[0].failed.map(({ model, failure }) => [model, failure]), [[haiku, "network"]]);
    assert.deepEqual(told.splice(0), [{ model: haiku, error: "network" }, { model: receipts[0].served, output_tokens: 5 }]);
    down = false;
    await ask("groq/*");
    assert.equal(told.splice(0).length, 1, "another provider's answer says nothing of it");
    await ask("anthropic/claude-opus-*");
    assert.deepEqual(told, [{ model: receipts[2].served, output_tokens: 5 }, { model: haiku }]);
  });

  test("where all fallbacks are of a provider that refuses the key, the other candidates are tried", async () => {
    const calls = [];
    const at = (provider, status) => serve((request, response, body) => (calls.push(provider), json(response, status, status === 200 ? reply(body.model) : {})));
    const providers = { openai: { baseURL: await at("openai", 401) }, groq: { baseURL: await at("groq", 200) } };
    // Eight fallbacks are none of them groq's, as a decision for a hard question may have it.
    const openaiFirst = (request) => {
      const decision = router.route(request);
      const fallbacks = decision.alternatives.map(({ model }) => model).filter((model) => model.startsWith("openai/"));
      return { ...decision, model: fallbacks[0], fallbacks: fallbacks.slice(1, 9) };
    };
    const { openai } = client(await serve(() => {}), { router: { ...forgetful, route: openaiFirst }, models: undefined, providers });
    await openai.chat.completions.create({ model: "auto", messages: MESSAGES });
    assert.deepEqual(calls, ["openai", "groq"]);
  });

  test("a refused key is not tried twice, and no error quotes one", async () => {
    const refusal = { status: 401, body: { error: { message: "Incorrect API key provided: key-of-anthropic", code: "invalid_api_key" } } };
    const quoting = { status: 500, body: { error: { message: "proxy failed with key-of-deepinfra" } } };
    const { openai, reached, receipts } = await two({ anthropic: refusal, deepinfra: quoting });
    const error = await openai.chat.completions.create({ model: "auto", messages: MESSAGES }).catch((error) => error);
    assert.equal(error.status, 502);
    assert.deepEqual(reached.map(({ provider }) => provider).sort(), ["anthropic", "deepinfra"]);
    assert.equal(receipts[0].failed.length, 2);
    assert.doesNotMatch(JSON.stringify(error) + error.message, /key-of/);
    assert.match(error.message, /refuses the key or account/);
    assert.match(error.message, /proxy failed with \[key\]/);
  });
});

describe("names at the client's own server", () => {
  /** A server that lists `names`, and how often it was asked. */
  async function listing(names) {
    const seen = { lists: 0, models: [] };
    seen.url = await serve((request, response, body) => {
      assert.equal(request.headers.authorization, `Bearer ${KEY}`);
      if (request.method === "POST") return seen.models.push(body.model), json(response, 200, reply(body.model));
      seen.lists++;
      return names.length ? json(response, 200, { object: "list", data: names.shift().map((id) => ({ id, object: "model" })) }) : json(response, 500, "{}");
    });
    return seen;
  }
  const ask = ({ openai }, more) => openai.chat.completions.create({ model: "auto", messages: MESSAGES, ...more });

  test("are asked for once, and matched to the catalog's", async () => {
    const offered = ["openrouter/auto", "Anthropic/Claude-Haiku-5.5", "gpt-oss:20b", "someone/else"];
    const seen = await listing([offered]);
    const routed = client(seen.url, { models: undefined });
    const answers = await Promise.all([ask(routed), ask(routed), ask(routed, { pennyroute: { allow: ["groq/*"] } })]);
    assert.equal(seen.lists, 1);
    assert.equal(answers[2].model, "gpt-oss:20b");
    for (const { model } of answers) assert.ok(offered.slice(1, 3).includes(model), model);
  });

  test("that nobody lists, or nobody knows, are an error that says what to do", async () => {
    const seen = await listing([["mystery:7b"], ["gpt-5.4-nano"]]);
    const unknown = client(seen.url, { models: undefined });
    const error = await ask(unknown).catch((error) => error);
    assert.deepEqual([error.status, error.code], [502, "models_unknown"]);
    assert.match(error.message, /mystery:7b.*name them in `models`/);
    const routed = client(seen.url, { models: undefined });
    assert.equal((await ask(routed)).model, "gpt-5.4-nano");
    const failing = client(seen.url, { models: undefined });
    const failed = await ask(failing).catch((error) => error);
    assert.match(failed.message, /GET .*\/models: HTTP 500/);
  });

  test("are those that the caller's own key may see", async () => {
    const own = { "Bearer one": "gpt-5.5", "Bearer two": "gpt-5.4-nano" };
    let lists = 0;
    const url = await serve((request, response, body) => {
      if (request.method === "POST") return json(response, 200, reply(body.model));
      lists += 1;
      json(response, 200, { data: [{ id: own[request.headers.authorization] }] });
    });
    const { fetch: fetching } = client(url, { models: undefined });
    const asking = async (authorization) => (await raw(fetching, url, { model: "auto", messages: MESSAGES }, { headers: { authorization } })).json();
    for (let i = 0; i < 2; i++) for (const [key, model] of Object.entries(own)) assert.equal((await asking(key)).model, model);
    assert.equal(lists, 2);
  });

  test("are not asked for where the server redirects to", async () => {
    const elsewhere = await serve(() => assert.fail("followed"));
    const url = await serve((request, response) => response.writeHead(302, { location: `${elsewhere}/models` }).end());
    await assert.rejects(ask(client(url, { models: undefined })), { code: "models_unknown", message: /redirect/ });
  });

  test("a list without a model of the catalog is asked for again at the next call", async () => {
    const seen = await listing([[], ["gpt-5.5"]]);
    const routed = client(seen.url, { models: undefined });
    await assert.rejects(ask(routed), { code: "models_unknown" });
    assert.equal((await ask(routed)).model, "gpt-5.5");
  });

  test("a failed listing is asked again at the next call", async () => {
    let up = false;
    const url = await serve((request, response, body) => {
      if (request.method === "POST") return json(response, 200, reply(body.model));
      return up ? json(response, 200, { data: [{ id: "gpt-5.5" }] }) : response.destroy();
    });
    const routed = client(url, { models: undefined });
    await assert.rejects(ask(routed), { code: "models_unknown" });
    up = true;
    assert.equal((await ask(routed)).model, "gpt-5.5");
  });

  test("may be a list or a map, where an id holds for every effort", async () => {
    const listed = simulated({ models: ["gpt-5.5"] });
    assert.equal((await ask(listed)).model, "gpt-5.5");
    const mapped = simulated({ models: { "openai/gpt-5.5": "deployment-1", "openai/gpt-5.5@low": "deployment-2" } });
    assert.equal((await ask(mapped, { reasoning_effort: "low" })).model, "deployment-2");
    assert.equal((await ask(mapped, { reasoning_effort: "xhigh" })).model, "deployment-1");
    assert.equal(mapped.decisions[1].model, "openai/gpt-5.5@xhigh");
    assert.equal(mapped.calls[1].body.reasoning_effort, "xhigh");
  });
});

describe("policy", () => {
  test("the call's own wins over the alias's, that over `auto:QUALITY`, that over the default", async () => {
    const routed = simulated({ policy: { quality: 0.9, floor: 0.1 }, aliases: { "gpt-4o": {}, "cheap one": { quality: 0.7 } } });
    const ask = async (model, pennyroute) => {
      await routed.openai.chat.completions.create({ model, messages: MESSAGES, ...(pennyroute && { pennyroute }) });
      const { quality, floor } = routed.decisions.at(-1).target;
      return [quality, floor];
    };
    assert.deepEqual(await ask("auto"), [0.9, 0.1]);
    assert.deepEqual(await ask("gpt-4o"), [0.9, 0.1]);
    assert.deepEqual(await ask("cheap one"), [0.7, 0.1]);
    assert.deepEqual(await ask("cheap one", { quality: 0.75, floor: 0.2 }), [0.75, 0.2]);
    assert.deepEqual(await ask("auto:0.85"), [0.85, 0.1]);
    assert.deepEqual(await ask("auto:0.85", { quality: 0.8 }), [0.8, 0.1]);
    assert.ok(routed.calls.every(({ body }) => !("pennyroute" in body)));
  });

  test("allow, deny and private narrow what can be called", async () => {
    const { openai, decisions } = simulated({ policy: { allow: ["openai/*", "google/*"], deny: ["*@*"] } });
    await openai.chat.completions.create({ model: "auto", messages: MESSAGES, pennyroute: { deny: ["google/*"] } });
    for (const id of [decisions[0].model, ...decisions[0].fallbacks]) assert.match(id, /^openai\//);
    const error = await openai.chat.completions.create({ model: "auto", messages: MESSAGES, pennyroute: { private: true } }).catch((error) => error);
    assert.deepEqual([error.status, error.code, error.headers.get("x-should-retry")], [503, "no_candidate", "false"]);
  });

  test("what is wrong with it is a 400 that names the field", async () => {
    const { openai, calls } = simulated({}, { maxRetries: 2 });
    for (const [body, param] of [
      [{ pennyroute: { qualty: 0.9 } }, "pennyroute.qualty"],
      [{ pennyroute: "cheap" }, "pennyroute"],
      [{ model: "auto:high" }, "model"],
      [{ messages: "hi" }, "messages"],
    ]) {
      const error = await openai.chat.completions.create({ model: "auto", messages: MESSAGES, ...body }).catch((error) => error);
      assert.ok(error instanceof OpenAI.BadRequestError, `${error}`);
      assert.deepEqual([error.code, error.param], ["bad_request", param]);
    }
    assert.equal(calls.length, 0);
  });

  test("wrong options are refused at once", () => {
    const refused = (options, message) => assert.throws(() => routedFetch({ router, ...options }), (error) => error instanceof PennyrouteError && error.code === "bad_request" && message.test(error.message));
    refused({ router: undefined }, /^router: /);
    refused({ policy: { qualty: 1 } }, /^policy\.qualty: .*known are quality/);
    refused({ aliases: { x: { y: 1 } } }, /^aliases\.x\.y: /);
    refused({ maxAttempts: 0 }, /^maxAttempts: /);
    refused({ deadline: 5 }, /^deadline: is not an option/);
    refused({ deadlineMs: NaN }, /^deadlineMs: /);
    refused({ providers: { openai: { baseURL: "openai" } } }, /^providers\.openai\.baseURL: /);
    refused({ providers: {}, models: [] }, /^models: /);
  });
});

describe("abort", () => {
  test("before the router is there", async () => {
    const stop = new AbortController();
    const { openai, calls } = simulated({ router: new Promise(() => {}) });
    const asking = openai.chat.completions.create({ model: "auto", messages: MESSAGES }, { signal: stop.signal });
    stop.abort();
    await assert.rejects(asking, OpenAI.APIUserAbortError);
    assert.equal(calls.length, 0);
  });

  for (const [when, start] of [["before the first byte", () => {}], ["before the first token", (response) => sse(response).write(delta({ role: "assistant" }))], ["in mid-stream", (response) => sse(response).write(delta({ content: "Hi" }))]]) {
    for (const how of when === "in mid-stream" ? ["signal", "leaving"] : ["signal"]) {
      test(`${when}, by ${how}: the provider is stopped, and nobody else is called`, async () => {
        const stop = new AbortController();
        let calls = 0;
        const server = new EventEmitter();
        const url = await serve((request, response) => {
          calls++;
          response.once("close", () => server.emit("close"));
          start(response);
          server.emit("call");
        });
        const { openai, receipts } = client(url);
        const [called, closed] = [once(server, "call"), once(server, "close")];
        const asking = openai.chat.completions.create({ model: "auto", messages: MESSAGES, stream: true }, { signal: stop.signal });
        if (when !== "in mid-stream") {
          await called;
          stop.abort();
          await assert.rejects(asking, OpenAI.APIUserAbortError);
        } else {
          const chunks = [];
          // The client ends its loop in silence when it is told to stop.
          for await (const chunk of await asking) {
            chunks.push(chunk);
            if (how === "leaving") break;
            stop.abort();
          }
          assert.equal(textOf(chunks), "Hi");
        }
        await closed;
        assert.equal(calls, 1);
        assert.deepEqual(receipts, []);
      });
    }
  }
});

describe("routers", () => {
  test("in another thread answer in promises, and are told how calls ended", async () => {
    const told = [];
    const remote = Object.fromEntries(["route", "catalog", "cost"].map((name) => [name, async (...args) => structuredClone(router[name](...args))]));
    remote.feedback = async (outcome) => void told.push(outcome);
    const { openai, decisions, receipts } = simulated({ router: Promise.resolve(remote) });
    const [first] = order(router.route({ messages: MESSAGES, model: "auto" }));
    const { usage } = await openai.chat.completions.create({ model: "auto", messages: MESSAGES, simulate: { [first]: "429" } });
    const { served } = receipts[0];
    assert.ok(receipts[0].spent_usd > 0);
    assert.deepEqual(told, [{ model: decisions[0].model, error: "429" }, { model: served, output_tokens: usage.completion_tokens }]);
    // The last that is left is not reported: there is nobody to go to instead.
    await assert.rejects(openai.chat.completions.create({ model: "auto", messages: MESSAGES, simulate: "500", pennyroute: { allow: ["groq/*"] } }));
    assert.deepEqual(told.splice(2).map(({ error }) => error), ["500"]);
    // Nor is a connection that fails, where all models are behind it.
    await assert.rejects(openai.chat.completions.create({ model: "auto", messages: MESSAGES, simulate: "cut" }));
    assert.equal(told.length, 2);
    // After the first token the same holds.
    const late = (more) => openai.chat.completions.create({ model: "auto", messages: MESSAGES, stream: true, simulate: "late_error_frame", ...more });
    await assert.rejects(collect(await late({ pennyroute: { allow: ["groq/gpt-oss-20b"] } })));
    assert.equal(told.length, 2);
    await assert.rejects(collect(await late()));
    assert.deepEqual(told.splice(2), [{ model: receipts.at(-1).served, error: "error_event" }]);
    // A refused prompt says nothing of a model.
    const url = await serve((request, response) => json(response, 400, '{"error":{"code":"content_policy"}}'));
    await assert.rejects(client(url, { router: remote }).openai.chat.completions.create({ model: "auto", messages: MESSAGES }));
    assert.equal(told.length, 2);
  });

  test("in this thread leave alone for a while what failed", async (t) => {
    t.mock.timers.enable({ apis: ["Date"], now: Date.now() });
    const other = await Router.load();
    const { openai, decisions, calls } = simulated({ router: other });
    const [first] = order(other.route({ messages: MESSAGES, model: "auto" }));
    for (let i = 0; i < 2; i++) await openai.chat.completions.create({ model: "auto", messages: MESSAGES, simulate: { [first]: "500" } });
    assert.deepEqual(decisions[1].excluded.filter(({ code }) => code === "unhealthy").map(({ model }) => model), [decisions[0].model]);
    assert.equal(calls.length, 3);
    other.free();
  });

  test("are asked for their catalog once, and again when it has changed, in this thread or another", async (t) => {
    for (const other of [await Router.load(), await RouterWorker.load()]) {
      t.after(() => other.free());
      const asked = t.mock.method(other, "catalog");
      const { openai, receipts } = simulated({ router: other });
      const ask = () => openai.chat.completions.create({ model: "auto", messages: MESSAGES });
      for (let i = 0; i < 3; i++) await ask();
      assert.equal(asked.mock.callCount(), 1);
      const own = await other.catalog();
      own.models = own.models.filter(({ provider }) => provider === "groq");
      await other.setCatalog(own);
      for (let i = 0; i < 2; i++) await ask();
      assert.equal(asked.mock.callCount(), 3);
      assert.match(receipts.at(-1).served, /^groq\//);
    }
  });

  test("a callback that throws fails no call", async (t) => {
    const logged = t.mock.method(console, "error", () => {});
    const thrower = () => {
      throw new Error("mine");
    };
    const { openai } = simulated({ onDecision: thrower, onReceipt: thrower });
    const reply = await openai.chat.completions.create({ model: "auto", messages: MESSAGES });
    assert.match(reply.choices[0].message.content, SIMULATED);
    assert.equal(logged.mock.callCount(), 2);
  });

  test("that cannot be loaded, or fail, are an error in OpenAI's words", async () => {
    const broken = simulated({ router: Promise.reject(new PennyrouteError("bad_artifact", "artifacts.bin: HTTP 404")) });
    const error = await broken.openai.chat.completions.create({ model: "auto", messages: MESSAGES }).catch((error) => error);
    assert.deepEqual([error.status, error.code], [500, "bad_artifact"]);
    assert.match(error.message, /artifacts\.bin/);
  });
});
