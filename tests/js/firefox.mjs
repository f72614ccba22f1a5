// Headless Firefox for tests, driven over WebDriver BiDi; browser.mjs serves what they load.

import { existsSync } from "node:fs";
import { launch } from "puppeteer-core";

/** Puppeteer's own preferences quieten Firefox; with these, whatever is left finds no way out of this machine. */
const PREFS = {
  "network.proxy.type": 1,
  "network.proxy.http": "127.0.0.1",
  "network.proxy.http_port": 9,
  "network.proxy.ssl": "127.0.0.1",
  "network.proxy.ssl_port": 9,
  "network.proxy.no_proxies_on": "localhost, 127.0.0.1",
};

/** Firefox's path, or undefined; a run that may skip nothing fails without it. */
export function findFirefox() {
  const path = process.env.FIREFOX ?? "/usr/bin/firefox-esr";
  if (existsSync(path)) return path;
  if (process.env.PENNYROUTE_NO_SKIP === "1") throw new Error(`there is no Firefox at ${path}`);
  console.error(`SKIP: there is no Firefox at ${path} (set FIREFOX to its path): NOTHING IS TESTED IN FIREFOX`);
  return undefined;
}

/**
 * `profile`: a folder to keep one in, otherwise a fresh one is made and thrown away; `prefs`: those of
 * about:config. An extension is loaded with the browser's own `installExtension(folder)`.
 */
export function launchFirefox(executablePath, { profile, prefs = {} } = {}) {
  return launch({
    browser: "firefox",
    executablePath,
    userDataDir: profile,
    // Without it an extension's own pages may not be opened.
    args: ["--remote-allow-system-access"],
    extraPrefsFirefox: { ...PREFS, ...prefs },
  });
}

/** Prefs that grant an extension what it asks for, and set the address of its pages to `moz-extension://${uuid}/`. */
export function extensionPrefs(id, uuid) {
  return {
    "extensions.webextOptionalPermissionPrompts": false,
    "extensions.webextensions.uuids": JSON.stringify({ [id]: uuid }),
  };
}

/** Opens a page of an extension. */
export async function openExtensionPage(browser, url) {
  const page = await browser.newPage();
  // Firefox reports no such navigation as done.
  await page.goto(url, { waitUntil: [] });
  await page.waitForFunction((url) => location.href === url && document.readyState === "complete", {}, url);
  return page;
}
