/** OpenAI's chat completions, which most providers and local servers speak: the form that all others are translated to. */

import { StreamError } from "../sse.js";

/** What would change the model, the provider or the price behind the decision's back, at OpenAI or at a server that routes by itself. */
const OF_OWNER = new Set(["service_tier", "web_search_options", "models", "provider", "route", "plugins", "transforms"]);

/** @type {import("../providers.js").Format} */
export const openai = {
  request: (chat, { key }) => ({
    path: "/chat/completions",
    headers: key === undefined ? {} : { authorization: `Bearer ${key}` },
    body: plainBody(chat),
  }),

  reply: (json) => json,

  async *chunks(events) {
    let finished = false;
    for await (const event of events) {
      if (event === "[DONE]") return;
      if (event.error) throw new StreamError("error_event", String(event.error.message ?? "the provider reported an error"));
      finished ||= Boolean(event.choices?.some((/** @type {any} */ choice) => choice.finish_reason));
      yield event;
    }
    // Some servers leave out the `[DONE]` after a finished answer.
    if (!finished) throw new StreamError("network", "the stream was cut before its end");
  },

  error: (json) => json?.error ?? {},
};

/**
 * A body without what is the owner's to say, and without the names that only Anthropic's API knows, which a conversation
 * of its clients may hold: servers that speak OpenAI's API refuse some of them. `cache_control` goes with them; caching is automatic there.
 * @param {Record<string, any>} chat
 */
function plainBody(chat) {
  const body = Object.fromEntries(Object.entries(chat).filter(([name]) => !OF_OWNER.has(name)));
  // A budget of tokens is Anthropic's; others have a `thinking` of their own.
  if (body.thinking?.budget_tokens !== undefined) delete body.thinking;
  return {
    ...body,
    messages: body.messages?.map(plain),
    ...(Array.isArray(body.tools) && { tools: body.tools.map(unmarked) }),
  };
}

/** @param {any} message */
function plain(message) {
  const { thinking_blocks, ...rest } = unmarked(message);
  if (thinking_blocks) delete rest.reasoning_content;
  return Array.isArray(rest.content) ? { ...rest, content: rest.content.map(unmarked) } : rest;
}

/** @param {any} value */
function unmarked(value) {
  if (value === null || typeof value !== "object" || !("cache_control" in value)) return value;
  const { cache_control: _mark, ...rest } = value;
  return rest;
}
