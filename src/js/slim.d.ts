export * from "./index.js";

import { LoadOptions, Router as HostRouter } from "./index.js";

/** What the host brings. */
export interface SlimOptions extends LoadOptions {
  /** `pennyroute/wasm`: compiled, as bytes, as a Response, or where to fetch it. The first load's counts. */
  module: WebAssembly.Module | BufferSource | Response | string | URL;
  /** `pennyroute/artifacts`: its bytes, or where to fetch them. */
  artifacts: Uint8Array | ArrayBuffer | string | URL;
}

/** Routes queries over one catalog. */
export class Router extends HostRouter {
  static load(options: SlimOptions): Promise<Router>;
  /** As `load`, without waiting: `module` is compiled or bytes, and `artifacts` are bytes. Not while a first `load` is under way. */
  static loadSync(options: SlimOptions): Router;
}
