/** *Try*: one prompt, what every model would make of it, the choice, and the policy that it follows. */
import { decisionCard } from "./decision.js";
import { byId, h } from "./dom.js";
import { EXAMPLES } from "./examples.js";
import { count, nameInText, percent, usdPerThousand } from "./format.js";
import { fillPolicy, policyHash, policyOfHash, readPolicy, readRequest } from "./policy.js";
import { joinRows } from "./rows.js";
import { switchStrip } from "./switches.js";
import { modelsTable } from "./table.js";
import { cheapestConstant, defaultTarget, drawCurve, meanCost } from "./traffic.js";
import { reasons } from "./why.js";

/** A pause in typing this long asks for a decision. */
const DEBOUNCE_MS = 60;
/** A plot narrower than this is not laid out yet. */
const LEAST_WIDTH = 160;

const prompt = /** @type {HTMLTextAreaElement} */ (byId("prompt"));
const policy = /** @type {HTMLFormElement} */ (byId("policy"));
const slider = /** @type {HTMLInputElement} */ (byId("quality"));
const plot = byId("plot");
const card = decisionCard(byId("decision"));
const strip = switchStrip(byId("decision"), slider, chooseTarget);
const table = modelsTable(byId("table"), highlight);

/** @type {import("../app.js").App} */
let app;
/** @type {import("./client.js").Client} */
let client;
let loaded = false;
/** The catalog's frontier and constant choices; null until the first decision stands. */
let traffic = null;
/** The last answer. */
let shown = null;

/** Shown before the router is there: its loading is this view's. @param {import("../app.js").App} shared */
export function mount(shared) {
  app = shared;
  client = app.client;
  app.addEventListener("progress", ({ loaded, total }) => card.progress(loaded, total));
  app.addEventListener("loading", () => card.loading());
  app.addEventListener("failed", ({ error }) => card.error(error, app.load));
  app.addEventListener("catalog", reconsider);
  app.addEventListener("settings", () => {
    const kept = app.state.settings.policy ?? {};
    dropLink();
    if (policyHash(kept) !== policyHash(readPolicy(policy))) usePolicy(kept);
  });
  addEventListener("hashchange", () => {
    const linked = policyOfHash(location.hash);
    if (linked) usePolicy(linked);
  });
  wire();
}

/** Decides anew, over a catalog that is new too. */
async function reconsider() {
  const first = !loaded;
  loaded = true;
  // A target that was kept counts from the first decision on, though its range is not known yet.
  if (first) {
    fillPolicy(policy, startingPolicy());
    slider.disabled = startingPolicy().quality === undefined;
  }
  await consider();
  traffic = await client.call("traffic");
  setUpTarget();
}

/** The policy that the address carries, or else the one that was kept. */
const startingPolicy = () => policyOfHash(location.hash) ?? app.state.settings.policy ?? {};

/** @param {Record<string, string | boolean>} values */
function usePolicy(values) {
  fillPolicy(policy, values);
  if (traffic) showTarget();
  consider();
}

/** The policy of the address counts until another is kept. */
function dropLink() {
  if (policyOfHash(location.hash)) history.replaceState(null, "", "#try");
}

function keepPolicy() {
  dropLink();
  const values = readPolicy(policy);
  app.state.set("policy", Object.keys(values).length > 0 ? values : undefined);
  app.emit("kept");
}

/** A target that the strip of choices offers. @param {number} quality */
function chooseTarget(quality) {
  slider.value = String(quality);
  showTarget();
  keepPolicy();
  consider();
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
      keepPrompt();
    },
  })));

  let timer = 0;
  const soon = () => {
    clearTimeout(timer);
    timer = setTimeout(consider, DEBOUNCE_MS);
  };
  prompt.addEventListener("input", soon);
  // Once it is left: not every letter of it.
  prompt.addEventListener("change", keepPrompt);
  policy.addEventListener("input", () => {
    if (traffic) showTarget();
    soon();
  });
  policy.addEventListener("change", keepPolicy);
  policy.addEventListener("submit", (event) => event.preventDefault());
  policy.addEventListener("reset", () => setTimeout(() => {
    if (traffic) setUpTarget();
    keepPolicy();
    consider();
  }));
  byId("policy-link").addEventListener("click", copyLink);
  byId("receipt-copy").addEventListener("click", copyReceipt);

  let width = 0;
  new ResizeObserver(([{ contentRect }]) => {
    if (contentRect.width === width) return;
    width = contentRect.width;
    drawChart();
  }).observe(plot);
}

function keepPrompt() {
  app.state.tried(prompt.value);
  app.emit("kept");
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
    const request = readRequest(policy, prompt.value);
    try {
      show(await client.call("consider", request));
      // The reasons take longer than the decision; what is decided next does not wait for them.
      if (!again) explain(request);
    } catch (error) {
      card.error(error);
    }
  }
  busy = false;
}

/** @param {import("pennyroute").RouteRequest} request */
async function explain(request) {
  const { decision } = shown;
  const explanation = await client.call("explain", request).catch(() => null);
  // Another decision, or an error of it, may stand by now.
  if (!explanation || shown.decision !== decision) return;
  shown.explanation = explanation;
  strip.show(explanation);
  const why = reasons(explanation);
  for (const row of shown.rows) row.why = why.get(row.model) ?? "";
  table.show(shown.rows);
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
  // A target that the user has set stays; else it is the catalog's default.
  const own = slider.disabled || slider.value === slider.defaultValue ? undefined : slider.value;
  slider.defaultValue = defaultTarget(constants).toFixed(3);
  slider.value = own ?? slider.defaultValue;
  slider.disabled = false;
  showTarget();
  // Its segments are cut to the range.
  if (shown?.explanation) strip.show(shown.explanation);
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

async function copyLink({ currentTarget: button }) {
  const hash = policyHash(readPolicy(policy));
  try {
    await navigator.clipboard.writeText(new URL(hash, location.href).href);
    button.textContent = "Copied";
  } catch {
    // No permission (or no secure context): the address has it.
    history.replaceState(null, "", hash);
    button.textContent = "It is in the address";
  }
  setTimeout(() => (button.textContent = "Copy a link to it"), 1500);
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
