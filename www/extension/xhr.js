/**
 * The page's XMLHttpRequest, as axios and sse.js use it. A request that may ask for an answer is sent
 * once it is decided; until then it is, to the page, a request that was sent and has not got anywhere.
 */
import { bodyText, chatAdapter, isList, learn, likeBody, routedText } from "./calls.js";

/**
 * `held`: sent by the page, not yet by us. `given up`: aborted while it was held; to the page it is unsent.
 * @typedef {{ method: string, url: URL, async: boolean, state: "opened" | "held" | "sent" | "given up", held: AbortController }} Call
 * @type {WeakMap<XMLHttpRequest, Call>}
 */
const calls = new WeakMap();

export function wrapXhr() {
  const proto = XMLHttpRequest.prototype;
  // Proxies keep the functions' names, lengths and their look as native code.
  const wrap = (name, apply) => (proto[name] = new Proxy(proto[name], { apply }));

  wrap("open", (open, xhr, args) => {
    Reflect.apply(open, xhr, args);
    const before = calls.get(xhr);
    const [method, url] = args;
    // A third argument counts as one even if it is undefined, and is then false.
    const async = args.length < 3 || Boolean(args[2]);
    calls.set(xhr, { method: String(method), url: new URL(String(url), document.baseURI), async, state: "opened", held: new AbortController() });
    // Opening anew gives up what was under way.
    before?.held.abort();
    if (before?.state === "given up") {
      delete xhr.readyState;
      xhr.dispatchEvent(new Event("readystatechange"));
    }
  });

  wrap("setRequestHeader", (set, xhr, args) => {
    refuseUnlessOpened(xhr);
    Reflect.apply(set, xhr, args);
  });

  wrap("send", (send, xhr, args) => {
    refuseUnlessOpened(xhr);
    const call = calls.get(xhr);
    if (call?.state !== "opened") return Reflect.apply(send, xhr, args);
    const adapter = call.async ? chatAdapter(call.method, call.url) : undefined;
    const text = adapter ? bodyText(args[0]) : null;
    if (adapter && text !== null) {
      hold(call, adapter, text, (routed) => Reflect.apply(send, xhr, routed === null ? args : [likeBody(routed, args[0])]));
      return;
    }
    call.state = "sent";
    // The object may be used again, for something else.
    if (isList(call.method, call.url)) xhr.addEventListener("load", () => calls.get(xhr) === call && observe(call.url, xhr), { once: true });
    Reflect.apply(send, xhr, args);
  });

  wrap("abort", (abort, xhr, args) => {
    const call = calls.get(xhr);
    if (call?.state !== "held") return Reflect.apply(abort, xhr, args);
    call.held.abort();
    call.state = "given up";
    // It was never sent, so the browser has nothing to say of it; the page waits for its events, and may open it anew in one.
    const show = (value) => Object.defineProperty(xhr, "readyState", { value, configurable: true });
    show(XMLHttpRequest.DONE);
    for (const event of [new Event("readystatechange"), new ProgressEvent("abort"), new ProgressEvent("loadend")]) {
      if (calls.get(xhr) === call) xhr.dispatchEvent(event);
    }
    if (calls.get(xhr) === call) show(XMLHttpRequest.UNSENT);
  });
}

/** What the browser itself would refuse, had it got the request. @param {XMLHttpRequest} xhr */
function refuseUnlessOpened(xhr) {
  if (["held", "given up"].includes(calls.get(xhr)?.state ?? "")) throw new DOMException("The object's state must be OPENED.", "InvalidStateError");
}

/**
 * Decides, then sends, unless the page has given up meanwhile.
 * @param {Call} call
 * @param {import("./adapters/index.js").Adapter} adapter
 * @param {string | Promise<string>} text
 * @param {(routed: string | null) => void} send
 */
async function hold(call, adapter, text, send) {
  call.state = "held";
  const { signal } = call.held;
  const routed = await Promise.resolve(text).then((read) => routedText(adapter, call.url, read, signal)).catch(() => null);
  if (signal.aborted) return;
  call.state = "sent";
  send(routed);
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
