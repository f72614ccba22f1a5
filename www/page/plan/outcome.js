/** What a plan comes to: its cost, quality, saving and proof, or why there is none. */
import { figure, gauge } from "../decision.js";
import { h } from "../dom.js";
import { count, elapsed, nameInText, percent, usd } from "../format.js";
import { infeasible, proof, rival, shadowPrices } from "./words.js";

/** Screen readers hear a plan once the changes have paused this long. */
const ANNOUNCE_AFTER_MS = 900;

/**
 * @param {Record<string, any>} slot
 * @param {(change: object) => void} onRemedy
 */
export function outcomeCard(slot, onRemedy) {
  let announcement = 0;

  function announce(text) {
    clearTimeout(announcement);
    announcement = setTimeout(() => {
      slot.announcement.textContent = text;
    }, ANNOUNCE_AFTER_MS);
  }

  /** Says why there is no plan; the last one stays, marked as such and not to be saved. */
  function refuse(text, label = "", change = {}) {
    slot.why.replaceChildren(...[text].flat());
    slot.remedy.textContent = label;
    slot.remedy.hidden = label === "";
    slot.remedy.onclick = () => onRemedy(change);
    slot.infeasible.hidden = false;
    slot.outcome.classList.add("stale");
    slot.csv.disabled = slot.json.disabled = true;
    announce(slot.why.textContent);
  }

  return {
    /** @param {{ code: string, message: string }} error */
    error({ code, message }) {
      refuse([h("code", { textContent: code }), ` ${message}`]);
    },

    show(plan, constants, { quality_target: target }) {
      slot.elapsed.textContent = `planned in ${elapsed(plan.elapsed_ms * 1000)}`;
      if (plan.status === "infeasible") {
        const { why, label, change } = infeasible(plan);
        return refuse(why, label, change);
      }
      slot.infeasible.hidden = true;
      slot.outcome.classList.remove("stale");
      slot.csv.disabled = slot.json.disabled = false;
      const facts = [...figures(plan, constants)];
      slot.figures.replaceChildren(...facts);
      slot.sentences.replaceChildren(...shadowPrices(plan, target === undefined).map((textContent) => h("li", { textContent })));
      announce(`${count(plan.queries)} prompts for ${usd(plan.cost_usd)}, mean quality ${percent(plan.quality, 1)}, ${plan.models.filter((each) => each.queries > 0).length} models.`);
    },
  };
}

function* figures(plan, constants) {
  const { queries, cost_usd: cost, quality } = plan;
  yield figure("Cost of the batch", usd(cost), `${usd((cost * 1000) / queries)} per 1,000 prompts`);
  yield figure("Mean quality", percent(quality, 1), `about ${count(quality * queries)} of ${count(queries)} answers are good`, gauge({ estimate: quality, lo: 0, hi: quality }));
  const { model, reaches } = rival(constants, quality);
  if (model) {
    const always = `always ${nameInText(model.model)}`;
    const saved = model.cost_usd - cost;
    const note = reaches
      ? `${usd(saved)} less than ${always}, the cheapest one model with this quality`
      : `less than ${always}, the best one model: ${percent(model.quality, 1)} for ${usd(model.cost_usd)}`;
    if (saved > 0) yield figure("Saving", percent(saved / model.cost_usd), note, null, "saving");
    else yield figure("Saving", "none", `${always} would reach ${percent(model.quality, 1)} for ${usd(model.cost_usd)}`);
  }
  const { value, note } = proof(plan);
  yield figure("Optimal", value, note);
}
