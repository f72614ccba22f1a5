// Who is left alone, and until when.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Health, retryMs } from "../../worker/health.js";

const A = { id: "p/a", provider: "p", base: "a" };
const LOW = { id: "p/a@low", provider: "p", base: "a" };
const B = { id: "p/b", provider: "p", base: "b" };
const OTHER = { id: "q/a", provider: "q", base: "a" };
const ALL = [A, LOW, B, OTHER];
const T = Date.parse("2026-11-20T12:00:00Z");

const failure = (name, more = {}) => ({ failure: name, ofProvider: false, retryAfter: null, ...more });

test("a 429 rests the model, at every effort, for as long as it says", () => {
  const health = new Health();
  health.failed(A, failure("429", { retryAfter: "7" }), T);
  assert.deepEqual(health.unhealthy(ALL, T + 6_999), ["p/a", "p/a@low"]);
  assert.deepEqual(health.unhealthy(ALL, T + 7_000), []);
  health.failed(B, failure("429", { retryAfter: "Fri, 20 Nov 2026 12:00:20 GMT" }), T);
  assert.equal(health.restMs(B, T), 20_000);
  health.failed(OTHER, failure("429", { retryAfter: "86400" }), T);
  assert.equal(health.restMs(OTHER, T), 600_000, "but not for a day");
});

test("without a word of when, rests double", () => {
  const health = new Health();
  const rests = [];
  for (let n = 0; n < 8; n++) {
    health.failed(A, failure("429"), T + n * 100_000);
    rests.push(health.restMs(A, T + n * 100_000));
  }
  assert.deepEqual(rests, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
});

test("three failures in a row open a model's circuit, five its provider's; a success closes them", () => {
  const health = new Health();
  for (let n = 0; n < 2; n++) health.failed(A, failure("500"), T);
  assert.deepEqual(health.unhealthy(ALL, T), []);
  health.failed(A, failure("timeout"), T);
  assert.deepEqual(health.unhealthy(ALL, T), ["p/a", "p/a@low"]);
  for (let n = 0; n < 2; n++) health.failed(B, failure("network"), T);
  assert.deepEqual(health.unhealthy(ALL, T), ["p/a", "p/a@low", "p/b"], "all of the provider");
  health.succeeded(A, T - 1);
  assert.equal(health.unhealthy(ALL, T).length, 3, "a call that began before the failures does not end the rest");
  health.succeeded(A, T + 1);
  assert.deepEqual(health.unhealthy(ALL, T), []);
});

test("a success among many calls under way ends a row of failures", () => {
  const health = new Health();
  for (let n = 0; n < 20; n++) {
    health.failed(A, failure("500"), T + n);
    health.succeeded(A, T - 1_000);
  }
  assert.deepEqual(health.unhealthy(ALL, T + 20), []);
});

test("a probe that is told to wait makes room for its provider's other models", () => {
  const health = new Health();
  for (let n = 0; n < 5; n++) health.failed(A, failure("500"), T);
  const rested = T + 60_000;
  assert.equal(health.begin(A, rested), "probe");
  health.failed(A, failure("429", { retryAfter: "1" }), rested);
  health.ended(A);
  assert.equal(health.begin(B, rested + 1), "probe");
});

test("a refused key rests the provider at once, a model that is not there for a minute", () => {
  const health = new Health();
  health.failed(A, failure("401", { ofProvider: true }), T);
  assert.deepEqual(health.unhealthy(ALL, T), ["p/a", "p/a@low", "p/b"]);
  health.failed(OTHER, failure("404"), T);
  assert.equal(health.restMs(OTHER, T), 60_000);
});

test("after its rest one call at a time probes", () => {
  const health = new Health();
  health.failed(A, failure("429", { retryAfter: "1" }), T);
  assert.equal(health.begin(A, T + 500), "refused");
  assert.equal(health.begin(A, T + 1_000), "probe");
  assert.equal(health.begin(LOW, T + 1_001), "refused");
  health.ended(A);
  assert.equal(health.begin(A, T + 1_002), "probe", "one that told nothing makes room for the next");
  health.failed(A, failure("500"), T + 1_003);
  assert.ok(health.restMs(A, T + 1_003) > 0, "a probe that fails sends it back to rest");
  const later = T + 1_003 + health.restMs(A, T + 1_003);
  assert.equal(health.begin(A, later), "probe");
  assert.equal(health.begin(A, later + 120_000), "probe", "a probe that was never heard of again is forgotten");
  health.succeeded(A, later);
  assert.deepEqual([health.begin(A, later), health.begin(LOW, later)], ["call", "call"]);
});

test("a spent rate limit rests the model before it is refused", () => {
  const cases = [
    [{ "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m30s" }, 90_000],
    [{ "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "250ms" }, 250],
    [{ "anthropic-ratelimit-requests-remaining": "0", "anthropic-ratelimit-requests-reset": "2026-11-20T12:00:05Z" }, 5_000],
    [{ "x-ratelimit-remaining-requests": "0" }, 1_000],
    [{ "x-ratelimit-remaining-requests": "1", "x-ratelimit-reset-requests": "9s" }, 0],
    [{ "x-ratelimit-remaining-requests": "garbage" }, 0],
    [{}, 0],
  ];
  for (const [headers, expected] of cases) {
    const health = new Health();
    health.heed(A, new Headers(headers), T);
    assert.equal(health.restMs(A, T), expected, JSON.stringify(headers));
  }
});

test("Retry-After: seconds, a date, or nothing of use", () => {
  assert.deepEqual(["3", " 1.5 ", "Fri, 20 Nov 2026 11:59:00 GMT", "soon", null].map((value) => retryMs(value, T)), [3_000, 1_500, 0, null, null]);
});
