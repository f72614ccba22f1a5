/**
 * What the translated formats share: reading a chat request with care, and building OpenAI's answers.
 *
 * Where a request asks for what a format cannot say, the rule is: if another model could serve it,
 * AttemptError `unsupported`, so that the next fallback is tried; if it only hints (`user`, `seed`,
 * `logit_bias`, `verbosity`, `store`, …), it is left out; if it is wrong for all, HttpError 400.
 */

import { AttemptError, HttpError } from "../errors.js";

/**
 * @typedef {{id: string, name: string, args: Record<string, any>, signature?: string}} ToolCall
 *
 * A message, checked: texts are never empty, `calls` are an assistant's, `answers` is the id of the
 * call whose result a tool message holds.
 * @typedef {object} Message
 * @property {"system" | "user" | "assistant" | "tool"} role
 * @property {any[]} parts
 * @property {ToolCall[]} calls
 * @property {string} [answers]
 * @property {string} at where it stands in the request
 * @property {any} source
 */

/** `developer` is OpenAI's newer name of `system`. @type {Record<string, Message["role"]>} */
const ROLES = { system: "system", developer: "system", user: "user", assistant: "assistant", tool: "tool" };

/** @param {string} what */
export function unsupported(what) {
  return new AttemptError("unsupported", `its provider's API has no ${what}`, { ofGateway: true });
}

/** @param {string} param @param {string} what */
export function badField(param, what) {
  return new HttpError(400, "bad_request", `${param}: ${what}.`, { param });
}

/** Refuses what neither of the translated APIs can do. @param {Record<string, any>} chat */
export function checkTranslatable(chat) {
  if (chat.n !== undefined && chat.n !== null && chat.n !== 1) throw unsupported("several choices (`n`)");
  if (chat.logprobs) throw unsupported("`logprobs`");
  const modalities = Array.isArray(chat.modalities) ? chat.modalities : [];
  if (chat.audio || modalities.some((modality) => modality !== "text")) throw unsupported("answers but text");
  if (chat.web_search_options) throw unsupported("`web_search_options`");
  if (chat.functions || chat.function_call) throw unsupported("`functions`, the older spelling of `tools`");
}

/** @param {Record<string, any>} chat @returns {Message[]} */
export function readMessages(chat) {
  return chat.messages.map((/** @type {any} */ source, /** @type {number} */ i) => {
    const at = `messages[${i}]`;
    if (source?.role === "function") throw unsupported("`function` messages, the older spelling of `tool`");
    const role = Object.hasOwn(ROLES, source?.role) ? ROLES[source.role] : undefined;
    if (!role) throw badField(`${at}.role`, `is not one of ${Object.keys(ROLES).join(", ")}`);
    const parts = readParts(source.content ?? source.refusal, `${at}.content`);
    // A mark on the message is one on the end of it.
    const last = parts.at(-1);
    if (last && source.cache_control) parts[parts.length - 1] = { cache_control: source.cache_control, ...last };
    if (role === "tool" && typeof source.tool_call_id !== "string") throw badField(`${at}.tool_call_id`, "is not a text");
    const calls = role === "assistant" ? readCalls(source.tool_calls, `${at}.tool_calls`) : [];
    return { role, parts, calls, answers: source.tool_call_id, at, source };
  });
}

/** @param {unknown} content @param {string} at @returns {any[]} */
function readParts(content, at) {
  if (content === undefined || content === null || content === "") return [];
  if (typeof content === "string") return [{ type: "text", text: content }];
  if (!Array.isArray(content)) throw badField(at, "is neither a text nor a list");
  return content.flatMap((part, i) => {
    if (typeof part?.type !== "string") throw badField(`${at}[${i}].type`, "is not a text");
    if (part.type !== "text" && part.type !== "refusal") return [part];
    const text = part[part.type];
    if (typeof text !== "string") throw badField(`${at}[${i}].${part.type}`, "is not a text");
    return text === "" ? [] : [{ ...(part.cache_control && { cache_control: part.cache_control }), type: "text", text }];
  });
}

/** @param {unknown} calls @param {string} at @returns {ToolCall[]} */
function readCalls(calls, at) {
  if (calls === undefined || calls === null) return [];
  if (!Array.isArray(calls)) throw badField(at, "is not a list");
  return calls.map((call, i) => {
    if (call?.type === "custom") throw unsupported("custom tools");
    if (typeof call?.id !== "string") throw badField(`${at}[${i}].id`, "is not a text");
    if (typeof call.function?.name !== "string") throw badField(`${at}[${i}].function.name`, "is not a text");
    const args = parseObject(call.function.arguments || "{}");
    // What a model wrote may not be JSON; only OpenAI's form can carry it back as it was.
    if (!args) throw unsupported("tool arguments that are not a JSON object");
    return { id: call.id, name: call.function.name, args, signature: call.extra_content?.google?.thought_signature };
  });
}

/** @param {unknown} text @returns {Record<string, any> | undefined} */
export function parseObject(text) {
  try {
    const value = JSON.parse(String(text));
    if (value !== null && typeof value === "object" && !Array.isArray(value)) return value;
  } catch {
    // Told by the caller.
  }
}

/**
 * The function tools, checked.
 * @param {Record<string, any>} chat
 * @returns {{name: string, description?: string, parameters?: any, cache_control?: any}[]}
 */
export function readTools({ tools }) {
  if (tools === undefined || tools === null) return [];
  if (!Array.isArray(tools)) throw badField("tools", "is not a list");
  return tools.map((tool, i) => {
    if (tool?.type !== "function") throw unsupported("tools but functions");
    const { name, description, parameters, cache_control = tool.cache_control } = tool.function ?? {};
    if (typeof name !== "string") throw badField(`tools[${i}].function.name`, "is not a text");
    return { name, description, parameters, cache_control };
  });
}

/**
 * The tool choice, or undefined where nothing is asked.
 * @param {Record<string, any>} chat
 * @returns {{mode: "auto" | "none" | "required" | "named", name?: string} | undefined}
 */
export function readToolChoice({ tool_choice: choice }) {
  if (choice === undefined || choice === null) return undefined;
  if (choice === "auto" || choice === "none" || choice === "required") return { mode: choice };
  if (choice.type === "function" && typeof choice.function?.name === "string") return { mode: "named", name: choice.function.name };
  if (choice.type === "allowed_tools" || choice.type === "custom") throw unsupported(`tool choice \`${choice.type}\``);
  throw badField("tool_choice", "is neither auto, none, required nor the name of a function");
}

/** What JSON the answer must be. @param {Record<string, any>} chat @returns {{schema?: any} | undefined} */
export function readJsonFormat({ response_format: format }) {
  if (format?.type === "json_object") return {};
  if (format?.type !== "json_schema") return undefined;
  const schema = format.json_schema?.schema;
  const isObject = schema !== null && typeof schema === "object" && !Array.isArray(schema);
  if (!isObject) throw badField("response_format.json_schema.schema", "is not an object");
  return { schema };
}

/** @param {Record<string, any>} chat @returns {string[] | undefined} */
export function readStop({ stop }) {
  if (stop === undefined || stop === null) return undefined;
  const stops = [stop].flat();
  if (stops.some((text) => typeof text !== "string" || text === "")) throw badField("stop", "is neither a text nor a list of texts");
  return stops.length ? stops : undefined;
}

/** @param {Record<string, any>} chat @returns {number | undefined} */
export function readMaxTokens(chat) {
  return chat.max_completion_tokens ?? chat.max_tokens ?? undefined;
}

/**
 * The image, file or sound of a part: its bytes in base64, or its address.
 * @param {any} part
 * @param {string} at
 * @returns {{type: string, data: string, name?: string} | {url: string}}
 */
export function readMedia(part, at) {
  switch (part.type) {
    case "image_url":
      return readUrl(part.image_url?.url ?? part.image_url, `${at}.image_url.url`);
    case "file":
      if (part.file?.file_id) throw unsupported("files by OpenAI's `file_id`");
      return { ...readUrl(part.file?.file_data, `${at}.file.file_data`), name: part.file.filename };
    case "input_audio": {
      const { data, format } = part.input_audio ?? {};
      if (typeof data !== "string" || typeof format !== "string") throw badField(`${at}.input_audio`, "has no data or no format");
      return { type: `audio/${format}`, data };
    }
    default:
      throw unsupported(`content of type ${JSON.stringify(part.type)}`);
  }
}

/** @param {unknown} url @param {string} at */
function readUrl(url, at) {
  if (typeof url !== "string") throw badField(at, "is not a text");
  if (url.startsWith("https://") && URL.canParse(url)) return { url };
  const comma = url.indexOf(",");
  const [, type] = /^data:([\w.+-]+\/[\w.+-]+);base64$/.exec(url.slice(0, Math.max(comma, 0))) ?? [];
  if (!type) throw badField(at, "is neither an https address nor a data URL in base64");
  return { type, data: url.slice(comma + 1) };
}

/**
 * System messages before the conversation, and what follows. A later one keeps its place, marked,
 * in the user's turn: moving it to the front would change what is cached and what a signed thought
 * stands on.
 * @param {Message[]} messages
 * @returns {{system: any[], rest: Message[]}}
 */
export function splitSystem(messages) {
  const start = messages.findIndex(({ role }) => role !== "system");
  const leading = start === -1 ? messages : messages.slice(0, start);
  const system = leading.flatMap(({ parts }) => parts);
  const other = messages.find(({ role, parts }) => role === "system" && parts.some(({ type }) => type !== "text"));
  if (other) throw unsupported("system messages but text");
  // Instructions alone are a question too, and both APIs need one.
  if (start === -1) return { system: [], rest: leading.map((message) => ({ ...message, role: "user" })) };
  const rest = messages.slice(start).map((message) => {
    if (message.role !== "system") return message;
    const parts = message.parts.map((part) => ({ ...part, text: `<system>\n${part.text}\n</system>` }));
    return { ...message, role: /** @type {const} */ ("user"), parts };
  });
  return { system, rest };
}

/**
 * Turns of which no two in a row have the same role, and none is empty.
 * @template T
 * @param {{role: string, parts: T[]}[]} turns
 * @returns {{role: string, parts: T[]}[]}
 */
export function mergeTurns(turns) {
  /** @type {{role: string, parts: T[]}[]} */
  const merged = [];
  for (const { role, parts } of turns) {
    if (parts.length === 0) continue;
    const last = merged.at(-1);
    if (last?.role === role) last.parts.push(...parts);
    else merged.push({ role, parts: [...parts] });
  }
  return merged;
}

/**
 * OpenAI's usage. `input` counts all input, cached included; `output` all output, reasoning included.
 * @param {{input: number, output: number, cached?: number, cacheCreation?: number, reasoning?: number}} counts
 */
export function usageOf({ input, output, cached = 0, cacheCreation = 0, reasoning = 0 }) {
  return {
    prompt_tokens: input,
    completion_tokens: output,
    total_tokens: input + output,
    prompt_tokens_details: { cached_tokens: cached, cache_creation_tokens: cacheCreation },
    completion_tokens_details: { reasoning_tokens: reasoning },
  };
}

/**
 * A whole answer.
 * @param {{id?: string, model?: string}} source
 * @param {{text: string, reasoning: string, thinking?: any[], calls: any[]}} said
 * @param {string} finish
 * @param {ReturnType<typeof usageOf> | undefined} usage
 */
export function completionOf({ id, model }, { text, reasoning, thinking = [], calls }, finish, usage) {
  const message = {
    role: "assistant",
    content: text === "" && calls.length ? null : text,
    ...(reasoning && { reasoning_content: reasoning }),
    ...(thinking.length && { thinking_blocks: thinking }),
    ...(calls.length && { tool_calls: calls }),
  };
  return { id, object: "chat.completion", created: now(), model, choices: [{ index: 0, message, finish_reason: finish }], usage };
}

/**
 * Builders of one stream's chunks.
 * @param {{id?: string, model?: string}} source
 */
export function chunksOf({ id, model }) {
  const head = { id, object: "chat.completion.chunk", created: now(), model };
  return {
    delta: (/** @type {any} */ delta, /** @type {string | null} */ finish = null) => ({
      ...head,
      choices: [{ index: 0, delta, finish_reason: finish }],
    }),
    usage: (/** @type {any} */ usage) => ({ ...head, choices: [], usage }),
  };
}

function now() {
  return Math.floor(Date.now() / 1000);
}
