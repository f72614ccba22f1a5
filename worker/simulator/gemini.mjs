/**
 * Simulated Gemini API of Google, as strict as the real one: unknown fields, results without their
 * calls, unsigned calls and thinking settings of another generation are refused.
 */

import { need, only, piecesOf } from "./strict.mjs";

const PATH = /\/v1(?:beta)?\/models\/([^/:]+):(generateContent|streamGenerateContent)$/;
const CONFIG = [
  ...["maxOutputTokens", "temperature", "topP", "topK", "seed", "presencePenalty", "frequencyPenalty", "stopSequences"],
  ...["responseMimeType", "responseJsonSchema", "responseSchema", "thinkingConfig", "candidateCount"],
];
const DATA = ["text", "inlineData", "fileData", "functionCall", "functionResponse"];
const SIGNATURES = ["c2ltdWxhdGVk", "skip_thought_signature_validator"];
const REASONS = /** @type {Record<string, string>} */ ({ stop: "STOP", length: "MAX_TOKENS", tool_calls: "STOP" });
const STATUSES = /** @type {Record<number, string>} */ ({
  400: "INVALID_ARGUMENT",
  401: "UNAUTHENTICATED",
  404: "NOT_FOUND",
  429: "RESOURCE_EXHAUSTED",
  529: "UNAVAILABLE",
});

/** @type {import("../simulator.mjs").Dialect} */
export const gemini = {
  handles: (path) => PATH.test(path),

  toChat(body, path) {
    const [, model, method] = /** @type {RegExpExecArray} */ (PATH.exec(path));
    only(body, ["contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "safetySettings", "cachedContent"], "body");
    const config = body.generationConfig ?? {};
    checkConfig(config, model);
    const declared = (body.tools ?? []).flatMap((/** @type {any} */ tool) => {
      only(tool, ["functionDeclarations"], "tools");
      return tool.functionDeclarations;
    });
    for (const tool of declared) only(tool, ["name", "description", "parameters", "parametersJsonSchema"], "function_declarations");
    const calling = body.toolConfig?.functionCallingConfig;
    if (calling) {
      only(calling, ["mode", "allowedFunctionNames"], "function_calling_config");
      need(["AUTO", "ANY", "NONE"].includes(calling.mode), "function_calling_config.mode: unknown");
      need(!calling.allowedFunctionNames || calling.mode === "ANY", "allowed_function_names needs mode ANY");
    }
    const system = body.systemInstruction?.parts ?? [];
    return {
      model,
      stream: method === "streamGenerateContent",
      max_tokens: config.maxOutputTokens,
      messages: [...system.map((/** @type {any} */ { text }) => ({ role: "system", content: text })), ...toMessages(body.contents, model)],
      tools: declared.length ? declared.map((/** @type {any} */ { name }) => ({ type: "function", function: { name } })) : undefined,
      tool_choice: calling?.mode === "NONE" ? "none" : undefined,
      response_format: config.responseMimeType === "application/json" ? { type: "json_object" } : undefined,
      reasoning_effort: config.thinkingConfig?.thinkingLevel?.toLowerCase() ?? (config.thinkingConfig?.thinkingBudget ? "high" : undefined),
      thinks: Boolean(config.thinkingConfig?.includeThoughts),
    };
  },

  reply({ id, model, choices: [choice], usage }) {
    const candidates = choice ? [{ content: { role: "model", parts: partsOf(choice.message) }, finishReason: REASONS[choice.finish_reason], index: 0 }] : undefined;
    return { ...(candidates && { candidates }), usageMetadata: usageOf(usage), modelVersion: model, responseId: id };
  },

  *frames(completion, _chat) {
    const { candidates: [candidate] = [], usageMetadata, ...rest } = gemini.reply(completion);
    const { promptTokenCount } = usageMetadata;
    const chunk = (/** @type {any} */ part, /** @type {any} */ more = {}) =>
      frame({
        candidates: [{ content: { role: "model", parts: [part] }, index: 0, ...more }],
        usageMetadata: more.finishReason ? usageMetadata : { promptTokenCount, totalTokenCount: promptTokenCount },
        ...rest,
      });
    if (!candidate) return yield frame({ usageMetadata, ...rest });
    for (const { text, ...part } of candidate.content.parts) {
      if (text === undefined) yield chunk(part);
      else for (const piece of piecesOf(text)) yield chunk({ text: piece, ...part });
    }
    yield chunk({ text: "" }, { finishReason: candidate.finishReason });
  },

  error: ({ status, message }) => ({ error: { code: status, message, status: STATUSES[status] ?? "INTERNAL" } }),
  errorFrame: frame,
};

/** @param {any} config @param {string} model */
function checkConfig(config, model) {
  only(config, CONFIG, "generation_config");
  const json = config.responseJsonSchema ?? config.responseSchema;
  need(!json || config.responseMimeType === "application/json", "response schema needs response_mime_type application/json");
  need((config.stopSequences ?? []).length <= 5, "stop_sequences: at most 5");
  if (config.thinkingConfig) {
    only(config.thinkingConfig, ["thinkingBudget", "thinkingLevel", "includeThoughts"], "thinking_config");
    const old = /gemini-2/.test(model);
    need(config.thinkingConfig[old ? "thinkingLevel" : "thinkingBudget"] === undefined, `thinking ${old ? "level" : "budget"} is not supported for this model`);
    need([undefined, "MINIMAL", "LOW", "MEDIUM", "HIGH"].includes(config.thinkingConfig.thinkingLevel?.toUpperCase()), "thinking_level: unknown");
  }
}

/** @param {any} contents @param {string} model */
function toMessages(contents, model) {
  need(Array.isArray(contents) && contents.length > 0, "contents is not specified");
  /** @type {any[]} */
  const messages = [];
  /** @type {any[]} */
  let open = [];
  for (const [i, turn] of contents.entries()) {
    only(turn, ["role", "parts"], `contents[${i}]`);
    need(["user", "model"].includes(turn.role), "Please use a valid role: user, model.");
    need(Array.isArray(turn.parts) && turn.parts.length > 0, `contents[${i}].parts: must not be empty`);
    for (const part of turn.parts) {
      only(part, [...DATA, "thought", "thoughtSignature"], `contents[${i}].parts`);
      need(DATA.filter((name) => name in part).length === 1, `contents[${i}].parts: required oneof field 'data' must have one initialized field`);
    }
    const of = (/** @type {string} */ name) => turn.parts.flatMap((/** @type {any} */ part) => (part[name] ? [part[name]] : []));
    const [calls, results] = [of("functionCall"), of("functionResponse")];
    need(results.length === open.length, "the number of function response parts must be equal to the number of function call parts");
    for (const [j, { id, name, response, ...more }] of results.entries()) {
      only(more, [], "function_response");
      need(open[j].name === name && open[j].id === id && response && typeof response === "object", "function response does not match its call");
      messages.push({ role: "tool", tool_call_id: id, content: response.output ?? JSON.stringify(response) });
    }
    if (calls.length) {
      need(i > 0 && turn.role === "model" && contents[i - 1].role === "user", "function call turn must come immediately after a user turn");
      const { thoughtSignature } = turn.parts.find((/** @type {any} */ part) => part.functionCall);
      need(thoughtSignature ? SIGNATURES.includes(thoughtSignature) : /gemini-2/.test(model), "Function call is missing a thought_signature");
    }
    open = calls;
    const content = turn.parts.filter((/** @type {any} */ part) => !part.functionCall && !part.functionResponse).map(contentPart);
    const made = calls.map((/** @type {any} */ { id, name, args }) => ({ id, function: { name, arguments: JSON.stringify(args) } }));
    if (content.length || made.length) messages.push({ role: turn.role, content, ...(made.length && { tool_calls: made }) });
  }
  need(open.length === 0, "function calls must be answered");
  return messages;
}

/** @param {any} part */
function contentPart({ text, inlineData, fileData }) {
  if (inlineData) only(inlineData, ["mimeType", "data"], "inline_data");
  if (fileData) only(fileData, ["mimeType", "fileUri"], "file_data");
  return text === undefined ? { type: "image_url" } : { type: "text", text };
}

/** @param {any} message */
function partsOf({ content, reasoning_content: thoughts, tool_calls: calls = [] }) {
  return [
    ...(thoughts ? [{ text: thoughts, thought: true }] : []),
    ...(content ? [{ text: content }] : []),
    ...calls.map((/** @type {any} */ call, /** @type {number} */ i) => ({
      functionCall: { id: call.id, name: call.function.name, args: JSON.parse(call.function.arguments) },
      ...(i === 0 && { thoughtSignature: SIGNATURES[0] }),
    })),
  ];
}

/** Thoughts stand beside the answer's tokens, not in them. @param {any} usage */
function usageOf({ prompt_tokens, completion_tokens, total_tokens, completion_tokens_details: { reasoning_tokens } }) {
  return {
    promptTokenCount: prompt_tokens,
    candidatesTokenCount: completion_tokens - reasoning_tokens,
    ...(reasoning_tokens && { thoughtsTokenCount: reasoning_tokens }),
    totalTokenCount: total_tokens,
  };
}

/** @param {any} event */
function frame(event) {
  return `data: ${JSON.stringify(event)}\r\n\r\n`;
}
