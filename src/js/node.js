// Node, Bun, Deno: the module and the artifacts are files beside this one.

import { readFile } from "node:fs/promises";
import { Router as Core, PennyrouteError, artifactsFrom, fetchWithProgress, instantiate } from "./core.js";

export { PennyrouteError };

export class Router extends Core {
  static async load(options = {}) {
    const [artifacts] = await Promise.all([
      artifactsFrom(options, new URL("./artifacts.bin", import.meta.url), read),
      instantiate(() => read(new URL("./pennyroute_bg.wasm", import.meta.url))),
    ]);
    return new this(artifacts, options);
  }
}

async function read(from, onProgress) {
  if (from instanceof URL && !from.protocol) {
    // What webpack, within Next.js, makes of the forms above: an address on the site, which is no file here.
    const advice = 'keep `pennyroute` out of the server\'s bundle (Next.js: serverExternalPackages: ["pennyroute"])';
    throw new PennyrouteError("bad_artifact", `${from}: no such file on this server; ${advice}`);
  }
  if (/^(https?|data|blob):/.test(from)) return fetchWithProgress(from, onProgress);
  const bytes = await readFile(/^file:/.test(from) ? new URL(from) : from);
  onProgress?.(bytes.length, bytes.length);
  return bytes;
}
