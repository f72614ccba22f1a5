/**
 * The user's changes to the shipped catalog, kept apart from it: so a newer shipped catalog comes through
 * wherever nothing was changed.
 *
 * @typedef {import("pennyroute").Catalog} Catalog
 * @typedef {import("pennyroute").CatalogModel} Model
 * @typedef {import("./state.js").Changes} Changes
 */
import { count, price } from "./format.js";

/** @param {Catalog} shipped @param {Changes} changes @returns {Catalog} */
export function changed(shipped, changes) {
  if (Object.keys(changes).length === 0) return shipped;
  const known = new Set(shipped.models.map(({ id }) => id));
  const kept = shipped.models.flatMap((model) => changes[model.id] === undefined ? [model] : changes[model.id] ?? []);
  const added = Object.values(changes).filter((model) => model && !known.has(model.id));
  // Receipts name the version: they are not to claim the shipped one.
  return { ...shipped, version: `${shipped.version}+local`, models: [...kept, ...added] };
}

/** What makes `catalog` of the shipped one. @param {Catalog} shipped @param {Catalog} catalog @returns {Changes} */
export function changesTo(shipped, catalog) {
  const before = new Map(shipped.models.map((model) => [model.id, model]));
  const after = new Map(catalog.models.map((model) => [model.id, model]));
  return Object.fromEntries([
    ...[...after].filter(([id, model]) => !same(model, before.get(id))),
    ...[...before.keys()].filter((id) => !after.has(id)).map((id) => [id, null]),
  ]);
}

/** Field by field, absent and null being the same. */
function same(a, b) {
  if (a === b || (a ?? null) === (b ?? null)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].every((key) => same(a[key], b[key]));
}

/** One change in words. @param {Model | undefined} before @param {Model | null} after */
export function inWords(before, after) {
  if (after === null) return "removed";
  if (!before) return "added";
  const stated = (model, kind) => (typeof model.cost?.[kind] === "number" ? price(model.cost[kind]) : "not stated");
  const parts = [["input", "input price"], ["output", "output price"], ["cache_read", "cached price"]]
    .filter(([kind]) => before.cost?.[kind] !== after.cost?.[kind])
    .map(([kind, name]) => `${name} ${stated(before, kind)} → ${stated(after, kind)}`);
  if (before.limit?.context !== after.limit?.context) parts.push(`context ${tokens(before)} → ${tokens(after)}`);
  if (!same(before.ability, after.ability)) parts.push(`ability, ${before.ability?.source ?? "unknown"} → ${after.ability?.source ?? "unknown"}`);
  if (Boolean(before.private) !== Boolean(after.private)) parts.push(after.private ? "private" : "no longer private");
  return parts.join(", ") || "other fields";
}

const tokens = (model) => (model.limit?.context ? count(model.limit.context) : "not stated");
