/** Server-sent events in the dialect of OpenAI's API: `data: {json}` … `data: [DONE]`. */

/** Longest event that is read, in characters: a generated image fits, a runaway line does not. */
const LONGEST_EVENT = 32 * 1024 * 1024;

/** A provider's stream broke the protocol, stalled or was cut. */
export class StreamError extends Error {
  /** @param {string} failure `timeout`, `network`, `bad_reply` or `error_event` @param {string} message */
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
 * The stream that the client reads, pulled frame by frame, so that a slow client slows the provider.
 * @param {AsyncGenerator<string>} frames must not throw: after the first byte, an error is a frame too
 * @param {() => void} abort called when the client goes away
 * @returns {ReadableStream<Uint8Array>}
 */
export function streamOf(frames, abort) {
  const encoder = new TextEncoder();
  return new ReadableStream({
    async pull(controller) {
      const { value, done } = await frames.next();
      if (done) controller.close();
      else controller.enqueue(encoder.encode(value));
    },
    cancel: abort,
  });
}
