/**
 * What the page's requests have in common, whether by `fetch` or XMLHttpRequest: which of them ask
 * for an answer, which models were listed, and the extension's answer to a question.
 */
import { ADAPTERS } from "./adapters/index.js";
import { receive, send } from "./channel.js";
import { withMember } from "./json.js";

/** A service worker that has to start and load the router first still answers within this. Tests, on busy machines, build in a longer one. */
const PATIENCE_MS = typeof PENNYROUTE_PATIENCE_MS === "undefined" ? 4000 : PENNYROUTE_PATIENCE_MS;

/**
 * The models on offer.
 * @type {{ origin: string, adapter: string, pool: string, names: string[] }[]}
 */
let lists = [];
/** @type {Map<string, (answer: any) => void>} */
const waiting = new Map();

receive("answer", ({ id, answer }) => waiting.get(id)?.(answer));

/**
 * The adapter of a request that may ask for an answer.
 * @param {string} method
 * @param {URL} url
 */
export function chatAdapter(method, url) {
  return method.toUpperCase() === "POST" ? ADAPTERS.find((adapter) => adapter.isChat(url)) : undefined;
}

/**
 * Whether a request may list models.
 * @param {string} method
 * @param {URL} url
 */
export function isList(method, url) {
  return method.toUpperCase() === "GET" && ADAPTERS.some((adapter) => adapter.isList(url));
}

/**
 * Remembers which models a server offers.
 * @param {URL} url
 * @param {any} answer the parsed list
 */
export function learn(url, answer) {
  for (const adapter of ADAPTERS.filter((one) => one.isList(url))) {
    for (const [pool, all] of Object.entries(attempt(() => adapter.models(answer, url)) ?? {})) {
      const names = all.filter((name) => !/^auto(:|$)/.test(name));
      if (names.length === 0) continue;
      const same = (list) => list.origin === url.origin && list.adapter === adapter.name && list.pool === pool;
      lists = [...lists.filter((list) => !same(list)), { origin: url.origin, adapter: adapter.name, pool, names }];
    }
  }
  const names = [...new Set(lists.flatMap((list) => list.names))];
  if (names.length > 0) send("offers", { names });
}

/**
 * The body of a routed request; null to leave it alone.
 * @param {import("./adapters/index.js").Adapter} adapter
 * @param {URL} url
 * @param {string} text
 * @param {AbortSignal | null} [signal]
 * @returns {Promise<string | null>}
 */
export async function routedText(adapter, url, text, signal) {
  const chat = adapter.read(JSON.parse(text), url);
  if (!chat) return null;
  const { model, effort, effortField, request, also } = chat;
  const until = performance.now() + PATIENCE_MS;
  const id = String(Math.random());
  // The prompt leaves the page's world only where the model is one to be routed.
  if (!(await answered("ask", { id, model }, until, signal))) return null;
  const question = { id, model, effort, takesEffort: effortField !== null, request, offered: offered(adapter, url, chat.pool) };
  const decision = await answered("decide", question, until, signal);
  if (!decision) return null;
  send("used", { id });
  const members = { model: decision.name, ...also?.(decision.name) };
  // A model at one effort was chosen for its price at that effort.
  if (decision.effort && effort === undefined && effortField) members[effortField] = decision.effort;
  return Object.entries(members).reduce((changed, [key, value]) => withMember(changed, key, value), text);
}

/**
 * The names that may be asked for; null if none was listed, and what the page has listed before may do.
 * @param {import("./adapters/index.js").Adapter} adapter
 * @param {URL} url
 * @param {string} pool
 */
function offered(adapter, { origin }, pool) {
  const here = lists.filter((list) => list.origin === origin && list.adapter === adapter.name);
  const exact = here.filter((list) => list.pool === pool);
  if (!adapter.anyPool) return exact.flatMap(({ names }) => names);
  // A server may list its models under another path than it answers at.
  const fitting = exact.length > 0 ? exact : here;
  return fitting.length > 0 ? fitting.flatMap(({ names }) => names) : null;
}

/**
 * What the extension answers; null if it has no answer in time, nobody listens, or the page has given up waiting.
 * @param {"ask" | "decide"} name
 * @param {{ id: string }} question
 * @param {number} until by `performance.now()`
 * @param {AbortSignal | null} [signal]
 */
function answered(name, question, until, signal) {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve(null);
    const settle = (answer) => {
      waiting.delete(question.id);
      clearTimeout(timer);
      signal?.removeEventListener("abort", giveUp);
      resolve(answer);
    };
    const giveUp = () => settle(null);
    const timer = setTimeout(giveUp, until - performance.now());
    // The call itself, with the aborted signal, then rejects as the page expects.
    signal?.addEventListener("abort", giveUp);
    waiting.set(question.id, settle);
    // After `document.open()`, or once the extension was updated, there is nobody to wait for.
    if (!send(name, question)) giveUp();
  });
}

/**
 * The text of a request's body, where it is of a kind that can be read without using it up.
 * @param {any} body
 * @returns {string | Promise<string> | null}
 */
export function bodyText(body) {
  if (typeof body === "string") return body;
  if (body instanceof Blob) return body.text();
  // Bytes that are no text are left as they are.
  if (body instanceof ArrayBuffer || ArrayBuffer.isView(body)) return attempt(() => new TextDecoder("utf-8", { fatal: true }).decode(body));
  return null;
}

/**
 * A text as a body of the same kind as another, which decides about the request's content type.
 * @param {string} text
 * @param {any} body
 */
export function likeBody(text, body) {
  if (typeof body === "string") return text;
  return body instanceof Blob ? new Blob([text], { type: body.type }) : new TextEncoder().encode(text);
}

/** @template T @param {() => T} read */
function attempt(read) {
  try {
    return read();
  } catch {
    return null;
  }
}
