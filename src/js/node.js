// Node, Bun, Deno: the module and the artifacts are files beside this one.

import { readFile } from "node:fs/promises";
import { Router as Core, PennyrouteError } from "./core.js";
import { download, load } from "./load.js";

export { PennyrouteError };

export class Router extends Core {
  static load(options = {}) {
    return load(this, options, {
      packed: new URL("./artifacts.bin", import.meta.url),
      module: () => readFile(new URL("./pennyroute_bg.wasm", import.meta.url)),
      read,
    });
  }
}

async function read(from, onProgress, signal) {
  if (/^(https?|data|blob):/.test(from)) return download(from, onProgress, signal);
  const bytes = await readFile(/^file:/.test(from) ? new URL(from) : from).catch((cause) => {
    throw new PennyrouteError("bad_artifact", cause.message, { cause });
  });
  onProgress?.(bytes.length, bytes.length);
  return { bytes, from: String(from) };
}
