/**
 * The providers that the owner configured, and one forwarded call.
 *
 * `PROVIDERS` is `{"<provider in the catalog>": {"base_url", "key"?, "models"?}}`: where its
 * OpenAI-compatible API stands, the name of the secret that holds its key (none for a keyless
 * server), and upstream names for catalog ids where they differ. No other address is ever called:
 * redirects are refused.
 */

import { HttpError } from "./errors.js";
import { readEvents, StreamError } from "./sse.js";

/**
 * @typedef {{name: string, url: string, key?: string, models: Record<string, string>}} Provider
 * @typedef {import("pennyroute").CatalogModel} CatalogModel
 * @typedef {Record<string, any>} ChatBody
 */

/** Statuses after which another model may well answer; any other 4xx is the request's own fault. */
const WORTH_ANOTHER = new Set([401, 402, 403, 404, 408, 409, 425, 429]);
/** Of these, the ones that every model of that provider would meet. */
const OF_PROVIDER = new Set([401, 402, 403]);

/** One model could not answer; another may. */
export class AttemptError extends Error {
  /**
   * @param {string} failure the status, or `network`, `timeout`, `redirect`, `bad_reply`, `error_event`
   * @param {string} message
   * @param {{ofProvider?: boolean, retryAfter?: string | null}} [more]
   */
  constructor(failure, message, { ofProvider = false, retryAfter = null } = {}) {
    super(message);
    this.failure = failure;
    this.ofProvider = ofProvider;
    this.retryAfter = retryAfter;
  }
}

/**
 * Reads the configuration; a provider whose secret is not set is left out, so that one
 * configuration can list every provider and the secrets say which are in use.
 * @param {Record<string, any>} env
 * @returns {Map<string, Provider>}
 */
export function readProviders(env) {
  const config = typeof env.PROVIDERS === "string" ? JSON.parse(env.PROVIDERS) : (env.PROVIDERS ?? {});
  const providers = new Map();
  for (const [name, { base_url, key, models = {} }] of Object.entries(config)) {
    const url = URL.canParse(base_url) ? new URL(base_url) : null;
    if (!url || !/^https?:$/.test(url.protocol) || url.username || url.password || url.search) {
      throw new Error(`PROVIDERS.${name}.base_url: ${JSON.stringify(base_url)} is not a plain http(s) address`);
    }
    if (key !== undefined && !env[key]) continue;
    providers.set(name, {
      name,
      url: `${url.origin}${url.pathname.replace(/\/+$/, "")}/chat/completions`,
      key: key === undefined ? undefined : String(env[key]),
      models,
    });
  }
  return providers;
}

/**
 * The body as the provider is sent it: its own model name, the candidate's effort, none of our
 * fields, everything else as the client wrote it. The effort was chosen with the model, so it
 * replaces one that the client set.
 * @param {ChatBody} body
 * @param {CatalogModel} model
 * @param {Provider} provider
 */
export function upstreamBody(body, model, provider) {
  const { pennyroute: _ours, ...rest } = body;
  const sent = { ...rest, model: provider.models[model.id] ?? model.base };
  return model.effort ? { ...sent, reasoning_effort: model.effort } : sent;
}

/**
 * Calls a provider and waits until it is known to answer: for a stream, until the first chunk that
 * holds a choice; else, until the whole reply is there. Throws AttemptError where another model may
 * do better, HttpError where the request itself is at fault.
 * @param {Provider} provider
 * @param {ChatBody} body as sent upstream
 * @param {{signal: AbortSignal, firstByteMs: number, replyMs: number, idleMs: number}} limits
 * @returns {Promise<{reply: any} | {first: any[], events: AsyncGenerator<any>}>}
 */
export async function callProvider(provider, body, { signal, firstByteMs, replyMs, idleMs }) {
  const deadline = new AbortController();
  const ms = body.stream ? firstByteMs : replyMs;
  const timer = setTimeout(() => deadline.abort(), ms);
  const either = AbortSignal.any([signal, deadline.signal]);
  try {
    const response = await fetch(provider.url, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        accept: body.stream ? "text/event-stream" : "application/json",
        "user-agent": "pennyroute-worker",
        ...(provider.key === undefined ? {} : { authorization: `Bearer ${provider.key}` }),
      },
      body: JSON.stringify(body),
      redirect: "manual",
      signal: either,
    });
    if (!response.ok) throw await refusal(response, provider);
    if (!body.stream) return { reply: checkReply(await response.json(), provider) };
    return await firstChoice(readEvents(response, { signal: either, idleMs }), provider);
  } catch (error) {
    if (signal.aborted || error instanceof HttpError || error instanceof AttemptError) throw error;
    if (deadline.signal.aborted) throw new AttemptError("timeout", `no answer within ${ms / 1000} s`);
    if (error instanceof StreamError) throw new AttemptError(error.failure, error.message);
    if (error instanceof SyntaxError) throw new AttemptError("bad_reply", "the reply is not JSON");
    throw new AttemptError("network", "the connection failed");
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
  if (OF_PROVIDER.has(status)) {
    return new AttemptError(String(status), "the provider refuses the gateway's key or account", { ofProvider: true });
  }
  const { message, type, param, code } = errorOf(text);
  const said = redact(message ?? `the provider answered ${status}`, provider);
  if (WORTH_ANOTHER.has(status) || status >= 500) {
    return new AttemptError(String(status), said, { retryAfter: response.headers.get("retry-after") });
  }
  return new HttpError(status, redact(code ?? "provider_refused", provider), said, {
    type: redact(type ?? "invalid_request_error", provider),
    param: param === null ? null : redact(param, provider),
  });
}

/**
 * The texts of an OpenAI-shaped error, where the body is one.
 * @param {string} text
 * @returns {{message: string | null, type: string | null, param: string | null, code: string | null}}
 */
function errorOf(text) {
  let error;
  try {
    error = JSON.parse(text)?.error;
  } catch {
    error = undefined;
  }
  const part = (/** @type {string} */ name) => (typeof error?.[name] === "string" ? error[name].slice(0, 1000) : null);
  return { message: part("message"), type: part("type"), param: part("param"), code: part("code") };
}

/** A provider's text without our key. @param {string} text @param {Provider} provider */
export function redact(text, { key }) {
  return key ? text.replaceAll(key, "[key]") : text;
}

/** Some providers answer 200 with an error or with no choice in it. @param {any} reply @param {Provider} provider */
function checkReply(reply, provider) {
  if (reply?.error) throw new AttemptError("bad_reply", redact(String(reply.error.message ?? "an error in a 200 reply"), provider));
  if (!Array.isArray(reply?.choices) || reply.choices.length === 0) throw new AttemptError("bad_reply", "the reply holds no choice");
  return reply;
}

/**
 * Reads a stream up to its first choice. Until then nothing was sent to the client, so an error
 * event, a cut or an empty stream can still fall back.
 * @param {AsyncGenerator<any>} events
 * @param {Provider} provider
 */
async function firstChoice(events, provider) {
  const first = [];
  for (;;) {
    const { value: event, done } = await events.next();
    if (done || event === "[DONE]") throw new AttemptError("bad_reply", "the stream ended before its first choice");
    if (event.error) throw new AttemptError("error_event", redact(String(event.error.message ?? "an error event"), provider));
    first.push(event);
    if (event.choices?.length) return { first, events };
  }
}
