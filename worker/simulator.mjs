/**
 * Simulated providers: an OpenAI-compatible server that answers with canned, labelled text. It lets
 * the gateway be tried and tested, failures included, without a key, a cost or the internet.
 *
 * Any path that ends in `/v1/chat/completions` or `/v1/models` is served, so one server stands in
 * for many providers (`http://127.0.0.1:PORT/openai/v1`). A failure is asked for with the header
 * `x-simulate`, with a body field `simulate` (which gateways pass on), or for good with `failures`;
 * the last two may name it per model: `{"gpt-6": "429"}`.
 *
 *   node worker/simulator.mjs [PORT]
 */

import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";

/**
 * What can go wrong: a status; `cut` and `stall` before the first byte, `late_cut` and `late_stall`
 * in mid-answer; an error where a 200 was promised, as the first event or in mid-answer; an answer
 * without a choice; a refusal that quotes the key. `401` quotes it too, as some providers do.
 * @typedef {"429" | "500" | "404" | "400" | "401" | "cut" | "stall" | "late_cut" | "late_stall" | "error_frame" | "late_error_frame" | "empty" | "leak"} Failure
 *
 * @typedef {{path: string, headers: import("node:http").IncomingHttpHeaders, body: any, aborted: boolean, finished: boolean}} Call
 */

const STATUSES = /** @type {const} */ ({
  400: ["invalid_request_error", "unsupported_parameter", "Simulated: a parameter is not supported."],
  401: ["authentication_error", "invalid_api_key", "Simulated: incorrect API key provided."],
  404: ["invalid_request_error", "model_not_found", "Simulated: the model does not exist."],
  429: ["rate_limit_error", "rate_limit_exceeded", "Simulated: rate limit reached."],
  500: ["server_error", "server_error", "Simulated: the server had an error."],
});

const CANNED = [
  "This text was written in advance; no model was called.",
  "It stands where an answer would, so that streaming, usage and receipts can be seen at work.",
  "Its length and its delays resemble those of a short chat answer.",
];

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
  if (request.method !== "POST" || !path.endsWith("/v1/chat/completions")) return refuse(response, 404, "no such route");
  /** @type {any} */
  let body;
  try {
    body = JSON.parse(await text(request));
  } catch {
    return refuse(response, 400, "the body is not JSON");
  }
  if (typeof body?.model !== "string" || !Array.isArray(body.messages)) return refuse(response, 400, "model and messages are needed");
  /** @type {Call} */
  const call = { path, headers: request.headers, body, aborted: false, finished: false };
  calls.push(call);
  const gone = new AbortController();
  response.once("close", () => {
    call.finished = response.writableFinished;
    call.aborted = !response.writableFinished;
    gone.abort();
  });
  const failure = failureOf(request, body, failures);
  try {
    await sleep(latencyMs, undefined, { signal: gone.signal });
    if (failure === "cut") return response.destroy();
    if (failure === "stall") return await sleep(2 ** 31 - 1, undefined, { signal: gone.signal });
    if (failure === "401" || failure === "leak") {
      return refuse(response, failure === "401" ? 401 : 400, `Simulated: the key in "${request.headers.authorization}" is not known.`);
    }
    if (failure !== undefined && Object.hasOwn(STATUSES, failure)) return refuse(response, Number(failure));
    const completion = complete(path, body);
    if (body.stream) await stream(response, body, completion, { failure, chunkMs, signal: gone.signal });
    else if (failure === "error_frame") json(response, 200, errorOf(500));
    else json(response, 200, failure === "empty" ? { ...completion, choices: [] } : completion);
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
 * @param {any} body
 */
function complete(path, body) {
  const provider = path.split("/").at(-4) || "provider";
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
  // Reasoning is billed as output and grows with the effort, as at real providers.
  const reasoning = { minimal: 0, low: 64, medium: 256, high: 1024 }[/** @type {string} */ (body.reasoning_effort)] ?? 0;
  const prompt = Math.ceil(JSON.stringify(body.messages).length / 4);
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

/**
 * The same completion as server-sent events.
 * @param {import("node:http").ServerResponse} response
 * @param {any} body
 * @param {ReturnType<typeof complete>} completion
 * @param {{failure: Failure | undefined, chunkMs: number, signal: AbortSignal}} options
 */
async function stream(response, body, { id, created, model, choices: [{ message, finish_reason }], usage }, { failure, chunkMs, signal }) {
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
  const withUsage = Boolean(body.stream_options?.include_usage);
  const send = (/** @type {any} */ event) => response.write(`data: ${typeof event === "string" ? event : JSON.stringify(event)}\n\n`);
  const chunk = (/** @type {any[]} */ choices, /** @type {any} */ used = null) => ({
    ...{ id, object: "chat.completion.chunk", created, model, choices },
    ...(withUsage ? { usage: used } : {}),
  });
  const delta = (/** @type {any} */ delta, /** @type {string | null} */ reason = null) => chunk([{ index: 0, delta, finish_reason: reason }]);
  response.write(": simulated\n\n");
  if (failure === "error_frame") {
    send(errorOf(500));
    return response.end();
  }
  if (failure !== "empty") {
    send(delta({ role: "assistant", content: message.content === null ? null : "" }));
    const calls = /** @type {any} */ (message).tool_calls;
    if (calls) send(delta({ tool_calls: calls.map((/** @type {any} */ call, /** @type {number} */ index) => ({ index, ...call })) }));
    const pieces = (message.content ?? "").match(/\s*\S{1,8}/g) ?? [];
    for (const [i, piece] of pieces.entries()) {
      if (i === 3 && failure === "late_cut") return response.destroy();
      if (i === 3 && failure === "late_stall") return sleep(2 ** 31 - 1, undefined, { signal });
      if (i === 3 && failure === "late_error_frame") {
        send(errorOf(500));
        return response.end();
      }
      send(delta({ content: piece }));
      await sleep(chunkMs, undefined, { signal });
    }
    send(delta({}, finish_reason));
  }
  if (withUsage) send(chunk([], usage));
  send("[DONE]");
  response.end();
}

/** @param {number} status @param {string} [message] */
function errorOf(status, message) {
  const [type, code, words] = STATUSES[/** @type {keyof typeof STATUSES} */ (status)];
  return { error: { message: message ?? words, type, param: null, code } };
}

/** @param {import("node:http").ServerResponse} response @param {number} status @param {string} [message] */
function refuse(response, status, message) {
  json(response, status, errorOf(status, message), status === 429 ? { "retry-after": "7" } : {});
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
  console.log(`Simulated providers on ${url}/PROVIDER/v1`);
}
