/** OpenAI's chat completions, which most providers and local servers speak: the form that all others are translated to. */

import { StreamError } from "../sse.js";

/** @type {import("../providers.js").Format} */
export const openai = {
  request: (chat, { key }) => ({
    path: "/chat/completions",
    headers: key === undefined ? {} : { authorization: `Bearer ${key}` },
    body: chat,
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
