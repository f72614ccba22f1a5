/// <reference lib="esnext.disposable" />

/**
 * Pick the cheapest capable LLM in the client, before the API call is made.
 *
 * @example
 * import { Router } from "pennyroute";
 * const router = await Router.load();
 * const { model, fallbacks } = router.route({ prompt: "Prove that √2 is irrational.", quality: 0.85 });
 */

/** A message in the shape of OpenAI's chat API; fields that routing does not read are ignored. */
export interface Message {
  role: string;
  content?: string | null | { type: string; text?: string; [key: string]: unknown }[];
  [key: string]: unknown;
}

/** What is asked and under which policy. An OpenAI chat request body is a valid request. */
export interface RouteRequest {
  /** A bare prompt; or give `messages`. */
  prompt?: string;
  messages?: Message[];
  /** Given and not empty: candidates must call tools. */
  tools?: unknown[];
  /** `json_object` or `json_schema`: candidates must answer in JSON. */
  response_format?: { type: string; [key: string]: unknown };
  max_tokens?: number;
  max_completion_tokens?: number;
  /** `"auto"` (default policy), `"auto:0.85"` (sets `quality`), or a model id, which is then pinned. */
  model?: string;
  /** Mean quality to keep over traffic, 0 to 1. Default: 0.97 of the best single model's. */
  quality?: number;
  /** Least estimated quality of this answer, 0 to 1, where any candidate reaches it. */
  floor?: number;
  /** Most that this call may be expected to cost, USD. */
  cap_usd?: number;
  /** Globs such as `anthropic/*`; only matching models are candidates. */
  allow?: string[];
  /** Globs; matching models are no candidates. */
  deny?: string[];
  /** Only providers marked private in the catalog may see this query. */
  private?: boolean;
  /** Input tokens already in a model's prompt cache, by model id. */
  warm?: Record<string, number>;
  /**
   * Share of this call's input, 0 to 1, that is expected to be read from a model's prompt cache by the next call, by
   * model id: what that will save counts for the model where costs are compared, not in the cost that is reported.
   */
  reuse?: Record<string, number>;
  /** Models whose provider is down, by id. */
  unhealthy?: string[];
  /** Calls left per model, by id; a model that is absent is unlimited. */
  workloads?: Record<string, number>;
  /** USD left to spend. */
  budget_usd?: number;
  /**
   * Multiplies the price of quality of this request: by it a host that sees the traffic corrects a drift of its
   * mean quality or paces a budget. Above 0. Default: 1.
   */
  steer?: number;
  /**
   * USD per call added to a model's cost where costs are compared, by id: the shadow price of a scarce slot.
   * Costs that are reported, capped or budgeted are without it.
   */
  surcharges?: Record<string, number>;
  /**
   * The vector, of unit length, that the encoder in `versions.encoder` gives of the text that is routed on. Needed by artifacts
   * that were trained with an encoder, refused by any other.
   */
  embedding?: readonly number[] | Float32Array;
  /** The moment for dated prices, RFC 3339. Default: now. */
  at?: string;
  [key: string]: unknown;
}

/** A point estimate with the ends of its central 90 % interval. */
export interface Interval {
  estimate: number;
  lo: number;
  hi: number;
}

export type DecisionCode = "best_value" | "below_floor" | "warm_cache" | "only_candidate" | "pinned" | "no_candidate";

export type ExclusionCode =
  | "price_unknown" | "over_cap" | "context_too_small" | "unknown_capability" | "missing_capability"
  | "not_allowed" | "not_private" | "unhealthy" | "workload_full" | "budget_spent" | "retired" | "ability_unknown";

/** The choice and its reasons: the receipt. */
export interface Decision {
  id: string;
  /** The chosen model's id; null with code `no_candidate`. */
  model: string | null;
  code: DecisionCode;
  /** The reason in words. */
  reason: string;
  quality: Interval | null;
  cost_usd: Interval | null;
  target: { quality: number; floor: number | null; cap_usd: number | null };
  in_distribution: boolean;
  /** Other candidates, in the order in which to try them. */
  fallbacks: string[];
  /** Every candidate but the chosen one, cheapest first. */
  alternatives: { model: string; quality: number; cost_usd: number }[];
  excluded: { model: string; code: ExclusionCode }[];
  /** The best constant model that meets the same target, and what it would have cost. */
  baseline: { model: string; cost_usd: number } | null;
  saving_usd: number | null;
  versions: {
    policy: string;
    predictor: string;
    /** The sentence encoder whose vectors the predictor takes; absent where it takes none. */
    encoder?: string;
    index: string | null;
    catalog: string;
  };
  elapsed_us: number;
}

/** What is expected of one model on one query. */
export interface ModelEstimate {
  model: string;
  quality: Interval;
  output_tokens: Interval;
  cost_usd: Interval;
}

/** Estimates for every model with an ability and a price. */
export interface Estimates {
  models: ModelEstimate[];
  /** In tokens of o200k, or as the request counts them; the costs go by each model's own tokenizer. */
  input_tokens: number;
  /** How far the nearest known queries are, as a multiple of how far they may be: above 1, unlike all of them. */
  unfamiliarity: number;
  in_distribution: boolean;
}

/** A point of the cost-quality frontier, per query, on the artifacts' reference traffic. */
export interface FrontierPoint {
  /** Price of quality in USD per unit of quality at this point. */
  lambda: number;
  /** Mean quality, 0 to 1. */
  quality: number;
  /** Mean cost per query, USD. */
  cost_usd: number;
}

/** A batch: entry of query i and model j stands at j·queries + i (model-major). NaN cost: forbidden pair. */
export interface PlanProblem {
  queries: number;
  models: number;
  cost_usd: Float64Array;
  quality: Float64Array;
  /** Mean quality to keep, 0 to 1. */
  quality_target?: number;
  /** Most to spend in all, USD. */
  budget_usd?: number;
  /** Calls allowed per model; Infinity: unlimited. */
  workloads?: Float64Array;
  /** The group of each query, an index into `floors`. */
  groups?: Uint32Array;
  /** Least mean quality of each group, 0 to 1. */
  floors?: Float64Array;
}

/** What a watched plan is at. */
export interface PlanProgress {
  stage: "prices" | "relaxation" | "proof";
  /** Steps of the proof that are left. */
  work_left: number;
}

export interface PlanOptions {
  /**
   * Most steps, of some microseconds each, in the proof of the best whole plan (tried for up to 512
   * queries). 0: no search, a plan within a fraction of a percent of the bound. Default: 2,000,000.
   */
  work?: number;
  /**
   * Called between the parts of a plan and about every thousand steps of its proof beyond the first 2,000. Returning false ends it:
   * during the proof with the best plan so far (`stopped`), before with an error of code `cancelled`.
   */
  onProgress?: (progress: PlanProgress) => boolean | void;
}

/** The optimum of a batch. */
export interface Plan {
  status: "optimal" | "feasible" | "infeasible";
  /** Model index per query; empty when infeasible. */
  assignment: Uint32Array;
  cost_usd: number;
  quality: number;
  bound_usd?: number;
  bound_quality?: number;
  gap: number;
  /** The work limit ended the search for a proof: more might find a better plan or prove this one. */
  stopped: boolean;
  /** USD per 0.01 of mean quality, per slot of each model, per 0.01 of each group's mean quality. */
  duals: { quality: number; workloads: number[]; groups: number[] };
  /** When infeasible: a stable code, why, the largest feasible value, and whether that is proven. */
  code?: string;
  proven?: boolean;
  reason?: string;
  largest_feasible?: number;
}

/** A catalog, as in `models/catalog.json`. */
export interface Catalog {
  format: number;
  version: string;
  models: CatalogModel[];
}

/** One model (at one reasoning effort) of a catalog; prices in USD per million tokens. */
export interface CatalogModel {
  id: string;
  provider: string;
  base: string;
  effort?: string | null;
  cost?: { input: number; output: number; cache_read?: number | null; [key: string]: unknown } | null;
  limit?: { context?: number | null; output?: number | null };
  modalities?: string[] | null;
  tool_call?: boolean | null;
  json?: boolean | null;
  reasoning?: boolean;
  private?: boolean;
  deprecation_date?: string | null;
  ability?: Ability | null;
  /**
   * In copies of a catalog whose `ability` was fitted by `feedback`: what it was before. Outcomes told anew, as by
   * `Router.load({ catalog, outcomes })`, are fitted from there, so that none counts twice.
   */
  prior?: { ability: Ability | null; length: { mean: number[]; residual_sd: number; source: string } | null };
  [key: string]: unknown;
}

/** How well a model answers: its level, then one weight per skill, in logits, each with its standard deviation. */
export interface Ability {
  mean: number[];
  sd: number[];
  /** `prior`: stated without data of the model; by no more than its `price`; and so on. */
  source: "recorded" | "fitted" | "published" | "price" | "prior";
  note?: string;
}

/** How a call of a model of the catalog went. */
export interface Outcome {
  /** The model's id in the catalog. A new model gets an entry (`setCatalog`) first, with `ability: null`. */
  model: string;
  /** What was asked; or give `messages`. Needed with `correct`. */
  prompt?: string;
  messages?: Message[];
  /** How good the answer was: `true` or 1 right, `false` or 0 wrong, grades between allowed. */
  correct?: boolean | number;
  /** Output tokens as billed, reasoning included. */
  output_tokens?: number;
  /** The call failed: what went wrong, in words of the caller's. Not together with `correct`. */
  error?: string;
  /** When it ended, RFC 3339. Default: now; a moment in the future counts as now. */
  at?: string;
}

/** An outcome whose answer was graded: what abilities are fitted to. */
export type GradedOutcome = Outcome & Required<Pick<Outcome, "correct">>;

/** What `feedback` changed. */
export interface FeedbackResult {
  /** Models with graded answers among the outcomes just told; `outcomes` counts all that the router has of it. */
  models: { model: string; before: Ability | null; ability: Ability; outcomes: number }[];
  /** Models that are left alone now because their calls failed. */
  unhealthy: string[];
}

/** A decision, what it was chosen among, and what other targets would choose. */
export interface Explanation {
  decision: Decision;
  /**
   * The price of quality that was used, `steer` included: USD per unit of mean quality. Infinity where the target is
   * out of reach (the best answer is taken, whatever it costs), 0 where the cheapest choices reach it.
   */
  lambda: number;
  /** The chosen model, the others in the order in which the router would choose them, then those that are excluded. */
  candidates: ExplainedCandidate[];
  /** What each target of mean quality chooses for this query, in rising order, from 0 to 1; empty without a candidate. */
  switches: {
    model: string;
    /** Chosen for targets above this (the first one: from 0), */
    quality_from: number;
    /** up to this one, included. */
    quality_to: number;
  }[];
}

/** One model of a decision. */
export interface ExplainedCandidate {
  model: string;
  standing: "chosen" | "fallback" | "candidate" | "excluded";
  /** Why it is excluded. */
  code?: ExclusionCode;
  /** Estimates, where the model has an ability and a price: also of models that are excluded. */
  quality: Interval | null;
  cost_usd: Interval | null;
  output_tokens: Interval | null;
  /**
   * What the choice minimises among candidates (that reach the floor), USD: cost − lambda · quality, the cost with
   * `surcharges` and less what `reuse` will save. null if excluded, and where lambda is infinite.
   */
  net_usd: number | null;
}

/** Estimates of a batch, model-major as in `PlanProblem`: entry of query i and model j stands at j·queries + i. */
export interface BatchEstimates {
  queries: number;
  models: number;
  /** The models' ids: every one with an ability and a price, in the order of the catalog. */
  ids: string[];
  /** Expected cost of each pair, USD. In all three, NaN where the gates exclude the model for the query. */
  cost_usd: Float64Array;
  /** Expected quality of each pair, 0 to 1. */
  quality: Float64Array;
  /** Expected output tokens of each pair. */
  output_tokens: Float64Array;
  /** Per query, in tokens of o200k, or as the request counts them. */
  input_tokens: Float64Array;
  /** Per query, 1 or 0: whether it resembles what the predictor was trained on. */
  in_distribution: Uint8Array;
}

/** What outcomes taught. */
export interface Fitted {
  /** The catalog in use with the new abilities and lengths, for `setCatalog`. */
  catalog: Catalog;
  models: {
    model: string;
    /** Outcomes that it was fitted to, and those among them with counted output tokens. */
    outcomes: number;
    counted: number;
    /** Where the prior came from: the ability it had by scores or price, or (`prior`) all recorded models. */
    prior: "published" | "price" | "prior";
    before: Ability | null;
    ability: Ability;
    length: { mean: number[]; residual_sd: number; source: string } | null;
  }[];
}

/** What `checkCatalog` finds. */
export interface Finding {
  /** Stable. */
  code: string;
  /** The model that it is about; null: the catalog as a whole. */
  model: string | null;
  /** In words, with the values. */
  what: string;
  /** Two statements of the catalog cannot both hold: it must be corrected, not merely refreshed. */
  contradictory: boolean;
}

export interface CatalogDiff {
  /** Versions of the two catalogs. */
  before: string;
  after: string;
  /** Ids that only the second, or only the first has. */
  added: string[];
  removed: string[];
  /** Fields that differ, by their path such as `cost.input`; null where one is not stated. */
  changed: { model: string; field: string; before: unknown; after: unknown }[];
}

export interface ImportedCatalog {
  catalog: Catalog;
  /** Rows of the table: `routable` and all of `unroutable` together. */
  rows: number;
  routable: number;
  /** Rows that are kept but cannot be routed, by reason. */
  unroutable: Record<string, number>;
  /** What else was noticed on the way, and on how many routable rows. */
  notes: Record<string, number>;
}

export interface LoadOptions {
  /** The packed artifacts: their bytes, or where to fetch them. Default: those in the package. */
  artifacts?: Uint8Array | ArrayBuffer | string | URL;
  /** A catalog to use instead of the packed one. */
  catalog?: Catalog;
  /** A retrieval index of your own history (`pennyroute index`) instead of the packed one. */
  index?: Uint8Array;
  /**
   * What a router before this one was told (`outcomes()`), to start with. Outcomes of models that the catalog does
   * not have are kept until it has them (`setCatalog`).
   */
  outcomes?: Outcome[];
  /** Called while the artifacts arrive; loads that are under way at the same time share one download. */
  onProgress?: (loadedBytes: number, totalBytes: number | undefined) => void;
  /** Aborted, the load rejects with the signal's reason; others that share its download go on. */
  signal?: AbortSignal;
}

/**
 * Errors thrown by Pennyroute; `code` is stable, the message names what is wrong and where.
 * - `bad_artifact`: the module or the artifacts are missing, truncated or not what they should be; names the URL and status.
 * - `wasm_blocked`: the host refuses to compile WebAssembly, such as a page whose Content-Security-Policy lacks
 *   `script-src 'wasm-unsafe-eval'`.
 * - `unsupported_host`: there is no WebAssembly, or none with SIMD, or for `RouterWorker` no web workers.
 */
export class PennyrouteError extends Error {
  readonly code:
    | "bad_request" | "bad_catalog" | "bad_artifact" | "bad_index" | "bad_number" | "unsupported_version"
    | "bad_input" | "bad_problem" | "no_candidate" | "all_attempts_failed" | "models_unknown" | "cancelled" | "wasm_blocked"
    | "unsupported_host" | "internal";
}

/** Routes queries over one catalog. Free it, or declare it with `using`, when it is no longer needed. */
export class Router {
  protected constructor();
  /** Loads the wasm module (once) and the artifacts. */
  static load(options?: LoadOptions): Promise<Router>;
  /** One decision. Spends nothing and sends nothing. A string is a bare prompt. */
  route(request: string | RouteRequest): Decision;
  /** The estimates behind a decision, for every priced model with an ability, gates aside. */
  estimate(request: string | RouteRequest): Estimates;
  /**
   * A decision with its reasons in numbers: every model's estimates and standing, the price of quality, and at which
   * targets the choice would switch. Takes a few times as long as `route`.
   */
  explain(request: string | RouteRequest): Explanation;
  /**
   * Estimates of one request or many, for `plan({ ...batch, quality_target })`. Each request's own policy decides
   * which pairs are forbidden; its target is the plan's business. It does not return before all are done, a fraction
   * of a millisecond each: a page gives it some dozens at a time, or leaves it to `pennyroute/worker`.
   * An error names the request: `requests[3].prompt`.
   */
  estimateBatch(requests: (string | RouteRequest)[]): BatchEstimates;
  /** The best assignment of a batch. */
  plan(problem: PlanProblem, options?: PlanOptions): Plan;
  /**
   * What quality costs for a batch: up to `points` (2 or more, default 50) vertices of its cost-quality
   * frontier under its workloads, mean quality and mean cost of a query, cheapest first. Targets, budget
   * and floors are left out.
   */
  curve(problem: PlanProblem, points?: number, options?: Pick<PlanOptions, "onProgress">): FrontierPoint[];
  /** The cost-quality frontier of the catalog at hand on the reference traffic, cheapest first. */
  frontier(at?: string): FrontierPoint[];
  /** Every constant choice on the reference traffic: what always calling one model would bring. */
  constants(at?: string): { model: string; quality: number; cost_usd: number }[];
  /**
   * Fits the abilities and lengths of the models in `outcomes`, new ones included, and leaves the router as it
   * is: `router.setCatalog(router.fit(outcomes).catalog)` puts them to use. Any number of outcomes will do; the
   * fewer, the more the prior counts. Each row counts as independent of the others.
   */
  fit(outcomes: GradedOutcome[]): Fitted;
  /**
   * Learns from outcomes, in memory only. A graded answer (`correct`) moves its model's ability and length at once:
   * they are refitted, from where they stood before any feedback, with all the model's outcomes, so that each counts
   * once in whatever order they come. That takes some 0.3 ms for each of them: give many at once rather than one by one.
   * An `error` keeps its model out of decisions (`unhealthy`), by the host's clock: for 5 s, doubled up to 5 min with
   * each further one since the model's last success, which is any outcome without `error`. Errors during such a rest
   * do not prolong it, and where the rests would leave no candidate, the decision is made as if there were none.
   * A bad outcome throws, naming its place (`outcomes[3].correct`), and then none of them has counted.
   */
  feedback(outcomes: Outcome | Outcome[]): FeedbackResult;
  /**
   * What `feedback` was told, prompts included, to be stored and given to `Router.load({ outcomes })`. Successes
   * without a grade, failures during a rest, and those that a success or seven later rests have made irrelevant, are
   * not kept.
   */
  outcomes(): Outcome[];
  /**
   * The ability that published scores suggest, for an entry of the catalog: percent (Elo as it is) by score,
   * such as `{ aa_gpqa_diamond: 71.2, lmarena_text_elo: 1412 }`. An unknown name throws, naming those near it.
   */
  abilityFromScores(scores: Record<string, number>): { ability: Ability; g: number; sd: number };
  /**
   * What a call cost in USD at the catalog's prices of its moment (RFC 3339; default: now), by the usage that the
   * provider counted: all input, how much of it came from the provider's cache, all output.
   */
  cost(model: string, usage: { input_tokens: number; cached_tokens?: number; output_tokens: number }, at?: string): number;
  /**
   * A copy of the catalog in use. Together with `outcomes()` it can be given to `Router.load` or kept as JSON; given
   * without them, its abilities are where later outcomes start from.
   */
  catalog(): Catalog;
  /**
   * Replaces the catalog; a bad one throws and leaves the old one in use. Outcomes told by `feedback` stay in force:
   * the models are refitted from the abilities of the new catalog, or from their `prior`.
   */
  setCatalog(catalog: Catalog): void;
  /**
   * What is stale, retired, unpriced or contradictory in a catalog (by default the one in use) at a moment (RFC 3339;
   * default: now): contradictions first.
   */
  checkCatalog(catalog?: Catalog, at?: string): Finding[];
  /** What changed from one catalog to another; prices first. */
  diffCatalogs(before: Catalog, after: Catalog): CatalogDiff;
  /**
   * A catalog from LiteLLM's `model_prices_and_context_window.json`, as text or parsed. Models get the ability of the
   * same name among those recorded or in the catalog in use; rows that cannot be routed are kept, each with the reason.
   * `version` default: today's date and `-litellm`.
   */
  importCatalog(table: string | object, version?: string): ImportedCatalog;
  /** Replaces the retrieval index; a bad one throws and leaves the old one in use. */
  setIndex(index: Uint8Array): void;
  readonly versions: Decision["versions"];
  free(): void;
  [Symbol.dispose](): void;
}
