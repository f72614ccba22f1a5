/** What the translations of clients' APIs to chat completions, and back, have in common. */

import { HttpError } from "../errors.js";
import { badField } from "../openai.js";

/**
 * A piece of an answer: of a stream's chunk, or of a whole message, which is one large chunk.
 * @typedef {{kind: "thinking", text: string, signature?: string} | {kind: "redacted", data: string}
 *   | {kind: "text", text: string} | {kind: "refusal", text: string} | CallPiece} Piece
 * @typedef {{kind: "call", call: Call, text: string}} CallPiece `text` is more of the arguments' JSON
 * @typedef {{id: string, name: string}} Call one object per call, the same for all of its pieces
 */

/** @param {unknown} value @param {string} place @returns {string} */
export function text(value, place) {
  if (typeof value !== "string") throw badField(place, "is not a text");
  return value;
}

/** @param {unknown} value @param {string} place @returns {any[]} */
export function list(value, place) {
  if (!Array.isArray(value)) throw badField(place, "is not a list");
  return value;
}

/** @param {unknown} value @param {string} place @returns {Record<string, any>} */
export function object(value, place) {
  if (value === null || typeof value !== "object" || Array.isArray(value)) throw badField(place, "is not an object");
  return value;
}

/**
 * A body without the fields that ask for what the gateway does not do; one that asks is refused.
 * @param {Record<string, any>} body
 * @param {Record<string, string>} refused why, by field
 */
export function without(body, refused) {
  for (const [name, why] of Object.entries(refused)) {
    if (given(body[name])) throw unsupported("parameter", name, why);
  }
  return Object.fromEntries(Object.entries(body).filter(([name]) => !Object.hasOwn(refused, name)));
}

/** Whether a field says anything. @param {unknown} value */
export function given(value) {
  return value !== undefined && value !== null && value !== false && !(Array.isArray(value) && value.length === 0);
}

/**
 * What the API knows and the gateway cannot do, refused rather than left out.
 * @param {string} what `parameter`, `content` or `tool`
 * @param {string} place
 * @param {string} why
 */
export function unsupported(what, place, why) {
  return new HttpError(400, `unsupported_${what}`, `${place}: ${why}.`, { param: place });
}

/** Without the fields that are undefined. @param {Record<string, any>} fields */
export function defined(fields) {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

/** The messages of a chat request, added turn by turn. */
export class Turns {
  /** @type {any[]} */
  #messages = [];
  /** Images and files from tools, which chat takes only from users. @type {any[]} */
  #shown = [];

  /** @param {Record<string, any>} message */
  add(message) {
    this.user([]);
    this.#messages.push(message);
  }

  /** @param {any[]} parts */
  user(parts) {
    const content = contentOf([...this.#shown, ...parts]);
    this.#shown = [];
    if (content !== null) this.#messages.push({ role: "user", content });
  }

  /** The message that was added last, where it is an assistant's. */
  get assistant() {
    const last = this.#messages.at(-1);
    return last?.role === "assistant" && this.#shown.length === 0 ? last : undefined;
  }

  /**
   * What a tool answered. Results must follow their calls without a message between, so what
   * cannot stand in them waits for the next user message.
   * @param {string} id of the call
   * @param {any[]} parts
   * @param {Record<string, any>} [more]
   */
  result(id, parts, more = {}) {
    const texts = parts.filter(({ type }) => type === "text");
    const others = parts.filter(({ type }) => type !== "text");
    this.#messages.push({ role: "tool", tool_call_id: id, content: contentOf(texts) ?? "", ...more });
    if (others.length) this.#shown.push({ type: "text", text: `From the result of the tool call ${id}:` }, ...others);
  }

  end() {
    this.user([]);
    return this.#messages;
  }
}

/** Parts as content: plain text where it is no more than that, since not every server reads parts. @param {any[]} parts */
export function contentOf(parts) {
  if (parts.length === 0) return null;
  const [{ type, text, ...more }] = parts;
  return parts.length === 1 && type === "text" && Object.keys(more).length === 0 ? text : parts;
}

/**
 * The pieces of a delta or of a whole message.
 * @param {any} delta
 * @param {Map<number, Call>} calls of this answer so far, by index
 * @returns {Generator<Piece>}
 */
export function* piecesOf(delta, calls) {
  const { reasoning_content, thinking_blocks, content, refusal, tool_calls } = delta ?? {};
  if (Array.isArray(thinking_blocks) && thinking_blocks.length) {
    for (const block of thinking_blocks) {
      if (block?.type === "redacted_thinking") yield { kind: "redacted", data: String(block.data) };
      else yield { kind: "thinking", text: block?.thinking ?? "", signature: block?.signature || undefined };
    }
  } else if (isText(reasoning_content)) yield { kind: "thinking", text: reasoning_content };
  if (isText(content)) yield { kind: "text", text: content };
  if (isText(refusal)) yield { kind: "refusal", text: refusal };
  for (const [i, piece] of Array.isArray(tool_calls) ? tool_calls.entries() : []) {
    const index = piece?.index ?? i;
    let call = calls.get(index);
    // Some servers give every call the index 0; a new id then tells them apart.
    if (!call || (piece?.id && piece.id !== call.id)) {
      call = { id: piece?.id || `call_${crypto.randomUUID()}`, name: String(piece?.function?.name ?? "") };
      calls.set(index, call);
    }
    const more = piece?.function?.arguments ?? "";
    // As an object from some local servers.
    yield { kind: "call", call, text: typeof more === "string" ? more : JSON.stringify(more) };
  }
}

/** @param {unknown} value @returns {value is string} */
function isText(value) {
  return typeof value === "string" && value !== "";
}

/**
 * How an answer ended. Calls count more than the reason: some servers say `stop` beside them.
 * @param {string | null | undefined} reason
 * @param {{called: boolean, refused: boolean}} answer
 * @returns {"stop" | "length" | "tool_calls" | "content_filter"}
 */
export function ending(reason, { called, refused }) {
  if (reason === "length") return "length";
  if (reason === "content_filter" || refused) return "content_filter";
  return called ? "tool_calls" : "stop";
}

/** Token counts of a chat answer. @param {any} usage */
export function counts(usage) {
  const count = (/** @type {unknown} */ value) => (Number.isFinite(value) ? Number(value) : 0);
  return {
    input: count(usage?.prompt_tokens),
    output: count(usage?.completion_tokens),
    cached: count(usage?.prompt_tokens_details?.cached_tokens),
    cacheCreation: count(usage?.prompt_tokens_details?.cache_creation_tokens),
    reasoning: count(usage?.completion_tokens_details?.reasoning_tokens),
  };
}
