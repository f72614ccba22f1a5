// The encoder's GPU path: a wasm module of its own, which only those fetch who ask for it where there is an adapter.

import { lacking } from "./encoder-adapter.js";
import { PennyrouteError, unlessPanicked } from "./error.js";
import { fetchFile } from "./load.js";
import { asPennyrouteError } from "./values.js";

let loading;
/** The module has panicked or trapped: its memory is not to be trusted, and a page has no second one of it. */
let failed = false;

export const gpu = {
  lacking,

  /** An encoder over the packed file: `GpuEncoder` of the module. */
  async start(packed) {
    checkFailed();
    loading ??= load().catch((error) => {
      // The next one may have more luck with the network.
      loading = undefined;
      throw asPennyrouteError(error, "bad_artifact");
    });
    const { GpuEncoder } = await loading;
    const encoder = await ask(() => GpuEncoder.create(packed));
    const [embed, free] = [encoder.embed.bind(encoder), encoder.free.bind(encoder)];
    encoder.embed = (ids, ends) => ask(() => embed(ids, ends));
    encoder.free = () => {
      if (!failed) free();
    };
    return encoder;
  },
};

/** What a call of the module brings. An error that the module does not mean is its end. */
async function ask(call) {
  checkFailed();
  try {
    return await unlessPanicked(call);
  } catch (error) {
    if (!(error instanceof PennyrouteError)) failed = true;
    throw asPennyrouteError(error, "gpu_failed");
  }
}

function checkFailed() {
  if (failed) throw new PennyrouteError("gpu_failed", "the GPU's module has failed on this page; reload it");
}

async function load() {
  const module = await import("./pennyroute_gpu.js");
  await module.default({ module_or_path: fetchFile(new URL("./pennyroute_gpu_bg.wasm", import.meta.url)) });
  return module;
}
