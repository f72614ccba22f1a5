/**
 * *Plan*: a file of prompts, estimated and planned as one batch. The work is the worker's (plan-methods.js);
 * here are the file's card, the requirements, and what the plan comes to.
 */
import { byId, slots } from "./dom.js";
import { demandsForm } from "./plan/demands.js";
import { embedCard } from "./plan/embed.js";
import { outcomeCard } from "./plan/outcome.js";
import { save } from "./save.js";
import { sourceCard } from "./plan/source.js";
import { constantsTable, groupsTable, modelsTable } from "./plan/tables.js";

/** A plot narrower than this is not laid out yet. */
const LEAST_WIDTH = 160;

/** @param {import("../app.js").App} app */
export function mount(app) {
  const { client } = app;
  const root = byId("plan");
  const slot = slots(root);
  /** Most calls by model, and least mean quality by group. */
  let [workloads, floors] = [{}, {}];
  /** The batch's curve with its constant choices, and the plan that stands. */
  let [curve, plan] = [null, null];
  let name = "";

  const source = sourceCard(slot, app, (batch) => {
    plan = null;
    curve = null;
    slot.planned.hidden = batch === null || batch.estimated === 0;
    if (slot.planned.hidden) return;
    name = batch.name.replace(/(\.(jsonl|ndjson|csv|tsv|txt))?(\.gz)?$/i, "") || "batch";
    [workloads, floors] = [{}, {}];
    demands.start(batch);
    embedding.start({ name, estimated: batch.estimated });
    solve({ anew: true });
  });
  const demands = demandsForm(slot, solve, () => {
    [workloads, floors] = [{}, {}];
  });
  const embedding = embedCard(slot, app, () => solve({ anew: true }));
  const outcome = outcomeCard(slot, remedy);
  const models = modelsTable(slot.models, (model, most) => {
    workloads = without(workloads, model, most);
    solve({ anew: true });
  });
  const groups = groupsTable(slot.groups, (group, least) => {
    floors = without(floors, group, least);
    solve({});
  });
  const constants = constantsTable(slot.constants);

  slot.csv.onclick = async () => save(await client.call("planCsv"), `${name}-assignment.csv`);
  slot.json.onclick = async () => save(await client.call("planJson"), `${name}-plan.json`);

  /** One plan at a time; what changes meanwhile is planned next, and only the latest of it. */
  let busy = false;
  let next = null;

  /** Plans; `anew`: with another curve, which the models that take part and their workloads make. */
  async function solve({ anew = false }) {
    next = { anew: anew || next?.anew };
    if (busy) return;
    busy = true;
    slot.outcome.ariaBusy = "true";
    while (next) {
      const { anew } = next;
      next = null;
      try {
        if (anew || !curve) await draw().catch(keepCurve);
        plan = await client.call("planSolve", { ...demands.read(), workloads, floors });
        show();
      } catch (error) {
        outcome.error(error);
      }
    }
    busy = false;
    slot.outcome.ariaBusy = "false";
  }

  /** Where the policy and the workloads leave no plan there is no curve: the old one stays, and the plan says why. */
  function keepCurve(error) {
    if (!curve) throw error;
  }

  /** The curve under the policy and the workloads. */
  async function draw() {
    curve = await client.call("planCurve", { ...demands.read(), workloads, floors });
    demands.range(curve);
    await drawChart();
  }

  function show() {
    outcome.show(plan, curve.constants, demands.read());
    app.planned = new Set(plan.models.filter(({ queries }) => queries > 0).map(({ model }) => model));
    if (plan.status !== "infeasible") {
      models.show(plan);
      constants.show(curve.constants, plan);
    }
    slot["groups-card"].hidden = plan.groups.length === 0;
    groups.show(plan);
    slot.plot.firstElementChild?.mark(plan.status === "infeasible" ? null : plan);
  }

  /** Does what was offered where there is no plan. */
  function remedy({ quality, budget, scale, limits, policy }) {
    if (quality !== undefined) demands.set({ quality });
    if (budget !== undefined) demands.set({ budget });
    if (policy) demands.allowAll();
    if (limits) workloads = {};
    if (scale !== undefined) {
      // Rounded down, so that rounding does not ask for too much again.
      const down = (share) => Math.floor(share * scale * 1000) / 1000;
      floors = Object.fromEntries(Object.entries(floors).map(([group, least]) => [group, down(least)]));
      const { quality_target: target } = demands.read();
      if (target !== undefined) demands.set({ quality: down(target) });
    }
    solve({ anew: limits || policy });
  }

  async function drawChart() {
    if (!curve || slot.plot.clientWidth < LEAST_WIDTH) return;
    const { frontierChart } = await import("./plan/frontier.js");
    const svg = frontierChart(curve, slot.plot.clientWidth, (quality) => {
      demands.set({ quality });
      solve({});
    });
    slot.plot.replaceChildren(svg);
    if (plan && plan.status !== "infeasible") svg.mark(plan);
  }

  let width = 0;
  new ResizeObserver(([{ contentRect }]) => {
    if (contentRect.width === width) return;
    width = contentRect.width;
    drawChart();
  }).observe(slot.plot);
  source.start();
}

/** A map with an entry set, or taken out by `undefined`. */
function without(map, key, value) {
  const { [key]: _, ...others } = map;
  return value === undefined ? others : { ...others, [key]: value };
}
