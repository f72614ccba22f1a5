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
  const idle = new Idle(idleMs, () => reader.cancel().catch(() => {}));
  const decoder = new TextDecoder();
  // Pieces of a line that is not whole yet; joined once, so that a long line costs no more per byte.
  /** @type {string[]} */
  let rest = [];
  let length = 0;
  try {
    for (;;) {
      idle.begin();
      const { value, done } = await reader.read();
      idle.check();
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
    idle.end();
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

/**
 * Ends waits that take too long: of us for a provider, of a frame for the client. There is one timer
 * for all waits of a stream: one for each of them would cost more than the wait. Time in which nobody
 * waits does not count.
 */
class Idle {
  #ms;
  #stop;
  #timer;
  /** When the wait that is under way began. @type {number | undefined} */
  #since;
  #stalled = false;

  /** @param {number} ms @param {() => void} stop ends the wait */
  constructor(ms, stop) {
    this.#ms = ms;
    this.#stop = stop;
    this.#timer = setTimeout(() => this.#check(), ms);
  }

  #check() {
    const left = this.#since === undefined ? this.#ms : this.#since + this.#ms - Date.now();
    if (left > 0) {
      this.#timer = setTimeout(() => this.#check(), left);
      return;
    }
    this.#stalled = true;
    this.#stop();
  }

  /** A wait begins. */
  begin() {
    this.#since = Date.now();
  }

  /** A wait has ended; throws where it was ended because it took too long: a read looks like the end of the stream then. */
  check() {
    this.#since = undefined;
    if (this.#stalled) throw new StreamError("timeout", `the stream stalled for ${this.#ms / 1000} s`);
  }

  end() {
    clearTimeout(this.#timer);
  }
}

/**
 * The stream that the client reads, pulled frame by frame, so that a slow client slows the provider.
 * One that takes nothing for `idleMs` counts as gone: runtimes do not always tell that it is.
 * @param {AsyncGenerator<string>} frames
 * @param {{idleMs: number, end: () => void, failed: (error: unknown, sent: number) => string | undefined, gone: () => void}} on
 *   `failed` words the last frame, after as many `sent`; `gone`: the client went away
 * @returns {ReadableStream<Uint8Array>}
 */
export function streamOf(frames, { idleMs, end, failed, gone }) {
  const encoder = new TextEncoder();
  const untaken = new Idle(idleMs, gone);
  let sent = 0;
  return new ReadableStream({
    async pull(controller) {
      try {
        untaken.check();
        const { value, done } = await frames.next();
        if (!done) {
          controller.enqueue(encoder.encode(value));
          sent++;
          untaken.begin();
          return;
        }
        end();
      } catch (error) {
        const last = failed(error, sent);
        if (last !== undefined) controller.enqueue(encoder.encode(last));
      }
      untaken.end();
      controller.close();
    },
    cancel() {
      untaken.end();
      gone();
    },
  });
}
