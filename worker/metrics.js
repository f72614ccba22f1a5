/**
 * Counters, gauges and histograms, in Prometheus' text format 0.0.4. The names below are all there
 * are; labels take their values from bounded sets only: models of the catalog, reason codes, statuses.
 */

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300];

/** @type {Record<string, {type: "counter" | "gauge" | "histogram", help: string}>} */
const METRICS = {
  pennyroute_requests_total: { type: "counter", help: "Finished requests by API, status and whether they streamed." },
  pennyroute_decisions_total: { type: "counter", help: "Decisions by the model that was chosen first and the reason code." },
  pennyroute_fallbacks_total: { type: "counter", help: "Attempts that failed, by model and failure." },
  pennyroute_tokens_total: { type: "counter", help: "Tokens by model and kind, as providers counted them; cached is part of input." },
  pennyroute_cost_usd_total: { type: "counter", help: "Cost by model, USD." },
  pennyroute_baseline_usd_total: {
    type: "counter",
    help: "What the best constant model would have cost, USD; minus the cost of all models, the estimated saving.",
  },
  pennyroute_ledger_draws_total: { type: "counter", help: "Reservations: out of the isolate's lease, asked for, refused, or unanswered." },
  pennyroute_unsettled_total: { type: "counter", help: "Answers whose usage never arrived, charged as reserved." },
  pennyroute_ours_seconds: { type: "histogram", help: "Time spent in the gateway: routing and bookkeeping." },
  pennyroute_theirs_seconds: { type: "histogram", help: "Time spent waiting for the provider that answered." },
  pennyroute_config_errors_total: { type: "counter", help: "Readings of the configuration that failed, by document." },
  pennyroute_limit_used: { type: "gauge", help: "Used and leased of a limit of the policy, by tenant; money in USD." },
  pennyroute_limit_max: { type: "gauge", help: "Limits of the policy, by tenant; money in USD." },
  pennyroute_ledgers_unreachable: { type: "gauge", help: "Tenants whose ledger did not answer; their counts are missing here." },
  pennyroute_config_age_seconds: { type: "gauge", help: "Since catalog and policy were last read well; of the isolate that answers." },
};

/** One series; a histogram has counts per bucket, the last one beyond all bounds. @typedef {{value: number, buckets?: number[]}} Series */
/** Per metric and labels (as JSON). @typedef {Record<string, Record<string, Series>>} Deltas */

export class Metrics {
  /** @type {Map<string, Map<string, Series>>} */
  #metrics = new Map();

  /** @param {string} name @param {Record<string, string | number>} [labels] @param {number} [n] */
  count(name, labels = {}, n = 1) {
    this.#series(name, labelsKey(labels)).value += n;
  }

  /** @param {string} name @param {Record<string, string | number>} labels @param {number} value */
  set(name, labels, value) {
    this.#series(name, labelsKey(labels)).value = value;
  }

  /** @param {string} name @param {Record<string, string | number>} labels @param {number} value */
  observe(name, labels, value) {
    const series = this.#series(name, labelsKey(labels));
    const bucket = SECONDS.findIndex((bound) => value <= bound);
    /** @type {number[]} */ (series.buckets)[bucket < 0 ? SECONDS.length : bucket] += 1;
    series.value += value;
  }

  /** What was counted since the last call, to be merged elsewhere. Gauges are of one isolate and stay. @returns {Deltas} */
  drain() {
    /** @type {Deltas} */
    const deltas = {};
    for (const [name, series] of this.#metrics) {
      if (METRICS[name].type === "gauge") continue;
      deltas[name] = Object.fromEntries(series);
      this.#metrics.delete(name);
    }
    return deltas;
  }

  /** What was counted so far, to be merged elsewhere. @returns {Deltas} */
  copy() {
    const all = this.drain();
    this.merge(all);
    return all;
  }

  /** Adds what another registry counted; a metric that is not known here (another version's) is left out. @param {Deltas} deltas */
  merge(deltas) {
    for (const [name, all] of Object.entries(deltas)) {
      if (!Object.hasOwn(METRICS, name)) continue;
      for (const [labels, { value, buckets }] of Object.entries(all)) {
        const series = this.#series(name, labels);
        series.value += value;
        series.buckets = series.buckets?.map((n, i) => n + (buckets?.[i] ?? 0));
      }
    }
  }

  /** The text that Prometheus scrapes. */
  render() {
    const lines = [];
    for (const [name, { type, help }] of Object.entries(METRICS)) {
      const all = this.#metrics.get(name);
      if (!all) continue;
      lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
      for (const [key, { value, buckets }] of all) {
        const labels = JSON.parse(key);
        if (!buckets) {
          lines.push(`${name}${braces(labels)} ${value}`);
          continue;
        }
        let total = 0;
        buckets.forEach((n, i) => {
          total += n;
          lines.push(`${name}_bucket${braces([...labels, ["le", SECONDS[i] ?? "+Inf"]])} ${total}`);
        });
        lines.push(`${name}_sum${braces(labels)} ${value}`, `${name}_count${braces(labels)} ${total}`);
      }
    }
    return `${lines.join("\n")}\n`;
  }

  /** @param {string} name @param {string} labels @returns {Series} */
  #series(name, labels) {
    if (!Object.hasOwn(METRICS, name)) throw new Error(`there is no metric ${name}`);
    const all = this.#metrics.get(name) ?? new Map();
    this.#metrics.set(name, all);
    const series = all.get(labels) ?? { value: 0, ...(METRICS[name].type === "histogram" && { buckets: Array(SECONDS.length + 1).fill(0) }) };
    all.set(labels, series);
    return series;
  }
}

/** The metrics of this isolate. */
export const metrics = new Metrics();

/** @param {Record<string, string | number>} labels */
function labelsKey(labels) {
  return JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** @param {[string, string | number][]} labels */
function braces(labels) {
  const escaped = (/** @type {string | number} */ value) => String(value).replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
  return labels.length === 0 ? "" : `{${labels.map(([name, value]) => `${name}="${escaped(value)}"`).join(",")}}`;
}
