// Cloudflare Workers: compiling bytes is blocked, so both files are imported, and the module is
// instantiated as the Worker starts. Start-up has no clock and no randomness; nothing here needs them.

import module from "./pennyroute_bg.wasm";
import packed from "./artifacts.bin";
import { Router as Core, PennyrouteError, artifactsFrom, asBytes, instantiateSync } from "./core.js";

export { PennyrouteError };

instantiateSync(module);

export class Router extends Core {
  static async load(options = {}) {
    return new this(await artifactsFrom(options, packed), options);
  }

  static loadSync(options = {}) {
    return new this(asBytes(options.artifacts ?? packed) ?? options.artifacts, options);
  }
}
