// A client that believes nothing: an answer is complete only if it is whole and agrees with its own
// usage, an error only if it has the shape that OpenAI's clients raise.

import { Agent, request as httpRequest } from "node:http";

/**
 * How a request ended. `lost`: neither whole nor an error; `reset`: the connection broke before the
 * end, which a retrying client sends again. `latency` is ms from the request to the end of the answer.
 * @typedef {{outcome: "complete" | "error" | "lost" | "reset", status: number, latency: number, why?: string,
 *   model?: string, usage?: any, code?: string}} Result
 */

const DEADLINE_MS = 60_000;

/** @param {number} connections kept alive */
export const agentOf = (connections) => new Agent({ keepAlive: true, maxSockets: connections });

/**
 * @param {string} url
 * @param {any} body
 * @param {{agent: Agent, headers?: Record<string, string>}} options
 * @returns {Promise<Result>}
 */
export async function ask(url, body, { agent, headers = {} }) {
  const start = performance.now();
  const took = () => performance.now() - start;
  let status = 0;
  let text = "";
  try {
    await new Promise((resolve, reject) => {
      const payload = Buffer.from(JSON.stringify(body));
      const request = httpRequest(`${url}/v1/chat/completions`, {
        agent,
        method: "POST",
        headers: { "content-type": "application/json", "content-length": payload.length, ...headers },
        signal: AbortSignal.timeout(DEADLINE_MS),
      });
      request.once("error", reject).once("response", (response) => {
        status = response.statusCode ?? 0;
        response.setEncoding("utf8").on("data", (piece) => (text += piece));
        response.once("error", reject).once("end", resolve);
      });
      request.end(payload);
    });
  } catch (error) {
    const { name, code, message } = /** @type {NodeJS.ErrnoException} */ (error);
    return { outcome: name === "TimeoutError" || code === "ABORT_ERR" ? "lost" : "reset", status, latency: took(), why: `${code}: ${message}` };
  }
  const latency = took();
  try {
    const seen = status !== 200 ? errorIn(JSON.parse(text)) : body.stream ? streamIn(text) : replyIn(JSON.parse(text));
    return { status, latency, ...seen };
  } catch (error) {
    return { outcome: "lost", status, latency, why: `${/** @type {Error} */ (error).message}: ${text.slice(-200)}` };
  }
}

/** @param {any} json @returns {Pick<Result, "outcome" | "code" | "why">} */
function errorIn(json) {
  const { message, type, code } = json?.error ?? {};
  for (const part of [message, type, code]) if (typeof part !== "string" || part === "") throw new Error("a malformed error");
  return { outcome: "error", code, why: message };
}

/** @param {any} json @returns {Pick<Result, "outcome" | "usage" | "model">} */
function replyIn({ choices, usage, model }) {
  return whole(choices[0].message.content, choices[0].finish_reason, usage, model);
}

/** @param {string} text */
function streamIn(text) {
  if (!text.endsWith("\n\n")) throw new Error("the stream ends inside an event");
  const events = text.split("\n\n").flatMap((event) => (event.startsWith("data: ") ? [event.slice("data: ".length)] : []));
  let content = "";
  let finish;
  let usage;
  let model;
  for (const [index, event] of events.entries()) {
    const last = index === events.length - 1;
    if (event === "[DONE]" && last) return whole(content, finish, usage, model);
    const chunk = JSON.parse(event);
    if (chunk.error && last) return errorIn(chunk);
    content += chunk.choices[0]?.delta?.content ?? "";
    finish = chunk.choices[0]?.finish_reason ?? finish;
    usage = chunk.usage ?? usage;
    model = chunk.model;
  }
  throw new Error("the stream has no end");
}

/**
 * The simulated providers count one token per word.
 * @param {string} content @param {any} finish @param {any} usage @param {string | undefined} model
 * @returns {Pick<Result, "outcome" | "usage" | "model">}
 */
function whole(content, finish, usage, model) {
  if (typeof finish !== "string") throw new Error("no finish_reason");
  if (content.split(" ").length !== usage.completion_tokens) throw new Error(`${content.split(" ").length} words, ${usage.completion_tokens} tokens`);
  return { outcome: "complete", usage, model };
}
