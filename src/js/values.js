// Values from outside, on their way into wasm: what may pass, in which form, and what errors become.

import { PennyrouteError } from "./error.js";

/** Deepest nesting of a value that is read whole; one that contains itself would exhaust the wasm stack. */
const MAX_DEPTH = 64;

/** Fields of a request that may as well be null as absent; wasm knows that of the others. */
const LISTS = new Set(["allow", "deny", "unhealthy", "warm", "reuse", "surcharges", "workloads"]);

/** A view of the bytes of a buffer or a view; undefined for anything else. */
export function asBytes(value) {
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  // By tag, because a buffer may come from another realm.
  if (Object.prototype.toString.call(value) === "[object ArrayBuffer]") return new Uint8Array(value);
  return undefined;
}

export function asRequest(request) {
  if (typeof request === "string") return { prompt: request };
  if (request === null || typeof request !== "object") return request;
  checkDepth(request.tools, "bad_request", "request field `tools`");
  // A field that is undefined is a field that is absent.
  return Object.fromEntries(Object.entries(request).filter(([name, value]) => value !== undefined && !(value === null && LISTS.has(name))));
}

export function asNumber(value, place) {
  if (typeof value !== "number") throw new PennyrouteError("bad_request", `${place}: must be a number`);
  return value;
}

/** Graded outcomes as the columns that wasm fits: requests that name their model, grades, output tokens. */
export function asColumns(outcomes) {
  const column = (field, convert) =>
    Float64Array.from(outcomes, (row, i) => asNumber(convert(row?.[field]), `outcomes[${i}].${field}`));
  const correct = column("correct", (value) => (typeof value === "boolean" ? Number(value) : value));
  const output_tokens = column("output_tokens", (value) => value ?? NaN); // NaN: not counted
  const requests = outcomes.map(({ prompt, messages, model }) => asRequest({ prompt, messages, model }));
  return [requests, correct, output_tokens];
}

export function checkDepth(value, code, place, depth = 0) {
  if (depth > MAX_DEPTH) throw new PennyrouteError(code, `${place}: is nested too deeply, or contains itself`);
  if (value === null || typeof value !== "object") return;
  for (const inner of Object.values(value)) {
    if (inner !== null && typeof inner === "object") checkDepth(inner, code, place, depth + 1);
  }
}

/** Errors that Pennyroute means come through as they are; anything else is a defect of its own. */
export function guard(call, code = "internal") {
  try {
    return call();
  } catch (error) {
    throw asPennyrouteError(error, code);
  }
}

export function asPennyrouteError(error, code) {
  if (error instanceof PennyrouteError) return error;
  return new PennyrouteError(code, String(error?.message ?? error), { cause: error });
}

/** An error about the n-th request of a chunk, as one about that of the whole batch. */
export function atRequest(error, from) {
  if (!(error instanceof PennyrouteError)) return error;
  const message = error.message.replace(/requests\[(\d+)\]/, (_, i) => `requests[${from + Number(i)}]`);
  return new PennyrouteError(error.code, message, { cause: error });
}
