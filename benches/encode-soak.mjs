/**
 * Does the encoder's memory grow? Batches of one short text, one after another: natively on the CPU and the GPU, and in headless
 * Chromium on WebGPU. Memory is read after a tenth of them, when buffers have their size, and at the end.
 *
 *     npm run build && npm run encoder && npm run bench -- encode-soak [--batches 10000]
 *
 * Chromium finds a real GPU by the flags in `CHROMIUM_GPU_FLAGS`, separated by spaces, where the machine needs any
 * (`--use-angle=vulkan --enable-features=Vulkan`); otherwise its adapter in software is used.
 *
 * Linux only: resident memory is read from /proc. The last line is one JSON object.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { benchCommand, root } from "../src/js/tools/shell.mjs";
import { findChromium, launch, serve } from "../tests/js/browser.mjs";

const { values } = parseArgs({ options: { batches: { type: "string", default: "10000" } } });
const batches = Number(values.batches);
const PAGE_SIZE = 4096;
const TEXT = "Hi, how are you?";

if (!existsSync(join(root, "models/train/out/encoder"))) {
  console.error("The encoder is missing. Make it first: npm run encoder");
  process.exit(2);
}
const output = execFileSync("cargo", benchCommand("encode", ["soak", String(batches)]), { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
const rows = JSON.parse(output.trim().split("\n").at(-1)).rows.map((row) => ({ host: "native", ...row }));
const browser = await inChromium();
if (browser) rows.push(browser);
console.table(rows);
console.log(JSON.stringify({ bench: "encode-soak", batches, rows }));

async function inChromium() {
  const executable = findChromium();
  if (!executable) return undefined;
  const site = await serve(root, { "/": "<!doctype html><title>soak</title>" });
  const browser = await launch(executable, { gpu: true });
  try {
    const page = await browser.newPage();
    await page.goto(site.url);
    const path = await page.evaluate(async () => {
      const { Encoder } = await import("/dist/encoder.js");
      globalThis.encoder = await Encoder.load({ from: "/models/train/out/encoder/manifest.json", path: "gpu" });
      return (await globalThis.encoder.embed(["warm"])).receipt.path;
    });
    if (path !== "gpu") {
      console.error("skipped: Chromium has no adapter");
      return undefined;
    }
    const session = await browser.newBrowserCDPSession();
    /** Resident memory of the page's and the GPU's process, in bytes. */
    const memory = async () => {
      const { processInfo } = await session.send("SystemInfo.getProcessInfo");
      const pids = processInfo.filter(({ type }) => /renderer|gpu/i.test(type)).map(({ id }) => id);
      return pids.reduce((sum, pid) => sum + Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1]) * PAGE_SIZE, 0);
    };
    const embed = (count) => page.evaluate(async ([count, text]) => {
      for (let i = 0; i < count; i++) {
        const { receipt } = await globalThis.encoder.embed([text], { path: "gpu" });
        if (receipt.path !== "gpu") throw new Error(`batch ${i} fell back: ${receipt.fallback?.reason}`);
      }
    }, [count, TEXT]);
    const start = performance.now();
    await embed(Math.ceil(batches / 10));
    const before = await memory();
    await embed(batches - Math.ceil(batches / 10));
    const after = await memory();
    return { host: "Chromium", path: "gpu", before_bytes: before, after_bytes: after, growth_bytes: after - before, seconds: (performance.now() - start) / 1e3 };
  } finally {
    await browser.close();
    site.close();
  }
}
