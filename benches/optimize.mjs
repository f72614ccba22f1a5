/**
 * The optimizer beside what others use for the same problems: one thread each, CPU time, the same
 * instances in the same run, every answer verified by a checker that shares no code with the solver.
 *
 *     npm run bench -- optimize [--quick] [--seed S] [--instances DIR]
 *
 * `--quick` stops at N = 1000; `--seed` makes fresh instances; `--instances` takes every DIR/*.bin
 * instead, named as `optimize/instance.rs` says. The peers need Python (`optimize/requirements.txt`),
 * taken from $PYTHON or `python3`; wasm needs the built package (`npm run build`), or is left out. Writes
 * `optimize.svg` unless `--quick`. The last line is one JSON object: every row, and the aims.
 *
 * Ratios compare from the two matrices to the assignment, a peer's modelling included; `solver_ratio`
 * in the JSON leaves the peer's modelling out.
 */
import { spawnSync } from "node:child_process";
import { appendFileSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { cargoBench, dist, fail, root, run, target } from "../src/js/tools/shell.mjs";
import { plot } from "./optimize/plot.mjs";

const here = join(root, "benches", "optimize");
const work = join(target, "optimize-bench");
const python = process.env.PYTHON ?? "python3";
/** Seconds that a peer may take for one instance. */
const LIMIT_S = 60;
/** The sizes up to which a peer is asked: beyond them it ran into the limit, or took minutes. */
const UP_TO = { cbc: 1000, highs_mip: 1000, highs_exact: 4000, highs_lp: 10_000, lsa: 1000, mcf: Infinity, highs_wasm_mip: 1000, highs_wasm_lp: 10_000, pennyroute_wasm: Infinity };
const NAMES = { cbc: "PuLP + CBC", highs_mip: "HiGHS MIP", highs_exact: "HiGHS 1e-9", highs_lp: "HiGHS LP", mcf: "OR-Tools MCF", lsa: "scipy LSA", pathfinding: "pathfinding", highs_wasm_mip: "HiGHS MIP, wasm", highs_wasm_lp: "HiGHS LP, wasm", pennyroute_wasm: "ours, wasm" };

// Instances with the kinds of problem on them, see instance.rs and instance.py.
const JOBS = [
  "n64:TCBQF", "n256:TCBQF", "n1000:TCBQF", "n4000:TC", "n10000:TCBQF", "n10000m20:TC", "n100000:TCB",
  "a64m80:A", "a64m80q:A", "a100m200:A", "a150m150:A", "a200m200:A",
  "n64q:TCB", "n256q:TC", "n1000q:TC", "n10000q:TC",
  "n64f:TCF", "n256f:CF", "n1000f:TCF", "n10000f:TCF", "n100000f:F",
  "n64t:TC", "n256t:C", "n1000t:TC", "n10000t:TC",
  ...[1, 2, 3, 4, 5, 6, 7, 8].map((seed) => `n64s${seed}:C`), ...[1, 2, 3].map((seed) => `n256s${seed}:C`), "n1000s1:C",
  "n64qs1:C", "n64fs1:F", "n64ts1:C",
];

const { values: options } = parseArgs({
  options: { quick: { type: "boolean", default: false }, seed: { type: "string", default: "0" }, instances: { type: "string" } },
});
const sizeOf = (name) => Number(/\d+/.exec(name)[0]);
/** Plain instances: no ties, forbidden pairs, tight workloads or further seeds. */
const isPlain = (name) => /^n\d+(m\d+)?$/.test(name);

/** The peers that are asked for a kind of problem on an instance. */
function peersOf(name, kind) {
  const suited = {
    T: ["mcf", ...(isPlain(name) ? ["lsa", "pennyroute_wasm"] : [])],
    A: ["mcf", "lsa"],
    C: ["highs_exact", "highs_lp", ...(isPlain(name) ? ["highs_wasm_mip", "highs_wasm_lp", "pennyroute_wasm"] : []), ...(/^n\d+(s\d+)?$/.test(name) ? ["cbc", "highs_mip"] : [])],
    B: ["highs_exact", "highs_lp", ...(isPlain(name) ? ["pennyroute_wasm"] : [])],
    Q: ["highs_exact", "highs_lp"],
    F: ["highs_exact", "highs_lp"],
  };
  return suited[kind].filter((peer) => sizeOf(name) <= UP_TO[peer]);
}

/** The jobs of one peer, as the programs take them. */
function jobsOf(peer, jobs) {
  return jobs.flatMap((job) => {
    const [name, kinds] = job.split(":");
    const mine = [...kinds].filter((kind) => peersOf(name, kind).includes(peer)).join("");
    return mine ? [`${name}:${mine}`] : [];
  });
}

function jobsOfFolder(folder) {
  const kindsOf = (name) => (name.startsWith("a") ? "A" : /^n1$/.test(name) ? "TQ" : /f/.test(name) ? "TCBF" : "TCB");
  const names = readdirSync(folder).filter((file) => /^[na]\d.*\.bin$/.test(file)).map((file) => file.slice(0, -4));
  return names.sort((a, b) => sizeOf(a) - sizeOf(b) || a.localeCompare(b)).map((name) => `${name}:${kindsOf(name)}`);
}

function checkPython() {
  const find = "import importlib.util as u, sys; print(*[m for m in sys.argv[1:] if not u.find_spec(m)])";
  const { status, stdout } = spawnSync(python, ["-c", find, "numpy", "scipy", "pulp", "highspy", "ortools"], { encoding: "utf8" });
  if (status === 0 && stdout.trim() === "") return;
  const what = status === 0 ? `lacks ${stdout.trim().split(" ").join(", ")}` : "does not run";
  fail(`${python} ${what}. The peers and the checker need it:
  python3 -m venv target/peers && target/peers/bin/pip install -r benches/optimize/requirements.txt
  PYTHON=target/peers/bin/python npm run bench -- optimize`);
}

/** Runs a program that prints JSON lines; they are kept in `file` and returned. */
function lines(command, args, file) {
  const { status, stdout, error } = spawnSync(command, args, {
    cwd: root,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
    maxBuffer: 2 ** 30,
    env: { ...process.env, PYTHONDONTWRITEBYTECODE: "1" },
  });
  if (error) fail(`${command}: ${error.message}`);
  // A program that was killed may leave half a line.
  const whole = stdout.slice(0, stdout.lastIndexOf("\n") + 1);
  if (file) appendFileSync(file, whole);
  return { status, answers: whole.split("\n").filter(Boolean).map((line) => JSON.parse(line)) };
}

// ---- run everything ----

checkPython();
if (!existsSync(join(root, "node_modules", "highs"))) fail("The peers in wasm are missing: npm ci --ignore-scripts");
const started = { at: Date.now(), load: loadavg()[0] };
run(python, [join(here, "check.py"), "--self-test"], { PYTHONDONTWRITEBYTECODE: "1" });

const all = options.instances ? jobsOfFolder(options.instances) : JOBS;
const jobs = all.filter((job) => !options.quick || sizeOf(job) <= 1000);
if (jobs.length === 0) fail(`${options.instances}: no instances (*.bin)`);
rmSync(work, { recursive: true, force: true });
mkdirSync(work, { recursive: true });
const folder = resolve(options.instances ?? work);
const files = { ours: join(work, "ours.jsonl"), peers: join(work, "peers.jsonl") };

cargoBench("optimize", ["--instances", folder, "--answers", files.ours, "--seed", options.seed, ...jobs]);

writeFileSync(files.peers, "");
const failed = [];
const hasPackage = existsSync(join(dist, "node.js"));
if (!hasPackage) console.log("The package is not built (npm run build): ours in wasm is left out.");
for (const peer of Object.keys(UP_TO)) {
  const mine = jobsOf(peer, jobs);
  if (mine.length === 0 || (peer === "pennyroute_wasm" && !hasPackage)) continue;
  const beginning = Date.now();
  const program = peer.includes("wasm") ? [process.execPath, join(here, "wasm.mjs")] : [python, join(here, "peers.py")];
  const { status } = lines(program[0], [program[1], peer, LIMIT_S, folder, ...mine], files.peers);
  if (status !== 0) failed.push(peer);
  console.log(`${NAMES[peer]}: ${mine.join(" ")}, ${((Date.now() - beginning) / 1000).toFixed(0)} s${status === 0 ? "" : ", FAILED"}`);
}
const checked = lines(python, [join(here, "check.py"), folder, files.ours, files.peers]);

// ---- join answers and verdicts ----

const read = (file) => readFileSync(file, "utf8").split("\n").filter(Boolean).map((line) => JSON.parse(line));
const answers = [...read(files.ours), ...read(files.peers)];
const keyOf = ({ instance, kind, solver }) => `${instance}:${kind}:${solver}`;
const answerOf = new Map(answers.map((answer) => [keyOf(answer), answer]));
const verdictOf = new Map(checked.answers.map((verdict) => [keyOf(verdict), verdict]));

const rows = answers.filter(({ solver }) => solver === "pennyroute").map((ours) => {
  const { assignment, duals, solver, ...figures } = ours;
  const { value, over_ours = {}, ...verdict } = verdictOf.get(keyOf(ours));
  const peers = {};
  for (const name of Object.keys(NAMES)) {
    const key = `${ours.instance}:${ours.kind}:${name}`;
    const peer = answerOf.get(key);
    if (!peer) continue;
    peers[name] = {
      status: peer.status,
      cpu_ms: peer.cpu_ms,
      ratio: peer.cpu_ms / ours.cpu_ms,
      solver_ratio: peer.solver_cpu_ms && peer.solver_cpu_ms / ours.cpu_ms,
      over_ours: over_ours[name],
      violations: verdictOf.get(key)?.violations,
    };
    if (name === "pennyroute_wasm") peers[name].same_assignment = String(peer.assignment) === String(assignment);
  }
  // Against ours in wasm stands HiGHS in wasm.
  for (const name of ["highs_wasm_mip", "highs_wasm_lp"]) {
    if (peers[name] && peers.pennyroute_wasm) peers[name].ratio_wasm = peers[name].cpu_ms / peers.pennyroute_wasm.cpu_ms;
  }
  return { ...figures, ...verdict, peers };
});

// ---- aims ----

const row = (key) => rows.find(({ instance, kind }) => `${instance}:${kind}` === key);
const aims = [];
/** Notes a measured value beside its aim; what was not measured is no aim of this run. */
function aim(what, value, { least = -Infinity, most = Infinity }) {
  if (value === undefined || Number.isNaN(value)) return;
  aims.push({ what, value, ...(least > -Infinity && { least }), ...(most < Infinity && { most }), met: value >= least && value <= most });
}
const named = (pattern) => rows.filter(({ instance, kind }) => pattern.test(`${instance}:${kind}`));

/** Called optimal, and equal to the optimum that HiGHS proves. */
const proven = ({ status, verdict, peers: { highs_exact: peer } }) =>
  status === "optimal" && verdict === "verified" && peer?.status === "optimal" && Math.abs(peer.over_ours) <= 2e-9;
const verified = ({ status, verdict }) => status === "optimal" && verdict === "verified";
const share = (found, test) => (found.length ? found.filter(test).length / found.length : undefined);
for (const kinds of ["C", "FBQ"]) {
  const small = named(new RegExp(`^n(64|256)(\\D.*)?:[${kinds}]$`));
  aim(`${[...kinds].join(", ")}, N = 64 and 256: share of ${small.length} proven, equal to HiGHS at gap 1e-9`, share(small, proven), { least: 1 });
}
for (const n of [64, 256]) {
  // Proofs of single instances differ by a factor of a hundred.
  const seeds = named(new RegExp(`^n${n}(s\\d+)?:C$`)).filter(({ peers }) => peers.cbc);
  const sum = (of) => seeds.reduce((total, each) => total + of(each), 0);
  aim(`C, N = ${n}: times faster than PuLP + CBC, ${seeds.length} seeds together`, sum(({ peers }) => peers.cbc.cpu_ms) / sum(({ cpu_ms }) => cpu_ms), { least: 50 });
  aim(`C, N = ${n}: times faster than PuLP + CBC, the least of them`, seeds.length ? Math.min(...seeds.map(({ peers }) => peers.cbc.ratio)) : undefined, { least: 50 });
}
aim("C, N = 1000: gap", row("n1000:C")?.gap, { most: 1e-4 });
aim("C, N = 1000: times faster than PuLP + CBC", row("n1000:C")?.peers.cbc?.ratio, { least: 5000 });
aim("C, N = 1000: times faster than HiGHS MIP", row("n1000:C")?.peers.highs_mip?.ratio, { least: 1500 });
for (const [name, label] of [["n10000", "M = 10"], ["n10000m20", "M = 20"]]) {
  aim(`C, N = 10000, ${label}: gap`, row(`${name}:C`)?.gap, { most: 5e-6 });
  aim(`C, N = 10000, ${label}: times faster than HiGHS LP`, row(`${name}:C`)?.peers.highs_lp?.ratio, { least: 1000 });
}
aim("C, N = 100000: gap", row("n100000:C")?.gap, { most: 1e-7 });
aim("C, N = 100000: time in argmin passes", row("n100000:C")?.passes, { most: 12 });
aim("C, N = 100000: peak memory over the input", row("n100000:C")?.memory_ratio, { most: 1.5 });
for (const [n, gap] of [[1000, 1e-4], [10_000, 5e-6], [100_000, 1e-7]]) {
  for (const [key, label] of [[`n${n}f:F`, "4 floors and 15 % forbidden"], [`n${n}:B`, "budget"]]) {
    aim(`N = ${n}, ${label}: gap`, row(key)?.gap, { most: gap });
    aim(`N = ${n}, ${label}: time over that of C`, row(key)?.cpu_ms / row(`n${n}:C`)?.cpu_ms, { most: 4 });
  }
}
for (const [pattern, label] of [[/:A$/, "assignment"], [/:T$/, "transportation"]]) {
  const found = named(pattern);
  aim(`${label}: share of ${found.length} exact`, share(found, verified), { least: 1 });
}
for (const [n, least] of [[64, 8], [1000, 30], [10_000, 60], [100_000, 100]]) {
  aim(`T, N = ${n}: times faster than OR-Tools SimpleMinCostFlow`, row(`n${n}:T`)?.peers.mcf?.ratio, { least });
}
const slower = rows.flatMap(({ peers, cpu_ms }) => (peers.pennyroute_wasm ? [peers.pennyroute_wasm.cpu_ms / cpu_ms] : []));
if (slower.length) aim("wasm in Node: time over native, the worst of all", Math.max(...slower), { most: 2.5 });
aim("C, N = 1000, wasm: times faster than HiGHS MIP in wasm", row("n1000:C")?.peers.highs_wasm_mip?.ratio_wasm, { least: 1000 });

// ---- print, plot ----

const figure = (value) => (value === undefined ? "" : Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3))));
const scientific = (value) => (value === undefined || value === null ? "" : value === 0 ? "0" : value.toExponential(1));

function table(title, header, body) {
  const widths = header.map((_, column) => Math.max(...[header, ...body].map((cells) => cells[column].length)));
  const print = (cells) => console.log(cells.map((cell, column) => (column < 2 ? cell.padEnd(widths[column]) : cell.padStart(widths[column]))).join("  "));
  console.log(`\n${title}`);
  print(header);
  body.forEach(print);
}

const peerCell = (peer) => {
  if (!peer) return "";
  const mark = peer.status === "optimal" ? (peer.violations?.length ? " !" : "") : ` (${peer.status})`;
  return `${figure(peer.cpu_ms)} ×${figure(peer.ratio)}${mark}`;
};
for (const [kinds, title] of [
  ["C", "Coupled: least cost, mean quality and workloads"],
  ["FBQ", "F: with group floors, B: most quality within a budget, Q: without workloads"],
  ["TA", "T: workloads alone, A: one slot per model"],
]) {
  const mine = rows.filter(({ kind }) => kinds.includes(kind));
  const peers = Object.keys(NAMES).filter((name) => mine.some((each) => each.peers[name]));
  const header = ["instance", "", "ours ms", "passes", "memory", "gap", "by prices", "status", "checked", ...peers.map((name) => NAMES[name])];
  const body = mine.map((each) => [
    each.instance, each.kind, figure(each.cpu_ms), figure(each.passes), figure(each.memory_ratio), scientific(each.gap),
    scientific(each.gap_from_prices), each.status, each.verdict, ...peers.map((name) => peerCell(each.peers[name])),
  ]);
  if (mine.length) table(title, header, body);
}
console.log("\nCPU ms of the peer, × ours; ! breaks a constraint within its own tolerance. `by prices` is the gap that the reported prices alone prove.");
for (const { instance, kind, verdict, reasons } of rows) {
  if (verdict !== "verified") console.log(`${instance} ${kind}: ${verdict}${reasons.length ? `: ${reasons.join("; ")}` : ": the stated bound is proven neither by the prices nor by a peer"}`);
}
table("Aims", ["", "", "measured", "aim"], aims.map(({ what, value, least, most, met }) => [what, met ? "met" : "MISSED", figure(value), least === undefined ? `≤ ${most}` : `≥ ${least}`]));

const ended = { at: Date.now(), load: loadavg()[0] };
const seconds = (ended.at - started.at) / 1000;
const waiting = Math.max(...answers.map(({ cpu_ms, wall_ms }) => (cpu_ms > 1 ? wall_ms / cpu_ms : 1)));
console.log(`\n${seconds.toFixed(0)} s; load ${started.load.toFixed(1)} before, ${ended.load.toFixed(1)} after; wall time up to ${waiting.toFixed(2)} × CPU time`);

if (!options.quick && !options.instances) {
  const panels = { C: "least cost at a mean quality, with workloads", T: "least cost, workloads alone" };
  const series = { cbc: "PuLP + CBC", highs_mip: "HiGHS MIP", highs_wasm_mip: "HiGHS MIP, wasm", highs_lp: "HiGHS LP", mcf: "OR-Tools min-cost flow", lsa: "Hungarian (scipy)", pennyroute_wasm: "Pennyroute, wasm" };
  const points = rows.filter(({ instance, kind }) => /^n\d+$/.test(instance) && kind in panels).flatMap((each) => {
    const point = (name, ms) => ({ panel: panels[each.kind], series: name, n: each.queries, ms });
    const theirs = Object.entries(each.peers).filter(([name, { status }]) => name in series && status !== "limit");
    return [point("Pennyroute", each.cpu_ms), point("one argmin pass", each.pass_ms), ...theirs.map(([name, { cpu_ms }]) => point(series[name], cpu_ms))];
  });
  writeFileSync(join(root, "benches", "optimize.svg"), plot(points));
  console.log("benches/optimize.svg");
}
console.log(JSON.stringify({ bench: "optimize", seed: Number(options.seed), seconds, load: [started.load, ended.load], wall_over_cpu: waiting, failed, aims, rows }));
process.exitCode = checked.status || failed.length ? 1 : 0;
