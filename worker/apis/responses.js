/** OpenAI's `/v1/responses`, translated to and from chat completions. Nothing is kept between two requests. */

import { errorBody } from "../errors.js";
import { contentOf, counts, defined, ending, given, list, object, piecesOf, text, Turns, unsupported, without } from "./shared.js";

const KEEPS_NOTHING = "the gateway keeps nothing between requests";

/** What is not done, and what to do instead. */
const REFUSED = {
  previous_response_id: `${KEEPS_NOTHING}; send the whole conversation as \`input\``,
  conversation: `${KEEPS_NOTHING}; send the whole conversation as \`input\``,
  background: `${KEEPS_NOTHING}; the answer comes with the request that asks for it`,
  prompt: `${KEEPS_NOTHING}; send the prompt's text as \`instructions\` and \`input\``,
  top_logprobs: "log probabilities are told by /v1/chat/completions only",
};

const INCOMPLETE = /** @type {Record<string, string>} */ ({ length: "max_output_tokens", content_filter: "content_filter" });

/** @type {import("../complete.js").Api} */
export const responses = {
  toChat(body) {
    const { instructions, input, tools, tool_choice, text: output, max_output_tokens, reasoning, ...rest } = body;
    // The answer tells `metadata` again; the others only bear on what is kept, or on tools that are not offered here.
    const { metadata: _told, store: _store, include: _include, truncation: _truncation, max_tool_calls: _calls, stream_options: _obfuscation, ...more } = rest;
    const { effort } = given(reasoning) ? object(reasoning, "reasoning") : {};
    const { format, verbosity } = given(output) ? object(output, "text") : {};
    const offered = given(tools) ? list(tools, "tools").map((tool, i) => chatTool(tool, `tools[${i}]`)) : undefined;
    return defined({
      ...without(more, REFUSED),
      messages: chatMessages(instructions, input),
      ...choice(tool_choice, offered),
      max_completion_tokens: max_output_tokens ?? undefined,
      reasoning_effort: effort ?? undefined,
      response_format: given(format) ? responseFormat(object(format, "text.format")) : undefined,
      verbosity: verbosity ?? undefined,
      stream_options: body.stream === true ? { include_usage: true } : undefined,
    });
  },

  reply({ choices: [choice], usage, pennyroute, ...completion }, body) {
    const output = new Output(keepsReasoning(body));
    for (const piece of piecesOf(choice?.message, new Map())) for (const _event of output.add(piece));
    for (const _event of output.close());
    return ended(response(body, completion), output, { reason: choice?.finish_reason, usage, pennyroute });
  },

  async *frames(chunks, body) {
    let sent = 0;
    const frame = (/** @type {any} */ event) => `event: ${event.type}\ndata: ${JSON.stringify({ ...event, sequence_number: sent++ })}\n\n`;
    const output = new Output(keepsReasoning(body));
    const calls = new Map();
    /** @type {any} */
    let started;
    /** @type {any} */
    let end = {};
    for await (const { choices, usage, pennyroute, ...chunk } of chunks) {
      if (!started) {
        started = response(body, chunk);
        yield frame({ type: "response.created", response: started });
        yield frame({ type: "response.in_progress", response: started });
      }
      const [choice] = choices ?? [];
      end = { reason: choice?.finish_reason ?? end.reason, usage: usage ?? end.usage, pennyroute: pennyroute ?? end.pennyroute };
      for (const piece of piecesOf(choice?.delta, calls)) {
        for (const event of output.add(piece)) yield frame(event);
      }
    }
    for (const event of output.close()) yield frame(event);
    const whole = ended(started, output, end);
    yield frame({ type: `response.${whole.status}`, response: whole });
  },

  error: errorBody,

  // OpenAI documents the fields as flat and sends them nested, and clients look for either.
  errorFrame(failure, sent) {
    const { error } = errorBody(failure);
    return `event: error\ndata: ${JSON.stringify({ ...error, type: "error", error, sequence_number: sent })}\n\n`;
  },
};

/** A response before its output. @param {any} body @param {{id?: string, created?: number, model?: string}} answer */
function response(body, { id, created, model }) {
  return {
    id: newId("resp", id),
    object: "response",
    created_at: created ?? Math.floor(Date.now() / 1000),
    status: "in_progress",
    background: false,
    error: null,
    incomplete_details: null,
    instructions: body.instructions ?? null,
    max_output_tokens: body.max_output_tokens ?? null,
    metadata: body.metadata ?? {},
    model,
    output: [],
    parallel_tool_calls: body.parallel_tool_calls ?? true,
    previous_response_id: null,
    reasoning: { effort: body.reasoning?.effort ?? null, summary: body.reasoning?.summary ?? null },
    store: false,
    temperature: body.temperature ?? null,
    text: body.text ?? { format: { type: "text" } },
    tool_choice: body.tool_choice ?? "auto",
    tools: body.tools ?? [],
    top_p: body.top_p ?? null,
    truncation: "disabled",
    usage: null,
  };
}

/** @param {ReturnType<typeof response>} started @param {Output} output @param {{reason?: string, usage?: any, pennyroute?: any}} end */
function ended(started, output, { reason, usage, pennyroute }) {
  // A refusal that the model words itself is a whole answer, in a content part of its own.
  const incomplete = INCOMPLETE[ending(reason, { called: output.called, refused: false })];
  return {
    ...started,
    status: incomplete ? "incomplete" : "completed",
    incomplete_details: incomplete ? { reason: incomplete } : null,
    output: output.items,
    usage: usage ? usageOf(usage) : null,
    ...(pennyroute && { pennyroute }),
  };
}

/** @param {any} usage */
function usageOf(usage) {
  const { input, output, cached, reasoning } = counts(usage);
  return {
    input_tokens: input,
    input_tokens_details: { cached_tokens: cached },
    output_tokens: output,
    output_tokens_details: { reasoning_tokens: reasoning },
    total_tokens: input + output,
  };
}

/** @param {string} prefix @param {string} [id] */
function newId(prefix, id = crypto.randomUUID()) {
  return `${prefix}_${id}`;
}

/** Whether the client asks for the reasoning in a form that it can send back. @param {any} body */
function keepsReasoning({ include }) {
  return Array.isArray(include) && include.includes("reasoning.encrypted_content");
}

/** The output items of an answer, and the events that tell them. */
class Output {
  /** @type {any[]} */
  items = [];
  called = false;
  /** The reasoning or message that more may be added to. @type {{item: any, index: number} | undefined} */
  #open;
  /** Calls may come in mixed pieces, so they stay open until the end. @type {Map<import("./shared.js").Call, {item: any, index: number}>} */
  #calls = new Map();
  /** @type {any[]} */
  #thoughts = [];

  /** @param {boolean} keepsReasoning */
  constructor(keepsReasoning) {
    this.keepsReasoning = keepsReasoning;
  }

  /** @param {import("./shared.js").Piece} piece */
  *add(piece) {
    if (piece.kind === "call") yield* this.#call(piece);
    else if (piece.kind === "text" || piece.kind === "refusal") yield* this.#text(piece);
    else yield* this.#reasoning(piece);
  }

  *close() {
    yield* this.#closeOpen();
    for (const { item, index } of this.#calls.values()) {
      item.status = "completed";
      const at = { item_id: item.id, output_index: index };
      yield { type: "response.function_call_arguments.done", ...at, name: item.name, arguments: item.arguments };
      yield { type: "response.output_item.done", output_index: index, item };
    }
    this.#calls.clear();
  }

  /** @param {any} item */
  *#start(item) {
    const index = this.items.push(item) - 1;
    yield { type: "response.output_item.added", output_index: index, item: structuredClone(item) };
    return { item, index };
  }

  /** The open item of a type, begun where it is another. @param {string} type @param {any} item */
  *#turn(type, item) {
    if (this.#open?.item.type !== type) {
      yield* this.#closeOpen();
      this.#open = yield* this.#start(item);
    }
    return /** @type {{item: any, index: number}} */ (this.#open);
  }

  /** @param {import("./shared.js").CallPiece} piece */
  *#call({ call, text }) {
    let open = this.#calls.get(call);
    if (!open) {
      yield* this.#closeOpen();
      this.called = true;
      const { id: call_id, name } = call;
      open = yield* this.#start({ id: newId("fc"), type: "function_call", status: "in_progress", call_id, name, arguments: "" });
      this.#calls.set(call, open);
    }
    open.item.arguments += text;
    if (text) yield { type: "response.function_call_arguments.delta", item_id: open.item.id, output_index: open.index, delta: text };
  }

  /** @param {{kind: "text" | "refusal", text: string}} piece */
  *#text({ kind, text }) {
    const { item, index } = yield* this.#turn("message", { id: newId("msg"), type: "message", status: "in_progress", role: "assistant", content: [] });
    const type = kind === "text" ? "output_text" : "refusal";
    if (item.content.at(-1)?.type !== type) {
      yield* this.#closePart();
      item.content.push(type === "output_text" ? { type, text: "", annotations: [], logprobs: [] } : { type, refusal: "" });
      yield { type: "response.content_part.added", ...this.#place(item, index), part: { ...item.content.at(-1) } };
    }
    item.content.at(-1)[kind] += text;
    yield { type: `response.${type}.delta`, ...this.#place(item, index), delta: text, ...(kind === "text" && { logprobs: [] }) };
  }

  /** @param {Exclude<import("./shared.js").Piece, {kind: "call"}>} piece */
  *#reasoning(piece) {
    const { item, index } = yield* this.#turn("reasoning", { id: newId("rs"), type: "reasoning", status: "in_progress", summary: [] });
    if (piece.kind === "redacted") this.#thoughts.push({ type: "redacted_thinking", data: piece.data });
    if (piece.kind !== "thinking") return;
    const at = { item_id: item.id, output_index: index, summary_index: 0 };
    if (item.summary.length === 0) {
      item.summary.push({ type: "summary_text", text: "" });
      yield { type: "response.reasoning_summary_part.added", ...at, part: { ...item.summary[0] } };
    }
    item.summary[0].text += piece.text;
    if (piece.text) yield { type: "response.reasoning_summary_text.delta", ...at, delta: piece.text };
    if (piece.signature) {
      this.#thoughts.push({ type: "thinking", thinking: item.summary[0].text, signature: piece.signature });
      yield* this.#closeOpen();
    }
  }

  *#closeOpen() {
    if (!this.#open) return;
    const { item, index } = this.#open;
    if (item.type === "message") yield* this.#closePart();
    else if (item.summary.length) {
      const at = { item_id: item.id, output_index: index, summary_index: 0 };
      yield { type: "response.reasoning_summary_text.done", ...at, text: item.summary[0].text };
      yield { type: "response.reasoning_summary_part.done", ...at, part: item.summary[0] };
    }
    if (item.type === "reasoning" && this.keepsReasoning) item.encrypted_content = JSON.stringify(this.#thoughts);
    item.status = "completed";
    yield { type: "response.output_item.done", output_index: index, item };
    this.#open = undefined;
    this.#thoughts = [];
  }

  *#closePart() {
    const { item, index } = /** @type {{item: any, index: number}} */ (this.#open);
    const part = item.content.at(-1);
    if (!part) return;
    const whole = part.type === "output_text" ? { text: part.text, logprobs: [] } : { refusal: part.refusal };
    yield { type: `response.${part.type}.done`, ...this.#place(item, index), ...whole };
    yield { type: "response.content_part.done", ...this.#place(item, index), part };
  }

  /** @param {any} item @param {number} index */
  #place(item, index) {
    return { item_id: item.id, output_index: index, content_index: item.content.length - 1 };
  }
}

/** @param {unknown} instructions @param {unknown} input */
function chatMessages(instructions, input) {
  const turns = new Turns();
  if (given(instructions)) turns.add({ role: "system", content: text(instructions, "instructions") });
  if (typeof input === "string") turns.user([{ type: "text", text: input }]);
  else for (const [i, item] of list(input, "input").entries()) addItem(turns, object(item, `input[${i}]`), `input[${i}]`);
  return turns.end();
}

/** @param {Turns} turns @param {any} item @param {string} place */
function addItem(turns, item, place) {
  const { type = "message", role } = item;
  if (type === "message") {
    const parts = partsOf(item.content, `${place}.content`);
    if (role === "user") turns.user(parts);
    else if (role === "assistant") merge(turns, { content: contentOf(parts) ?? "" });
    else if (role === "system" || role === "developer") turns.add({ role, content: contentOf(parts) ?? "" });
    else throw unsupported("content", `${place}.role`, `${JSON.stringify(role)} is not one of user, assistant, system, developer`);
  } else if (type === "function_call") {
    const called = { name: text(item.name, `${place}.name`), arguments: text(item.arguments, `${place}.arguments`) };
    merge(turns, { tool_calls: [{ id: text(item.call_id, `${place}.call_id`), type: "function", function: called }] });
  } else if (type === "function_call_output") {
    turns.result(text(item.call_id, `${place}.call_id`), partsOf(item.output, `${place}.output`));
  } else if (type === "reasoning") {
    think(turns, reasoningOf(item, place));
  } else if (type === "item_reference") {
    throw unsupported("content", place, `${KEEPS_NOTHING}; set \`store: false\` and send whole items`);
  } else {
    throw unsupported("content", place, `an item of type ${JSON.stringify(type)} cannot be sent on from here`);
  }
}

/**
 * Adds to the assistant's turn: reasoning, text and calls are items of their own here, and one
 * message in chat.
 * @param {Turns} turns
 * @param {Record<string, any>} more
 */
function merge(turns, more) {
  const { assistant } = turns;
  if (!assistant || (more.content !== undefined && assistant.content !== null)) turns.add({ role: "assistant", content: null, ...more });
  else if (more.tool_calls) assistant.tool_calls = [...(assistant.tool_calls ?? []), ...more.tool_calls];
  else Object.assign(assistant, more);
}

/** Reasoning comes before what it led to, and may come in several items. @param {Turns} turns @param {ReturnType<typeof reasoningOf>} more */
function think(turns, { reasoning_content, thinking_blocks }) {
  const { assistant } = turns;
  const thinking = assistant?.content === null && !assistant.tool_calls ? assistant : undefined;
  const blocks = [...(thinking?.thinking_blocks ?? []), ...thinking_blocks];
  const more = { reasoning_content: (thinking?.reasoning_content ?? "") + reasoning_content, ...(blocks.length && { thinking_blocks: blocks }) };
  if (thinking) Object.assign(thinking, more);
  else turns.add({ role: "assistant", content: null, ...more });
}

/** @param {any} item @param {string} place */
function reasoningOf({ summary, encrypted_content }, place) {
  const texts = list(summary ?? [], `${place}.summary`).map((part, i) => text(part?.text, `${place}.summary[${i}].text`));
  return { reasoning_content: texts.join("\n\n"), thinking_blocks: thoughts(encrypted_content) };
}

/** What `encrypted_content` holds where it is ours; another server's is of no use here. @param {unknown} kept */
function thoughts(kept) {
  try {
    const blocks = JSON.parse(/** @type {string} */ (kept));
    if (Array.isArray(blocks)) return blocks;
  } catch {
    // Not ours.
  }
  return [];
}

/** Content as parts of a chat message. @param {unknown} content @param {string} place @returns {any[]} */
function partsOf(content, place) {
  if (typeof content === "string") return [{ type: "text", text: content }];
  return list(content, place).map((part, i) => partOf(object(part, `${place}[${i}]`), `${place}[${i}]`));
}

/** @param {any} part @param {string} place */
function partOf(part, place) {
  const { type } = part;
  if (type === "input_text" || type === "output_text" || type === "text") return { type: "text", text: text(part.text, `${place}.text`) };
  if (type === "refusal") return { type, refusal: text(part.refusal, `${place}.refusal`) };
  if (given(part.file_id) || given(part.file_url)) throw unsupported("content", place, "files are not kept or fetched here; send `file_data` or `image_url`");
  if (type === "input_image") {
    return { type: "image_url", image_url: defined({ url: text(part.image_url, `${place}.image_url`), detail: part.detail ?? undefined }) };
  }
  if (type === "input_file") {
    return { type: "file", file: defined({ filename: part.filename ?? undefined, file_data: text(part.file_data, `${place}.file_data`) }) };
  }
  if (type === "input_audio") return { type, input_audio: object(part.input_audio, `${place}.input_audio`) };
  throw unsupported("content", place, `content of type ${JSON.stringify(type)} cannot be sent on from here`);
}

/** @param {unknown} tool @param {string} place */
function chatTool(tool, place) {
  const { type, name, description, parameters, strict } = object(tool, place);
  if (type !== "function") throw unsupported("tool", place, `tools of type ${JSON.stringify(type)} are not offered here; functions are`);
  const given = { description: description ?? undefined, parameters: parameters ?? undefined, strict: strict ?? undefined };
  return { type, function: defined({ name: text(name, `${place}.name`), ...given }) };
}

/**
 * The tools and the choice among them; what a list of allowed tools leaves out is not sent.
 * @param {any} asked
 * @param {any[] | undefined} tools
 */
function choice(asked, tools) {
  if (!given(asked)) return { tools };
  if (typeof asked === "string") return { tools, tool_choice: asked };
  const { type, name, mode, tools: allowed } = object(asked, "tool_choice");
  if (type === "function") return { tools, tool_choice: { type, function: { name: text(name, "tool_choice.name") } } };
  if (type !== "allowed_tools") throw unsupported("tool", "tool_choice", `tools of type ${JSON.stringify(type)} are not offered here; functions are`);
  const names = new Set(list(allowed, "tool_choice.tools").map((tool) => tool?.name));
  return { tools: tools?.filter((tool) => names.has(tool.function.name)), tool_choice: text(mode, "tool_choice.mode") };
}

/** @param {any} format */
function responseFormat({ type, name, description, schema, strict }) {
  if (type !== "json_schema") return { type: text(type, "text.format.type") };
  const described = { description: description ?? undefined, strict: strict ?? undefined };
  return { type, json_schema: defined({ name: text(name, "text.format.name"), schema: object(schema, "text.format.schema"), ...described }) };
}
