// What a router is told of its models, and what it makes of it: abilities refitted from where they started,
// models that fail left alone for a while, and nothing changed by a message that is wrong.

import assert from "node:assert/strict";
import test, { mock } from "node:test";
import { PennyrouteError, Router } from "pennyroute";

const NOW = Date.parse("2026-11-20T12:00:00Z");
mock.timers.enable({ apis: ["Date"], now: NOW });
const at = (seconds) => new Date(NOW + seconds * 1000).toISOString();

const packed = await Router.load();
const catalog = packed.catalog();
const [one, two] = catalog.models.filter(({ ability }) => ability?.source === "published").map(({ id }) => id);
const entry = (router, id) => router.catalog().models.find((model) => model.id === id);
const answers = (model, right, n = 12) =>
  Array.from({ length: n }, (_, i) => ({ model, prompt: `What is ${i} times ${i + 7}?`, correct: right(i), output_tokens: 30 + i }));

/** A router that is freed after its test. */
async function load(t, options) {
  const router = await Router.load(options);
  t.after(() => router.free());
  return router;
}

test("outcomes move an ability at once, each counted once, in any order and any parts", async (t) => {
  const outcomes = [...answers(one, (i) => i % 4 === 0), ...answers(two, () => true)];
  const expected = packed.fit(outcomes).catalog.models.filter(({ id }) => [one, two].includes(id));

  const whole = await load(t);
  const before = whole.estimate("What is 3 times 10?").models.find(({ model }) => model === one).quality.estimate;
  const told = whole.feedback(outcomes);
  assert.deepEqual(told.models.map(({ model, before, ability, outcomes }) => [model, before, ability, outcomes]),
    expected.map(({ id, ability }) => [id, entry(packed, id).ability, ability, 12])
      .sort(([a], [b]) => [one, two].indexOf(a) - [one, two].indexOf(b)));
  assert.deepEqual(told.unhealthy, []);
  assert.ok(whole.estimate("What is 3 times 10?").models.find(({ model }) => model === one).quality.estimate < before);

  const parts = await load(t);
  for (const outcome of outcomes.toReversed()) parts.feedback(outcome);
  const restored = await load(t, { outcomes: JSON.parse(JSON.stringify(parts.outcomes())) });
  for (const router of [whole, parts, restored]) {
    for (const model of expected) {
      const { ability, length = null } = entry(packed, model.id);
      assert.deepEqual(entry(router, model.id), { ...model, prior: { ability, length } });
    }
    assert.equal(router.versions.catalog, `${catalog.version}+fitted`);
  }
  const again = parts.feedback(outcomes.slice(0, 1));
  assert.deepEqual([again.models[0].outcomes, again.models[0].before], [13, expected.find(({ id }) => id === one).ability]);
  assert.equal(parts.outcomes().length, 25);
});

test("outcomes stay in force over a new catalog, and wait for a model that is to come", async (t) => {
  const added = { ...catalog.models[0], id: "me/new", ability: null, length: null };
  const outcomes = [...answers(one, () => false), ...answers("me/new", () => true)];
  const router = await load(t, { outcomes });
  assert.equal(entry(router, one).ability.source, "fitted");
  assert.equal(router.outcomes().length, 24);

  // A copy that comes back changed in something else counts nothing twice.
  const changed = router.catalog();
  changed.models.push(added);
  changed.models.find(({ id }) => id === one).cost.input = 9;
  const fitted = entry(router, one).ability;
  router.setCatalog(changed);
  assert.deepEqual([entry(router, one).ability, entry(router, one).cost.input], [fitted, 9]);
  const expected = packed.fit(answers(one, () => false)).models[0].ability;
  assert.deepEqual(fitted, expected);
  assert.deepEqual([entry(router, "me/new").ability.source, entry(router, "me/new").ability.note], ["fitted", "12 outcomes over a prior over all models"]);

  // An ability stated anew is where they start from now.
  const restated = router.catalog();
  const mine = { mean: fitted.mean.map((_, i) => (i === 0 ? 5 : 0)), sd: fitted.sd.map(() => 0.2), source: "published" };
  restated.models.find(({ id }) => id === one).ability = mine;
  router.setCatalog(restated);
  assert.equal(entry(router, one).ability.note, "12 outcomes over its prior by published scores");
  assert.ok(entry(router, one).ability.mean[0] > fitted.mean[0]);

  const inUse = router.catalog();
  assert.throws(() => router.setCatalog({ ...catalog, models: [] }), { code: "bad_catalog" });
  assert.deepEqual(router.catalog(), inUse);
});

test("a catalog that was fitted already counts no outcome twice, kept with its outcomes or put back later", async (t) => {
  const [first, rest] = [answers(one, () => false, 5), answers(one, (i) => i % 3 === 0)];
  const router = await load(t);
  router.feedback(first);
  const early = JSON.parse(JSON.stringify(router.catalog()));
  router.feedback(rest);
  const { ability } = packed.fit([...first, ...rest]).models[0];
  assert.deepEqual(entry(router, one).ability, ability);
  const kept = JSON.parse(JSON.stringify({ catalog: router.catalog(), outcomes: router.outcomes() }));
  assert.deepEqual(entry(await load(t, kept), one), entry(router, one));
  router.setCatalog(early);
  assert.deepEqual(entry(router, one).ability, ability);
  // Without its outcomes, a fitted ability is where others start from.
  const on = await load(t, { catalog: early });
  on.feedback(rest);
  assert.deepEqual(entry(on, one).prior.ability, early.models.find(({ id }) => id === one).ability);
  const inUse = router.catalog();
  early.models.find(({ id }) => id === one).prior.ability.mean = "high";
  assert.throws(() => router.setCatalog(early), { code: "bad_catalog" });
  assert.deepEqual(router.catalog(), inUse);
});

test("a model that fails rests, the longer the more often, until it succeeds", async (t) => {
  const router = await load(t);
  const out = (id) => router.route("Hello").excluded.some(({ model, code }) => model === id && code === "unhealthy");
  const tick = (seconds) => mock.timers.tick(seconds * 1000);
  for (const rest of [5, 10, 20, 40, 80, 160, 300, 300]) {
    assert.deepEqual(router.feedback({ model: one, error: "HTTP 503" }), { models: [], unhealthy: [one] });
    assert.ok(out(one));
    tick(rest - 0.001);
    assert.ok(out(one), `${rest} s`);
    tick(0.001);
    assert.ok(!out(one), `${rest} s`);
  }
  assert.equal(router.outcomes().length, 7, "more would say nothing more");
  router.feedback({ model: one, error: "HTTP 503" });
  assert.ok(out(one));
  assert.ok(router.explain("Hello").candidates.some(({ model, code }) => model === one && code === "unhealthy"));
  const batch = router.estimateBatch(["Hello"]);
  assert.equal(batch.cost_usd[batch.ids.indexOf(one)], NaN);
  // It joins what the request says itself.
  const { excluded } = router.route({ prompt: "Hello", unhealthy: [two] });
  assert.deepEqual(excluded.filter(({ code }) => code === "unhealthy").map(({ model }) => model).sort(), [one, two].sort());
  assert.throws(() => router.route({ prompt: "Hello", unhealthy: "all" }), { code: "bad_request" });

  assert.deepEqual(router.feedback({ model: one }).unhealthy, []);
  assert.ok(!out(one));
  assert.deepEqual(router.outcomes(), []);
  router.feedback([{ model: one, error: "timeout" }, { model: one, prompt: "Hi", correct: false }]);
  assert.ok(!out(one), "a wrong answer is an answer");
  // The first failure after it counts as the first.
  router.feedback([{ model: one, error: "timeout" }]);
  tick(5);
  assert.ok(!out(one));
  mock.timers.setTime(NOW);
});

test("failures are counted by their time, whatever the order, and a clock that runs ahead is not believed", async (t) => {
  const router = await load(t, { outcomes: [
    { model: one, error: "late", at: at(-1) },
    { model: one, error: "early", at: at(-600) },
    { model: two, error: "ahead", at: at(86_400) },
  ] });
  const { unhealthy } = router.feedback([]);
  assert.deepEqual(unhealthy, [one, two]);
  mock.timers.tick(5_000);
  assert.deepEqual(router.feedback([]).unhealthy, [one]);
  mock.timers.tick(4_000);
  assert.deepEqual(router.feedback([]).unhealthy, []);
  mock.timers.setTime(NOW);
});

test("calls that fail at the same time make one rest, and one that fails in it does not prolong it", async (t) => {
  const router = await load(t);
  router.feedback(Array.from({ length: 20 }, () => ({ model: one, error: "network" })));
  mock.timers.tick(4_999);
  assert.deepEqual(router.feedback({ model: one, error: "network" }).unhealthy, [one]);
  assert.equal(router.outcomes().length, 1);
  mock.timers.tick(1);
  assert.deepEqual(router.feedback([]).unhealthy, []);
  mock.timers.setTime(NOW);
});

test("failures do not leave a request without any model", async (t) => {
  const router = await load(t);
  const request = { prompt: "Hello", allow: [one, two] };
  router.feedback({ model: one, error: "network" });
  assert.equal(router.route(request).model, two);
  router.feedback({ model: two, error: "network" });
  const all = (request) => new Set([router.route(request).model, ...router.route(request).fallbacks]);
  assert.deepEqual(all(request), new Set([one, two]));
  assert.notEqual(router.explain(request).decision.model, null);
  assert.equal(router.route({ ...request, allow: [one], model: one }).model, one);
  // Others are left: then they rest.
  assert.ok(router.route("Hello").excluded.some(({ model, code }) => model === one && code === "unhealthy"));
  const batch = router.estimateBatch([request, "Hello"]);
  const priced = (id, i) => !Number.isNaN(batch.cost_usd[batch.ids.indexOf(id) * 2 + i]);
  assert.deepEqual([priced(one, 0), priced(two, 0), priced(one, 1), priced(two, 1)], [true, true, false, false]);
  // What the request itself says of health stands.
  assert.equal(router.route({ ...request, unhealthy: [one] }).model, two);
  assert.equal(router.route({ ...request, unhealthy: [one, two] }).code, "no_candidate");
});

test("what was told is copied on its way in and out", async (t) => {
  const messages = [{ role: "user", content: "Hello" }];
  const router = await load(t);
  router.feedback({ model: one, messages, correct: 0.5 });
  messages[0].content = "Something else";
  router.outcomes()[0].messages[0].content = "Something else";
  assert.deepEqual(router.outcomes(), [{ model: one, messages: [{ role: "user", content: "Hello" }], correct: 0.5, at: at(0) }]);
});

test("a bad outcome is refused by its place, and none of its message counts", async (t) => {
  const router = await load(t, { outcomes: answers(two, () => true, 3) });
  const [before, told] = [router.catalog(), router.outcomes()];
  const good = { model: one, prompt: "Hello", correct: true };
  const cyclic = [{ role: "user", content: "a" }];
  cyclic[0].self = cyclic;
  const bad = [
    [7, "bad_request", /outcomes\[3\]: must be an object/],
    [null, "bad_request", /outcomes\[3\]: /],
    [{ ...good, model: undefined }, "bad_request", /outcomes\[3\]\.model/],
    [{ ...good, model: "nobody/nothing" }, "bad_request", /outcomes\[3\]\.model.*nobody\/nothing/],
    [{ ...good, correct: "yes" }, "bad_request", /outcomes\[3\]\.correct/],
    [{ ...good, correct: null }, "bad_request", /outcomes\[3\]\.correct/],
    [{ ...good, correct: 1.5 }, "bad_number", /outcomes\[3\]\.correct/],
    [{ ...good, output_tokens: -1 }, "bad_number", /outcomes\[3\]\.output_tokens/],
    [{ ...good, output_tokens: "7" }, "bad_request", /outcomes\[3\]\.output_tokens/],
    [{ ...good, prompt: undefined }, "bad_request", /outcomes\[3\]\.prompt/],
    [{ ...good, prompt: 7 }, "bad_request", /outcomes\[3\]\.prompt/],
    [{ ...good, prompt: undefined, messages: cyclic }, "bad_request", /outcomes\[3\]\.messages/],
    [{ ...good, prompt: undefined, messages: [{ role: "user", content: "a", f() {} }] }, "bad_request", /outcomes\[3\]\.messages/],
    [{ ...good, error: "HTTP 500" }, "bad_request", /outcomes\[3\]\.error/],
    [{ model: one, error: 500 }, "bad_request", /outcomes\[3\]\.error/],
    [{ ...good, at: "yesterday" }, "bad_request", /outcomes\[3\]\.at/],
    [{ ...good, at: "2026-13-01T00:00:00Z" }, "bad_request", /outcomes\[3\]\.at/],
    [{ ...good, at: new Date() }, "bad_request", /outcomes\[3\]\.at/],
  ];
  for (const [outcome, code, message] of bad) {
    const refused = (error) => error instanceof PennyrouteError && error.code === code && message.test(error.message);
    // The first three are good: a failure, a success and an answer.
    const outcomes = [{ model: two, error: "HTTP 503" }, { model: one }, good, outcome];
    assert.throws(() => router.feedback(outcomes), refused, `${message}`);
    if (outcome?.model === "nobody/nothing") continue;
    await assert.rejects(Router.load({ outcomes }), refused, `${message}`);
    if (typeof outcome?.model !== "string") continue;
    const waiting = outcomes.map((it) => ({ ...it, model: "not/yet" }));
    await assert.rejects(Router.load({ outcomes: waiting }), refused, `waiting: ${message}`);
  }
  await assert.rejects(Router.load({ outcomes: {} }), { code: "bad_request", message: /outcomes: must be an array/ });
  assert.throws(() => router.feedback(), { code: "bad_request" });
  assert.deepEqual([router.catalog(), router.outcomes(), router.feedback([]).unhealthy], [before, told, []]);
  // The starting point is still the first one.
  router.feedback(answers(one, () => true));
  assert.deepEqual(entry(router, one).ability, packed.fit(answers(one, () => true)).models[0].ability);
});
