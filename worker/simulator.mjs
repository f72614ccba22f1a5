/**
 * Simulated providers: a server that answers with canned, labelled text in the APIs of OpenAI,
 * Anthropic and Google. It lets the gateway be tried and tested, failures included, without a key, a
 * cost or the internet. Tokens are counted in the same way in every API.
 *
 * Any path that ends in `/v1/chat/completions`, `/v1/messages`, `/v1beta/models/MODEL:generateContent`
 * (or `:streamGenerateContent`) or `/v1/models` is served, so one server stands in for many providers
 * (`http://127.0.0.1:PORT/openai/v1`). A failure is asked for with the header `x-simulate`, in OpenAI's
 * API with a body field `simulate` (which gateways pass on), or for good with `failures`; the last two
 * may name it per model: `{"gpt-6": "429"}`.
 *
 *   node worker/simulator.mjs [PORT]
 */

import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { anthropic } from "./simulator/anthropic.mjs";
import { gemini } from "./simulator/gemini.mjs";
import { openai } from "./simulator/openai.mjs";
import { Refused } from "./simulator/strict.mjs";

/**
 * What can go wrong: a status; `cut` and `stall` before the first byte, `late_cut` and `late_stall`
 * in mid-answer; an error where a 200 was promised, as the first event or in mid-answer; an answer
 * without a choice; a refusal that quotes the key. `401` quotes it too, as some providers do.
 * @typedef {"429" | "500" | "529" | "404" | "400" | "401" | "cut" | "stall" | "late_cut" | "late_stall" | "error_frame" | "late_error_frame" | "empty" | "leak"} Failure
 *
 * @typedef {{path: string, headers: import("node:http").IncomingHttpHeaders, body: any, aborted: boolean, finished: boolean}} Call
 *
 * An API that the simulator speaks.
 * @typedef {object} Dialect
 * @property {(path: string) => boolean} handles
 * @property {(body: any, path: string, headers: import("node:http").IncomingHttpHeaders) => any} toChat
 *   the request as one of OpenAI's, with `thinks` where thoughts are to be shown; throws Refused
 * @property {(completion: any) => any} reply
 * @property {(completion: any, chat: any) => Generator<string>} frames the same answer as server-sent events
 * @property {(error: {status: number, type: string, code: string, message: string}) => any} error an error's body
 * @property {(body: any) => string} errorFrame the same as an event of a stream
 */

const DIALECTS = [openai, anthropic, gemini];

const STATUSES = /** @type {const} */ ({
  400: ["invalid_request_error", "unsupported_parameter", "Simulated: a parameter is not supported."],
  401: ["authentication_error", "invalid_api_key", "Simulated: incorrect API key provided."],
  404: ["invalid_request_error", "model_not_found", "Simulated: the model does not exist."],
  429: ["rate_limit_error", "rate_limit_exceeded", "Simulated: rate limit reached."],
  500: ["server_error", "server_error", "Simulated: the server had an error."],
  529: ["overloaded_error", "overloaded", "Simulated: overloaded."],
});

const CANNED = [
  "This text was written in advance; no model was called.",
  "It stands where an answer would, so that streaming, usage and receipts can be seen at work.",
  "Its length and its delays resemble those of a short chat answer.",
];

const THOUGHTS = "These thoughts were written in advance too.";

/** Events of a stream that are sent before a late failure; shorter streams have none. */
const BEFORE_FAILURE = 5;

/**
 * @param {{port?: number, host?: string, latencyMs?: number, chunkMs?: number, failures?: Record<string, Failure>}} [options]
 *   `latencyMs` until the first byte, `chunkMs` between the pieces of a stream, `failures` by model
 * @returns {Promise<{url: string, port: number, calls: Call[], close: () => Promise<void>}>}
 */
export async function startSimulator({ port = 0, host = "127.0.0.1", latencyMs = 5, chunkMs = 1, failures = {} } = {}) {
  /** @type {Call[]} */
  const calls = [];
  const server = createServer((request, response) => {
    answer(request, response, { calls, latencyMs, chunkMs, failures }).catch(() => response.destroy());
  });
  await new Promise((resolve, reject) => server.once("error", reject).listen(port, host, () => resolve(undefined)));
  const address = /** @type {import("node:net").AddressInfo} */ (server.address());
  return {
    url: `http://${host}:${address.port}`,
    port: address.port,
    calls,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/**
 * @param {import("node:http").IncomingMessage} request
 * @param {import("node:http").ServerResponse} response
 * @param {{calls: Call[], latencyMs: number, chunkMs: number, failures: Record<string, Failure>}} options
 */
async function answer(request, response, { calls, latencyMs, chunkMs, failures }) {
  const path = new URL(request.url ?? "/", "http://simulator").pathname;
  if (request.method === "GET" && path.endsWith("/v1/models")) {
    return json(response, 200, { object: "list", data: [{ id: "simulated", object: "model", created: 0, owned_by: "simulator" }] });
  }
  const dialect = DIALECTS.find(({ handles }) => handles(path));
  if (request.method !== "POST" || !dialect) return refuse(response, dialect ?? openai, 404, "no such route");
  /** @type {any} */
  let body;
  /** @type {any} */
  let chat;
  try {
    body = JSON.parse(await text(request));
    chat = dialect.toChat(body, path, request.headers);
  } catch (error) {
    return refuse(response, dialect, 400, error instanceof Refused ? error.message : "the body is not JSON of this API");
  }
  /** @type {Call} */
  const call = { path, headers: request.headers, body, aborted: false, finished: false };
  calls.push(call);
  const gone = new AbortController();
  response.once("close", () => {
    call.finished = response.writableFinished;
    call.aborted = !response.writableFinished;
    gone.abort();
  });
  const failure = failureOf(request, chat, failures);
  try {
    await sleep(latencyMs, undefined, { signal: gone.signal });
    if (failure === "cut") return response.destroy();
    if (failure === "stall") return await sleep(2 ** 31 - 1, undefined, { signal: gone.signal });
    if (failure === "401" || failure === "leak") {
      const { authorization, "x-api-key": key = authorization, "x-goog-api-key": googleKey = key } = request.headers;
      return refuse(response, dialect, failure === "401" ? 401 : 400, `Simulated: the key in "${googleKey}" is not known.`);
    }
    if (failure !== undefined && Object.hasOwn(STATUSES, failure)) return refuse(response, dialect, Number(failure));
    const whole = complete(path, chat);
    const completion = failure === "empty" ? { ...whole, choices: [] } : whole;
    if (chat.stream) await stream(response, dialect, completion, { chat, failure, chunkMs, signal: gone.signal });
    else json(response, 200, failure === "error_frame" ? errorOf(dialect, 500) : dialect.reply(completion));
  } catch (error) {
    if (!gone.signal.aborted) throw error;
  }
}

/**
 * @param {import("node:http").IncomingMessage} request
 * @param {any} body
 * @param {Record<string, Failure>} failures
 * @returns {Failure | undefined}
 */
function failureOf(request, body, failures) {
  const named = (/** @type {any} */ asked) => (typeof asked === "string" ? asked : asked?.[body.model]);
  return named(request.headers["x-simulate"]) ?? named(body.simulate) ?? failures[body.model];
}

/**
 * The completion: a call of the first tool where there are tools to call, JSON where JSON is asked
 * for, else text.
 * @param {string} path
 * @param {any} body a chat request
 */
function complete(path, body) {
  const provider = /^\/(.+?)\/v1/.exec(path)?.[1] ?? "provider";
  const label = `[simulated answer from ${provider}/${body.model}]`;
  const tool = body.messages.at(-1)?.role === "tool" || body.tool_choice === "none" ? undefined : body.tools?.[0]?.function;
  const content = tool
    ? null
    : ["json_object", "json_schema"].includes(body.response_format?.type)
      ? JSON.stringify({ simulated: true, answer: label })
      : [label, ...CANNED].join(" ");
  const limit = body.max_completion_tokens ?? body.max_tokens ?? Infinity;
  const pieces = content === null ? [] : (content.match(/\s*\S{1,8}/g) ?? []);
  const kept = pieces.slice(0, limit);
  const message = tool
    ? { role: "assistant", content: null, tool_calls: [{ id: "call_simulated", type: "function", function: { name: tool.name, arguments: "{}" } }] }
    : { role: "assistant", content: kept.join("") };
  if (body.thinks) Object.assign(message, { reasoning_content: THOUGHTS });
  // Reasoning is billed as output and grows with the effort, as at real providers.
  const reasoning = { minimal: 0, low: 64, medium: 256, high: 1024 }[/** @type {string} */ (body.reasoning_effort)] ?? 0;
  const prompt = Math.ceil(lengthOf(body.messages) / 4);
  const output = reasoning + (tool ? 12 : kept.length);
  return {
    id: `chatcmpl-simulated-${Math.random().toString(36).slice(2)}`,
    object: "chat.completion",
    created: Math.floor(Date.now() / 1000),
    model: body.model,
    choices: [{ index: 0, message, finish_reason: tool ? "tool_calls" : kept.length < pieces.length ? "length" : "stop" }],
    usage: {
      prompt_tokens: prompt,
      completion_tokens: output,
      total_tokens: prompt + output,
      prompt_tokens_details: { cached_tokens: 0 },
      completion_tokens_details: { reasoning_tokens: reasoning },
    },
  };
}

/** Characters of all texts, whatever API they came through. @param {any} value @returns {number} */
function lengthOf(value) {
  if (typeof value === "string") return value.length;
  if (Array.isArray(value)) return value.reduce((sum, item) => sum + lengthOf(item), 0);
  return value ? lengthOf([value.content, value.text, value.tool_calls, value.function, value.name, value.arguments]) : 0;
}

/**
 * The same completion as server-sent events.
 * @param {import("node:http").ServerResponse} response
 * @param {Dialect} dialect
 * @param {ReturnType<typeof complete>} completion
 * @param {{chat: any, failure: Failure | undefined, chunkMs: number, signal: AbortSignal}} options
 */
async function stream(response, dialect, completion, { chat, failure, chunkMs, signal }) {
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
  response.write(": simulated\n\n");
  const error = () => response.end(dialect.errorFrame(errorOf(dialect, 500)));
  if (failure === "error_frame") return error();
  let sent = 0;
  for (const frame of dialect.frames(completion, chat)) {
    if (sent === BEFORE_FAILURE && failure === "late_cut") return response.destroy();
    if (sent === BEFORE_FAILURE && failure === "late_stall") return sleep(2 ** 31 - 1, undefined, { signal });
    if (sent === BEFORE_FAILURE && failure === "late_error_frame") return error();
    response.write(frame);
    sent += 1;
    await sleep(chunkMs, undefined, { signal });
  }
  response.end();
}

/** @param {Dialect} dialect @param {number} status @param {string} [message] */
function errorOf(dialect, status, message) {
  const [type, code, words] = STATUSES[/** @type {keyof typeof STATUSES} */ (status)];
  return dialect.error({ status, type, code, message: message ?? words });
}

/** @param {import("node:http").ServerResponse} response @param {Dialect} dialect @param {number} status @param {string} [message] */
function refuse(response, dialect, status, message) {
  json(response, status, errorOf(dialect, status, message), status === 429 ? { "retry-after": "7" } : {});
}

/**
 * @param {import("node:http").ServerResponse} response
 * @param {number} status
 * @param {any} body
 * @param {Record<string, string>} [headers]
 */
function json(response, status, body, headers = {}) {
  response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body));
}

/** @param {import("node:http").IncomingMessage} request */
async function text(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { url } = await startSimulator({ port: Number(process.argv[2] ?? 8788) });
  console.log(`Simulated providers on ${url}/PROVIDER/v1 (v1beta for Google's API)`);
}
