/**
 * Google's Gemini API: generateContent and streamGenerateContent.
 *
 * Relied on: https://ai.google.dev/api/generate-content (fields, finish reasons, usage),
 * …/gemini-api/docs/function-calling, …/structured-output (JSON Schema as it is), …/thinking
 * (budgets for 2.5, levels since 3), …/thought-signatures (which calls must be signed),
 * …/openai (`extra_content.google.thought_signature`, Google's own name for a signature in OpenAI's form).
 *
 * Left out as mere hints: `logit_bias`, `user`, `store`, `metadata`, `verbosity`, `prediction`,
 * `service_tier`, `cache_control`, a tool's `strict`. Passed on by name: `top_k`.
 */

import { AttemptError } from "../errors.js";
import { StreamError } from "../sse.js";
import {
  badField,
  checkTranslatable,
  chunksOf,
  completionOf,
  mergeTurns,
  parseObject,
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

/** @typedef {import("./common.js").Message} Message */

/** Thinking budgets of the 2.5 models, as Google's own OpenAI API sets them. */
const BUDGETS = { none: 0, minimal: 1024, low: 1024, medium: 8192, high: 24_576, xhigh: 24_576, max: 24_576 };
/** Thinking levels since version 3. */
const LEVELS = { none: "MINIMAL", minimal: "MINIMAL", low: "LOW", medium: "MEDIUM", high: "HIGH", xhigh: "HIGH", max: "HIGH" };

/** Stands for the signature of a call that another model made. */
const NO_SIGNATURE = "skip_thought_signature_validator";

/** @type {Record<string, string>} */
const MODES = { auto: "AUTO", none: "NONE", required: "ANY", named: "ANY" };

/** By the end of an address; the API needs to be told. @type {Record<string, string>} */
const TYPES = {
  ...{ jpg: "image/jpeg", jpeg: "image/jpeg", png: "image/png", webp: "image/webp", gif: "image/gif" },
  ...{ heic: "image/heic", heif: "image/heif", pdf: "application/pdf" },
};

/** Why an answer ended; any other reason means that there is none. @type {Record<string, string>} */
const FINISH = {
  FINISH_REASON_UNSPECIFIED: "stop",
  STOP: "stop",
  MAX_TOKENS: "length",
  SAFETY: "content_filter",
  RECITATION: "content_filter",
  BLOCKLIST: "content_filter",
  PROHIBITED_CONTENT: "content_filter",
  SPII: "content_filter",
};

/** @type {import("../providers.js").Format} */
export const gemini = {
  request(chat, { key }) {
    checkTranslatable(chat);
    const version = versionOf(chat.model);
    const { system, contents } = conversation(chat, version);
    const method = chat.stream ? "streamGenerateContent?alt=sse" : "generateContent";
    return {
      path: `/models/${encodeURIComponent(chat.model)}:${method}`,
      headers: key === undefined ? {} : { "x-goog-api-key": key },
      body: {
        ...(system.length && { systemInstruction: { parts: system } }),
        contents,
        ...tools(chat),
        generationConfig: generationConfig(chat, version),
      },
    };
  },

  reply(json) {
    const { parts, finish } = readAnswer(json, (message) => new AttemptError("bad_reply", message));
    if (finish === undefined) throw new AttemptError("bad_reply", "the reply holds no answer");
    const text = (/** @type {boolean} */ thought) =>
      parts.map((part) => (Boolean(part.thought) === thought ? (part.text ?? "") : "")).join("");
    const calls = parts.filter(({ functionCall }) => functionCall).map(toolCall);
    const said = { text: text(false), reasoning: text(true), calls };
    return completionOf(sourceOf(json), said, calls.length && finish === "stop" ? "tool_calls" : finish, usage(json.usageMetadata));
  },

  async *chunks(events) {
    /** @type {ReturnType<typeof chunksOf> | undefined} */
    let make;
    /** @type {any} */
    let counts;
    /** @type {string | undefined} */
    let finished;
    let calls = 0;
    for await (const event of events) {
      if (event.error) throw new StreamError("error_event", String(event.error.message ?? "the provider reported an error"));
      const { parts, finish } = readAnswer(event, (message) => new StreamError("bad_reply", message));
      if (!make) {
        make = chunksOf(sourceOf(event));
        yield make.delta({ role: "assistant", content: "" });
      }
      counts = event.usageMetadata ?? counts;
      for (const part of parts) {
        if (part.functionCall) yield make.delta({ tool_calls: [{ index: calls++, ...toolCall(part) }] });
        else if (part.text) yield make.delta(part.thought ? { reasoning_content: part.text } : { content: part.text });
      }
      finished = finish ?? finished;
    }
    // There is no last event: a whole answer has told why it ended, a cut one has not.
    if (!make || finished === undefined) throw new StreamError("network", "the stream was cut before its end");
    yield make.delta({}, calls && finished === "stop" ? "tool_calls" : finished);
    const total = usage(counts);
    if (total) yield make.usage(total);
  },

  error(json) {
    // Streams report an error as a list of one.
    const { message, status, details } = (Array.isArray(json) ? json[0] : json)?.error ?? {};
    const reasons = Array.isArray(details) ? details.map((detail) => detail?.reason) : [];
    // A wrong key is told as a bad request.
    return { message, type: status, code: status, ofProvider: reasons.includes("API_KEY_INVALID") };
  },
};

/** `gemini-2.5-flash` → 2.5; a name without a version is taken for the newest. @param {string} model */
function versionOf(model) {
  return Number(/(\d+(?:\.\d+)?)/.exec(model)?.[1] ?? Infinity);
}

/** @param {any} json */
function sourceOf({ responseId, modelVersion }) {
  return { id: responseId, model: modelVersion };
}

/**
 * Parts and end of an answer or of a piece of it. A blocked prompt has no candidate.
 * @param {any} json
 * @param {(message: string) => Error} failed
 * @returns {{parts: any[], finish?: string}}
 */
function readAnswer(json, failed) {
  if (json?.promptFeedback?.blockReason) return { parts: [], finish: "content_filter" };
  const { content, finishReason, finishMessage } = json?.candidates?.[0] ?? {};
  const finish = FINISH[finishReason];
  // Among them are calls that the model wrote wrongly, and images kept back.
  if (finishReason !== undefined && !finish) throw failed(`the answer ended with ${finishReason}${finishMessage ? `: ${finishMessage}` : ""}`);
  return { parts: Array.isArray(content?.parts) ? content.parts : [], finish };
}

/** Older models give calls no id. @param {any} part */
function toolCall({ functionCall: { id, name, args }, thoughtSignature }) {
  return {
    id: id || `call_${crypto.randomUUID().replaceAll("-", "")}`,
    type: "function",
    function: { name, arguments: JSON.stringify(args ?? {}) },
    ...(thoughtSignature && { extra_content: { google: { thought_signature: thoughtSignature } } }),
  };
}

/**
 * @param {Record<string, any>} chat
 * @param {number} version
 */
function conversation(chat, version) {
  const messages = readMessages(chat);
  const { system, rest } = splitSystem(messages);
  // Results are sent by the name of the function, which only the call tells.
  const names = new Map(messages.flatMap(({ calls }) => calls.map(({ id, name }) => [id, name])));
  const contents = mergeTurns(
    rest.map((message) => ({ role: message.role === "assistant" ? "model" : "user", parts: parts(message, names, version) })),
  );
  if (contents.length === 0) throw badField("messages", "hold no text");
  return { system: system.map(textPart), contents };
}

/**
 * @param {Message} message
 * @param {Map<string, string>} names of functions by call
 * @param {number} version
 * @returns {any[]}
 */
function parts({ role, parts, calls, answers, at }, names, version) {
  if (role === "tool") {
    const name = names.get(/** @type {string} */ (answers));
    if (name === undefined) throw badField(`${at}.tool_call_id`, "answers no tool call before it");
    if (parts.some(({ type }) => type !== "text")) throw unsupported("tool results but text");
    const text = parts.map((part) => part.text).join("");
    return [{ functionResponse: { id: answers, name, response: parseObject(text) ?? { output: text } } }];
  }
  const content = parts.map((part, i) => (part.type === "text" ? textPart(part) : mediaPart(part, `${at}.content[${i}]`)));
  const made = calls.map(({ id, name, args, signature }, i) => {
    // Only the first of several calls is signed, and only since version 3 must it be.
    const thoughtSignature = signature ?? (i === 0 && version >= 3 ? NO_SIGNATURE : undefined);
    return { functionCall: { id, name, args }, ...(thoughtSignature && { thoughtSignature }) };
  });
  return [...content, ...made];
}

/** @param {any} part */
function textPart({ text }) {
  return { text };
}

/** @param {any} part @param {string} at */
function mediaPart(part, at) {
  const media = readMedia(part, at);
  if (!("url" in media)) return { inlineData: { mimeType: media.type, data: media.data } };
  const mimeType = TYPES[/\.(\w+)$/.exec(new URL(media.url).pathname)?.[1].toLowerCase() ?? ""];
  return { fileData: { ...(mimeType && { mimeType }), fileUri: media.url } };
}

/** @param {Record<string, any>} chat */
function tools(chat) {
  const functionDeclarations = readTools(chat).map(({ name, description, parameters }) => ({
    name,
    ...(description !== undefined && { description }),
    ...(parameters && { parametersJsonSchema: parameters }),
  }));
  if (functionDeclarations.length === 0) return {};
  if (chat.parallel_tool_calls === false) throw unsupported("`parallel_tool_calls`: false");
  const choice = readToolChoice(chat);
  return {
    tools: [{ functionDeclarations }],
    ...(choice && {
      toolConfig: { functionCallingConfig: { mode: MODES[choice.mode], ...(choice.name && { allowedFunctionNames: [choice.name] }) } },
    }),
  };
}

/** @param {Record<string, any>} chat @param {number} version */
function generationConfig(chat, version) {
  const json = readJsonFormat(chat);
  const config = {
    maxOutputTokens: readMaxTokens(chat),
    temperature: chat.temperature,
    topP: chat.top_p,
    topK: chat.top_k,
    seed: chat.seed,
    // Some models refuse these outright; 0 is the same as none.
    presencePenalty: chat.presence_penalty || undefined,
    frequencyPenalty: chat.frequency_penalty || undefined,
    stopSequences: readStop(chat),
    responseMimeType: json && "application/json",
    responseJsonSchema: json?.schema,
    thinkingConfig: thinkingConfig(chat, version),
  };
  return Object.fromEntries(Object.entries(config).filter(([, value]) => value !== undefined && value !== null));
}

/** @param {Record<string, any>} chat @param {number} version */
function thinkingConfig({ model, thinking, reasoning_effort }, version) {
  const effort = thinking?.type === "disabled" ? "none" : reasoning_effort;
  const known = typeof effort === "string" && Object.hasOwn(LEVELS, effort) ? /** @type {keyof typeof LEVELS} */ (effort) : undefined;
  const on = known === undefined ? Boolean(thinking) : known !== "none";
  const shown = on && { includeThoughts: true };
  // Pro models always think, by at least 128 tokens or level LOW.
  const pro = model.includes("pro");
  if (version < 3) {
    const budget = known === undefined ? thinking?.budget_tokens : BUDGETS[known];
    const least = budget === undefined ? undefined : Math.max(budget, pro ? 128 : 0);
    return least === undefined && !on ? undefined : { ...(least !== undefined && { thinkingBudget: least }), ...shown };
  }
  const level = known && LEVELS[known];
  return level === undefined && !on ? undefined : { ...(level && { thinkingLevel: pro && level === "MINIMAL" ? "LOW" : level }), ...shown };
}

/** The API counts thoughts, and prompts of its own tools, apart. @param {any} counts */
function usage(counts) {
  if (!counts) return undefined;
  const reasoning = counts.thoughtsTokenCount ?? 0;
  return usageOf({
    input: (counts.promptTokenCount ?? 0) + (counts.toolUsePromptTokenCount ?? 0),
    output: (counts.candidatesTokenCount ?? 0) + reasoning,
    cached: counts.cachedContentTokenCount ?? 0,
    reasoning,
  });
}
