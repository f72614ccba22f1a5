/** What a file of outcomes taught, before and after, to be accepted or not. */
import { inWords, level, levelGauge } from "../ability.js";
import { h, inError } from "../dom.js";
import { count, shortName } from "../format.js";

/** Bad rows that are listed. */
const MOST_BAD = 20;

/**
 * @param {HTMLDialogElement} dialog
 * @param {import("../../app.js").App} app
 */
export function fittedDialog(dialog, app) {
  return {
    /** @param {{ name: string, models: any[], bad: import("../outcomes.js").BadRow[] }} result */
    show({ name, models, bad }) {
      const outcomes = models.reduce((sum, model) => sum + model.outcomes, 0);
      const accept = async () => {
        const taught = Object.fromEntries(models.map(({ model, entry }) => [model, entry]));
        try {
          await app.change((changes) => ({ ...changes, ...taught }));
          dialog.close();
        } catch (thrown) {
          error.hidden = false;
          error.replaceChildren(...inError(thrown));
        }
      };
      const error = h("p", { className: "notice error", role: "alert", hidden: true });
      dialog.replaceChildren(
        h("h2", { id: "fitted-label", textContent: "What the outcomes teach" }),
        h("p", { textContent: `${count(outcomes)} outcomes of ${count(models.length)} ${models.length === 1 ? "model" : "models"} in ${name}. Chances are on a query of average difficulty, with 90 % intervals.` }),
        ...badRows(bad),
        h("ul", { className: "taught" }, ...models.map(({ model, before, ability, outcomes }) => h("li", {},
          h("span", { className: "name", textContent: shortName(model) }), h("span", { className: "quiet", textContent: `${count(outcomes)} outcomes` }),
          side("before", level(before)), side("after", level(ability))))),
        error,
        h("div", { className: "actions" },
          h("button", { type: "button", className: "button primary", textContent: "Accept", onclick: accept }),
          h("button", { type: "button", className: "button", textContent: "Discard", onclick: () => dialog.close() })));
      dialog.showModal();
    },
  };
}

/** @param {string} name @param {import("pennyroute").Interval | null} interval */
function side(name, interval) {
  return h("div", { className: `side ${name}` }, h("span", { className: "quiet", textContent: name }), interval ? levelGauge(interval) : h("span"), h("span", { textContent: inWords(interval) }));
}

/** Rows that were left out, with why. @param {import("../outcomes.js").BadRow[]} bad */
export function badRows(bad) {
  if (bad.length === 0) return [];
  const more = bad.length - MOST_BAD;
  return [
    h("p", { className: "notice warn", textContent: bad.length === 1 ? "One row is left out." : `${count(bad.length)} rows are left out.` }),
    h("ul", { className: "bad-rows" },
      ...bad.slice(0, MOST_BAD).map(({ row, column, reason }) => h("li", { textContent: `Row ${count(row)}${column ? `, ${column}` : ""}: ${reason}` })),
      more > 0 ? h("li", { textContent: `and ${count(more)} more` }) : null),
  ];
}
