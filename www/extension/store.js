/**
 * What outlives the service worker, in `chrome.storage.local`. Prompts are never part of it.
 *
 * @typedef {{
 *   at: number, site: string, model: string, code: string, reason: string, quality: number,
 *   cost_usd: number, saving_usd: number | null, baseline: string | null, in_distribution: boolean,
 * }} Receipt
 * @typedef {{
 *   on: boolean, quality: number | null, receipts: Receipt[],
 *   totals: { calls: number, cost_usd: number, saving_usd: number },
 * }} State `quality` null: the catalog's default target; `receipts`: the newest first
 */

const RECEIPTS_KEPT = 20;

/** @type {State} */
const INITIAL = { on: true, quality: null, receipts: [], totals: { calls: 0, cost_usd: 0, saving_usd: 0 } };

/** @returns {Promise<State>} */
export async function read() {
  return /** @type {State} */ (await chrome.storage.local.get(INITIAL));
}

/** @param {Partial<State>} change */
export function write(change) {
  return chrome.storage.local.set(change);
}

/** Storage has no transactions: additions wait for each other. */
let last = Promise.resolve();

/** @param {Receipt} receipt */
export function add(receipt) {
  last = last.then(async () => {
    const { receipts, totals } = await read();
    await write({
      receipts: [receipt, ...receipts].slice(0, RECEIPTS_KEPT),
      totals: {
        calls: totals.calls + 1,
        cost_usd: totals.cost_usd + receipt.cost_usd,
        saving_usd: totals.saving_usd + (receipt.saving_usd ?? 0),
      },
    });
  });
  return last;
}

/** Forgets receipts and totals. */
export function clear() {
  return write({ receipts: INITIAL.receipts, totals: INITIAL.totals });
}
