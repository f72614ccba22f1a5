/**
 * The service worker (in Firefox the event page): loads the router from the package and decides. The
 * browser may stop it at any moment; nothing is lost by that but the loaded router, for settings and
 * receipts are in storage.
 */
import { Router } from "pennyroute";
import { candidates, offeredNames } from "../../src/js/names.js";
import { isAuto, keptNames, onSite, wants, withSite } from "./settings.js";
import { isEnabled, register } from "./sites.js";
import { isReceipt, read, record, update } from "./store.js";

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

/** What content scripts ask; `site` is where, by the browser's word. An open tab may be on a site that was taken back. */
const FOR_SITES = {
  /** Loads the router ahead of a decision. */
  async wake() {
    await load();
    return true;
  },

  /** A model for one request, and the receipt to keep if it is used; null to change nothing. */
  async decide({ model, effort, takesEffort, request, offered }, site) {
    const state = await read();
    const rules = onSite(state, site);
    if (!wants(rules, model)) return null;
    const names = offered ?? state.sites[site]?.offered ?? [];
    if (names.length === 0) return null;
    const { router, catalog } = await load();
    const named = candidates(catalog.models, names, effort, takesEffort);
    // Marked under one of its names, a model is not chosen under another.
    const barred = offeredNames(rules.never, catalog.models);
    for (const one of catalog.models) {
      const allowed = state.providers[one.provider]?.allowed ?? true;
      if (!allowed || barred(one) || rules.never.includes(named.get(one.id)?.name ?? "")) named.delete(one.id);
    }
    const { quality, floor, cap_usd, allow, deny } = rules.policy;
    const { messages, tools, response_format, max_tokens, max_completion_tokens } = request;
    const decision = routed(router, {
      messages, tools, response_format, max_tokens, max_completion_tokens,
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
  async record({ receipt: told }, site) {
    if (!isReceipt(told) || told.site !== site) return null;
    await record(told);
    return true;
  },

  /** Keeps the names that a site's servers offer, for the user to mark. */
  async offers({ names }, site) {
    await update(({ sites }) => withSite(sites, site, { offered: keptNames(names) }));
    return true;
  },
};

/** What the extension's own pages ask. */
const FOR_OWN_PAGES = {
  wake: FOR_SITES.wake,

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

  /** Whether a catalog is good, or what is wrong with it. */
  async check({ catalog }) {
    try {
      (await Router.load({ catalog })).free();
      return { ok: true };
    } catch (error) {
      return { ok: false, code: error.code ?? "internal", message: error.message };
    }
  },
};

chrome.runtime.onMessage.addListener((message, sender, respond) => {
  answer(message, sender).then(respond);
  // The answer comes later.
  return true;
});

/**
 * @param {{ type: string }} message
 * @param {chrome.runtime.MessageSender} sender
 * @returns {Promise<unknown>} null where there is no answer; why is kept for the popup
 */
async function answer(message, { url = "" }) {
  const { type } = message;
  const isOwn = url.startsWith(chrome.runtime.getURL(""));
  const answers = isOwn ? FOR_OWN_PAGES : FOR_SITES;
  if (!Object.hasOwn(answers, type)) return null;
  try {
    if (!isOwn && !(await isEnabled(url))) return null;
    const answered = await answers[type](message, new URL(url).host);
    await note(type, null);
    return answered;
  } catch (error) {
    await note(type, { code: error.code ?? "internal", message: error.message }).catch(() => {});
    return null;
  }
}

/**
 * The router's decision. Its errors quote what they refuse, which may be of a prompt: code and field are kept.
 * @param {Router} router
 * @param {import("pennyroute").RouteRequest} request
 */
function routed(router, request) {
  try {
    return router.route(request);
  } catch (error) {
    const code = error.code ?? "internal";
    const [field] = /^request field `[\w.[\]]+`/.exec(error.message) ?? [];
    throw Object.assign(new Error(field ? `${code}, ${field}` : code), { code });
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
