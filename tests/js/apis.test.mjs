// The APIs that clients speak as translations of chat completions, without a gateway around them.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { messages } from "../../worker/apis/messages.js";
import { responses } from "../../worker/apis/responses.js";
import { HttpError } from "../../worker/errors.js";
import { StreamError } from "../../worker/sse.js";

const CACHE = { type: "ephemeral" };
const PNG = { type: "base64", media_type: "image/png", data: "iVBORw0KGgo=" };

const completion = (message, more = {}) => ({ id: "1", created: 1, model: "m", choices: [{ index: 0, message: { role: "assistant", ...message }, finish_reason: "stop", ...more }] });
const call = (id, args, name = "f") => ({ id, type: "function", function: { name, arguments: args } });

/** The events of a streamed answer. */
async function told(api, deltas, { reason = "stop", body = {}, usage, end } = {}) {
  async function* chunks() {
    for (const delta of deltas) yield { id: "1", created: 1, model: "m", choices: [{ index: 0, delta, finish_reason: null }] };
    if (end) throw end;
    yield { id: "1", created: 1, model: "m", choices: [{ index: 0, delta: {}, finish_reason: reason }], usage };
  }
  const events = [];
  for await (const frame of api.frames(chunks(), body)) {
    const [, type, data] = /^event: (\S+)\ndata: (.*)\n\n$/.exec(frame);
    events.push(JSON.parse(data));
    assert.equal(events.at(-1).type, type);
  }
  return events;
}

const refused = (api, body, code, param) =>
  assert.throws(() => api.toChat(body), (error) => {
    assert.ok(error instanceof HttpError, String(error));
    assert.deepEqual([error.status, error.code, error.param], [400, code, param]);
    return true;
  });

describe("Anthropic's messages", () => {
  const ask = (more) => messages.toChat({ model: "auto", max_tokens: 5, messages: [{ role: "user", content: "Hi" }], ...more });

  test("fields in chat's words; others pass, what only Anthropic can serve does not", () => {
    const chat = ask({
      ...{ temperature: 0.5, top_p: 0.9, top_k: 3, stop_sequences: ["END"], thinking: { type: "enabled", budget_tokens: 1024 }, pennyroute: { quality: 0.8 }, vendor: 1 },
      ...{ stream: true, metadata: { user_id: "u" }, service_tier: "auto", context_management: { edits: [] }, output_config: { effort: "low" }, mcp_servers: [] },
      ...{ tool_choice: { type: "tool", name: "f", disable_parallel_tool_use: true }, tools: [{ name: "f", description: "F", input_schema: { type: "object" }, cache_control: CACHE }] },
    });
    assert.deepEqual(chat, {
      ...{ model: "auto", max_completion_tokens: 5, messages: [{ role: "user", content: "Hi" }], temperature: 0.5, top_p: 0.9, top_k: 3, stop: ["END"] },
      ...{ thinking: { type: "enabled", budget_tokens: 1024 }, pennyroute: { quality: 0.8 }, vendor: 1, stream: true, stream_options: { include_usage: true }, user: "u" },
      ...{ reasoning_effort: "low", tool_choice: { type: "function", function: { name: "f" } }, parallel_tool_calls: false },
      tools: [{ type: "function", function: { name: "f", description: "F", parameters: { type: "object" } }, cache_control: CACHE }],
    });
    for (const [type, choice] of [["auto", "auto"], ["any", "required"], ["none", "none"]]) assert.equal(ask({ tool_choice: { type } }).tool_choice, choice);
    refused(messages, { messages: [], mcp_servers: [{ url: "https://x.example" }] }, "unsupported_parameter", "mcp_servers");
    refused(messages, { messages: [], tool_choice: { type: "constructor" } }, "unsupported_parameter", "tool_choice.type");
    refused(messages, { messages: [], tools: [{ type: "bash_20250124", name: "bash" }] }, "unsupported_tool", "tools[0]");
  });

  test("turns: cache marks stay, results come first, images of results go to the user", () => {
    const { messages: chat } = ask({
      system: [{ type: "text", text: "A" }, { type: "text", text: "B", cache_control: CACHE }],
      messages: [
        { role: "user", content: [{ type: "text", text: "Look", cache_control: CACHE }, { type: "image", source: PNG }] },
        {
          role: "assistant",
          content: [
            ...[{ type: "thinking", thinking: "Hm, ", signature: "s" }, { type: "redacted_thinking", data: "x" }, { type: "thinking", thinking: "so.", signature: "" }],
            ...[{ type: "text", text: "Wait." }, { type: "tool_use", id: "t1", name: "f", input: { a: 1 } }, { type: "tool_use", id: "t2", name: "g", input: {} }],
          ],
        },
        {
          role: "user",
          content: [
            { type: "tool_result", tool_use_id: "t1", content: "one" },
            { type: "tool_result", tool_use_id: "t2", content: [{ type: "text", text: "two" }, { type: "image", source: { type: "url", url: "https://x.example/y.png" } }], cache_control: CACHE },
            { type: "document", title: "a.pdf", source: { type: "base64", media_type: "application/pdf", data: "JVBERg==" } },
            { type: "document", title: "T", source: { type: "text", media_type: "text/plain", data: "C" } },
          ],
        },
      ],
    });
    assert.deepEqual(chat, [
      { role: "system", content: [{ type: "text", text: "A" }, { type: "text", text: "B", cache_control: CACHE }] },
      { role: "user", content: [{ type: "text", text: "Look", cache_control: CACHE }, { type: "image_url", image_url: { url: "data:image/png;base64,iVBORw0KGgo=" } }] },
      {
        ...{ role: "assistant", content: "Wait.", tool_calls: [call("t1", '{"a":1}'), call("t2", "{}", "g")] },
        ...{ reasoning_content: "Hm, so.", thinking_blocks: [{ type: "thinking", thinking: "Hm, ", signature: "s" }, { type: "redacted_thinking", data: "x" }] },
      },
      { role: "tool", tool_call_id: "t1", content: "one" },
      { role: "tool", tool_call_id: "t2", content: "two", cache_control: CACHE },
      {
        role: "user",
        content: [
          { type: "text", text: "From the result of the tool call t2:" },
          { type: "image_url", image_url: { url: "https://x.example/y.png" } },
          { type: "file", file: { filename: "a.pdf", file_data: "data:application/pdf;base64,JVBERg==" } },
          { type: "text", text: "T\n\nC" },
        ],
      },
    ]);
  });

  test("blocks without a word in chat are named", () => {
    const user = (...content) => ({ messages: [{ role: "user", content }] });
    const place = "messages[0].content[1]";
    const text = { type: "text", text: "Hi" };
    refused(messages, user(text, { type: "search_result", content: [] }), "unsupported_content", place);
    refused(messages, user(text, { type: "document", source: { type: "file", file_id: "f" } }), "unsupported_content", `${place}.source`);
    refused(messages, user(text, { type: "document", source: PNG, citations: { enabled: true } }), "unsupported_content", `${place}.citations`);
    refused(messages, user(text, { type: "image", source: { type: "file", file_id: "f" } }), "unsupported_content", `${place}.source`);
    refused(messages, { messages: [{ role: "assistant", content: [text, { type: "server_tool_use", id: "s", name: "web_search" }] }] }, "unsupported_content", place);
    refused(messages, user(text, null), "bad_request", place);
    refused(messages, user(text, { type: "text", text: 5 }), "bad_request", `${place}.text`);
  });

  test("a whole answer", () => {
    const thinking_blocks = [{ type: "thinking", thinking: "Hm.", signature: "s" }, { type: "redacted_thinking", data: "x" }];
    const usage = { prompt_tokens: 10, completion_tokens: 4, prompt_tokens_details: { cached_tokens: 6, cache_creation_tokens: 1 } };
    const reply = messages.reply({ ...completion({ content: "A", reasoning_content: "Hm.", thinking_blocks, tool_calls: [call("c1", '{"a":1}'), call("c2", "{a")] }), usage, pennyroute: { id: "r" } }, {});
    assert.deepEqual(reply, {
      ...{ id: "msg_1", type: "message", role: "assistant", model: "m", stop_reason: "tool_use", stop_sequence: null, pennyroute: { id: "r" } },
      usage: { input_tokens: 3, cache_read_input_tokens: 6, cache_creation_input_tokens: 1, output_tokens: 4 },
      content: [
        ...[{ type: "thinking", thinking: "Hm.", signature: "s" }, { type: "redacted_thinking", data: "x" }, { type: "text", text: "A" }],
        ...[{ type: "tool_use", id: "c1", name: "f", input: { a: 1 } }, { type: "tool_use", id: "c2", name: "f", input: { invalid_json: "{a" } }],
      ],
    });
    for (const [reason, expected] of [["length", "max_tokens"], ["content_filter", "refusal"], ["stop", "end_turn"], [null, "end_turn"]]) {
      assert.equal(messages.reply(completion({ content: "A" }, { finish_reason: reason }), {}).stop_reason, expected);
    }
    const empty = messages.reply(completion({ content: null }), {});
    assert.deepEqual([empty.content, empty.stop_reason, empty.usage.input_tokens], [[], "end_turn", 0]);
  });

  test("signed thoughts come as blocks of their own; calls of one index are told apart by id", async () => {
    const events = await told(messages, [
      ...[{ thinking_blocks: [{ type: "thinking", thinking: "Hm", signature: null }], reasoning_content: "Hm" }, { thinking_blocks: [{ type: "thinking", thinking: "", signature: "s1" }] }],
      ...[{ thinking_blocks: [{ type: "thinking", thinking: "So", signature: "s2" }] }, { thinking_blocks: [{ type: "redacted_thinking", data: "x" }] }, { content: "A" }],
      ...[{ tool_calls: [{ index: 0, ...call("c1", "{}") }] }, { tool_calls: [{ index: 0, ...call("c2", "{}") }] }],
    ]);
    const blocks = events.filter(({ type }) => type === "content_block_start").map(({ index, content_block: { type, id, data } }) => [index, type, id ?? data]);
    assert.deepEqual(blocks, [
      ...[[0, "thinking", undefined], [1, "thinking", undefined], [2, "redacted_thinking", "x"], [3, "text", undefined]],
      ...[[4, "tool_use", "c1"], [5, "tool_use", "c2"]],
    ]);
    assert.deepEqual(events.filter(({ delta }) => delta?.type === "signature_delta").map(({ index, delta }) => [index, delta.signature]), [[0, "s1"], [1, "s2"]]);
    assert.equal(events.filter(({ type }) => type === "content_block_stop").length, blocks.length);
  });

  test("mixed pieces of calls, and an error in mid-stream, end the stream", async () => {
    const mixed = [0, 1, 0].map((index, i) => ({ tool_calls: [{ index, ...(i < 2 && { id: `c${index}` }), function: { name: "f", arguments: "{" } }] }));
    await assert.rejects(told(messages, mixed), StreamError);
    await assert.rejects(told(messages, [{ content: "A" }], { end: new StreamError("network", "cut") }), /cut/);
    const frame = messages.errorFrame(new HttpError(502, "stream_network", "cut"), 3);
    assert.equal(frame, 'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"cut"}}\n\n');
    assert.equal(messages.error(new HttpError(413, "body_too_large", "x")).error.type, "request_too_large");
  });
});

test("an odd answer of a provider is no defect", () => {
  for (const choice of [null, {}, { message: null }, { message: { content: [1], tool_calls: [null, { function: { name: "f", arguments: { a: 1 } } }], thinking_blocks: [null] } }]) {
    for (const api of [messages, responses]) {
      const reply = api.reply({ model: "m", choices: [choice], usage: { prompt_tokens: "5", completion_tokens: null } }, {});
      assert.equal(reply.usage.output_tokens, 0);
      if (choice?.message) assert.match(JSON.stringify(api === messages ? reply.content : reply.output), /"a\\?":1/);
    }
  }
});

describe("OpenAI's responses", () => {
  test("fields in chat's words; others pass", () => {
    const schema = { type: "object" };
    const chat = responses.toChat({
      ...{ model: "auto", input: "Hi", instructions: "Brief.", max_output_tokens: 5, temperature: 0.5, reasoning: { effort: "low", summary: "auto" }, pennyroute: { quality: 0.8 }, vendor: 1 },
      ...{ stream: true, store: true, metadata: { a: "b" }, include: [], truncation: "auto", parallel_tool_calls: false, previous_response_id: null, background: false, prompt: null },
      text: { format: { type: "json_schema", name: "a", schema, strict: true }, verbosity: "low" },
      tools: ["f", "g"].map((name) => ({ type: "function", name, parameters: schema, strict: false })),
      tool_choice: { type: "allowed_tools", mode: "required", tools: [{ type: "function", name: "g" }] },
    });
    assert.deepEqual(chat, {
      ...{ model: "auto", messages: [{ role: "system", content: "Brief." }, { role: "user", content: "Hi" }], max_completion_tokens: 5, temperature: 0.5, reasoning_effort: "low" },
      ...{ pennyroute: { quality: 0.8 }, vendor: 1, stream: true, stream_options: { include_usage: true }, parallel_tool_calls: false, verbosity: "low" },
      ...{ response_format: { type: "json_schema", json_schema: { name: "a", schema, strict: true } }, tool_choice: "required" },
      tools: [{ type: "function", function: { name: "g", parameters: schema, strict: false } }],
    });
  });

  test("items of one turn are one message", () => {
    const kept = JSON.stringify([{ type: "thinking", thinking: "Hm.", signature: "s" }]);
    const { messages: chat } = responses.toChat({
      input: [
        { role: "developer", content: "Brief." },
        { role: "user", content: [{ type: "input_text", text: "Look" }, { type: "input_image", image_url: "https://x.example/y.png", detail: "low" }] },
        { type: "reasoning", id: "rs", summary: [{ type: "summary_text", text: "Hm." }], encrypted_content: kept },
        { type: "reasoning", id: "rs", summary: [], encrypted_content: "of another server" },
        { type: "message", role: "assistant", content: [{ type: "output_text", text: "Wait." }] },
        { type: "function_call", call_id: "c1", name: "f", arguments: "{}" },
        { type: "function_call", call_id: "c2", name: "f", arguments: "{}" },
        { type: "function_call_output", call_id: "c1", output: [{ type: "input_text", text: "one" }, { type: "input_file", filename: "a.pdf", file_data: "data:application/pdf;base64,JVBERg==" }] },
        { type: "function_call_output", call_id: "c2", output: "two" },
        { role: "assistant", content: "Done." },
      ],
    });
    assert.deepEqual(chat, [
      { role: "developer", content: "Brief." },
      { role: "user", content: [{ type: "text", text: "Look" }, { type: "image_url", image_url: { url: "https://x.example/y.png", detail: "low" } }] },
      {
        ...{ role: "assistant", content: "Wait.", reasoning_content: "Hm.", thinking_blocks: [{ type: "thinking", thinking: "Hm.", signature: "s" }] },
        tool_calls: [call("c1", "{}"), call("c2", "{}")],
      },
      { role: "tool", tool_call_id: "c1", content: "one" },
      { role: "tool", tool_call_id: "c2", content: "two" },
      {
        role: "user",
        content: [
          { type: "text", text: "From the result of the tool call c1:" },
          { type: "file", file: { filename: "a.pdf", file_data: "data:application/pdf;base64,JVBERg==" } },
        ],
      },
      { role: "assistant", content: "Done." },
    ]);
  });

  test("calls in mixed pieces become items that are whole", async () => {
    const events = await told(responses, [
      { content: "A" },
      { tool_calls: [{ index: 0, ...call("c1", "{") }, { index: 1, ...call("c2", "") }] },
      { tool_calls: [{ index: 1, function: { arguments: "{}" } }, { index: 0, function: { arguments: "}" } }] },
    ]);
    const { status, output } = events.at(-1).response;
    assert.equal(status, "completed");
    assert.deepEqual(output.map((item) => [item.type, item.status, item.arguments]), [["message", "completed", undefined], ["function_call", "completed", "{}"], ["function_call", "completed", "{}"]]);
    assert.deepEqual(events.filter(({ type }) => type === "response.output_item.done").map(({ item }) => item), output);
    assert.deepEqual(events.map(({ sequence_number }) => sequence_number), [...events.keys()]);
  });

  test("signed thoughts go out and come back where they are asked for", async () => {
    const thinking_blocks = [{ type: "thinking", thinking: "Hm.", signature: "s" }, { type: "redacted_thinking", data: "x" }];
    const body = { include: ["reasoning.encrypted_content"] };
    const { output } = responses.reply(completion({ content: "A", thinking_blocks }), body);
    assert.deepEqual(output.map(({ type }) => type), ["reasoning", "reasoning", "message"]);
    assert.deepEqual(responses.toChat({ input: output }).messages, [{ role: "assistant", content: "A", reasoning_content: "Hm.", thinking_blocks }]);
    assert.ok(responses.reply(completion({ content: "A", thinking_blocks }), {}).output.every((item) => !("encrypted_content" in item)));
  });

  test("how an answer ended", async () => {
    for (const [reason, status, why] of [["length", "incomplete", "max_output_tokens"], ["content_filter", "incomplete", "content_filter"], ["stop", "completed", undefined]]) {
      const last = (await told(responses, [{ content: "A" }], { reason })).at(-1);
      assert.deepEqual([last.type, last.response.status, last.response.incomplete_details?.reason], [`response.${status}`, status, why]);
    }
    const usage = { prompt_tokens: 10, completion_tokens: 4, prompt_tokens_details: { cached_tokens: 6 }, completion_tokens_details: { reasoning_tokens: 3 } };
    assert.deepEqual((await told(responses, [{ refusal: "No." }], { usage })).at(-1).response.usage, {
      ...{ input_tokens: 10, input_tokens_details: { cached_tokens: 6 }, output_tokens: 4, output_tokens_details: { reasoning_tokens: 3 }, total_tokens: 14 },
    });
    await assert.rejects(told(responses, [{ content: "A" }], { end: new StreamError("network", "cut") }), /cut/);
    const [, data] = /^event: error\ndata: (.*)\n\n$/.exec(responses.errorFrame(new HttpError(502, "stream_network", "cut"), 7));
    const error = { message: "cut", type: "server_error", param: null, code: "stream_network" };
    assert.deepEqual(JSON.parse(data), { ...error, type: "error", error, sequence_number: 7 });
  });

  test("what chat has no word for is named", () => {
    refused(responses, { input: [{ type: "web_search_call", id: "w" }] }, "unsupported_content", "input[0]");
    refused(responses, { input: "Hi", tools: [{ type: "function", name: "f" }, { type: "mcp" }] }, "unsupported_tool", "tools[1]");
    refused(responses, { input: "Hi", tool_choice: { type: "file_search" } }, "unsupported_tool", "tool_choice");
    refused(responses, { input: "Hi", prompt: { id: "p" } }, "unsupported_parameter", "prompt");
    refused(responses, { input: [{ role: "user", content: [{ type: "input_file", file_url: "https://x.example/a.pdf" }] }] }, "unsupported_content", "input[0].content[0]");
    refused(responses, {}, "bad_request", "input");
  });
});
