/**
 * The configuration that a request runs under: catalog and policy, versioned, as data.
 *
 * Both come from the KV namespace `CONFIG` (keys `catalog` and `policy`), if one is bound; the bundled
 * catalog and the variable `POLICY` serve where KV has none, or cannot be read by a new isolate. An isolate
 * reads them before its first request and then in the background. What is bad or out of reach never
 * replaces the last good version.
 *
 * A request keeps the snapshot that it began with, and so sees one version of each. The one router holds
 * one catalog at a time: `route` of a snapshot first puts its own in place where another's is, in the same
 * synchronous step as the decision.
 */

import { env as start } from "cloudflare:workers";
import { Router } from "pennyroute";
import { HttpError } from "./errors.js";
import { metrics } from "./metrics.js";
import { OPEN, readPolicyDocument } from "./policy.js";
import { readProviders } from "./providers.js";

/** @typedef {import("pennyroute").Catalog} Catalog */
/** @typedef {import("pennyroute").CatalogModel} CatalogModel */
/** @typedef {import("pennyroute").RouteRequest} RouteRequest */
/** @typedef {import("./policy.js").Policy} Policy */
/** @typedef {{waitUntil: (promise: Promise<unknown>) => void}} Context */

/**
 * @typedef {object} Settings
 * @property {{catalog: string, policy: string | null}} version
 * @property {import("pennyroute").Decision["versions"]} versions as receipts name them
 * @property {Map<string, CatalogModel>} models that may be named in a request, by id
 * @property {Map<string, import("./providers.js").Provider>} providers
 * @property {boolean} canCall whether any model has a provider that is configured
 * @property {Policy | null} policy null while the one in KV cannot be known
 * @property {(request: RouteRequest) => import("pennyroute").Decision} route its receipt names the policy as `versions.config`
 * @property {(request: RouteRequest) => import("pennyroute").Estimates} estimate
 * @property {(model: string, usage: import("./meter.js").Tokens) => number} cost of a call, USD, by the usage that was counted
 * @property {string | null} stale since when nothing good was read, if that is too long
 * @property {Record<string, string>} errors of the last reading, by document
 */

const DEFAULT_TTL_S = 60;
const DEFAULT_STALE_S = 3600;
/** Before the first good reading, the next attempt comes sooner. */
const RETRY_S = 5;
/** KV is as old as this at most. */
const REPLACED_MS = 120_000;
/** A new isolate waits no longer for KV. */
const FIRST_READ_MS = 5000;

// Part of the bundle and loaded while the isolate starts: bad artifacts or variables make the start
// fail, and a deploy with them is refused.
const providers = readProviders(start);
const declared = declaredPolicy(start);
const router = load();

function load() {
  try {
    return Router.loadSync();
  } catch (error) {
    // The runtime prints only the message of what stops a start; the code belongs in it.
    const { code, message } = /** @type {import("pennyroute").PennyrouteError} */ (error);
    throw new Error(`Pennyroute cannot start: ${code}: ${message}`, { cause: error });
  }
}

/** The variable `POLICY`, else the open policy. @param {Record<string, any>} env @returns {Policy} */
function declaredPolicy({ POLICY, LEDGER }) {
  if (POLICY === undefined || POLICY === null || POLICY === "") return OPEN;
  try {
    return readPolicyDocument(typeof POLICY === "string" ? JSON.parse(POLICY) : POLICY, { ledger: Boolean(LEDGER) });
  } catch (error) {
    throw new Error(`POLICY: ${/** @type {Error} */ (error).message}`, { cause: error });
  }
}

/** The catalog that the router holds, as `callable` returned it. @type {Catalog} */
let held;
/** What comes with the deployment, whole. @type {{catalog: Catalog, policy: Policy}} */
export const shipped = { catalog: router.catalog(), policy: declared };
const bundled = callable(shipped.catalog);

/**
 * Only models that can be called are candidates. They are left out of the catalog rather than
 * denied per request, because a quality target and a saving mean something only against the models
 * at hand. With no provider at all, the whole catalog stays and decisions are all there is.
 * @param {Catalog} catalog
 * @returns {Catalog} the one that the router then holds
 */
function callable(catalog) {
  const models = catalog.models.filter((model) => providers.has(model.provider));
  held = catalog;
  if (models.length === 0 || models.length === catalog.models.length) return held;
  held = { ...catalog, models };
  router.setCatalog(held);
  return held;
}

/**
 * A catalog, checked whole: also its models that cannot be called here. Throws PennyrouteError.
 * @param {any} catalog
 */
export function readCatalog(catalog) {
  const before = held;
  try {
    router.setCatalog(catalog);
    return callable(catalog);
  } catch (error) {
    held = before;
    router.setCatalog(before);
    throw error;
  }
}

/** The router, with a catalog in place. @param {Catalog} catalog */
function holding(catalog) {
  if (held !== catalog) {
    router.setCatalog(catalog);
    held = catalog;
  }
  return router;
}

/** @param {Catalog} catalog @param {Policy | null} policy @returns {Omit<Settings, "stale" | "errors">} */
function snapshot(catalog, policy) {
  const version = { catalog: catalog.version, policy: policy?.version ?? null };
  return {
    version,
    versions: { ...router.versions, catalog: catalog.version },
    models: new Map(catalog.models.map((model) => [model.id, model])),
    providers,
    canCall: catalog.models.some((model) => providers.has(model.provider)),
    policy,
    route(request) {
      const decision = holding(catalog).route(request);
      // `versions.policy` is the rule of choice; the owner's policy goes by another name.
      decision.versions = { ...decision.versions, config: version.policy };
      return decision;
    },
    estimate: (request) => holding(catalog).estimate(request),
    cost: (model, usage) => holding(catalog).cost(model, usage),
  };
}

/**
 * What a new isolate goes by while KV cannot tell: the variable, if it holds a policy. Never the open
 * one: a gateway that has keys must not open because KV is down.
 */
const unknownPolicy = declared === OPEN ? null : declared;

/** What the last readings brought: the texts as they were judged, and the last good values. */
const state = {
  /** @type {Record<string, string | null | undefined>} */
  judged: {},
  /** What this isolate wrote something else over. @type {Record<string, {text: string | null | undefined, until: number}>} */
  replaced: {},
  /** @type {Record<string, string>} */
  errors: {},
  catalog: bundled,
  policy: /** @type {Policy | null} */ (null),
  snapshot: /** @type {Omit<Settings, "stale" | "errors"> | null} */ (null),
  triedAt: 0,
  readAt: 0,
};

/**
 * The settings for one request. Only an isolate's first requests wait for KV.
 * @param {Record<string, any>} env
 * @param {Context} ctx
 * @returns {Promise<Settings>}
 */
export async function settings(env, ctx) {
  const now = Date.now();
  if (!state.snapshot) {
    // Each of the first requests reads for itself: a promise dies with the request that made it.
    await refresh(env, FIRST_READ_MS);
  } else if (env.CONFIG && now - state.triedAt >= 1000 * (state.readAt ? seconds(env.CONFIG_TTL, DEFAULT_TTL_S) : RETRY_S)) {
    state.triedAt = now;
    ctx.waitUntil(refresh(env));
  }
  const stale = env.CONFIG && Date.now() - state.readAt > 1000 * seconds(env.CONFIG_STALE, DEFAULT_STALE_S);
  const since = state.readAt ? new Date(state.readAt).toISOString() : "this isolate's start";
  return { .../** @type {Omit<Settings, "stale" | "errors">} */ (state.snapshot), stale: stale ? since : null, errors: { ...state.errors } };
}

/** The policy of a request; without it nobody can be told apart. @param {Settings} settings @returns {Policy} */
export function policyOf({ policy }) {
  if (policy) return policy;
  throw new HttpError(503, "config_unavailable", "The gateway cannot read its policy; its log and GET /admin/status say why.", {
    headers: { "retry-after": String(RETRY_S) },
  });
}

/** Seconds since the last good reading; undefined where there is nothing to read. @param {Record<string, any>} env */
export function configAge(env) {
  return env.CONFIG && state.readAt ? (Date.now() - state.readAt) / 1000 : undefined;
}

/** @param {unknown} value @param {number} fallback */
function seconds(value, fallback) {
  const number = Number(value ?? fallback);
  return number >= 0 ? number : fallback;
}

/**
 * Reads both documents and takes over what is good.
 * @param {Record<string, any>} env
 * @param {number} [limitMs]
 */
async function refresh(env, limitMs) {
  state.triedAt = Date.now();
  /** @type {Map<string, string | null>} */
  let texts = new Map();
  try {
    if (env.CONFIG) texts = await within(env.CONFIG.get(["catalog", "policy"], "text"), limitMs);
  } catch (error) {
    failed("kv", `KV cannot be read: ${/** @type {Error} */ (error)?.message}`);
    if (!state.snapshot) takeOver(null, unknownPolicy);
    return;
  }
  delete state.errors.kv;
  const catalog = judged("catalog", texts.get("catalog") ?? null, (text) => (text === null ? bundled : readCatalog(JSON.parse(text))));
  const policy = judged("policy", texts.get("policy") ?? null, (text) => (text === null ? declared : readPolicyText(text, env)));
  takeOver(catalog ?? null, policy ?? (state.snapshot ? null : unknownPolicy));
  if (Object.keys(state.errors).length === 0) state.readAt = Date.now();
}

/** @param {Catalog | null} catalog @param {Policy | null} policy */
function takeOver(catalog, policy) {
  if (state.snapshot && !catalog && !policy) return;
  state.catalog = catalog ?? state.catalog;
  state.policy = policy ?? state.policy;
  state.snapshot = snapshot(state.catalog, state.policy);
}

/**
 * The value of a document's text where it is new and good. A bad one is told once, not at every reading.
 * @template T
 * @param {"catalog" | "policy"} name
 * @param {string | null} text null: KV has none
 * @param {(text: string | null) => T} read
 * @returns {T | undefined}
 */
function judged(name, text, read) {
  const replaced = state.replaced[name];
  if (state.judged[name] === text || (replaced && replaced.text === text && Date.now() < replaced.until)) return undefined;
  state.judged[name] = text;
  try {
    const value = read(text);
    delete state.errors[name];
    return value;
  } catch (error) {
    failed(name, String(/** @type {Error} */ (error)?.message ?? error));
    return undefined;
  }
}

/** @param {string} name @param {string} message */
function failed(name, message) {
  state.errors[name] = message;
  metrics.count("pennyroute_config_errors_total", { document: name });
  console.error(JSON.stringify({ event: "config_refused", document: name, message }));
}

/** @param {string} text @param {Record<string, any>} env */
export function readPolicyText(text, env) {
  return readPolicyDocument(JSON.parse(text), { ledger: Boolean(env.LEDGER) });
}

/** @template T @param {Promise<T>} promise @param {number} [ms] @returns {Promise<T>} */
async function within(promise, ms) {
  if (ms === undefined) return promise;
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ms / 1000} s`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/**
 * Takes over a document that was just written to KV, so that this isolate serves it from now on.
 * @param {"catalog" | "policy"} name
 * @param {string} text
 * @param {Catalog | Policy} value
 */
export function adopt(name, text, value) {
  // Elsewhere KV goes on telling the old text for up to a minute.
  state.replaced[name] = { text: state.judged[name], until: Date.now() + REPLACED_MS };
  state.judged[name] = text;
  delete state.errors[name];
  if (name === "catalog") state.catalog = /** @type {Catalog} */ (value);
  else state.policy = /** @type {Policy} */ (value);
  state.snapshot = snapshot(state.catalog, state.policy);
}

/** @param {CatalogModel} model */
export function isRoutable(model) {
  return !model.unroutable && Boolean(model.ability) && Boolean(model.cost);
}
