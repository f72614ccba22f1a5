// The packed artifacts: one file for hosts that would rather fetch or import once.
//
// Layout: `PENNYART`, the length of manifest.json (u32, little-endian), manifest.json, then the
// content of every file that it names, in the order of their roles' names.

import { readFileSync } from "node:fs";
import { join } from "node:path";

/** Packs a manifest (its bytes) and the files it names, which `read` brings by path. */
export function pack(manifest, read) {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(manifest.length);
  const { files } = JSON.parse(manifest);
  const contents = Object.keys(files).sort().map((role) => read(files[role].path));
  return Buffer.concat([Buffer.from("PENNYART"), length, manifest, ...contents]);
}

/** Packs the folder in which a manifest.json lies. */
export function packFolder(folder) {
  return pack(readFileSync(join(folder, "manifest.json")), (path) => readFileSync(join(folder, path)));
}
