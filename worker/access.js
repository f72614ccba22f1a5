/** Who may call: origins of web pages (CORS) and the keys of clients. Closed unless configured. */

import { HttpError } from "./errors.js";
import { hex } from "./hex.js";
import { keysOf } from "./policy.js";
import { RECEIPT_HEADERS } from "./receipts.js";

/**
 * Comma-separated text, or a JSON array from wrangler's `vars`, as a list.
 * @param {unknown} value
 * @returns {string[]}
 */
export function list(value) {
  const items = Array.isArray(value) ? value : String(value ?? "").split(",");
  return items.map((item) => String(item).trim()).filter(Boolean);
}

/**
 * Refuses a request that a page of a foreign origin sent. Not sending CORS headers would only hide
 * the answer from that page; the call itself would still be made and paid for.
 * @param {Request} request
 * @param {string[]} allowed origins, or `*`
 */
export function checkOrigin(request, allowed) {
  const origin = request.headers.get("origin");
  if (origin === null || origin === new URL(request.url).origin || isAllowed(origin, allowed)) return;
  throw new HttpError(403, "origin_not_allowed", `Pages of ${origin} may not call this gateway; its owner can add the origin to CORS_ORIGINS.`);
}

/** @param {string} origin @param {string[]} allowed */
function isAllowed(origin, allowed) {
  return allowed.includes("*") || allowed.includes(origin);
}

/**
 * Adds the CORS headers for an allowed origin.
 * @param {Request} request
 * @param {Headers} headers of the answer
 * @param {string[]} allowed
 */
export function addCors(request, headers, allowed) {
  const origin = request.headers.get("origin");
  headers.append("vary", "Origin");
  if (origin === null || !isAllowed(origin, allowed)) return;
  headers.set("access-control-allow-origin", allowed.includes("*") ? "*" : origin);
  headers.set("access-control-expose-headers", RECEIPT_HEADERS.join(", "));
}

/**
 * Answers a preflight. The client names the headers that it will send (OpenAI's SDK sends about
 * ten of its own); an allowed origin may send any.
 * @param {Request} request
 * @param {string} methods
 */
export function preflight(request, methods) {
  const asked = request.headers.get("access-control-request-headers");
  return new Response(null, {
    status: 204,
    headers: {
      allow: `${methods}, OPTIONS`,
      "access-control-allow-methods": methods,
      "access-control-allow-headers": asked ?? "authorization, content-type",
      "access-control-max-age": "86400",
    },
  });
}

/**
 * Who calls. Keys stand in the policy as SHA-256 hashes, so that it can be read without harm; where it
 * holds none, the gateway is open and everyone is the tenant `default`.
 * @param {Request} request
 * @param {import("./policy.js").Policy} policy
 * @returns {Promise<import("./policy.js").Caller>}
 */
export async function identify(request, policy) {
  const keys = keysOf(policy);
  if (keys.length === 0) return { tenant: "default", key: null };
  const encoder = new TextEncoder();
  const digest = encoder.encode(hex(new Uint8Array(await sha256(bearer(request) ?? request.headers.get("x-api-key")?.trim() ?? ""))));
  let caller;
  // Digests have one length, and every key is compared: the time says nothing about the keys.
  for (const { tenant, name, key } of keys) {
    if (crypto.subtle.timingSafeEqual(encoder.encode(key.sha256), digest)) caller = { tenant, key: name };
  }
  if (caller) return caller;
  throw new HttpError(401, "invalid_api_key", "A client key of this gateway is needed: Authorization: Bearer KEY, or x-api-key: KEY.", {
    headers: { "www-authenticate": "Bearer" },
  });
}

/**
 * Guards a route of the owner's: with none of its secrets set, it does not exist.
 * @param {Request} request
 * @param {unknown[]} secrets any of which opens it
 */
export async function checkOwner(request, secrets) {
  const set = secrets.filter((secret) => typeof secret === "string" && secret !== "");
  if (set.length === 0) throw notFound(new URL(request.url).pathname);
  const digest = await sha256(bearer(request) ?? "");
  let known = false;
  for (const secret of set) known = crypto.subtle.timingSafeEqual(await sha256(String(secret)), digest) || known;
  if (!known) {
    throw new HttpError(401, "invalid_admin_key", "The owner's key is needed: Authorization: Bearer KEY.", { headers: { "www-authenticate": "Bearer" } });
  }
}

/** @param {string} pathname */
export function notFound(pathname) {
  return new HttpError(404, "not_found", `There is no ${pathname} here.`);
}

/** @param {Request} request */
function bearer(request) {
  return /^Bearer\s+(\S+)\s*$/i.exec(request.headers.get("authorization") ?? "")?.[1];
}

/** @param {string} text */
function sha256(text) {
  return crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
}
