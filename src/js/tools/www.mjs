/**
 * Builds the page: `dist/www`, a folder of files that any static host can serve. Nothing in it names
 * another origin.
 *
 *     node src/js/tools/www.mjs        after `npm run build`, which makes the package in dist/
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { copyFile, cp, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { dist, root } from "./shell.mjs";

const STATIC = ["icon.svg"];
/** What the package's browser entry fetches from beside itself. */
const PACKAGE_FILES = ["pennyroute_bg.wasm", "artifacts.bin", "pennyroute_gpu_bg.wasm"];
/** Where the encoder lies beside the page. */
const ENCODER = "encoder";
/** What few visitors need: it is fetched by those, and not kept for offline. */
const LATER = new Set([ENCODER, "pennyroute_gpu_bg.wasm"]);

/**
 * @param {{ package?: string, out?: string, encoder?: string }} [folders] the built package, where the page goes, and
 *   the encoder's folder, which there need not be
 * @returns {Promise<string>} the page's folder
 */
export async function buildWww({
  package: from = dist,
  out = join(dist, "www"),
  encoder = process.env.PENNYROUTE_ENCODER ?? join(root, "models/train/out/encoder"),
} = {}) {
  await rm(out, { recursive: true, force: true });
  await mkdir(out, { recursive: true });
  const hasEncoder = existsSync(join(encoder, "manifest.json"));
  const { metafile } = await build({
    entryPoints: [join(root, "www/app.js"), join(root, "www/worker.js"), join(root, "www/style.css")],
    outdir: out,
    bundle: true,
    // The plot's library becomes a chunk of its own, fetched beside the router.
    splitting: true,
    format: "esm",
    target: "es2022",
    minify: true,
    alias: { pennyroute: join(from, "browser.js"), "pennyroute/encoder": join(from, "encoder.js") },
    define: { "globalThis.ENCODER": JSON.stringify(hasEncoder ? `${ENCODER}/manifest.json` : null) },
    metafile: true,
    logLevel: "warning",
  });
  await Promise.all([
    buildIndex(out, metafile),
    ...STATIC.map((name) => copyFile(join(root, "www", name), join(out, name))),
    ...PACKAGE_FILES.map((name) => copyFile(join(from, name), join(out, name))),
    // As .txt, because many hosts offer .md as a download.
    copyFile(join(root, "models/README.md"), join(out, "model-card.txt")),
    ...(hasEncoder ? [cp(encoder, join(out, ENCODER), { recursive: true })] : []),
  ]);
  await buildOfflineWorker(out);
  return out;
}

/**
 * The page's HTML, which names every script of the first view: the browser asks for all of them at once,
 * rather than for the worker's when the app's have run.
 * @param {string} out
 * @param {import("esbuild").Metafile} metafile
 */
async function buildIndex(out, { outputs }) {
  const files = new Map(Object.entries(outputs).map(([path, output]) => [basename(path), output]));
  const imports = (entry) => files.get(entry).imports.filter(({ kind }) => kind === "import-statement").map(({ path }) => basename(path));
  const hints = [...new Set([...imports("app.js"), "worker.js", ...imports("worker.js")])].map((name) => `<link rel="modulepreload" href="${name}">`);
  const html = await readFile(join(root, "www/index.html"), "utf8");
  await writeFile(join(out, "index.html"), html.replace("</head>", `  ${hints.join("\n  ")}\n</head>`));
}

/** The worker that serves the page offline, with the digests of all that has been built. */
async function buildOfflineWorker(out) {
  const digest = (content) => createHash("sha256").update(content).digest("base64");
  const names = (await readdir(out)).filter((name) => !LATER.has(name)).sort();
  const files = Object.fromEntries(await Promise.all(names.map(async (name) => [name, `sha256-${digest(await readFile(join(out, name)))}`])));
  await build({
    entryPoints: [join(root, "www/offline.js")],
    outdir: out,
    target: "es2022",
    minify: true,
    define: { "globalThis.FILES": JSON.stringify(files), "globalThis.BUILD": JSON.stringify(digest(JSON.stringify(files)).slice(0, 12)) },
    logLevel: "warning",
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(await buildWww());
