// Vercel's edge runtime: the module is imported compiled, the artifacts are fetched from the bundle.

import module from "./pennyroute_bg.wasm?module";
import { Router as Core, PennyrouteError } from "./core.js";
import { load } from "./load.js";

export { PennyrouteError };

export class Router extends Core {
  static load(options = {}) {
    return load(this, options, { packed: new URL("./artifacts.bin", import.meta.url), module });
  }
}
