/** Errors thrown by Pennyroute; `code` is stable, the message names what is wrong and where. */
export class PennyrouteError extends Error {
  constructor(code, message, options) {
    super(message, options);
    this.code = code;
  }
}
Object.defineProperty(PennyrouteError.prototype, "name", { value: "PennyrouteError", configurable: true, writable: true });

/** Who waits for what the GPU's module has promised: ends the wait. @type {Set<(message: string) => void>} */
const waiting = new Set();
/** How the host tells of what is thrown where nobody catches it: a trap in the middle of a promised call is. */
const UNCAUGHT = ["error", "unhandledrejection"];

/**
 * Called by the GPU's module as it panics: nothing that it has promised will come. (The router's module does not call it:
 * whoever called that one is told by the trap itself, and the GPU's is none the worse for it.)
 * @param {string} message
 */
export function panicked(message) {
  for (const give of [...waiting]) give(message);
}

/** What a call of the GPU's module promises, or a `WebAssembly.RuntimeError` where the module ends before. */
export function unlessPanicked(call) {
  let give;
  const ended = new Promise((_, reject) => (give = (message) => reject(new WebAssembly.RuntimeError(message))));
  waiting.add(give);
  for (const type of UNCAUGHT) globalThis.addEventListener?.(type, thrown);
  const promised = new Promise((resolve) => resolve(call()));
  return Promise.race([promised, ended]).finally(() => {
    waiting.delete(give);
    if (waiting.size === 0) for (const type of UNCAUGHT) globalThis.removeEventListener?.(type, thrown);
  });
}

/** A trap that no hook tells of, or what a call of WebGPU's threw through the module. */
function thrown({ error, reason = error, filename, message }) {
  // Errors of ours are made by the module, not of it.
  if (reason instanceof PennyrouteError) return;
  const itself = reason instanceof WebAssembly.RuntimeError || /pennyroute_gpu/.test(`${filename} ${reason?.stack}`);
  if (itself) panicked(String(reason?.message ?? message));
}
