/**
 * The providers that the owner configured, and one forwarded call.
 *
 * `PROVIDERS` is `{"<provider in the catalog>": {"base_url", "format"?, "key"?, "models"?, "output_limit"?}}`:
 * where its API stands, which wire format it speaks (default `openai`), the name of the secret that
 * holds its key (none for a keyless server), upstream names for catalog ids where they differ, and its
 * name for the limit on output tokens (default `max_tokens`). No other address is ever called:
 * redirects are refused.
 */

import { AttemptError, HttpError } from "./errors.js";
import { anthropic } from "./formats/anthropic.js";
import { gemini } from "./formats/gemini.js";
import { openai } from "./formats/openai.js";
import { hasToken } from "../src/js/completion.js";
import { readEvents, StreamError } from "./sse.js";

/**
 * A wire format, translated from and to OpenAI's chat completions.
 * @typedef {object} Format
 * @property {(chat: ChatBody, call: {key?: string}) => {path: string, headers: Record<string, string>, body: object}} request
 *   what to send for a chat request whose `model` is already the provider's name for it; throws
 *   AttemptError `unsupported` for what this format cannot say but another may
 * @property {(json: any) => any} reply a whole answer as a `chat.completion`; throws AttemptError `bad_reply`
 * @property {(events: AsyncGenerator<any>) => AsyncGenerator<any>} chunks a stream's events as
 *   `chat.completion.chunk`s, usage in one of them; ends where the answer ends, throws StreamError where
 *   it is cut before or reports an error. Thoughts stream as `reasoning_content`; a whole block with its
 *   signature follows in `thinking_blocks`
 * @property {(json: any) => {message?: string, type?: string, param?: string | null, code?: string, ofProvider?: boolean}} error
 *   what an error answer says; `ofProvider` where it tells, whatever its status, that our key or account is refused
 *
 * @typedef {{name: string, url: string, format: Format, key?: string, models: Record<string, string>, limit: string}} Provider
 * @typedef {import("pennyroute").CatalogModel} CatalogModel
 * @typedef {Record<string, any>} ChatBody
 */

/** By the name in `PROVIDERS`. @type {Record<string, Format>} */
const FORMATS = { openai, anthropic, gemini };

/** Statuses after which another model may well answer; any other 4xx is the request's own fault. */
const WORTH_ANOTHER = new Set([401, 402, 403, 404, 408, 409, 425, 429]);
/** Of these, the ones that every model of that provider would meet. */
const OF_PROVIDER = new Set([401, 402]);
/** Told by what stands before a provider, which may have worked, and charged, all the same. */
const OF_PROXY = new Set([408, 502, 504, 524]);

/**
 * Reads the configuration; a provider whose secret is not set is left out, so that one
 * configuration can list every provider and the secrets say which are in use.
 * @param {Record<string, any>} env
 * @returns {Map<string, Provider>}
 */
export function readProviders(env) {
  const config = typeof env.PROVIDERS === "string" ? JSON.parse(env.PROVIDERS) : (env.PROVIDERS ?? {});
  const providers = new Map();
  for (const [name, { base_url, format = "openai", key, models = {}, output_limit = "max_tokens" }] of Object.entries(config)) {
    const url = URL.canParse(base_url) ? new URL(base_url) : null;
    if (!url || !/^https?:$/.test(url.protocol) || url.username || url.password || url.search) {
      throw new Error(`PROVIDERS.${name}.base_url: ${JSON.stringify(base_url)} is not a plain http(s) address`);
    }
    if (!Object.hasOwn(FORMATS, format)) {
      throw new Error(`PROVIDERS.${name}.format: ${JSON.stringify(format)} is not one of ${Object.keys(FORMATS).join(", ")}`);
    }
    if (key !== undefined && !env[key]) continue;
    const secret = key === undefined ? undefined : String(env[key]).trim();
    if (secret !== undefined && !/^[\x21-\x7e]+$/.test(secret)) {
      console.error(`PROVIDERS.${name}: the secret ${key} holds characters that no header may; the provider is left out`);
      continue;
    }
    providers.set(name, {
      name,
      url: url.origin + url.pathname.replace(/\/+$/, ""),
      format: FORMATS[format],
      key: secret,
      models,
      limit: output_limit,
    });
  }
  return providers;
}

/**
 * The limit on output tokens that a call is sent: the client's own, the owner's and the model's, whichever is least.
 * @param {ChatBody} body
 * @param {CatalogModel} model
 * @param {number} most that the owner allows
 */
export function mostOutput(body, model, most) {
  const asked = [body.max_completion_tokens, body.max_tokens].find((limit) => Number.isSafeInteger(limit) && limit > 0);
  return Math.min(asked ?? Infinity, most, model.limit?.output ?? Infinity);
}

/**
 * The body as the provider is sent it: its own model name, the candidate's effort, the limit on
 * output tokens that was reserved, none of our fields, everything else as the client wrote it. The
 * effort was chosen with the model, so it replaces one that the client set.
 * @param {ChatBody} body
 * @param {CatalogModel} model
 * @param {Provider} provider
 * @param {number} most output tokens
 */
export function upstreamBody(body, model, provider, most) {
  const { pennyroute: _ours, max_tokens: _old, max_completion_tokens: _new, ...rest } = body;
  const sent = { ...rest, model: provider.models[model.id] ?? model.base, [provider.limit]: most };
  return model.effort ? { ...sent, reasoning_effort: model.effort } : sent;
}

/**
 * Calls a provider and waits until it is known to answer: for a stream, until the first token; else,
 * until the whole reply is there. Throws AttemptError where another model may do better, HttpError
 * where the request itself is at fault.
 * @param {Provider} provider
 * @param {ChatBody} body as sent upstream
 * @param {{signal: AbortSignal, firstByteMs: number, replyMs: number, idleMs: number, headers?: Record<string, string>}} options
 * @returns {Promise<{headers: Headers} & ({reply: any} | {chunks: AsyncGenerator<any>})>}
 */
export async function callProvider(provider, body, { signal, firstByteMs, replyMs, idleMs, headers: extra }) {
  const { path, headers, body: sent } = provider.format.request(body, { key: provider.key });
  const deadline = new AbortController();
  const ms = body.stream ? firstByteMs : replyMs;
  const timer = setTimeout(() => deadline.abort(), ms);
  const either = AbortSignal.any([signal, deadline.signal]);
  try {
    const response = await fetch(provider.url + path, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        accept: body.stream ? "text/event-stream" : "application/json",
        "user-agent": "pennyroute-worker",
        ...extra,
        ...headers,
      },
      body: JSON.stringify(sent),
      redirect: "manual",
      signal: either,
    });
    if (!response.ok) throw await refusal(response, provider);
    if (!body.stream) return { headers: response.headers, reply: checkReply(provider.format, await response.json()) };
    const events = readEvents(response, { signal: either, idleMs });
    return { headers: response.headers, chunks: await firstToken(provider.format.chunks(events), provider) };
  } catch (error) {
    if (signal.aborted || error instanceof HttpError) throw error;
    if (error instanceof AttemptError) throw Object.assign(error, { message: redact(error.message, provider) });
    if (deadline.signal.aborted) throw new AttemptError("timeout", `no answer within ${ms / 1000} s`, { lost: true });
    if (error instanceof StreamError) throw new AttemptError(error.failure, redact(error.message, provider), { lost: error.failure !== "error_event" });
    if (error instanceof SyntaxError) throw new AttemptError("bad_reply", "the reply is not JSON", { lost: true });
    throw new AttemptError("network", "the connection failed", { lost: true });
  } finally {
    // After the first byte only the idle limit holds: a long answer is no failure.
    clearTimeout(timer);
  }
}

/**
 * What a refused call means. A provider's message is the client's best hint, but may quote our key
 * (some do, in part, when they refuse it): those statuses keep their text from the client.
 * @param {Response} response
 * @param {Provider} provider
 */
async function refusal(response, provider) {
  const { status } = response;
  if (status >= 300 && status < 400) {
    await response.body?.cancel();
    return new AttemptError("redirect", "the provider redirects, which is not followed");
  }
  const text = (await response.text()).slice(0, 10_000);
  const { message, type, param, code, ofProvider } = errorOf(text, provider);
  if (ofProvider || OF_PROVIDER.has(status)) {
    return new AttemptError(String(status), "the provider refuses the gateway's key or account", { ofProvider: true });
  }
  const said = status === 403 ? "the provider refuses this model or prompt" : redact(message ?? `the provider answered ${status}`, provider);
  if (WORTH_ANOTHER.has(status) || status >= 500) {
    return new AttemptError(String(status), said, { retryAfter: response.headers.get("retry-after"), lost: OF_PROXY.has(status) });
  }
  return new HttpError(status, redact(code ?? "provider_refused", provider), said, {
    type: redact(type ?? "invalid_request_error", provider),
    param: param === null ? null : redact(param, provider),
  });
}

/**
 * The texts of a provider's error, where the body is one.
 * @param {string} text
 * @param {Provider} provider
 * @returns {{message: string | null, type: string | null, param: string | null, code: string | null, ofProvider: boolean}}
 */
function errorOf(text, { format }) {
  let error;
  try {
    error = format.error(JSON.parse(text));
  } catch {
    error = undefined;
  }
  const part = (/** @type {"message" | "type" | "param" | "code"} */ name) => {
    const value = error?.[name];
    return typeof value === "string" ? value.slice(0, 1000) : null;
  };
  return { message: part("message"), type: part("type"), param: part("param"), code: part("code"), ofProvider: error?.ofProvider === true };
}

/** A provider's text without our key. @param {string} text @param {Provider} provider */
function redact(text, { key }) {
  return key ? text.replaceAll(key, "[key]") : text;
}

/** Some providers answer 200 with an error or with no choice in it. @param {Format} format @param {any} json */
function checkReply(format, json) {
  if (json?.error) throw new AttemptError("bad_reply", String(json.error.message ?? "an error in a 200 reply"));
  let reply;
  try {
    reply = format.reply(json);
  } catch (error) {
    // It worked, if in vain.
    throw error instanceof AttemptError ? Object.assign(error, { lost: true }) : error;
  }
  if (!Array.isArray(reply?.choices) || reply.choices.length === 0) throw new AttemptError("bad_reply", "the reply holds no choice", { lost: true });
  return reply;
}

/**
 * The stream of chunks, read up to its first token. Until then nothing was sent to the client, so
 * an error event, a cut, a stall or an empty stream can still fall back. A choice that only names
 * its role is no token: some providers send it before the model runs. Errors do not quote our key.
 * @param {AsyncGenerator<any>} chunks
 * @param {Provider} provider
 */
async function firstToken(chunks, provider) {
  /** @type {any[]} */
  const first = [];
  for (;;) {
    const { value: chunk, done } = await chunks.next();
    if (done) throw new AttemptError("bad_reply", "the stream ended before its first token", { lost: true });
    first.push(chunk);
    if (chunk.choices?.some(hasToken)) break;
  }
  return (async function* () {
    yield* first;
    try {
      // `yield*` of an asynchronous generator costs more per chunk.
      for await (const chunk of chunks) yield chunk;
    } catch (error) {
      throw error instanceof StreamError ? new StreamError(error.failure, redact(error.message, provider)) : error;
    }
  })();
}
