/**
 * The router's thread: loads it and answers the page.
 *
 * In: `{ id, method, argument }`, and `{ id, cancel: true }` for a call that is no longer wanted. Out:
 * `{ id, result }` or `{ id, error: { code, message } }`, `{ id, progress }` before, and
 * `{ loading: { loaded, total } }` while the artifacts arrive.
 *
 * A call that takes long gives way to others between its parts, where it also sees that it is cancelled.
 */
import { Router } from "pennyroute";
import { readBackup } from "./page/backup.js";
import { apply, catalogMethods } from "./page/catalog-methods.js";
import { planMethods } from "./page/plan-methods.js";

/** @typedef {{ router: Router, signal: AbortSignal, progress: (progress: unknown) => void, pause: () => Promise<void> }} Context */

/** @type {Router} */
let router;
/** Under way from the beginning: what the page has kept is not needed for it. @type {Promise<Router> | undefined} */
let loading = begin();

function begin() {
  const promise = Router.load({
    onProgress: (loaded, total) => postMessage({ loading: { loaded, total } }),
  });
  // Whoever asks for it hears of a failure, and the next one may have more luck.
  promise.catch(() => (loading = undefined));
  return promise;
}

/** @type {Record<string, (argument: any, context: Context) => unknown>} */
const METHODS = {
  async load() {
    router ??= await (loading ??= begin());
  },

  versions: () => router.versions,

  /** Puts to use what was kept. Where that cannot be used any more it is left out, and this answers why. */
  use(kept) {
    try {
      apply(router, kept);
    } catch (error) {
      apply(router, { changes: {}, ratings: [] });
      return { code: error.code ?? "internal", message: error.message };
    }
  },

  readBackup: ({ file }) => readBackup(file),

  /** What targets cost over traffic. */
  traffic() {
    return { frontier: router.frontier(), constants: router.constants() };
  },

  /**
   * One decision, and the estimates of every model behind it.
   * @param {import("pennyroute").RouteRequest} request
   */
  consider(request) {
    return { decision: router.route(request), estimates: router.estimate(request) };
  },

  /** The same decision with its reasons, which take longer. */
  explain: (request) => router.explain(request),

  ...catalogMethods,
  ...planMethods,

};

/** Calls that are under way. @type {Map<number, AbortController>} */
const running = new Map();

onmessage = async ({ data: { id, method, argument, cancel } }) => {
  if (cancel) return running.get(id)?.abort();
  const controller = new AbortController();
  const { signal } = controller;
  running.set(id, controller);
  const context = {
    router,
    signal,
    progress: (progress) => postMessage({ id, progress }),
    pause: () => nextTask().then(() => signal.throwIfAborted()),
  };
  try {
    postMessage({ id, result: await METHODS[method](argument, context) });
  } catch (error) {
    const code = error.name === "AbortError" ? "cancelled" : error.code ?? "internal";
    postMessage({ id, error: { code, message: error.message ?? String(error) } });
  }
  running.delete(id);
};

// Timers are held back when they follow each other; messages are not.
const { port1, port2 } = new MessageChannel();
/** @type {(() => void)[]} */
const next = [];
port1.onmessage = () => next.shift()?.();

/** Resolves once what has arrived meanwhile is done. */
function nextTask() {
  return new Promise((resolve) => {
    next.push(() => resolve(undefined));
    port2.postMessage(null);
  });
}
