/**
 * The router, ready before the first request: wasm, predictor, index and catalog are part of the
 * bundle and are loaded while the isolate starts. Bad artifacts therefore make the start fail, and
 * a deploy with them is refused.
 */

import { env } from "cloudflare:workers";
import { Router } from "pennyroute";
import { readProviders } from "./providers.js";

/** @typedef {import("pennyroute").CatalogModel} CatalogModel */

export const providers = readProviders(env);
export const router = load();

function load() {
  try {
    return Router.loadSync();
  } catch (error) {
    // The runtime prints only the message of what stops a start; the code belongs in it.
    const { code, message } = /** @type {import("pennyroute").PennyrouteError} */ (error);
    throw new Error(`Pennyroute cannot start: ${code}: ${message}`, { cause: error });
  }
}

/**
 * Only models that can be called are candidates. They are left out of the catalog rather than
 * denied per request, because a quality target and a saving mean something only against the models
 * at hand. With no provider at all, the whole catalog stays and decisions are all there is.
 */
const catalog = router.catalog();
const callable = catalog.models.filter((model) => providers.has(model.provider));
export const canCall = callable.length > 0;
if (canCall && callable.length < catalog.models.length) router.setCatalog({ ...catalog, models: callable });

/** The models that may be named in a request, by id. @type {Map<string, CatalogModel>} */
export const models = new Map((canCall ? callable : catalog.models).map((model) => [model.id, model]));

/** @param {CatalogModel} model */
export function isRoutable(model) {
  return !model.unroutable && Boolean(model.ability) && Boolean(model.cost);
}
