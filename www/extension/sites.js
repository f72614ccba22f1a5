/**
 * Sites beyond the one that is enabled from the start. Each is asked for by name, and its scripts
 * are registered only once the browser has granted it.
 */

/** What the manifest enables. */
export const BUILT_IN = chrome.runtime.getManifest().content_scripts?.[0].matches ?? [];

/** @returns {Promise<string[]>} match patterns of the sites that were added */
export async function added() {
  const { origins = [] } = await chrome.permissions.getAll();
  return origins.filter((origin) => !BUILT_IN.includes(origin));
}

/**
 * Asks the browser for a site, and runs there from the next page load on.
 * @param {string} address
 * @returns {Promise<boolean>} whether it was granted
 */
export async function enable(address) {
  const pattern = `${new URL(address).origin}/*`;
  if (!(await chrome.permissions.request({ permissions: ["scripting"], origins: [pattern] }))) return false;
  const common = { matches: [pattern], runAt: /** @type {const} */ ("document_start"), persistAcrossSessions: true };
  await chrome.scripting.registerContentScripts([
    { ...common, id: `content ${pattern}`, js: ["content.js"] },
    { ...common, id: `page ${pattern}`, js: ["page.js"], world: "MAIN" },
  ]);
  return true;
}

/** @param {string} pattern */
export async function disable(pattern) {
  await chrome.scripting.unregisterContentScripts({ ids: [`content ${pattern}`, `page ${pattern}`] });
  await chrome.permissions.remove({ origins: [pattern] });
}
