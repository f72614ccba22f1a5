// What a call is reserved: never less than it can come to.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { root } from "../../src/js/tools/shell.mjs";
import { limitsOf, nanodollars, reserve, writeExtra } from "../../worker/ledger/limits.js";

const MODEL = { limit: { context: 200_000 }, cost: { input: 1, output: 4, tiers: [{ above_input_tokens: 1000, input: 2, output: 6 }] } };
const user = (content) => ({ messages: [{ role: "user", content }] });
const input = (body, model = MODEL) => reserve(model, body, 0).tokens;

test("a token is at least a byte, in every script", () => {
  for (const text of ["a".repeat(5000), "日本語".repeat(500), "😀".repeat(1000), "\u0000".repeat(300)]) {
    assert.ok(input(user(text)) >= new TextEncoder().encode(text).length, text.slice(0, 10));
  }
  const tools = [{ type: "function", function: { name: "f", parameters: { properties: { image: { description: "x".repeat(50_000) } } } } }];
  assert.ok(input({ ...user("hi"), tools }) > 50_000, "wherever it stands, whatever it is called");
});

test("an image has a bound of its own, what else is no text may fill the context", () => {
  const image = (url) => user([{ type: "image_url", image_url: { url } }]);
  for (const url of ["https://example.com/a.png", `data:image/png;base64,${"A".repeat(1_000_000)}`]) {
    assert.ok(input(image(url)) > 40_000 && input(image(url)) < 45_000, url.slice(0, 30));
  }
  for (const content of [
    [{ type: "image_url", image_url: { url: "data:application/pdf;base64,AAAA" } }],
    [{ type: "file", file: { file_id: "file-1" } }],
    [{ type: "input_audio", input_audio: { data: "AAAA", format: "wav" } }],
    [{ type: "video_url", video_url: { url: "https://example.com/a.mp4" } }],
    [null],
  ]) {
    assert.equal(input(user(content)), MODEL.limit.context, JSON.stringify(content).slice(0, 60));
  }
  assert.equal(input(user("x".repeat(1_000_000))), MODEL.limit.context, "and nothing is larger than the context");
  assert.equal(input(user([null]), { ...MODEL, limit: {} }), 2_000_000);
});

test("the dearest rates hold, output counts for every choice, and cache marks cost what writing does", () => {
  const { tokens, nanodollars: most } = reserve(MODEL, { ...user("hi"), n: 3 }, 100);
  assert.equal(most, ((tokens - 300) * 2 + 300 * 6) * 1000);
  const marked = user([{ type: "text", text: "hi", cache_control: { type: "ephemeral" } }]);
  const hour = user([{ type: "text", text: "hi", cache_control: { type: "ephemeral", ttl: "1h" } }]);
  assert.deepEqual([marked, hour].map((body) => writeExtra(JSON.stringify(body))), [0.25, 1]);
  for (const [body, times] of [[marked, 1.25], [hour, 2]]) {
    const { tokens, nanodollars: more } = reserve(MODEL, body, 0);
    assert.equal(more, tokens * 2 * times * 1000);
  }
});

test("money is whole nanodollars, rounded up", () => {
  assert.deepEqual([0, 1e-9, 0.1 + 0.2, 1.5e-10].map(nanodollars), [0, 1, 300_000_000, 1]);
});

test("every model of the catalog with a price can be reserved", () => {
  const { models } = JSON.parse(readFileSync(join(root, "models", "catalog.json"), "utf8"));
  for (const model of models.filter(({ cost }) => cost)) {
    const { tokens, nanodollars } = reserve(model, user("Why is the sky blue?"), 1000);
    assert.ok(Number.isSafeInteger(tokens) && Number.isSafeInteger(nanodollars) && nanodollars > 0, model.id);
  }
});

test("limits of a call: the tenant's, those of every glob that matches, its key's", () => {
  const tenant = {
    budget_usd: { day: 1.5, month: 20 },
    models: { "a/*": { concurrent: 5 }, "a/b?": { tokens_per_minute: 10, requests_per_minute: 2 }, "c/*": { concurrent: 1 } },
    keys: { web: { budget_usd: { day: 0.5 }, requests_per_minute: 3, concurrent: 2 } },
  };
  assert.deepEqual(limitsOf(tenant, "web", "a/b1"), {
    "usd/day": { unit: "nanodollars", window: "day", max: 1.5e9 },
    "usd/month": { unit: "nanodollars", window: "month", max: 20e9 },
    "model a/*: calls": { unit: "calls", window: null, max: 5 },
    "model a/b?: requests/minute": { unit: "requests", window: "minute", max: 2 },
    "model a/b?: tokens/minute": { unit: "tokens", window: "minute", max: 10 },
    "key web: usd/day": { unit: "nanodollars", window: "day", max: 0.5e9 },
    "key web: calls": { unit: "calls", window: null, max: 2 },
    "key web: requests/minute": { unit: "requests", window: "minute", max: 3 },
  });
});
