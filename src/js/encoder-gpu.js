// The encoder's GPU path: a wasm module of its own, which only those fetch who ask for it where there is an adapter.

import { unlessPanicked } from "./error.js";
import { fetchFile } from "./load.js";
import { asPennyrouteError } from "./values.js";

let loading;

export const gpu = {
  /** Why there is no GPU to be had; null where there is one. */
  async lacking() {
    if (!globalThis.navigator?.gpu) return "this host has no WebGPU (pages have it over TLS alone)";
    const adapter = await navigator.gpu.requestAdapter().catch(() => null);
    return adapter ? null : "WebGPU offers no adapter";
  },

  /** An encoder over the packed file: `GpuEncoder` of the module. */
  async start(packed) {
    loading ??= load().catch((error) => {
      // The next one may have more luck with the network.
      loading = undefined;
      throw asPennyrouteError(error, "bad_artifact");
    });
    const { GpuEncoder } = await loading;
    const encoder = await unlessPanicked(GpuEncoder.create(packed), "gpu_failed");
    const embed = encoder.embed.bind(encoder);
    // What it has promised when it panics would never come.
    encoder.embed = (ids, ends) => unlessPanicked(embed(ids, ends), "gpu_failed");
    return encoder;
  },
};

async function load() {
  const module = await import("./pennyroute_gpu.js");
  await module.default({ module_or_path: fetchFile(new URL("./pennyroute_gpu_bg.wasm", import.meta.url)) });
  return module;
}
