// Many clients at once: each asks, reads the whole answer and asks again.

import { agentOf, ask } from "./client.mjs";

/** @typedef {{url: string, alive: boolean}} Target */
/** @typedef {import("./client.mjs").Result & {user: string, retries: number, targets: Target[]}} Answer */

/**
 * @param {{targets: () => Target[], count: number, clients: number, request: (index: number) => any,
 *   headers?: (index: number) => Record<string, string>, onAnswer?: (answered: number) => void}} options
 *   `targets`: those that stand now; a client stays with its own as long as that stands
 */
export async function drive({ targets, count, clients, request, headers = () => ({}), onAnswer = () => {} }) {
  const agent = agentOf(clients);
  /** @type {Answer[]} */
  const answers = [];
  let index = 0;
  const start = performance.now();
  await Promise.all(
    Array.from({ length: clients }, async (_, client) => {
      while (index < count) {
        const own = index++;
        const body = request(own);
        /** @type {Target[]} */
        const asked = [];
        let result;
        // As the SDKs do: a connection that broke because its gateway died is tried again elsewhere.
        do {
          const standing = targets();
          asked.push(standing[client % standing.length]);
          result = await ask(asked[asked.length - 1].url, body, { agent, headers: headers(own) });
        } while (result.outcome === "reset" && !asked[asked.length - 1].alive);
        answers.push({ ...result, user: body.user, retries: asked.length - 1, targets: asked });
        onAnswer(answers.length);
      }
    }),
  );
  agent.destroy();
  return { answers, seconds: (performance.now() - start) / 1000 };
}
