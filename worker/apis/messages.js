/** Anthropic's `/v1/messages`, translated to and from chat completions. */

import { StreamError } from "../sse.js";
import { contentOf, counts, defined, ending, given, list, object, piecesOf, text, Turns, unsupported, without } from "./shared.js";

/** Anthropic's error types; other statuses below 500 are the request's fault, the rest is the API's. */
const ERRORS = /** @type {Record<number, string>} */ ({
  401: "authentication_error",
  402: "billing_error",
  403: "permission_error",
  404: "not_found_error",
  413: "request_too_large",
  429: "rate_limit_error",
  504: "timeout_error",
  529: "overloaded_error",
});

const STOP_REASONS = { stop: "end_turn", length: "max_tokens", tool_calls: "tool_use", content_filter: "refusal" };

/** Tool choices in chat's words. @type {Map<unknown, string>} */
const CHOICES = new Map([["auto", "auto"], ["any", "required"], ["none", "none"]]);

const AT_ANTHROPIC = "what runs on Anthropic's servers is not offered here";

/** Longest `user` that OpenAI accepts. */
const LONGEST_USER = 64;

/** @type {import("../complete.js").Api} */
export const messages = {
  toChat(body) {
    const { system, messages, tools, tool_choice, stop_sequences, max_tokens, metadata, output_config, ...rest } = body;
    // These only tune how Anthropic serves a request; its answer means the same without them.
    const { service_tier: _tier, context_management: _trim, cache_control: _auto, inference_geo: _geo, ...more } = rest;
    const { name: tool, disable_parallel_tool_use: single, ...choice } = given(tool_choice) ? object(tool_choice, "tool_choice") : {};
    const { effort, format } = given(output_config) ? object(output_config, "output_config") : {};
    const user = metadata?.user_id;
    return defined({
      ...without(more, { container: AT_ANTHROPIC, mcp_servers: AT_ANTHROPIC }),
      messages: chatMessages(system, messages),
      tools: given(tools) ? list(tools, "tools").map((tool, i) => chatTool(tool, `tools[${i}]`)) : undefined,
      tool_choice: toolChoice(choice.type, tool),
      parallel_tool_calls: single === true ? false : undefined,
      stop: given(stop_sequences) ? stop_sequences : undefined,
      max_completion_tokens: max_tokens ?? undefined,
      user: typeof user === "string" && user.length <= LONGEST_USER ? user : undefined,
      reasoning_effort: effort ?? undefined,
      response_format: given(format) ? responseFormat(object(format, "output_config.format")) : undefined,
      stream_options: body.stream === true ? { include_usage: true } : undefined,
    });
  },

  reply({ id, model, choices: [choice], usage, pennyroute }) {
    const blocks = new Blocks();
    for (const piece of piecesOf(choice?.message, new Map())) for (const _event of blocks.add(piece));
    for (const _event of blocks.close());
    return {
      ...start(id, model),
      content: blocks.content,
      stop_reason: STOP_REASONS[ending(choice?.finish_reason, blocks)],
      usage: usageOf(usage),
      ...(pennyroute && { pennyroute }),
    };
  },

  async *frames(chunks) {
    const blocks = new Blocks();
    const calls = new Map();
    let started = false;
    let reason;
    let usage;
    let receipt;
    for await (const { id, model, choices, usage: used, pennyroute } of chunks) {
      if (!started) yield frame({ type: "message_start", message: start(id, model) });
      started = true;
      usage = used ?? usage;
      receipt = pennyroute ?? receipt;
      reason = choices?.[0]?.finish_reason ?? reason;
      for (const piece of piecesOf(choices?.[0]?.delta, calls)) {
        for (const event of blocks.add(piece)) yield frame(event);
      }
    }
    for (const event of blocks.close()) yield frame(event);
    const delta = { stop_reason: STOP_REASONS[ending(reason, blocks)], stop_sequence: null };
    yield frame({ type: "message_delta", delta, usage: usageOf(usage) });
    yield frame({ type: "message_stop", ...(receipt && { pennyroute: receipt }) });
  },

  error,

  errorFrame: (failure) => frame(error(failure)),
};

/** @param {import("../errors.js").HttpError} failure */
function error({ status, message }) {
  const type = ERRORS[status] ?? (status < 500 ? "invalid_request_error" : "api_error");
  return { type: "error", error: { type, message } };
}

/** @param {{type: string, [more: string]: any}} event */
function frame(event) {
  return `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;
}

/** A message before its content. @param {unknown} id @param {string} model */
function start(id, model) {
  return {
    ...{ id: `msg_${id ?? crypto.randomUUID()}`, type: "message", role: "assistant", model, content: [] },
    ...{ stop_reason: null, stop_sequence: null, usage: usageOf(undefined) },
  };
}

/** Anthropic counts what was read from or written to the cache apart from the other input. @param {any} usage */
function usageOf(usage) {
  const { input, output, cached, cacheCreation } = counts(usage);
  return {
    input_tokens: Math.max(0, input - cached - cacheCreation),
    cache_creation_input_tokens: cacheCreation,
    cache_read_input_tokens: cached,
    output_tokens: output,
  };
}

/** The content blocks of an answer, and the events that tell them one after the other. */
class Blocks {
  /** @type {any[]} */
  content = [];
  called = false;
  refused = false;
  /** What the open block is of: a kind or a call. @type {unknown} */
  #open;
  #json = "";
  #ended = new Set();

  /** @param {import("./shared.js").Piece} piece */
  *add(piece) {
    if (piece.kind === "thinking") {
      yield* this.#turn("thinking", { type: "thinking", thinking: "", signature: "" });
      if (piece.text) yield this.#more("thinking", piece.text, { type: "thinking_delta", thinking: piece.text });
      if (piece.signature) {
        yield this.#more("signature", piece.signature, { type: "signature_delta", signature: piece.signature });
        yield* this.close();
      }
    } else if (piece.kind === "redacted") {
      yield* this.#turn(piece, { type: "redacted_thinking", data: piece.data });
      yield* this.close();
    } else if (piece.kind === "call") {
      // One block is told after the other, so a call cannot be taken up again.
      if (this.#ended.has(piece.call)) throw new StreamError("bad_reply", "the pieces of several tool calls are mixed");
      this.called = true;
      yield* this.#turn(piece.call, { type: "tool_use", ...piece.call, input: {} });
      this.#json += piece.text;
      if (piece.text) yield this.#event("content_block_delta", { delta: { type: "input_json_delta", partial_json: piece.text } });
    } else {
      this.refused ||= piece.kind === "refusal";
      yield* this.#turn("text", { type: "text", text: "" });
      yield this.#more("text", piece.text, { type: "text_delta", text: piece.text });
    }
  }

  *close() {
    if (this.#open === undefined) return;
    const block = this.content.at(-1);
    if (block.type === "tool_use") block.input = inputOf(this.#json);
    yield this.#event("content_block_stop", {});
    this.#ended.add(this.#open);
    this.#open = undefined;
    this.#json = "";
  }

  /** @param {unknown} of @param {any} block */
  *#turn(of, block) {
    if (this.#open === of) return;
    yield* this.close();
    this.#open = of;
    this.content.push(block);
    yield this.#event("content_block_start", { content_block: { ...block } });
  }

  /** @param {string} field @param {string} text @param {any} delta */
  #more(field, text, delta) {
    this.content.at(-1)[field] += text;
    return this.#event("content_block_delta", { delta });
  }

  /** @param {string} type @param {any} more */
  #event(type, more) {
    return { type, index: this.content.length - 1, ...more };
  }
}

/** A tool's input must be an object; what the model got wrong is shown to the tool. @param {string} json */
function inputOf(json) {
  try {
    const input = JSON.parse(json || "{}");
    if (input !== null && typeof input === "object" && !Array.isArray(input)) return input;
  } catch {
    // Told below, as is JSON that is no object.
  }
  return { invalid_json: json };
}

/** @param {unknown} system @param {unknown} given */
function chatMessages(system, given) {
  const turns = new Turns();
  if (system !== undefined && system !== null) {
    const parts = blocksOf(system, "system").flatMap(({ block, place }) => partsOf(block, place, ["text"]));
    const content = contentOf(parts);
    if (content !== null) turns.add({ role: "system", content });
  }
  for (const [i, item] of list(given, "messages").entries()) {
    const place = `messages[${i}]`;
    const { role, content } = object(item, place);
    const blocks = blocksOf(content, `${place}.content`);
    if (role === "user") addUser(turns, blocks);
    else if (role === "assistant") turns.add(assistant(blocks));
    else if (role === "system") turns.add({ role, content: contentOf(blocks.flatMap(({ block, place }) => partsOf(block, place, ["text"]))) ?? "" });
    else throw unsupported("content", `${place}.role`, `${JSON.stringify(role)} is not user or assistant`);
  }
  return turns.end();
}

/** Content as blocks with their places. @param {unknown} content @param {string} place */
function blocksOf(content, place) {
  if (typeof content === "string") return content === "" ? [] : [{ block: { type: "text", text: content }, place }];
  return list(content, place).map((block, i) => ({ block: object(block, `${place}[${i}]`), place: `${place}[${i}]` }));
}

/** @typedef {ReturnType<typeof blocksOf>} PlacedBlocks */

/** Results of tools become messages of their own, before the rest. @param {Turns} turns @param {PlacedBlocks} blocks */
function addUser(turns, blocks) {
  const parts = [];
  for (const { block, place } of blocks) {
    if (block.type !== "tool_result") {
      parts.push(...partsOf(block, place));
      continue;
    }
    const result = blocksOf(block.content ?? [], `${place}.content`).flatMap(({ block, place }) => partsOf(block, place));
    turns.result(text(block.tool_use_id, `${place}.tool_use_id`), result, cacheOf(block));
  }
  turns.user(parts);
}

/** @param {PlacedBlocks} blocks */
function assistant(blocks) {
  const parts = [];
  const calls = [];
  const thinking = [];
  let reasoning = "";
  for (const { block, place } of blocks) {
    if (block.type === "tool_use") {
      const called = { name: text(block.name, `${place}.name`), arguments: JSON.stringify(object(block.input ?? {}, `${place}.input`)) };
      calls.push({ id: text(block.id, `${place}.id`), type: "function", function: called, ...cacheOf(block) });
    } else if (block.type === "thinking") {
      const { signature = "" } = block;
      const thought = text(block.thinking, `${place}.thinking`);
      reasoning += thought;
      // Unsigned thoughts are of another provider, and Anthropic would refuse them.
      if (signature) thinking.push({ type: "thinking", thinking: thought, signature });
    } else if (block.type === "redacted_thinking") {
      thinking.push({ type: "redacted_thinking", data: text(block.data, `${place}.data`) });
    } else parts.push(...partsOf(block, place, ["text"]));
  }
  return {
    ...{ role: "assistant", content: contentOf(parts) ?? (calls.length ? null : "") },
    ...(calls.length && { tool_calls: calls }),
    ...(reasoning && { reasoning_content: reasoning }),
    ...(thinking.length && { thinking_blocks: thinking }),
  };
}

/** @param {any} block */
function cacheOf({ cache_control }) {
  return given(cache_control) ? { cache_control } : {};
}

/**
 * A block as parts of a chat message.
 * @param {any} block
 * @param {string} place
 * @param {string[]} [allowed] types
 * @returns {any[]}
 */
function partsOf(block, place, allowed = ["text", "image", "document"]) {
  const { type } = block;
  if (!allowed.includes(type)) throw unsupported("content", place, `a block of type ${JSON.stringify(type)} cannot be sent on from here`);
  const cache = cacheOf(block);
  if (type === "text") return [{ type, text: text(block.text, `${place}.text`), ...cache }];
  const source = object(block.source, `${place}.source`);
  if (type === "image") return [{ type: "image_url", image_url: { url: urlOf(source, `${place}.source`) }, ...cache }];
  if (block.citations?.enabled) throw unsupported("content", `${place}.citations`, "citations cannot be asked for here");
  if (source.type === "text") {
    const parts = [block.title, block.context, text(source.data, `${place}.source.data`)];
    return [{ type: "text", text: parts.filter((part) => typeof part === "string").join("\n\n"), ...cache }];
  }
  if (source.type === "content") {
    return blocksOf(source.content, `${place}.source.content`).flatMap(({ block, place }) => partsOf(block, place, ["text", "image"]));
  }
  if (source.type !== "base64") throw unsupported("content", `${place}.source`, `a document by ${JSON.stringify(source.type)} cannot be sent on; base64 can`);
  const filename = typeof block.title === "string" ? block.title : "document.pdf";
  return [{ type: "file", file: { filename, file_data: urlOf(source, `${place}.source`) }, ...cache }];
}

/** @param {any} source @param {string} place */
function urlOf({ type, url, media_type, data }, place) {
  if (type === "url") return text(url, `${place}.url`);
  if (type === "base64") return `data:${text(media_type, `${place}.media_type`)};base64,${text(data, `${place}.data`)}`;
  throw unsupported("content", place, `a source of type ${JSON.stringify(type)} cannot be sent on; base64 and url can`);
}

/** @param {any} tool @param {string} place */
function chatTool(tool, place) {
  const { type, name, description, input_schema, strict } = object(tool, place);
  if (given(type) && type !== "custom") throw unsupported("tool", place, `tools of type ${JSON.stringify(type)} run at Anthropic and are not offered here`);
  const parameters = given(input_schema) ? object(input_schema, `${place}.input_schema`) : undefined;
  return { type: "function", function: defined({ name: text(name, `${place}.name`), description, parameters, strict }), ...cacheOf(tool) };
}

/** @param {unknown} type @param {unknown} name */
function toolChoice(type, name) {
  if (type === undefined) return undefined;
  if (type === "tool") return { type: "function", function: { name: text(name, "tool_choice.name") } };
  const choice = CHOICES.get(type);
  if (!choice) throw unsupported("parameter", "tool_choice.type", `${JSON.stringify(type)} is not one of auto, any, tool, none`);
  return choice;
}

/** @param {any} format */
function responseFormat({ type, schema }) {
  if (type !== "json_schema") throw unsupported("parameter", "output_config.format.type", `${JSON.stringify(type)} is not json_schema`);
  return { type, json_schema: { name: "answer", strict: true, schema: object(schema, "output_config.format.schema") } };
}
