// What every host runs: a few prompts, decided through every entry that runs on all of them.

import { Router } from "pennyroute";
import { createPennyroute } from "pennyroute/ai-sdk";
import { routedFetch } from "pennyroute/fetch";

const AT = "2026-11-20T12:00:00Z";
const REQUESTS = [
  { prompt: "Hi, how are you?", quality: 0.5 },
  { prompt: "Prove that there are infinitely many primes.", quality: 0.93 },
  { prompt: "渡し船は遅れて出た。郵便袋は濡れていた。", quality: 0.97 },
  { prompt: "A train leaves at 9:40 and travels 210 km at 84 km/h. When does it arrive?", quality: 0.99 },
];

/** What each entry decides, by its name. An entry for every host is one line here. */
const ENTRIES = {
  pennyroute: () => decideWith(Router),
  "pennyroute/fetch": () => decideThrough(Router, chat),
  "pennyroute/ai-sdk": () => decideThrough(Router, generate),
};

/** @returns {Promise<Record<string, { model: string, quality: number }[]>>} by entry, one of each request */
export async function decisions() {
  const decided = {};
  for (const [entry, decide] of Object.entries(ENTRIES)) decided[entry] = await decide();
  return decided;
}

/** What a router decides that `Class.load` brings; its methods may be promises. */
export async function decideWith(Class, options) {
  const router = await Class.load(options);
  const decided = [];
  for (const request of REQUESTS) decided.push(summary(await router.route({ ...request, at: AT })));
  await router.free();
  return decided;
}

/** What a drop-in decides: `call` makes a call with what it is given, whose answer does not matter. */
async function decideThrough(Class, call) {
  const router = await Class.load();
  const decided = [];
  const onDecision = (decision) => decided.push(summary(decision));
  for (const { prompt, quality } of REQUESTS) await call({ router, onDecision, policy: { quality, at: AT } }, prompt);
  router.free();
  return decided;
}

async function chat(options, content) {
  const answer = { choices: [{ index: 0, message: { role: "assistant", content: "Yes." }, finish_reason: "stop" }] };
  const send = routedFetch({ ...options, models: ({ id }) => id, fetch: async () => Response.json(answer) });
  const body = JSON.stringify({ model: "auto", messages: [{ role: "user", content }] });
  const response = await send("https://simulated.invalid/v1/chat/completions", { method: "POST", body });
  if (!response.ok) throw new Error(await response.text());
}

async function generate(options, text) {
  const answer = { content: [{ type: "text", text: "Yes." }], finishReason: "stop", usage: {}, warnings: [] };
  const model = { specificationVersion: "v2", provider: "simulated", modelId: "any", supportedUrls: {}, doGenerate: async () => answer, doStream() {} };
  await createPennyroute({ ...options, models: { "*": model } })("auto").doGenerate({ prompt: [{ role: "user", content: [{ type: "text", text }] }] });
}

function summary({ model, quality }) {
  return { model, quality: quality.estimate };
}
