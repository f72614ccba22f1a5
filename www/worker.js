/**
 * The router's thread: loads it once and answers the page, in order, one call at a time.
 *
 * In: `{ id, method, argument }`. Out: `{ id, result }` or `{ id, error: { code, message } }`, and
 * `{ progress: { loaded, total } }` while the artifacts arrive.
 */
import { Router } from "pennyroute";

/** @type {Router} */
let router;

const METHODS = {
  /** Loads the router; its versions. */
  async load() {
    router = await Router.load({
      onProgress: (loaded, total) => postMessage({ progress: { loaded, total } }),
    });
    return router.versions;
  },

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
};

let queue = Promise.resolve();

onmessage = ({ data: { id, method, argument } }) => {
  queue = queue.then(async () => {
    try {
      postMessage({ id, result: await METHODS[method](argument) });
    } catch (error) {
      postMessage({ id, error: { code: error.code ?? "internal", message: error.message ?? String(error) } });
    }
  });
};
