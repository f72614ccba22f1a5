/**
 * The scan against the graph in wasm (Node), by size of a user's own history. The histories are made
 * up from the sentences of `tests/fixtures/chat.jsonl` (seeded), indexed natively by `pennyroute index`
 * on both backends, and loaded with `setIndex`. Stated is the median over queries of what a `route()`
 * takes beyond one with an index of a single record, each query with the best of its repetitions.
 * The native sweep is `npm run bench -- retrieve`.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Router } from "pennyroute";
import { root, target } from "../src/js/tools/shell.mjs";

const SIZES = process.argv.slice(2).map(Number).filter(Boolean);
const sizes = SIZES.length > 0 ? SIZES : [300, 1_000, 3_000, 10_000, 30_000, 100_000];
const QUERIES = 100;
const REPETITIONS = 9;

/** mulberry32: the same numbers everywhere. */
function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const draw = random(20261120);
const fixture = readFileSync(join(root, "tests/fixtures/chat.jsonl"), "utf8").trim().split("\n");
const sentences = fixture.flatMap((line) => JSON.parse(line).text.split(/(?<=[.?!])\s+/)).filter((s) => s.length > 10);
const pick = () => sentences[Math.floor(draw() * sentences.length)];
const text = () => Array.from({ length: 1 + Math.floor(draw() * 3) }, pick).join(" ");

const folder = mkdtempSync(join(tmpdir(), "pennyroute-"));
const queriesFile = join(folder, "queries.jsonl");
const outcomesFile = join(folder, "outcomes.csv");
const indexFile = join(folder, "index.bin");
writeFileSync(outcomesFile, "query_id,model,correct\n0,some-model,1\n");
execFileSync("cargo", ["build", "--quiet"], { cwd: root, stdio: "inherit" });

/** A history of `n` queries, indexed natively. */
function build(n, backend) {
  const args = ["index", "--queries", queriesFile, "--outcomes", outcomesFile, "--backend", backend, "--out", indexFile];
  execFileSync(join(target, "debug", "pennyroute"), args, { cwd: root, stdio: "ignore" });
  return readFileSync(indexFile);
}

const router = await Router.load();
const requests = Array.from({ length: QUERIES }, () => ({ prompt: text(), at: "2026-11-20T12:00:00Z" }));

/** Microseconds per query, the best of its repetitions, for several indexes in turns. */
function times(indexes) {
  const best = indexes.map(() => new Float64Array(QUERIES).fill(Infinity));
  for (let r = 0; r < REPETITIONS; r += 1) {
    for (const [i, index] of indexes.entries()) {
      router.setIndex(index);
      requests.forEach((request, q) => {
        const start = performance.now();
        router.route(request);
        best[i][q] = Math.min(best[i][q], (performance.now() - start) * 1e3);
      });
    }
  }
  return best;
}

const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
const rows = [];
for (const n of sizes) {
  writeFileSync(queriesFile, Array.from({ length: n }, (_, i) => JSON.stringify({ query_id: String(i), text: text() })).join("\n"));
  const exact = build(n, "exact");
  const hnsw = build(n, "hnsw");
  writeFileSync(queriesFile, `${JSON.stringify({ query_id: "0", text: text() })}\n`);
  const [scan, graph, none] = times([exact, hnsw, build(1, "exact")]);
  const over = (best) => median(best.map((us, q) => us - none[q]));
  rows.push({ n, exact_us: over(scan), hnsw_us: over(graph), exact_bytes: exact.length, hnsw_bytes: hnsw.length });
  rows.at(-1).ratio = rows.at(-1).exact_us / rows.at(-1).hnsw_us;
}
rmSync(folder, { recursive: true });
console.table(rows.map((row) => Object.fromEntries(Object.entries(row).map(([k, v]) => [k, Number(v.toPrecision(4))]))));
const crossover = rows.find((row) => row.ratio > 1)?.n ?? null;
console.log(crossover ? `the graph is the faster from at most ${crossover} records` : "no crossover in this range");
console.log(JSON.stringify({ bench: "retrieve-wasm", host: "node", rows, crossover }));
