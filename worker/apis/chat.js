/** `/v1/chat/completions`: the form that everything else is translated to, so there is little to do. */

import { errorBody } from "../errors.js";

/** @type {import("../complete.js").Api} */
export const chat = {
  toChat: (body) => body,

  reply: (completion) => completion,

  async *frames(chunks) {
    for await (const chunk of chunks) yield `data: ${JSON.stringify(chunk)}\n\n`;
    yield "data: [DONE]\n\n";
  },

  error: errorBody,

  errorFrame: (error) => `data: ${JSON.stringify(errorBody(error))}\n\n`,
};
