/**
 * How the page's world and the extension's isolated world talk: events on the document, their detail
 * a string of JSON. Unlike `postMessage` they reach no listener of the page's own.
 *
 * ask     page → content: `{ id, model, effort, takesEffort, request, offered }`
 * answer  content → page: `{ id, decision }`, the decision null where nothing is to change
 * used    page → content: `{ id }`, the answer went into a request
 * offers  page → content: `{ names }`, all models that the page's servers have listed
 */
const NAMES = { ask: "pennyroute:ask", answer: "pennyroute:answer", used: "pennyroute:used", offers: "pennyroute:offers" };

/**
 * @param {keyof typeof NAMES} name
 * @param {unknown} message
 */
export function send(name, message) {
  document.dispatchEvent(new CustomEvent(NAMES[name], { detail: JSON.stringify(message) }));
}

/**
 * @param {keyof typeof NAMES} name
 * @param {(message: any) => void} listener
 */
export function receive(name, listener) {
  document.addEventListener(NAMES[name], (event) => {
    try {
      listener(JSON.parse(/** @type {CustomEvent} */ (event).detail));
    } catch {
      // Not ours, or not for us: the page may dispatch what it likes.
    }
  });
}
