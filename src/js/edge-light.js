// Vercel's edge runtime: the module is imported compiled, the artifacts are fetched from the bundle.

import module from "./pennyroute_bg.wasm?module";
import { Router as Core, PennyrouteError } from "./core.js";
import { load } from "./load.js";

export { PennyrouteError };

export class Router extends Core {
  static load(options) {
    // Not `instantiateSync`: Next.js compiles the module in another realm, and only the asynchronous way
    // does not ask which one's `WebAssembly.Module` it is.
    return load(this, options, { packed: new URL("./artifacts.bin", import.meta.url), module });
  }
}
