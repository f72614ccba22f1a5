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
 * @typedef {{ call: (method: string, argument?: unknown, options?: CallOptions) => Promise<any>, revive: () => void }} Client
 * `revive`: starts a new worker where the last one has failed
 */

/**
 * Starts a worker.
 * @param {(loaded: number, total?: number) => void} onLoading called while the artifacts arrive
 * @returns {Client}
 */
export function connect(onLoading) {
  /** @type {Map<number, { resolve: (value: any) => void, reject: (error: Error) => void, onProgress?: (progress: any) => void }>} */
  const waiting = new Map();
  let last = 0;
  /** Why the worker answers nothing any more. @type {RouterError | undefined} */
  let failure;
  let worker = start();

  function start() {
    const started = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    started.onmessage = receive;
    // The worker's script itself failed (not found, syntax): no call will be answered, of those to come neither.
    started.onerror = (event) => {
      event.preventDefault();
      started.terminate();
      failure = new RouterError("internal", event.message || "the router's worker could not be started");
      for (const call of waiting.values()) call.reject(failure);
      waiting.clear();
    };
    return started;
  }

  function receive({ data }) {
    if (data.loading) return onLoading(data.loading.loaded, data.loading.total);
    const call = waiting.get(data.id);
    if (data.progress) return call?.onProgress?.(data.progress);
    waiting.delete(data.id);
    if (data.error) call?.reject(new RouterError(data.error.code, data.error.message));
    else call?.resolve(data.result);
  }

  return {
    call(method, argument, { signal, onProgress, transfer = [] } = {}) {
      const id = ++last;
      return new Promise((resolve, reject) => {
        signal?.throwIfAborted();
        if (failure) throw failure;
        waiting.set(id, { resolve, reject, onProgress });
        worker.postMessage({ id, method, argument }, transfer);
        signal?.addEventListener("abort", () => worker.postMessage({ id, cancel: true }));
      });
    },

    revive() {
      if (!failure) return;
      failure = undefined;
      worker = start();
    },
  };
}
