// RouterWorker: a router in a thread of its own, its methods as promises. The entries beside this file say
// how a thread is started on their host; answer.js is its other end.
//
// There are two threads. One has the router. The other one plans, which may take long and cannot be told to
// stop from outside: an aborted plan ends its thread, and the next one starts another. It has no state that
// could be lost by that, and while it works the router answers. It is started by the first plan.

import { joined } from "./batch.js";
import { PennyrouteError } from "./error.js";
import { changed } from "./revision.js";
import { atRequest } from "./values.js";

/** Requests estimated in a row; other calls come between. */
const CHUNK = 50;

export class RouterWorker {
  #router;
  #planner;

  constructor(start) {
    this.#router = new Thread(start, { endable: false });
    this.#planner = new Thread(start, { endable: true });
    changed(this);
  }

  static async load(given, start, resolve) {
    const { onProgress, signal, artifacts, ...options } = given ?? {};
    signal?.throwIfAborted();
    const router = new this(start);
    const from = typeof artifacts === "string" || artifacts instanceof URL ? resolve(artifacts) : artifacts;
    const tell = onProgress && ((progress) => onProgress(...progress));
    try {
      await router.#router.call("load", [{ ...options, artifacts: from }], { signal, onProgress: tell });
    } catch (error) {
      router.free();
      throw error;
    }
    return router;
  }

  route(request, options) {
    return this.#router.call("route", [request], options);
  }

  estimate(request, options) {
    return this.#router.call("estimate", [request], options);
  }

  explain(request, options) {
    return this.#router.call("explain", [request], options);
  }

  async estimateBatch(requests, options) {
    const { signal, onProgress } = options ?? {};
    if (!Array.isArray(requests) || !requests.length) throw new PennyrouteError("bad_request", "requests: must be an array, not empty");
    const parts = [];
    for (let from = 0; from < requests.length; from += CHUNK) {
      const chunk = requests.slice(from, from + CHUNK);
      const part = await this.#router.call("estimateBatch", [chunk], { signal }).catch((error) => {
        throw atRequest(error, from);
      });
      if (parts.length > 0 && part.ids.join() !== parts[0].ids.join()) {
        throw new PennyrouteError("cancelled", "the catalog was replaced by one with other models in the middle of a batch");
      }
      parts.push(part);
      onProgress?.(from + chunk.length, requests.length);
    }
    return joined(parts);
  }

  plan(problem, options) {
    const { work, ...rest } = options ?? {};
    return this.#planner.call("plan", [planned(problem), { work }], rest);
  }

  curve(problem, points, options) {
    return this.#planner.call("curve", [planned(problem), points], options);
  }

  frontier(at, options) {
    return this.#router.call("frontier", [at], options);
  }

  constants(at, options) {
    return this.#router.call("constants", [at], options);
  }

  fit(outcomes, options) {
    return this.#router.call("fit", [outcomes], options);
  }

  feedback(outcomes, options) {
    if ([outcomes].flat().some((outcome) => outcome?.correct !== undefined)) changed(this);
    return this.#router.call("feedback", [outcomes], options);
  }

  outcomes(options) {
    return this.#router.call("outcomes", [], options);
  }

  abilityFromScores(scores, options) {
    return this.#router.call("abilityFromScores", [scores], options);
  }

  cost(model, usage, at, options) {
    return this.#router.call("cost", [model, usage, at], options);
  }

  catalog(options) {
    return this.#router.call("catalog", [], options);
  }

  setCatalog(catalog, options) {
    // What is asked from now on is answered after it.
    changed(this);
    return this.#router.call("setCatalog", [catalog], options);
  }

  checkCatalog(catalog, at, options) {
    return this.#router.call("checkCatalog", [catalog, at], options);
  }

  diffCatalogs(before, after, options) {
    return this.#router.call("diffCatalogs", [before, after], options);
  }

  importCatalog(table, version, options) {
    return this.#router.call("importCatalog", [table, version], options);
  }

  setIndex(index, options) {
    return this.#router.call("setIndex", [index], options);
  }

  versions(options) {
    return this.#router.call("versions", [], options);
  }

  free() {
    this.#router.free();
    this.#planner.free();
  }
}
// Hosts without `await using` have no such symbol.
if (Symbol.asyncDispose) {
  RouterWorker.prototype[Symbol.asyncDispose] = async function () {
    this.free();
  };
}

/** A thread, started when it is first needed, and the calls that wait for it: it gets one at a time. */
class Thread {
  #start;
  #endable;
  #thread;
  #waiting = [];
  #running;
  #last = 0;
  /** Why there are no more calls, once there are none. */
  #ended;

  /** `endable`: an aborted call ends the thread; otherwise it runs to its end, and nobody hears of it. */
  constructor(start, { endable }) {
    this.#start = start;
    this.#endable = endable;
  }

  call(method, args, options) {
    return new Promise((resolve, reject) => {
      const { signal, onProgress, transfer = [] } = options ?? {};
      signal?.throwIfAborted();
      if (this.#ended) throw this.#ended;
      const abort = () => this.#abort(call, signal.reason);
      const settled = (settle) => (value) => {
        signal?.removeEventListener("abort", abort);
        settle(value);
      };
      const call = { id: ++this.#last, method, args, transfer, onProgress, resolve: settled(resolve), reject: settled(reject) };
      signal?.addEventListener("abort", abort);
      this.#waiting.push(call);
      this.#next();
    });
  }

  free() {
    this.#ended = new PennyrouteError("bad_request", "this router has been freed");
    this.#end(this.#ended);
  }

  #next() {
    if (this.#running || this.#waiting.length === 0) return;
    const call = (this.#running = this.#waiting.shift());
    const { id, method, args, transfer, onProgress } = call;
    try {
      this.#thread ??= this.#begin();
    } catch (cause) {
      const { code = "bad_artifact", message } = cause instanceof PennyrouteError ? cause : { message: cause.message };
      return this.#fail(new PennyrouteError(code, `the router's thread could not be started: ${message}`, { cause }));
    }
    try {
      this.#thread.busy(true);
      this.#thread.post({ id, method, args, watched: onProgress !== undefined }, transfer);
    } catch (cause) {
      // What cannot be copied to a thread.
      this.#settle(() => call.reject(new PennyrouteError("bad_request", `${method}: ${cause.message}`, { cause })));
    }
  }

  #begin() {
    let started = false;
    const heard = ({ id, progress, result, error }) => {
      started = true;
      const call = this.#running;
      if (call?.id !== id) return;
      if (progress !== undefined) {
        try {
          call.onProgress(progress);
        } catch (thrown) {
          this.#abort(call, thrown);
        }
      } else {
        this.#settle(() => (error ? call.reject(new PennyrouteError(error.code, error.message)) : call.resolve(result)));
      }
    };
    const failed = (message) => this.#fail(started
      ? new PennyrouteError("internal", `the router's thread has ended: ${message}`)
      : new PennyrouteError("bad_artifact", `the router's thread could not be started: ${message}`));
    return this.#start(heard, failed);
  }

  #fail(error) {
    // Another thread would have no router.
    if (!this.#endable) this.#ended = error;
    this.#end(error);
  }

  #settle(settle) {
    this.#running = undefined;
    this.#thread?.busy(false);
    settle();
    this.#next();
  }

  #abort(call, reason) {
    call.reject(reason);
    this.#waiting = this.#waiting.filter((it) => it !== call);
    if (call !== this.#running || !this.#endable) return;
    this.#thread?.end();
    this.#thread = undefined;
    this.#running = undefined;
    this.#next();
  }

  #end(error) {
    this.#thread?.end();
    this.#thread = undefined;
    const calls = [this.#running, ...this.#waiting];
    [this.#running, this.#waiting] = [undefined, []];
    for (const call of calls) call?.reject(error);
  }
}

/** The problem without what else came with it, such as a batch's other estimates: they would all be copied. */
function planned(problem) {
  const { queries, models, cost_usd, quality, quality_target, budget_usd, workloads, groups, floors } = problem ?? {};
  return problem && { queries, models, cost_usd, quality, quality_target, budget_usd, workloads, groups, floors };
}
