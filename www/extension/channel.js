/**
 * How the page's world and the extension's isolated world talk: events on the document, their detail
 * a string of JSON. The page can listen in, and send what it likes: nothing is told that it does not
 * know or may not, and nothing is believed that it could not ask for anyway.
 *
 * ask     page → content: `{ id, model }`, whether requests for a model are wanted
 * decide  page → content: `{ id, model, effort, takesEffort, request, offered }`
 * answer  content → page: `{ id, answer }`, to either of these; the decision null where nothing is to change
 * used    page → content: `{ id }`, the decision went into a request
 * offers  page → content: `{ names }`, all models that the page's servers have listed
 */
const NAMES = {
  ask: "pennyroute:ask", decide: "pennyroute:decide", answer: "pennyroute:answer", used: "pennyroute:used", offers: "pennyroute:offers",
};

/**
 * @param {keyof typeof NAMES} name
 * @param {unknown} message
 * @returns {boolean} whether anybody listened, which is known at once
 */
export function send(name, message) {
  return !document.dispatchEvent(new CustomEvent(NAMES[name], { detail: JSON.stringify(message), cancelable: true }));
}

/**
 * @param {keyof typeof NAMES} name
 * @param {(message: any) => void} listener
 */
export function receive(name, listener) {
  document.addEventListener(NAMES[name], (event) => {
    try {
      listener(JSON.parse(/** @type {CustomEvent} */ (event).detail));
      event.preventDefault();
    } catch {
      // Not ours, or not for us: the page may dispatch what it likes.
    }
  });
}
