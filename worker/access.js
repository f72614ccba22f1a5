/** Who may call: origins of web pages (CORS) and the keys of clients. Closed unless configured. */

import { HttpError } from "./errors.js";
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
 * Refuses a request without one of the client keys; with no key configured, the gateway is open.
 * @param {Request} request
 * @param {string[]} keys
 */
export async function checkClient(request, keys) {
  if (keys.length === 0) return;
  const digest = await sha256(clientKey(request));
  let known = false;
  // Digests have one length, and every key is compared: the time says nothing about the keys.
  for (const key of keys) known = crypto.subtle.timingSafeEqual(await sha256(key), digest) || known;
  if (!known) {
    throw new HttpError(401, "invalid_api_key", "A client key of this gateway is needed: Authorization: Bearer KEY.", {
      headers: { "www-authenticate": "Bearer" },
    });
  }
}

/** The key that a client sent, or none. @param {Request} request */
export function clientKey(request) {
  return /^Bearer\s+(\S+)\s*$/i.exec(request.headers.get("authorization") ?? "")?.[1] ?? "";
}

/** @param {string} text */
function sha256(text) {
  return crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
}
