/**
 * The service worker (in Firefox the event page): loads the router from the package and decides. The
 * browser may stop it at any moment; nothing is lost by that but the loaded router, for settings and
 * receipts are in storage.
 */
import { Router } from "pennyroute";
import { candidates } from "../../src/js/names.js";
import { isAuto, onSite, wants, withSite } from "./settings.js";
import { register } from "./sites.js";
import { read, record, update } from "./store.js";

/** Names of models kept per site, for the popup to list; a page may say what it likes, and storage has an end. */
const OFFERED_KEPT = 500;
const NAME_CHARACTERS = 200;

/** @type {Promise<{ router: Router, catalog: import("pennyroute").Catalog }> | undefined} */
let loading;

/** The router over the user's catalog, in which the user's private providers are marked. */
function load() {
  loading ??= open().catch((error) => {
    loading = undefined;
    throw error;
  });
  return loading;
}

async function open() {
  const { catalog: own, providers } = await read();
  const router = await Router.load(own ? { catalog: own } : {});
  const catalog = router.catalog();
  for (const model of catalog.models) model.private = providers[model.provider]?.private ?? model.private ?? false;
  router.setCatalog(catalog);
  return { router, catalog };
}

chrome.storage.onChanged.addListener((changes, area) => {
  if (area !== "local" || !(changes.catalog || changes.providers)) return;
  loading?.then(({ router }) => router.free(), () => {});
  loading = undefined;
});

// The user may grant or take back a site in the popup or in the browser's own settings.
for (const event of [chrome.permissions.onAdded, chrome.permissions.onRemoved, chrome.runtime.onInstalled, chrome.runtime.onStartup]) {
  event.addListener(() => void register());
}

const ANSWERS = {
  /** Loads the router ahead of a decision. */
  async wake() {
    await load();
    return true;
  },

  /** A model for one request, and the receipt to keep if it is used; null to change nothing. */
  async decide({ site, model, effort, takesEffort, request, offered }) {
    const state = await read();
    const rules = onSite(state, site);
    if (!wants(rules, model)) return null;
    const { router, catalog } = await load();
    const allowed = catalog.models.filter(({ provider }) => state.providers[provider]?.allowed ?? true);
    const named = candidates(allowed, offered, effort, takesEffort);
    for (const [id, { name }] of named) if (rules.never.includes(name)) named.delete(id);
    const { quality, floor, cap_usd, allow, deny } = rules.policy;
    const decision = router.route({
      ...request,
      model: isAuto(model) ? model : "auto",
      // `auto:0.85` says what it wants; the user's target is for those that do not.
      ...(quality === null || model.startsWith("auto:") ? {} : { quality }),
      ...(floor === null ? {} : { floor }),
      ...(cap_usd === null ? {} : { cap_usd }),
      ...(allow.length > 0 ? { allow } : {}),
      deny: [...deny, ...catalog.models.filter(({ id }) => !named.has(id)).map(({ id }) => id)],
      private: rules.private,
    });
    const chosen = decision.model === null ? undefined : named.get(decision.model);
    return chosen ? { ...chosen, receipt: receipt(decision, named, site, isAuto(model) ? null : model) } : null;
  },

  /** Keeps the receipt of a decision that was used. */
  async record({ receipt }) {
    await record(receipt);
    return true;
  },

  /** Keeps the names that a site's servers offer, for the user to mark. */
  async offers({ site, names }) {
    const offered = names.filter((name) => typeof name === "string" && name.length <= NAME_CHARACTERS).slice(0, OFFERED_KEPT);
    await update(({ sites }) => withSite(sites, site, { offered }));
    return true;
  },

  /** Brings the registered scripts in line with the granted sites. */
  async register() {
    await register();
    return true;
  },

  /** What the popup shows of the catalog. */
  async traffic() {
    const { router } = await load();
    return { frontier: router.frontier(), constants: router.constants() };
  },

  /** The catalog in use. */
  async catalog() {
    return (await load()).catalog;
  },

  /** What is wrong with a catalog, or null. */
  async check({ catalog }) {
    try {
      (await Router.load({ catalog })).free();
      return null;
    } catch (error) {
      return { code: error.code ?? "internal", message: error.message };
    }
  },
};

chrome.runtime.onMessage.addListener((message, _sender, respond) => {
  answer(message).then(respond);
  // The answer comes later.
  return true;
});

/**
 * @param {{ type: keyof typeof ANSWERS }} message
 * @returns {Promise<unknown>} null where there is no answer; why is kept for the popup
 */
async function answer(message) {
  try {
    const answered = await ANSWERS[message.type]?.(/** @type {any} */ (message));
    await note(message.type, null);
    return answered ?? null;
  } catch (error) {
    await note(message.type, { code: error.code ?? "internal", message: error.message }).catch(() => {});
    return null;
  }
}

/**
 * The last thing that went wrong, shown in the popup until the same goes right: in the session's
 * storage, which is in memory and has room where the disk has none.
 * @param {string} during
 * @param {{ code: string, message: string } | null} problem
 */
async function note(during, problem) {
  const { problem: last } = await chrome.storage.session.get("problem");
  if (problem === null && last?.during !== during) return;
  await chrome.storage.session.set({ problem: problem && { ...problem, during } });
  await chrome.action.setBadgeText({ text: problem ? "!" : "" });
}

/**
 * @param {import("pennyroute").Decision} decision
 * @param {Map<string, { name: string, effort: string | null }>} named
 * @param {string} site
 * @param {string | null} asked the model that is replaced
 * @returns {import("./store.js").Receipt}
 */
function receipt(decision, named, site, asked) {
  const instead = asked === null ? null : costOf(decision, named, asked);
  return {
    id: decision.id,
    at: Date.now(),
    site,
    model: decision.model,
    asked,
    code: decision.code,
    reason: decision.reason,
    quality: decision.quality.estimate,
    cost_usd: decision.cost_usd.estimate,
    saving_usd: instead === null ? decision.saving_usd : instead - decision.cost_usd.estimate,
    baseline: instead === null ? decision.baseline?.model ?? null : asked,
    in_distribution: decision.in_distribution,
  };
}

/**
 * What the model that the page asked for was expected to cost; null if that is not known.
 * @param {import("pennyroute").Decision} decision
 * @param {Map<string, { name: string, effort: string | null }>} named
 * @param {string} asked
 */
function costOf({ model, cost_usd, alternatives }, named, asked) {
  const costs = [{ model, cost_usd: cost_usd.estimate }, ...alternatives].filter((one) => named.get(one.model)?.name === asked);
  // Without an effort in the request, a model that has several answers at its usual one.
  const usual = costs.find((one) => [null, "medium"].includes(named.get(one.model)?.effort ?? null)) ?? (costs.length === 1 ? costs[0] : undefined);
  return usual?.cost_usd ?? null;
}
