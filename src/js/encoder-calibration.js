// Which path is faster for how many texts: measured, as far as that is quickly done.

/** Texts of a batch. */
const BATCHES = [1, 8, 64, 512];
/** Rounds of which the median counts. */
const ROUNDS = 3;
/** Time that one path's rounds may take; only the first one of a single text is made whatever it takes. */
const BUDGET_MS = 1000;

/**
 * Measures both paths and compares them.
 * @param {{ cpu: (texts: number) => Promise<void>, gpu: (texts: number) => Promise<void> }} run embeds so many texts
 * @param {{ signal?: AbortSignal, now?: () => number }} [options]
 * @returns {Promise<import("./encoder.js").Calibration[]>}
 */
export async function calibrate(run, { signal, now = () => performance.now() } = {}) {
  // The GPU first: where it fails, there is nothing to compare.
  const gpu = await measure(run.gpu, signal, now);
  const cpu = await measure(run.cpu, signal, now);
  return BATCHES.map((batch, i) => ({
    batch,
    cpu_ms: cpu[i].ms,
    gpu_ms: gpu[i].ms,
    cpu_measured: cpu[i].measured,
    gpu_measured: gpu[i].measured,
    path: gpu[i].ms < cpu[i].ms ? "gpu" : "cpu",
  }));
}

/** The path for a batch: that of the largest calibrated one which it reaches. */
export function chosen(calibration, texts) {
  return (calibration.findLast(({ batch }) => batch <= texts) ?? calibration[0])?.path;
}

async function measure(run, signal, now) {
  // The first call pays for what later ones find ready.
  await run(BATCHES[0]);
  const results = [];
  let spent = 0;
  for (const batch of BATCHES) {
    const before = results.at(-1);
    // In proportion to the last one: more than it takes where a larger batch is done better.
    const expected = before ? (before.ms * batch) / before.batch : 0;
    if (spent + expected > BUDGET_MS) {
      results.push({ batch, ms: expected, measured: false });
      continue;
    }
    const rounds = [];
    do {
      signal?.throwIfAborted();
      const start = now();
      await run(batch);
      rounds.push(now() - start);
      spent += rounds.at(-1);
    } while (rounds.length < ROUNDS && spent + rounds.at(-1) <= BUDGET_MS);
    rounds.sort((a, b) => a - b);
    results.push({ batch, ms: rounds[rounds.length >> 1], measured: true });
  }
  return results;
}
