/** Simulated chat completions of OpenAI. */

import { need, piecesOf } from "./strict.mjs";

/** @type {import("../simulator.mjs").Dialect} */
export const openai = {
  handles: (path) => path.endsWith("/v1/chat/completions"),

  toChat(body) {
    need(typeof body?.model === "string" && Array.isArray(body.messages), "model and messages are needed");
    return body;
  },

  reply: ({ choices, ...rest }) => ({
    ...rest,
    choices: choices.map(({ message: { reasoning_content: _thoughts, ...message }, ...choice }) => ({ ...choice, message })),
  }),

  *frames({ id, created, model, choices: [choice], usage }, chat) {
    const withUsage = Boolean(chat.stream_options?.include_usage);
    const chunk = (/** @type {any[]} */ choices, /** @type {any} */ used = null) =>
      data({ id, object: "chat.completion.chunk", created, model, choices, ...(withUsage ? { usage: used } : {}) });
    const delta = (/** @type {any} */ delta, /** @type {string | null} */ reason = null) => chunk([{ index: 0, delta, finish_reason: reason }]);
    if (choice) {
      const { content, tool_calls: calls } = choice.message;
      yield delta({ role: "assistant", content: content === null ? null : "" });
      if (calls) yield delta({ tool_calls: calls.map((/** @type {any} */ call, /** @type {number} */ index) => ({ index, ...call })) });
      for (const piece of piecesOf(content)) yield delta({ content: piece });
      yield delta({}, choice.finish_reason);
    }
    if (withUsage) yield chunk([], usage);
    yield "data: [DONE]\n\n";
  },

  error: ({ message, type, code }) => ({ error: { message, type, param: null, code } }),
  errorFrame: (body) => data(body),
};

/** @param {any} event */
function data(event) {
  return `data: ${JSON.stringify(event)}\n\n`;
}
