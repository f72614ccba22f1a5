/** The page, built for a static host and opened in Chromium; what its tests share. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildWww } from "../../src/js/tools/www.mjs";
import { accessibilityViolations, launch, resultFile, serve } from "./browser.mjs";

export const DESKTOP = { viewport: { width: 1280, height: 900 } };
export const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };

/** The three ways in which every view is looked at, by the name that their pictures get. */
export const LOOKS = { light: DESKTOP, dark: { ...DESKTOP, colorScheme: "dark" }, phone: PHONE };

/**
 * Builds the page, serves it and starts a browser. `options` are those of `serve`; `gpu`: as for `launch`; `encoder`: the
 * folder of the encoder, as for `buildWww`.
 *
 * `open(options)`: a page at the view `hash` once it has decided, `problems` with all that went wrong or
 * abroad since it was opened, and its `context`. `settled: false` does not wait for the first decision;
 * `prepare` gets the context before anything is loaded.
 */
export async function startSite(executable, { gpu, encoder, ...options } = {}) {
  const folder = await mkdtemp(join(tmpdir(), "pennyroute-page-"));
  await buildWww({ out: folder, encoder });
  const site = await serve(folder, {}, options);
  const browser = await launch(executable, { gpu });

  async function open({ hash = "", settled = true, prepare = async (_) => {}, ...options } = DESKTOP) {
    const context = await browser.newContext({ ...DESKTOP, ...options });
    await prepare(context);
    const page = await context.newPage();
    const problems = watch(page, site.url);
    await page.goto(`${site.url}/${hash}`);
    // The worker answers in order, so whoever has the versions has the router.
    if (settled) await page.locator("#versions").filter({ hasText: "Catalog" }).waitFor();
    return { page, context, problems, close: () => context.close() };
  }

  return {
    folder,
    url: site.url,
    browser,
    open,
    async close() {
      await browser.close();
      await site.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Errors, warnings and requests to other origins of a page from now on, as they come. */
export function watch(page, url) {
  const problems = [];
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && problems.push(message.text()));
  page.on("pageerror", (error) => problems.push(error.message));
  page.on("request", (request) => /^(blob|data):/.test(request.url()) || request.url().startsWith(url) || problems.push(`request to ${request.url()}`));
  return problems;
}

/** Keeps a picture of the page, and asserts that axe finds nothing and nothing scrolls sideways. */
export async function assertPresentable(page, picture) {
  await page.screenshot({ path: resultFile(`${picture}.png`), fullPage: true });
  assert.deepEqual(await accessibilityViolations(page), []);
  const [width, inner] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(width <= inner, `scrolls sideways: ${width} > ${inner}`);
}
