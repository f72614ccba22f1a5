// What every host runs: a few prompts, decided through every entry that runs on all of them.

import { Router } from "pennyroute";

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
  for (const request of REQUESTS) {
    const { model, quality } = await router.route({ ...request, at: AT });
    decided.push({ model, quality: quality.estimate });
  }
  await router.free();
  return decided;
}
