// Any host: it brings the module (`pennyroute/wasm`) and the artifacts (`pennyroute/artifacts`).

import { Router as Core, PennyrouteError } from "./core.js";
import { instantiateSync, load } from "./load.js";
import { asBytes } from "./values.js";

export { PennyrouteError };

export class Router extends Core {
  static load(options) {
    return load(this, options, { module: options?.module });
  }

  static loadSync(options) {
    instantiateSync(options?.module);
    return new this(asBytes(options?.artifacts) ?? options?.artifacts, options);
  }
}
