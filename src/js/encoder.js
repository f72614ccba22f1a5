// `pennyroute/encoder` in pages and web workers: on the GPU through WebGPU, on the CPU through wasm.

import { Encoder as Core, PennyrouteError } from "./encoder-core.js";
import { gpu } from "./encoder-gpu.js";
import { files } from "./files.js";

export { PennyrouteError };

export class Encoder extends Core {
  static load(options) {
    return super.load(options, { module: files.module, gpu, beside });
  }
}

/** What a page means by a relative URL is relative to the page. */
function beside(from, path = "") {
  const manifest = new URL(from, globalThis.location?.href);
  return String(path ? new URL(path, manifest) : manifest);
}
