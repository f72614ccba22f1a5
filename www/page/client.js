/**
 * The page's end of the conversation with the worker. Every call carries an id and is answered once;
 * the worker answers in order, one call at a time.
 */

/** An error of the router, as it crossed from the worker. */
export class RouterError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   */
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/**
 * Starts a worker.
 * @param {(loaded: number, total?: number) => void} onProgress called while the artifacts arrive
 */
export function connect(onProgress) {
  const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  /** @type {Map<number, { resolve: (value: any) => void, reject: (error: Error) => void }>} */
  const waiting = new Map();
  let last = 0;

  worker.onmessage = ({ data }) => {
    if (data.progress) return onProgress(data.progress.loaded, data.progress.total);
    const call = waiting.get(data.id);
    waiting.delete(data.id);
    if (data.error) call?.reject(new RouterError(data.error.code, data.error.message));
    else call?.resolve(data.result);
  };
  // The worker's script itself failed (not found, syntax): no call will be answered any more.
  worker.onerror = (event) => {
    event.preventDefault();
    const error = new RouterError("internal", event.message || "the router's worker could not be started");
    for (const call of waiting.values()) call.reject(error);
    waiting.clear();
  };

  return {
    /**
     * @param {"load" | "traffic" | "consider"} method
     * @param {unknown} [argument]
     * @returns {Promise<any>}
     */
    call(method, argument) {
      const id = ++last;
      return new Promise((resolve, reject) => {
        waiting.set(id, { resolve, reject });
        worker.postMessage({ id, method, argument });
      });
    },
    close: () => worker.terminate(),
  };
}
