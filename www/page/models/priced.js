/**
 * A model with these prices. The gates take a price of zero for one that is not known, unless the model is
 * said to be free: where the user gives a zero, it is.
 * @param {any} model
 * @param {{ input: number, output: number, cache_read: number | null }} prices USD per million tokens
 */
export function priced({ free, ...model }, prices) {
  return { ...model, cost: { ...model.cost, ...prices }, ...(prices.input === 0 || prices.output === 0 ? { free: true } : {}) };
}
