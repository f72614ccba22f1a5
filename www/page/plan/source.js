/** Where a batch comes from: a file, what its columns mean, and the work until all is estimated. */
import { h } from "../dom.js";
import { count } from "../format.js";
import { sampleFile } from "./sample.js";
import { save } from "../save.js";
import { duration } from "./words.js";

/** Screen readers hear of the progress this often. */
const SAY_EVERY = 0.25;

/**
 * @param {Record<string, any>} slot
 * @param {import("../../app.js").App} app
 * @param {(batch: { name: string, estimated: number, models: string[] } | null) => void} onBatch called when
 *   there is something to plan, and with null when there is no longer
 */
export function sourceCard(slot, app, onBatch) {
  const { client } = app;
  const form = /** @type {HTMLFormElement} */ (slot.columns);
  /** The file that is being looked at, and what it was found to be. */
  let [file, found] = [null, null];
  let batch = null;
  let working = new AbortController();
  /** Some estimates are by another catalog than the one in use. */
  let stale = false;

  /** Shows one stage of the card. @param {"drop" | "columns" | "work" | "batch"} stage */
  function stage(stage) {
    for (const each of ["drop", "columns", "work", "batch"]) slot[each].hidden = each !== stage;
    slot.other.hidden = stage === "drop" || stage === "work";
  }

  /** Does something in place of what was being done. @param {(signal: AbortSignal) => Promise<void>} task */
  async function run(task) {
    working.abort();
    const mine = (working = new AbortController());
    slot.error.hidden = true;
    try {
      await task(mine.signal);
    } catch (error) {
      if (mine !== working) return;
      if (!slot.work.hidden) stage(file ? "columns" : "drop");
      if (isCancelled(error)) return;
      slot.error.replaceChildren(h("code", { textContent: error.code }), ` ${error.message}`);
      slot.error.hidden = false;
    }
  }

  const look = (next, format) => run(async (signal) => {
    const inspected = await client.call("planInspect", { file: next, format }, { signal });
    // A file that was chosen meanwhile is the one that is wanted.
    signal.throwIfAborted();
    [file, found] = [next, inspected];
    showColumns();
    stage("columns");
    slot.said.textContent = `${found.name}: ${found.columns.length} columns. Confirm which is the prompt.`;
  });

  const estimateFile = () => run(async (signal) => {
    const choice = Object.fromEntries(new FormData(form));
    batch = null;
    onBatch(null);
    stage("work");
    slot.doing.textContent = `Reading ${file.name}`;
    slot.progress.removeAttribute("value");
    const columns = { prompt: choice.prompt, id: choice.id, group: choice.group };
    stale = false;
    await client.call("planRead", { file, format: choice.format, columns }, {
      signal,
      onProgress: ({ read, size, rows }) => {
        slot.progress.value = size > 0 ? read / size : 0;
        slot.doing.textContent = `Reading ${file.name}: ${count(rows)} prompts`;
      },
    });
    await estimate(signal);
  });

  /** Estimates what is not estimated. Cancelled, it keeps what is done: that much can be planned. */
  async function estimate(signal, again = false) {
    onBatch(null);
    stage("work");
    slot.doing.textContent = "Loading the router";
    slot.progress.removeAttribute("value");
    if (!app.loaded) await load(app);
    signal.throwIfAborted();
    if (again || batch === null) stale = false;
    let [start, from, said] = [performance.now(), null, 0];
    try {
      batch = await client.call("planEstimate", { again }, {
        signal,
        onProgress: ({ done, total }) => {
          // Another catalog begins anew.
          if (from === null || done < from) [start, from] = [performance.now(), done];
          const rate = (done - from) / ((performance.now() - start) / 1000);
          slot.progress.value = done / total;
          slot.doing.textContent = `${count(done)} of ${count(total)} prompts${rate > 0 ? `, ${count(rate)} a second, ${duration((total - done) / rate)} left` : ""}`;
          if (done / total < said) return;
          slot.said.textContent = slot.doing.textContent;
          said += SAY_EVERY;
        },
      });
    } catch (error) {
      if (!isCancelled(error) || working.signal !== signal) throw error;
      batch = await client.call("planEstimated");
    }
    showBatch();
    stage("batch");
    onBatch({ name: file.name, ...batch });
  }

  /** Puts the file's columns into the form, the guessed ones chosen. */
  function showColumns() {
    const { name, size, format, columns, guess } = found;
    slot.found.textContent = `${name}, ${size < 1e5 ? `${count(Math.ceil(size / 1000))} kB` : `${(size / 1e6).toFixed(1)} MB`}. Is this what the columns mean?`;
    /** @type {any} */ (form.elements).format.value = format;
    const options = (none) => [...(none ? [h("option", { value: "", textContent: none })] : []), ...columns.map((column) => h("option", { value: column.name, textContent: column.name }))];
    for (const [field, none] of [["prompt", ""], ["id", "the row's number"], ["group", "no groups"]]) {
      const select = form.elements[field];
      select.replaceChildren(...options(none));
      select.value = guess[field];
    }
    const rows = Math.max(0, ...columns.map(({ values }) => values.length));
    slot.preview.replaceChildren(h("table", {},
      h("caption", { className: "visually-hidden", textContent: `First rows of ${name}` }),
      h("thead", {}, h("tr", {}, ...columns.map((column) => h("th", { scope: "col", textContent: column.name })))),
      h("tbody", {}, ...Array.from({ length: rows }, (_, i) => h("tr", {}, ...columns.map(({ values }) => h("td", { textContent: values[i] ?? "" })))))));
    markPrompt();
  }

  /** Marks the prompt's column in the preview. */
  function markPrompt() {
    const at = found.columns.findIndex((column) => column.name === form.elements.prompt.value);
    for (const row of slot.preview.querySelectorAll("tr")) [...row.children].forEach((cell, i) => cell.classList.toggle("picked", i === at));
  }

  function showBatch() {
    const { prompts, estimated, unfamiliar, bad, groups, floors, models } = batch;
    const left = prompts - estimated - Math.max(0, bad.count - bad.unreadable);
    slot.estimated.textContent = [
      `${file.name}: ${count(estimated)} ${left > 0 ? `of ${count(prompts)} ` : ""}prompts estimated on ${count(models.length)} models`,
      groups > 0 ? `, in ${count(groups)} groups${floors ? "" : ", too many to give each a floor"}` : "",
      ".",
      unfamiliar > 0 ? ` ${count(unfamiliar)} are unlike what the predictor has seen; their estimates lean on what each model does on average.` : "",
    ].join("");
    slot.stale.hidden = !stale;
    slot["again-actions"].hidden = left === 0 && !stale;
    slot.again.textContent = stale ? "Estimate again" : `Estimate the other ${count(left)}`;
    slot.again.onclick = () => run((signal) => estimate(signal, stale));
    slot.bad.hidden = bad.count === 0;
    slot.bad.open = false;
    slot["bad-count"].textContent = `${count(bad.count)} ${bad.count === 1 ? "row was" : "rows were"} left out`;
    slot["bad-list"].replaceChildren(
      ...bad.first.map(({ row, column, reason }) => h("li", {}, `Row ${count(row)}: `, column ? h("code", { textContent: column }) : null, ` ${reason}`)),
      ...(bad.count > bad.first.length ? [h("li", { className: "quiet", textContent: `and ${count(bad.count - bad.first.length)} more` })] : []));
    slot.said.textContent = [slot.estimated.textContent, bad.count > 0 ? slot["bad-count"].textContent : ""].join(" ");
  }

  slot.choose.onclick = () => slot.file.click();
  slot.file.onchange = () => {
    const [chosen] = slot.file.files;
    // The same file again is a choice too.
    slot.file.value = "";
    if (chosen) look(chosen);
  };
  slot.sample.onclick = async () => {
    await look(sampleFile());
    await estimateFile();
  };
  slot.paste.onclick = () => look(new File([slot.text.value], "pasted text"));
  slot.other.onclick = () => {
    stage("drop");
    slot.choose.focus();
  };
  slot.cancel.onclick = () => working.abort();
  slot["bad-save"].onclick = async () => save(await client.call("planBadRows"), "bad-rows.csv");
  form.onsubmit = (event) => {
    event.preventDefault();
    estimateFile();
  };
  form.elements.format.onchange = ({ target }) => look(file, target.value);
  form.elements.prompt.onchange = markPrompt;

  // Anywhere in the view, so that a file that misses the box does not replace the page.
  const view = slot.drop.closest("[data-view]");
  view.addEventListener("dragover", (event) => {
    event.preventDefault();
    slot.drop.classList.add("over");
  });
  view.addEventListener("dragleave", () => slot.drop.classList.remove("over"));
  view.addEventListener("drop", (event) => {
    event.preventDefault();
    slot.drop.classList.remove("over");
    const [dropped] = event.dataTransfer.files;
    if (dropped) look(dropped);
  });

  app.addEventListener("catalog", () => {
    stale = true;
    if (!slot.batch.hidden) showBatch();
  });

  return { start: () => stage("drop") };
}

/** Loads the router, or throws why it cannot be. @param {import("../../app.js").App} app */
async function load(app) {
  let failed = null;
  const listen = ({ error }) => (failed = error);
  app.addEventListener("failed", listen);
  await app.load();
  app.removeEventListener("failed", listen);
  if (failed) throw failed;
}

const isCancelled = (error) => error.code === "cancelled" || error.name === "AbortError";
