/// <reference lib="esnext.disposable" />

import { RouteRequest } from "./index.js";

export { PennyrouteError } from "./index.js";

/** What embeds: the CPU, through WebAssembly, or the GPU, through WebGPU. */
export type EncoderPath = "cpu" | "gpu";

/**
 * Why the GPU did not embed although it was asked for, or was left to the encoder:
 * - `no_adapter`: the host has no WebGPU, or none of its adapters will do;
 * - `gpu_limits`: the adapter's limits are smaller than the encoder needs;
 * - `gpu_out_of_memory`;
 * - `device_lost`: the driver was reset or replaced, the machine slept, the GPU's process died;
 * - `gpu_failed`: anything else; `reason` says what. Where the GPU's module itself has crashed, no encoder of this page or
 *   worker gets it again: reload it.
 */
export interface Fallback {
  code: "no_adapter" | "gpu_limits" | "gpu_out_of_memory" | "device_lost" | "gpu_failed";
  reason: string;
}

export interface EncoderOptions {
  /**
   * The encoder's folder, as `models/train/encoder.py` writes it: where its `manifest.json` is (in Node also a path of the
   * file system), or its files. The package itself has no encoder: it has 23 MB for each path.
   */
  from: string | URL | EncoderFiles;
  /**
   * `auto`: both paths are loaded where there is an adapter, and measured; otherwise the CPU's alone. `cpu`, `gpu`: that
   * path, and of the other one's files none before it is needed. Default: `auto`.
   */
  path?: "auto" | EncoderPath;
  /** Aborted, the load rejects with the signal's reason. */
  signal?: AbortSignal;
  /** Called while the files arrive, of all files together; of a file that is only needed for a fallback then, by itself. */
  onProgress?: (loadedBytes: number, totalBytes: number) => void;
}

/** The files of an encoder's folder. Those of a path that is not used may be left out. */
export interface EncoderFiles {
  manifest: Uint8Array | ArrayBuffer | Blob;
  vocab: Uint8Array | ArrayBuffer | Blob;
  /** For the CPU. */
  onnx?: Uint8Array | ArrayBuffer | Blob;
  /** For the GPU. */
  packed?: Uint8Array | ArrayBuffer | Blob;
}

export interface EmbedOptions {
  /** The path of this call. `auto`, the default: as loaded, and if that was `auto`, the faster one for so many texts. */
  path?: "auto" | EncoderPath;
  /** Aborted, the call rejects with the signal's reason after the part that is being embedded: half a second or so. */
  signal?: AbortSignal;
  /** Called after every part. */
  onProgress?: (texts: number, total: number) => void;
}

export interface Embeddings {
  /** One vector of unit length after another, in the order of the requests. */
  embeddings: Float32Array;
  /** Numbers of a vector. */
  dimensions: number;
  receipt: EncoderReceipt;
}

/** What was done, and how. */
export interface EncoderReceipt {
  /** What embedded; where the GPU failed on the way, `cpu`, which did the rest. */
  path: EncoderPath;
  /** Of the weights on the CPU, of the arithmetic on the GPU. */
  precision: "int8" | "f16" | "f32";
  /** The GPU's name, as far as the browser tells it (it may be empty); null on the CPU. */
  adapter: string | null;
  texts: number;
  /** Of all texts together, as far as they are read (`max_tokens` of the manifest), their two markers included. */
  tokens: number;
  /** Microseconds, tokenization included. */
  elapsed_us: number;
  fallback: Fallback | null;
}

/** How the paths compare for batches of a size; the texts have some 32 tokens. */
export interface Calibration {
  /** Texts. */
  batch: number;
  /** Milliseconds for the batch: medians of up to three rounds. */
  cpu_ms: number;
  gpu_ms: number;
  /** Measured; otherwise in proportion to the largest batch that was. */
  cpu_measured: boolean;
  gpu_measured: boolean;
  /** The faster one. A batch goes by the largest size here that it reaches. */
  path: EncoderPath;
}

/**
 * A sentence-transformer (all-MiniLM-L6-v2): texts become vectors whose dot product is their similarity in meaning. Vectors
 * of both paths agree within a cosine of 0.998 in 8 bits, 0.9995 in float32. On the CPU a text takes some tens of
 * milliseconds, in parts between which the thread is free: embed many in a web worker, where all this works as well.
 *
 * @example
 * import { Encoder } from "pennyroute/encoder";
 * const encoder = await Encoder.load({ from: "/encoder/manifest.json" });
 * const { embeddings, dimensions } = await encoder.embed(["How tall is Everest?", "What is the height of Mount Everest?"]);
 */
export class Encoder {
  protected constructor();
  /**
   * Loads the files that the path needs, each verified by size and SHA-256, and with `auto` measures both paths (`calibration`),
   * which takes 2 seconds and two single texts on each path at the most. Errors are `bad_artifact` (a file is missing or not what
   * the manifest says), `unsupported_version`, and those of `Router.load`. A GPU that is not there or fails is none: the
   * CPU's files are loaded, and receipts say why. So it is with `auto` where the GPU's module cannot be loaded; with `gpu`
   * that is `bad_artifact`.
   */
  static load(options: EncoderOptions): Promise<Encoder>;
  /**
   * Embeds the text of each request that routing would go by; a string is a bare prompt. An error names the request:
   * `requests[3].prompt`. Where the GPU fails, the part that it had and all later ones are done on the CPU, in this call and
   * in later ones, and their receipts say why; another `Encoder.load` tries the GPU anew, unless its module has crashed.
   */
  embed(requests: (string | RouteRequest)[], options?: EmbedOptions): Promise<Embeddings>;
  /** By size, smallest first; empty unless `auto` had a choice. */
  readonly calibration: Calibration[];
  readonly dimensions: number;
  /** Of the weights, as the manifest names them. */
  readonly version: string;
  /** Gives the memory back. */
  free(): void;
  [Symbol.dispose](): void;
}
