/**
 * The page's XMLHttpRequest, as axios and sse.js use it. A request that may ask for an answer is sent
 * once it is decided; until then it is, to the page, a request that was sent and has not got anywhere.
 */
import { bodyText, chatAdapter, isList, learn, routedText } from "./calls.js";

/**
 * @typedef {{ method: string, url: URL, async: boolean, pending: AbortController | null }} Call
 * @type {WeakMap<XMLHttpRequest, Call>}
 */
const calls = new WeakMap();

export function wrapXhr() {
  const proto = XMLHttpRequest.prototype;
  // Proxies keep the functions' names, lengths and their look as native code.
  const wrap = (name, apply) => (proto[name] = new Proxy(proto[name], { apply }));

  wrap("open", (open, xhr, args) => {
    // Opening anew gives up what was under way.
    calls.get(xhr)?.pending?.abort();
    Reflect.apply(open, xhr, args);
    const [method, url, async = true] = args;
    calls.set(xhr, { method: String(method), url: new URL(String(url), document.baseURI), async: Boolean(async), pending: null });
  });

  wrap("send", (send, xhr, args) => {
    const call = calls.get(xhr);
    if (call?.pending) throw new DOMException("The object's state must be OPENED.", "InvalidStateError");
    const adapter = call?.async ? chatAdapter(call.method, call.url) : undefined;
    const text = adapter ? bodyText(args[0]) : null;
    if (call && adapter && text !== null) return void hold(call, adapter, text, (body) => Reflect.apply(send, xhr, body === null ? args : [body]));
    if (call && isList(call.method, call.url)) xhr.addEventListener("load", () => observe(call.url, xhr));
    Reflect.apply(send, xhr, args);
  });

  wrap("abort", (abort, xhr, args) => {
    const call = calls.get(xhr);
    if (!call?.pending) return Reflect.apply(abort, xhr, args);
    call.pending.abort();
    call.pending = null;
    // It was never sent, so the browser has nothing to say of it; the page waits for its events.
    for (const type of ["abort", "loadend"]) xhr.dispatchEvent(new ProgressEvent(type));
  });
}

/**
 * Decides, then sends, unless the page has given up meanwhile.
 * @param {Call} call
 * @param {import("./adapters/index.js").Adapter} adapter
 * @param {string | Promise<string>} text
 * @param {(body: string | null) => void} send
 */
async function hold(call, adapter, text, send) {
  const { signal } = (call.pending = new AbortController());
  const body = await Promise.resolve(text).then((read) => routedText(adapter, call.url, read, signal)).catch(() => null);
  if (signal.aborted) return;
  call.pending = null;
  send(body);
}

/**
 * @param {URL} url
 * @param {XMLHttpRequest} xhr
 */
function observe(url, xhr) {
  if (xhr.status < 200 || xhr.status > 299) return;
  try {
    if (xhr.responseType === "json") learn(url, xhr.response);
    else if (xhr.responseType === "" || xhr.responseType === "text") learn(url, JSON.parse(xhr.responseText));
  } catch {
    // Not a list after all.
  }
}
