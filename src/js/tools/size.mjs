// `npm run size`: what a host downloads, raw and compressed. The last line is one JSON object.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { dist, fail, root } from "./shell.mjs";

/** What the package aims to stay under, gzipped: Workers on the free plan take 3 MB. */
const LIMITS = { wasm: 2_000_000, gpu: 150_000, artifacts: 1_500_000, total: 3_000_000 };

if (!existsSync(join(dist, "pennyroute_bg.wasm"))) fail("dist/ is missing: run `npm run build` first");

function sizes(bytes) {
  return {
    raw: bytes.length,
    gzip: gzipSync(bytes, { level: 9 }).length,
    brotli: brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } }).length,
  };
}

const add = (a, b) => ({ raw: a.raw + b.raw, gzip: a.gzip + b.gzip, brotli: a.brotli + b.brotli });

const wasm = sizes(readFileSync(join(dist, "pennyroute_bg.wasm")));
// Only those who encode texts on the GPU load it, and nobody at the edge: no part of the total.
const gpu = sizes(readFileSync(join(dist, "pennyroute_gpu_bg.wasm")));
const artifacts = sizes(readFileSync(join(dist, "artifacts.bin")));
const total = add(wasm, artifacts);
const { files } = JSON.parse(readFileSync(join(root, "models", "manifest.json")));
const byRole = Object.fromEntries(Object.keys(files).sort().map((role) => [role, sizes(readFileSync(join(root, "models", files[role].path)))]));

const kilobytes = (bytes) => (bytes / 1000).toFixed(1).padStart(10);
function row(name, { raw, gzip, brotli }, limit) {
  const verdict = limit ? `   ${gzip <= limit ? "within" : "OVER"} ${limit / 1e6} MB gzipped` : "";
  console.log(`${name.padEnd(22)}${kilobytes(raw)}${kilobytes(gzip)}${kilobytes(brotli)}${verdict}`);
}

console.log(`${"kB".padEnd(22)}${"raw".padStart(10)}${"gzip -9".padStart(10)}${"brotli".padStart(10)}`);
row("pennyroute_bg.wasm", wasm, LIMITS.wasm);
row("artifacts.bin", artifacts, LIMITS.artifacts);
for (const [role, size] of Object.entries(byRole)) row(`  ${files[role].path}`, size);
row("together", total, LIMITS.total);
row("pennyroute_gpu_bg.wasm", gpu, LIMITS.gpu);

const over = Object.entries({ wasm, gpu, artifacts, total }).filter(([name, { gzip }]) => gzip > LIMITS[name]).map(([name]) => name);
console.log(JSON.stringify({ wasm, gpu, artifacts, files: byRole, total, limits_gzip: LIMITS, over }));
