// Where a browser finds the module and the artifacts: beside this file. Bundlers find them by the form
// `new URL("…", import.meta.url)` and copy them along.

import { fetchFile } from "./load.js";

export const files = {
  packed: new URL("./artifacts.bin", import.meta.url),
  module: () => fetchFile(new URL("./pennyroute_bg.wasm", import.meta.url)),
};
