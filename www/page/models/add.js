/** The form that adds a model, with an ability by published scores. */
import { published } from "../../../models/parameters.json";
import { inWords, level } from "../ability.js";
import { h } from "../dom.js";
import { priced } from "./priced.js";

/** Scores by name, the smallest value that tells a model from chance, and the largest. */
const SCORES = Object.entries(published.scores).map(([name, [guess]]) => (
  name.endsWith("_elo") ? { name, range: "Elo, 0 to 5000" } : { name, range: guess > 0 ? `%, chance is ${guess}` : "%, 0 to 100" }));

/**
 * @param {Record<string, any>} slot
 * @param {{ client: import("../client.js").Client, add: (model: any) => Promise<void>, known: () => any }} page
 */
export function addForm(slot, { client, add, known }) {
  const dialog = /** @type {HTMLDialogElement} */ (slot.adding);
  const form = /** @type {HTMLFormElement} */ (slot["add-form"]);
  const field = (name) => /** @type {HTMLInputElement} */ (form.elements.namedItem(name));
  let rows = 0;

  slot["more-scores"].onclick = () => addRow().querySelector("select").focus();
  slot["add-cancel"].onclick = () => dialog.close();
  slot.scores.oninput = place;
  form.onsubmit = submit;

  function addRow() {
    const n = ++rows;
    const range = h("span", { className: "quiet", id: `score-range-${n}` });
    const select = h("select", { "aria-label": `Score ${n}: benchmark` }, h("option", { value: "", textContent: "Benchmark" }), ...SCORES.map(({ name }) => h("option", { value: name, textContent: name })));
    const value = h("input", { type: "number", step: "any", inputMode: "decimal", "aria-label": `Score ${n}: value`, "aria-describedby": range.id });
    select.onchange = () => {
      range.textContent = SCORES.find(({ name }) => name === select.value)?.range ?? "";
    };
    const row = h("li", {}, select, value, range);
    slot.scores.append(row);
    return row;
  }

  /** Scores that are filled in, by name. */
  function scores() {
    const filled = [...slot.scores.children].map((row) => [row.querySelector("select").value, row.querySelector("input")]).filter(([name, input]) => name && input.value !== "");
    return Object.fromEntries(filled.map(([name, input]) => [name, input.valueAsNumber]));
  }

  /** The ability by the scores so far; what is wrong with one is said at its row. */
  async function place() {
    const given = scores();
    fail(null);
    for (const input of slot.scores.querySelectorAll("input")) input.removeAttribute("aria-invalid");
    slot.placed.textContent = "";
    if (Object.keys(given).length === 0) return null;
    try {
      const { ability } = await client.call("abilityFromScores", given);
      slot.placed.textContent = `By these scores: ${inWords(level(ability))} on a query of average difficulty.`;
      return ability;
    } catch (error) {
      const bad = [...slot.scores.children].find((row) => error.message.includes(`scores.${row.querySelector("select").value}:`));
      bad?.querySelector("input").setAttribute("aria-invalid", "true");
      fail(error);
      return undefined;
    }
  }

  /** @param {SubmitEvent} event */
  async function submit(event) {
    event.preventDefault();
    fail(null);
    const id = field("id").value.trim();
    const number = (name) => (field(name).value === "" ? null : field(name).valueAsNumber);
    const check = [
      ["id", !/^[^/\s]+\/\S+$/.test(id) && "The id is `provider/model`, such as acme/large-2."],
      ["id", known().catalog.models.some((model) => model.id === id) && `The catalog has a model ${id} already; open it in the table to change it.`],
      ["input", (number("input") === null || !(number("input") >= 0)) && "The price of input is needed, 0 or more."],
      ["output", (number("output") === null || !(number("output") >= 0)) && "The price of output is needed, 0 or more."],
      ["cache_read", number("cache_read") < 0 && "The price of cached input must be 0 or more."],
      ["context", number("context") !== null && !(Number.isInteger(number("context")) && number("context") > 0) && "The context is a whole number of tokens."],
    ].filter(([, message]) => message);
    for (const name of ["id", "input", "output", "cache_read", "context"]) field(name).setAttribute("aria-invalid", String(check.some(([wrong]) => wrong === name)));
    if (check.length > 0) {
      const [[name, message]] = check;
      fail({ message: String(message) });
      return field(name).focus();
    }
    const ability = await place();
    if (ability === undefined) return;
    const provider = id.split("/")[0];
    const [base, effort = null] = id.slice(provider.length + 1).split("@");
    try {
      await add(priced({
        id, provider, base, effort,
        limit: { context: number("context") },
        modalities: field("vision").checked ? ["text", "image"] : ["text"],
        tool_call: field("tools").checked,
        json: field("json").checked,
        reasoning: field("reasoning").checked,
        private: field("private").checked,
        sources: ["added on this page"],
        ability,
      }, { input: number("input"), output: number("output"), cache_read: number("cache_read") }));
      dialog.close();
    } catch (error) {
      fail(error);
    }
  }

  /** @param {{ code?: string, message: string } | null} error */
  function fail(error) {
    slot["add-error"].hidden = error === null;
    slot["add-error"].replaceChildren(...(error ? [error.code ? h("code", { textContent: error.code }) : null, ` ${error.message}`].filter(Boolean) : []));
  }

  return {
    open() {
      form.reset();
      slot.scores.replaceChildren();
      slot.placed.textContent = "";
      rows = 0;
      fail(null);
      addRow();
      dialog.showModal();
    },
  };
}
