/** What the gateway adds to the receipt of src/js. */

import { dollars } from "../src/js/receipts.js";

/** Every header that tells a page something; CORS must name them. */
export const RECEIPT_HEADERS = [
  ...["id", "model", "code", "quality", "cost-usd", "saving-usd", "spent-usd", "catalog", "policy", "trace", "warning", "failed"].map((name) => `x-pennyroute-${name}`),
  "retry-after",
];

/** What the answer really cost, once that is known. @param {number | undefined} usd @returns {Record<string, string>} */
export function spentHeader(usd) {
  return usd === undefined ? {} : { "x-pennyroute-spent-usd": /** @type {string} */ (dollars(usd)) };
}
