/**
 * Failures as OpenAI's API words them: `{error: {message, type, param, code}}`, so that every
 * OpenAI client raises its usual exceptions.
 */

/** A failure with an HTTP status; thrown anywhere below the handler, answered there. */
export class HttpError extends Error {
  /**
   * @param {number} status
   * @param {string} code stable, for programs
   * @param {string} message for people
   * @param {{type?: string, param?: string | null, headers?: Record<string, string>}} [more]
   */
  constructor(status, code, message, { type, param = null, headers = {} } = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.type = type ?? typeOf(status);
    this.param = param;
    this.headers = headers;
  }
}

/** One model could not answer; another may. */
export class AttemptError extends Error {
  /**
   * @param {string} failure the status, or `network`, `timeout`, `redirect`, `bad_reply`, `error_event`, `unsupported`;
   *   `workload_full`, `budget_spent`, `ledger_unreachable`, `resting` where nobody was called
   * @param {string} message
   * @param {{ofProvider?: boolean, ofGateway?: boolean, lost?: boolean, retryAfter?: string | null}} [more]
   *   `ofProvider`: every model of the provider would fail like this; `ofGateway`: nobody was called;
   *   `lost`: the provider may have worked, and charged, all the same
   */
  constructor(failure, message, { ofProvider = false, ofGateway = false, lost = false, retryAfter = null } = {}) {
    super(message);
    this.failure = failure;
    this.ofProvider = ofProvider;
    this.ofGateway = ofGateway;
    this.lost = lost;
    this.retryAfter = retryAfter;
  }
}

/** OpenAI's error type for a status. @param {number} status */
function typeOf(status) {
  if (status === 401) return "authentication_error";
  if (status === 403) return "permission_error";
  if (status === 429) return "rate_limit_error";
  return status < 500 ? "invalid_request_error" : "server_error";
}

/** The caller's mistakes among the codes of PennyrouteError; the others are ours. */
const CALLERS = new Set(["bad_request", "bad_number"]);

/**
 * Any thrown value as an HttpError. What is neither ours nor Pennyroute's is a defect: its text
 * stays in the log, since it may name what a client should not see.
 * @param {unknown} error
 */
export function toHttpError(error) {
  if (error instanceof HttpError) return error;
  const { code, message } = /** @type {{code?: unknown, message?: unknown}} */ (error ?? {});
  if (error instanceof Error && error.name === "PennyrouteError" && typeof code === "string") {
    // "request field `messages[0]`: …" and "quality: 2 is not …".
    const [, field, place] = /^(?:request field `([^`]+)`|([\w.[\]]+)): /.exec(String(message)) ?? [];
    return new HttpError(CALLERS.has(code) ? 400 : 500, code, String(message), { param: field ?? place ?? null });
  }
  console.error("pennyroute: unexpected error", error);
  return new HttpError(500, "internal", "The gateway failed; its log says why.");
}

/** The body of an error answer or of an SSE `error` event. @param {HttpError} error */
export function errorBody({ message, type, param, code }) {
  return { error: { message, type, param, code } };
}

/** @param {HttpError} error */
export function errorResponse(error) {
  return Response.json(errorBody(error), { status: error.status, headers: error.headers });
}
