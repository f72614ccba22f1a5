// Every host request in Node, against what the native build decides.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { Router } from "pennyroute";
import { assertAgrees, repacked, requests, root, summary, swapAbilities } from "./hosts.mjs";

const router = await Router.load();
const summaries = (by) => Object.fromEntries(requests().map(({ name, request }) => [name, summary(by.route(request))]));

test("Node decides as the native build does", () => assertAgrees(summaries(router)));

test("swapping the abilities of two models changes decisions", async () => {
  const before = summaries(router);
  const { model, fallbacks } = Object.values(before).find(({ code }) => code === "best_value");
  const other = await Router.load({ catalog: swapAbilities(router.catalog(), [model, fallbacks[0]]) });
  const after = summaries(other);
  const changed = Object.keys(before).filter((name) => before[name].model !== after[name].model);
  assert.ok(changed.length > 0, "no decision depends on the abilities");
});

test("qualities in wasm are those of onnxruntime", async () => {
  // The recorded models as a catalog, and no index: nothing then corrects the network's estimate.
  const { abilities } = JSON.parse(readFileSync(join(root, "models/parameters.json")));
  const { cases } = JSON.parse(readFileSync(join(root, "tests/fixtures/parity.json")));
  const models = Object.keys(cases[0].quality).map((id) => ({
    id, provider: "test", base: id, cost: { input: 1, output: 1 }, limit: { context: 1e9 }, ability: abilities[id].ability,
  }));
  const artifacts = repacked({ manifest: ({ files: { index, ...files }, ...rest }) => ({ ...rest, files }) });
  const recorded = await Router.load({ artifacts, catalog: { format: 1, version: "test", models } });
  for (const { text, quality } of cases) {
    const prompt = typeof text === "string" ? text : text.repeat.repeat(text.times);
    for (const { model, quality: found } of recorded.estimate(prompt).models) {
      assert.ok(Math.abs(found.estimate - quality[model]) <= 1e-4, `${model} on ${prompt.slice(0, 40)}: ${found.estimate} instead of ${quality[model]}`);
    }
  }
  assert.ok(cases.length >= 50 && models.length >= 5);
});
