// Vercel's edge runtime: the module is imported compiled, the artifacts are fetched from the bundle.

import module from "./pennyroute_bg.wasm?module";
import { Router as Core, PennyrouteError, artifactsFrom, instantiate } from "./core.js";

export { PennyrouteError };

export class Router extends Core {
  static async load(options = {}) {
    const [artifacts] = await Promise.all([
      artifactsFrom(options, new URL("./artifacts.bin", import.meta.url)),
      // Not `instantiateSync`: Next.js compiles the module in another realm, and only the asynchronous
      // way does not ask which one's `WebAssembly.Module` it is.
      instantiate(() => module),
    ]);
    return new this(artifacts, options);
  }
}
