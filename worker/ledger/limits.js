/**
 * The limits that one call falls under, and the most that it may take of each.
 *
 * Money is counted in whole nanodollars (1e-9 USD) and always rounded up, so that sums are exact and
 * never too low.
 *
 * | unit | counts | window |
 * |---|---|---|
 * | `nanodollars` | what calls cost | a UTC day or month |
 * | `calls` | calls under way | none: a call gives its slot back |
 * | `requests`, `tokens` | calls begun, and their tokens | any 60 seconds |
 */

import { matches } from "../../src/js/globs.js";

/**
 * @typedef {{unit: "nanodollars" | "calls" | "requests" | "tokens", window: "day" | "month" | "minute" | null, max: number}} Limit
 * @typedef {{nanodollars: number, tokens: number}} Reservation the most that a call may use
 * @typedef {import("pennyroute").CatalogModel} CatalogModel
 */

/** Tokens that an image counts at most; what it really counts is known only to its provider. */
const IMAGE_TOKENS = 40_000;
/** Of a model whose context the catalog does not know. */
const LARGEST_CONTEXT = 2_000_000;
/** Tokens that providers add around the text of a request (templates, instructions for tools and JSON), at most. */
const TEMPLATE_TOKENS = 1_024;

/** @param {number} usd */
export function nanodollars(usd) {
  // The nudge keeps 0.1 + 0.2 from costing a nanodollar more than 0.3.
  return Math.max(0, Math.ceil(usd * 1e9 - 1e-6));
}

/**
 * The limits on a call of `model` with a client's key, by name.
 * @param {{budget_usd?: Record<string, number>, models?: Record<string, any>, keys?: Record<string, any>}} tenant of the policy
 * @param {string | undefined} key the client key's name
 * @param {string} model a catalog id
 * @returns {Record<string, Limit>}
 */
export function limitsOf(tenant, key, model) {
  /** @type {Record<string, Limit>} */
  const limits = {};
  const add = (/** @type {string} */ scope, /** @type {any} */ { budget_usd = {}, concurrent, requests_per_minute, tokens_per_minute }) => {
    for (const window of /** @type {const} */ (["day", "month"])) {
      if (budget_usd[window] !== undefined) limits[`${scope}usd/${window}`] = { unit: "nanodollars", window, max: Math.floor(budget_usd[window] * 1e9) };
    }
    if (concurrent !== undefined) limits[`${scope}calls`] = { unit: "calls", window: null, max: concurrent };
    if (requests_per_minute !== undefined) limits[`${scope}requests/minute`] = { unit: "requests", window: "minute", max: requests_per_minute };
    if (tokens_per_minute !== undefined) limits[`${scope}tokens/minute`] = { unit: "tokens", window: "minute", max: tokens_per_minute };
  };
  add("", { budget_usd: tenant.budget_usd });
  for (const [glob, limit] of Object.entries(tenant.models ?? {})) if (matches(glob, model)) add(`model ${glob}: `, limit);
  const own = key === undefined ? undefined : tenant.keys?.[key];
  if (own) add(`key ${key}: `, own);
  return limits;
}

/**
 * What a call takes of each limit.
 * @param {Record<string, Limit>} limits
 * @param {Reservation} reserved
 * @returns {Record<string, number>}
 */
export function amountsOf(limits, reserved) {
  const amount = { ...reserved, calls: 1, requests: 1 };
  return Object.fromEntries(Object.entries(limits).map(([name, { unit }]) => [name, amount[unit]]));
}

/**
 * The most that a call can come to: a token is at least a byte of the request, output ends at the
 * limit that is sent along, and the dearest of the model's rates holds.
 * @param {CatalogModel} model
 * @param {Record<string, any>} body as sent
 * @param {number} mostOutput tokens of one choice
 * @returns {Reservation}
 */
export function reserve(model, body, mostOutput) {
  const context = model.limit?.context ?? LARGEST_CONTEXT;
  const { bound, text } = inputBound(body);
  const input = Math.min(bound, context);
  const output = mostOutput * (Number.isSafeInteger(body.n) && body.n > 1 ? body.n : 1);
  const rate = dearest(model.cost);
  const written = text.includes('"cache_control"') ? 1 + writeExtra(text) : 1;
  return { tokens: input + output, nanodollars: nanodollars((input * rate.input * written + output * rate.output) / 1e6) };
}

/**
 * What writing to a prompt cache costs beyond reading afresh, as a share of the input price: Anthropic's quarter, or
 * as much again where the request has an hour's mark. https://platform.claude.com/docs/en/build-with-claude/prompt-caching
 * @param {string} text of the request's body
 */
export function writeExtra(text) {
  return text.includes('"ttl":"1h"') ? 1 : 0.25;
}

/** The most tokens that a body can come to, and its text without images. @param {Record<string, any>} body */
function inputBound(body) {
  let images = 0;
  let unknown = false;
  const counted = (/** @type {any} */ part) => {
    if (isImage(part)) {
      images += 1;
      return { ...part, image_url: null };
    }
    // A file, a recording, a film: only its provider knows how much it is.
    unknown ||= part?.type !== "text" && part?.type !== "refusal";
    return part;
  };
  const messages = body.messages.map((/** @type {any} */ message) =>
    Array.isArray(message?.content) ? { ...message, content: message.content.map(counted) } : message,
  );
  const text = JSON.stringify({ ...body, messages });
  // Escapes and field names only make the bound wider; a UTF-16 unit is at most three bytes.
  const bytes = /^[\x00-\x7f]*$/.test(text) ? text.length : new TextEncoder().encode(text).length;
  return { bound: unknown ? Infinity : bytes + images * IMAGE_TOKENS + TEMPLATE_TOKENS, text };
}

/** @param {any} part of a message's content */
function isImage(part) {
  const url = part?.type === "image_url" ? (part.image_url?.url ?? part.image_url) : undefined;
  return typeof url === "string" && /^(https?:|data:image\/)/i.test(url);
}

/** The highest rates anywhere in a price list: tiers, hours and dates included. @param {any} cost @returns {{input: number, output: number}} */
function dearest(cost) {
  const all = [cost, ...(cost.tiers ?? []), ...(cost.hours ?? []), ...(cost.changes ?? [])];
  return { input: Math.max(...all.map(({ input }) => input)), output: Math.max(...all.map(({ output }) => output)) };
}

/** The longest that a call may last, from its reservation to its last byte. @param {Record<string, any>} env */
export function callMs(env) {
  return Number(env.CALL_MS ?? 600_000);
}
