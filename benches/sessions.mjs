/**
 * Conversations of several turns: what the gateway's cache-aware choice costs, beside re-deciding
 * every turn without knowing of caches, staying with the first decision, and the best constant model.
 *
 * Turns are real queries (`../shared/data`, test split) of one source and domain; behind them stand
 * system prompts, documents and earlier answers of random length. Every policy meets the same
 * conversations at the same times and pays what simulated providers bill: prices and output lengths
 * are the catalog's, prompt caches are simulated below, apart from the worker's bookkeeping, so that
 * what it gets wrong costs something. Policies are compared at equal mean estimated quality: the
 * targets of the others are searched until theirs is ours; constant models may be mixed at will.
 */

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { Router } from "pennyroute";
import { root } from "../src/js/tools/shell.mjs";
import { openSession } from "../worker/sessions.js";

const SEEDS = [1, 2, 3];
const CONVERSATIONS = 160;
const HOURS = 4;
/** Targets of ours, as shares of the best constant model's quality; 0.97 is the router's default. */
const TARGETS = [0.94, 0.97, 0.985];
/** Halvings of the range in which another policy's target is searched, and that range. */
const HALVINGS = 7;
const RANGE = [0.85, 1];
/** A moment at which every price list is at its base. */
const AT = "2026-11-20T08:00:00Z";
const MINUTE = 60_000;

const data = join(root, "..", "shared", "data");
const files = ["queries_core.jsonl.gz", "queries_mmlu_pro.jsonl.gz"].map((name) => join(data, name));
if (!files.every(existsSync)) {
  console.log("skipped: ../shared/data, with the queries that conversations are made of, is not here");
  console.log(JSON.stringify({ bench: "sessions", skipped: true }));
  process.exit(0);
}

/** Random numbers from 0 to 1 (mulberry32). @param {number} seed */
function randomFrom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The same luck for every policy: numbers that depend on their name alone. @param {string} name */
function luck(name) {
  let hash = 2166136261;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 16777619);
  return randomFrom(hash);
}

const normal = (random) => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
const logNormal = (random, median, sigma) => median * Math.exp(sigma * normal(random));
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

// ---------------------------------------------------------------- conversations

const queries = files.flatMap((file) => gunzipSync(readFileSync(file)).toString().trim().split("\n").map((line) => JSON.parse(line)));
const byTopic = new Map();
for (const query of queries.filter(({ split }) => split === "test")) {
  const topic = `${query.source} ${query.domain}`;
  byTopic.set(topic, [...(byTopic.get(topic) ?? []), query]);
}
const topics = [...byTopic.values()].filter((list) => list.length >= 12);
const prose = queries.filter(({ split }) => split === "train");

/** Real text of about so many tokens. */
function textOf(random, tokens) {
  const parts = [];
  for (let left = tokens; left > 0; ) {
    const { text, text_tokens } = prose[Math.floor(random() * prose.length)];
    parts.push(text);
    left -= text_tokens;
  }
  return parts.join("\n\n");
}

const router = await Router.load();
const models = new Map(router.catalog().models.map((model) => [model.id, model]));
const constants = router.constants(AT);
const best = Math.max(...constants.map(({ quality }) => quality));

/** Rates for an input of so many tokens. */
function ratesOf(model, input) {
  const tiers = (model.cost.tiers ?? []).filter((tier) => input > tier.above_input_tokens);
  return tiers.sort((a, b) => b.above_input_tokens - a.above_input_tokens)[0] ?? model.cost;
}

/** Estimates of a request by model id, and its input tokens as each model's tokenizer cuts them. */
function estimated(request) {
  const found = router.estimate({ ...request, at: AT });
  return new Map(found.models.map(({ model, quality, output_tokens, cost_usd }) => {
    const output = output_tokens.estimate;
    const rates = ratesOf(models.get(model), found.input_tokens);
    return [model, { quality: quality.estimate, output, input: (cost_usd.estimate * 1e6 - output * rates.output) / rates.input }];
  }));
}

/** Everything that happens, in order of time: the turns of all conversations. */
function traffic(seed) {
  const random = randomFrom(seed);
  const uniform = (least, most) => least + random() * (most - least);
  const apps = Array.from({ length: 4 }, (_, i) => ({ name: `app ${seed}.${i}`, text: `You help with exercises. Examples:\n${textOf(random, logNormal(random, 2500, 0.6))}` }));
  const turns = [];
  for (let c = 0; c < CONVERSATIONS; c++) {
    const topic = topics[Math.floor(random() * topics.length)];
    const kind = random();
    const app = kind < 0.4 ? apps[Math.floor(random() * apps.length)] : undefined;
    const document = kind >= 0.7 ? `${textOf(random, Math.min(logNormal(random, 6000, 0.8), 30_000))}\n\n` : "";
    const messages = [{ role: "system", content: app ? app.text : "You are a helpful assistant." }];
    let time = uniform(0, HOURS * 60 * MINUTE);
    // Geometric, 6 turns in the mean.
    for (let turn = 0; turn === 0 || (random() < 5 / 6 && turn < 40); turn++) {
      const { text } = topic[Math.floor(random() * topic.length)];
      messages.push({ role: "user", content: turn === 0 ? document + text : text });
      // Marked, so that Anthropic caches it too.
      const request = { messages: [...messages], cache_control: { type: "ephemeral" } };
      const estimates = estimated(request);
      turns.push({ conversation: `${seed}.${c}`, turn, app: app?.name, time, request, estimates });
      // The visible answer is as long as one without reasoning is expected to be.
      const words = Math.min(Math.max(estimates.get("openai/gpt-4.1").output, 20), 1500);
      messages.push({ role: "assistant", content: "and so the answer is as said before ".repeat(Math.ceil(words / 8)) });
      time += uniform(5_000, 20_000) + logNormal(random, MINUTE, 1.4);
    }
  }
  // A system prompt alone is a prefix too.
  for (const app of apps) app.estimates = estimated({ messages: [{ role: "system", content: app.text }, { role: "user", content: "" }] });
  return { turns: turns.sort((a, b) => a.time - b.time), apps: new Map(apps.map((app) => [app.name, app])) };
}

// ---------------------------------------------------------------- providers, as they bill

/** Time kept in minutes, from and to; least tokens; counted in steps of; share of reads that find what is kept. */
const PROVIDERS = {
  openai: { kept: [5, 10], least: () => 1024, step: 128, found: 0.95 },
  anthropic: { kept: [5, 5], least: ({ base }) => (/haiku/.test(base) ? 4096 : 1024), step: 1, found: 1 },
  google: { kept: [3, 10], least: ({ base }) => (/flash/.test(base) ? 1024 : 4096), step: 1, found: 0.85 },
  deepseek: { kept: [120, 600], least: () => 64, step: 64, found: 0.95 },
  groq: { kept: [120, 120], least: () => 1024, step: 1, found: 0.9 },
};
const OTHERS = { kept: [2, 12], least: () => 1024, step: 1, found: 0.85 };

/** Prompt caches of all providers, for one policy's traffic. */
class Caches {
  #until = new Map();

  constructor(apps) {
    this.apps = apps;
  }

  /** One call: its bill and its usage. */
  call(model, { conversation, turn, app, time, estimates }) {
    const provider = PROVIDERS[model.provider] ?? OTHERS;
    const place = `${model.provider} ${model.base}`;
    const { input, output } = estimates.get(model.id);
    const random = luck(`${place} ${conversation} ${turn}`);
    const here = random() < provider.found;
    const [from, to] = provider.kept;
    const until = time + (from + random() * (to - from)) * MINUTE;
    let cached = 0;
    const prefixes = [...(app ? [app] : []), ...Array.from({ length: turn + 1 }, (_, t) => `${conversation} ${t}`)];
    for (const [i, prefix] of prefixes.entries()) {
      const key = `${place} ${prefix}`;
      const kept = this.#until.get(key);
      if (here && kept?.until > time) cached = kept.tokens;
      const tokens = app && i === 0 ? this.apps.get(app).estimates.get(model.id).input : (kept?.tokens ?? input);
      this.#until.set(key, { until: Math.max(until, kept?.until ?? 0), tokens });
    }
    cached = cached < provider.least(model) ? 0 : Math.floor(Math.min(cached, input) / provider.step) * provider.step;
    const rates = ratesOf(model, input);
    const cost = ((input - cached) * rates.input + cached * (rates.cache_read || rates.input) + output * rates.output) / 1e6;
    const created = model.provider === "anthropic" && input >= provider.least(model) ? input - cached : 0;
    const details = { cached_tokens: Math.round(cached), cache_creation_tokens: Math.round(created) };
    return { cost, input, cached, usage: { prompt_tokens: Math.round(input), prompt_tokens_details: details } };
  }
}

// ---------------------------------------------------------------- policies

const chosen = (request, more) => router.route({ ...request, ...more, at: AT }).model;

/** A policy of the worker's sessions. @param {(session: any, now: number) => object} told to the router */
function session(told) {
  return async ({ request, time }, quality, _memory, tenant) => {
    const opened = await openSession({ tenant, body: request, models });
    return { id: chosen(request, { quality, ...told(opened, time) }), answered: (id, usage) => opened.answered(id, usage, time) };
  };
}

/** A turn, a target, what is remembered of the conversation and a name for the whole run → who answers. */
const POLICIES = {
  ours: session((opened, now) => ({ warm: opened.warm(now), reuse: opened.reuse() })),
  "warm alone": session((opened, now) => ({ warm: opened.warm(now) })),
  "every turn": ({ request }, quality) => ({ id: chosen(request, { quality }) }),
  pin: ({ request }, quality, memory) => ({ id: (memory.pinned ??= chosen(request, { quality })) }),
};

/** One policy over all traffic: means per conversation and per turn. */
async function run({ turns, apps }, decide) {
  const caches = new Caches(apps);
  const conversations = new Map();
  const sum = { cost: 0, quality: 0, input: 0, cached: 0, switches: 0 };
  for (const turn of turns) {
    const memory = conversations.get(turn.conversation) ?? {};
    conversations.set(turn.conversation, memory);
    const { id, answered } = await decide(turn, memory);
    const { cost, input, cached, usage } = caches.call(models.get(id), turn);
    answered?.(id, usage);
    if (memory.last !== undefined && memory.last !== id) sum.switches++;
    memory.last = id;
    sum.cost += cost;
    sum.quality += turn.estimates.get(id).quality;
    sum.input += input;
    sum.cached += cached;
  }
  return {
    quality: sum.quality / turns.length,
    cost_usd: sum.cost / conversations.size,
    cached_share: sum.cached / sum.input,
    switches: sum.switches / conversations.size,
  };
}

/** What a mix of two points costs at a quality between theirs. */
function between(a, b, quality) {
  const share = a.quality === b.quality ? 1 : (quality - a.quality) / (b.quality - a.quality);
  return Object.fromEntries(Object.keys(a).map((name) => [name, a[name] + share * (b[name] - a[name])]));
}

/** The run of a policy whose quality is the wanted one, by halving the range of targets; `null` out of reach. */
async function atQuality(runAt, quality) {
  let [low, high] = await Promise.all(RANGE.map(async (target) => ({ target, point: await runAt(target) })));
  if (low.point.quality > quality || high.point.quality < quality) return null;
  for (let i = 0; i < HALVINGS; i++) {
    const target = (low.target + high.target) / 2;
    const point = await runAt(target);
    if (point.quality < quality) low = { target, point };
    else high = { target, point };
  }
  return between(low.point, high.point, quality);
}

/** The cheapest mix of constant models of a quality. */
function bestMix(points, quality) {
  let cheapest = null;
  for (const a of points.filter((point) => point.quality <= quality)) {
    for (const b of points.filter((point) => point.quality >= quality)) {
      const mix = between(a, b, quality);
      if (cheapest === null || mix.cost_usd < cheapest.cost_usd) cheapest = mix;
    }
  }
  return cheapest;
}

/** Per target, policy and seed. */
const results = TARGETS.map(() => ({}));
for (const seed of SEEDS) {
  const events = traffic(seed);
  const runAt = (name) => (target) => run(events, (turn, memory) => POLICIES[name](turn, target * best, memory, `${seed} ${name} ${target}`));
  const constant = [];
  for (const { model } of constants) constant.push(await run(events, () => ({ id: model })));
  for (const [i, target] of TARGETS.entries()) {
    const add = (name, point) => (results[i][name] ??= []).push(point);
    const ours = await runAt("ours")(target);
    add("ours", ours);
    for (const name of Object.keys(POLICIES).slice(1)) add(name, await atQuality(runAt(name), ours.quality));
    add("best constants", bestMix(constant, ours.quality));
  }
  console.error(`seed ${seed}: ${events.turns.length} turns`);
}

const rounded = (value) => Number(value.toPrecision(4));
const rows = TARGETS.flatMap((target, i) =>
  Object.entries(results[i]).map(([policy, points]) => {
    if (points.includes(null)) return { target, policy, out_of_reach: true };
    const of = (name) => rounded(mean(points.map((point) => point[name])));
    // Seed by seed: how much less ours costs, from the least to the most.
    const savings = points.map((point, seed) => 1 - results[i].ours[seed].cost_usd / point.cost_usd).sort((a, b) => a - b);
    return {
      target, policy, quality: of("quality"), usd_per_conversation: of("cost_usd"), cached_share: of("cached_share"), switches: of("switches"),
      ours_costs_less: rounded(1 - mean(results[i].ours.map((point) => point.cost_usd)) / mean(points.map((point) => point.cost_usd))),
      by_seed: savings.map(rounded),
    };
  }),
);
console.table(rows.map(({ by_seed, ...row }) => ({ ...row, by_seed: by_seed?.join(" ") })));
console.log(JSON.stringify({ bench: "sessions", seeds: SEEDS, conversations: CONVERSATIONS * SEEDS.length, rows }));
