/** The popup: this site, its policy, what was decided and what it saved. */
import { byId, h } from "../page/dom.js";
import { CODES, count, nameInText, percent, shortName, usd, usdPerThousand } from "../page/format.js";
import { cheapestConstant, defaultTarget, meanCost } from "../page/traffic.js";
import { ask } from "./ask.js";
import { PRIVACY } from "./labels.js";
import { onSite, withPolicy, withSite } from "./settings.js";
import { enable, isEnabled, patternOf } from "./sites.js";
import { clear, read, update } from "./store.js";

/** Receipts shown; more are kept. */
const SHOWN = 4;

/** What was under way when something went wrong, in words. */
const FAILED = {
  decide: "The last request was left as it was",
  record: "The last decision could not be kept",
  save: "Not saved",
};

/** The tab's page, if it is one of the web: opening the popup lets us see that one's address. */
const [tab] = await chrome.tabs.query({ active: true, currentWindow: true });
const address = /^https?:/.test(tab?.url ?? "") ? new URL(/** @type {string} */ (tab.url)) : null;
/** The host whose policy is set here; null: that of all sites. */
let host = address && (await isEnabled(address.href)) ? address.host : null;

const on = /** @type {HTMLInputElement} */ (byId("on"));
const slider = /** @type {HTMLInputElement} */ (byId("quality"));
const cap = /** @type {HTMLInputElement} */ (byId("cap"));

byId("privacy").append(...Object.entries(PRIVACY).map(([value, textContent]) => h("option", { value, textContent })));
on.addEventListener("change", () => save(() => ({ on: on.checked })));
byId("site-switch").addEventListener("change", ({ target }) => saveSite({ on: target.checked }));
byId("privacy").addEventListener("change", ({ target }) => saveSite({ privacy: target.value }));
byId("enable").addEventListener("click", enableSite);
byId("clear").addEventListener("click", () => attempt(clear));
byId("settings").addEventListener("click", () => chrome.runtime.openOptionsPage());
cap.addEventListener("change", () => cap.reportValidity() && savePolicy({ cap_usd: cap.value === "" ? null : cap.valueAsNumber }));
// Another page's receipt may come in while the popup is open.
chrome.storage.onChanged.addListener(draw);

await draw();
setUpTarget();

async function draw() {
  const state = await read();
  const { problem } = await chrome.storage.session.get("problem");
  if (problem) complain(problem);
  else byId("problem").hidden = true;
  on.checked = state.on;
  byId("on-label").textContent = state.on ? "On" : "Off";
  drawSite(state);
  drawTotals(state);
}

/** @param {import("./store.js").State} state */
function drawSite({ sites, on: isOn, policy }) {
  byId("site-name").textContent = address?.host ?? "This tab";
  byId("site-none").hidden = address !== null;
  byId("site-off").hidden = address === null || host !== null;
  byId("enable").textContent = `Enable on ${address?.host}`;
  byId("site-on").hidden = host === null;
  byId("scope").textContent = host ? `For ${host}. Other sites: see Settings.` : "For every site without a policy of its own.";
  const rules = onSite({ on: isOn, policy, sites }, host ?? "");
  if (document.activeElement !== cap) cap.value = String(rules.policy.cap_usd ?? "");
  if (host === null) return;
  const { on: siteOn = true, privacy = "ordinary", offered = [], replaceable = [] } = sites[host] ?? {};
  byId("site-switch").checked = siteOn;
  byId("privacy").value = privacy;
  const names = [...new Set([...offered, ...replaceable])];
  byId("models-summary").textContent = `Models that may be replaced: ${replaceable.length} of ${names.length}`;
  byId("models-note").textContent = names.length > 0 ? "A request for a marked model goes to the cheapest capable one on offer."
    : "The page has listed no models yet. Reload it.";
  const focused = /** @type {HTMLInputElement | null} */ (document.activeElement)?.value;
  byId("models").replaceChildren(...names.map((name) => h("li", {}, h("label", {},
    h("input", { type: "checkbox", value: name, checked: replaceable.includes(name), onchange: ({ target }) => mark(name, target.checked) }),
    h("span", { textContent: name })))));
  // Drawing anew is not to take the keyboard's place away.
  if (focused) [...byId("models").querySelectorAll("input")].find(({ value }) => value === focused)?.focus();
}

/** @param {import("./store.js").State} state */
function drawTotals({ totals, receipts }) {
  byId("saved").textContent = usd(totals.saving_usd);
  byId("calls").textContent = totals.calls === 0 ? "no requests yet"
    : `over ${count(totals.calls)} request${totals.calls === 1 ? "" : "s"} that cost about ${usd(totals.cost_usd)}`;
  byId("receipts").replaceChildren(...receipts.slice(0, SHOWN).map(item));
  byId("clear").hidden = receipts.length === 0;
  byId("empty").hidden = receipts.length > 0;
}

/** @param {import("./store.js").Receipt} receipt */
function item({ at, site, model, asked, code, reason, quality, cost_usd: cost, saving_usd: saving, baseline }) {
  const time = new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return h("li", {},
    h("div", { className: "row" },
      h("strong", { textContent: shortName(model) }),
      saving !== null && saving > 0
        ? h("span", { className: "saving", textContent: `saved ${usd(saving)}`, title: `compared with ${asked ? "" : "always "}${shortName(baseline ?? "")}` })
        : h("span", { className: "quiet", textContent: CODES[code] ?? code })),
    h("p", { className: "why", textContent: reason, title: reason }),
    h("p", { className: "quiet", textContent: `${asked ? `instead of ${asked} · ` : ""}cost ${usd(cost)} · quality ${percent(quality)} · ${time}, ${site}` }));
}

async function setUpTarget() {
  const traffic = await ask({ type: "traffic" });
  if (!traffic) {
    byId("quality-cost").textContent = "The router could not be loaded";
    return;
  }
  const { frontier, constants } = traffic;
  const usual = defaultTarget(constants);
  slider.min = String(Math.ceil(frontier[0].quality * 1000) / 1000);
  slider.max = String(Math.floor(frontier[frontier.length - 1].quality * 1000) / 1000);

  const show = () => {
    const target = slider.valueAsNumber;
    const constant = cheapestConstant(constants, target);
    byId("quality-value").textContent = percent(target, 1);
    byId("quality-cost").textContent = `${usdPerThousand(meanCost(frontier, target))} per 1,000 average prompts${
      constant ? `, ${usdPerThousand(constant.cost_usd)} with ${nameInText(constant.model)} alone` : ""}`;
  };
  const set = async () => {
    const { quality } = onSite(await read(), host ?? "").policy;
    // The settings take any target; the slider shows it, also beyond what models reach.
    if (quality !== null) [slider.min, slider.max] = [Math.min(Number(slider.min), quality), Math.max(Number(slider.max), quality)].map(String);
    slider.value = String(quality ?? usual);
    byId("default").hidden = quality === null;
    slider.disabled = false;
    show();
  };
  slider.addEventListener("input", show);
  slider.addEventListener("change", () => savePolicy({ quality: slider.valueAsNumber }).then(set));
  byId("default").addEventListener("click", () => savePolicy({ quality: null }).then(set));
  await set();
}

async function enableSite() {
  const pattern = patternOf(/** @type {URL} */ (address).href);
  const granted = await enable(pattern).catch(complain);
  byId("site-note").textContent = granted ? "" : "Not granted.";
  if (!granted) return;
  host = /** @type {URL} */ (address).host;
  byId("site-note").replaceChildren("Enabled from the page's next load on. ",
    h("button", { type: "button", className: "link", textContent: "Reload it now", onclick: () => chrome.tabs.reload(/** @type {number} */ (tab.id)) }));
  await draw();
  byId("site-switch").focus();
}

/**
 * @param {string} name
 * @param {boolean} checked
 */
function mark(name, checked) {
  const site = /** @type {string} */ (host);
  return save(({ sites }) => {
    const others = (sites[site]?.replaceable ?? []).filter((one) => one !== name);
    return withSite(sites, site, { replaceable: checked ? [...others, name] : others });
  });
}

/** @param {Partial<import("./settings.js").Site>} change */
function saveSite(change) {
  return save(({ sites }) => withSite(sites, /** @type {string} */ (host), change));
}

/** @param {Partial<import("./settings.js").Policy>} change */
function savePolicy(change) {
  return save((state) => withPolicy(state, host, change));
}

/** @param {Parameters<typeof update>[0]} change */
function save(change) {
  return attempt(() => update(change));
}

/** @param {() => Promise<void>} write */
async function attempt(write) {
  await write().catch((error) => complain({ during: "save", message: error.message }));
}

/** @param {{ message: string, during?: string }} problem */
function complain({ message, during }) {
  byId("problem").textContent = `${FAILED[during ?? ""] ?? "Something went wrong"}: ${message}`;
  byId("problem").hidden = false;
}
