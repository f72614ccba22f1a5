/** Server-sent events in the dialect of OpenAI's API: `data: {json}` … `data: [DONE]`. */

import { errorBody, HttpError } from "./errors.js";

/** Longest event that is read, in characters: a generated image fits, a runaway line does not. */
const LONGEST_EVENT = 32 * 1024 * 1024;

/** A provider's stream broke the protocol, stalled or was cut. */
export class StreamError extends Error {
  /** @param {string} failure `timeout`, `network` or `bad_reply` @param {string} message */
  constructor(failure, message) {
    super(message);
    this.failure = failure;
  }
}

/**
 * The events of a response as parsed JSON, and `"[DONE]"`. Comments and other fields are skipped,
 * but show that the provider is alive.
 * @param {Response} response
 * @param {{signal: AbortSignal, idleMs: number}} limits
 * @returns {AsyncGenerator<any>}
 */
export async function* readEvents(response, { signal, idleMs }) {
  if (!response.body) throw new StreamError("bad_reply", "the reply is empty");
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  // Pieces of a line that is not whole yet; joined once, so that a long line costs no more per byte.
  /** @type {string[]} */
  let rest = [];
  let length = 0;
  try {
    for (;;) {
      const { value, done } = await withinIdle(reader, idleMs);
      const text = done ? decoder.decode() : decoder.decode(value, { stream: true });
      length += text.length;
      if (length > LONGEST_EVENT) throw new StreamError("bad_reply", "an event is too long");
      rest.push(text);
      if (!done && !/[\r\n]/.test(text)) continue;
      const lines = rest.join("").split(/\r\n|\n|\r(?!$)/);
      // The last line is not whole yet, unless the stream has ended.
      rest = done ? [] : [lines.pop() ?? ""];
      length = rest.join("").length;
      for (const line of lines) {
        const data = /^data: ?(.*)$/s.exec(line)?.[1];
        if (data === undefined || data === "") continue;
        if (data === "[DONE]") {
          yield data;
          return;
        }
        yield parse(data);
      }
      if (done) return;
    }
  } catch (error) {
    if (error instanceof StreamError || signal.aborted) throw error;
    throw new StreamError("network", "the connection was cut");
  } finally {
    // However this ends, the provider must not go on generating for nobody.
    reader.cancel().catch(() => {});
  }
}

/** @param {string} data */
function parse(data) {
  try {
    const event = JSON.parse(data);
    if (event !== null && typeof event === "object") return event;
  } catch {
    // Told below, together with JSON that is no object.
  }
  throw new StreamError("bad_reply", "an event of the stream is not a JSON object");
}

/** @param {ReadableStreamDefaultReader<Uint8Array>} reader @param {number} idleMs */
async function withinIdle(reader, idleMs) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const idle = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new StreamError("timeout", `the stream stalled for ${idleMs / 1000} s`)), idleMs);
  });
  try {
    return await Promise.race([reader.read(), idle]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * The stream that the client reads: the provider's events under the real model's name. After the
 * first byte nothing can fall back, so a failure becomes an `error` event; a stream that merely
 * lacks its `[DONE]` after a finished answer is given one.
 * @param {{first: any[], events: AsyncGenerator<any>}} upstream
 * @param {{model: string, hideUsage: boolean, onUsage: (usage: any) => void, words: (text: string) => string, abort: () => void}} options
 *   `words` takes out of a provider's message what no client may see
 * @returns {ReadableStream<Uint8Array>}
 */
export function writeEvents({ first, events }, { model, hideUsage, onUsage, words, abort }) {
  const encoder = new TextEncoder();
  const pending = [...first];
  let finished = false;
  return new ReadableStream({
    async pull(controller) {
      const send = (/** @type {string} */ data) => controller.enqueue(encoder.encode(`data: ${data}\n\n`));
      try {
        // One pass of this loop per event; it goes round again where an event sends nothing.
        for (;;) {
          const event = pending.length ? pending.shift() : await events.next().then(({ value, done }) => (done ? undefined : value));
          if (event === "[DONE]" || (event === undefined && finished)) {
            send("[DONE]");
            return controller.close();
          }
          if (event === undefined) throw new StreamError("network", "the stream was cut before its end");
          if (event.error) throw new StreamError("error_event", words(String(event.error.message ?? "the provider reported an error")));
          if (event.usage) onUsage(event.usage);
          if (hideUsage && event.usage && !event.choices?.length) continue;
          finished ||= Boolean(event.choices?.some((/** @type {any} */ choice) => choice.finish_reason));
          return send(JSON.stringify({ ...event, model }));
        }
      } catch (error) {
        const { failure, message } = error instanceof StreamError ? error : { failure: "internal", message: "the gateway failed" };
        const told = new HttpError(502, `stream_${failure}`, `${model}, while answering: ${message}`, { type: "server_error" });
        send(JSON.stringify(errorBody(told)));
        controller.close();
        abort();
      }
    },
    cancel: abort,
  });
}
