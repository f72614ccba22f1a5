// Pages, web workers and extensions: both files are fetched from beside this one. Bundlers find them
// by the form `new URL("…", import.meta.url)` and copy them along.

import { Router as Core, PennyrouteError } from "./core.js";
import { fetchFile, load } from "./load.js";

export { PennyrouteError };

export class Router extends Core {
  static load(options = {}) {
    return load(this, options, {
      packed: new URL("./artifacts.bin", import.meta.url),
      module: () => fetchFile(new URL("./pennyroute_bg.wasm", import.meta.url)),
    });
  }
}
