/** What the page's script needs to know of OpenAI's chat API, apart from any browser's `fetch`. */

export { modelNames } from "../../src/js/names.js";

/**
 * Whether a request could be a chat completion.
 * @param {string} method
 * @param {URL} url
 */
export function isCompletion(method, url) {
  return method.toUpperCase() === "POST" && url.pathname.endsWith("/chat/completions");
}

/**
 * Whether a request lists the models that a server offers.
 * @param {string} method
 * @param {URL} url
 */
export function isModelList(method, url) {
  return method.toUpperCase() === "GET" && url.pathname.endsWith("/models");
}

/**
 * The body of a chat completion that asks for routing; null for any other.
 * @param {string} text
 */
export function autoBody(text) {
  // Most bodies are not meant for us: look before parsing megabytes.
  if (!text.includes('"auto')) return null;
  const body = JSON.parse(text);
  return /^auto(:.*)?$/.test(body?.model) && Array.isArray(body.messages) ? body : null;
}

/**
 * The fields of a body that routing reads. Images and other files are named, not carried along.
 * @param {Record<string, any>} body
 */
export function routeRequest({ model, messages, tools, response_format, max_tokens, max_completion_tokens, reasoning_effort }) {
  return {
    model, tools, response_format, max_tokens, max_completion_tokens, reasoning_effort,
    messages: messages.map(({ role, content }) => ({
      role,
      content: Array.isArray(content) ? content.map(({ type, text }) => ({ type, text })) : content,
    })),
  };
}

/**
 * The body with the decision in it; all else stays as it was.
 * @param {Record<string, any>} body
 * @param {{ name: string, effort: string | null }} decision
 */
export function routedBody(body, { name, effort }) {
  const routed = { ...body, model: name };
  // A model at one effort was chosen for its price at that effort.
  if (effort && body.reasoning_effort === undefined) routed.reasoning_effort = effort;
  return JSON.stringify(routed);
}
