// Node, Bun, Deno.

import { Router as Core, PennyrouteError } from "./core.js";
import { files } from "./files-node.js";
import { load } from "./load.js";

export { PennyrouteError };

export class Router extends Core {
  static load(options) {
    return load(this, options, files);
  }
}
