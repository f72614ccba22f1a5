// How the module and the artifacts arrive: when they are first asked for, once for all who ask at the same
// time, with progress, and with errors that say what to do.
//
// Neither is put into a Cache Storage. Both are fetched from beside the package's own code, so the HTTP cache
// keeps them under names and for times like that code's, and browsers keep compiled modules for
// responses in it alone. A cache of our own would have to guess when a name that no bundler has hashed means
// another file, and until it guesses right would serve old artifacts to a new module. A page that is to work
// offline lists both files in its service worker.

import init, { initSync } from "./pennyroute.js";
import { PennyrouteError } from "./error.js";
import { asBytes, asPennyrouteError, guard } from "./values.js";

/** The smallest module, and one with a function of SIMD, which of all that ours needs came last to browsers. */
const EMPTY = Uint8Array.of(0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0);
const SIMD = Uint8Array.of(...EMPTY,
  1, 5, 1, 0x60, 0, 1, 0x7b, // type: () -> v128
  3, 2, 1, 0, // one function of it
  10, 8, 1, 6, 0, 0x41, 0, 0xfd, 0x0f, 0x0b); // i32.const 0, i8x16.splat, end

let ready;
/** The instance whose constructors have run. */
let constructed;

/**
 * Loads what `options` ask for.
 * @param {new (artifacts: Uint8Array, options: object) => any} Router
 * @param {import("./index.js").LoadOptions} options
 * @param {{ packed?: URL | BufferSource, module: unknown, read?: typeof download }} host the artifacts by default; the
 *   compiled module, or what it is compiled from, or a function that brings that; how bytes of a URL are read
 */
export async function load(Router, options, { packed, module, read = download }) {
  const { artifacts = packed, signal, onProgress } = options ?? {};
  signal?.throwIfAborted();
  checkHost(module);
  const [{ bytes, from }] = await together((stop) => [artifactsFrom(artifacts, onProgress, stop, read), instantiate(module)], signal);
  try {
    return new Router(bytes, options);
  } catch (error) {
    if (from === undefined || error.code !== "bad_artifact") throw error;
    throw new PennyrouteError("bad_artifact", `${from}: ${error.message}`, { cause: error });
  }
}

/** Instantiates the module, once. */
export function instantiate(source) {
  ready ??= bring(source).then(construct).catch((error) => {
    // The next load may have more luck with its network.
    ready = undefined;
    throw asPennyrouteError(error, "bad_artifact");
  });
  return ready;
}

/** The same without waiting, for a host that has the module at hand. */
export function instantiateSync(module) {
  if (constructed) return;
  // Instantiated now, it would be replaced by the other instance under the routers that it has by then.
  if (ready) throw new PennyrouteError("bad_request", "loadSync: Router.load() is under way; wait for that one first");
  checkHost(module);
  guard(() => construct(initSync({ module })), "bad_artifact");
  ready = Promise.resolve();
}

async function bring(source) {
  checkHost(source);
  const given = typeof source === "function" ? await source() : source;
  const module_or_path = typeof given === "string" || given instanceof URL ? await fetchFile(given) : given;
  try {
    return await init({ module_or_path });
  } catch (error) {
    if (!module_or_path?.url) throw error;
    throw new PennyrouteError("bad_artifact", `${module_or_path.url}: ${error.message}`, { cause: error });
  }
}

// tract registers its kernels in constructors. The linker would have every export run them all at every
// call, ten times the cost of a decision, unless their caller is exported too: then it is up to us.
function construct(exports) {
  if (constructed !== exports) exports.__wasm_call_ctors();
  constructed = exports;
}

/** Refuses a host that cannot run the module, or may not compile it, before anything is fetched. */
function checkHost(source) {
  if (typeof WebAssembly === "undefined") {
    throw new PennyrouteError("unsupported_host", "this host has no WebAssembly (browsers in a lockdown mode have none)");
  }
  // By tag, because a module may come from another realm.
  if (Object.prototype.toString.call(source) === "[object WebAssembly.Module]") return;
  try {
    new WebAssembly.Module(EMPTY);
  } catch (cause) {
    const how = "a page allows it in its Content-Security-Policy, by script-src 'wasm-unsafe-eval'; at the edge, import the module compiled";
    throw new PennyrouteError("wasm_blocked", `this host refuses to compile WebAssembly: ${how} (${cause.message})`, { cause });
  }
  if (!WebAssembly.validate(SIMD)) {
    throw new PennyrouteError("unsupported_host", "this host's WebAssembly has no SIMD: Chromium 91, Firefox 89, Safari 16.4 and Node 16.4 have it");
  }
}

async function artifactsFrom(artifacts, onProgress, signal, read) {
  const bytes = asBytes(artifacts);
  if (bytes) return { bytes };
  if (typeof artifacts !== "string" && !(artifacts instanceof URL)) {
    throw new PennyrouteError("bad_artifact", "`artifacts` must be bytes or a URL");
  }
  return read(artifacts, onProgress, signal);
}

/** Fetches a file, or throws with its URL and status. */
export async function fetchFile(url, options) {
  const response = await fetch(url, options).catch((cause) => {
    // Node says in the cause of the cause what it was.
    throw new PennyrouteError("bad_artifact", `${url}: ${cause.cause?.message ?? cause.message}`, { cause });
  });
  if (!response.ok) throw new PennyrouteError("bad_artifact", `${url}: HTTP ${response.status}`);
  return response;
}

/** Downloads that are under way, by URL. */
const downloads = new Map();

/**
 * Downloads a file, or joins a download of it that is under way. It goes on until the last of those who wait
 * for it no longer does.
 * @returns {Promise<{ bytes: Uint8Array, from: string }>} the bytes, and in words what they came from
 */
export function download(url, onProgress, signal) {
  const key = String(url);
  const it = downloads.get(key) ?? begin(key);
  return new Promise((resolve, reject) => {
    const leave = (settle, value) => {
      signal?.removeEventListener("abort", aborted);
      it.listeners.delete(tell);
      if (it.listeners.size === 0) it.stop();
      settle(value);
    };
    const aborted = () => leave(reject, signal.reason);
    const tell = (loaded, total) => {
      try {
        onProgress?.(loaded, total);
      } catch (error) {
        leave(reject, error);
      }
    };
    it.listeners.add(tell);
    signal?.addEventListener("abort", aborted);
    it.arrived.then((value) => leave(resolve, value), (error) => leave(reject, error));
  });
}

function begin(url) {
  const [listeners, controller] = [new Set(), new AbortController()];
  const tell = (loaded, total) => [...listeners].forEach((listener) => listener(loaded, total));
  const stop = () => {
    controller.abort();
    if (downloads.get(url) === it) downloads.delete(url);
  };
  const it = { listeners, stop, arrived: read(url, controller.signal, tell) };
  downloads.set(url, it);
  return it;
}

async function read(url, signal, tell) {
  const response = await fetchFile(url, { signal });
  const { status, headers, body } = response;
  // The length on the wire says nothing of the length of compressed content.
  const total = headers.get("content-encoding") ? undefined : Number(headers.get("content-length")) || undefined;
  const chunks = [];
  let loaded = 0;
  try {
    for (const reader = body.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) break;
      chunks.push(value);
      loaded += value.length;
      tell(loaded, total);
    }
  } catch (cause) {
    const of = total === undefined ? "" : ` of ${total}`;
    throw new PennyrouteError("bad_artifact", `${url}: HTTP ${status}, ended after ${loaded}${of} bytes: ${cause.message}`, { cause });
  }
  const bytes = new Uint8Array(await new Blob(chunks).arrayBuffer());
  return { bytes, from: `${url}: HTTP ${status}, ${headers.get("content-type") ?? "no content type"}, ${loaded} bytes` };
}

/**
 * What several promises bring when all are there, or the signal's reason where that is aborted before. Where one
 * fails, the others are told to stop.
 */
export function together(begin, signal) {
  return new Promise((resolve, reject) => {
    const stop = new AbortController();
    const aborted = () => failed(signal.reason);
    const settle = () => signal?.removeEventListener("abort", aborted);
    const failed = (error) => {
      settle();
      reject(error);
      stop.abort(error);
    };
    signal?.addEventListener("abort", aborted);
    Promise.all(begin(stop.signal)).then((all) => {
      settle();
      resolve(all);
    }, failed);
  });
}
