/**
 * The page's end of the conversation with the worker (worker.js says how it goes). Every call carries
 * an id and is answered once.
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
 * @typedef {{ signal?: AbortSignal, onProgress?: (progress: any) => void, transfer?: Transferable[] }} CallOptions
 * @typedef {{ call: (method: string, argument?: unknown, options?: CallOptions) => Promise<any> }} Client
 */

/**
 * Starts a worker.
 * @param {(loaded: number, total?: number) => void} onLoading called while the artifacts arrive
 * @returns {Client}
 */
export function connect(onLoading) {
  const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  /** @type {Map<number, { resolve: (value: any) => void, reject: (error: Error) => void, onProgress?: (progress: any) => void }>} */
  const waiting = new Map();
  let last = 0;

  worker.onmessage = ({ data }) => {
    if (data.loading) return onLoading(data.loading.loaded, data.loading.total);
    const call = waiting.get(data.id);
    if (data.progress) return call?.onProgress?.(data.progress);
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
    call(method, argument, { signal, onProgress, transfer = [] } = {}) {
      const id = ++last;
      return new Promise((resolve, reject) => {
        signal?.throwIfAborted();
        waiting.set(id, { resolve, reject, onProgress });
        worker.postMessage({ id, method, argument }, transfer);
        signal?.addEventListener("abort", () => worker.postMessage({ id, cancel: true }));
      });
    },
  };
}
