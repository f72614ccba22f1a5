// What the extension adds to a request of a chat page in Chromium, from `fetch` to the end of the
// answer: requests that it routes beside those that it looks at and leaves alone, and those of the
// same page without it, in turns; and the first request after the service worker was stopped.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findChromium, launchWithProfile } from "../tests/js/browser.mjs";
import { OFFERED, startExtension } from "../tests/js/extension-chromium.mjs";

const ROUNDS = 5;
const CALLS = 40;
const COLD = 7;

/** Milliseconds of each of `count` requests for `model`, one after the other. */
const timed = (page, model, count) => page.evaluate(async ([name, n]) => {
  const took = [];
  for (let i = 0; i < n; i += 1) {
    const start = performance.now();
    const content = `Explain in ${i + 3} sentences how a tide table is made, and for whom.`;
    const response = await fetch("/v1/chat/completions", { method: "POST", body: JSON.stringify({ model: name, messages: [{ role: "user", content }] }) });
    await response.text();
    took.push(performance.now() - start);
  }
  return took;
}, [model, count]);
const quantile = (values, share) => [...values].sort((a, b) => a - b)[Math.floor(share * (values.length - 1))];
const round = (value) => Number(value.toPrecision(3));

const executable = findChromium();
if (!executable) process.exit(1);
const folder = await mkdtemp(join(tmpdir(), "pennyroute-bench-"));
const extended = await startExtension(executable);
const plain = await launchWithProfile(executable, join(folder, "profile"));
try {
  const page = await plain.newPage();
  await extended.open(OFFERED);
  await extended.open(OFFERED, page);
  extended.chat.pause = 0;
  await timed(extended.page, "auto", 5);
  const all = { without: [], untouched: [], routed: [] };
  for (let i = 0; i < ROUNDS; i += 1) {
    await page.bringToFront();
    all.without.push(...await timed(page, "gpt-x", CALLS));
    await extended.page.bringToFront();
    all.untouched.push(...await timed(extended.page, "gpt-x", CALLS));
    all.routed.push(...await timed(extended.page, "auto", CALLS));
  }
  const cold = [];
  for (let i = 0; i < COLD; i += 1) {
    await extended.killWorker();
    cold.push(...await timed(extended.page, "auto", 1));
  }
  const routed = extended.chat.received.filter(({ body }) => OFFERED.includes(body.model)).length;
  const figures = Object.fromEntries(Object.entries(all).map(([name, values]) => [name, { median_ms: round(quantile(values, 0.5)), p95_ms: round(quantile(values, 0.95)) }]));
  console.table(figures);
  console.log(JSON.stringify({
    bench: "extension",
    ...figures,
    routed_over_without: round(quantile(all.routed, 0.5) / quantile(all.without, 0.5)),
    untouched_over_without: round(quantile(all.untouched, 0.5) / quantile(all.without, 0.5)),
    added_ms: round(quantile(all.routed, 0.5) - quantile(all.without, 0.5)),
    first_after_stop_ms: { median: round(quantile(cold, 0.5)), max: round(Math.max(...cold)) },
    routed, calls: 5 + ROUNDS * CALLS + COLD,
  }));
} finally {
  await extended.close();
  await plain.close();
  await rm(folder, { recursive: true, force: true });
}
