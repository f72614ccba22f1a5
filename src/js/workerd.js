// Cloudflare Workers: compiling bytes is blocked, so both files are imported, and the module is
// instantiated as the Worker starts. Start-up has no clock and no randomness; nothing here needs them.

import module from "./pennyroute_bg.wasm";
import packed from "./artifacts.bin";
import { Router as Core, PennyrouteError } from "./core.js";
import { instantiateSync, load } from "./load.js";
import { asBytes } from "./values.js";

export { PennyrouteError };

instantiateSync(module);

export class Router extends Core {
  static load(options) {
    return load(this, options, { packed, module });
  }

  static loadSync(options) {
    const { artifacts = packed } = options ?? {};
    return new this(asBytes(artifacts) ?? artifacts, options);
  }
}
