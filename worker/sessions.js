/**
 * What is warm: after a turn, a provider keeps the conversation's prefix in its prompt cache for
 * some minutes. Telling the router makes staying there cheaper, and so likelier.
 *
 * Kept in the isolate's memory only: a conversation that lands on another isolate, or comes late,
 * is routed as if it were cold, which costs money but is never wrong.
 */

/** Providers keep an unused prefix for 5 minutes or more. */
const KEPT_MS = 5 * 60 * 1000;
const MOST_SESSIONS = 10_000;

/** @type {Map<string, {model: string, tokens: number, at: number}>} oldest first */
const sessions = new Map();

/**
 * Input tokens that are warm for a conversation, by model.
 * @param {string | undefined} session
 * @returns {Record<string, number> | undefined}
 */
export function warmTokens(session) {
  const kept = session === undefined ? undefined : sessions.get(session);
  return kept && Date.now() - kept.at < KEPT_MS ? { [kept.model]: kept.tokens } : undefined;
}

/**
 * @param {string | undefined} session
 * @param {string} model that answered
 * @param {any} usage as the provider counted it
 */
export function remember(session, model, usage) {
  const tokens = usage?.prompt_tokens;
  if (session === undefined || !Number.isSafeInteger(tokens) || tokens < 0) return;
  sessions.delete(session);
  sessions.set(session, { model, tokens, at: Date.now() });
  if (sessions.size > MOST_SESSIONS) sessions.delete(/** @type {string} */ (sessions.keys().next().value));
}
