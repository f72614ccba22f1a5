// The encoder that every host shares: texts in, vectors out, by the path that is faster or asked for. The entries
// beside this file say where the modules come from on their host, encoder-files.js how the weights arrive.
//
// Tokens are the main module's business on either path. Vectors are made in parts, between which others get their
// turn: what fails on the GPU is a part, and that one and the rest are done on the CPU.

import { Encoder as Wasm } from "./pennyroute.js";
import { calibrate, chosen } from "./encoder-calibration.js";
import { Folder } from "./encoder-files.js";
import { Tokens } from "./encoder-tokens.js";
import { PennyrouteError } from "./error.js";
import { instantiate, together } from "./load.js";
import { asRequest, atRequest, guard } from "./values.js";

export { PennyrouteError };

const PATHS = ["auto", "cpu", "gpu"];
/** Why the GPU did not do it: codes of its module that lead to the CPU. */
const FAULTS = new Set(["no_adapter", "gpu_limits", "gpu_out_of_memory", "device_lost", "gpu_failed"]);
/** Requests tokenized in a row: some milliseconds. */
const TOKENIZED = 200;
/** Tokens embedded in a row on the CPU: a tenth of a second or so. */
const CPU_TOKENS = 128;
/** A part on the GPU is to take so long; it has so many tokens at first, at the least and at the most. */
const GPU_MS = 400;
const GPU_TOKENS = { first: 256, least: 64, most: 1 << 16 };
/** A part has at most so many times the tokens of the one that the rate was taken from: a few say little of many. */
const GPU_GROWTH = 4;
/** What is embedded to calibrate: a prompt of usual length. */
const SAMPLE = "A warehouse ships 480 parcels a day, one in eight of them abroad. Domestic ones cost 3.20 each. What does a week cost?";

/**
 * @typedef {import("./encoder-files.js").Host & {
 *   module: unknown,
 *   gpu?: { lacking: () => Promise<string | null>, start: (packed: Uint8Array) => Promise<any> },
 * }} Host what the main module is compiled from; why there is no GPU, and how an encoder is started on it
 */
export class Encoder {
  #host;
  #folder;
  #path;
  #vocab;
  /** The tokenizer, with the network once the CPU path is needed. */
  #wasm;
  #network;
  #gpu;
  /** What its receipts say of the GPU: it may be freed before they are written. */
  #gpuNamed;
  /** Why there is no GPU path although it was asked for. @type {{ code: string, reason: string } | null} */
  #fault = null;
  #gpuTokens = GPU_TOKENS.first;
  /** The GPU takes one part at a time. @type {Promise<unknown>} */
  #turns = Promise.resolve();
  #calibration = [];
  #freed = false;

  constructor(host, folder, path) {
    this.#host = host;
    this.#folder = folder;
    this.#path = path;
  }

  /** @param {import("./encoder.js").EncoderOptions} options @param {Host} host */
  static async load(options, host) {
    const { from, path = "auto", signal, onProgress } = options ?? {};
    signal?.throwIfAborted();
    checkPath(path);
    const [folder] = await together((stop) => [Folder.open(from, host, stop), instantiate(host.module)], signal);
    const encoder = new this(host, folder, path);
    try {
      await encoder.#begin({ signal, onProgress });
    } catch (error) {
      encoder.free();
      throw error;
    }
    return encoder;
  }

  get dimensions() {
    return this.#folder.dimensions;
  }

  get version() {
    return this.#folder.version;
  }

  get calibration() {
    return this.#calibration;
  }

  async embed(requests, options) {
    const { path: asked = "auto", signal, onProgress } = options ?? {};
    signal?.throwIfAborted();
    checkPath(asked);
    if (!Array.isArray(requests) || !requests.length) throw new PennyrouteError("bad_request", "requests: must be an array, not empty");
    const start = performance.now();
    const tokens = await this.#tokenize(requests, signal);
    const { dimensions } = this;
    const embeddings = new Float32Array(tokens.texts * dimensions);
    const done = (part, from, to) => {
      if (part.length !== (to - from) * dimensions) throw new PennyrouteError("bad_artifact", `the encoder's vectors have not ${dimensions} dimensions`);
      embeddings.set(part, from * dimensions);
      onProgress?.(to, tokens.texts);
    };

    const wanted = asked === "auto" ? this.#path : asked;
    let path = wanted === "auto" ? chosen(this.#calibration, tokens.texts) ?? "cpu" : wanted;
    let from = 0;
    if (path === "gpu") from = await this.#embedOnGpu(tokens, signal, done);
    if (from < tokens.texts) {
      path = "cpu";
      await this.#embedOnCpu(tokens, from, signal, done);
    }
    const receipt = {
      path,
      precision: PRECISIONS[this.#folder.precision] ?? this.#folder.precision,
      adapter: null,
      ...(path === "gpu" ? this.#gpuNamed : {}),
      texts: tokens.texts,
      tokens: tokens.ids.length,
      elapsed_us: Math.round((performance.now() - start) * 1000),
      fallback: path === "cpu" && wanted !== "cpu" ? this.#fault : null,
    };
    return { embeddings, dimensions, receipt };
  }

  free() {
    this.#freed = true;
    this.#wasm?.free();
    this.#gpu?.free();
    this.#wasm = this.#gpu = undefined;
  }

  /** Brings what the path needs, and calibrates where there is a choice. */
  async #begin({ signal, onProgress }) {
    const lacking = this.#path === "cpu" ? null : await this.#lacking();
    if (lacking) this.#fault = { code: "no_adapter", reason: lacking };
    const onGpu = this.#path !== "cpu" && !lacking;
    const onCpu = this.#path !== "gpu" || !onGpu;
    const roles = ["vocab", ...(onCpu ? ["onnx"] : []), ...(onGpu ? ["packed"] : [])];
    const { vocab, onnx, packed } = await this.#folder.bring(roles, { signal, onProgress });
    this.#vocab = new TextDecoder().decode(vocab);
    this.#wasm = this.#encoderOf(onnx);
    if (onnx) this.#network = Promise.resolve();
    if (onGpu) await this.#startGpu(packed);
    signal?.throwIfAborted();
    if (this.#gpu && this.#path === "auto") await this.#calibrate(signal);
    // The fallback is at hand before it is needed where that is known by now.
    if (!this.#gpu && !onCpu) await this.#prepareCpu({ signal, onProgress });
  }

  async #lacking() {
    const { gpu } = this.#host;
    return gpu ? gpu.lacking() : "this host has no WebGPU";
  }

  #encoderOf(onnx) {
    return guard(() => new Wasm(onnx, this.#vocab, this.#folder.maxTokens));
  }

  /** Loads the network where it is not loaded, once for all who ask. */
  #prepareCpu({ signal, onProgress } = {}) {
    this.#network ??= this.#folder.bring(["onnx"], { onProgress }).then(({ onnx }) => {
      const tokenizer = this.#alive();
      this.#wasm = this.#encoderOf(onnx);
      tokenizer.free();
    }).catch((error) => {
      this.#network = undefined;
      if (!this.#fault || !(error instanceof PennyrouteError)) throw error;
      const { code, reason } = this.#fault;
      throw new PennyrouteError(error.code, `${error.message} (the CPU was to step in for the GPU: ${code}: ${reason})`, { cause: error });
    });
    return together(() => [this.#network], signal);
  }

  /** Starts the GPU path where it was not loaded and has not failed. */
  async #prepareGpu(signal) {
    if (this.#gpu || this.#fault) return;
    const lacking = await this.#lacking();
    if (lacking) {
      this.#fault = { code: "no_adapter", reason: lacking };
      return;
    }
    const { packed } = await this.#folder.bring(["packed"], { signal });
    await this.#inTurn(() => this.#gpu || this.#fault || this.#startGpu(packed));
  }

  async #startGpu(packed) {
    try {
      const gpu = await this.#host.gpu.start(packed);
      if (this.#freed) return gpu.free();
      this.#gpuNamed = { precision: gpu.precision, adapter: gpu.adapter };
      this.#gpu = gpu;
    } catch (error) {
      // Where the choice was left to us, a bundle without the GPU's module is as good as a host without a GPU.
      this.#fail(error, this.#path === "auto");
    }
  }

  /** The GPU path has ended with an error; one that is no fault of the GPU is thrown, unless `whatever` it is. */
  #fail(error, whatever = false) {
    const known = FAULTS.has(error?.code);
    if (error instanceof PennyrouteError && !known && !whatever) throw error;
    this.#fault = { code: known ? error.code : "gpu_failed", reason: String(error?.message ?? error) };
    this.#gpu?.free();
    this.#gpu = undefined;
  }

  async #calibrate(signal) {
    const { ids } = guard(() => this.#wasm.tokenize([{ prompt: SAMPLE }]));
    const batches = (texts) => new Tokens(Array.from({ length: texts }, () => ({ ids, ends: Uint32Array.of(ids.length) })));
    const run = {
      cpu: async (texts) => this.#embedOnCpu(batches(texts), 0, signal, () => {}),
      gpu: async (texts) => {
        if ((await this.#embedOnGpu(batches(texts), signal, () => {})) < texts) throw GPU_GONE;
      },
    };
    try {
      this.#calibration = await calibrate(run, { signal });
    } catch (error) {
      if (error !== GPU_GONE) throw error;
    }
  }

  async #tokenize(requests, signal) {
    const parts = [];
    for (let from = 0; from < requests.length; from += TOKENIZED) {
      if (from > 0) await nextTask(signal);
      try {
        parts.push(guard(() => this.#alive().tokenize(requests.slice(from, from + TOKENIZED).map(asRequest))));
      } catch (error) {
        throw atRequest(error, from);
      }
    }
    return new Tokens(parts);
  }

  /** Embeds on the CPU from a text on. */
  async #embedOnCpu(tokens, from, signal, done) {
    await this.#prepareCpu({ signal });
    while (from < tokens.texts) {
      const to = tokens.until(from, CPU_TOKENS);
      const { ids, ends } = tokens.part(from, to);
      done(guard(() => this.#alive().embed(ids, ends)), from, to);
      from = to;
      if (from < tokens.texts) await nextTask(signal);
    }
  }

  /** Embeds on the GPU as far as it goes, and answers how far that was. */
  async #embedOnGpu(tokens, signal, done) {
    await this.#prepareGpu(signal);
    let from = 0;
    while (from < tokens.texts && this.#gpu) {
      signal?.throwIfAborted();
      const to = tokens.until(from, this.#gpuTokens);
      const part = await this.#inTurn(() => this.#partOnGpu(tokens.part(from, to)));
      this.#alive();
      if (!part) break;
      done(part, from, to);
      from = to;
    }
    return from;
  }

  /** The vectors of one part, or nothing where the GPU has failed; the next one is as large as the time allows. */
  async #partOnGpu({ ids, ends }) {
    const start = performance.now();
    let part;
    try {
      part = await this.#gpu?.embed(ids, ends);
    } catch (error) {
      this.#fail(error);
      return undefined;
    }
    const rate = ids.length / Math.max(1, performance.now() - start);
    const next = Math.min(rate * GPU_MS, Math.max(GPU_TOKENS.first, GPU_GROWTH * ids.length));
    this.#gpuTokens = Math.round(Math.min(GPU_TOKENS.most, Math.max(GPU_TOKENS.least, next)));
    return part;
  }

  #inTurn(action) {
    const turn = this.#turns.then(action);
    this.#turns = turn.catch(() => {});
    return turn;
  }

  #alive() {
    if (this.#freed) throw new PennyrouteError("bad_request", "this encoder has been freed");
    return this.#wasm;
  }
}
// Hosts without `using` have no such symbol.
if (Symbol.dispose) Encoder.prototype[Symbol.dispose] = Encoder.prototype.free;

/** The precisions of manifests, as the GPU names them. */
const PRECISIONS = { int8: "int8", float32: "f32" };
/** Ends a calibration. */
const GPU_GONE = new Error("the GPU has failed");

function checkPath(path) {
  if (!PATHS.includes(path)) throw new PennyrouteError("bad_request", `path: must be one of ${PATHS.join(", ")}, is ${path}`);
}

/** Resolves once what has arrived meanwhile is done. Timers are held back when they follow each other; messages are not. */
function nextTask(signal) {
  return new Promise((resolve, reject) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      if (signal?.aborted) reject(signal.reason);
      else resolve();
    };
    port2.postMessage(null);
  });
}
