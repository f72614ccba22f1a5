/** The popup: on and off, the quality target, what was decided and what it saved. */
import { byId, h } from "../page/dom.js";
import { CODES, count, nameInText, percent, shortName, usd, usdPerThousand } from "../page/format.js";
import { cheapestConstant, defaultTarget, meanCost } from "../page/traffic.js";
import { added, BUILT_IN, disable, enable } from "./sites.js";
import { clear, read, write } from "./store.js";

/** Receipts shown; more are kept. */
const SHOWN = 4;

const on = /** @type {HTMLInputElement} */ (byId("on"));
const slider = /** @type {HTMLInputElement} */ (byId("quality"));

on.addEventListener("change", () => write({ on: on.checked }));
byId("clear").addEventListener("click", clear);
// Another page's receipt may come in while the popup is open.
chrome.storage.onChanged.addListener(draw);
byId("add-site").addEventListener("submit", addSite);

draw();
drawSites();
setUpTarget();

async function draw() {
  const { on: isOn, receipts, totals } = await read();
  on.checked = isOn;
  byId("on-label").textContent = isOn ? "On" : "Off";
  byId("saved").textContent = usd(totals.saving_usd);
  byId("calls").textContent = totals.calls === 0 ? "no calls yet"
    : `over ${count(totals.calls)} call${totals.calls === 1 ? "" : "s"} that cost about ${usd(totals.cost_usd)}`;
  byId("receipts").replaceChildren(...receipts.slice(0, SHOWN).map(item));
  byId("clear").hidden = receipts.length === 0;
  byId("empty").hidden = receipts.length > 0;
}

/** @param {import("./store.js").Receipt} receipt */
function item({ at, site, model, code, reason, quality, cost_usd: cost, saving_usd: saving, baseline }) {
  const time = new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return h("li", {},
    h("div", { className: "row" },
      h("strong", { textContent: shortName(model) }),
      saving !== null && saving > 0
        ? h("span", { className: "saving", textContent: `saved ${usd(saving)}`, title: `compared with always ${shortName(baseline)}` })
        : h("span", { className: "quiet", textContent: CODES[code] ?? code })),
    h("p", { className: "why", textContent: reason, title: reason }),
    h("p", { className: "quiet", textContent: `cost ${usd(cost)} · quality ${percent(quality)} · ${time}, ${site}` }));
}

async function setUpTarget() {
  const traffic = await chrome.runtime.sendMessage({ type: "traffic" });
  if (!traffic) {
    byId("quality-cost").textContent = "The router could not be loaded";
    return;
  }
  const { frontier, constants } = traffic;
  const usual = defaultTarget(constants);
  slider.min = String(Math.ceil(frontier[0].quality * 1000) / 1000);
  slider.max = String(Math.floor(frontier[frontier.length - 1].quality * 1000) / 1000);
  slider.value = String((await read()).quality ?? usual);
  slider.disabled = false;

  const show = () => {
    const target = slider.valueAsNumber;
    const constant = cheapestConstant(constants, target);
    byId("quality-value").textContent = percent(target, 1);
    byId("quality-cost").textContent = `${usdPerThousand(meanCost(frontier, target))} per 1,000 average prompts${
      constant ? `, ${usdPerThousand(constant.cost_usd)} with ${nameInText(constant.model)} alone` : ""}`;
  };
  slider.addEventListener("input", show);
  slider.addEventListener("change", async () => {
    await write({ quality: slider.valueAsNumber });
    byId("default").hidden = false;
  });
  byId("default").hidden = (await read()).quality === null;
  byId("default").addEventListener("click", async () => {
    await write({ quality: null });
    slider.value = String(usual);
    byId("default").hidden = true;
    show();
  });
  show();
}

async function drawSites() {
  byId("sites").replaceChildren(
    ...BUILT_IN.map((pattern) => h("li", {}, h("code", { textContent: pattern }))),
    ...(await added()).map((pattern) => h("li", {}, h("code", { textContent: pattern }),
      h("button", { type: "button", className: "link", textContent: "Disable", "aria-label": `Disable ${pattern}`, onclick: () => disable(pattern).then(drawSites) }))));
}

/** @param {SubmitEvent} event */
async function addSite(event) {
  event.preventDefault();
  const input = /** @type {HTMLInputElement} */ (byId("site"));
  const granted = await enable(input.value).catch((error) => error);
  byId("site-note").textContent = granted === true ? "Enabled from the page's next load on." : granted ? granted.message : "Not granted.";
  if (granted === true) input.value = "";
  drawSites();
}
