// `pennyroute/encoder` in Node, Bun and Deno: on the CPU.

import { dirname, join } from "node:path";
import { Encoder as Core, PennyrouteError } from "./encoder-core.js";
import { files } from "./files-node.js";

export { PennyrouteError };

export class Encoder extends Core {
  static load(options) {
    return super.load(options, { module: files.module, read: files.read, beside });
  }
}

/** A path is of the file system. */
function beside(from, path = "") {
  if (from instanceof URL || /^[a-z]+:\/\//.test(from)) return String(new URL(path, from));
  return path ? join(dirname(from), path) : from;
}
