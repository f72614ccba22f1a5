/** One model: its facts, its ability with what is uncertain about it, and what the user may change. */
import { SOURCES, inWords, level, levelGauge, skillBars } from "../ability.js";
import { h, inError } from "../dom.js";
import { count, effortName, modelParts, percent, price, usdPerThousand } from "../format.js";
import { abilities } from "./catalog-table.js";
import { priced } from "./priced.js";

/**
 * @param {HTMLDialogElement} dialog
 * @param {{ app: import("../../app.js").App, refocus: (id: string) => void }} page `refocus`: for the row of a model
 */
export function detailDialog(dialog, { app, refocus }) {
  let shown = "";
  /** Something is typed in that is not saved yet. */
  let edited = false;
  // The row that opened it may have been drawn anew meanwhile.
  dialog.onclose = () => document.activeElement === document.body && refocus(shown);

  /** @param {string} id @param {any} known */
  function draw(id, { catalog, shipped, constants }) {
    const model = catalog.models.find((each) => each.id === id);
    if (!model) return dialog.close();
    edited = false;
    const { provider, name, effort } = modelParts(id);
    const alone = constants.find((each) => each.model === id);
    const changes = app.state.settings.changes ?? {};
    const { ability } = model;
    const interval = level(ability);
    // A rating's effect is not a change of the user's to keep: what is edited is the entry without it.
    const entry = changes[id] ?? shipped.models.find((each) => each.id === id) ?? model;

    dialog.replaceChildren(
      h("h2", { id: "detail-label", textContent: effort ? `${name} ${effortName(effort)}` : name }),
      h("p", { textContent: provider }),
      h("dl", { className: "facts" },
        ...fact("Input, per million tokens", model.cost ? price(model.cost.input) : "not stated"),
        ...fact("Output", model.cost ? price(model.cost.output) : "not stated"),
        ...fact("Cached input", typeof model.cost?.cache_read === "number" ? price(model.cost.cache_read) : "not stated"),
        ...fact("Context", model.limit?.context ? `${count(model.limit.context)} tokens` : "not stated"),
        ...fact("Longest answer", model.limit?.output ? `${count(model.limit.output)} tokens` : "not stated"),
        ...fact("Can", abilities(model).join(", ") || "answer text"),
        ...fact("Released", model.released ?? "not stated"),
        ...fact("Retires", model.deprecation_date ?? "not announced"),
        ...(alone ? fact("Alone on average traffic", `${percent(alone.quality, 1)} right at ${usdPerThousand(alone.cost_usd)} per 1,000`) : [])),
      h("h3", { className: "minor", textContent: "Ability" }),
      ...(ability ? [
        h("p", { className: "level" }, levelGauge(interval), h("span", { textContent: inWords(interval) }), h("span", { className: "quiet", textContent: "on a query of average difficulty, 90 % interval" })),
        h("p", { className: "quiet", textContent: `By ${SOURCES[ability.source]}${ability.note ? ` (${ability.note})` : ""}.` }),
        h("details", { className: "skill-details" },
          h("summary", { textContent: "Skills" }),
          h("p", { className: "quiet", textContent: "What tells models apart beyond their level, strongest first, in logits with 90 % intervals. These directions were found in recorded outcomes and have no names." }),
          skillBars(ability)),
      ] : [h("p", { className: "quiet", textContent: "Nothing is known of how well it answers, so it is not chosen. Teach it from a file of outcomes." })]),
      ...(model.sources?.length ? [h("details", { className: "skill-details" }, h("summary", { textContent: "Where the figures come from" }), h("ul", { className: "sources" }, ...model.sources.map((source) => h("li", { textContent: source }))))] : []),
      editor(entry, id in changes),
    );
  }

  /** @param {any} entry @param {boolean} own the user has changed it */
  function editor(entry, own) {
    const input = (name, label, value) => h("div", { className: "field" },
      h("label", { htmlFor: `edit-${name}`, textContent: label }),
      h("input", { type: "number", id: `edit-${name}`, name, min: "0", step: "any", inputMode: "decimal", value: value ?? "", placeholder: "not stated" }));
    const error = h("p", { className: "notice error", role: "alert", hidden: true });
    const isPrivate = h("input", { type: "checkbox", name: "private", checked: Boolean(entry.private) });
    const form = h("form", { className: "edit", noValidate: true },
      h("h3", { className: "minor", textContent: "Your prices, $ per million tokens" }),
      h("div", { className: "triple" }, input("input", "Input", entry.cost?.input), input("output", "Output", entry.cost?.output), input("cache_read", "Cached input", entry.cost?.cache_read)),
      h("label", { className: "check" }, isPrivate, h("span", { textContent: "May see private prompts" })),
      error,
      h("div", { className: "actions" },
        h("button", { className: "button primary", textContent: "Save" }),
        own ? h("button", { type: "button", className: "button", textContent: "Undo my changes", onclick: () => change(({ [entry.id]: _, ...others }) => others) }) : null,
        h("button", { type: "button", className: "button", textContent: "Remove", onclick: () => change((changes) => ({ ...changes, [entry.id]: null })) }),
        h("button", { type: "button", className: "button last", textContent: "Close", onclick: () => dialog.close() })));
    form.oninput = () => {
      edited = true;
    };
    form.onsubmit = (event) => {
      event.preventDefault();
      const fields = [...form.querySelectorAll("input[type=number]")].map((each) => /** @type {HTMLInputElement} */ (each));
      const wrong = fields.find(({ name, value, validity }) => validity.badInput || Number(value) < 0 || (value === "" && name !== "cache_read"));
      error.hidden = !wrong;
      for (const field of fields) field.setAttribute("aria-invalid", String(field === wrong));
      if (wrong) {
        error.textContent = `${wrong.labels[0].textContent}: ${wrong.value === "" ? "a price is needed" : "must be 0 or more"}.`;
        return wrong.focus();
      }
      const prices = Object.fromEntries(fields.map(({ name, value }) => [name, value === "" ? null : Number(value)]));
      change((changes) => ({ ...changes, [entry.id]: priced({ ...entry, private: isPrivate.checked }, prices) }));
    };
    return form;

    /** Closes the dialog once the changes are in use, or says why they are not. @param {Parameters<typeof app.change>[0]} update */
    async function change(update) {
      try {
        await app.change(update);
        dialog.close();
      } catch (thrown) {
        error.hidden = false;
        error.replaceChildren(...inError(thrown));
      }
    }
  }

  return {
    /** @param {string} id @param {any} known */
    show(id, known) {
      shown = id;
      draw(id, known);
      dialog.showModal();
    },
    /** @param {any} known */
    update(known) {
      if (dialog.open && !edited) draw(shown, known);
    },
  };
}

/** @param {string} name @param {string} value */
function fact(name, value) {
  return [h("dt", { textContent: name }), h("dd", { textContent: value })];
}
