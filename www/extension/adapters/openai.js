/**
 * OpenAI's chat completions, at any path: `POST …/chat/completions`, models at `GET …/models`. A list
 * holds for the completions under the same path.
 */

import { modelNames } from "../../../src/js/names.js";

/** @type {import("./index.js").Adapter} */
export const openai = {
  name: "openai",
  anyPool: true,
  // Open WebUI's address is for its own adapter.
  isChat: ({ pathname }) => /(?<!\/api)\/chat\/completions$/.test(pathname),
  isList: ({ pathname }) => /\/models\/?$/.test(pathname),
  models: (list, { pathname }) => ({ [pathname.replace(/\/models\/?$/, "")]: modelNames(list) }),
  read: (body, { pathname }) => readOpenAi(body, pathname.replace(/\/chat\/completions$/, "")),
};

/**
 * A body in OpenAI's shape; routing reads these fields. Images and other files are named, not carried along.
 * @param {any} body
 * @param {string} pool
 * @returns {import("./index.js").Chat | null}
 */
export function readOpenAi(body, pool) {
  if (typeof body?.model !== "string" || !Array.isArray(body.messages)) return null;
  const { model, messages, tools, response_format, max_tokens, max_completion_tokens, reasoning_effort } = body;
  return {
    model, pool,
    effort: reasoning_effort || undefined,
    effortField: "reasoning_effort",
    request: {
      tools, response_format, max_tokens, max_completion_tokens,
      messages: messages.map(({ role, content }) => ({
        role,
        content: Array.isArray(content) ? content.map(({ type, text }) => ({ type, text })) : content,
      })),
    },
  };
}
