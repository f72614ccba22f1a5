/** *Models*: the catalog, its models one by one, and what the user makes of it. */
import { inWords } from "./changes.js";
import { byId, h, inError, refill, slots } from "./dom.js";
import { count, effortName, modelParts, shortName } from "./format.js";
import { SOURCES } from "./ability.js";
import { checkSize } from "./files.js";
import { addForm } from "./models/add.js";
import { catalogTable } from "./models/catalog-table.js";
import { detailDialog } from "./models/detail.js";
import { fittedDialog } from "./models/fitted.js";
import { save } from "./save.js";

/** Larger catalogs are refused before they are read. */
const MOST_BYTES = 20e6;

/** @param {import("../app.js").App} app */
export function mount(app) {
  const slot = slots(byId("models"));
  const { client, state } = app;
  const changes = () => state.settings.changes ?? {};
  /** What the worker said last. */
  let known = null;

  const table = catalogTable(slot.table, (id) => detail.show(id, known));
  const detail = detailDialog(slot.detail, { app, refocus: table.focus });
  const fitted = fittedDialog(slot.fitted, app);
  const adding = addForm(slot, { client, add: (model) => app.change((changes) => ({ ...changes, [model.id]: model })), known: () => known });

  const filters = /** @type {HTMLFormElement} */ (slot.filters);
  filters.oninput = filter;
  filters.onsubmit = (event) => event.preventDefault();
  slot.add.onclick = adding.open;
  slot.learn.onclick = () => slot["learn-file"].click();
  slot["learn-file"].onchange = () => withFile(slot["learn-file"], learn);
  slot.import.onclick = () => slot["import-file"].click();
  slot["import-file"].onchange = () => withFile(slot["import-file"], importCatalog);
  slot.export.onclick = async () => save(new Blob([`${JSON.stringify(await client.call("exported"), null, 1)}\n`], { type: "application/json" }), "catalog.json");
  slot.reset.onclick = () => change(() => ({}));
  app.follow("models", read);
  // A plan may have been made meanwhile.
  app.addEventListener("shown", filter);

  async function read() {
    known = await client.call("catalog");
    slot.unused.hidden = !app.unused;
    if (app.unused) slot.unused.replaceChildren("What was kept of your changes and ratings fits this catalog no longer and is left out. ", h("code", { textContent: app.unused.code }), ` ${app.unused.message}`);
    options();
    filter();
    listChanges();
    detail.update(known);
  }

  /** Puts changes to use, or says why not. @param {Parameters<typeof app.change>[0]} update */
  async function change(update) {
    fail(null);
    await app.change(update).catch(fail);
  }

  function options() {
    const models = known.catalog.models;
    fill(filters.elements.namedItem("provider"), "All providers", models.map(({ provider }) => provider), (name) => name);
    fill(filters.elements.namedItem("effort"), "All efforts", models.map(({ effort }) => effort), (effort) => (effort === "none" ? effortName(effort) : `${effort} effort`));
    fill(filters.elements.namedItem("source"), "All sources", models.map(({ ability }) => ability?.source ?? "unknown"), (source) => `by ${SOURCES[source] ?? "nothing yet"}`);
  }

  function filter() {
    if (!known) return;
    const wanted = Object.fromEntries(new FormData(filters));
    const words = String(wanted.search).toLowerCase().split(/\s+/).filter(Boolean);
    const shown = known.catalog.models.filter((model) => words.every((word) => model.id.toLowerCase().includes(word))
      && (!wanted.provider || model.provider === wanted.provider)
      && (!wanted.effort || model.effort === wanted.effort)
      && (wanted.among !== "plan" || app.planned.has(model.id))
      && (wanted.among !== "mine" || model.id in changes())
      && (!wanted.source || (model.ability?.source ?? "unknown") === wanted.source));
    const all = known.catalog.models.length;
    slot.count.textContent = shown.length === all ? `${count(all)} models` : `${count(shown.length)} of ${count(all)} models`;
    table.show(shown, known, changes());
  }

  function listChanges() {
    const entries = Object.entries(changes());
    const before = new Map(known.shipped.models.map((model) => [model.id, model]));
    if (entries.length === 0 && slot.changes.contains(document.activeElement)) slot.table.focus();
    slot.changes.hidden = entries.length === 0;
    slot["changes-count"].textContent = entries.length === 1 ? "1 change to the shipped catalog" : `${count(entries.length)} changes to the shipped catalog`;
    refill(slot["changes-list"], entries.map(([id, model]) => h("li", {},
      h("span", { className: "name", textContent: shortName(id) }), ` ${modelParts(id).provider}: ${inWords(before.get(id), model)} `,
      h("button", {
        type: "button",
        className: "link",
        textContent: "Undo",
        "aria-label": `Undo the change of ${id}`,
        onclick: () => change(({ [id]: _, ...others }) => others),
      }))), slot.table);
  }

  /** @param {File} file */
  async function importCatalog(file) {
    checkSize(file, MOST_BYTES);
    const imported = await client.call("imported", { text: await file.text() });
    await change(() => imported);
  }

  /** @param {File} file */
  async function learn(file) {
    const { outcomes, bad } = await client.call("readOutcomes", { file });
    const models = await client.call("fitOutcomes", { outcomes });
    fitted.show({ name: file.name, models, bad });
  }

  /** @param {HTMLInputElement} input @param {(file: File) => Promise<void>} use */
  async function withFile(input, use) {
    const [file] = input.files;
    fail(null);
    try {
      if (file) await use(file);
    } catch (error) {
      fail(error);
    }
    // The same file again, corrected, is a change too.
    input.value = "";
  }

  /** @param {{ code?: string, message: string } | null} error */
  function fail(error) {
    slot.error.hidden = error === null;
    slot.error.replaceChildren(...(error ? inError(error) : []));
  }
}

/**
 * The distinct values, with what was selected kept.
 * @param {any} select
 * @param {string} all
 * @param {(string | null | undefined)[]} values
 * @param {(value: string) => string} words
 */
function fill(select, all, values, words) {
  const { value } = select;
  const distinct = [...new Set(values.filter(Boolean))].sort();
  select.replaceChildren(h("option", { value: "", textContent: all }), ...distinct.map((each) => h("option", { value: each, textContent: words(each) })));
  select.value = distinct.includes(value) ? value : "";
}
