/** The requirements of a plan, but for those of single models and groups, which stand in their tables. */
import { h } from "../dom.js";
import { modelParts, percent, usd } from "../format.js";
import { SOME_TOOL, globs } from "../policy.js";
import { defaultTarget, drawCurve, meanCost } from "../traffic.js";

/**
 * @param {Record<string, any>} slot
 * @param {(what: { anew?: boolean }) => void} onChange `anew`: the curve changes too
 * @param {() => void} onReset called before the change that a reset is
 */
export function demandsForm(slot, onChange, onReset) {
  const form = /** @type {HTMLFormElement} */ (slot.demands);
  const field = /** @type {(name: string) => HTMLInputElement} */ ((name) => /** @type {any} */ (form.elements.namedItem(name)));
  const slider = field("target");
  /** @type {import("pennyroute").FrontierPoint[]} */
  let frontier = [];
  let prompts = 0;
  /** The slider is at the default until it is moved. */
  let moved = false;

  const goal = () => field("goal").value;
  const providers = () => /** @type {HTMLInputElement[]} */ ([...slot.providers.querySelectorAll("input")]);

  function policy() {
    const out = providers().filter((box) => !box.checked).flatMap((box) => box.value.split(" "));
    const request = {
      allow: globs(field("allow")),
      deny: [...globs(field("deny")) ?? [], ...out],
      private: field("private").checked || undefined,
      tools: field("tools").checked ? [SOME_TOOL] : undefined,
      response_format: field("json").checked ? { type: "json_object" } : undefined,
    };
    if (request.deny.length === 0) delete request.deny;
    return Object.fromEntries(Object.entries(request).filter(([, value]) => value !== undefined));
  }

  function showTarget() {
    const target = slider.valueAsNumber;
    slot["target-value"].textContent = percent(target, 1);
    slider.setAttribute("aria-valuetext", `${percent(target, 1)}, ${usd(meanCost(frontier, target) * prompts)} in all`);
    drawCurve(slot.curve, frontier, target);
  }

  function showGoal() {
    const budget = goal() === "budget";
    slot.target.hidden = budget;
    slot["budget-label"].textContent = budget ? "Budget for the batch" : "Spend at most, for the whole batch";
    field("budget").placeholder = budget ? usd(meanCost(frontier, slider.valueAsNumber) * prompts).slice(1) : "none";
  }

  /** @param {number} quality */
  function setTarget(quality) {
    moved = true;
    slider.value = String(quality);
    showTarget();
  }

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", ({ target }) => {
    const { name } = /** @type {HTMLInputElement} */ (target);
    if (name === "target") setTarget(slider.valueAsNumber);
    if (name === "goal") showGoal();
    onChange({ anew: !["target", "goal", "budget"].includes(name) });
  });
  form.addEventListener("reset", () => setTimeout(() => {
    moved = false;
    onReset();
    showGoal();
    onChange({ anew: true });
  }));

  return {
    /** A batch to plan: its size and models. @param {{ estimated: number, models: string[] }} batch */
    start(batch) {
      prompts = batch.estimated;
      moved = false;
      const byProvider = Map.groupBy(batch.models, (model) => modelParts(model).provider);
      slot.providers.replaceChildren(slot.providers.firstElementChild, ...[...byProvider].sort(([a], [b]) => a.localeCompare(b)).map(([provider, models]) =>
        h("label", {}, h("input", { type: "checkbox", defaultChecked: true, name: "provider", value: provider ? `${provider}/*` : models.join(" ") }),
          h("span", {}, provider || "others", " ", h("span", { className: "quiet", textContent: String(models.length) })))));
    },

    /** Puts the slider on a curve's range, at the default target unless it was moved. */
    range({ frontier: next, constants }) {
      frontier = next;
      const [first, last] = [frontier[0], frontier[frontier.length - 1]];
      const before = slider.valueAsNumber;
      slider.min = String(Math.floor(first.quality * 1000) / 1000);
      slider.max = String(Math.floor(last.quality * 1000) / 1000);
      slider.defaultValue = String(Math.max(first.quality, defaultTarget(constants)).toFixed(3));
      slider.value = moved ? String(before) : slider.defaultValue;
      showTarget();
      showGoal();
    },

    /** What is asked for. */
    read() {
      const budget = field("budget");
      const spend = budget.validity.badInput ? NaN : budget.value === "" ? undefined : budget.valueAsNumber;
      if (goal() === "quality") return { quality_target: frontier.length > 0 ? slider.valueAsNumber : undefined, budget_usd: spend, policy: policy() };
      // An empty budget is what the target would cost, as the field suggests.
      return { budget_usd: spend ?? meanCost(frontier, slider.valueAsNumber) * prompts, policy: policy() };
    },

    /** Sets a target, which then is the goal, or a budget. @param {{ quality?: number, budget?: number }} to */
    set({ quality, budget }) {
      if (budget !== undefined) field("budget").value = String(budget);
      if (quality === undefined) return;
      form.elements.goal.value = "quality";
      showGoal();
      setTarget(Math.min(Number(slider.max), Math.max(Number(slider.min), quality)));
    },

    /** Lets all models take part. */
    allowAll() {
      for (const name of ["allow", "deny"]) field(name).value = "";
      for (const name of ["tools", "json", "private"]) field(name).checked = false;
      for (const box of providers()) box.checked = true;
    },
  };
}
