/** Errors thrown by Pennyroute; `code` is stable, the message names what is wrong and where. */
export class PennyrouteError extends Error {
  constructor(code, message, options) {
    super(message, options);
    this.code = code;
  }
}
Object.defineProperty(PennyrouteError.prototype, "name", { value: "PennyrouteError", configurable: true, writable: true });

/** Who waits for what a wasm module has promised. @type {Set<(message: string) => void>} */
const waiting = new Set();

/** Called by a wasm module as it panics: nothing that it has promised will come. @param {string} message */
export function panicked(message) {
  for (const give of [...waiting]) give(message);
}

/** What a module's promise brings, or an error with `code` where the module panics before. */
export function unlessPanicked(promise, code) {
  return new Promise((resolve, reject) => {
    const give = (message) => reject(new PennyrouteError(code, message));
    waiting.add(give);
    promise.then(resolve, reject).finally(() => waiting.delete(give));
  });
}
