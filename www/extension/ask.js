/** Asking the service worker, which may die at any moment: it is then asked again. */

const ATTEMPTS = 3;

/**
 * The worker's answer; null if it has none, or the extension was updated or removed meanwhile.
 * @param {{ type: string, [field: string]: unknown }} message
 */
export async function ask(message) {
  for (let attempt = 0; attempt < ATTEMPTS && chrome.runtime?.id; attempt += 1) {
    // It died, or was about to: Chromium rejects, Firefox has no answer, where a worker that lives says null.
    const answer = await chrome.runtime.sendMessage(message).catch(() => undefined);
    if (answer !== undefined) return answer;
  }
  return null;
}
