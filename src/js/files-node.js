// Where Node, Bun and Deno find the module and the artifacts: beside this file.

import { readFile } from "node:fs/promises";
import { PennyrouteError } from "./error.js";
import { download } from "./load.js";

export const files = {
  packed: new URL("./artifacts.bin", import.meta.url),
  module: async () => (await read(new URL("./pennyroute_bg.wasm", import.meta.url))).bytes,
  read,
};

async function read(from, onProgress, signal) {
  if (from instanceof URL && !from.protocol) {
    // What webpack, within Next.js, makes of the forms above: an address on the site, which is no file here.
    const advice = 'keep `pennyroute` out of the server\'s bundle (Next.js: serverExternalPackages: ["pennyroute"])';
    throw new PennyrouteError("bad_artifact", `${from}: no such file on this server; ${advice}`);
  }
  if (/^(https?|data|blob):/.test(from)) return download(from, onProgress, signal);
  const bytes = await readFile(/^file:/.test(from) ? new URL(from) : from).catch((cause) => {
    throw new PennyrouteError("bad_artifact", cause.message, { cause });
  });
  onProgress?.(bytes.length, bytes.length);
  return { bytes, from: String(from) };
}
