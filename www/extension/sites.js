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
  return `${protocol}//${hostname}/*`;
}

/** @param {string} pattern */
export const hostOf = (pattern) => new URL(pattern.slice(0, -1)).hostname;

/** @returns {Promise<string[]>} match patterns of the sites that were added */
export async function added() {
  const { origins = [] } = await chrome.permissions.getAll();
  return origins.filter((origin) => !BUILT_IN.includes(origin));
}

/** Whether an address is on a site that is enabled. @param {string} address */
export async function isEnabled(address) {
  const pattern = patternOf(address);
  return BUILT_IN.includes(pattern) || (await added()).includes(pattern);
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

/** @param {string} pattern */
export async function disable(pattern) {
  await chrome.permissions.remove({ origins: [pattern] });
  await ask({ type: "register" });
}

/** Brings the registered scripts in line with the granted sites. */
export function register() {
  return navigator.locks.request("pennyroute sites", async () => {
    const granted = await added();
    const registered = await chrome.scripting.getRegisteredContentScripts();
    const stale = registered.filter(({ matches }) => !granted.includes(matches?.[0] ?? ""));
    if (stale.length > 0) await chrome.scripting.unregisterContentScripts({ ids: stale.map(({ id }) => id) });
    const fresh = granted.filter((pattern) => !registered.some(({ matches }) => matches?.[0] === pattern));
    await chrome.scripting.registerContentScripts(fresh.flatMap((pattern) => {
      const common = { matches: [pattern], runAt: /** @type {const} */ ("document_start"), persistAcrossSessions: true };
      return [
        { ...common, id: `content ${pattern}`, js: ["content.js"] },
        { ...common, id: `page ${pattern}`, js: ["page.js"], world: /** @type {const} */ ("MAIN") },
      ];
    }));
  });
}
