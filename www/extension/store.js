/**
 * What outlives the service worker, in `chrome.storage.local`. Prompts are never part of it.
 *
 * @typedef {{
 *   id: string, at: number, site: string, model: string, asked: string | null, code: string, reason: string,
 *   quality: number, cost_usd: number, saving_usd: number | null, baseline: string | null, in_distribution: boolean,
 * }} Receipt `asked`: the model that the page had asked for and that was replaced; null where it asked for `auto`
 * @typedef {import("./settings.js").Settings & {
 *   receipts: Receipt[], totals: { calls: number, cost_usd: number, saving_usd: number },
 * }} State `receipts`: the newest first
 */
import { DEFAULTS } from "./settings.js";

const RECEIPTS_KEPT = 50;
/** As many are kept when storage is full: totals and the last decisions are worth more than older ones. */
const RECEIPTS_IN_NEED = 5;
const TEXT_CHARACTERS = 2000;

/** @type {State} */
const INITIAL = { ...DEFAULTS, receipts: [], totals: { calls: 0, cost_usd: 0, saving_usd: 0 } };

/** @returns {Promise<State>} */
export async function read() {
  return /** @type {State} */ (await chrome.storage.local.get(INITIAL));
}

/**
 * Storage has no transactions: whoever of worker, popup and options writes holds a lock, which the
 * browser takes back from one that dies.
 * @param {(state: State) => Partial<State> | null} change null to write nothing
 * @returns {Promise<void>}
 */
export function update(change) {
  return navigator.locks.request("pennyroute", async () => {
    const changed = change(await read());
    if (changed) await chrome.storage.local.set(changed);
  });
}

/**
 * Whether something is a receipt: one that is not would spoil the totals for good.
 * @param {any} told
 * @returns {told is Receipt}
 */
export function isReceipt(told) {
  const each = (fields, fits) => fields.every((field) => fits(told?.[field]));
  const isText = (value) => typeof value === "string" && value.length <= TEXT_CHARACTERS;
  return each(["id", "site", "model", "code", "reason"], isText)
    && each(["asked", "baseline"], (value) => value === null || isText(value))
    && each(["at", "quality", "cost_usd"], (value) => Number.isFinite(value) && value >= 0)
    && each(["saving_usd"], (value) => value === null || Number.isFinite(value))
    && typeof told.in_distribution === "boolean";
}

/**
 * Keeps a receipt, once however often it is told. It and the totals are written in one go.
 * @param {Receipt} receipt
 */
export async function record(receipt) {
  const keep = (count) => update(({ receipts, totals }) => receipts.some(({ id }) => id === receipt.id) ? null : {
    receipts: [receipt, ...receipts].slice(0, count),
    totals: {
      calls: totals.calls + 1,
      cost_usd: totals.cost_usd + receipt.cost_usd,
      saving_usd: totals.saving_usd + (receipt.saving_usd ?? 0),
    },
  });
  await keep(RECEIPTS_KEPT).catch(() => keep(RECEIPTS_IN_NEED));
}

/** Forgets receipts and totals. */
export function clear() {
  return update(() => ({ receipts: INITIAL.receipts, totals: INITIAL.totals }));
}

/** Forgets all there is. */
export function erase() {
  return navigator.locks.request("pennyroute", () => chrome.storage.local.clear());
}
