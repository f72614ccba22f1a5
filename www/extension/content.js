/**
 * Between the page and the service worker. It holds a decision until the page has used it, and only
 * then has it kept as a receipt.
 */
import { receive, send } from "./channel.js";

/** A service worker is stopped after 30 s of idleness; this often, writing wakes it. */
const WAKE_EVERY_MS = 20_000;

/** @type {Map<string, object>} */
const receipts = new Map();

receive("ask", async ({ id, request, offered }) => {
  const answer = await ask({ type: "decide", request, offered, site: location.host });
  if (answer) receipts.set(id, answer.receipt);
  send("answer", { id, decision: answer && { name: answer.name, effort: answer.effort } });
});

receive("used", ({ id }) => {
  const receipt = receipts.get(id);
  receipts.delete(id);
  if (receipt) ask({ type: "record", receipt });
});

// While a prompt is written the router loads, so that sending it need not wait for that.
let woken = -Infinity;
document.addEventListener("input", () => {
  if (performance.now() - woken < WAKE_EVERY_MS) return;
  woken = performance.now();
  ask({ type: "wake" });
}, { capture: true, passive: true });

/**
 * The worker's answer; null if it has none, or the extension was updated or removed meanwhile.
 * @param {object} message
 */
async function ask(message) {
  try {
    return (await chrome.runtime.sendMessage(message)) ?? null;
  } catch {
    return null;
  }
}
