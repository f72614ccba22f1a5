/** The options page: policy, sites, providers, catalog, and the way to erase it all. */
import { byId, h } from "../page/dom.js";
import { count } from "../page/format.js";
import { ask } from "./ask.js";
import { PRIVACY } from "./labels.js";
import { policyFields } from "./policy-form.js";
import { withPolicy, withSite } from "./settings.js";
import { added, disable, enable, grantsOf, hostOf, patternOf } from "./sites.js";
import { erase, read, update } from "./store.js";

/** A catalog has some hundred models and 100 kB; storage ends at 5 MB or 10. */
const CATALOG_LIMIT_BYTES = 4_000_000;

byId("add-site").addEventListener("submit", addSite);
byId("export").addEventListener("click", exportCatalog);
byId("import").addEventListener("change", importCatalog);
byId("built-in").addEventListener("click", () => save(() => ({ catalog: null })).then(() => say("catalog-note", "The built-in catalog is in use.")));
byId("erase").addEventListener("click", () => byId("confirm").showModal());
byId("confirm").addEventListener("close", () => byId("confirm").returnValue === "yes" && eraseAll());
chrome.storage.onChanged.addListener((changes) => {
  if (changes.catalog || changes.providers) drawCatalog();
  if (changes.receipts) drawData();
  // A site's card is drawn anew for a site that came or went; what is typed in one stays.
  if (changes.sites && String(Object.keys(changes.sites.oldValue ?? {})) !== String(Object.keys(changes.sites.newValue ?? {}))) drawSites();
});

drawPolicy();
drawSites();
drawCatalog();
drawData();

async function drawPolicy() {
  const { policy } = await read();
  byId("policy").replaceChildren(...policyFields(policy, null, (change) => save((state) => withPolicy(state, null, change))));
}

async function drawSites() {
  const { sites, policy } = await read();
  const granted = await added();
  // A grant is for all ports of a host; it has a card of its own until one of them was visited.
  const visited = Object.keys(sites);
  const wasVisited = (hostname) => visited.some((host) => new URL(`http://${host}`).hostname === hostname);
  const unvisited = granted.map(hostOf).filter((hostname) => hostname !== null && !wasVisited(hostname));
  const hosts = [...new Set([...unvisited, ...visited])].sort();
  const cards = await Promise.all(hosts.map(async (host) => card(host, sites[host] ?? {}, policy, await grantsOf(host))));
  byId("sites").replaceChildren(...cards);
}

/**
 * One site.
 * @param {string} host
 * @param {import("./settings.js").Site} site
 * @param {import("./settings.js").Policy} policy that holds everywhere
 * @param {Awaited<ReturnType<typeof grantsOf>>} grants
 */
function card(host, site, policy, { enabled, own }) {
  const { on = true, privacy = "ordinary", offered = [], replaceable = [], never = [] } = site;
  const change = (part) => save(({ sites }) => withSite(sites, host, part));
  const names = [...new Set([...offered, ...replaceable, ...never])];
  // Of a site that is enabled from the start, or with all others, only what was set can go.
  const verb = own.length > 0 ? "Remove" : "Forget";
  const summary = h("summary");
  const tell = (marked) => (summary.textContent = `Models: ${marked} of ${names.length} may be replaced`);
  tell(replaceable.length);
  const choice = h("select", { onchange: ({ target }) => change({ privacy: target.value }) },
    ...Object.entries(PRIVACY).map(([value, textContent]) => h("option", { value, textContent, selected: value === privacy })));
  return h("article", { className: "card", "aria-label": host },
    h("div", { className: "row" },
      h("h3", { textContent: host }),
      h("div", { className: "controls" },
        h("label", { className: "switch" },
          h("input", { type: "checkbox", role: "switch", checked: on, "aria-label": `Route requests on ${host}`, onchange: ({ target }) => change({ on: target.checked }) }),
          h("span", { textContent: "Route requests" })),
        h("button", { type: "button", className: "link", textContent: verb, "aria-label": `${verb} ${host}`, onclick: () => remove(host, own) }))),
    enabled ? null : h("p", { className: "quiet", textContent: "The browser no longer grants this site. Add it again above." }),
    h("label", { className: "controls" }, h("span", { textContent: "Prompts here" }), choice),
    h("details", {}, summary,
      names.length > 0 ? models(host, names, { replaceable, never }, tell) : h("p", { className: "quiet", textContent: "The page has listed none yet." })),
    h("details", {}, h("summary", { textContent: "Policy of this site" }),
      h("form", { className: "policy" }, ...policyFields(site.policy ?? {}, policy, (part) => save((state) => withPolicy(state, host, part))))));
}

/**
 * The models of a site, each to be marked.
 * @param {string} host
 * @param {string[]} names
 * @param {{ replaceable: string[], never: string[] }} lists
 * @param {(replaceable: number) => void} changed
 */
function models(host, names, lists, changed) {
  const marked = { replaceable: new Set(lists.replaceable), never: new Set(lists.never) };
  const box = (list, name, label, checked, mark) => h("td", {}, h("input", {
    type: "checkbox", checked, "aria-label": label,
    onchange: async ({ target }) => {
      marked[list][target.checked === mark ? "add" : "delete"](name);
      changed(marked.replaceable.size);
      await save(({ sites }) => withSite(sites, host, { [list]: [...marked[list]] }));
    },
  }));
  return h("div", { className: "scroll", role: "region", "aria-label": `Models on ${host}`, tabIndex: 0 }, h("table", {},
    h("thead", {}, h("tr", {}, ...["Model", "May be replaced", "May be chosen"].map((textContent) => h("th", { scope: "col", textContent })))),
    h("tbody", {}, ...names.map((name) => h("tr", {},
      h("td", { textContent: name }),
      box("replaceable", name, `${name} may be replaced`, marked.replaceable.has(name), true),
      box("never", name, `${name} may be chosen`, !marked.never.has(name), false))))));
}

/** @param {SubmitEvent} event */
async function addSite(event) {
  event.preventDefault();
  const input = /** @type {HTMLInputElement} */ (byId("site"));
  try {
    const granted = await enable(patternOf(input.value));
    say("site-note", granted ? "Enabled from the page's next load on." : "Not granted.");
    if (granted) {
      input.value = "";
      await drawSites();
    }
  } catch (error) {
    say("site-note", error.message);
  }
}

/**
 * @param {string} host
 * @param {string[]} patterns that are granted for it alone
 */
async function remove(host, patterns) {
  if (patterns.length > 0) await disable(patterns);
  await save(({ sites: { [host]: _gone, ...sites } }) => ({ sites }));
  await drawSites();
  byId("site").focus();
}

async function drawCatalog() {
  const { catalog: own, providers } = await read();
  const catalog = await ask({ type: "catalog" });
  byId("built-in").hidden = own === null;
  if (!catalog) {
    const { problem } = await chrome.storage.session.get("problem");
    say("catalog-state", `The catalog could not be loaded: ${problem?.message ?? "the router has no answer"}`);
    return;
  }
  say("catalog-state", `${own ? "Your own" : "The built-in one"}: version ${catalog.version}, ${count(catalog.models.length)} models.`);
  /** @type {Map<string, import("pennyroute").CatalogModel[]>} */
  const makers = new Map();
  for (const model of catalog.models) makers.set(model.provider, [...(makers.get(model.provider) ?? []), model]);
  if (byId("providers").contains(document.activeElement)) return;
  byId("providers").replaceChildren(...[...makers].sort(([a], [b]) => a.localeCompare(b)).map(([name, models]) => {
    const box = (label, field, checked) => h("td", {}, h("input", {
      type: "checkbox", checked, "aria-label": `${name}: ${label}`,
      onchange: ({ target }) => save((state) => ({ providers: { ...state.providers, [name]: { ...state.providers[name], [field]: target.checked } } })),
    }));
    return h("tr", {}, h("td", { textContent: name }), h("td", { textContent: count(models.length) }),
      box("allowed", "allowed", providers[name]?.allowed ?? true), box("private", "private", models.every((model) => model.private)));
  }));
}

async function exportCatalog() {
  const catalog = await ask({ type: "catalog" });
  if (!catalog) return say("catalog-note", "There is no catalog to export.", true);
  const url = URL.createObjectURL(new Blob([JSON.stringify(catalog, null, 1)], { type: "application/json" }));
  h("a", { href: url, download: `pennyroute-catalog-${catalog.version}.json` }).click();
  URL.revokeObjectURL(url);
}

/** @param {Event} event */
async function importCatalog({ target }) {
  const input = /** @type {HTMLInputElement} */ (target);
  const [file] = input.files ?? [];
  // The same file again is a change again.
  const done = () => (input.value = "");
  if (!file) return;
  if (file.size > CATALOG_LIMIT_BYTES) {
    say("catalog-note", `${file.name}: ${count(file.size / 1e6)} MB; a catalog may have ${CATALOG_LIMIT_BYTES / 1e6} MB`, true);
    return done();
  }
  try {
    const catalog = JSON.parse(await file.text());
    const checked = await ask({ type: "check", catalog });
    if (!checked) throw new Error("it could not be checked; try again");
    if (!checked.ok) throw Object.assign(new Error(checked.message), { code: checked.code });
    await update(() => ({ catalog }));
    say("catalog-note", `${file.name} is in use.`);
  } catch (error) {
    say("catalog-note", `${file.name}: ${error instanceof SyntaxError ? "not JSON: " : error.code ? `${error.code}: ` : ""}${error.message}`, true);
  }
  done();
}

async function drawData() {
  const { receipts } = await read();
  byId("receipt-count").textContent = `${count(receipts.length)} receipt${receipts.length === 1 ? "" : "s"}`;
}

async function eraseAll() {
  const origins = await added();
  if (origins.length > 0) await disable(origins);
  await erase();
  await Promise.all([drawPolicy(), drawSites(), drawCatalog(), drawData()]);
  say("erase-note", "Erased.");
}

/** @param {Parameters<typeof update>[0]} change */
async function save(change) {
  byId("problem").hidden = true;
  await update(change).catch((error) => {
    say("problem", `Not saved: ${error.message}`);
    byId("problem").hidden = false;
  });
}

/**
 * @param {string} id
 * @param {string} text
 * @param {boolean} [bad]
 */
function say(id, text, bad = false) {
  byId(id).textContent = text;
  byId(id).classList.toggle("bad", bad);
}
