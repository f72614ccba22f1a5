import type { Catalog, Decision, PennyrouteError, RouteRequest } from "./index.js";

/** What a drop-in needs of a router: a `Router`, or one in a web worker. */
export interface AnyRouter {
  route(request: RouteRequest): Decision | Promise<Decision>;
  catalog(): Catalog | Promise<Catalog>;
  cost(model: string, usage: { input_tokens: number; cached_tokens?: number; output_tokens: number }): number | Promise<number>;
  /**
   * Where it is there, it is told of failures, as long as there is another candidate to go to, and of the output tokens of
   * answers; never of prompts.
   */
  feedback?(outcome: any): unknown;
}

/** The fields of a request that say how to choose; see `RouteRequest`. Another name is refused. */
export type Policy = Pick<
  RouteRequest,
  | "quality" | "floor" | "cap_usd" | "allow" | "deny" | "private" | "budget_usd" | "workloads"
  | "unhealthy" | "warm" | "reuse" | "steer" | "surcharges" | "at"
>;

/** One model that did not answer. */
export interface Failed {
  /** Its id in the catalog. */
  model: string;
  /**
   * The HTTP status, or `network`, `timeout`, `redirect`, `bad_reply` (no JSON, no choice, no token), `error_event` (an
   * error where a stream was promised), `no_key`, `unsupported`.
   */
  failure: string;
}

/** The decision, and what became of it. */
export interface Receipt extends Decision {
  /** The id of the model that answered; null where none did. */
  served: string | null;
  /** What it cost by the provider's own count of tokens, USD; null where that is not known. */
  spent_usd: number | null;
  /** Those that were tried before, in order. */
  failed: Failed[];
}

export interface DropInOptions {
  /** A router, or a promise of one: `Router.load()`. Calls wait for it. */
  router: AnyRouter | Promise<AnyRouter>;
  /** The policy of every call; one of its own overrides it field by field. */
  policy?: Policy;
  /** Most models that one call may try. Default: 4. */
  maxAttempts?: number;
  /** No model is tried later than this after the call was routed, and none is waited for longer, ms. Default: 300,000. */
  deadlineMs?: number;
  /** How long a streamed answer may take until its first token, ms. Default: 60,000. */
  firstTokenMs?: number;
  /** How long a whole answer may take where none is streamed, ms. Default: 180,000. */
  replyMs?: number;
  /** Called before the first model is. What a callback throws goes to the console. */
  onDecision?: (decision: Decision) => void;
  /** Called once an answer has ended, or every model has failed. */
  onReceipt?: (receipt: Receipt) => void;
}

/** No model answered. `message` names every attempt; `cause` is the last one's error. */
export class NoAnswer extends PennyrouteError {
  readonly code: "no_candidate" | "all_attempts_failed";
  readonly decision: Decision;
  /** The HTTP status that says the same. */
  readonly status: number;
  readonly failed: (Failed & { message: string })[];
}
