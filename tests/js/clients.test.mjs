// Real clients against the gateway in workerd: OpenAI's and Anthropic's SDKs, the Vercel AI SDK,
// OpenAI's Python SDK and LiteLLM, and curl.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import Anthropic from "@anthropic-ai/sdk";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, generateObject, generateText, stepCountIs, streamText, tool } from "ai";
import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import { simulatedProviders, startGateway } from "../../src/js/tools/gateway.mjs";
import { root } from "../../src/js/tools/shell.mjs";
import { startSimulator } from "../../worker/simulator.mjs";
import { pythonEnvironment } from "../../src/js/tools/python.mjs";

const KEY = "client-key-1";
const ASKED = "Why is the sky blue?";
const MESSAGES = [{ role: "user", content: ASKED }];
const SIMULATED = /^\[simulated answer from [^\]]+\] This text was written in advance/;
/** What the simulator answers where JSON is asked for. */
const Answer = z.object({ simulated: z.boolean(), answer: z.string() });
const WEATHER = { name: "weather", description: "Weather of a town", parameters: { type: "object", properties: { town: { type: "string" } } } };

const catalog = JSON.parse(readFileSync(join(root, "models", "catalog.json"), "utf8"));
const known = new Set(catalog.models.map(({ id }) => id));

let simulator;
let gateway;
/** A gateway whose only provider answers as `SCRIPTS` say. */
let scripted;
let scripts;
let openai;
let anthropic;

before(async () => {
  simulator = await startSimulator({ latencyMs: 1, chunkMs: 0 });
  gateway = await startGateway({ vars: { ...simulatedProviders(catalog, simulator.url), POLICY: { format: 1, version: "p", tenants: { default: { keys: { tests: { sha256: createHash("sha256").update(KEY).digest("hex") } } } } } } });
  scripts = await startScripts();
  scripted = await startGateway({ vars: { PROVIDERS: { openai: { base_url: `http://127.0.0.1:${scripts.address().port}/v1` } } } });
  openai = new OpenAI({ apiKey: KEY, baseURL: `${gateway.url}/v1`, maxRetries: 0 });
  anthropic = new Anthropic({ apiKey: KEY, baseURL: gateway.url, maxRetries: 0 });
});

after(async () => {
  await gateway?.close();
  await scripted?.close();
  scripts?.close();
  await simulator?.close();
});

const collect = async (stream) => {
  const all = [];
  for await (const item of stream) all.push(item);
  return all;
};

/** Deltas that a provider may stream, by the request's field `script`. */
const SCRIPTS = {
  calls: [
    { role: "assistant", content: "" },
    { reasoning_content: "Two towns, " },
    { reasoning_content: "two calls." },
    { content: "Let me " },
    { content: "look." },
    { tool_calls: [{ index: 0, id: "call_a", type: "function", function: { name: "weather", arguments: "" } }] },
    { tool_calls: [{ index: 0, function: { arguments: '{"town":' } }] },
    { tool_calls: [{ index: 0, function: { arguments: '"Rome"}' } }] },
    { tool_calls: [{ index: 1, id: "call_b", type: "function", function: { name: "weather", arguments: '{"town":"O' } }] },
    { tool_calls: [{ index: 1, function: { arguments: 'slo"}' } }] },
  ],
  refusal: [{ role: "assistant", refusal: "I " }, { refusal: "would rather not." }],
  empty: [{ role: "assistant", content: "" }],
};
const USAGE = {
  ...{ prompt_tokens: 100, completion_tokens: 30, total_tokens: 130 },
  ...{ prompt_tokens_details: { cached_tokens: 60, cache_creation_tokens: 10 }, completion_tokens_details: { reasoning_tokens: 8 } },
};

async function startScripts() {
  const server = createServer(async (request, response) => {
    const body = JSON.parse(Buffer.concat(await collect(request)).toString());
    const chunk = { id: "chatcmpl-1", object: "chat.completion.chunk", created: 1, model: body.model };
    response.writeHead(200, { "content-type": "text/event-stream" });
    const send = (more) => response.write(`data: ${JSON.stringify({ ...chunk, ...more })}\n\n`);
    for (const delta of SCRIPTS[body.script]) send({ choices: [{ index: 0, delta, finish_reason: null }] });
    send({ choices: [{ index: 0, delta: {}, finish_reason: body.script === "calls" ? "tool_calls" : "stop" }] });
    send({ choices: [], usage: USAGE });
    response.end("data: [DONE]\n\n");
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

describe("OpenAI's SDK, chat", () => {
  test("structured output by parse", async () => {
    const reply = await openai.chat.completions.parse({ model: "auto", messages: MESSAGES, response_format: zodResponseFormat(Answer, "answer") });
    assert.equal(reply.choices[0].message.parsed.simulated, true);
    assert.ok(known.has(reply.model));
  });

  test("tools are run to the last answer", async () => {
    const runner = openai.chat.completions.runTools({
      model: "auto",
      messages: MESSAGES,
      tools: [{ type: "function", function: { ...WEATHER, function: () => "Rain.", parse: JSON.parse } }],
    });
    assert.match(await runner.finalContent(), SIMULATED);
  });

  test("the receipt comes with the answer where asked for, by field or header", async () => {
    const plain = await openai.chat.completions.create({ model: "auto", messages: MESSAGES, pennyroute: { receipt: true } });
    assert.equal(plain.pennyroute.served, plain.model);
    assert.deepEqual(plain.pennyroute.failed, []);
    assert.ok(plain.pennyroute.reason.length > 10);
    const headers = { "x-pennyroute-receipt": "true" };
    const chunks = await collect(await openai.chat.completions.create({ model: "auto", messages: MESSAGES, stream: true }, { headers }));
    assert.equal(chunks.at(-1).pennyroute.served, chunks.at(-1).model);
    assert.ok(chunks.slice(0, -1).every((chunk) => !("pennyroute" in chunk)));
    const without = await openai.chat.completions.create({ model: "auto", messages: MESSAGES });
    assert.equal(without.pennyroute, undefined);
  });
});

describe("OpenAI's SDK, responses", () => {
  test("plain", async () => {
    const { data, response } = await openai.responses.create({ model: "auto", instructions: "Be brief.", input: ASKED, metadata: { a: "b" } }).withResponse();
    assert.match(data.output_text, SIMULATED);
    assert.equal(data.status, "completed");
    assert.equal(data.store, false);
    assert.deepEqual(data.metadata, { a: "b" });
    assert.equal(data.model, response.headers.get("x-pennyroute-model"));
    assert.equal(data.usage.total_tokens, data.usage.input_tokens + data.usage.output_tokens);
    assert.deepEqual(simulator.calls.at(-1).body.messages, [{ role: "system", content: "Be brief." }, { role: "user", content: ASKED }]);
  });

  test("a stream tells its events in order, with the receipt in the last", async () => {
    const stream = openai.responses.stream({ model: "auto", input: ASKED, pennyroute: { receipt: true } });
    const events = await collect(stream);
    const types = events.map(({ type }) => type).filter((type, i, all) => type !== all[i - 1]);
    assert.deepEqual(types, [
      ...["response.created", "response.in_progress", "response.output_item.added", "response.content_part.added"],
      ...["response.output_text.delta", "response.output_text.done", "response.content_part.done", "response.output_item.done"],
      "response.completed",
    ]);
    assert.deepEqual(events.map(({ sequence_number }) => sequence_number), [...events.keys()]);
    const final = await stream.finalResponse();
    assert.match(final.output_text, SIMULATED);
    assert.equal(final.pennyroute.served, final.model);
  });

  test("an answer that its limit cuts is incomplete", async () => {
    const events = await collect(await openai.responses.create({ model: "auto", input: ASKED, max_output_tokens: 3, stream: true }));
    assert.equal(events.at(-1).type, "response.incomplete");
    assert.equal(events.at(-1).response.incomplete_details.reason, "max_output_tokens");
    assert.equal(simulator.calls.at(-1).body.max_tokens, 3);
  });

  test("tools, and what they answered", async () => {
    const tools = [{ type: "function", ...WEATHER, strict: false }];
    const first = await openai.responses.create({ model: "auto", input: ASKED, tools, tool_choice: "auto" });
    const [call] = first.output;
    assert.equal(call.type, "function_call");
    assert.equal(call.name, "weather");
    const input = [...MESSAGES, ...first.output, { type: "function_call_output", call_id: call.call_id, output: "Rain." }];
    const second = await openai.responses.create({ model: "auto", input, tools });
    assert.match(second.output_text, SIMULATED);
    const sent = simulator.calls.at(-1).body.messages;
    assert.deepEqual(sent.slice(1), [
      { role: "assistant", content: null, tool_calls: [{ id: call.call_id, type: "function", function: { name: "weather", arguments: "{}" } }] },
      { role: "tool", tool_call_id: call.call_id, content: "Rain." },
    ]);
  });

  test("structured output by parse", async () => {
    const reply = await openai.responses.parse({ model: "auto", input: ASKED, text: { format: zodTextFormat(Answer, "answer") } });
    assert.equal(reply.output_parsed.simulated, true);
    assert.equal(simulator.calls.at(-1).body.response_format.json_schema.strict, true);
  });

  test("reasoning, text and calls in pieces; a refusal; nothing at all", async () => {
    const client = new OpenAI({ apiKey: "none", baseURL: `${scripted.url}/v1`, maxRetries: 0 });
    const run = async (script) => client.responses.stream({ model: "auto", input: ASKED, script, include: ["reasoning.encrypted_content"] }).finalResponse();
    const { output, usage } = await run("calls");
    assert.deepEqual(output.map(({ type }) => type), ["reasoning", "message", "function_call", "function_call"]);
    assert.equal(output[0].summary[0].text, "Two towns, two calls.");
    assert.equal(output[1].content[0].text, "Let me look.");
    assert.deepEqual(output.slice(2).map((call) => [call.call_id, call.arguments]), [["call_a", '{"town":"Rome"}'], ["call_b", '{"town":"Oslo"}']]);
    assert.equal(usage.input_tokens_details.cached_tokens, 60);
    assert.equal(usage.output_tokens_details.reasoning_tokens, 8);
    const [{ type, refusal }] = (await run("refusal")).output[0].content;
    assert.deepEqual([type, refusal], ["refusal", "I would rather not."]);
    assert.deepEqual((await run("empty")).output, []);
  });

  test("what needs a server that keeps things is refused", async () => {
    const refused = async (more, code, param) =>
      assert.rejects(openai.responses.create({ model: "auto", input: ASKED, ...more }), (error) => {
        assert.ok(error instanceof OpenAI.BadRequestError);
        assert.deepEqual([error.code, error.param], [code, param]);
        return true;
      });
    await refused({ previous_response_id: "resp_1" }, "unsupported_parameter", "previous_response_id");
    await refused({ conversation: "conv_1" }, "unsupported_parameter", "conversation");
    await refused({ background: true }, "unsupported_parameter", "background");
    await refused({ tools: [{ type: "web_search" }] }, "unsupported_tool", "tools[0]");
    await refused({ input: [{ type: "item_reference", id: "msg_1" }] }, "unsupported_content", "input[0]");
    await refused({ input: [{ role: "user", content: [{ type: "input_image", file_id: "file_1" }] }] }, "unsupported_content", "input[0].content[0]");
    await refused({ input: 5 }, "bad_request", "input");
    await assert.rejects(openai.responses.create({ model: "nobody/nothing", input: ASKED }), OpenAI.NotFoundError);
    await assert.rejects(openai.responses.create({ model: "auto", input: ASKED, simulate: "429" }), OpenAI.RateLimitError);
    await assert.rejects(openai.responses.retrieve("resp_1"), OpenAI.NotFoundError);
  });

  test("a stream that is cut raises", async () => {
    for (const simulate of ["late_cut", "late_error_frame"]) {
      await assert.rejects(async () => collect(await openai.responses.create({ model: "auto", input: ASKED, stream: true, simulate })), OpenAI.APIError);
    }
  });
});

describe("Anthropic's SDK", () => {
  const ask = { model: "auto", max_tokens: 1000, messages: MESSAGES };
  const tools = [{ name: WEATHER.name, description: WEATHER.description, input_schema: WEATHER.parameters }];

  test("plain", async () => {
    const { data, response } = await anthropic.messages.create({ ...ask, system: [{ type: "text", text: "Be brief." }], stop_sequences: ["END"] }).withResponse();
    assert.match(data.content[0].text, SIMULATED);
    assert.deepEqual([data.type, data.role, data.stop_reason], ["message", "assistant", "end_turn"]);
    assert.equal(data.model, response.headers.get("x-pennyroute-model"));
    assert.ok(data.usage.input_tokens > 0 && data.usage.output_tokens > 0);
    const { body } = simulator.calls.at(-1);
    assert.deepEqual(body.messages[0], { role: "system", content: "Be brief." });
    assert.deepEqual([body.stop, body.max_tokens], [["END"], 1000]);
  });

  test("stream helpers, with the receipt in the last event", async () => {
    const stream = anthropic.messages.stream({ ...ask, pennyroute: { receipt: true } });
    const events = await collect(stream);
    const types = events.map(({ type }) => type).filter((type, i, all) => type !== all[i - 1]);
    assert.deepEqual(types, ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop"]);
    const message = await stream.finalMessage();
    assert.match(message.content[0].text, SIMULATED);
    assert.ok(message.usage.input_tokens > 0 && message.usage.output_tokens > 0);
    assert.equal(events.at(-1).pennyroute.served, message.model);
    const cut = await anthropic.messages.stream({ ...ask, max_tokens: 3 }).finalMessage();
    assert.equal(cut.stop_reason, "max_tokens");
    assert.equal((await anthropic.messages.create({ ...ask, pennyroute: { receipt: true } })).pennyroute.failed.length, 0);
  });

  test("tools, and what they answered", async () => {
    const first = await anthropic.messages.create({ ...ask, tools, tool_choice: { type: "any", disable_parallel_tool_use: true } });
    assert.equal(first.stop_reason, "tool_use");
    const [call] = first.content;
    assert.deepEqual([call.type, call.name, call.input], ["tool_use", "weather", {}]);
    assert.deepEqual([simulator.calls.at(-1).body.tool_choice, simulator.calls.at(-1).body.parallel_tool_calls], ["required", false]);
    const image = { type: "image", source: { type: "base64", media_type: "image/png", data: "iVBORw0KGgo=" } };
    const result = { type: "tool_result", tool_use_id: call.id, content: [{ type: "text", text: "Rain." }] };
    const answer = (content) => anthropic.messages.create({ ...ask, tools, messages: [...MESSAGES, { role: "assistant", content: first.content }, { role: "user", content }] });
    assert.match((await answer([result])).content[0].text, SIMULATED);
    assert.deepEqual(simulator.calls.at(-1).body.messages.at(-1), { role: "tool", tool_call_id: call.id, content: "Rain." });
    await answer([{ ...result, content: [image] }, { type: "text", text: "And now?" }]);
    const [told, user] = simulator.calls.at(-1).body.messages.slice(-2);
    assert.deepEqual(told, { role: "tool", tool_call_id: call.id, content: "" });
    assert.deepEqual(user.content.map(({ type }) => type), ["text", "image_url", "text"]);
    const runner = anthropic.beta.messages.toolRunner({ ...ask, tools: [{ ...tools[0], run: () => "Rain.", parse: (input) => input }] });
    assert.match((await runner).content[0].text, SIMULATED);
  });

  test("structured output by parse", async () => {
    const format = { type: "json_schema", schema: { type: "object", properties: { simulated: { type: "boolean" } } } };
    const reply = await anthropic.messages.create({ ...ask, output_config: { format } });
    assert.equal(JSON.parse(reply.content[0].text).simulated, true);
  });

  test("reasoning, text and calls in pieces; a refusal; nothing at all", async () => {
    const client = new Anthropic({ apiKey: "none", baseURL: scripted.url, maxRetries: 0 });
    const run = (script) => client.messages.stream({ ...ask, script }).finalMessage();
    const { content, usage, stop_reason } = await run("calls");
    assert.deepEqual(content.map((block) => block.thinking ?? block.text ?? [block.id, block.input]), [
      ...["Two towns, two calls.", "Let me look."],
      ...[["call_a", { town: "Rome" }], ["call_b", { town: "Oslo" }]],
    ]);
    assert.equal(stop_reason, "tool_use");
    assert.deepEqual([usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens, usage.output_tokens], [30, 60, 10, 30]);
    const refusal = await run("refusal");
    assert.deepEqual([refusal.stop_reason, refusal.content[0].text], ["refusal", "I would rather not."]);
    assert.deepEqual((await run("empty")).content, []);
  });

  test("tokens are counted", async () => {
    const few = await anthropic.messages.countTokens({ model: "auto", messages: MESSAGES });
    const more = await anthropic.messages.countTokens({ model: "auto", messages: MESSAGES, system: "Be brief. ".repeat(100), tools });
    assert.ok(few.input_tokens > 3 && more.input_tokens > few.input_tokens + 150);
  });

  test("errors raise the class that fits, in Anthropic's shape", async () => {
    const raises = (more, type, kind, client = anthropic) =>
      assert.rejects(client.messages.create({ ...ask, ...more }), (error) => {
        assert.ok(error instanceof type, String(error));
        assert.deepEqual(Object.keys(error.error), ["type", "error"]);
        assert.equal(error.error.error.type, kind);
        return true;
      });
    await raises({ messages: "Hi" }, Anthropic.BadRequestError, "invalid_request_error");
    await raises({ messages: [{ role: "user", content: [{ type: "web_search_tool_result" }] }] }, Anthropic.BadRequestError, "invalid_request_error");
    await raises({ tools: [{ type: "web_search_20250305", name: "web_search" }] }, Anthropic.BadRequestError, "invalid_request_error");
    await raises({ model: "nobody/nothing" }, Anthropic.NotFoundError, "not_found_error");
    await raises({ simulate: "429" }, Anthropic.RateLimitError, "rate_limit_error");
    await raises({ simulate: "500" }, Anthropic.InternalServerError, "api_error");
    await raises({ system: "x".repeat(11 * 2 ** 20) }, Anthropic.APIError, "request_too_large");
    await raises({}, Anthropic.AuthenticationError, "authentication_error", new Anthropic({ apiKey: "wrong", baseURL: gateway.url, maxRetries: 0 }));
    await assert.rejects(anthropic.messages.batches.list(), Anthropic.NotFoundError);
    assert.ok((await new Anthropic({ apiKey: null, authToken: KEY, baseURL: gateway.url }).messages.create(ask)).id);
  });

  test("a stream that is cut raises", async () => {
    for (const simulate of ["late_cut", "late_error_frame"]) {
      await assert.rejects(anthropic.messages.stream({ ...ask, simulate }).finalMessage(), Anthropic.APIError);
    }
  });
});

describe("Vercel AI SDK", () => {
  const models = {
    "openai-compatible": () => createOpenAICompatible({ name: "pennyroute", baseURL: `${gateway.url}/v1`, apiKey: KEY, includeUsage: true, supportsStructuredOutputs: true })("auto"),
    "openai responses": () => createOpenAI({ baseURL: `${gateway.url}/v1`, apiKey: KEY }).responses("auto"),
  };
  // The gateway keeps nothing, so whole items must be sent.
  const options = { maxRetries: 0, providerOptions: { openai: { store: false } } };

  for (const [name, model] of Object.entries(models)) {
    test(`${name}: generateText`, async () => {
      const { text, usage, finishReason } = await generateText({ model: model(), prompt: ASKED, ...options });
      assert.match(text, SIMULATED);
      assert.equal(finishReason, "stop");
      assert.ok(usage.inputTokens > 0 && usage.outputTokens > 0);
    });

    test(`${name}: streamText`, async () => {
      const result = streamText({ model: model(), prompt: ASKED, ...options });
      assert.match((await collect(result.textStream)).join(""), SIMULATED);
      assert.ok((await result.usage).outputTokens > 0);
    });

    for (const [way, ask] of [["generateText", generateText], ["streamText", streamText]]) {
      test(`${name}: ${way} runs tools`, async () => {
        const ran = [];
        const weather = tool({ description: WEATHER.description, inputSchema: z.object({ town: z.string().optional() }), execute: async (input) => ran.push(input) });
        const result = await ask({ model: model(), prompt: ASKED, tools: { weather }, stopWhen: stepCountIs(3), ...options });
        assert.match(await result.text, SIMULATED);
        assert.deepEqual(ran, [{}]);
        assert.equal((await result.steps).length, 2);
      });
    }

    test(`${name}: generateObject`, async () => {
      const { object } = await generateObject({ model: model(), prompt: ASKED, schema: Answer, ...options });
      assert.equal(object.simulated, true);
    });

    test(`${name}: errors`, async () => {
      const raises = (more, status) =>
        assert.rejects(generateText({ model: model(), prompt: ASKED, ...options, ...more }), (error) => APICallError.isInstance(error) && error.statusCode === status);
      await raises({ headers: { "x-pennyroute-quality": "high" } }, 400);
      await raises({ headers: { "x-pennyroute-allow": "nobody/*" } }, 503);
      await raises({ headers: { authorization: "Bearer wrong" } }, 401);
    });
  }
});

describe("curl", () => {
  const curl = async (path, body) =>
    (await promisify(execFile)("curl", ["-sN", "--max-time", "30", gateway.url + path, "-H", `authorization: Bearer ${KEY}`, "-d", JSON.stringify(body)])).stdout;

  test("server-sent events of the three APIs end as they must", async () => {
    const ask = { model: "auto", stream: true };
    assert.match(await curl("/v1/chat/completions", { ...ask, messages: MESSAGES }), /^data: \{.*\}\n\n(data: \{.*\}\n\n)+data: \[DONE\]\n\n$/);
    assert.match(await curl("/v1/responses", { ...ask, input: ASKED }), /^(event: response\.[\w.]+\ndata: \{.*\}\n\n)+$/);
    assert.match(await curl("/v1/messages", { ...ask, messages: MESSAGES }), /^event: message_start\n(.|\n)*\nevent: message_stop\ndata: \{"type":"message_stop"\}\n\n$/);
    const failed = await curl("/v1/messages", { ...ask, messages: MESSAGES, simulate: "late_cut" });
    assert.match(failed, /\nevent: error\ndata: \{"type":"error","error":\{"type":"api_error","message":"[^"]+"\}\}\n\n$/);
  });
});

test("Python clients", async (t) => {
  const { bin, missing } = pythonEnvironment("python-clients", "requirements.txt");
  if (missing !== undefined) {
    assert.ok(!process.env.PENNYROUTE_NO_SKIP, missing);
    console.log(`Python clients are not tested: ${missing}`);
    return t.skip(missing);
  }
  const script = join(root, "tests", "python", "clients.py");
  const { stdout } = await promisify(execFile)(join(bin, "python"), [script, gateway.url, KEY], { maxBuffer: 2 ** 24, timeout: 240_000 });
  const results = JSON.parse(stdout.trim().split("\n").at(-1));
  const raised = {
    openai_malformed: ["BadRequestError", 400],
    openai_unknown_model: ["NotFoundError", 404],
    openai_wrong_key: ["AuthenticationError", 401],
    openai_all_limited: ["RateLimitError", 429],
    openai_stream_cut: ["APIError", null],
    openai_responses_kept: ["BadRequestError", 400],
    openai_responses_hosted: ["BadRequestError", 400],
    openai_responses_cut: ["APIError", null],
    litellm_malformed: ["BadRequestError", 400],
    litellm_wrong_key: ["AuthenticationError", 401],
    litellm_unknown_model: ["NotFoundError", 404],
    litellm_anthropic_wrong_key: ["AuthenticationError", 401],
  };
  assert.deepEqual(Object.keys(results).filter((name) => "raised" in results[name]), Object.keys(raised));
  assert.equal(Object.keys(results).length, Object.keys(raised).length + 13);
  for (const [name, result] of Object.entries(results)) {
    await t.test(name, () => {
      assert.equal(result.error, undefined);
      if (name in raised) return assert.deepEqual([result.raised, result.status], raised[name]);
      // LiteLLM puts the asked model's name into the chunks of a stream.
      if (result.model !== undefined) assert.ok(known.has(result.model) || (name === "litellm_stream" && result.model === "auto"), result.model);
      if (name.endsWith("_tools")) assert.equal(result.name, "weather");
      if (name.endsWith("_parse")) assert.match(result.text, /^\[simulated/);
      else if (name === "openai_receipt") assert.equal(result.served, result.model);
      else if (result.text !== undefined || !name.endsWith("_tools")) assert.match(result.text, SIMULATED);
      if ("tokens" in result) assert.ok(result.tokens > 0);
      if ("last" in result) assert.equal(result.last, "response.completed");
    });
  }
});
