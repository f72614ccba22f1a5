/**
 * Between the page and the service worker. It holds a decision until the page has used it, and only
 * then has it kept as a receipt. Where the site is off or left alone nothing goes further than here.
 */
import { ask } from "./ask.js";
import { receive, send } from "./channel.js";
import { DEFAULTS, keptNames, onSite, wants } from "./settings.js";

/** A service worker is stopped after 30 s of idleness; this often, writing wakes it. */
const WAKE_EVERY_MS = 20_000;

const site = location.host;
/** @type {Map<string, object>} */
const receipts = new Map();

// Two grants may cover one site, and then these scripts are put there twice.
if (!globalThis.pennyroute) {
  globalThis.pennyroute = true;
  listen();
}

function listen() {
  hear("ask", async ({ id, model }) => send("answer", { id, answer: wants(await rules(), model) }));

  hear("decide", async ({ id, model, effort, takesEffort, request, offered }) => {
    // Each field by its name: the message's type is ours to say, not the page's.
    const decision = wants(await rules(), model) ? await ask({ type: "decide", model, effort, takesEffort, request, offered }) : null;
    if (decision) receipts.set(id, decision.receipt);
    send("answer", { id, answer: decision && { name: decision.name, effort: decision.effort } });
  });

  hear("used", async ({ id }) => {
    const receipt = receipts.get(id);
    receipts.delete(id);
    if (receipt) await ask({ type: "record", receipt });
  });

  hear("offers", async ({ names: all }) => {
    if (!(await rules()).on) return;
    const names = keptNames(all);
    const { offered: known = [] } = (await settings()).sites[site] ?? {};
    if (names.some((name) => !known.includes(name)) || known.length !== names.length) await ask({ type: "offers", names });
  });

  // While a prompt is written the router loads, so that sending it need not wait for that.
  let woken = -Infinity;
  document.addEventListener("input", async () => {
    if (performance.now() - woken < WAKE_EVERY_MS) return;
    woken = performance.now();
    if ((await rules()).on) await ask({ type: "wake" });
  }, { capture: true, passive: true });
}

/**
 * Listens as long as there is an extension: once it is updated or removed this script stays behind and
 * has nobody to ask.
 * @param {Parameters<typeof receive>[0]} name
 * @param {(message: any) => Promise<unknown>} listener
 */
function hear(name, listener) {
  receive(name, (message) => {
    if (!chrome.runtime?.id) throw new Error("the extension is gone");
    listener(message).catch(() => {});
  });
}

async function settings() {
  const { on, policy, sites } = DEFAULTS;
  return /** @type {import("./settings.js").Settings} */ (await chrome.storage.local.get({ on, policy, sites }));
}

/** What holds here; where storage cannot be read, the page is left alone. */
async function rules() {
  return onSite(await settings().catch(() => ({ ...DEFAULTS, on: false })), site);
}
