/** What an answer of OpenAI's chat API says, read on the side while its bytes pass. */

/** Whether a choice of a chunk holds more than its role, which some servers send before the model runs. @param {any} choice */
export function hasToken({ delta, finish_reason }) {
  const says = (/** @type {any} */ value) => value !== null && value !== "" && !(Array.isArray(value) && value.length === 0);
  return Boolean(finish_reason) || Object.entries(delta ?? {}).some(([name, value]) => name !== "role" && says(value));
}

/**
 * What a provider counted, where it did; cached input is part of all input.
 * @param {any} usage
 * @returns {import("./fallback.js").Counts | null}
 */
export function countsOf(usage) {
  const { prompt_tokens: input_tokens, completion_tokens: output_tokens, prompt_tokens_details } = usage ?? {};
  if (!isCount(input_tokens) || !isCount(output_tokens)) return null;
  const cached = prompt_tokens_details?.cached_tokens;
  return { input_tokens, cached_tokens: isCount(cached) ? Math.min(cached, input_tokens) : 0, output_tokens };
}

/** @param {unknown} value */
export function isCount(value) {
  return Number.isSafeInteger(value) && /** @type {number} */ (value) >= 0;
}

/** Follows a stream of server-sent events. */
export class Watch {
  /** A token has come: from now on only the usage and an error matter. */
  begun = false;
  /** The stream said `[DONE]`. */
  done = false;
  /** The provider's own words, once it reports an error. @type {string | null} */
  error = null;
  /** An event before the first token is not what it should be. */
  garbled = false;
  /** @type {import("./fallback.js").Counts | null} */
  counts = null;

  #decoder = new TextDecoder();
  /** Pieces of a line that is not whole yet; joined once, so that a long line costs no more per byte. @type {string[]} */
  #rest = [];

  /** @param {Uint8Array | undefined} bytes undefined: the stream has ended */
  read(bytes) {
    const text = bytes ? this.#decoder.decode(bytes, { stream: true }) : this.#decoder.decode() + "\n";
    this.#rest.push(text);
    if (!/[\r\n]/.test(text)) return;
    const lines = this.#rest.join("").split(/\r\n|\n|\r(?!$)/);
    this.#rest = [lines.pop() ?? ""];
    for (const line of lines) {
      const data = /^data: ?(.+)$/s.exec(line)?.[1];
      if (data !== undefined) this.#event(data);
    }
  }

  /** @param {string} data */
  #event(data) {
    if (data === "[DONE]") {
      this.done = true;
      return;
    }
    // Most events after the first token hold a few letters, and are not parsed a second time for them.
    if (this.begun && !data.includes('"usage"') && !data.includes('"error"')) return;
    let event;
    try {
      event = JSON.parse(data);
    } catch {
      this.garbled = true;
      return;
    }
    if (event?.error) this.error ??= String(event.error.message ?? "the provider reported an error");
    this.counts = countsOf(event?.usage) ?? this.counts;
    this.begun ||= Boolean(event?.choices?.some?.(hasToken));
  }
}
