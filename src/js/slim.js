// Any host: it brings the module (`pennyroute/wasm`) and the artifacts (`pennyroute/artifacts`).

import { Router as Core, PennyrouteError, artifactsFrom, asBytes, instantiate, instantiateSync } from "./core.js";

export { PennyrouteError };

export class Router extends Core {
  static async load(options = {}) {
    const [artifacts] = await Promise.all([artifactsFrom(options), instantiate(() => options.module)]);
    return new this(artifacts, options);
  }

  static loadSync(options = {}) {
    instantiateSync(options.module);
    return new this(asBytes(options.artifacts) ?? options.artifacts, options);
  }
}
