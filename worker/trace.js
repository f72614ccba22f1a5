/** W3C trace context: the trace of a request, from its client to the provider. */

import { hex } from "./hex.js";

const TRACEPARENT = /^(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(?:-.*)?$/;

/**
 * The trace that a request belongs to: the client's where it sent a valid `traceparent`, else a new one.
 * @param {Request} request
 * @returns {{id: string, traceparent: string}} its id, and the header for calls made on its behalf
 */
export function traceOf(request) {
  const given = request.headers.get("traceparent") ?? "";
  const [, id = random(16), flags = "00"] = TRACEPARENT.exec(given) ?? [];
  return { id, traceparent: `00-${id}-${random(8)}-${flags}` };
}

/** @param {number} bytes */
function random(bytes) {
  return hex(crypto.getRandomValues(new Uint8Array(bytes)));
}
