/**
 * The owner's policy: who may call, within what, and how requests are routed. A document of data;
 * `worker/README.md` describes its fields. Here it is validated, and combined with what a request asks
 * for: a request narrows the owner's policy and never widens it.
 */

import { HttpError } from "./errors.js";
import { matches } from "../src/js/globs.js";

/** @typedef {import("pennyroute").CatalogModel} CatalogModel */
/** @typedef {{quality?: number, floor?: number, cap_usd?: number, allow?: string[], deny?: string[], private?: boolean}} Knobs */
/** @typedef {{day?: number, month?: number}} Budget */
/** @typedef {{concurrent?: number, requests_per_minute?: number, tokens_per_minute?: number}} Limits */
/** @typedef {{sha256: string, budget_usd?: Budget, requests_per_minute?: number, concurrent?: number, route?: Knobs}} Key */
/**
 * @typedef {object} Tenant
 * @property {Budget} [budget_usd]
 * @property {Record<string, Limits>} [models] by glob over catalog ids
 * @property {number} [max_output_tokens]
 * @property {Knobs} [route]
 * @property {Record<string, Knobs>} [groups]
 * @property {"refuse" | "degrade"} [ledger_down]
 * @property {Record<string, Key>} [keys]
 */
/** @typedef {{format: number, version: string | null, tenants: Record<string, Tenant>}} Policy */
/** Who calls: names of the policy; no key where the gateway is open. @typedef {{tenant: string, key: string | null}} Caller */
/** @typedef {(value: any, path: string) => void} Check */

const NEWEST_FORMAT = 1;
const MOST_GLOBS = 100;
const LONGEST_GLOB = 256;

/** Where there is no policy: everyone may call, without limits. @type {Policy} */
export const OPEN = { format: NEWEST_FORMAT, version: null, tenants: { default: {} } };

/** Keys of all tenants. @param {Policy} policy @returns {{tenant: string, name: string, key: Key}[]} */
export function keysOf(policy) {
  return Object.entries(policy.tenants).flatMap(([tenant, { keys = {} }]) => Object.entries(keys).map(([name, key]) => ({ tenant, name, key })));
}

// ------------------------------------------------------------------------------------------------
// Validation

/** @param {string} path @param {string} what @returns {never} */
function refuse(path, what) {
  throw new HttpError(400, "bad_policy", `${path}: ${what}.`, { param: path });
}

/** @param {string} path @param {string} name */
const inside = (path, name) => (path === "" ? name : `${path}.${name}`);

/** An object of known fields; those with a `!` must be there. @param {Record<string, Check>} fields @returns {Check} */
function record(fields) {
  const checks = new Map(Object.entries(fields).map(([name, check]) => [name.replace("!", ""), check]));
  const required = Object.keys(fields).filter((name) => name.endsWith("!")).map((name) => name.slice(0, -1));
  return (value, path) => {
    object(value, path);
    for (const name of required) if (value[name] === undefined) refuse(inside(path, name), "is missing");
    for (const [name, inner] of Object.entries(value)) {
      const check = checks.get(name) ?? refuse(inside(path, name), `is not known; known are ${[...checks.keys()].join(", ")}`);
      check(inner, inside(path, name));
    }
  };
}

/** An object of entries by free names. @param {Check} check @param {RegExp} names @returns {Check} */
function entries(check, names) {
  return (value, path) => {
    object(value, path);
    for (const [name, inner] of Object.entries(value)) {
      if (!names.test(name)) refuse(path, `${JSON.stringify(name.slice(0, 80))} is not a name that ${names.source} matches`);
      check(inner, inside(path, name));
    }
  };
}

/** @type {Check} */
function object(value, path) {
  if (value === null || typeof value !== "object" || Array.isArray(value)) refuse(path || "policy", "is not an object");
}

/** @param {number} most @param {number} [least] @returns {Check} */
function number(most, least = 0) {
  return (value, path) => {
    if (typeof value !== "number" || !(value >= least && value <= most)) {
      refuse(path, `${JSON.stringify(value)} is not a number ${most < 1e12 ? `from ${least} to ${most}` : `of at least ${least}`}`);
    }
  };
}

/** @type {Check} */
function count(value, path) {
  if (!Number.isSafeInteger(value) || value < 1) refuse(path, `${JSON.stringify(value)} is not a whole number of at least 1`);
}

/** @type {Check} */
function flag(value, path) {
  if (typeof value !== "boolean") refuse(path, `${JSON.stringify(value)} is not true or false`);
}

/** @param {RegExp} pattern @param {string} what @returns {Check} */
function text(pattern, what) {
  return (value, path) => {
    if (typeof value !== "string" || !pattern.test(value)) refuse(path, `is not ${what}`);
  };
}

/** @type {Check} */
function globs(value, path) {
  if (!isTexts(value)) refuse(path, "is not a list of globs such as \"openai/*\"");
  if (value.length === 0 && path.endsWith("allow")) refuse(path, "is empty, which allows no model at all");
}

const money = number(Number.MAX_VALUE);

/** @type {Check} */
function route(value, path) {
  record({ quality: number(1), floor: number(1), cap_usd: money, allow: globs, deny: globs, private: flag })(value, path);
  if (value.allow && deniesAll(value.allow, value.deny ?? [])) {
    refuse(path, `allow [${value.allow}] and deny [${value.deny}] contradict each other: all that is allowed is denied`);
  }
}

const NAME = /^[\w.@-]{1,64}$/;
const budget = record({ day: money, month: money });
const limits = record({ concurrent: count, requests_per_minute: count, tokens_per_minute: count });
const key = record({
  "sha256!": text(/^[0-9a-f]{64}$/, "a SHA-256 in 64 lower-case hex digits"),
  budget_usd: budget,
  requests_per_minute: count,
  concurrent: count,
  route,
});
const tenant = record({
  budget_usd: budget,
  models: entries(limits, /^[\x21-\x7e]{1,256}$/),
  max_output_tokens: count,
  route,
  groups: entries(route, NAME),
  ledger_down: text(/^(refuse|degrade)$/, "`refuse` or `degrade`"),
  keys: entries(key, NAME),
});
const document = record({
  "format!": count,
  "version!": text(/^[\x21-\x7e]{1,64}$/, "a text of 1 to 64 visible ASCII characters"),
  "tenants!": entries(tenant, NAME),
});

/**
 * A policy, checked; throws HttpError 400 `bad_policy` with the path of what is wrong.
 * @param {unknown} value
 * @param {{ledger: boolean}} host whether there is a ledger to keep limits
 * @returns {Policy}
 */
export function readPolicyDocument(value, { ledger }) {
  object(value, "");
  const { format } = /** @type {any} */ (value);
  if (Number.isSafeInteger(format) && format > NEWEST_FORMAT) {
    refuse("format", `${format} is newer than ${NEWEST_FORMAT}, the newest that this version reads`);
  }
  document(value, "");
  const policy = /** @type {Policy} */ (value);
  const keys = keysOf(policy);
  const places = new Map();
  for (const { tenant, name, key } of keys) {
    const path = `tenants.${tenant}.keys.${name}.sha256`;
    if (places.has(key.sha256)) refuse(path, `is the same key as ${places.get(key.sha256)}`);
    places.set(key.sha256, path);
  }
  if (keys.length === 0 && !Object.hasOwn(policy.tenants, "default")) {
    refuse("tenants", "hold no key and no tenant `default`, so nobody could call");
  }
  for (const [name, each] of Object.entries(policy.tenants)) {
    const limit = firstLimit(each);
    if (limit && !ledger && each.ledger_down !== "degrade") {
      refuse(`tenants.${name}.${limit}`, 'cannot be kept: no Durable Object is bound as LEDGER (and `ledger_down` is not "degrade")');
    }
  }
  return policy;
}

/** The path of a limit that needs a ledger. @param {Tenant} tenant @returns {string | undefined} */
function firstLimit({ budget_usd = {}, models = {}, keys = {} }) {
  const any = (/** @type {object} */ limits) => Object.keys(limits).length > 0;
  if (any(budget_usd)) return "budget_usd";
  const glob = Object.keys(models).find((name) => any(models[name]));
  if (glob) return `models.${glob}`;
  const name = Object.keys(keys).find((name) => any(keys[name].budget_usd ?? {}) || keys[name].requests_per_minute || keys[name].concurrent);
  return name && `keys.${name}`;
}

/**
 * What an owner should know of a policy that is valid: limits that nothing keeps, keys that no model
 * is left for in this catalog.
 * @param {Policy} policy
 * @param {{ledger: boolean, models: Map<string, CatalogModel>}} host
 * @returns {string[]}
 */
export function policyWarnings(policy, { ledger, models }) {
  const warnings = [];
  for (const [name, tenant] of Object.entries(policy.tenants)) {
    const limit = ledger ? undefined : firstLimit(tenant);
    if (limit) warnings.push(`tenants.${name}.${limit}: not kept, because no Durable Object is bound as LEDGER.`);
    for (const key of [null, ...Object.keys(tenant.keys ?? {})]) {
      for (const group of [undefined, ...Object.keys(tenant.groups ?? {})]) {
        if (permitted(policy, { tenant: name, key }, models, group).length > 0) continue;
        const place = [`tenants.${name}`, key && `keys.${key}`, group && `groups.${group}`].filter(Boolean).join(", ");
        warnings.push(`${place}: no model of the catalog is left.`);
      }
    }
  }
  return warnings;
}

// ------------------------------------------------------------------------------------------------
// Resolution

/**
 * What a request is routed under. A field of the wrong type is passed on as it is, for Pennyroute to
 * refuse in its own words.
 * @param {Policy} policy
 * @param {Caller} caller
 * @param {{knobs: Record<string, any>, group?: string, model?: unknown}} asked
 * @param {Map<string, CatalogModel>} models
 * @returns {Record<string, any>}
 */
export function resolve(policy, caller, { knobs, group, model }, models) {
  checkLength(knobs);
  checkContradictions(knobs, models);
  const owner = ownerRoutes(policy, caller, group);
  const all = [...owner, knobs];
  const { allow, deny, ...rest } = knobs;
  /** @type {Record<string, any>} */
  const resolved = { ...rest };
  // A choice rather than a limit: the request's own, `auto:QUALITY` included, else the nearest of the owner's.
  const chosen = knobs.quality ?? (typeof model === "string" && model.startsWith("auto:") ? undefined : owner.findLast((r) => r.quality !== undefined)?.quality);
  if (chosen !== undefined) resolved.quality = chosen;
  narrow(resolved, "cap_usd", all, Math.min);
  narrow(resolved, "floor", all, Math.max);
  if (owner.some((route) => route.private) && typeof (knobs.private ?? true) === "boolean") resolved.private = true;
  if (allow !== undefined) resolved.allow = allow;
  const denied = [...owner.flatMap((route) => route.deny ?? []), ...outside(owner, models)];
  if (deny !== undefined && !isTexts(deny)) resolved.deny = deny;
  else if (deny !== undefined || denied.length > 0) resolved.deny = [...new Set([...denied, ...(deny ?? [])])];
  return resolved;
}

/** By catalog and `allow` lists: the same for every request of a key. @type {WeakMap<Map<string, CatalogModel>, Map<string, string[]>>} */
const outsides = new WeakMap();

/**
 * Ids of the models that an owner's `allow` leaves out. Lists of globs have no intersection that is a
 * list of globs, so these are denied by id.
 * @param {Knobs[]} owner
 * @param {Map<string, CatalogModel>} models
 */
function outside(owner, models) {
  const lists = owner.flatMap(({ allow }) => (allow ? [allow] : []));
  if (lists.length === 0) return [];
  const known = outsides.get(models) ?? new Map();
  outsides.set(models, known);
  const key = JSON.stringify(lists);
  if (!known.has(key)) {
    known.set(key, [...models.values()].filter((model) => !lists.every((allow) => permits({ allow }, model))).map(({ id }) => id));
  }
  return /** @type {string[]} */ (known.get(key));
}

/**
 * @param {Record<string, any>} resolved
 * @param {"cap_usd" | "floor"} name
 * @param {Record<string, any>[]} routes the request's last
 * @param {(...values: number[]) => number} strictest
 */
function narrow(resolved, name, routes, strictest) {
  const values = routes.map((route) => route[name]).filter((value) => value !== undefined);
  if (values.length > 0) resolved[name] = values.every((value) => typeof value === "number") ? strictest(...values) : values.at(-1);
}

/** The owner's routes that hold for a caller, widest first. @param {Policy} policy @param {Caller} caller @param {string} [group] */
function ownerRoutes(policy, { tenant: name, key }, group) {
  const tenant = policy.tenants[name];
  if (group !== undefined && !Object.hasOwn(tenant.groups ?? {}, group)) {
    const known = Object.keys(tenant.groups ?? {}).join(", ") || "none";
    throw new HttpError(400, "unknown_group", `group: ${JSON.stringify(group)} is not one of this gateway's groups (${known}).`, { param: "pennyroute.group" });
  }
  const routes = [tenant.route, group === undefined ? undefined : tenant.groups?.[group], key === null ? undefined : tenant.keys?.[key].route];
  return routes.filter((route) => route !== undefined);
}

/** Models that the owner lets a caller use. @param {Policy} policy @param {Caller} caller @param {Map<string, CatalogModel>} models @param {string} [group] */
export function permitted(policy, caller, models, group) {
  const routes = ownerRoutes(policy, caller, group);
  return [...models.values()].filter((model) => routes.every((route) => permits(route, model) && (!route.private || model.private)));
}

/** Whether globs let a model through, by its id or its qualified name, as Pennyroute itself reads them. @param {Knobs} route @param {CatalogModel} model */
function permits({ allow, deny = [] }, model) {
  const qualified = model.id.includes("/") ? model.id : `${model.provider}/${model.id}`;
  const any = (/** @type {string[]} */ globs) => globs.some((glob) => matches(glob, model.id) || matches(glob, qualified));
  return (allow === undefined || any(allow)) && !any(deny);
}

/** Globs are compared with one another and with every model: a few thousand long ones would stop the isolate. @param {Record<string, any>} knobs */
function checkLength(knobs) {
  for (const name of ["allow", "deny"]) {
    const list = knobs[name];
    if (!isTexts(list) || (list.length <= MOST_GLOBS && list.every((glob) => glob.length <= LONGEST_GLOB))) continue;
    throw new HttpError(400, "bad_request", `${name}: holds more than ${MOST_GLOBS} globs, or one of more than ${LONGEST_GLOB} characters.`, { param: name });
  }
}

/**
 * Refuses what no model could ever meet, naming both sides. Limits that merely leave no model of
 * the catalog are a decision without a candidate.
 * @param {Record<string, any>} knobs
 * @param {Map<string, CatalogModel>} models
 */
function checkContradictions({ allow, deny, floor, cap_usd }, models) {
  const contradictory = (/** @type {string} */ what, /** @type {string} */ param) => {
    throw new HttpError(400, "contradictory_policy", `${what}.`, { param });
  };
  if (isTexts(allow) && allow.length === 0) contradictory("allow: is empty, and a model is asked for", "allow");
  if (isTexts(allow) && isTexts(deny) && deniesAll(allow, deny)) {
    contradictory(`allow [${allow.join(", ")}] and deny [${deny.join(", ")}] contradict each other: all that is allowed is denied`, "deny");
  }
  if (typeof floor === "number" && floor > 1) contradictory(`floor ${floor}: no quality is above 1`, "floor");
  const free = (/** @type {CatalogModel} */ { cost }) => cost?.input === 0 && cost.output === 0;
  if (cap_usd === 0 && ![...models.values()].some(free)) contradictory("cap_usd 0: no model of the catalog is free", "cap_usd");
}

/** Whether every glob of `allow` lies within one of `deny`. @param {string[]} allow @param {string[]} deny */
function deniesAll(allow, deny) {
  // A glob that matches another as if it were text matches all that the other does.
  return allow.length > 0 && allow.every((allowed) => deny.some((glob) => matches(glob, allowed)));
}

/** @param {unknown} value @returns {value is string[]} */
function isTexts(value) {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}
