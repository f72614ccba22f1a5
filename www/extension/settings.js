/**
 * What the user has set, and what that means on one site. Sites go by host and port, as in the
 * address bar; only what differs from the defaults is kept.
 *
 * @typedef {{ quality: number | null, floor: number | null, cap_usd: number | null, allow: string[], deny: string[] }} Policy
 *   null: the router's default, or no limit; `allow` and `deny`: globs of the catalog's ids
 * @typedef {{
 *   on?: boolean,
 *   privacy?: "ordinary" | "private" | "alone",
 *   policy?: Partial<Policy>,
 *   replaceable?: string[],
 *   never?: string[],
 *   offered?: string[],
 * }} Site `privacy`: `private`: only providers marked private may see prompts; `alone`: nothing is read there.
 *   `replaceable`: names whose requests may go to another model. `never`: names that are not to be chosen.
 *   `offered`: names that the page has listed
 * @typedef {{
 *   on: boolean, policy: Policy, sites: Record<string, Site>,
 *   providers: Record<string, { allowed?: boolean, private?: boolean }>,
 *   catalog: import("pennyroute").Catalog | null,
 * }} Settings `catalog` null: the one that comes with the extension
 */

/** @type {Settings} */
export const DEFAULTS = {
  on: true,
  policy: { quality: null, floor: null, cap_usd: null, allow: [], deny: [] },
  sites: {},
  providers: {},
  catalog: null,
};

/**
 * @param {Pick<Settings, "on" | "policy" | "sites">} settings
 * @param {string} host
 */
export function onSite({ on, policy, sites }, host) {
  const site = sites[host] ?? {};
  return {
    on: on && (site.on ?? true) && site.privacy !== "alone",
    private: site.privacy === "private",
    policy: { ...policy, ...site.policy },
    replaceable: site.replaceable ?? [],
    never: site.never ?? [],
  };
}

/** Names of models kept per site, for the user to mark; a page may say what it likes, and storage has an end. */
const OFFERED_KEPT = 500;
const NAME_CHARACTERS = 200;

/** Of the names that a page has listed, those that are kept. @param {any[]} names @returns {string[]} */
export function keptNames(names) {
  return names.filter((name) => typeof name === "string" && name.length <= NAME_CHARACTERS).slice(0, OFFERED_KEPT);
}

/** Whether a page's name for the model asks for routing, and at which quality (`auto:0.85`). @param {string} model */
export const isAuto = (model) => /^auto(:.*)?$/.test(model);

/**
 * Whether requests for a model are to be routed.
 * @param {ReturnType<typeof onSite>} rules
 * @param {string} model
 */
export function wants(rules, model) {
  return rules.on && (isAuto(model) || rules.replaceable.includes(model));
}

/**
 * The sites with one of them changed.
 * @param {Record<string, Site>} sites
 * @param {string} host
 * @param {Partial<Site>} change
 */
export function withSite(sites, host, change) {
  return { sites: { ...sites, [host]: { ...sites[host], ...change } } };
}

/**
 * The settings with a part of a policy changed: that of one site, where null goes back to what holds
 * everywhere, or (`host` null) that which holds everywhere.
 * @param {Settings} settings
 * @param {string | null} host
 * @param {Partial<Policy>} change
 * @returns {Partial<Settings>}
 */
export function withPolicy({ policy, sites }, host, change) {
  if (host === null) return { policy: { ...policy, ...change } };
  const own = Object.entries({ ...sites[host]?.policy, ...change }).filter(([, value]) => value !== null);
  return withSite(sites, host, { policy: Object.fromEntries(own) });
}
