/**
 * In the page's own world: `fetch`, so that chat completions for the model "auto" are routed first.
 *
 * Every other call goes straight through, with its arguments untouched. So does a routed one if
 * anything of ours fails or takes too long: a page is never worse off than without the extension.
 */
import { receive, send } from "./channel.js";
import { autoBody, isCompletion, isModelList, modelNames, routedBody, routeRequest } from "./chat.js";

/** A service worker that has to start and load the router first still answers within this. */
const PATIENCE_MS = 4000;

/** @type {Map<string, string[]>} names of models by the origin that offers them */
const offered = new Map();
/** @type {Map<string, (decision: any) => void>} */
const waiting = new Map();

receive("answer", ({ id, decision }) => waiting.get(id)?.(decision));

// A proxy keeps the function's name, length, properties and its look as native code.
window.fetch = new Proxy(window.fetch, {
  apply(fetch, self, args) {
    const call = describe(args);
    if (call && isCompletion(call.method, call.url)) return complete(fetch, self, args, call);
    const response = Reflect.apply(fetch, self, args);
    if (call && isModelList(call.method, call.url)) response.then((answer) => observe(call.url, answer), () => {});
    return response;
  },
});

/**
 * Method and address of a call; null for what `fetch` itself will refuse.
 * @param {any[]} args
 */
function describe([input, init]) {
  try {
    const request = input instanceof Request ? input : null;
    return {
      input,
      request,
      init,
      method: String(init?.method ?? request?.method ?? "GET"),
      url: new URL(request?.url ?? String(input), document.baseURI),
      signal: init?.signal ?? request?.signal,
    };
  } catch {
    return null;
  }
}

/**
 * A chat completion, routed if it asks for that.
 * @param {typeof window.fetch} fetch
 * @param {unknown} self
 * @param {any[]} args
 * @param {NonNullable<ReturnType<typeof describe>>} call
 */
async function complete(fetch, self, args, call) {
  const routed = await route(call).catch(() => null);
  return Reflect.apply(fetch, self, routed ?? args);
}

/**
 * The arguments of the routed call; null to leave the call alone.
 * @param {NonNullable<ReturnType<typeof describe>>} call
 */
async function route({ input, request, init, url, signal }) {
  const text = await bodyText(request, init);
  const body = text === null ? null : autoBody(text);
  if (!body) return null;
  const id = String(Math.random());
  const decision = await decide(id, { request: routeRequest(body), offered: offered.get(url.origin) ?? null }, signal);
  if (!decision) return null;
  const changed = routedBody(body, decision);
  send("used", { id });
  return request && init?.body === undefined ? [new Request(request, { body: changed }), init] : [input, { ...init, body: changed }];
}

/**
 * The text of a request's body, where it is of a kind that can be read without using it up.
 * @param {Request | null} request
 * @param {RequestInit | undefined} init
 * @returns {Promise<string | null>}
 */
async function bodyText(request, init) {
  const body = init?.body;
  if (typeof body === "string") return body;
  if (body instanceof Blob) return body.text();
  if (body instanceof ArrayBuffer || ArrayBuffer.isView(body)) return new TextDecoder().decode(body);
  return body === undefined && request ? request.clone().text() : null;
}

/**
 * Asks the extension; null if it has no answer in time, or the page has given up waiting.
 * @param {string} id
 * @param {object} question
 * @param {AbortSignal | undefined} signal
 */
function decide(id, question, signal) {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve(null);
    const settle = (decision) => {
      waiting.delete(id);
      clearTimeout(timer);
      signal?.removeEventListener("abort", giveUp);
      resolve(decision);
    };
    const giveUp = () => settle(null);
    const timer = setTimeout(giveUp, PATIENCE_MS);
    // The call itself, with the aborted signal, then rejects as the page expects.
    signal?.addEventListener("abort", giveUp);
    waiting.set(id, settle);
    send("ask", { id, ...question });
  });
}

/**
 * Remembers which models a server offers.
 * @param {URL} url
 * @param {Response} response
 */
async function observe({ origin }, response) {
  if (!response.ok || !response.headers.get("content-type")?.includes("json")) return;
  const names = await response.clone().json().then(modelNames, () => []);
  if (names.length > 0) offered.set(origin, names);
}
