/**
 * Simulated Messages API of Anthropic, as strict as the real one: unknown fields, roles that do not
 * alternate, calls and results that do not match, and settings that a model no longer takes are refused.
 */

import { need, only, piecesOf } from "./strict.mjs";

const FIELDS = [
  ...["model", "max_tokens", "messages", "system", "metadata", "stop_sequences", "stream", "temperature", "top_p", "top_k"],
  ...["tools", "tool_choice", "thinking", "output_config", "service_tier", "cache_control", "inference_geo"],
];
/** Fields of a block by its type, and whose turns may hold it. @type {Record<string, {role?: string, fields: string[]}>} */
const BLOCKS = {
  text: { fields: ["text"] },
  image: { role: "user", fields: ["source"] },
  document: { role: "user", fields: ["source", "title"] },
  tool_result: { role: "user", fields: ["tool_use_id", "content", "is_error"] },
  tool_use: { role: "assistant", fields: ["id", "name", "input"] },
  thinking: { role: "assistant", fields: ["thinking", "signature"] },
  redacted_thinking: { role: "assistant", fields: ["data"] },
};
const SIGNATURE = "c2ltdWxhdGVk";
const STOP_REASONS = /** @type {Record<string, string>} */ ({ stop: "end_turn", length: "max_tokens", tool_calls: "tool_use" });

/** @type {import("../simulator.mjs").Dialect} */
export const anthropic = {
  handles: (path) => path.endsWith("/v1/messages"),

  toChat(body, _path, headers) {
    need(headers["anthropic-version"], "anthropic-version: header is required");
    only(body, FIELDS, "body");
    need(typeof body.model === "string", "model: Field required");
    need(Number.isInteger(body.max_tokens) && body.max_tokens > 0, "max_tokens: Field required");
    checkSettings(body);
    need(body.tools?.length || !/"type":"tool_(use|result)"/.test(JSON.stringify(body.messages)), "Requests which include `tool_use` or `tool_result` blocks must define tools");
    const system = typeof body.system === "string" ? [{ type: "text", text: body.system }] : (body.system ?? []);
    system.forEach((/** @type {any} */ block, /** @type {number} */ i) => checkBlock(block, "user", `system.${i}`));
    const budget = body.thinking?.budget_tokens;
    return {
      model: body.model,
      stream: body.stream,
      max_tokens: body.max_tokens,
      messages: [...system.map(({ text }) => ({ role: "system", content: text })), ...toMessages(body.messages)],
      tools: body.tools?.map((/** @type {any} */ { name }) => ({ type: "function", function: { name } })),
      tool_choice: body.tool_choice?.type === "none" ? "none" : undefined,
      response_format: body.output_config?.format && { type: "json_schema" },
      reasoning_effort: body.output_config?.effort ?? (budget === undefined ? undefined : budget >= 8192 ? "high" : "low"),
      thinks: ["enabled", "adaptive"].includes(body.thinking?.type),
    };
  },

  reply({ id, model, choices: [choice], usage }) {
    const head = { id: id.replace("chatcmpl-", "msg_"), type: "message", role: "assistant", model };
    return { ...head, content: choice && contentOf(choice.message), stop_reason: stopReason(choice), stop_sequence: null, usage: usageOf(usage) };
  },

  *frames(completion, _chat) {
    const { content, stop_reason, stop_sequence, usage, ...head } = anthropic.reply(completion);
    yield frame({ type: "ping" });
    if (!content) return;
    const { output_tokens, output_tokens_details, ...input } = usage;
    yield frame({ type: "message_start", message: { ...head, content: [], stop_reason: null, stop_sequence: null, usage: { ...input, output_tokens: 1 } } });
    for (const [index, block] of content.entries()) {
      const delta = (/** @type {any} */ delta) => frame({ type: "content_block_delta", index, delta });
      if (block.type === "thinking") {
        yield frame({ type: "content_block_start", index, content_block: { type: "thinking", thinking: "", signature: "" } });
        for (const thinking of piecesOf(block.thinking)) yield delta({ type: "thinking_delta", thinking });
        yield delta({ type: "signature_delta", signature: block.signature });
      } else if (block.type === "tool_use") {
        yield frame({ type: "content_block_start", index, content_block: { ...block, input: {} } });
        yield delta({ type: "input_json_delta", partial_json: "" });
        const json = JSON.stringify(block.input);
        if (json !== "{}") for (const partial_json of json.match(/.{1,8}/gs) ?? []) yield delta({ type: "input_json_delta", partial_json });
      } else {
        yield frame({ type: "content_block_start", index, content_block: { type: "text", text: "" } });
        for (const text of piecesOf(block.text)) yield delta({ type: "text_delta", text });
      }
      yield frame({ type: "content_block_stop", index });
    }
    yield frame({ type: "message_delta", delta: { stop_reason, stop_sequence }, usage: { output_tokens, output_tokens_details } });
    yield frame({ type: "message_stop" });
  },

  error: ({ message, type }) => ({ type: "error", error: { type: type === "server_error" ? "api_error" : type, message }, request_id: "req_simulated" }),
  errorFrame: frame,
};

/** Settings by model, as the migration guides tell. @param {any} body */
function checkSettings({ model, max_tokens, temperature, top_p, top_k, thinking, tools, tool_choice: choice, output_config: output, stop_sequences, metadata }) {
  const [, major = 9, minor = 0] = /-(\d)(?:-(\d))?(?=-|$)/.exec(model) ?? [];
  const isNew = Number(major) * 10 + Number(minor) > 46;
  if (isNew) need([temperature ?? 1, top_p ?? 1].every((value) => value === 1) && top_k === undefined, "`temperature` is deprecated for this model.");
  need(temperature === undefined || (temperature >= 0 && temperature <= 1), "temperature: range: 0..1");
  if (!isNew && /-4/.test(model)) need(temperature === undefined || top_p === undefined, "`temperature` and `top_p` cannot both be specified for this model.");
  if (thinking) {
    only(thinking, ["type", "budget_tokens", "display", "block_binding"], "thinking");
    if (thinking.type === "enabled") {
      need(!isNew, '"thinking.type.enabled" is not supported for this model.');
      need(thinking.budget_tokens >= 1024 && thinking.budget_tokens < max_tokens, "thinking.budget_tokens: at least 1024 and less than max_tokens");
    } else if (thinking.type === "adaptive") need(isNew || /-4-6/.test(model), "adaptive thinking is not supported for this model");
    else need(thinking.type === "disabled" && !/(opus|fable)-5-/.test(model), '"thinking.type.disabled" is not supported for this model.');
    if (thinking.type !== "disabled") need([undefined, 1].includes(temperature), "`temperature` may only be set to 1 when thinking is enabled");
    need(!["any", "tool"].includes(choice?.type), "Thinking may not be enabled when tool_choice forces tool use.");
  }
  for (const [i, tool] of (tools ?? []).entries()) {
    only(tool, ["name", "description", "input_schema", "cache_control", "strict", "type"], `tools.${i}`);
    need(/^[\w-]{1,128}$/.test(tool.name) && tool.input_schema?.type === "object", `tools.${i}.input_schema.type: Field required`);
  }
  if (choice) {
    only(choice, ["type", "name", "disable_parallel_tool_use"], "tool_choice");
    need(tools?.length, "tool_choice: may only be specified while providing tools");
    need(["auto", "any", "none", "tool"].includes(choice.type), "tool_choice.type: unknown");
    if (/(opus|sonnet|fable)-5-/.test(model)) need(!["any", "tool"].includes(choice.type), "tool_choice forces tool use, which this model does not support.");
  }
  if (output) only(output, ["effort", "format"], "output_config");
  need([undefined, "low", "medium", "high", "xhigh", "max"].includes(output?.effort), "output_config.effort: unknown");
  if (output?.format) {
    only(output.format, ["type", "schema"], "output_config.format");
    checkSchema(output.format.schema, "output_config.format.schema");
  }
  if (metadata) only(metadata, ["user_id"], "metadata");
  for (const stop of stop_sequences ?? []) need(stop.trim() !== "", "stop_sequences: each stop sequence must contain non-whitespace");
}

/** @param {any} schema @param {string} at */
function checkSchema(schema, at) {
  need(schema && typeof schema === "object", `${at}: a schema is needed`);
  for (const name of ["minimum", "maximum", "minLength", "maxLength", "pattern", "multipleOf", "oneOf", "maxItems"]) {
    need(!(name in schema), `${at}: '${name}' is not supported`);
  }
  if ([schema.type].flat().includes("object")) need(schema.additionalProperties === false, `${at}: 'additionalProperties' must be false`);
  for (const [name, value] of Object.entries(schema.properties ?? {})) checkSchema(value, `${at}.${name}`);
  if (schema.items) checkSchema(schema.items, `${at}.items`);
}

/** @param {any} block @param {string} role @param {string} at */
function checkBlock(block, role, at) {
  const known = BLOCKS[block?.type];
  need(known, `${at}.type: unknown`);
  const { role: of = role, fields } = /** @type {{role?: string, fields: string[]}} */ (known);
  only(block, ["type", "cache_control", ...fields], at);
  need(of === role, `${at}: '${block.type}' blocks can only be in ${of} messages`);
  if (block.type === "text") need(typeof block.text === "string" && block.text !== "", `${at}: text content blocks must be non-empty`);
  if (block.type === "thinking") need(block.signature === SIGNATURE, `${at}: Invalid \`signature\` in \`thinking\` block`);
  if (block.type === "tool_use") need(block.input && typeof block.input === "object", `${at}.input: an object is needed`);
  if (block.source) {
    only(block.source, block.source.type === "url" ? ["type", "url"] : ["type", "media_type", "data"], `${at}.source`);
    need(block.source.type === "url" || /^[\w+/]+=*$/.test(block.source.data), `${at}.source.data: invalid base64`);
  }
}

/** The turns as chat messages. @param {any} turns */
function toMessages(turns) {
  need(Array.isArray(turns) && turns.length > 0, "messages: at least one message is required");
  need(turns[0].role === "user", 'messages: first message must use the "user" role');
  /** @type {any[]} */
  const messages = [];
  /** @type {string[]} */
  let open = [];
  for (const [i, turn] of turns.entries()) {
    const at = `messages.${i}`;
    only(turn, ["role", "content"], at);
    need(["user", "assistant"].includes(turn.role), `${at}.role: unknown`);
    need(i === 0 || turns[i - 1].role !== turn.role, `${at}: roles must alternate`);
    const blocks = typeof turn.content === "string" ? [{ type: "text", text: turn.content }] : turn.content;
    need(Array.isArray(blocks) && blocks.length > 0, `${at}: all messages must have non-empty content`);
    blocks.forEach((/** @type {any} */ block, /** @type {number} */ j) => checkBlock(block, turn.role, `${at}.content.${j}`));
    const of = (/** @type {string} */ type) => blocks.filter((/** @type {any} */ block) => block.type === type);
    const answered = of("tool_result").map((/** @type {any} */ { tool_use_id }) => tool_use_id);
    need(answered.every((/** @type {string} */ id) => open.includes(id)), `${at}: unexpected \`tool_use_id\` found in \`tool_result\` blocks`);
    need(open.every((id) => answered.includes(id)), `${at}: \`tool_use\` ids were found without \`tool_result\` blocks immediately after`);
    open = of("tool_use").map((/** @type {any} */ { id }) => id);
    for (const { tool_use_id, content } of of("tool_result")) messages.push({ role: "tool", tool_call_id: tool_use_id, content });
    const calls = of("tool_use").map((/** @type {any} */ { id, name, input }) => ({ id, function: { name, arguments: JSON.stringify(input) } }));
    const content = blocks.filter(({ type }) => ["text", "image", "document"].includes(type));
    if (content.length || calls.length) messages.push({ role: turn.role, content, ...(calls.length && { tool_calls: calls }) });
  }
  need(open.length === 0, "`tool_use` ids were found without `tool_result` blocks immediately after");
  need(turns.at(-1).role === "user", "This model does not support assistant message prefill.");
  return messages;
}

/** @param {any} message */
function contentOf({ content, reasoning_content: thinking, tool_calls: calls = [] }) {
  return [
    ...(thinking ? [{ type: "thinking", thinking, signature: SIGNATURE }] : []),
    ...(content ? [{ type: "text", text: content }] : []),
    ...calls.map((/** @type {any} */ call) => ({ type: "tool_use", id: call.id, name: call.function.name, input: JSON.parse(call.function.arguments) })),
  ];
}

/** @param {any} choice */
function stopReason(choice) {
  return choice ? STOP_REASONS[choice.finish_reason] : null;
}

/** @param {any} usage */
function usageOf({ prompt_tokens, completion_tokens, completion_tokens_details: { reasoning_tokens } }) {
  return {
    input_tokens: prompt_tokens,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: 0,
    output_tokens: completion_tokens,
    output_tokens_details: { thinking_tokens: reasoning_tokens },
  };
}

/** @param {any} event */
function frame(event) {
  return `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;
}
