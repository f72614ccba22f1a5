/**
 * A batch of prompts in the router's thread: its estimates, and what is planned over them. Estimates are
 * model-major, as `router.plan` takes them: entry of prompt i and model j stands at j·capacity + i. The capacity
 * is the batch's until all is estimated, and then the number of prompts that could be.
 */
import { CODES } from "../format.js";
import { toCsv } from "./csv.js";

/** Prompts that are estimated in one go: a tenth of a second in which the thread answers nothing else. */
const PART = 32;
/** Steps in the proof of a small batch: fractions of a second. */
export const WORK = 20_000;
/** Vertices of the curve that are asked for. */
const CURVE_POINTS = 40;
/** The optimizer keeps a price per floor; a table of so many can still be read. */
const MAX_FLOORS = 50;

/**
 * @typedef {import("./read.js").Row} Row
 * @typedef {import("./read.js").BadRow} BadRow
 * @typedef {{ allow?: string[], deny?: string[], private?: boolean, tools?: unknown[], response_format?: { type: string } }} Policy
 * @typedef {{
 *   quality_target?: number, budget_usd?: number, workloads: Record<string, number>, floors: Record<string, number>, policy: Policy,
 * }} Requirements `quality_target` or `budget_usd`, or both; workloads by model, floors by group
 */

export class Batch {
  /** Rows to estimate, and how many of them are done with. @type {Row[]} */
  #queue;
  #next = 0;
  /** What is estimated: its rows, and per model and row. @type {Row[]} */
  #rows = [];
  /** @type {string[]} */
  #models = [];
  #cost = new Float64Array();
  #quality = new Float64Array();
  #capacity = 0;
  /** Those of the models that took part last. @type {{ models: string, cost_usd: Float64Array, quality: Float64Array } | null} */
  #part = null;
  /** Index of each row's group. @type {Uint32Array} */
  #groupOf;
  /** @type {string[]} */
  #groups;
  /** Bad rows that the file had before any was estimated. */
  #unreadable;
  /** The rows that are planned, and which of them stands for each row; null: every row, for itself. @type {{ rows: Uint32Array, at: Uint32Array } | null} */
  #kept = null;
  /** The last plan, with the models and rows its assignment counts. @type {{ summary: any, requirements: Requirements, models: number[], assignment: Uint32Array, kept: { rows: Uint32Array, at: Uint32Array } | null } | null} */
  #planned = null;
  #unfamiliar = 0;

  /**
   * @param {Row[]} rows
   * @param {BadRow[]} bad
   */
  constructor(rows, bad) {
    this.#queue = rows;
    this.bad = bad;
    this.#unreadable = bad.length;
    this.#groups = [...new Set(rows.map((row) => row.group))];
    this.#groupOf = new Uint32Array(rows.length);
  }

  /** What was read: counts, the first bad rows, and the groups that are few enough to have floors. */
  summary() {
    const { bad } = this;
    const grouped = this.#groups.length > 1 || this.#groups[0] !== "";
    return {
      prompts: this.#queue.length,
      bad: { count: bad.length, unreadable: this.#unreadable, first: bad.slice(0, 20) },
      groups: grouped ? this.#groups.length : 0,
      floors: grouped && this.#groups.length <= MAX_FLOORS,
    };
  }

  /**
   * Estimates what is not estimated yet. When it is cancelled, what is done stays, and may be planned. Where the
   * catalog has other models meanwhile, it begins anew.
   * @param {{ router: import("pennyroute").Router, progress: (progress: { done: number, total: number }) => void, pause: () => Promise<void> }} context
   */
  async estimate({ router, progress, pause }) {
    const total = this.#queue.length;
    const index = new Map(this.#groups.map((name, g) => [name, g]));
    while (this.#next < total) {
      if (this.#add(router, this.#queue.slice(this.#next, this.#next + PART), index)) this.#next = Math.min(total, this.#next + PART);
      else this.restart();
      progress({ done: this.#next, total });
      await pause();
    }
    this.#compact();
    if (this.#rows.length === 0) {
      throw Object.assign(new Error(`no prompt could be estimated; the first: ${this.bad[0].reason}`), { code: "bad_request" });
    }
    return this.estimated();
  }

  /** What is estimated: how many prompts, how many of them unlike what the predictor has seen, on which models. */
  estimated() {
    return { ...this.summary(), estimated: this.#rows.length, unfamiliar: this.#unfamiliar, models: this.#models };
  }

  /** Forgets the estimates, which another catalog would not make. */
  restart() {
    this.#next = 0;
    this.#rows = [];
    this.#models = [];
    this.#part = null;
    this.#kept = null;
    this.#planned = null;
    this.#unfamiliar = 0;
    this.bad.length = this.#unreadable;
  }

  /**
   * Estimates some rows; one that the router refuses, or that no model may take, is told and left out.
   * @returns {boolean} false: the catalog has other models than the estimates so far
   */
  #add(router, rows, index) {
    let estimates;
    try {
      estimates = router.estimateBatch(rows.map(({ request }) => request));
    } catch (error) {
      if (error.code !== "bad_request") throw error;
      if (rows.length > 1) return rows.every((row) => this.#add(router, [row], index));
      this.bad.push({ row: rows[0].row, column: "", reason: error.message.replace(/^requests\[0\]: /, "") });
      return true;
    }
    if (this.#models.length === 0) {
      this.#models = estimates.ids;
      this.#capacity = this.#queue.length;
      this.#cost = new Float64Array(estimates.models * this.#capacity);
      this.#quality = new Float64Array(estimates.models * this.#capacity);
    }
    if (estimates.ids.join() !== this.#models.join()) return false;
    this.#part = null;
    this.#kept = null;
    rows.forEach((row, i) => {
      const refused = this.#models.every((_, j) => Number.isNaN(estimates.cost_usd[j * rows.length + i]));
      if (refused) return void this.bad.push({ row: row.row, column: "", reason: refusal(router, row) });
      const place = this.#rows.length;
      for (let j = 0; j < estimates.models; j++) {
        this.#cost[j * this.#capacity + place] = estimates.cost_usd[j * rows.length + i];
        this.#quality[j * this.#capacity + place] = estimates.quality[j * rows.length + i];
      }
      this.#groupOf[place] = index.get(row.group);
      this.#unfamiliar += 1 - estimates.in_distribution[i];
      this.#rows.push(row);
    });
    return true;
  }

  /** Closes the gaps that rows left that could not be estimated: what is planned then needs no copy. */
  #compact() {
    const queries = this.#rows.length;
    for (const matrix of [this.#cost, this.#quality]) {
      for (let j = 1; j < this.#models.length; j++) matrix.copyWithin(j * queries, j * this.#capacity, j * this.#capacity + queries);
    }
    this.#cost = this.#cost.subarray(0, this.#models.length * queries);
    this.#quality = this.#quality.subarray(0, this.#models.length * queries);
    this.#capacity = queries;
  }

  /** How many rows are planned. */
  get #planning() {
    return this.#kept?.rows.length ?? this.#rows.length;
  }

  /** The i-th row of those that are planned, among all that are estimated. @param {number} i */
  #rowAt(i) {
    return this.#kept?.rows[i] ?? i;
  }

  /** What is asked, of every estimated row. */
  requests() {
    return this.#rows.map(({ request }) => request);
  }

  /** A row as people know it. @param {number} i */
  describe(i) {
    const { id, request: { prompt, messages } } = this.#rows[i];
    const content = prompt ?? messages?.findLast(({ role }) => role === "user")?.content ?? "";
    const text = typeof content === "string" ? content : content.map((part) => part.text ?? "").join(" ");
    return { id, text: text.length > 160 ? `${text.slice(0, 159)}…` : text };
  }

  /**
   * Leaves out of plans the rows that repeat another one, whose model they then get; null: none.
   * @param {Uint32Array | null} of the row that each repeats, or itself
   * @returns {number} how many are left out: not those that a model of the other row may not have
   */
  leaveOut(of) {
    this.#part = null;
    this.#kept = null;
    if (of === null) return 0;
    const open = (i, j) => !Number.isNaN(this.#cost[j * this.#capacity + i]);
    const stand = of.map((other, i) => (this.#models.every((_, j) => open(i, j) || !open(other, j)) ? other : i));
    const rows = Uint32Array.from(stand.keys()).filter((i) => stand[i] === i);
    const place = new Uint32Array(of.length);
    rows.forEach((i, at) => (place[i] = at));
    this.#kept = { rows, at: stand.map((i) => place[i]) };
    return of.length - rows.length;
  }

  /**
   * The problem of some models under the requirements.
   * @param {number[]} models indices
   * @param {Requirements} requirements
   * @returns {import("pennyroute").PlanProblem}
   */
  #problem(models, { quality_target, budget_usd, workloads, floors }) {
    const queries = this.#planning;
    const limits = models.map((j) => workloads[this.#models[j]] ?? Infinity);
    const floor = this.#groups.map((name) => floors[name] ?? 0);
    const { cost_usd, quality } = this.#estimatesOf(models);
    return {
      queries,
      models: models.length,
      cost_usd,
      quality,
      quality_target,
      budget_usd,
      ...(limits.some(Number.isFinite) && { workloads: Float64Array.from(limits) }),
      ...(floor.some((least) => least > 0) && { groups: Uint32Array.from({ length: queries }, (_, i) => this.#groupOf[this.#rowAt(i)]), floors: Float64Array.from(floor) }),
    };
  }

  /**
   * The estimates of some models, kept until others take part: for a large batch they are many megabytes.
   * @param {number[]} models indices
   */
  #estimatesOf(models) {
    const [queries, key] = [this.#planning, models.join()];
    if (this.#part?.models === key) return this.#part;
    const rowsOf = (matrix) => {
      if (models.length === this.#models.length && queries === this.#capacity) return matrix;
      const part = new Float64Array(models.length * queries);
      models.forEach((j, at) => {
        for (let i = 0; i < queries; i++) part[at * queries + i] = matrix[j * this.#capacity + this.#rowAt(i)];
      });
      return part;
    };
    this.#part = null;
    return (this.#part = { models: key, cost_usd: rowsOf(this.#cost), quality: rowsOf(this.#quality) });
  }

  /**
   * The models that the policy leaves, as the router's gates see it.
   * @param {import("pennyroute").Router} router
   * @param {Policy} policy
   */
  #candidates(router, policy) {
    const { model, alternatives } = router.route({ prompt: "any", ...policy });
    const left = new Set([model, ...alternatives.map((each) => each.model)]);
    const models = this.#models.flatMap((id, j) => (left.has(id) ? [j] : []));
    if (models.length === 0) throw Object.assign(new Error("no model is left: allow more of them"), { code: "no_candidate" });
    return models;
  }

  /**
   * What quality costs for this batch, under the workloads: USD of a prompt over mean quality; and what it would
   * bring to always call one model.
   * @param {import("pennyroute").Router} router
   * @param {Requirements} requirements
   */
  curve(router, { workloads, policy }) {
    const models = this.#candidates(router, policy);
    const problem = this.#problem(models, { workloads, policy, floors: {} });
    const planned = Array.from({ length: problem.queries }, (_, i) => this.#rows[this.#rowAt(i)]);
    const refused = planned.findIndex((_, i) => models.every((_, at) => Number.isNaN(problem.cost_usd[at * problem.queries + i])));
    if (refused !== -1) {
      throw Object.assign(new Error(`row ${planned[refused].row} may go to none of the models that are left: allow more of them`), { code: "no_candidate" });
    }
    return {
      queries: problem.queries,
      constants: constants(problem).map(({ at, ...constant }) => ({ model: this.#models[models[at]], ...constant })),
      frontier: router.curve(problem, CURVE_POINTS),
    };
  }

  /**
   * The best assignment, summed up for people; the assignment itself stays here until it is exported.
   * @param {import("pennyroute").Router} router
   * @param {Requirements} requirements
   */
  solve(router, requirements) {
    const start = performance.now();
    const models = this.#candidates(router, requirements.policy);
    const problem = this.#problem(models, requirements);
    const { assignment, duals, ...plan } = router.plan(problem, { work: WORK });
    const summary = {
      ...plan,
      queries: problem.queries,
      left_out: this.#rows.length - problem.queries,
      point_usd: duals.quality,
      models: this.#shares(models, problem, assignment, duals, requirements.workloads),
      groups: this.#groupShares(problem, assignment, models, duals, requirements.floors),
      elapsed_ms: performance.now() - start,
    };
    this.#planned = plan.status === "infeasible" ? null : { summary, requirements, models, assignment, kept: this.#kept };
    return summary;
  }

  /** The models that are used or limited, by calls. */
  #shares(models, { queries, cost_usd, quality }, assignment, duals, workloads) {
    const shares = models.map((j, at) => ({
      model: this.#models[j],
      queries: 0,
      cost_usd: 0,
      quality: 0,
      limit: workloads[this.#models[j]] ?? null,
      slot_usd: duals.workloads[at] ?? 0,
    }));
    assignment.forEach((at, i) => {
      shares[at].queries++;
      shares[at].cost_usd += cost_usd[at * queries + i];
      shares[at].quality += quality[at * queries + i];
    });
    return shares
      .filter((share) => share.queries > 0 || share.limit !== null)
      .map((share) => ({ ...share, quality: share.queries > 0 ? share.quality / share.queries : null }))
      .sort((a, b) => b.queries - a.queries);
  }

  /** Groups by name; none where there are none, or too many to have floors. */
  #groupShares({ queries, quality }, assignment, models, duals, floors) {
    if (!this.summary().floors) return [];
    const groups = this.#groups.map((name, g) => ({ name, queries: 0, quality: 0, floor: floors[name] ?? null, point_usd: duals.groups[g] ?? 0 }));
    for (let i = 0; i < queries; i++) {
      const group = groups[this.#groupOf[this.#rowAt(i)]];
      group.queries++;
      if (assignment.length > 0) group.quality += quality[assignment[i] * queries + i];
    }
    return groups
      .map((group) => ({ ...group, quality: group.queries > 0 && assignment.length > 0 ? group.quality / group.queries : null }))
      .sort((a, b) => a.name.localeCompare(b.name));
  }

  /** The assignment as csv, a line per prompt in the order of the file. */
  csv() {
    const data = this.#assigned().map(({ query_id, model, quality, cost_usd, group }) => [query_id, model, quality, cost_usd, group]);
    return new Blob([toCsv(["query_id", "model", "quality", "cost_usd", "group"], data)], { type: "text/csv" });
  }

  /**
   * The plan as JSON: what was asked for, what it comes to, and the assignment.
   * @param {import("pennyroute").Router} router
   */
  json(router) {
    const { summary: { elapsed_ms, ...plan }, requirements } = this.#planned;
    const content = { format: 1, versions: router.versions, requirements, plan, assignment: this.#assigned() };
    return new Blob([JSON.stringify(content, null, 1), "\n"], { type: "application/json" });
  }

  #assigned() {
    const { models, assignment, kept } = this.#planned;
    return this.#rows.map((row, i) => {
      const place = kept?.at[i] ?? i;
      const j = models[assignment[place]];
      const at = j * this.#capacity + i;
      return { query_id: row.id, model: this.#models[j], quality: this.#quality[at], cost_usd: this.#cost[at], group: row.group, ...(kept && kept.rows[place] !== i && { repeats: this.#rows[kept.rows[place]].id }) };
    });
  }

  /** The rows that could not be used, as csv. */
  badCsv() {
    return new Blob([toCsv(["row", "column", "reason"], this.bad.map(({ row, column, reason }) => [row, column, reason]))], { type: "text/csv" });
  }
}

/**
 * Why no model may take a row: the reasons, that of most models first.
 * @param {import("pennyroute").Router} router
 * @param {Row} row
 */
function refusal(router, { request }) {
  const counts = new Map();
  for (const { code } of router.route(request).excluded) counts.set(code, (counts.get(code) ?? 0) + 1);
  const reasons = [...counts].sort(([, a], [, b]) => b - a).map(([code, models]) => `${models} ${CODES[code] ?? code}`);
  return `no model may take it: ${reasons.join(", ")}`;
}

/**
 * What it would bring to give every prompt to one model.
 * @param {import("pennyroute").PlanProblem} problem
 * @returns {{ at: number, cost_usd: number, quality: number, refused: number }[]} of the prompts that it may
 *   have; `refused`: how many it may not
 */
function constants({ queries, models, cost_usd, quality }) {
  return Array.from({ length: models }, (_, at) => {
    let [cost, good, refused] = [0, 0, 0];
    for (let i = at * queries; i < (at + 1) * queries; i++) {
      if (Number.isNaN(cost_usd[i])) refused++;
      else {
        cost += cost_usd[i];
        good += quality[i];
      }
    }
    return { at, cost_usd: cost, quality: refused < queries ? good / (queries - refused) : 0, refused };
  });
}
