/**
 * The service worker: loads the router from the package and decides. The browser may stop it at any
 * moment; nothing is lost by that but the loaded router, for settings and receipts are in storage.
 */
import { Router } from "pennyroute";
import { candidates } from "../../src/js/names.js";
import { add, read } from "./store.js";

/** @type {Promise<{ router: Router, models: import("pennyroute").CatalogModel[] }> | undefined} */
let loading;

function load() {
  loading ??= Router.load().then(
    (router) => ({ router, models: router.catalog().models }),
    (error) => {
      loading = undefined;
      throw error;
    },
  );
  return loading;
}

const ANSWERS = {
  /** Loads the router ahead of a decision. */
  async wake() {
    if ((await read()).on) await load();
  },

  /** A model for one chat completion, and the receipt to keep if it is used; null to change nothing. */
  async decide({ request, offered, site }) {
    const { on, quality } = await read();
    if (!on) return null;
    const { reasoning_effort: effort, ...rest } = request;
    const { router, models } = await load();
    const named = candidates(models, offered, effort);
    // `auto:0.85` says what it wants; the popup's target is for those that do not.
    const target = rest.model === "auto" && quality !== null ? { quality } : {};
    const decision = router.route({ ...rest, ...target, allow: [...named.keys()] });
    const chosen = decision.model === null ? undefined : named.get(decision.model);
    return chosen ? { ...chosen, receipt: receipt(decision, site) } : null;
  },

  /** Keeps the receipt of a decision that was used. */
  record({ receipt }) {
    return add(receipt);
  },

  /** What the popup shows of the catalog. */
  async traffic() {
    const { router } = await load();
    return { frontier: router.frontier(), constants: router.constants() };
  },
};

chrome.runtime.onMessage.addListener((message, _sender, respond) => {
  Promise.resolve(ANSWERS[message.type]?.(message))
    .catch((error) => {
      console.warn("pennyroute:", error.code ?? "internal", error.message);
      return null;
    })
    .then((answer) => respond(answer ?? null));
  // The answer comes later.
  return true;
});

/**
 * @param {import("pennyroute").Decision} decision
 * @param {string} site
 * @returns {import("./store.js").Receipt}
 */
function receipt(decision, site) {
  return {
    at: Date.now(),
    site,
    model: decision.model,
    code: decision.code,
    reason: decision.reason,
    quality: decision.quality.estimate,
    cost_usd: decision.cost_usd.estimate,
    saving_usd: decision.saving_usd,
    baseline: decision.baseline?.model ?? null,
    in_distribution: decision.in_distribution,
  };
}
