/**
 * What the router's thread does for *Plan*. The file, its prompts and their estimates stay in that thread;
 * the page sees counts, summaries and what it exports. Its modules are loaded when they are first needed.
 */

/** @type {import("./plan/batch.js").Batch} */
let batch;

/** @type {Record<string, (argument: any, context: any) => unknown>} */
export const planMethods = {
  /** What a file is and which columns it has. */
  async planInspect({ file, format }) {
    const { inspect } = await import("./plan/read.js");
    return inspect(file, format);
  },

  /** Reads a file, which is then the batch. */
  async planRead({ file, format, columns }, context) {
    const [{ readRows }, { Batch }] = await Promise.all([import("./plan/read.js"), import("./plan/batch.js")]);
    const { rows, bad } = await readRows(file, { format, columns }, context);
    batch = new Batch(rows, bad);
    return batch.summary();
  },

  /** Estimates the batch, on from where it was cancelled; `again`: from the start. */
  planEstimate({ again = false }, context) {
    if (again) batch.restart();
    return batch.estimate(context);
  },

  /** What is estimated so far. */
  planEstimated: () => batch.estimated(),

  planCurve: (requirements, { router }) => batch.curve(router, requirements),
  planSolve: (requirements, { router }) => batch.solve(router, requirements),
  planCsv: () => batch.csv(),
  planJson: (_, { router }) => batch.json(router),
  planBadRows: () => batch.badCsv(),

  /** Embeddings of the batch: `method` is one of embed-methods.js. */
  async planEmbedding({ method, argument }, context) {
    const { methods } = await import("./plan/embed-methods.js");
    return methods[method](batch, argument, context);
  },
};
