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
  // A site whose permission was taken back in the browser's settings may still be registered.
  const ids = [`content ${pattern}`, `page ${pattern}`];
  const registered = await chrome.scripting.getRegisteredContentScripts({ ids });
  if (registered.length > 0) await chrome.scripting.unregisterContentScripts({ ids: registered.map(({ id }) => id) });
  await chrome.scripting.registerContentScripts([
    { ...common, id: ids[0], js: ["content.js"] },
    { ...common, id: ids[1], js: ["page.js"], world: "MAIN" },
  ]);
  return true;
}

/** @param {string} pattern */
export async function disable(pattern) {
  await chrome.scripting.unregisterContentScripts({ ids: [`content ${pattern}`, `page ${pattern}`] });
  await chrome.permissions.remove({ origins: [pattern] });
}
