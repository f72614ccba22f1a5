// Pages, web workers and extensions: both files are fetched from beside this one. Bundlers find them
// by the form `new URL("…", import.meta.url)` and copy them along.

import { Router as Core, PennyrouteError, artifactsFrom, fetchFile, instantiate } from "./core.js";

export { PennyrouteError };

export class Router extends Core {
  static async load(options = {}) {
    const [artifacts] = await Promise.all([
      artifactsFrom(options, new URL("./artifacts.bin", import.meta.url)),
      instantiate(() => fetchFile(new URL("./pennyroute_bg.wasm", import.meta.url))),
    ]);
    return new this(artifacts, options);
  }
}
