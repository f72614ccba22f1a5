/** *Try*: one prompt, what every model would make of it, the choice, and the policy that it follows. */
import { decisionCard } from "./decision.js";
import { byId, h } from "./dom.js";
import { EXAMPLES } from "./examples.js";
import { count, nameInText, percent, usdPerThousand } from "./format.js";
import { readRequest } from "./policy.js";
import { joinRows } from "./rows.js";
import { modelsTable } from "./table.js";
import { cheapestConstant, defaultTarget, drawCurve, meanCost } from "./traffic.js";

/** A pause in typing this long asks for a decision. */
const DEBOUNCE_MS = 60;
/** A plot narrower than this is not laid out yet. */
const LEAST_WIDTH = 160;

const prompt = /** @type {HTMLTextAreaElement} */ (byId("prompt"));
const policy = /** @type {HTMLFormElement} */ (byId("policy"));
const slider = /** @type {HTMLInputElement} */ (byId("quality"));
const plot = byId("plot");
const card = decisionCard(byId("decision"));
const table = modelsTable(byId("table"), highlight);

/** @type {import("./client.js").Client} */
let client;
let loaded = false;
/** The catalog's frontier and constant choices; null until the first decision stands. */
let traffic = null;
/** The last answer. */
let shown = null;

/** Shown before the router is there: its loading is this view's. @param {import("../app.js").App} app */
export function mount(app) {
  client = app.client;
  app.addEventListener("progress", ({ loaded, total }) => card.progress(loaded, total));
  app.addEventListener("loading", () => card.loading());
  app.addEventListener("failed", ({ error }) => card.error(error, app.load));
  app.addEventListener("catalog", reconsider);
  wire();
}

/** Decides anew, over a catalog that is new too. */
async function reconsider() {
  loaded = true;
  await consider();
  traffic = await client.call("traffic");
  setUpTarget();
}

function wire() {
  const [first] = EXAMPLES;
  prompt.value ||= first.prompt;
  byId("examples").append(...EXAMPLES.map((example) => h("button", {
    type: "button",
    className: "chip",
    textContent: example.label,
    onclick: () => {
      prompt.value = example.prompt;
      consider();
    },
  })));

  let timer = 0;
  const soon = () => {
    clearTimeout(timer);
    timer = setTimeout(consider, DEBOUNCE_MS);
  };
  prompt.addEventListener("input", soon);
  policy.addEventListener("input", () => {
    if (traffic) showTarget();
    soon();
  });
  policy.addEventListener("submit", (event) => event.preventDefault());
  policy.addEventListener("reset", () => setTimeout(() => {
    if (traffic) setUpTarget();
    consider();
  }));
  byId("receipt-copy").addEventListener("click", copyReceipt);

  let width = 0;
  new ResizeObserver(([{ contentRect }]) => {
    if (contentRect.width === width) return;
    width = contentRect.width;
    drawChart();
  }).observe(plot);
}

/** One call at a time; what changes meanwhile is asked next, and only the latest of it. */
let busy = false;
let again = false;

async function consider() {
  again = true;
  if (busy || !loaded) return;
  busy = true;
  while (again) {
    again = false;
    try {
      show(await client.call("consider", readRequest(policy, prompt.value)));
    } catch (error) {
      card.error(error);
    }
  }
  busy = false;
}

function show({ decision, estimates }) {
  const rows = joinRows(decision, estimates);
  const first = shown === null;
  shown = { decision, rows };
  byId("prompt-size").textContent = `about ${count(estimates.input_tokens)} tokens in`;
  card.show(decision, rows);
  // The decision is painted before the figures behind it are drawn.
  if (first) requestAnimationFrame(() => setTimeout(showRest));
  else showRest();
}

function showRest() {
  const { decision, rows } = shown;
  const excluded = decision.excluded.length;
  byId("models-count").textContent = `${count(rows.length)} in the catalog${excluded ? `, ${count(excluded)} excluded` : ""}`;
  table.show(rows);
  byId("receipt-id").textContent = decision.id;
  byId("receipt-json").textContent = JSON.stringify(decision, null, 2);
  drawChart();
}

async function drawChart() {
  if (!shown || plot.clientWidth < LEAST_WIDTH) return;
  // The plot's library is most of the page's script, and waits until there is something to draw.
  const { chart } = await import("./chart.js");
  const { rows, decision } = shown;
  plot.replaceChildren(chart(rows, { width: plot.clientWidth, floor: decision.target.floor, cap: decision.target.cap_usd }));
}

/**
 * Rings one model's point in the plot.
 * @param {string | null} model
 */
function highlight(model) {
  const svg = plot.firstElementChild;
  svg?.querySelector(".ring")?.remove();
  const at = model && svg?.at(model);
  if (!at) return;
  const ring = document.createElementNS("http://www.w3.org/2000/svg", "circle");
  for (const [name, value] of Object.entries({ class: "ring", cx: at[0], cy: at[1], r: 11 })) ring.setAttribute(name, String(value));
  svg.append(ring);
}

/** Puts the slider on the catalog's range, at the default target. */
function setUpTarget() {
  const { frontier, constants } = traffic;
  const [first, last] = [frontier[0], frontier[frontier.length - 1]];
  slider.min = String(Math.ceil(first.quality * 1000) / 1000);
  slider.max = String(Math.floor(last.quality * 1000) / 1000);
  slider.defaultValue = String(defaultTarget(constants));
  slider.value = slider.defaultValue;
  slider.disabled = false;
  showTarget();
}

function showTarget() {
  const { frontier, constants } = traffic;
  const target = slider.valueAsNumber;
  const cost = meanCost(frontier, target);
  const constant = cheapestConstant(constants, target);
  byId("quality-value").textContent = percent(target, 1);
  slider.setAttribute("aria-valuetext", percent(target, 1));
  byId("quality-cost").textContent = `${usdPerThousand(cost)} per 1,000 prompts of average traffic; ${
    constant ? `always ${nameInText(constant.model)} would be ${usdPerThousand(constant.cost_usd)}` : "no single model reaches it"}`;
  drawCurve(byId("curve"), frontier, target);
}

async function copyReceipt({ currentTarget: button }) {
  const text = byId("receipt-json").textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    // No permission (or no secure context): select it, so that the keyboard can copy.
    getSelection()?.selectAllChildren(byId("receipt-json"));
    button.textContent = "Selected";
  }
  setTimeout(() => (button.textContent = "Copy"), 1500);
}
