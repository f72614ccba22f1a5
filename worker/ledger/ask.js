/**
 * A question to a tenant's ledger. The answer is plain data, ours to keep; workerd holds on to the call
 * until it is told that we are done with it.
 * @param {Record<string, any>} env
 * @param {string} tenant
 * @param {"exchange" | "report" | "feedback" | "metrics" | "entries"} method of the Durable Object
 * @param {...any} args
 * @returns {Promise<any>}
 */
export async function ask({ LEDGER }, tenant, method, ...args) {
  const answer = await LEDGER.get(LEDGER.idFromName(tenant))[method](...args);
  answer?.[Symbol.dispose]?.();
  return answer;
}
