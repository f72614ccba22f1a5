// Headless Chromium for tests, and a server for what it loads.

import { existsSync } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const TYPES = {
  ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".wasm": "application/wasm",
  ".json": "application/json", ".svg": "image/svg+xml", ".png": "image/png", ".txt": "text/plain",
};

/** No sandbox, because tests run as root in containers; the rest keeps Chromium from calling home. */
const ARGS = [
  "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];

/** Chromium's path, or undefined; a run that may skip nothing fails without it. */
export function findChromium() {
  const path = process.env.CHROMIUM ?? "/usr/bin/chromium";
  if (existsSync(path)) return path;
  if (process.env.PENNYROUTE_NO_SKIP === "1") throw new Error(`there is no Chromium at ${path}`);
  console.error(`SKIP: there is no Chromium at ${path} (set CHROMIUM to its path): NOTHING IS TESTED IN A BROWSER`);
  return undefined;
}

/** What a real GPU needs differs by machine: `CHROMIUM_GPU_FLAGS` has it, separated by spaces. */
const GPU_ARGS = ["--enable-unsafe-webgpu", ...(process.env.CHROMIUM_GPU_FLAGS ?? "").split(" ").filter(Boolean)];

/** `gpu`: with WebGPU, by the adapter in software where there is no other. */
export function launch(executablePath, { gpu = false } = {}) {
  return chromium.launch({ executablePath, args: [...ARGS, ...(gpu ? GPU_ARGS : [])] });
}

/** A browser with a profile on disk, and so with a real one's caches; `extension`: an unpacked one to load. */
export function launchWithProfile(executablePath, profile, extension) {
  const load = extension ? [`--disable-extensions-except=${extension}`, `--load-extension=${extension}`] : [];
  return chromium.launchPersistentContext(profile, { executablePath, args: [...ARGS, ...load] });
}

/**
 * Serves `files` (path → content) and otherwise the folder `root`, on a free port; `url` and `close()`.
 * `handler` sees each request first and returns true for those it answers; `headers` go with every file.
 */
export async function serve(root, files = {}, { handler, headers = {} } = {}) {
  const server = createServer(async (request, response) => {
    if (await handler?.(request, response)) return;
    const { pathname } = new URL(request.url, "http://localhost");
    const path = decodeURIComponent(pathname);
    const file = join(root, normalize(path), path.endsWith("/") ? "index.html" : "");
    const content = files[path] ?? (await readFile(file).catch(() => undefined));
    if (content === undefined) return void response.writeHead(404).end();
    const type = { "content-type": TYPES[extname(file)] ?? "application/octet-stream" };
    // What a static host sends: browsers keep compiled wasm only for a response that they can date.
    const dated = files[path] === undefined ? { "last-modified": (await stat(file)).mtime.toUTCString() } : {};
    response.writeHead(200, { ...type, ...dated, "content-length": Buffer.byteLength(content), ...headers });
    response.end(content);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = () => new Promise((resolve) => {
    server.close(resolve);
    server.closeAllConnections();
  });
  return { url: `http://127.0.0.1:${server.address().port}`, close };
}

/** What axe finds wrong with a page as it stands, one line each. */
export async function accessibilityViolations(page) {
  // Evaluated rather than added as a script: the page's policy admits no script that is not its own.
  await page.evaluate(await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8"));
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  return violations.flatMap(({ id, help, nodes }) => nodes.map((node) => `${id}: ${help}: ${node.html.slice(0, 160)}`));
}

/** Where tests leave pictures to look at; not under version control. */
export function resultFile(name) {
  return fileURLToPath(new URL(`../../test-results/${name}`, import.meta.url));
}
