/**
 * Anthropic's Messages API.
 *
 * Relied on: https://platform.claude.com/docs/en/api/messages (fields, usage), …/build-with-claude/streaming
 * (events), …/effort and …/thinking-troubleshooting (which model takes which setting),
 * …/structured-outputs, …/preserved-thinking (whose thinking may be sent back), and the migration
 * guides of the 5.5 models (sampling, forced tools, prefill).
 *
 * Left out as mere hints: `seed`, `logit_bias`, penalties, `user`, `store`, `metadata` but its
 * `user_id`, `verbosity`, `prediction`, a tool's `strict`, and sampling where a model refuses it.
 * Passed on by name: `top_k`, `thinking`, `cache_control`, `inference_geo`, `service_tier`.
 */

import { AttemptError } from "../errors.js";
import { StreamError } from "../sse.js";
import {
  badField,
  checkTranslatable,
  chunksOf,
  completionOf,
  mergeTurns,
  readJsonFormat,
  readMaxTokens,
  readMedia,
  readMessages,
  readStop,
  readToolChoice,
  readTools,
  splitSystem,
  unsupported,
  usageOf,
} from "./common.js";
import { structuredOutput } from "./schema.js";

/** @typedef {import("./common.js").Message} Message */

const VERSION = "2023-06-01";
/** The API needs a limit. The gateway sends the owner's; this stands in where nobody set one. */
const DEFAULT_MAX_TOKENS = 4096;

// Versions as 100 · major + minor, by which settings were dropped.
/** From here on, thinking has no budget but an effort, and a last assistant turn is not continued. */
const ADAPTIVE = 406;
/** The last that takes `temperature`, `top_p` and `top_k`. */
const LAST_SAMPLED = 406;
/** From here on, a model thinks unless told not to, which the newest cannot be. */
const THINKS_BY_DEFAULT = 500;
/** From here on (Haiku aside), thinking cannot be turned off, and a forced tool call is refused. */
const ALWAYS_THINKS = 501;
const STRUCTURED = 405;

/** Thinking budgets of older models, by effort. The API takes none below 1,024. */
const BUDGETS = { minimal: 1024, low: 1024, medium: 4096, high: 16_384, xhigh: 32_000, max: 32_000 };
const LEAST_BUDGET = 1024;
const EFFORTS = { minimal: "low", low: "low", medium: "medium", high: "high", xhigh: "xhigh", max: "max" };

const IMAGES = new Set(["image/jpeg", "image/png", "image/gif", "image/webp"]);

/** @type {Record<string, string>} */
const FINISH = {
  end_turn: "stop",
  stop_sequence: "stop",
  pause_turn: "stop",
  max_tokens: "length",
  model_context_window_exceeded: "length",
  tool_use: "tool_calls",
  refusal: "content_filter",
};

/** @type {import("../providers.js").Format} */
export const anthropic = {
  request(chat, { key }) {
    checkTranslatable(chat);
    const version = versionOf(chat.model);
    const { system, messages } = conversation(chat, version);
    const maxTokens = readMaxTokens(chat) ?? DEFAULT_MAX_TOKENS;
    const choice = toolChoice(chat);
    const forced = choice?.type === "any" || choice?.type === "tool";
    if (forced && version >= ALWAYS_THINKS && !chat.model.includes("haiku")) throw unsupported("forced tool calls for this model");
    const { thinking, effort } = thinkingOf(chat, { version, maxTokens, messages, forced });
    const format = outputFormat(chat, version);
    const stops = readStop(chat);
    if (stops?.some((text) => text.trim() === "")) throw unsupported("stop sequences of white space");
    return {
      path: "/messages",
      headers: { "anthropic-version": VERSION, ...(key !== undefined && { "x-api-key": key }) },
      body: {
        model: chat.model,
        max_tokens: maxTokens,
        ...(system.length && { system }),
        messages,
        ...tools(chat, choice, messages),
        ...(thinking && { thinking }),
        ...((effort || format) && { output_config: { ...(effort && { effort }), ...(format && { format }) } }),
        ...(stops && { stop_sequences: stops }),
        ...(version <= LAST_SAMPLED && !thinking && sampling(chat)),
        ...passed(chat),
        ...(chat.stream && { stream: true }),
      },
    };
  },

  reply(json) {
    if (!Array.isArray(json?.content)) throw new AttemptError("bad_reply", "the reply holds no content");
    const of = (/** @type {string} */ type) => json.content.filter((/** @type {any} */ block) => block.type === type);
    const joined = (/** @type {string} */ type) => of(type).map((/** @type {any} */ block) => block[type]).join("");
    const calls = of("tool_use").map((/** @type {any} */ { id, name, input }) => ({
      id,
      type: "function",
      function: { name, arguments: JSON.stringify(input ?? {}) },
    }));
    const thinking = json.content.filter(isThinking).map(thinkingBlock);
    const said = { text: joined("text"), reasoning: joined("thinking"), thinking, calls };
    return completionOf(json, said, FINISH[json.stop_reason] ?? "stop", json.usage && usage(json.usage));
  },

  async *chunks(events) {
    let make = chunksOf({});
    /** @type {Record<string, number>} */
    let counts = {};
    let stopReason = "end_turn";
    let calls = 0;
    // The block being written: a thought is passed on again, whole, when it is signed.
    /** @type {any} */
    let block;
    for await (const event of events) {
      switch (event.type) {
        case "message_start":
          make = chunksOf(event.message ?? {});
          counts = { ...event.message?.usage };
          yield make.delta({ role: "assistant", content: "" });
          break;
        case "content_block_start":
          block = { ...event.content_block, written: "" };
          if (block.type === "tool_use") {
            const call = { index: calls++, id: block.id, type: "function", function: { name: block.name, arguments: "" } };
            yield make.delta({ tool_calls: [call] });
          } else if (block.type === "text" && block.text) yield make.delta({ content: block.text });
          break;
        case "content_block_delta": {
          const { type, text, thinking, signature, partial_json: json } = event.delta ?? {};
          if (type === "text_delta") yield make.delta({ content: text });
          if (type === "thinking_delta") {
            block.thinking = (block.thinking ?? "") + thinking;
            yield make.delta({ reasoning_content: thinking });
          }
          if (type === "signature_delta") block.signature = (block.signature ?? "") + signature;
          if (type === "input_json_delta" && block?.type === "tool_use") {
            block.written += json;
            if (json) yield make.delta({ tool_calls: [{ index: calls - 1, function: { arguments: json } }] });
          }
          break;
        }
        case "content_block_stop":
          // A call without arguments is written as nothing at all.
          if (block?.type === "tool_use" && block.written === "") {
            yield make.delta({ tool_calls: [{ index: calls - 1, function: { arguments: JSON.stringify(block.input ?? {}) } }] });
          }
          if (block && isThinking(block)) yield make.delta({ thinking_blocks: [thinkingBlock(block)] });
          block = undefined;
          break;
        case "message_delta":
          stopReason = event.delta?.stop_reason ?? stopReason;
          // Counts are totals so far; some servers leave those of the input out here.
          for (const [name, count] of Object.entries(event.usage ?? {})) if (count !== null) counts[name] = count;
          break;
        case "message_stop":
          yield make.delta({}, FINISH[stopReason] ?? "stop");
          if (Object.keys(counts).length) yield make.usage(usage(counts));
          return;
        case "error":
          throw new StreamError("error_event", String(event.error?.message ?? "the provider reported an error"));
        default:
        // `ping`, and what may come: the documentation asks to skip unknown events.
      }
    }
    throw new StreamError("network", "the stream was cut before its end");
  },

  error(json) {
    const { type, message } = json?.error ?? {};
    // An empty account is told as a bad request.
    return { message, type, code: type, ofProvider: /^your credit balance is too low/i.test(String(message)) };
  },
};

/**
 * `claude-opus-4-7` → 407, `claude-3-5-haiku-20241022` → 305; a name without a version is taken for
 * the newest.
 * @param {string} model
 */
function versionOf(model) {
  const [, major, minor] = /(?<!\d)(\d{1,2})(?:[-.](\d{1,2}))?(?=-|@|:|$)/.exec(model) ?? [];
  return major === undefined ? Infinity : Number(major) * 100 + Number(minor ?? 0);
}

/**
 * The system prompt and the turns, which alternate.
 * @param {Record<string, any>} chat
 * @param {number} version
 */
function conversation(chat, version) {
  const { system, rest } = splitSystem(readMessages(chat));
  const messages = mergeTurns(
    rest.map((message) => ({ role: message.role === "assistant" ? "assistant" : "user", parts: blocks(message) })),
  ).map(({ role, parts }) => ({ role, content: parts }));
  if (messages.length === 0) throw badField("messages", "hold no text");
  if (messages[0].role !== "user") throw unsupported("conversations that the assistant opens");
  if (messages.at(-1)?.role === "assistant" && version >= ADAPTIVE) throw unsupported("continued assistant turns for this model");
  // The API has a JSON mode only by schema, and a forced tool, the older way, is refused by newer models.
  if (chat.response_format?.type === "json_object") system.push({ type: "text", text: "Answer with one JSON object and nothing else, without a code fence." });
  return { system, messages };
}

/** @param {Message} message @returns {any[]} */
function blocks({ role, parts, calls, answers, at, source }) {
  const content = parts.map((part, i) => (part.type === "text" ? part : mediaBlock(part, `${at}.content[${i}]`)));
  if (role === "tool") {
    const mark = parts.at(-1)?.cache_control;
    return [
      {
        type: "tool_result",
        tool_use_id: answers,
        ...(content.length && { content: content.map(({ cache_control: _mark, ...block }) => block) }),
        ...(mark && { cache_control: mark }),
      },
    ];
  }
  if (role === "user") return content;
  // Only Anthropic's own thoughts are signed; those of others would be refused.
  const thoughts = (Array.isArray(source.thinking_blocks) ? source.thinking_blocks : []).filter(
    (/** @type {any} */ block) => (block?.type === "thinking" && block.signature) || (block?.type === "redacted_thinking" && block.data),
  );
  const uses = calls.map(({ id, name, args }) => ({ type: "tool_use", id, name, input: args }));
  return [...thoughts.map(thinkingBlock), ...content, ...uses];
}

/** @param {any} part @param {string} at */
function mediaBlock(part, at) {
  const media = readMedia(part, at);
  const mark = part.cache_control && { cache_control: part.cache_control };
  const isImage = part.type === "image_url";
  if ("url" in media) return { type: isImage ? "image" : "document", source: { type: "url", url: media.url }, ...mark };
  if (isImage ? !IMAGES.has(media.type) : media.type !== "application/pdf") throw unsupported(`content of type ${media.type}`);
  const source = { type: "base64", media_type: media.type, data: media.data };
  return { type: isImage ? "image" : "document", source, ...(media.name && { title: media.name }), ...mark };
}

/** @param {any} block */
function isThinking({ type }) {
  return type === "thinking" || type === "redacted_thinking";
}

/** @param {any} block */
function thinkingBlock({ type, thinking, signature, data }) {
  return type === "thinking" ? { type, thinking: thinking ?? "", signature: signature ?? "" } : { type, data };
}

/** @param {Record<string, any>} chat */
function toolChoice(chat) {
  const choice = readToolChoice(chat);
  const serial = chat.parallel_tool_calls === false && { disable_parallel_tool_use: true };
  switch (choice?.mode) {
    case "none":
      return { type: "none" };
    case "required":
      return { type: "any", ...serial };
    case "named":
      return { type: "tool", name: choice.name, ...serial };
    default:
      return choice || serial ? { type: "auto", ...serial } : undefined;
  }
}

/**
 * @param {Record<string, any>} chat
 * @param {ReturnType<typeof toolChoice>} choice
 * @param {{content: any[]}[]} messages
 */
function tools(chat, choice, messages) {
  const list = readTools(chat).map(({ name, description, parameters, cache_control }) => ({
    name,
    ...(description !== undefined && { description }),
    input_schema: { type: "object", properties: {}, ...parameters },
    ...(cache_control && { cache_control }),
  }));
  if (list.length) return { tools: list, ...(choice && { tool_choice: choice }) };
  // Calls of earlier turns need their tools told, even where none is to be called any more.
  const uses = messages.flatMap(({ content }) => content.filter(({ type }) => type === "tool_use"));
  const called = new Set(uses.map(({ name }) => name));
  if (called.size === 0) return {};
  return { tools: Array.from(called, (name) => ({ name, input_schema: { type: "object", properties: {} } })), tool_choice: { type: "none" } };
}

/**
 * Effort and thinking, as this generation of models takes them. A setting that a model would refuse
 * becomes the nearest one that it takes: the router chose the model, the client did not.
 * @param {Record<string, any>} chat
 * @param {{version: number, maxTokens: number, messages: any[], forced: boolean}} of
 */
function thinkingOf({ thinking: asked, reasoning_effort: effort }, { version, maxTokens, messages, forced }) {
  const off = asked ? asked.type === "disabled" : effort === "none";
  const on = !off && Boolean(asked || effort);
  const level = off ? undefined : /** @type {Record<string, string>} */ (EFFORTS)[effort];
  if (version >= ADAPTIVE) {
    const { budget_tokens: _budget, ...rest } = asked ?? {};
    return {
      effort: off && version >= THINKS_BY_DEFAULT ? "low" : level === "xhigh" && version === ADAPTIVE ? "high" : level,
      // Not together with a forced tool call.
      thinking: on && !forced ? { ...rest, type: !asked || asked.type === "enabled" ? "adaptive" : asked.type } : undefined,
    };
  }
  const wanted = asked?.budget_tokens ?? /** @type {Record<string, number>} */ (BUDGETS)[effort] ?? BUDGETS.medium;
  // The budget is part of the limit; half of it is left for the answer.
  const budget = Math.min(wanted, Math.floor(maxTokens / 2));
  if (!on || forced || budget < LEAST_BUDGET || midTurn(messages)) return {};
  return { thinking: { type: "enabled", budget_tokens: budget } };
}

/**
 * Whether the model is to go on after tool calls that it did not think about, because another model
 * made them; with a budget, the API then refuses to think.
 * @param {{role: string, content: any[]}[]} messages
 */
function midTurn(messages) {
  const last = messages.findLast(({ role }) => role === "assistant");
  return Boolean(messages.at(-1)?.content.some(({ type }) => type === "tool_result")) && !(last && isThinking(last.content[0]));
}

/** Newer models take one of the two, and a temperature of at most 1. @param {Record<string, any>} chat */
function sampling({ temperature, top_p, top_k }) {
  const given = (/** @type {unknown} */ value) => value !== undefined && value !== null;
  return {
    ...(given(temperature) ? { temperature: Math.min(temperature, 1) } : given(top_p) && { top_p }),
    ...(given(top_k) && { top_k }),
  };
}

/** @param {Record<string, any>} chat */
function passed({ metadata, service_tier: tier, cache_control }) {
  return {
    ...(typeof metadata?.user_id === "string" && { metadata: { user_id: metadata.user_id } }),
    ...((tier === "auto" || tier === "standard_only") && { service_tier: tier }),
    ...(cache_control && { cache_control }),
  };
}

/**
 * Structured outputs rather than a forced tool, which models that always think refuse.
 * @param {Record<string, any>} chat
 * @param {number} version
 */
function outputFormat(chat, version) {
  const schema = readJsonFormat(chat)?.schema;
  if (!schema) return undefined;
  if (version < STRUCTURED) throw unsupported("JSON schema for this model");
  return { type: "json_schema", schema: structuredOutput(schema) };
}

/** The API counts cached input apart. @param {any} counts */
function usage({ input_tokens = 0, output_tokens = 0, cache_read_input_tokens, cache_creation_input_tokens, output_tokens_details: details }) {
  const cached = cache_read_input_tokens ?? 0;
  const cacheCreation = cache_creation_input_tokens ?? 0;
  return usageOf({
    input: input_tokens + cached + cacheCreation,
    output: output_tokens,
    cached,
    cacheCreation,
    reasoning: details?.thinking_tokens ?? 0,
  });
}
