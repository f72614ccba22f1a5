// Vercel's edge runtime: the module is imported compiled, the artifacts are fetched from the bundle.

import module from "./pennyroute_bg.wasm?module";
import { Router as Core, PennyrouteError, artifactsFrom, instantiateSync } from "./core.js";

export { PennyrouteError };

export class Router extends Core {
  static async load(options = {}) {
    instantiateSync(module);
    return new this(await artifactsFrom(options, new URL("./artifacts.bin", import.meta.url)), options);
  }
}
