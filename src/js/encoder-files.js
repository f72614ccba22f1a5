// The encoder's folder: what its manifest names, and how those files arrive that are wanted: with progress over all
// of them together, and none that is not byte for byte what the manifest says.

import { Encoder as Wasm } from "./pennyroute.js";
import { PennyrouteError } from "./error.js";
import { download, together } from "./load.js";
import { asBytes } from "./values.js";

/** Of manifests that can be read. */
const FORMAT = 1;
const ROLES = ["onnx", "packed", "vocab"];

/**
 * @typedef {{ read?: typeof download, beside: (from: string | URL, path?: string) => string }} Host how bytes of a
 *   place are read, and the place of a file beside another one
 */
export class Folder {
  #source;
  #files;

  /**
   * @param {{ bytes: Uint8Array, from: string }} manifest
   * @param {(role: string, path: string, onProgress?: Function, signal?: AbortSignal) => Promise<{ bytes: Uint8Array, from: string }>} source
   */
  constructor({ bytes, from }, source) {
    const { files, encoder, version } = checked(bytes, from);
    this.#source = source;
    this.#files = files;
    this.version = version;
    this.dimensions = encoder.dimensions;
    this.maxTokens = encoder.max_tokens;
    this.precision = encoder.precision;
  }

  /**
   * A folder by where its manifest is, or by its files.
   * @param {string | URL | import("./encoder.js").EncoderFiles} from
   * @param {Host} host
   * @param {AbortSignal} signal
   */
  static async open(from, { read = download, beside }, signal) {
    if (typeof from === "string" || from instanceof URL) {
      const manifest = await read(beside(from), undefined, signal);
      return new this(manifest, (_, path, onProgress, stop) => read(beside(from, path), onProgress, stop));
    }
    if (from === null || typeof from !== "object") {
      throw new PennyrouteError("bad_request", "from: must be the URL of a manifest.json, or the files { manifest, onnx, packed, vocab }");
    }
    return new this(await given(from, "manifest"), async (role, _, onProgress) => {
      const file = await given(from, role);
      onProgress?.(file.bytes.length);
      return file;
    });
  }

  /**
   * The bytes of some files by their roles, verified.
   * @param {string[]} roles
   * @param {{ signal?: AbortSignal, onProgress?: (loaded: number, total: number) => void }} [options]
   * @returns {Promise<Record<string, Uint8Array>>}
   */
  async bring(roles, { signal, onProgress } = {}) {
    const total = roles.reduce((sum, role) => sum + this.#files[role].bytes, 0);
    const loaded = Object.fromEntries(roles.map((role) => [role, 0]));
    const bring = async (role, stop) => {
      const tell = onProgress && ((bytes) => {
        loaded[role] = bytes;
        onProgress(Object.values(loaded).reduce((sum, each) => sum + each, 0), total);
      });
      const { bytes, from } = await this.#source(role, this.#files[role].path, tell, stop);
      await verify(bytes, this.#files[role], from);
      return [role, bytes];
    };
    return Object.fromEntries(await together((stop) => roles.map((role) => bring(role, stop)), signal));
  }
}

/** A file among those that were given. */
async function given(from, role) {
  const file = from[role];
  const bytes = file instanceof Blob ? new Uint8Array(await file.arrayBuffer()) : asBytes(file);
  if (!bytes) throw new PennyrouteError("bad_artifact", `from.${role}: must be bytes or a Blob`);
  return { bytes, from: `from.${role}` };
}

/** The manifest, if it is one. */
function checked(bytes, from) {
  const refuse = (what, code = "bad_artifact") => {
    throw new PennyrouteError(code, `${from}: ${what}`);
  };
  let manifest;
  try {
    manifest = JSON.parse(new TextDecoder().decode(bytes));
  } catch (error) {
    refuse(`is no manifest.json: ${error.message}`);
  }
  const { format, files, encoder, version } = manifest ?? {};
  if (format !== FORMAT) refuse(`format is ${format}; this version of Pennyroute reads ${FORMAT}`, "unsupported_version");
  for (const role of ROLES) {
    const { path, sha256, bytes: size } = files?.[role] ?? {};
    const named = typeof path === "string" && typeof sha256 === "string" && Number.isInteger(size);
    if (!named) refuse(`files.${role}: must have path, sha256 and bytes`);
  }
  for (const field of ["dimensions", "max_tokens"]) {
    if (!(Number.isInteger(encoder?.[field]) && encoder[field] > 0)) refuse(`encoder.${field}: must be a whole number above 0`);
  }
  return { files, encoder, version: String(version) };
}

async function verify(bytes, entry, from) {
  if (bytes.length !== entry.bytes) {
    throw new PennyrouteError("bad_artifact", `${from}: has ${bytes.length} bytes, the manifest says ${entry.bytes}`);
  }
  const digest = await sha256(bytes);
  if (digest !== entry.sha256) {
    throw new PennyrouteError("bad_artifact", `${from}: SHA-256 is ${digest}, the manifest says ${entry.sha256}`);
  }
}

async function sha256(bytes) {
  // A page without TLS has no subtle.
  if (!globalThis.crypto?.subtle) return Wasm.sha256(bytes);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
