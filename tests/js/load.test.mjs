// A short load run, with every fault of the long one: what it must never find.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { root } from "../../src/js/tools/shell.mjs";
import { answeredTwice, mostOpen, mostPerMinute, overWorkload, reconcile, sharedIds } from "../../benches/load/books.mjs";

/** A call in the books that was answered in full. */
const call = (id, opened, closed, more = {}) => ({
  ...{ id, user: id, provider: "p", model: "m", stream: false, fate: "whole", input: 10, output: 5, opened, closed, whole: true },
  ...more,
});
const charge = (id, more = {}) => ({ id, key: "", model: "p/m", state: "settled", input_tokens: 10, output_tokens: 5, nanodollars: 20, ...more });
const models = new Map([["p/m", { cost: { input: 0.001, output: 0.002 } }]]);

test("the books count what is open, and what begins within a minute", () => {
  const entries = [call("a", 0, 100), call("b", 50, 60_100), call("c", 100, 200), call("d", 60_000, undefined)];
  assert.equal(mostOpen(entries), 2);
  assert.equal(mostPerMinute(entries, () => 1), 3);
  assert.equal(mostPerMinute(entries, ({ input }) => input), 30);
  const [{ over }] = overWorkload(entries, { "p/*": { concurrent: 1, requests_per_minute: 2, tokens_per_minute: 45 } });
  assert.equal(over, 1 + 1 + 0);
});

test("the books tell what was charged wrongly", () => {
  const entries = [call("a", 0, 1), call("b", 0, 1)];
  const of = (charges, all = entries, unheard = () => false) => reconcile(all, charges, unheard, models);
  assert.equal(of([charge("a"), charge("b")]).ledger_mismatch_tokens, 0);
  assert.equal(of([charge("a"), charge("b", { output_tokens: 6 })]).ledger_mismatch_tokens, 1);
  assert.equal(of([charge("a"), charge("b", { state: "void" })]).ledger_mismatch_tokens, 15);
  assert.equal(of([charge("a"), charge("b"), charge("c")]).ledger_mismatch_tokens, 15);
  assert.equal(of([charge("a")]).ledger_mismatch_tokens, 15);
  assert.deepEqual([of([charge("a")], entries, () => true).ledger_mismatch_tokens, of([charge("a")], entries, () => true).unheard], [0, 1]);
  assert.equal(of([charge("a", { state: "unsettled", nanodollars: 19 }), charge("b")]).undercharged, 1);
  assert.equal(of([charge("a"), charge("b"), charge("b")]).charged_twice, 1);
  assert.equal(answeredTwice([call("a", 0, 1), call("b", 0, 1, { user: "a" })], new Set()), 1);
  assert.equal(answeredTwice([call("a", 0, 1), call("b", 0, 1, { user: "a" })], new Set(["a"])), 0);
  assert.equal(sharedIds([call("a", 0, 1), call("a", 0, 1), call(undefined, 0, 1)]), 1);
});

test("under faults and load, every request ends well and nothing is charged wrongly", (t) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, "benches/load/run.mjs"), "--requests", "600", "--clients", "50"], {
    encoding: "utf8",
    timeout: 300_000,
  });
  assert.equal(status, 0, stderr);
  const line = stdout.trim().split("\n").at(-1);
  t.diagnostic(line);
  const result = JSON.parse(line);
  assert.equal(result.complete + result.wellformed_errors, 600, stderr);
  assert.ok(result.complete > 400, line);
  assert.ok(result.retried_after_kill > 0, "no request was under way at the gateway that was killed");
  // So short a run may pass by while the dead provider rests.
  for (const fate of ["429", "5xx", "cut"]) assert.ok(result.fates[fate] > 0, `no call met ${fate}`);
  assert.ok(result.fates.stall > 0 || result.fates.late_stall > 0, "no call stalled");
  assert.equal(result.lost, 0);
  assert.equal(result.duplicate_charges, 0);
  assert.equal(result.budget_overshoot_usd, 0);
  assert.equal(result.workload_overshoot, 0);
  assert.equal(result.ledger_mismatch_tokens, 0, stderr);
  assert.ok(result.ledger.settled > 400, line);
  assert.equal(result.ledger.undercharged, 0);
  assert.equal(result.ledger.open, 0);
  assert.ok(result.workload[0].requests_per_minute > 15, "the limit of 30 requests per minute was never near");
  assert.ok(result.errors.budget_spent > 0, "no request met the budget that is too small");
});
