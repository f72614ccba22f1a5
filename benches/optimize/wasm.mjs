/**
 * Pennyroute and HiGHS in wasm, on the same instances as natively. In a process of its own per solver:
 *
 *     node wasm.mjs SOLVER SECONDS FOLDER NAME:KINDS…
 *
 * prints one JSON line per job, like peers.py (which says what the fields mean). CPU time is that of the
 * process, its compiler and collector included.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";

const ENOUGH_MS = 1000;
/** A first run longer than this is not repeated. */
const LONG_MS = 5000;
const WARM_MS = 4000;
const ENOUGH_SAMPLES = 100;
/** Short work is repeated within a sample, which the clock is too coarse for otherwise. */
const SAMPLE_MS = 5;

/** Reads the format of instance.py; matrices stay row-major. */
function load(folder, name) {
  const bytes = readFileSync(join(folder, `${name}.bin`));
  const numbers = new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  const [queries, models, groups, alpha, budget] = numbers;
  let at = 5;
  const take = (count) => numbers.subarray(at, (at += count));
  const instance = { queries, models, alpha, budget, limits: take(models), floors: take(groups) };
  const pairs = queries * models;
  return { ...instance, cost: take(pairs), quality: take(pairs), group: take(queries), forbidden: take(pairs) };
}

/** `plan()` of the package, as a caller with typed arrays uses it. */
async function pennyroute() {
  const { Router } = await import("pennyroute");
  const router = await Router.load();
  return (instance, kind) => {
    const { queries, models, cost, quality, forbidden } = instance;
    const modelMajor = (of) => Float64Array.from({ length: queries * models }, (_, pair) => of((pair % queries) * models + Math.floor(pair / queries)));
    const problem = {
      queries,
      models,
      cost_usd: modelMajor((pair) => (forbidden[pair] > 0.5 ? NaN : cost[pair])),
      quality: modelMajor((pair) => quality[pair]),
      ...("TACB".includes(kind) && { workloads: instance.limits }),
      ...("QC".includes(kind) && { quality_target: instance.alpha }),
      ...(kind === "B" && { budget_usd: instance.budget }),
    };
    return () => {
      const { status, assignment, gap } = router.plan(problem);
      return { status, assignment, gap };
    };
  };
}

/** HiGHS with its sparse arrays as input, which is quicker than its LP text; costs divided by their mean. */
function highs(integer) {
  return async () => {
    const { default: loadHighs } = await import("highs");
    const solver = await loadHighs();
    const { optimal, infeasible, timeLimit } = solver.constants.modelStatus;
    const statuses = { [optimal]: "optimal", [infeasible]: "infeasible", [timeLimit]: "limit" };
    return (instance, kind, seconds) => () => {
      const { queries, models, cost, quality } = instance;
      const columns = queries * models;
      const mean = cost.reduce((sum, c) => sum + c, 0) / columns;
      const scaled = cost.map((c) => c / mean);
      // Rows: one per query, one per model, and the quality or the budget of the whole.
      const rows = queries + models + 1;
      const matrix = {
        format: "csc",
        numRows: rows,
        numCols: columns,
        starts: Int32Array.from({ length: columns + 1 }, (_, pair) => 3 * pair),
        indices: new Int32Array(3 * columns),
        values: new Float64Array(3 * columns).fill(1),
      };
      const rowLower = new Float64Array(rows).fill(-solver.infinity);
      const rowUpper = new Float64Array(rows).fill(solver.infinity);
      rowLower.fill(1, 0, queries);
      rowUpper.fill(1, 0, queries);
      if (kind !== "Q") rowUpper.set(instance.limits, queries);
      if (kind === "B") rowUpper[rows - 1] = instance.budget / mean;
      else if (kind !== "T") rowLower[rows - 1] = instance.alpha * queries;
      for (let pair = 0; pair < columns; pair += 1) {
        matrix.indices.set([Math.floor(pair / models), queries + (pair % models), rows - 1], 3 * pair);
        matrix.values[3 * pair + 2] = kind === "B" ? scaled[pair] : quality[pair];
      }
      return solver.withModel({
        numCols: columns,
        numRows: rows,
        colCost: kind === "B" ? quality.map((p) => -p) : scaled,
        colLower: new Float64Array(columns),
        colUpper: instance.forbidden.map((forbidden) => 1 - forbidden),
        rowLower,
        rowUpper,
        matrix,
        ...(integer && { integrality: new Int32Array(columns).fill(solver.constants.variableType.integer) }),
      }, (model) => {
        model.options.set({ output_flag: false, time_limit: seconds });
        model.run();
        const status = model.getModelStatus();
        const scale = kind === "B" ? -1 / queries : mean;
        const answer = { status: statuses[status] ?? String(status), value: model.getObjectiveValue() * scale };
        if (!integer) return answer;
        const { colValue } = model.getSolution();
        const best = (query) => {
          const mine = colValue.subarray(query * models, (query + 1) * models);
          return mine.indexOf(Math.max(...mine));
        };
        return { ...answer, assignment: Array.from({ length: queries }, (_, query) => best(query)) };
      });
    };
  };
}

const SOLVERS = { pennyroute_wasm: pennyroute, highs_wasm_lp: highs(false), highs_wasm_mip: highs(true) };

const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];

/** Milliseconds of CPU and wall time of one of `runs` runs, and the last result. */
function sample(work, runs) {
  const cpu = process.cpuUsage();
  const wall = performance.now();
  let result;
  for (let run = 0; run < runs; run += 1) result = work();
  const { user, system } = process.cpuUsage(cpu);
  return { cpu_ms: (user + system) / 1000 / runs, wall_ms: (performance.now() - wall) / runs, result };
}

function timed(work) {
  const start = performance.now();
  const first = sample(work, 1);
  const runs = Math.max(1, Math.floor(SAMPLE_MS / first.wall_ms));
  const samples = [];
  // The first run is compiled while it runs; it counts where it is too long to be repeated.
  if (first.wall_ms > LONG_MS) samples.push(first);
  while (samples.length === 0 || (samples.length < ENOUGH_SAMPLES && performance.now() - start < ENOUGH_MS)) {
    samples.push(sample(work, runs));
  }
  return {
    runs: samples.length * runs,
    cpu_ms: median(samples.map(({ cpu_ms }) => cpu_ms)),
    wall_ms: median(samples.map(({ wall_ms }) => wall_ms)),
    ...samples.at(-1).result,
  };
}

const [solver, seconds, folder, ...jobs] = process.argv.slice(2);
const prepare = await SOLVERS[solver]();
// The engine compiles again, better, what runs for long: let it, before anything is timed.
const [first] = jobs[0].split(":");
const warm = prepare(load(folder, first), jobs[0].at(first.length + 1), Number(seconds));
for (const start = performance.now(); performance.now() - start < WARM_MS; ) warm();
for (const job of jobs) {
  const [name, kinds] = job.split(":");
  const instance = load(folder, name);
  for (const kind of kinds) {
    const { assignment, ...rest } = timed(prepare(instance, kind, Number(seconds)));
    console.log(JSON.stringify({ solver, instance: name, kind, ...rest, ...(assignment && { assignment: [...assignment] }) }));
  }
}
