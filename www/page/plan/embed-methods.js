/**
 * What the router's thread does with embeddings for *Plan*: loads the encoder when it is first asked to, embeds the
 * batch, finds its near-duplicates. All of it stays in that thread.
 */
import { Encoder } from "pennyroute/encoder";
import { lacking as lackingGpu } from "../../../src/js/encoder-adapter.js";
import { nearDuplicates } from "./duplicates.js";
import { npy } from "./npy.js";

/** Where the page's build has put the encoder, beside the page; null where it has none. @type {string | null} */
const BESIDE = globalThis.ENCODER;
/** What the rate of the path that is not used is taken from: so many texts, if they take so long together. */
const SAMPLE = 16;
const SAMPLE_MS = 1500;
/** Near-duplicates that are shown. */
const SHOWN = 50;

/** @type {Encoder | undefined} */
let encoder;
/** The files that the user gave, by role. @type {import("pennyroute/encoder").EncoderFiles | undefined} */
let given;
/** @type {{ embeddings: Float32Array, dimensions: number } | undefined} */
let embedded;
/** @type {{ of: Uint32Array, cosine: Float32Array } | undefined} */
let found;

/** Why there is no GPU; null where there is one. @type {Promise<string | null>} */
let lacking;

/** @type {Record<string, (batch: import("./batch.js").Batch, argument: any, context: any) => unknown>} */
export const methods = {
  /** Whether there is an encoder beside the page, and why there is no GPU, if there is none. */
  async about() {
    lacking ??= lackingGpu();
    return { beside: BESIDE !== null, lacking: await lacking };
  },

  /** Takes an encoder's files, to be used from now on. @param {File[]} files */
  async take(_, files) {
    const manifest = files.find(({ name }) => name.endsWith(".json"));
    if (!manifest) throw Object.assign(new Error("manifest.json is not among them"), { code: "bad_artifact" });
    const entries = Object.entries(JSON.parse(await manifest.text()).files ?? {});
    const named = (path) => files.find(({ name }) => name === String(path).split("/").at(-1));
    given = Object.fromEntries([["manifest", manifest], ...entries.map(([role, { path }]) => [role, named(path)])]);
    encoder?.free();
    encoder = undefined;
  },

  /**
   * Embeds the batch: some of it on the path that is not used, to compare.
   * @param {"auto" | "cpu" | "gpu"} path
   */
  async embed(batch, path, { signal, progress, pause }) {
    embedded = found = undefined;
    const load = (loaded, total) => progress({ stage: "load", done: loaded, total });
    const from = given ?? new URL(BESIDE, location.href);
    // Without the GPU's file the GPU cannot be left to choice.
    const both = (await methods.about()).lacking === null && !(given && !given.packed);
    encoder ??= await Encoder.load({ from, path: both ? "auto" : "cpu", signal, onProgress: load });
    const requests = batch.requests();
    const onProgress = (done, total) => progress({ stage: "embed", done, total });
    const result = await encoder.embed(requests, { path, signal, onProgress });
    const { receipt } = result;
    const rates = { [receipt.path]: rate(receipt) };
    // A path that has just failed is not tried again.
    if (both && !receipt.fallback) {
      progress({ stage: "compare", done: 0, total: 1 });
      await pause();
      const other = receipt.path === "cpu" ? "gpu" : "cpu";
      const compared = await sampled(requests, other, signal);
      if (compared.path === other) rates[other] = rate(compared);
    }
    embedded = result;
    const { calibration } = encoder;
    if (receipt.fallback) {
      // Another one tries the GPU anew.
      encoder.free();
      encoder = undefined;
    }
    return { receipt, rates, forced: both && path !== "auto", calibration };
  },

  /** Finds the near-duplicates. @param {number} threshold */
  async duplicates(batch, threshold, { progress, pause }) {
    const { embeddings, dimensions } = embedded;
    found = await nearDuplicates(embeddings, dimensions, threshold, {
      progress: ({ done, total }) => progress({ stage: "duplicates", done, total }),
      pause,
    });
    const { of, cosine } = found;
    const all = Array.from(of.keys()).filter((i) => of[i] !== i);
    const first = all.slice(0, SHOWN).map((i) => ({ ...batch.describe(i), cosine: cosine[i], repeats: batch.describe(of[i]) }));
    return { count: all.length, first };
  },

  /** Leaves the near-duplicates out of plans, or takes them in again. @param {boolean} out */
  leaveOut: (batch, out) => batch.leaveOut(out ? found.of : null),

  npy: () => npy(embedded.embeddings, embedded.dimensions),
};

/**
 * The receipt of some of the requests on a path.
 * @param {import("pennyroute").RouteRequest[]} requests
 * @param {"cpu" | "gpu"} path
 * @param {AbortSignal} signal
 */
async function sampled(requests, path, signal) {
  const one = (await encoder.embed(requests.slice(0, 1), { path, signal })).receipt;
  const many = Math.min(SAMPLE, Math.floor((SAMPLE_MS * 1000) / one.elapsed_us));
  return many > 1 ? (await encoder.embed(requests.slice(0, many), { path, signal })).receipt : one;
}

/** Texts a second. @param {import("pennyroute/encoder").EncoderReceipt} receipt */
function rate({ texts, elapsed_us: elapsed }) {
  return { texts, per_second: texts / (elapsed / 1e6) };
}
