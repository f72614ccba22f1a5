/** Errors thrown by Pennyroute; `code` is stable, the message names what is wrong and where. */
export class PennyrouteError extends Error {
  constructor(code, message, options) {
    super(message, options);
    this.code = code;
  }
}
Object.defineProperty(PennyrouteError.prototype, "name", { value: "PennyrouteError", configurable: true, writable: true });
