/**
 * Between the page and the service worker. It holds a decision until the page has used it, and only
 * then has it kept as a receipt. Where the site is off or left alone nothing goes further than here.
 */
import { ask } from "./ask.js";
import { receive, send } from "./channel.js";
import { DEFAULTS, onSite, wants } from "./settings.js";

/** A service worker is stopped after 30 s of idleness; this often, writing wakes it. */
const WAKE_EVERY_MS = 20_000;

const site = location.host;
/** @type {Map<string, object>} */
const receipts = new Map();

receive("ask", async ({ id, ...question }) => {
  const answer = wants(await rules(), question.model) ? await ask({ type: "decide", site, ...question }) : null;
  if (answer) receipts.set(id, answer.receipt);
  send("answer", { id, decision: answer && { name: answer.name, effort: answer.effort } });
});

receive("used", ({ id }) => {
  const receipt = receipts.get(id);
  receipts.delete(id);
  if (receipt) ask({ type: "record", receipt });
});

receive("offers", async ({ names }) => {
  const { privacy, offered: known = [] } = (await settings().catch(() => DEFAULTS)).sites[site] ?? {};
  if (privacy === "alone") return;
  if (names.some((name) => !known.includes(name)) || known.length !== names.length) ask({ type: "offers", site, names });
});

// While a prompt is written the router loads, so that sending it need not wait for that.
let woken = -Infinity;
document.addEventListener("input", async () => {
  if (performance.now() - woken < WAKE_EVERY_MS) return;
  woken = performance.now();
  if ((await rules()).on) ask({ type: "wake" });
}, { capture: true, passive: true });

async function settings() {
  const { on, policy, sites } = DEFAULTS;
  return /** @type {import("./settings.js").Settings} */ (await chrome.storage.local.get({ on, policy, sites }));
}

/** What holds here; where storage cannot be read, the page is left alone. */
async function rules() {
  return onSite(await settings().catch(() => ({ ...DEFAULTS, on: false })), site);
}
