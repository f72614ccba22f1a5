// Wire formats of providers: pure translations of payloads as the APIs send them, streams cut at
// every byte, and whole conversations through the gateway before strict simulated servers.

import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import OpenAI from "openai";
import { startGateway } from "../../src/js/tools/gateway.mjs";
import { root } from "../../src/js/tools/shell.mjs";
import { AttemptError, HttpError } from "../../worker/errors.js";
import { anthropic } from "../../worker/formats/anthropic.js";
import { gemini } from "../../worker/formats/gemini.js";
import { openai } from "../../worker/formats/openai.js";
import { callProvider, readProviders } from "../../worker/providers.js";
import { startSimulator } from "../../worker/simulator.mjs";
import { readEvents, StreamError } from "../../worker/sse.js";

const FORMATS = { openai, anthropic, gemini };
const PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const WEATHER = {
  type: "function",
  function: { name: "weather", description: "Of a city.", parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] } },
};
const SCHEMA = {
  type: "object",
  properties: { name: { type: "string", maxLength: 40 }, ages: { type: "array", items: { oneOf: [{ type: "integer", minimum: 0 }, { type: "null" }] } } },
  required: ["name"],
};
const MESSAGES = [{ role: "user", content: "Why is the sky blue?" }];
/** Two calls in one turn, as another model than the asked one may have made them. */
const TOOL_TURNS = [
  { role: "system", content: "Be brief." },
  { role: "user", content: "Paris and Rome?" },
  {
    role: "assistant",
    content: "Looking.",
    tool_calls: [
      { id: "call_1", type: "function", function: { name: "weather", arguments: '{"city":"Paris"}' } },
      { id: "call_2", type: "function", function: { name: "weather", arguments: "" } },
    ],
  },
  { role: "tool", tool_call_id: "call_1", content: '{"sky":"blue"}' },
  { role: "tool", tool_call_id: "call_2", content: "rain" },
  { role: "user", content: "And?" },
];

const plain = (value) => JSON.parse(JSON.stringify(value));
const bodyOf = (format, chat) => plain(format.request({ messages: MESSAGES, ...chat }, { key: "k" }).body);
const claude = (chat) => bodyOf(anthropic, { model: "claude-opus-5-5", ...chat });
const google = (chat) => bodyOf(gemini, { model: "gemini-3.8-flash", ...chat });
const isUnsupported = (error) => error instanceof AttemptError && error.failure === "unsupported";
const isBadRequest = (param) => (error) => error instanceof HttpError && error.status === 400 && error.param === param;

async function chunksOf(format, response) {
  const chunks = [];
  const events = readEvents(response, { signal: new AbortController().signal, idleMs: 5000 });
  for await (const { created: _now, ...chunk } of format.chunks(events)) chunks.push(chunk);
  return chunks;
}

/** What a client makes of a stream's chunks. */
function assembled(chunks) {
  const message = { role: "assistant", content: "" };
  let finish;
  let usage;
  for (const { choices, usage: used } of chunks) {
    usage = used ?? usage;
    for (const { delta, finish_reason } of choices) {
      finish = finish_reason ?? finish;
      if (delta.content) message.content += delta.content;
      if (delta.reasoning_content) message.reasoning_content = (message.reasoning_content ?? "") + delta.reasoning_content;
      if (delta.thinking_blocks) message.thinking_blocks = [...(message.thinking_blocks ?? []), ...delta.thinking_blocks];
      for (const { index, ...call } of delta.tool_calls ?? []) {
        message.tool_calls ??= [];
        if (message.tool_calls[index]) message.tool_calls[index].function.arguments += call.function.arguments;
        else message.tool_calls[index] = structuredClone(call);
      }
    }
  }
  if (message.content === "" && message.tool_calls) message.content = null;
  return { message, finish, usage };
}

const summary = ({ choices: [{ message, finish_reason }], usage }) => ({ message: plain(message), finish: finish_reason, usage });

describe("Anthropic: requests", () => {
  test("a whole conversation", () => {
    const { path, headers, body } = anthropic.request(
      {
        model: "claude-sonnet-4-6",
        messages: TOOL_TURNS,
        tools: [WEATHER],
        tool_choice: "required",
        parallel_tool_calls: false,
        temperature: 1.7,
        top_p: 0.9,
        top_k: 5,
        stop: "END",
        max_tokens: 100,
        stream: true,
        stream_options: { include_usage: true },
        ...{ user: "u", seed: 1, logit_bias: {}, store: true, metadata: { user_id: "u1", team: "x" }, service_tier: "flex", unknown: 1 },
      },
      { key: "secret" },
    );
    assert.equal(path, "/messages");
    assert.deepEqual(headers, { "anthropic-version": "2023-06-01", "x-api-key": "secret" });
    assert.deepEqual(plain(body), {
      model: "claude-sonnet-4-6",
      max_tokens: 100,
      system: [{ type: "text", text: "Be brief." }],
      messages: [
        { role: "user", content: [{ type: "text", text: "Paris and Rome?" }] },
        {
          role: "assistant",
          content: [
            { type: "text", text: "Looking." },
            { type: "tool_use", id: "call_1", name: "weather", input: { city: "Paris" } },
            { type: "tool_use", id: "call_2", name: "weather", input: {} },
          ],
        },
        {
          role: "user",
          content: [
            { type: "tool_result", tool_use_id: "call_1", content: [{ type: "text", text: '{"sky":"blue"}' }] },
            { type: "tool_result", tool_use_id: "call_2", content: [{ type: "text", text: "rain" }] },
            { type: "text", text: "And?" },
          ],
        },
      ],
      tools: [{ name: "weather", description: "Of a city.", input_schema: WEATHER.function.parameters }],
      tool_choice: { type: "any", disable_parallel_tool_use: true },
      stop_sequences: ["END"],
      temperature: 1,
      top_k: 5,
      metadata: { user_id: "u1" },
      stream: true,
    });
    assert.deepEqual(anthropic.request({ model: "claude-opus-5-5", messages: MESSAGES }, {}).headers, { "anthropic-version": "2023-06-01" });
  });

  test("calls of earlier turns have their tools told, not to be called", () => {
    const { tools, tool_choice } = claude({ messages: TOOL_TURNS, tool_choice: "auto" });
    assert.deepEqual(tools, [{ name: "weather", input_schema: { type: "object", properties: {} } }]);
    assert.deepEqual(tool_choice, { type: "none" });
  });

  test("images, files and cache marks", () => {
    const mark = { type: "ephemeral" };
    const { system, messages, tools } = claude({
      messages: [
        { role: "developer", content: [{ type: "text", text: "Long.", cache_control: mark }] },
        {
          role: "user",
          content: [
            { type: "image_url", image_url: { url: `data:image/png;base64,${PIXEL}`, detail: "low" } },
            { type: "image_url", image_url: { url: "https://example.com/a.png" }, cache_control: mark },
            { type: "file", file: { filename: "a.pdf", file_data: "data:application/pdf;base64,JVBERi0=" } },
            { type: "text", text: "" },
          ],
          cache_control: mark,
        },
      ],
      tools: [{ ...WEATHER, cache_control: mark }],
    });
    assert.deepEqual(system, [{ type: "text", text: "Long.", cache_control: mark }]);
    assert.deepEqual(messages[0].content, [
      { type: "image", source: { type: "base64", media_type: "image/png", data: PIXEL } },
      { type: "image", source: { type: "url", url: "https://example.com/a.png" }, cache_control: mark },
      { type: "document", source: { type: "base64", media_type: "application/pdf", data: "JVBERi0=" }, title: "a.pdf", cache_control: mark },
    ]);
    assert.deepEqual(tools[0].cache_control, mark);
  });

  test("a later system message keeps its place; system messages alone are the question", () => {
    const { system, messages } = claude({ messages: [...MESSAGES, { role: "system", content: "In French." }] });
    assert.equal(system, undefined);
    assert.deepEqual(messages[0].content[1], { type: "text", text: "<system>\nIn French.\n</system>" });
    assert.deepEqual(claude({ messages: [{ role: "system", content: "Say hi." }] }).messages, [
      { role: "user", content: [{ type: "text", text: "Say hi." }] },
    ]);
  });

  test("what was sent stays as it was when a conversation goes on, for caches and signed thoughts", () => {
    const later = [{ role: "assistant", content: "Hm." }, { role: "system", content: "In French." }, ...MESSAGES];
    const all = [...TOOL_TURNS, ...later];
    const whole = claude({ messages: all });
    for (const [i, { role }] of all.entries()) {
      if (role !== "assistant") continue;
      const { system, messages } = claude({ messages: all.slice(0, i) });
      assert.deepEqual(system, whole.system);
      assert.deepEqual(messages, whole.messages.slice(0, messages.length));
    }
  });

  test("effort and thinking, as each generation takes them", () => {
    const of = (model, chat) => {
      const { thinking, output_config, temperature } = claude({ model, temperature: 0.5, max_tokens: 16_384, ...chat });
      return { thinking, effort: output_config?.effort, temperature };
    };
    const none = { thinking: undefined, effort: undefined, temperature: undefined };
    assert.deepEqual(of("claude-opus-5-5", {}), none);
    assert.deepEqual(of("claude-opus-5-5", { reasoning_effort: "max" }), { ...none, thinking: { type: "adaptive" }, effort: "max" });
    assert.deepEqual(of("claude-opus-5-5", { reasoning_effort: "none" }), { ...none, effort: "low" });
    assert.deepEqual(of("claude-opus-5-5", { thinking: { type: "enabled", budget_tokens: 5000 } }), { ...none, thinking: { type: "adaptive" } });
    assert.deepEqual(of("claude-sonnet-4-6", { reasoning_effort: "none" }), { ...none, temperature: 0.5 });
    assert.deepEqual(of("claude-sonnet-4-6", { reasoning_effort: "xhigh" }), { ...none, thinking: { type: "adaptive" }, effort: "high" });
    assert.deepEqual(of("claude-haiku-4-5-20251001", { reasoning_effort: "high" }), { ...none, thinking: { type: "enabled", budget_tokens: 8192 } });
    assert.deepEqual(of("claude-haiku-4-5", { reasoning_effort: "high", max_tokens: 500 }), { ...none, temperature: 0.5 }, "no room to think");
    assert.deepEqual(of("claude-haiku-4-5", { thinking: { type: "enabled", budget_tokens: 2000 } }), { ...none, thinking: { type: "enabled", budget_tokens: 2000 } });
    assert.deepEqual(of("claude-haiku-4-5", { reasoning_effort: "high", messages: TOOL_TURNS }), { ...none, temperature: 0.5 }, "calls without thoughts");
    const forced = { reasoning_effort: "high", tools: [WEATHER], tool_choice: "required" };
    assert.deepEqual(of("claude-haiku-4-5", forced), { ...none, temperature: 0.5 });
    assert.deepEqual(of("claude-haiku-5-5", forced), { ...none, effort: "high" });
  });

  test("signed thoughts are sent back, others are not", () => {
    const signed = { type: "thinking", thinking: "Hm.", signature: "c2ln" };
    const redacted = { type: "redacted_thinking", data: "ZGF0YQ==" };
    const { messages } = claude({
      messages: [
        ...MESSAGES,
        { role: "assistant", content: "Rayleigh.", reasoning_content: "Hm.", thinking_blocks: [signed, redacted, { type: "thinking", thinking: "?" }] },
        { role: "user", content: "Sure?" },
      ],
    });
    assert.deepEqual(messages[1].content, [signed, redacted, { type: "text", text: "Rayleigh." }]);
  });

  test("JSON by schema is closed and keeps what it cannot enforce as words; JSON alone is an instruction", () => {
    const { output_config } = claude({ response_format: { type: "json_schema", json_schema: { name: "x", schema: SCHEMA } } });
    assert.deepEqual(output_config.format, {
      type: "json_schema",
      schema: {
        type: "object",
        properties: {
          name: { type: "string", description: '{"maxLength":40}' },
          ages: { type: "array", items: { anyOf: [{ type: "integer", description: '{"minimum":0}' }, { type: "null" }] } },
        },
        required: ["name"],
        additionalProperties: false,
      },
    });
    assert.match(claude({ response_format: { type: "json_object" } }).system.at(-1).text, /JSON/);
    const node = { type: "object", properties: { next: { $ref: "#/$defs/node" } } };
    const pair = { a: { $ref: "#/$defs/b" }, b: { anyOf: [{ $ref: "#/$defs/a" }, { type: "null" }] } };
    const point = { type: "object", properties: { x: { type: "number" } } };
    const line = { type: "object", properties: { from: { $ref: "#/$defs/point" }, to: { $ref: "#/$defs/point" } }, $defs: { point } };
    const { format } = claude({ response_format: { type: "json_schema", json_schema: { schema: line } } }).output_config;
    const closed = { additionalProperties: false };
    assert.deepEqual(format.schema, { ...line, ...closed, $defs: { point: { ...point, ...closed } } });
    for (const schema of [
      ...[{ ...node, $defs: { node } }, { type: "object", properties: { a: { $ref: "#/$defs/a" } }, $defs: pair }, { type: "array", items: { $ref: "#" } }],
      ...[{}, { description: "any" }, { type: "object" }, { type: "object", additionalProperties: { type: "string" } }, { type: "array", items: {} }],
    ]) {
      assert.throws(() => claude({ response_format: { type: "json_schema", json_schema: { schema } } }), isUnsupported, JSON.stringify(schema));
    }
  });

  test("what only another model could serve is unsupported, what is wrong for all is a bad request", () => {
    const image = (url) => ({ messages: [{ role: "user", content: [{ type: "image_url", image_url: { url } }] }] });
    for (const chat of [
      { n: 2 },
      { logprobs: true },
      { modalities: ["text", "audio"] },
      { web_search_options: {} },
      { functions: [{ name: "f" }] },
      { tools: [{ type: "custom", custom: { name: "x" } }] },
      { tools: [WEATHER], tool_choice: "required" },
      { tools: [WEATHER], tool_choice: { type: "allowed_tools" } },
      { stop: "\n" },
      { messages: [{ role: "user", content: [{ type: "input_audio", input_audio: { data: "AAAA", format: "wav" } }] }] },
      { messages: [{ role: "user", content: [{ type: "file", file: { file_id: "file-1" } }] }] },
      { messages: [{ role: "assistant", content: "Hi." }, ...MESSAGES] },
      { messages: [...MESSAGES, { role: "system", content: [{ type: "image_url", image_url: { url: "https://example.com/a.png" } }] }] },
      { messages: [...MESSAGES, { role: "assistant", content: "Because" }] },
      { messages: [...MESSAGES, { role: "assistant", tool_calls: [{ id: "1", function: { name: "f", arguments: "{" } }] }] },
      image("data:image/tiff;base64,AAAA"),
    ]) {
      assert.throws(() => claude(chat), isUnsupported, JSON.stringify(chat));
    }
    assert.throws(() => claude(image("https://")), isBadRequest("messages[0].content[0].image_url.url"));
    assert.throws(() => claude(image("http://example.com/a.png")), isBadRequest("messages[0].content[0].image_url.url"));
    assert.throws(() => claude({ messages: [{ role: "user", content: 5 }] }), isBadRequest("messages[0].content"));
    assert.throws(() => claude({ tool_choice: "sometimes", tools: [WEATHER] }), isBadRequest("tool_choice"));
    assert.equal(claude({ model: "claude-haiku-5-5", tools: [WEATHER], tool_choice: "required" }).tool_choice.type, "any");
  });
});

describe("Gemini: requests", () => {
  test("a whole conversation", () => {
    const { path, headers, body } = gemini.request(
      {
        model: "gemini-3.8-flash",
        messages: TOOL_TURNS,
        tools: [WEATHER],
        tool_choice: { type: "function", function: { name: "weather" } },
        ...{ temperature: 0.2, top_p: 0.9, top_k: 5, seed: 7, presence_penalty: 0.5, frequency_penalty: 0 },
        stop: ["END"],
        max_completion_tokens: 100,
        stream: true,
        ...{ user: "u", logit_bias: {}, store: true, metadata: {}, unknown: 1, stream_options: {} },
      },
      { key: "secret" },
    );
    assert.equal(path, "/models/gemini-3.8-flash:streamGenerateContent?alt=sse");
    assert.deepEqual(headers, { "x-goog-api-key": "secret" });
    assert.deepEqual(plain(body), {
      systemInstruction: { parts: [{ text: "Be brief." }] },
      contents: [
        { role: "user", parts: [{ text: "Paris and Rome?" }] },
        {
          role: "model",
          parts: [
            { text: "Looking." },
            { functionCall: { id: "call_1", name: "weather", args: { city: "Paris" } }, thoughtSignature: "skip_thought_signature_validator" },
            { functionCall: { id: "call_2", name: "weather", args: {} } },
          ],
        },
        {
          role: "user",
          parts: [
            { functionResponse: { id: "call_1", name: "weather", response: { sky: "blue" } } },
            { functionResponse: { id: "call_2", name: "weather", response: { output: "rain" } } },
            { text: "And?" },
          ],
        },
      ],
      tools: [{ functionDeclarations: [{ name: "weather", description: "Of a city.", parametersJsonSchema: WEATHER.function.parameters }] }],
      toolConfig: { functionCallingConfig: { mode: "ANY", allowedFunctionNames: ["weather"] } },
      generationConfig: {
        ...{ maxOutputTokens: 100, temperature: 0.2, topP: 0.9, topK: 5, seed: 7, presencePenalty: 0.5, stopSequences: ["END"] },
      },
    });
    assert.equal(gemini.request({ model: "gemini-4", messages: MESSAGES }, {}).path, "/models/gemini-4:generateContent");
    assert.deepEqual(gemini.request({ model: "gemini-4", messages: MESSAGES }, {}).headers, {});
  });

  test("a signature comes back with its call", () => {
    const [system, user, assistant, ...rest] = TOOL_TURNS;
    const [first, second] = assistant.tool_calls;
    const signed = { ...first, extra_content: { google: { thought_signature: "c2ln" } } };
    const { contents } = google({ messages: [system, user, { ...assistant, tool_calls: [signed, second] }, ...rest] });
    assert.equal(contents[1].parts[1].thoughtSignature, "c2ln");
    const older = google({ model: "gemini-2.5-pro", messages: TOOL_TURNS });
    assert.equal(older.contents[1].parts[1].thoughtSignature, undefined);
  });

  test("images, files and sound", () => {
    const { contents } = google({
      messages: [
        {
          role: "user",
          content: [
            { type: "image_url", image_url: { url: `data:image/png;base64,${PIXEL}` } },
            { type: "image_url", image_url: { url: "https://example.com/a.JPG?x=1" } },
            { type: "input_audio", input_audio: { data: "AAAA", format: "wav" } },
            { type: "file", file: { file_data: "data:application/pdf;base64,JVBERi0=" } },
          ],
        },
      ],
    });
    assert.deepEqual(contents[0].parts, [
      { inlineData: { mimeType: "image/png", data: PIXEL } },
      { fileData: { mimeType: "image/jpeg", fileUri: "https://example.com/a.JPG?x=1" } },
      { inlineData: { mimeType: "audio/wav", data: "AAAA" } },
      { inlineData: { mimeType: "application/pdf", data: "JVBERi0=" } },
    ]);
  });

  test("thinking by budget or by level", () => {
    const of = (model, chat) => google({ model, ...chat }).generationConfig.thinkingConfig;
    assert.equal(of("gemini-2.5-flash", {}), undefined);
    assert.deepEqual(of("gemini-2.5-flash", { reasoning_effort: "none" }), { thinkingBudget: 0 });
    assert.deepEqual(of("gemini-2.5-pro", { reasoning_effort: "none" }), { thinkingBudget: 128 });
    assert.deepEqual(of("gemini-2.5-flash", { reasoning_effort: "high" }), { thinkingBudget: 24_576, includeThoughts: true });
    assert.deepEqual(of("gemini-2.5-flash", { thinking: { type: "enabled", budget_tokens: 3000 } }), { thinkingBudget: 3000, includeThoughts: true });
    assert.deepEqual(of("gemini-3.8-flash", { reasoning_effort: "medium" }), { thinkingLevel: "MEDIUM", includeThoughts: true });
    assert.deepEqual(of("gemini-3.8-flash", { thinking: { type: "enabled", budget_tokens: 3000 } }), { includeThoughts: true });
    assert.deepEqual(of("gemini-3.1-pro-preview", { thinking: { type: "disabled" } }), { thinkingLevel: "LOW" });
  });

  test("JSON", () => {
    const { generationConfig } = google({ response_format: { type: "json_schema", json_schema: { schema: SCHEMA } } });
    assert.deepEqual(generationConfig, { responseMimeType: "application/json", responseJsonSchema: SCHEMA });
    assert.deepEqual(google({ response_format: { type: "json_object" } }).generationConfig, { responseMimeType: "application/json" });
  });

  test("what cannot be said", () => {
    assert.throws(() => google({ n: 2 }), isUnsupported);
    assert.throws(() => google({ tools: [WEATHER], parallel_tool_calls: false }), isUnsupported);
    assert.throws(() => google({ messages: [...MESSAGES, { role: "tool", tool_call_id: "call_9", content: "x" }] }), isBadRequest("messages[1].tool_call_id"));
  });
});

test("no request body makes a translation fail in an unforeseen way", () => {
  const whole = {
    messages: [...TOOL_TURNS, { role: "user", content: [{ type: "image_url", image_url: { url: "https://example.com/a.png" } }, { type: "text", text: "x" }] }],
    tools: [WEATHER],
    tool_choice: { type: "function", function: { name: "weather" } },
    response_format: { type: "json_schema", json_schema: { schema: SCHEMA } },
    thinking: { type: "enabled", budget_tokens: 2000 },
    stop: ["x"],
    ...{ temperature: 1, top_p: 1, top_k: 1, seed: 1, n: 1, metadata: { user_id: "u" }, modalities: ["text"], max_tokens: 10, reasoning_effort: "low" },
  };
  /** Every place in a value. */
  const places = (value, at = []) => [
    ...(at.length ? [at] : []),
    ...(value && typeof value === "object" ? Object.keys(value).flatMap((name) => places(value[name], [...at, name])) : []),
  ];
  let tried = 0;
  for (const place of places(whole)) {
    for (const odd of [null, 5, -1, "", "odd", true, [], {}, [null], [[]], { type: "text" }]) {
      const chat = structuredClone(whole);
      const owner = place.slice(0, -1).reduce((value, name) => value[name], chat);
      owner[place.at(-1)] = odd;
      // The gateway itself checks that there are messages.
      if (!Array.isArray(chat.messages) || chat.messages.length === 0) continue;
      for (const [format, model] of [[anthropic, "claude-opus-5-5"], [anthropic, "claude-haiku-4-5"], [gemini, "gemini-2.5-pro"], [gemini, "gemini-4-argon"]]) {
        tried++;
        try {
          JSON.stringify(format.request({ ...chat, model }, { key: "k" }).body);
        } catch (error) {
          assert.ok(error instanceof AttemptError || error instanceof HttpError, `${place.join(".")} = ${JSON.stringify(odd)}: ${error.stack}`);
        }
      }
    }
  }
  assert.ok(tried > 2000);
});

// Shapes as the providers' documentation shows them.
const CLAUDE_REPLY = {
  id: "msg_013Zva2CMHLNnXjNJJKqJ2EF",
  type: "message",
  role: "assistant",
  model: "claude-opus-5-5",
  content: [
    { type: "thinking", thinking: "They ask for the weather.", signature: "EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pk" },
    { type: "redacted_thinking", data: "EmwKAhgBEgy3va3pzix" },
    { type: "text", text: "I'll look — naïve 🦊." },
    { type: "tool_use", id: "toolu_01T1x1fJ34qAmk2tNTrN7Up6", name: "weather", input: { city: "Paris" } },
    { type: "tool_use", id: "toolu_01T1x1fJ34qAmk2tNTrN7Up7", name: "now", input: {} },
  ],
  stop_reason: "tool_use",
  stop_sequence: null,
  usage: {
    input_tokens: 20,
    cache_creation_input_tokens: 100,
    cache_read_input_tokens: 3000,
    output_tokens: 89,
    output_tokens_details: { thinking_tokens: 40 },
    service_tier: "standard",
  },
};
const CLAUDE_EVENTS = [
  { type: "message_start", message: { ...CLAUDE_REPLY, content: [], stop_reason: null, usage: { ...CLAUDE_REPLY.usage, output_tokens: 1, output_tokens_details: null } } },
  { type: "content_block_start", index: 0, content_block: { type: "thinking", thinking: "", signature: "" } },
  { type: "ping" },
  { type: "content_block_delta", index: 0, delta: { type: "thinking_delta", thinking: "They ask for " } },
  { type: "content_block_delta", index: 0, delta: { type: "thinking_delta", thinking: "the weather." } },
  { type: "content_block_delta", index: 0, delta: { type: "signature_delta", signature: CLAUDE_REPLY.content[0].signature } },
  { type: "content_block_stop", index: 0 },
  { type: "content_block_start", index: 1, content_block: CLAUDE_REPLY.content[1] },
  { type: "content_block_stop", index: 1 },
  { type: "content_block_start", index: 2, content_block: { type: "text", text: "" } },
  { type: "content_block_delta", index: 2, delta: { type: "text_delta", text: "I'll look" } },
  { type: "content_block_delta", index: 2, delta: { type: "text_delta", text: " — naïve 🦊." } },
  { type: "content_block_stop", index: 2 },
  { type: "content_block_start", index: 3, content_block: { ...CLAUDE_REPLY.content[3], input: {} } },
  { type: "content_block_delta", index: 3, delta: { type: "input_json_delta", partial_json: "" } },
  { type: "content_block_delta", index: 3, delta: { type: "input_json_delta", partial_json: '{"city":' } },
  { type: "content_block_delta", index: 3, delta: { type: "input_json_delta", partial_json: '"Paris"}' } },
  { type: "content_block_stop", index: 3 },
  { type: "content_block_start", index: 4, content_block: CLAUDE_REPLY.content[4] },
  { type: "content_block_stop", index: 4 },
  { type: "some_new_event", what: "ever" },
  { type: "message_delta", delta: { stop_reason: "tool_use", stop_sequence: null }, usage: { output_tokens: 89, output_tokens_details: { thinking_tokens: 40 } } },
  { type: "message_stop" },
];
const GEMINI_REPLY = {
  candidates: [
    {
      content: {
        role: "model",
        parts: [
          { text: "They ask for the weather.", thought: true },
          { text: "I'll look — naïve 🦊." },
          { functionCall: { id: "fc-1", name: "weather", args: { city: "Paris" } }, thoughtSignature: "EqQBCgIYAhIM" },
          { functionCall: { id: "fc-2", name: "now" } },
        ],
      },
      finishReason: "STOP",
      index: 0,
    },
  ],
  usageMetadata: { promptTokenCount: 3120, cachedContentTokenCount: 3000, candidatesTokenCount: 49, thoughtsTokenCount: 40, totalTokenCount: 3209 },
  modelVersion: "gemini-3.8-flash",
  responseId: "abc",
};
const GEMINI_EVENTS = [
  ...[{ text: "They ask for ", thought: true }, { text: "the weather.", thought: true }, { text: "I'll look" }, { text: " — naïve 🦊." }].map((part) => ({
    ...GEMINI_REPLY,
    candidates: [{ content: { role: "model", parts: [part] }, index: 0 }],
    usageMetadata: { promptTokenCount: 3120, totalTokenCount: 3120 },
  })),
  { ...GEMINI_REPLY, candidates: [{ content: { role: "model", parts: GEMINI_REPLY.candidates[0].content.parts.slice(2) }, index: 0 }] },
  { ...GEMINI_REPLY, candidates: [{ content: { role: "model", parts: [{ text: "" }] }, finishReason: "STOP", index: 0 }] },
];
const OPENAI_EVENTS = ["I'll", " look — naïve 🦊."].map((content) => ({ id: "c", choices: [{ index: 0, delta: { content }, finish_reason: null }] }));

const STREAMS = {
  openai: [...OPENAI_EVENTS, { id: "c", choices: [{ index: 0, delta: {}, finish_reason: "stop" }] }].map((event) => `data: ${JSON.stringify(event)}\n\n`).join("") + "data: [DONE]\n\n",
  anthropic: CLAUDE_EVENTS.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join(""),
  gemini: GEMINI_EVENTS.map((event) => `data: ${JSON.stringify(event)}\r\n\r\n`).join(""),
};

describe("answers", () => {
  const USAGE = {
    prompt_tokens: 3120,
    completion_tokens: 89,
    total_tokens: 3209,
    prompt_tokens_details: { cached_tokens: 3000, cache_creation_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: 40 },
  };

  test("Anthropic, whole", () => {
    const { message, finish, usage } = summary(anthropic.reply(CLAUDE_REPLY));
    assert.deepEqual(message, {
      role: "assistant",
      content: "I'll look — naïve 🦊.",
      reasoning_content: "They ask for the weather.",
      thinking_blocks: CLAUDE_REPLY.content.slice(0, 2),
      tool_calls: [
        { id: "toolu_01T1x1fJ34qAmk2tNTrN7Up6", type: "function", function: { name: "weather", arguments: '{"city":"Paris"}' } },
        { id: "toolu_01T1x1fJ34qAmk2tNTrN7Up7", type: "function", function: { name: "now", arguments: "{}" } },
      ],
    });
    assert.equal(finish, "tool_calls");
    assert.deepEqual(usage, { ...USAGE, prompt_tokens_details: { cached_tokens: 3000, cache_creation_tokens: 100 } });
  });

  test("Gemini, whole", () => {
    const { message, finish, usage } = summary(gemini.reply(GEMINI_REPLY));
    assert.deepEqual(message, {
      role: "assistant",
      content: "I'll look — naïve 🦊.",
      reasoning_content: "They ask for the weather.",
      tool_calls: [
        { id: "fc-1", type: "function", function: { name: "weather", arguments: '{"city":"Paris"}' }, extra_content: { google: { thought_signature: "EqQBCgIYAhIM" } } },
        { id: "fc-2", type: "function", function: { name: "now", arguments: "{}" } },
      ],
    });
    assert.equal(finish, "tool_calls");
    assert.deepEqual(usage, USAGE);
  });

  for (const [name, whole] of Object.entries({ anthropic: anthropic.reply(CLAUDE_REPLY), gemini: gemini.reply(GEMINI_REPLY) })) {
    test(`${name}, streamed, is the same as whole`, async () => {
      const chunks = await chunksOf(FORMATS[name], new Response(STREAMS[name]));
      assert.deepEqual(assembled(chunks), summary(whole));
      assert.deepEqual(chunks.at(-1).choices, []);
      assert.equal(chunks.filter(({ usage }) => usage).length, 1);
      for (const { id, object, model } of chunks) assert.deepEqual({ id, object, model }, { id: whole.id, object: "chat.completion.chunk", model: whole.model });
    });
  }

  for (const [name, text] of Object.entries(STREAMS)) {
    test(`${name}: cut in two at every byte, a stream reads the same; ended at any, it is told`, async () => {
      const bytes = new TextEncoder().encode(text);
      const expected = await chunksOf(FORMATS[name], new Response(bytes));
      // Where the answer is whole although bytes are missing: the end of the last line that matters.
      const enough = new TextEncoder().encode(text.trimEnd()).length;
      const finish = name === "openai" ? new TextEncoder().encode(text.slice(0, text.indexOf("data: [DONE]"))).length : enough;
      for (let cut = 0; cut < bytes.length; cut++) {
        const pieces = ReadableStream.from([bytes.slice(0, cut), bytes.slice(cut)]);
        assert.deepEqual(await chunksOf(FORMATS[name], new Response(pieces)), expected, `cut at ${cut}`);
        if (cut >= finish - 2) continue;
        await assert.rejects(chunksOf(FORMATS[name], new Response(bytes.slice(0, cut))), StreamError, `ended at ${cut}`);
      }
    });
  }

  test("why an answer ended", () => {
    const claudeFinish = (stop_reason) => anthropic.reply({ ...CLAUDE_REPLY, content: [], stop_reason }).choices[0].finish_reason;
    const geminiFinish = (finishReason) => gemini.reply({ candidates: [{ content: { parts: [{ text: "x" }] }, finishReason }] }).choices[0].finish_reason;
    assert.deepEqual(["end_turn", "stop_sequence", "max_tokens", "refusal"].map(claudeFinish), ["stop", "stop", "length", "content_filter"]);
    assert.deepEqual(["STOP", "MAX_TOKENS", "SAFETY", "PROHIBITED_CONTENT"].map(geminiFinish), ["stop", "length", "content_filter", "content_filter"]);
    for (const reason of ["MALFORMED_FUNCTION_CALL", "OTHER", "SOMETHING_NEW"]) assert.throws(() => geminiFinish(reason), { failure: "bad_reply" });
  });

  test("a blocked prompt, an empty reply, an id that Gemini did not give", async () => {
    const blocked = { promptFeedback: { blockReason: "SAFETY" }, usageMetadata: { promptTokenCount: 4, totalTokenCount: 4 } };
    const { message, finish, usage } = summary(gemini.reply(blocked));
    assert.deepEqual([message.content, finish, usage.total_tokens], ["", "content_filter", 4]);
    assert.equal(assembled(await chunksOf(gemini, new Response(`data: ${JSON.stringify(blocked)}\n\n`))).finish, "content_filter");
    for (const empty of [{}, { candidates: [] }, { candidates: [{}] }]) assert.throws(() => gemini.reply(empty), { failure: "bad_reply" });
    for (const empty of [{}, { type: "message" }, null]) assert.throws(() => anthropic.reply(empty), { failure: "bad_reply" });
    const { choices } = gemini.reply({ candidates: [{ content: { parts: [{ functionCall: { name: "a" } }, { functionCall: { name: "a" } }] }, finishReason: "STOP" }] });
    const [one, two] = choices[0].message.tool_calls.map(({ id }) => id);
    assert.match(one, /^call_\w{32}$/);
    assert.notEqual(one, two);
  });

  test("errors, in a body and in a stream", async () => {
    assert.deepEqual(anthropic.error({ type: "error", error: { type: "overloaded_error", message: "Overloaded" } }), {
      ...{ message: "Overloaded", type: "overloaded_error", code: "overloaded_error", ofProvider: false },
    });
    assert.equal(anthropic.error({ error: { message: "Your credit balance is too low to access the Anthropic API." } }).ofProvider, true);
    const invalid = { error: { code: 400, message: "API key not valid.", status: "INVALID_ARGUMENT", details: [{ reason: "API_KEY_INVALID" }] } };
    assert.equal(gemini.error([invalid]).ofProvider, true);
    assert.equal(gemini.error({ error: { code: 400, message: "m", status: "INVALID_ARGUMENT" } }).code, "INVALID_ARGUMENT");
    for (const odd of [null, [], {}, { error: null }, { error: "text" }, 5]) for (const format of [anthropic, gemini]) format.error(odd);
    const failing = { anthropic: { type: "error", error: { type: "overloaded_error", message: "Overloaded" } }, gemini: { error: { message: "Overloaded" } } };
    for (const [name, event] of Object.entries(failing)) {
      await assert.rejects(chunksOf(FORMATS[name], new Response(`data: ${JSON.stringify(event)}\n\n`)), { failure: "error_event", message: "Overloaded" });
    }
  });
});

test("a refused key or account that is told as a bad request counts against the provider", async () => {
  const bodies = {
    anthropic: { type: "error", error: { type: "invalid_request_error", message: "Your credit balance is too low to access the Anthropic API." } },
    gemini: { error: { code: 400, message: "API key not valid: secret.", status: "INVALID_ARGUMENT", details: [{ reason: "API_KEY_INVALID" }] } },
  };
  const server = createServer((request, response) => response.writeHead(400).end(JSON.stringify(bodies[request.url.split("/")[1]])));
  await once(server.listen(0, "127.0.0.1"), "listening");
  try {
    for (const format of Object.keys(bodies)) {
      const base_url = `http://127.0.0.1:${server.address().port}/${format}`;
      const provider = readProviders({ PROVIDERS: { it: { base_url, format, key: "KEY" } }, KEY: "secret" }).get("it");
      const limits = { signal: new AbortController().signal, firstByteMs: 5000, replyMs: 5000, idleMs: 5000 };
      await assert.rejects(callProvider(provider, { model: "m", messages: MESSAGES }, limits), (error) => {
        assert.ok(error instanceof AttemptError && error.ofProvider && !error.message.includes("secret"));
        return true;
      });
    }
  } finally {
    server.close();
  }
});

describe("one simulated call, plain and streamed, agrees in every format", () => {
  /** The simulator names provider and model in its answers: they must be as long in every format. */
  const MODEL = "simulated-4-6";
  const BASES = { openai: "/one/v1", anthropic: "/one/v1", gemini: "/one/v1beta" };
  const turns = TOOL_TURNS.map(({ tool_calls: calls, ...turn }) => (calls ? { ...turn, tool_calls: calls.slice(0, 1) } : turn));
  let simulator;
  before(async () => (simulator = await startSimulator({ latencyMs: 0, chunkMs: 0 })));
  after(() => simulator.close());

  async function ask(name, chat) {
    const { path, headers, body } = FORMATS[name].request({ model: MODEL, ...chat }, {});
    const response = await fetch(simulator.url + BASES[name] + path, { method: "POST", headers, body: JSON.stringify(body) });
    if (!response.ok) assert.fail(`${name}: ${await response.text()}`);
    return chat.stream ? assembled(await chunksOf(FORMATS[name], response)) : summary(FORMATS[name].reply(await response.json()));
  }

  const asks = {
    text: {},
    "text cut short": { max_tokens: 5 },
    "a tool call": { tools: [WEATHER] },
    "tool results": { messages: turns.filter(({ tool_call_id: id }) => id !== "call_2"), tools: [WEATHER] },
    "JSON": { response_format: { type: "json_schema", json_schema: { name: "x", schema: SCHEMA } } },
    "thoughts": { reasoning_effort: "high", max_tokens: 20_000 },
  };
  for (const [what, chat] of Object.entries(asks)) {
    test(what, async () => {
      const whole = { messages: MESSAGES, stream_options: { include_usage: true }, ...chat };
      const seen = new Map();
      for (const name of Object.keys(FORMATS)) {
        const [answer, streamed] = [await ask(name, whole), await ask(name, { ...whole, stream: true })];
        assert.deepEqual(streamed, answer, name);
        const { prompt_tokens, completion_tokens, completion_tokens_details: { reasoning_tokens } } = answer.usage;
        seen.set(name, { finish: answer.finish, prompt_tokens, completion_tokens, reasoning_tokens, calls: answer.message.tool_calls?.map((call) => call.function) });
        if (what === "thoughts" && name !== "openai") assert.match(answer.message.reasoning_content, /thoughts/);
      }
      // The same tokens are counted, whatever the API.
      assert.deepEqual(seen.get("anthropic"), seen.get("openai"));
      assert.deepEqual(seen.get("gemini"), seen.get("openai"));
    });
  }
});

describe("through the gateway", () => {
  const catalog = JSON.parse(readFileSync(join(root, "models", "catalog.json"), "utf8"));
  const byId = new Map(catalog.models.map((model) => [model.id, model]));
  const NATIVE = ["anthropic/claude-opus-5-5", "anthropic/claude-haiku-4-5", "google/gemini-3.8-flash", "google/gemini-2.5-flash"];
  /** A weaker model in OpenAI's format, so that the router puts it second. */
  const SECOND = "mistral/ministral-3-8b";
  const LIMIT_MS = 800;
  const failures = {};
  let simulator;
  let gateway;
  let client;

  before(async () => {
    simulator = await startSimulator({ latencyMs: 1, chunkMs: 0, failures });
    gateway = await startGateway({
      vars: {
        PROVIDERS: {
          anthropic: { base_url: `${simulator.url}/anthropic/v1`, format: "anthropic", key: "ANTHROPIC_API_KEY" },
          google: { base_url: `${simulator.url}/google/v1beta/`, format: "gemini", key: "GEMINI_API_KEY" },
          // A local server: OpenAI's format, no key.
          mistral: { base_url: `${simulator.url}/local/v1`, models: { [SECOND]: "ministral:8b" } },
        },
        ANTHROPIC_API_KEY: "sk-ant-simulated",
        GEMINI_API_KEY: "AIza-simulated",
        ...{ FIRST_BYTE_MS: LIMIT_MS, REPLY_MS: LIMIT_MS, IDLE_MS: LIMIT_MS },
      },
    });
    client = new OpenAI({ apiKey: "none", baseURL: `${gateway.url}/v1`, maxRetries: 0 });
  });

  after(async () => {
    await gateway?.close();
    await simulator?.close();
  });

  const create = (more) => client.chat.completions.create({ messages: MESSAGES, ...more });
  const lastCall = () => simulator.calls.at(-1);

  test("each provider is asked in its format, with its key or none", async () => {
    for (const [model, path, header] of [
      ["anthropic/claude-haiku-5-5", /^\/anthropic\/v1\/messages$/, ["x-api-key", "sk-ant-simulated"]],
      ["google/gemini-3.8-flash", /^\/google\/v1beta\/models\/gemini-3\.8-flash:generateContent$/, ["x-goog-api-key", "AIza-simulated"]],
      [SECOND, /^\/local\/v1\/chat\/completions$/, ["authorization", undefined]],
    ]) {
      await create({ model });
      const { path: asked, headers } = lastCall();
      assert.match(asked, path);
      assert.equal(headers[header[0]], header[1]);
      assert.equal(["x-api-key", "x-goog-api-key", "authorization"].filter((name) => headers[name]).length, header[1] ? 1 : 0);
    }
    assert.equal(lastCall().body.model, "ministral:8b");
  });

  for (const model of NATIVE) {
    test(`${model}: plain, streamed, tools in two turns, an image, JSON, thoughts`, async () => {
      const answer = await create({ model, temperature: 0.3, user: "u" });
      assert.equal(answer.model, model);
      assert.match(answer.choices[0].message.content, /^\[simulated answer/);
      assert.equal(answer.choices[0].finish_reason, "stop");
      assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);

      const stream = client.chat.completions.stream({ model, messages: MESSAGES, stream_options: { include_usage: true } });
      const streamed = await stream.finalChatCompletion();
      assert.equal(streamed.choices[0].message.content, answer.choices[0].message.content);
      assert.deepEqual(streamed.usage, answer.usage);

      const tools = [WEATHER];
      const asked = [{ role: "user", content: "Weather in Paris?" }];
      const { choices: [{ message, finish_reason }] } = await create({ model, messages: asked, tools });
      assert.equal(finish_reason, "tool_calls");
      const [call] = message.tool_calls;
      assert.equal(call.function.name, "weather");
      const turns = [...asked, message, { role: "tool", tool_call_id: call.id, content: "rain" }];
      for (const more of [{ tools }, {}]) {
        assert.match((await create({ model, messages: turns, ...more })).choices[0].message.content, /^\[simulated/);
      }
      const streamedCall = await client.chat.completions.stream({ model, messages: asked, tools }).finalChatCompletion();
      assert.equal(streamedCall.choices[0].message.tool_calls[0].function.name, "weather");

      const url = `data:image/png;base64,${PIXEL}`;
      await create({ model, messages: [{ role: "user", content: [{ type: "text", text: "What?" }, { type: "image_url", image_url: { url } }] }] });
      assert.ok(JSON.stringify(lastCall().body).includes(PIXEL));

      const json = await create({ model, response_format: { type: "json_schema", json_schema: { name: "x", strict: true, schema: SCHEMA } } });
      assert.equal(JSON.parse(json.choices[0].message.content).simulated, true);

      if (!byId.get(model).effort) return;
      // An explicit effort of the catalog is sent as the provider takes it, and the thoughts come back signed.
      const thought = await create({ model, max_tokens: 16_000 });
      assert.ok(thought.usage.completion_tokens_details.reasoning_tokens > 0);
      assert.match(thought.choices[0].message.reasoning_content, /thoughts/);
      const again = [...MESSAGES, thought.choices[0].message, { role: "user", content: "Sure?" }];
      assert.match((await create({ model, messages: again, max_tokens: 16_000 })).choices[0].message.content, /^\[simulated/);
    });
  }

  test("a tool call of one provider is answered through another", async () => {
    const asked = [{ role: "user", content: "Weather in Paris?" }];
    const ids = ["google/gemini-3.8-flash", "anthropic/claude-haiku-4-5", "google/gemini-2.5-flash", "anthropic/claude-opus-5-5"];
    for (const [i, model] of ids.entries()) {
      const { choices: [{ message }] } = await create({ model, messages: asked, tools: [WEATHER] });
      const turns = [...asked, message, { role: "tool", tool_call_id: message.tool_calls[0].id, content: "rain" }];
      for (const other of ids.filter((_, j) => j !== i)) {
        assert.match((await create({ model: other, messages: turns, tools: [WEATHER], max_tokens: 16_000 })).choices[0].message.content, /^\[simulated/);
      }
    }
  });

  for (const first of ["anthropic/claude-haiku-5-5", "google/gemini-3.8-flash"]) {
    for (const stream of [false, true]) {
      for (const failure of ["429", "500", "529", "404", "401", "cut", "stall", "error_frame", "empty"]) {
        test(`${first}, ${stream ? "streamed" : "plain"}: ${failure} falls back`, async () => {
          failures[byId.get(first).base] = failure;
          try {
            const { data, response } = await create({ model: "auto", stream, pennyroute: { allow: [first, SECOND], quality: 1 } }).withResponse();
            const content = stream ? await textOf(data) : data.choices[0].message.content;
            assert.match(content, /^\[simulated/);
            const told = { cut: "network", stall: "timeout", error_frame: stream ? "error_event" : "bad_reply", empty: stream ? "network" : "bad_reply" }[failure] ?? failure;
            assert.equal(response.headers.get("x-pennyroute-failed"), `${first} ${told}`);
            assert.equal(response.headers.get("x-pennyroute-model"), SECOND);
          } finally {
            delete failures[byId.get(first).base];
            // What failed rests, unless it is asked for by name; its success ends that.
            await create({ model: first });
          }
        });
      }
    }
    for (const failure of ["late_cut", "late_stall", "late_error_frame"]) {
      test(`${first}: ${failure} becomes an error event`, async () => {
        failures[byId.get(first).base] = failure;
        try {
          await assert.rejects(create({ model: first, stream: true }).then(textOf), OpenAI.APIError);
        } finally {
          delete failures[byId.get(first).base];
        }
      });
    }
  }

  test("what a format cannot say falls back to one that can; alone, the error tells it", async () => {
    await assert.rejects(create({ model: "anthropic/claude-haiku-5-5", n: 2 }), (error) => {
      assert.equal(error.status, 400);
      assert.match(error.message, /claude-haiku-5-5: unsupported .*several choices/);
      return true;
    });
    const { response } = await create({ model: "auto", n: 2, pennyroute: { allow: ["anthropic/claude-haiku-5-5", SECOND], quality: 1 } }).withResponse();
    assert.equal(response.headers.get("x-pennyroute-failed"), "anthropic/claude-haiku-5-5 unsupported");
    assert.equal(response.headers.get("x-pennyroute-model"), SECOND);
    const calls = simulator.calls.length;
    await assert.rejects(create({ model: "google/gemini-3.8-flash", messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: "ftp://x" } }] }] }), (error) => {
      assert.equal(error.status, 400);
      assert.match(error.message, /messages\[0\]/);
      return true;
    });
    assert.equal(simulator.calls.length, calls);
  });

  test("a refusal never repeats the key", async () => {
    for (const model of ["anthropic/claude-haiku-5-5", "google/gemini-3.8-flash"]) {
      for (const failure of ["leak", "401"]) {
        failures[byId.get(model).base] = failure;
        await assert.rejects(create({ model }), (error) => {
          assert.ok(!/sk-ant-simulated|AIza-simulated/.test(error.message));
          assert.match(error.message, failure === "leak" ? /\[key\]/ : /refuses the gateway's key/);
          return true;
        });
        delete failures[byId.get(model).base];
      }
    }
  });
});

async function textOf(stream) {
  let text = "";
  for await (const chunk of stream) text += chunk.choices?.[0]?.delta?.content ?? "";
  return text;
}
