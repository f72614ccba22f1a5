export * from "./index.js";

import { LoadOptions, Router as HostRouter } from "./index.js";

/** Routes queries over one catalog. On Cloudflare Workers it can be made as the Worker starts. */
export class Router extends HostRouter {
  static load(options?: LoadOptions): Promise<Router>;
  /** As `load`, without waiting: `artifacts` are bytes, and `onProgress` is not called. */
  static loadSync(options?: LoadOptions): Router;
}
