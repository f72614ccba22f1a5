/**
 * What the page's requests have in common, whether by `fetch` or XMLHttpRequest: which of them ask
 * for an answer, which models were listed, and the extension's answer to a question.
 */
import { ADAPTERS } from "./adapters/index.js";
import { receive, send } from "./channel.js";
import { withMember } from "./json.js";

/** A service worker that has to start and load the router first still answers within this. */
const PATIENCE_MS = 4000;

/**
 * The models on offer.
 * @type {{ origin: string, adapter: string, pool: string, names: string[] }[]}
 */
let lists = [];
/** @type {Map<string, (decision: any) => void>} */
const waiting = new Map();

receive("answer", ({ id, decision }) => waiting.get(id)?.(decision));

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
  const id = String(Math.random());
  const decision = await decide(id, { model, effort, takesEffort: effortField !== null, request, offered: offered(adapter, url, chat.pool) }, signal);
  if (!decision) return null;
  send("used", { id });
  const members = { model: decision.name, ...also?.(decision.name) };
  // A model at one effort was chosen for its price at that effort.
  if (decision.effort && effort === undefined && effortField) members[effortField] = decision.effort;
  return Object.entries(members).reduce((changed, [key, value]) => withMember(changed, key, value), text);
}

/**
 * The names that may be asked for; null if any may be.
 * @param {import("./adapters/index.js").Adapter} adapter
 * @param {URL} url
 * @param {string} pool
 */
function offered(adapter, { origin }, pool) {
  const here = lists.filter((list) => list.origin === origin && list.adapter === adapter.name);
  const exact = here.filter((list) => list.pool === pool);
  if (!adapter.anyModel) return exact.flatMap(({ names }) => names);
  // A server may list its models under another path than it answers at.
  const fitting = exact.length > 0 ? exact : here;
  return fitting.length > 0 ? fitting.flatMap(({ names }) => names) : null;
}

/**
 * Asks the extension; null if it has no answer in time, or the page has given up waiting.
 * @param {string} id
 * @param {object} question
 * @param {AbortSignal | null} [signal]
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
 * The text of a request's body, where it is of a kind that can be read without using it up.
 * @param {any} body
 * @returns {string | Promise<string> | null}
 */
export function bodyText(body) {
  if (typeof body === "string") return body;
  if (body instanceof Blob) return body.text();
  if (body instanceof ArrayBuffer || ArrayBuffer.isView(body)) return new TextDecoder().decode(body);
  return null;
}

/** @template T @param {() => T} read */
function attempt(read) {
  try {
    return read();
  } catch {
    return null;
  }
}
