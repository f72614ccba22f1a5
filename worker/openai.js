/** The shapes of OpenAI's API: what a client may send, and how the answers look. */

import { HttpError } from "./errors.js";

/** @typedef {import("pennyroute").RouteRequest} RouteRequest */
/** @typedef {import("pennyroute").CatalogModel} CatalogModel */

/** Policy fields, as they may stand in the body's `pennyroute` object or as `x-pennyroute-*` headers. */
const KNOBS = /** @type {const} */ ({
  quality: number,
  floor: number,
  cap_usd: number,
  allow: globs,
  deny: globs,
  private: flag,
  session: (/** @type {string} */ text) => text,
  group: (/** @type {string} */ text) => text,
  dry_run: flag,
  receipt: flag,
});

/** How much of a body that is too large is read before it is refused, as a multiple of the limit, and for how long. */
const DRAINED = 8;
const DRAINED_MS = 30_000;
/** Levels of nesting in a body. JSON is read at any depth, but written only to some thousands. */
const DEEPEST = 500;

/** Fields of a chat body that bear on routing; the others only pass through. */
const ROUTED = /** @type {const} */ (["messages", "tools", "response_format", "max_tokens", "max_completion_tokens", "model"]);

/**
 * The body as a JSON object, read up to a limit.
 * @param {Request} request
 * @param {number} limit bytes
 * @returns {Promise<Record<string, any>>}
 */
export async function readBody(request, limit) {
  return (await readJson(request, limit)).json;
}

/**
 * The same with its text.
 * @param {Request} request
 * @param {number} limit bytes
 * @returns {Promise<{text: string, json: Record<string, any>}>}
 */
export async function readJson(request, limit) {
  /** @type {Uint8Array[]} */
  let chunks = [];
  let size = 0;
  const ends = Date.now() + DRAINED_MS;
  for await (const chunk of request.body ?? []) {
    size += chunk.byteLength;
    if (size <= limit) chunks.push(chunk);
    // What is too large is read on for a while: a client that is still sending would find its connection cut
    // instead of the answer.
    else if (size > DRAINED * limit || Date.now() > ends) break;
    else chunks = [];
  }
  if (size > limit) throw new HttpError(413, "body_too_large", `The body exceeds ${limit} bytes.`);
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let text;
  let json;
  try {
    text = chunks.map((chunk) => decoder.decode(chunk, { stream: true })).join("") + decoder.decode();
    if (depth(text) > DEEPEST) throw new HttpError(400, "bad_request", `The body is nested deeper than ${DEEPEST} levels.`);
    json = JSON.parse(text);
  } catch (error) {
    if (error instanceof HttpError) throw error;
    throw new HttpError(400, "bad_request", `The body is not JSON: ${error instanceof SyntaxError ? error.message : "it cannot be read as UTF-8"}.`);
  }
  if (json === null || typeof json !== "object" || Array.isArray(json)) {
    throw new HttpError(400, "bad_request", "The body is not a JSON object.");
  }
  return { text, json };
}

/** How deep a JSON text is nested. @param {string} text */
function depth(text) {
  let now = 0;
  let most = 0;
  for (let i = 0; i < text.length; i++) {
    const char = text[i];
    if (char === '"') i = closing(text, i);
    else if (char === "[" || char === "{") most = Math.max(most, ++now);
    else if (char === "]" || char === "}") now--;
  }
  return most;
}

/** Where a string of a JSON text ends. Found by `indexOf`, since most of a body is in strings. @param {string} text @param {number} start */
function closing(text, start) {
  for (let end = text.indexOf('"', start + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let escapes = 0;
    while (text[end - 1 - escapes] === "\\") escapes++;
    if (escapes % 2 === 0) return end;
  }
  return text.length;
}

/**
 * The policy that came with a request; the body's field wins over the header. Unknown names are
 * refused, since a misspelt cap must not be ignored.
 * @param {Record<string, any>} body
 * @param {Headers} headers
 * @returns {{knobs: Partial<RouteRequest>, session?: string, group?: string, dryRun: boolean, receipt: boolean}}
 */
export function readPolicy(body, headers) {
  /** @type {Record<string, any>} */
  const given = {};
  for (const [name, value] of headers) {
    if (!name.startsWith("x-pennyroute-")) continue;
    const knob = name.slice("x-pennyroute-".length).replaceAll("-", "_");
    if (!Object.hasOwn(KNOBS, knob)) throw unknownKnob(name);
    given[knob] = KNOBS[/** @type {keyof typeof KNOBS} */ (knob)](value, name);
  }
  const ours = body.pennyroute ?? {};
  if (typeof ours !== "object" || Array.isArray(ours)) throw badField("pennyroute", "is not an object");
  for (const [knob, value] of Object.entries(ours)) {
    if (!Object.hasOwn(KNOBS, knob)) throw unknownKnob(`pennyroute.${knob}`);
    if (value !== null) given[knob] = value;
  }
  const { session, group, dry_run: dryRun = false, receipt = false, ...knobs } = given;
  if (session !== undefined && (typeof session !== "string" || session === "" || session.length > 256)) {
    throw badField("pennyroute.session", "is not a text of 1 to 256 characters");
  }
  if (group !== undefined && typeof group !== "string") throw badField("pennyroute.group", "is not a text");
  if (typeof dryRun !== "boolean") throw badField("pennyroute.dry_run", "is not true or false");
  if (typeof receipt !== "boolean") throw badField("pennyroute.receipt", "is not true or false");
  return { knobs, session, group, dryRun, receipt };
}

/** @param {string} text @param {string} name */
function number(text, name) {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value)) throw badField(name, `${JSON.stringify(text)} is not a number`);
  return value;
}

/** @param {string} text @param {string} name */
function flag(text, name) {
  if (text !== "true" && text !== "false") throw badField(name, `${JSON.stringify(text)} is not true or false`);
  return text === "true";
}

/** @param {string} text */
function globs(text) {
  return text.split(",").map((glob) => glob.trim()).filter(Boolean);
}

/** @param {string} name */
function unknownKnob(name) {
  return badField(name, `is not known; known are ${Object.keys(KNOBS).join(", ")}`);
}

/** @param {string} param @param {string} what */
export function badField(param, what) {
  return new HttpError(400, "bad_request", `${param}: ${what}.`, { param });
}

/**
 * What of a chat body is routed on. Pennyroute itself checks the fields that it reads; these are the
 * ones that only a gateway needs.
 * @param {Record<string, any>} body
 * @returns {RouteRequest}
 */
export function chatRequest(body) {
  if (typeof body.model !== "string") throw badField("model", 'is missing; "auto" asks for routing');
  if (!Array.isArray(body.messages) || body.messages.length === 0) throw badField("messages", "is not a list of at least one message");
  if (body.stream !== undefined && body.stream !== null && typeof body.stream !== "boolean") throw badField("stream", "is not true or false");
  const routed = Object.fromEntries(ROUTED.flatMap((name) => (body[name] === undefined || body[name] === null ? [] : [[name, body[name]]])));
  // `functions` is the older spelling of `tools`, which some clients still send.
  if (!routed.tools && Array.isArray(body.functions)) routed.tools = body.functions;
  return routed;
}

/** Whether a request leaves the choice to us. @param {unknown} model */
export function isAuto(model) {
  return model === undefined || model === null || model === "auto" || (typeof model === "string" && model.startsWith("auto:"));
}

/** @param {string} model */
export function modelNotFound(model) {
  return new HttpError(404, "model_not_found", `The model ${JSON.stringify(model)} is not served here; GET /v1/models lists those that are.`, {
    param: "model",
  });
}

/** `GET /v1/models`. @param {Iterable<CatalogModel>} models */
export function modelList(models) {
  return { object: "list", data: [modelEntry("auto", "pennyroute"), ...[...models].map((model) => modelEntry(model.id, model.provider, model.released))] };
}

/**
 * @param {string} id
 * @param {string} owner
 * @param {unknown} [released]
 */
export function modelEntry(id, owner, released) {
  const created = typeof released === "string" ? Date.parse(released) / 1000 : Number.NaN;
  return { id, object: "model", created: Number.isFinite(created) ? created : 0, owned_by: owner };
}
