/// <reference lib="esnext.disposable" />

import {
  Ability, BatchEstimates, Catalog, Decision, Estimates, Explanation, FeedbackResult, Fitted, FrontierPoint, GradedOutcome,
  LoadOptions, Outcome, Plan, PlanOptions, PlanProblem, PlanProgress, RouteRequest,
} from "./index.js";

export { PennyrouteError } from "./index.js";

/** How one call is made. */
export interface CallOptions {
  /**
   * Aborted, the call rejects with the signal's reason. One that has not begun is dropped. A plan or a curve that is
   * being computed is ended; of a batch, what is left; any other call, once begun, is short and runs to its end unheard:
   * a `feedback` or a `setCatalog` has then taken effect.
   */
  signal?: AbortSignal;
  /** Buffers of the arguments to hand over rather than copy, such as `[problem.cost_usd.buffer]`; here they are empty afterwards. */
  transfer?: ArrayBuffer[];
}

/**
 * A `Router` in a thread of its own (a module web worker; in Node, a worker thread): the same methods as promises, so
 * that a page never waits. Errors are those of `Router`, and keep their `code`; arguments are copied to the thread.
 * Calls are answered in the order in which they are made, but plans and curves, which have a second thread: the
 * router answers while they are computed. Free it when it is no longer needed, or declare it with `await using`.
 *
 * @example
 * import { RouterWorker } from "pennyroute/worker";
 * const router = await RouterWorker.load();
 * const { model } = await router.route({ prompt: "Prove that √2 is irrational.", quality: 0.85 });
 */
export class RouterWorker {
  protected constructor();
  /** Starts the thread and loads the router in it. A relative URL in `options` is relative to the page. */
  static load(options?: LoadOptions): Promise<RouterWorker>;
  route(request: string | RouteRequest, options?: CallOptions): Promise<Decision>;
  estimate(request: string | RouteRequest, options?: CallOptions): Promise<Estimates>;
  explain(request: string | RouteRequest, options?: CallOptions): Promise<Explanation>;
  /** As many requests as you like: they are estimated by the dozen, and other calls come between. */
  estimateBatch(
    requests: (string | RouteRequest)[],
    options?: Pick<CallOptions, "signal"> & { onProgress?: (done: number, total: number) => void },
  ): Promise<BatchEstimates>;
  plan(problem: PlanProblem, options?: CallOptions & Pick<PlanOptions, "work"> & WatchOptions): Promise<Plan>;
  curve(problem: PlanProblem, points?: number, options?: CallOptions & WatchOptions): Promise<FrontierPoint[]>;
  frontier(at?: string, options?: CallOptions): Promise<FrontierPoint[]>;
  constants(at?: string, options?: CallOptions): Promise<{ model: string; quality: number; cost_usd: number }[]>;
  fit(outcomes: GradedOutcome[], options?: CallOptions): Promise<Fitted>;
  feedback(outcomes: Outcome | Outcome[], options?: CallOptions): Promise<FeedbackResult>;
  outcomes(options?: CallOptions): Promise<Outcome[]>;
  abilityFromScores(scores: Record<string, number>, options?: CallOptions): Promise<{ ability: Ability; g: number; sd: number }>;
  cost(
    model: string,
    usage: { input_tokens: number; cached_tokens?: number; output_tokens: number },
    at?: string,
    options?: CallOptions,
  ): Promise<number>;
  catalog(options?: CallOptions): Promise<Catalog>;
  setCatalog(catalog: Catalog, options?: CallOptions): Promise<void>;
  setIndex(index: Uint8Array, options?: CallOptions): Promise<void>;
  versions(options?: CallOptions): Promise<Decision["versions"]>;
  /** Ends both threads; calls that are not answered yet reject. */
  free(): void;
  [Symbol.asyncDispose](): Promise<void>;
}

/** How a plan is watched. */
export interface WatchOptions {
  /** As in `PlanOptions`, but from another thread: what it returns ends nothing, `signal` does. */
  onProgress?: (progress: PlanProgress) => void;
}
