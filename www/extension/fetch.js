/** The page's `fetch`. */
import { bodyText, chatAdapter, isList, learn, likeBody, routedText } from "./calls.js";

export function wrapFetch() {
  // A proxy keeps the function's name, length, properties and its look as native code.
  window.fetch = new Proxy(window.fetch, {
    apply(fetch, self, args) {
      const call = describe(args);
      const adapter = call && chatAdapter(call.method, call.url);
      if (call && adapter) return complete(fetch, self, args, adapter, call);
      const response = Reflect.apply(fetch, self, args);
      if (call && isList(call.method, call.url)) response.then((answer) => observe(call.url, answer), () => {});
      return response;
    },
  });
}

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
 * A call that may ask for an answer, routed if it asks for that.
 * @param {typeof window.fetch} fetch
 * @param {unknown} self
 * @param {any[]} args
 * @param {import("./adapters/index.js").Adapter} adapter
 * @param {NonNullable<ReturnType<typeof describe>>} call
 */
async function complete(fetch, self, args, adapter, call) {
  const routed = await route(adapter, call).catch(() => null);
  return Reflect.apply(fetch, self, routed ?? args);
}

/**
 * The arguments of the routed call; null to leave the call alone.
 * @param {import("./adapters/index.js").Adapter} adapter
 * @param {NonNullable<ReturnType<typeof describe>>} call
 */
async function route(adapter, { input, request, init, url, signal }) {
  const inRequest = request !== null && init?.body === undefined;
  const text = inRequest ? await request.clone().text() : await bodyText(init?.body);
  const routed = text === null ? null : await routedText(adapter, url, text, signal);
  if (routed === null) return null;
  if (!inRequest) return [input, { ...init, body: likeBody(routed, init.body) }];
  // Bytes, which bring no content type of their own; and a request made of another loses its referrer.
  const { referrer, referrerPolicy } = request;
  return [new Request(request, { body: new TextEncoder().encode(routed), referrer, referrerPolicy }), init];
}

/**
 * @param {URL} url
 * @param {Response} response
 */
async function observe(url, response) {
  if (!response.ok || !response.headers.get("content-type")?.includes("json")) return;
  await response.clone().json().then((list) => learn(url, list), () => {});
}
