/**
 * A `fetch` for OpenAI's client and those like it: chat completions for the model `auto` are routed
 * here, before the call, and fall back to the next model until one has begun to answer.
 *
 * Everything else goes to the given `fetch` with its arguments untouched, and so does every byte of
 * an answer once its first token has come.
 */

import { Watch, countsOf } from "./completion.js";
import { PennyrouteError } from "./error.js";
import { Failure, NoAnswer, abortable, firstAnswer, modelsOf, notify, readLimits, readPolicy, refusal, routerOf } from "./fallback.js";
import { modelNames, offeredNames } from "./names.js";
import { receiptBody, receiptHeaders } from "./receipts.js";

export { PennyrouteError };

/**
 * @typedef {import("./fallback.js").Candidate & { url: string, headers: Headers, init: object }} Place a candidate with where it is called, and how
 * @typedef {{ init: RequestInit | undefined, headers: Headers, body: Record<string, any>, signal?: AbortSignal | null, base: string, query: string }} Call
 */

const PATH = "/chat/completions";
/** How long a server may take to list its models. */
const LIST_MS = 10_000;
/** Lists that are kept: there is one for each key that a server was called with. */
const LISTS_KEPT = 100;
/** The caller's mistakes among the codes of PennyrouteError. */
const CALLERS = new Set(["bad_request", "bad_number"]);

/** @param {import("./fetch.d.ts").RoutedFetchOptions} options */
export function routedFetch({ router, models, providers, policy, aliases = {}, onDecision, onReceipt, fetch: send, ...limits }) {
  const loading = routerOf(router);
  const defaults = readPolicy(policy, "policy");
  const { firstTokenMs, replyMs, ...rest } = readLimits(limits);
  if (models && providers) throw new PennyrouteError("bad_request", "models: with `providers`, each of them has its own");
  /** @type {Map<string, Record<string, any>>} */
  const routes = new Map(Object.entries(aliases).map(([name, own]) => [name, readPolicy(own, `aliases.${name}`)]));
  const places = providers ? atProviders(providers) : atClient(models, (...args) => (send ?? globalThis.fetch)(...args));

  /** @type {typeof globalThis.fetch} */
  return async function fetch(input, init) {
    // Looked up at each call: tests and tracers replace it.
    const next = send ?? globalThis.fetch;
    const call = await readCall(input, init, routes);
    if (!call) return next(input, init);
    const { body, signal } = call;
    try {
      const own = { ...routes.get(body.model), ...readPolicy(body.pennyroute, "pennyroute") };
      const request = requestOf(body, routes);
      const loaded = await abortable(loading, signal);
      const catalog = await abortable(modelsOf(loaded), signal);
      const candidates = await abortable(places(catalog, call), signal);
      const attemptMs = body.stream ? firstTokenMs : replyMs;
      const { answer, answered } = await firstAnswer(
        { router: loaded, catalog, request, policy: defaults, own, candidates, limits: { ...rest, attemptMs }, signal, onDecision },
        (place, stop) => callPlace(/** @type {Place} */ (place), body, { next, signal: stop, alone: !providers }),
      );
      return handOn(answer, answered, onReceipt);
    } catch (error) {
      signal?.throwIfAborted();
      if (error instanceof NoAnswer) notify(onReceipt, receiptBody(error.decision, { model: null, failed: error.failed }));
      if (error instanceof PennyrouteError) return errorResponse(error);
      throw error;
    }
  };
}

/**
 * A chat completion that asks for routing; null for any other call, which is left as it is.
 * @param {any} input
 * @param {RequestInit | undefined} init
 * @param {Map<string, unknown>} routes
 * @returns {Promise<Call | null>}
 */
async function readCall(input, init, routes) {
  const request = typeof input?.url === "string" ? /** @type {Request} */ (input) : null;
  const address = String(request?.url ?? input);
  const [path, query = ""] = address.split(/(?=\?)/);
  if ((init?.method ?? request?.method ?? "GET").toUpperCase() !== "POST" || !path.endsWith(PATH)) return null;
  const text = await bodyText(request, init);
  /** @type {any} */
  let body;
  try {
    body = JSON.parse(text ?? "");
  } catch {
    return null;
  }
  if (!isAuto(body?.model) && !routes.has(body?.model)) return null;
  const headers = new Headers(init?.headers ?? request?.headers);
  headers.delete("content-length");
  const credentials = request && { credentials: request.credentials };
  return { init: { ...credentials, ...init }, headers, body, signal: init?.signal ?? request?.signal, base: path.slice(0, -PATH.length), query };
}

/**
 * The text of a body of a kind that can be read without using it up.
 * @param {Request | null} request
 * @param {RequestInit | undefined} init
 */
async function bodyText(request, init) {
  const body = init?.body;
  if (typeof body === "string") return body;
  if (body instanceof Blob) return body.text();
  if (body instanceof ArrayBuffer || ArrayBuffer.isView(body)) return new TextDecoder().decode(body);
  return body === undefined && request ? request.clone().text() : null;
}

/** @param {unknown} model */
function isAuto(model) {
  return typeof model === "string" && /^auto(:|$)/.test(model);
}

/**
 * The fields of a body that routing reads. Images and other files are named, not carried along.
 * @param {Record<string, any>} body
 * @param {Map<string, unknown>} routes
 */
function requestOf({ model, messages, tools, functions, response_format, max_tokens, max_completion_tokens }, routes) {
  const plain = (/** @type {any} */ part) => (typeof part?.text === "string" ? { type: part.type, text: part.text } : { type: part?.type });
  return {
    model: routes.has(model) ? "auto" : model,
    messages: Array.isArray(messages)
      ? messages.map((message) => ({ ...message, content: Array.isArray(message?.content) ? message.content.map(plain) : message?.content }))
      : messages,
    ...defined({ tools: tools ?? functions, response_format, max_tokens, max_completion_tokens }),
  };
}

/** Fields without those that are absent or null. @param {Record<string, any>} fields */
function defined(fields) {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined && value !== null));
}

// ------------------------------------------------------------------------------------------------
// Where candidates are called

/**
 * All behind the client's own base URL, with the client's own headers.
 * @param {any} models
 * @param {typeof globalThis.fetch} next
 */
function atClient(models, next) {
  /** What a server offers, by its base URL and to whom: a key may see other models than the next. @type {Map<string, Promise<string[]>>} */
  const lists = new Map();
  return async (/** @type {CatalogModel[]} */ catalog, /** @type {Call} */ { init, headers, body, base, query }) => {
    const key = JSON.stringify([base, query, ...credentialsOf(headers)]);
    const list = () => {
      if (!lists.has(key)) {
        if (lists.size === LISTS_KEPT) lists.delete(lists.keys().next().value ?? "");
        const listing = listModels(next, { base, query, init, headers });
        lists.set(key, listing);
        // The next call may have more luck.
        listing.catch(() => lists.delete(key));
      }
      return /** @type {Promise<string[]>} */ (lists.get(key));
    };
    const offered = models === undefined ? await list() : models;
    const found = candidatesOf(catalog, nameIn(offered, "models", catalog), body.reasoning_effort, () => ({ provider: base, url: base + PATH + query, headers, init }));
    if (found.size === 0 && Array.isArray(offered)) {
      lists.delete(key);
      const some = offered.slice(0, 5).join(", ") + (offered.length > 5 ? ", …" : "");
      throw new PennyrouteError("models_unknown", `${base}: none of its models is in the catalog (${some || "it lists none"}); name them in \`models\``);
    }
    return found;
  };
}

/** @typedef {import("pennyroute").CatalogModel} CatalogModel */

/**
 * Each at its own provider, with that provider's own headers: the client's go to nobody.
 * @param {Record<string, import("./fetch.d.ts").Provider>} providers
 */
function atProviders(providers) {
  const known = new Map(Object.entries(providers).map(([provider, { baseURL, apiKey, headers: given, models }]) => {
    const place = `providers.${provider}`;
    if (typeof baseURL !== "string" || !URL.canParse(baseURL)) throw new PennyrouteError("bad_request", `${place}.baseURL: must be a URL`);
    const headers = new Headers({ "content-type": "application/json", ...given });
    if (apiKey !== undefined) headers.set("authorization", `Bearer ${apiKey}`);
    const url = baseURL.replace(/\/+$/, "") + PATH;
    return [provider, { place: { provider, url, headers, init: {} }, name: models === undefined ? (/** @type {CatalogModel} */ { base }) => base : nameIn(models, `${place}.models`) }];
  }));
  return (/** @type {CatalogModel[]} */ catalog, /** @type {Call} */ { body }) =>
    candidatesOf(catalog, (model) => known.get(model.provider)?.name(model), body.reasoning_effort, ({ provider }) => /** @type {any} */ (known.get(provider)).place);
}

/**
 * Those that somebody serves, at the effort that the body asks for, if it does.
 * @param {CatalogModel[]} catalog
 * @param {(model: CatalogModel) => string | null | undefined} nameOf
 * @param {string | undefined} effort
 * @param {(model: CatalogModel) => Omit<Place, "model" | "name">} placeOf
 * @returns {Map<string, Place>}
 */
function candidatesOf(catalog, nameOf, effort, placeOf) {
  const found = new Map();
  for (const model of catalog) {
    if (effort && model.effort && model.effort !== effort) continue;
    const name = nameOf(model);
    if (name) found.set(model.id, { ...placeOf(model), model, name });
  }
  return found;
}

/**
 * A server's name for a model.
 * @param {any} models list, map or function
 * @param {string} place
 * @param {CatalogModel[]} [catalog] where the server may be anyone's, all models that there are
 * @returns {(model: CatalogModel) => string | undefined}
 */
function nameIn(models, place, catalog) {
  if (typeof models === "function") return models;
  if (Array.isArray(models)) return offeredNames(models, catalog);
  if (models === null || typeof models !== "object") throw new PennyrouteError("bad_request", `${place}: must be a list, an object or a function`);
  const named = new Map(Object.entries(models));
  // One entry holds for a model at every effort, unless that has its own.
  return ({ id }) => named.get(id) ?? named.get(id.replace(/@[^@]*$/, ""));
}

/** @param {typeof globalThis.fetch} next @param {Pick<Call, "base" | "query" | "init" | "headers">} call */
async function listModels(next, { base, query, init, headers }) {
  const failed = (/** @type {string} */ what, /** @type {unknown} */ cause) =>
    new PennyrouteError("models_unknown", `GET ${base}/models: ${what}; name the server's models in \`models\``, { cause });
  let response;
  try {
    const signal = AbortSignal.timeout(LIST_MS);
    response = await next(`${base}/models${query}`, { ...init, method: "GET", body: undefined, headers: withoutBody(headers), signal, redirect: "manual" });
  } catch (error) {
    throw failed("the connection failed", error);
  }
  // Followed, it would carry the client's key along.
  if (isRedirect(response)) throw failed("the server redirects, which is not followed");
  if (!response.ok) throw failed(`HTTP ${response.status}`);
  return modelNames(await response.json().catch(() => null));
}

/** @param {Headers} headers */
function withoutBody(headers) {
  const kept = new Headers(headers);
  kept.delete("content-type");
  return kept;
}

// ------------------------------------------------------------------------------------------------
// One call

/**
 * Calls one candidate, and resolves when it is known to answer: for a stream at its first token, else when the whole
 * reply is there. Throws `Failure` where another model may do better.
 * @param {Place} place
 * @param {Record<string, any>} body
 * @param {{ next: typeof globalThis.fetch, signal: AbortSignal, alone: boolean }} options `alone`: there is no other provider
 */
async function callPlace({ model, name, url, headers, init }, body, { next, signal, alone }) {
  const { pennyroute: _ours, ...sent } = body;
  // A model at one effort was chosen for its price at that effort.
  const effort = model.effort && !sent.reasoning_effort ? { reasoning_effort: model.effort } : {};
  const hide = redactor(headers);
  let response;
  try {
    const text = JSON.stringify({ ...sent, model: name, ...effort });
    response = await next(url, { ...init, method: "POST", headers, body: text, signal, redirect: "manual" });
  } catch (error) {
    throw networkFailure(error);
  }
  const { status } = response;
  // Followed, it would carry the prompt, and perhaps the key, where nobody meant them to go.
  if (isRedirect(response)) throw new Failure("redirect", "the server redirects, which is not followed");
  if (response.ok && sent.stream) return { response, ...(await firstToken(response, hide)) };
  const bytes = await response.arrayBuffer().catch((error) => { throw networkFailure(error); });
  const json = parsed(bytes);
  const { message, code } = json?.error ?? {};
  const said = hide(typeof message === "string" ? message.slice(0, 1000) : `the provider answered ${status}`);
  if (!response.ok) {
    const failure = alone && (status === 401 || status === 402) ? null : refusal(status, code, said, response.headers.get("retry-after"));
    if (failure) throw failure;
    return { response, bytes, refused: true };
  }
  if (json?.error) throw new Failure("bad_reply", said);
  if (!Array.isArray(json?.choices) || json.choices.length === 0) throw new Failure("bad_reply", "the reply holds no choice");
  return { response, bytes, counts: countsOf(json.usage) };
}

/** @param {Response} response */
function isRedirect({ type, status }) {
  return type === "opaqueredirect" || (status >= 300 && status < 400);
}

/** @param {any} error */
function networkFailure(error) {
  const code = error?.cause?.code ?? error?.code;
  return new Failure("network", `the connection failed${typeof code === "string" ? `: ${code}` : ""}`, { cause: error });
}

/** @param {ArrayBuffer} bytes */
function parsed(bytes) {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return null;
  }
}

/**
 * Reads a stream up to its first token. Until then nothing was handed on, so that an error event, a cut, a stall or
 * an empty stream can still fall back.
 * @param {Response} response
 * @param {(text: string) => string} hide
 */
async function firstToken(response, hide) {
  const reader = response.body?.getReader();
  if (!reader) throw new Failure("bad_reply", "the reply is empty");
  /** @type {Uint8Array[]} */
  const held = [];
  const watch = new Watch();
  for (;;) {
    const { value, done } = await reader.read().catch((error) => { throw networkFailure(error); });
    if (value) held.push(value);
    watch.read(value);
    if (watch.begun) return { reader, held, watch };
    if (watch.error) throw new Failure("error_event", hide(watch.error));
    if (watch.garbled) throw new Failure("bad_reply", "an event of the stream is not JSON");
    if (done || watch.done) throw new Failure("bad_reply", "the stream ended before its first token");
  }
}

/**
 * The response that the client gets: the provider's, with the receipt in its headers.
 * @param {Awaited<ReturnType<typeof callPlace>>} answer
 * @param {any} answered
 * @param {((receipt: any) => void) | undefined} onReceipt
 */
function handOn({ response, bytes, counts, refused, reader, held, watch }, answered, onReceipt) {
  const headers = new Headers(response.headers);
  // The bytes are decoded already.
  for (const name of ["content-encoding", "content-length"]) headers.delete(name);
  const { decision, model, failed } = answered;
  addReceipt(headers, decision, { model, failed, attempts: failed.length + 1 });
  const { status, statusText } = response;
  const end = async (/** @type {object} */ how) => {
    const receipt = await answered.end(how);
    if (receipt) notify(onReceipt, receipt);
  };
  if (!reader) {
    // A refusal is about the request or the key; it says nothing of the model.
    if (refused) answered.left();
    else end({ counts });
    return new Response(bytes, { status, statusText, headers });
  }
  const finish = () => end({ counts: watch.counts, error: watch.error ? "error_event" : undefined });
  const stream = new ReadableStream({
    async pull(controller) {
      const before = held.shift();
      if (before) {
        controller.enqueue(before);
        if ((watch.done || watch.error) && held.length === 0) finish();
        return;
      }
      let next;
      try {
        next = await reader.read();
      } catch (error) {
        controller.error(error);
        if (answered.signal.aborted) answered.left();
        else end({ error: "network" });
        return;
      }
      watch.read(next.value);
      if (next.done) controller.close();
      else controller.enqueue(next.value);
      // At either many clients read no further.
      if (next.done || watch.done || watch.error) finish();
    },
    cancel(reason) {
      answered.left();
      return reader.cancel(reason);
    },
  }, { highWaterMark: 0 });
  return new Response(stream, { status, statusText, headers });
}

/** @param {Headers} headers @param {import("pennyroute").Decision} decision @param {{ model: string | null, failed: any[], attempts: number }} served */
function addReceipt(headers, decision, { model, failed, attempts }) {
  for (const [name, value] of Object.entries(receiptHeaders(decision, { model, failed }))) headers.set(name, value);
  headers.set("x-pennyroute-attempts", String(attempts));
}

/** Takes the keys that were sent out of a provider's words; some quote them. @param {Headers} headers */
function redactor(headers) {
  const secrets = credentialsOf(headers).map(([, value]) => value.replace(/^\w+ /, "")).filter((value) => value.length > 3);
  return (/** @type {string} */ text) => secrets.reduce((said, secret) => said.replaceAll(secret, "[key]"), text);
}

/** The headers that say who calls. @param {Headers} headers */
function credentialsOf(headers) {
  // An idempotency key is another one for each call.
  return [...headers].filter(([name]) => /auth|key|token|cookie/.test(name) && name !== "idempotency-key");
}

/** An error in OpenAI's words, so that its clients raise their usual exceptions. @param {any} error */
function errorResponse(error) {
  const { code, message, decision, failed = [], retryAfter } = error;
  const status = error.status ?? (CALLERS.has(code) ? 400 : code === "models_unknown" ? 502 : 500);
  const headers = new Headers({ "content-type": "application/json" });
  if (decision) addReceipt(headers, decision, { model: null, failed, attempts: failed.length });
  if (retryAfter) headers.set("retry-after", retryAfter);
  // What would end the same way is not worth the client's own retries.
  else if (code !== "all_attempts_failed" && code !== "models_unknown") headers.set("x-should-retry", "false");
  const [, field, place] = /^(?:request field `([^`]+)`|([\w.[\]]+)): /.exec(message) ?? [];
  const param = code === "bad_request" ? (field ?? place ?? null) : null;
  return new Response(JSON.stringify({ error: { message, type: typeOf(status), param, code } }), { status, headers });
}

/** OpenAI's error type for a status. @param {number} status */
function typeOf(status) {
  const types = { 401: "authentication_error", 403: "permission_error", 429: "rate_limit_error" };
  return types[/** @type {keyof typeof types} */ (status)] ?? (status < 500 ? "invalid_request_error" : "server_error");
}
