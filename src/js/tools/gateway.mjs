// The worker in a local workerd, as wrangler.jsonc configures it: for `npm start`, the tests and the
// benches. Unlike `wrangler dev` it asks nothing of the network, and its modules can be replaced.

import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { build } from "esbuild";
import { Miniflare } from "miniflare";
import { root } from "./shell.mjs";

/** worker/wrangler.jsonc, whose comments stand on `//`. */
export function readConfig() {
  const text = readFileSync(join(root, "worker", "wrangler.jsonc"), "utf8");
  return JSON.parse(text.replace(/"(?:[^"\\]|\\.)*"|\/\/.*/g, (match) => (match.startsWith("//") ? "" : match)));
}

/**
 * The worker as one script and the files that it imports as modules.
 * @param {Record<string, Uint8Array>} [replaced] contents to bundle instead, by file name
 */
export async function bundleWorker(replaced = {}) {
  const binaries = new Map();
  const { outputFiles } = await build({
    entryPoints: [join(root, "worker", "index.js")],
    bundle: true,
    format: "esm",
    target: "es2024",
    conditions: ["workerd", "worker", "browser"],
    external: ["cloudflare:workers"],
    write: false,
    logLevel: "warning",
    plugins: [
      {
        name: "binary-modules",
        setup(setup) {
          setup.onResolve({ filter: /\.(wasm|bin|html)$/ }, ({ path, resolveDir }) => {
            const name = basename(path);
            binaries.set(name, replaced[name] ?? readFileSync(join(resolveDir, path)));
            return { path: `./${name}`, external: true };
          });
        },
      },
    ],
  });
  const script = { type: "ESModule", path: "index.js", contents: outputFiles[0].text };
  const type = (path) => (path.endsWith(".wasm") ? "CompiledWasm" : path.endsWith(".html") ? "Text" : "Data");
  const files = [...binaries].map(([path, contents]) => ({ type: type(path), path, contents }));
  return [script, ...files];
}

/**
 * Starts the worker; `close` stops it. What workerd prints goes to `onOutput`, and into the error if
 * it does not start.
 * @param {{port?: number, vars?: Record<string, unknown>, kv?: Record<string, Record<string, string>>, assets?: string, cache?: string, modules?: Awaited<ReturnType<typeof bundleWorker>>, onOutput?: (text: string) => void, options?: object}} [options]
 *   `vars` beside those of wrangler.jsonc (secrets too), `kv` namespaces by binding with what they hold,
 *   `assets` a folder to serve, `cache` one in which the Cache API keeps what later starts find,
 *   `options` of Miniflare
 * @returns {Promise<{url: string, kv: (binding: string) => Promise<any>, close: () => Promise<void>}>} `kv` opens a namespace
 */
export async function startGateway({ port = 0, vars = {}, kv = {}, assets, cache, modules, onOutput = () => {}, options = {} } = {}) {
  const config = readConfig();
  /** @type {string | undefined} */
  let printed = "";
  const miniflare = new Miniflare({
    host: "127.0.0.1",
    port,
    cf: false,
    compatibilityDate: config.compatibility_date,
    compatibilityFlags: config.compatibility_flags,
    modules: modules ?? (await bundleWorker()),
    modulesRoot: "/",
    bindings: { ...config.vars, ...vars },
    kvNamespaces: Object.keys(kv),
    durableObjects: Object.fromEntries(config.durable_objects.bindings.map(({ name, class_name }) => [name, { className: class_name, useSQLite: true }])),
    ...(cache && { cachePersist: cache }),
    ...(assets && { assets: { directory: assets, binding: config.assets.binding, routerConfig: { has_user_worker: true } } }),
    handleRuntimeStdio(stdout, stderr) {
      for (const stream of [stdout, stderr]) {
        stream.setEncoding("utf8").on("data", (text) => {
          if (printed !== undefined) printed += text;
          onOutput(text);
        });
      }
    },
    ...options,
  });
  try {
    const ready = await miniflare.ready;
    const url = (options.unsafeDirectSockets ? await miniflare.unsafeGetDirectURL() : ready).origin;
    for (const [binding, entries] of Object.entries(kv)) {
      const namespace = await miniflare.getKVNamespace(binding);
      for (const [name, value] of Object.entries(entries)) await namespace.put(name, value);
    }
    printed = undefined;
    return { url, kv: (binding) => miniflare.getKVNamespace(binding), close: () => miniflare.dispose() };
  } catch (error) {
    await miniflare.dispose().catch(() => {});
    // What stopped the Worker stands only in what workerd printed.
    throw new Error(`the gateway did not start: ${printed?.trim() || error.message}`, { cause: error });
  }
}

/**
 * `PROVIDERS` with every provider of a catalog at one simulator, and the secrets that it names.
 * @param {{models: {provider: string}[]}} catalog
 * @param {string} simulatorUrl
 */
export function simulatedProviders(catalog, simulatorUrl) {
  const names = [...new Set(catalog.models.map(({ provider }) => provider))];
  return {
    PROVIDERS: Object.fromEntries(names.map((name) => [name, { base_url: `${simulatorUrl}/${encodeURIComponent(name)}/v1`, key: "SIMULATED_KEY" }])),
    SIMULATED_KEY: "sk-simulated-0123456789",
  };
}
