/**
 * Sites beyond the one that is enabled from the start. Each is asked for by name, and its scripts
 * are registered only once the browser has granted it. Browsers grant a host, with all its ports.
 */
import { ask } from "./ask.js";

/** What the manifest enables. */
export const BUILT_IN = chrome.runtime.getManifest().content_scripts?.[0].matches ?? [];

/**
 * The match pattern of an address.
 * @param {string} address
 */
export function patternOf(address) {
  const { protocol, hostname } = new URL(address);
  if (!/^https?:$/.test(protocol)) throw new TypeError(`${address}: not a web page's address`);
  // Chromium writes an asterisk as %2A.
  if (/\*|%2a/i.test(hostname)) throw new TypeError(`${address}: one site at a time, without "*"`);
  return `${protocol}//${hostname}/*`;
}

/** The host of a pattern; null for one of many hosts. @param {string} pattern */
export function hostOf(pattern) {
  const { host } = partsOf(pattern);
  return host.includes("*") ? null : host;
}

/** @param {string} pattern */
function partsOf(pattern) {
  const [, scheme = "*", host = "*"] = /^([^:]+):\/\/([^/]+)\//.exec(pattern) ?? [];
  return { scheme, host };
}

/**
 * Whether all that a pattern matches is matched by another too.
 * @param {string} wide
 * @param {string} narrow
 */
function covers(wide, narrow) {
  const [w, n] = [partsOf(wide), partsOf(narrow)];
  const ofHost = w.host === "*" || w.host === n.host || (w.host.startsWith("*.") && `.${n.host}`.endsWith(w.host.slice(1)));
  return ofHost && (w.scheme === "*" || w.scheme === n.scheme);
}

/** @returns {Promise<string[]>} match patterns of the sites that were added */
export async function added() {
  const { origins = [] } = await chrome.permissions.getAll();
  return origins.filter((origin) => !BUILT_IN.includes(origin));
}

/** Whether an address is on a site that is enabled. @param {string} address */
export async function isEnabled(address) {
  const pattern = patternOf(address);
  // Not by `contains`: of what the manifest's content scripts match, Chromium says no there.
  const { origins = [] } = await chrome.permissions.getAll();
  return origins.some((origin) => covers(origin, pattern));
}

/**
 * What the browser grants of a host.
 * @param {string} host
 * @returns {Promise<{ enabled: boolean, own: string[] }>} `own`: the patterns that were added for it alone
 */
export async function grantsOf(host) {
  const addresses = ["https:", "http:"].map((scheme) => `${scheme}//${host}`);
  const [enabled, granted] = await Promise.all([Promise.all(addresses.map(isEnabled)), added()]);
  return { enabled: enabled.includes(true), own: addresses.map(patternOf).filter((pattern) => granted.includes(pattern)) };
}

/**
 * Asks the browser for a site, from within a click. Its scripts run there from the next load on.
 * @param {string} pattern
 * @returns {Promise<boolean>} whether it was granted
 */
export async function enable(pattern) {
  if (!(await chrome.permissions.request({ origins: [pattern] }))) return false;
  // The worker hears of it by itself; asked, it says when it is done.
  await ask({ type: "register" });
  return true;
}

/** @param {string[]} patterns */
export async function disable(patterns) {
  await chrome.permissions.remove({ origins: patterns });
  await ask({ type: "register" });
}

/** Brings the registered scripts in line with the granted sites. */
export function register() {
  return navigator.locks.request("pennyroute sites", async () => {
    const granted = await added();
    // The browser may be told to grant all sites, and then one of them too: a page needs the scripts once.
    const wanted = granted.filter((pattern) => ![...BUILT_IN, ...granted].some((other) => other !== pattern && covers(other, pattern)));
    const registered = await chrome.scripting.getRegisteredContentScripts();
    const stale = registered.filter(({ matches }) => !wanted.includes(matches?.[0] ?? ""));
    if (stale.length > 0) await chrome.scripting.unregisterContentScripts({ ids: stale.map(({ id }) => id) });
    const fresh = wanted.filter((pattern) => !registered.some(({ matches }) => matches?.[0] === pattern));
    await chrome.scripting.registerContentScripts(fresh.flatMap((pattern) => {
      const common = { matches: [pattern], excludeMatches: BUILT_IN, runAt: /** @type {const} */ ("document_start"), persistAcrossSessions: true };
      return [
        { ...common, id: `content ${pattern}`, js: ["content.js"] },
        { ...common, id: `page ${pattern}`, js: ["page.js"], world: /** @type {const} */ ("MAIN") },
      ];
    }));
  });
}
