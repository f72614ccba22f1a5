// Every host request in Node, against what the native build decides.

import assert from "node:assert/strict";
import test from "node:test";
import { Router } from "pennyroute";
import { assertAgrees, requests, summary, swapAbilities } from "./hosts.mjs";

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
