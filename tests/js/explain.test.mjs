// explain() says what route() does, and why: its switches are checked by routing at them, and its price and
// costs by arithmetic. estimateBatch() is held against route() and estimate().

import assert from "node:assert/strict";
import test from "node:test";
import { PennyrouteError, Router } from "pennyroute";
import { requests } from "./hosts.mjs";

const AT = "2026-11-20T12:00:00Z";
const router = await Router.load();
const catalog = router.catalog();
const [anthropic, google, openai] = ["anthropic", "google", "openai"].map((provider) =>
  catalog.models.filter((model) => model.provider === provider && model.ability && model.cost).map(({ id }) => id));

const PROMPTS = [
  "What is the capital of Portugal?",
  "Prove that the square root of two is irrational, then generalise to every prime.",
  "Write a Rust function that merges overlapping intervals; explain its complexity.",
  "Übersetze ins Deutsche: the early bird catches the worm.",
  "A ball is thrown upwards at 20 m/s from a 15 m cliff. When does it hit the ground? ".repeat(20),
];
const tools = [{ type: "function", function: { name: "search", parameters: { type: "object" } } }];
const POLICIES = {
  "the default": {},
  "a steered price": { steer: 2.5 },
  "surcharges": { surcharges: Object.fromEntries(openai.map((id, i) => [id, i * 1e-4])) },
  "warm caches and their reuse": { warm: { [anthropic[0]]: 30 }, reuse: Object.fromEntries([...anthropic, ...google].map((id) => [id, 0.9])) },
  "a floor": { floor: 0.9 },
  "a floor that nobody reaches": { floor: 1 },
  "a cap": { cap_usd: 2e-4 },
  "a budget and workloads": { budget_usd: 1e-3, workloads: { [openai[0]]: 0 } },
  "unhealthy models": { unhealthy: [...google, ...openai.slice(0, 5)] },
  "some providers": { allow: ["openai/*", "google/*"], deny: ["*mini*"] },
  "tools, which not all can call": { tools },
  "JSON, and a long answer": { response_format: { type: "json_object" }, max_tokens: 60_000 },
  "a pinned model": { model: anthropic[0] },
  "a target in the model's name": { model: "auto:0.9" },
  "one model": { allow: [google[0]] },
  "nobody": { allow: ["nobody/*"] },
};

for (const [name, policy] of Object.entries(POLICIES)) {
  test(`switches are what route() chooses: ${name}`, () => {
    for (const prompt of PROMPTS) {
      const request = { prompt, at: AT, ...policy };
      const { decision, lambda, candidates, switches } = router.explain(request);
      const { model, code, excluded, alternatives, fallbacks } = router.route(request);
      assert.deepEqual([decision.model, decision.code, decision.excluded], [model, code, excluded]);

      // Every target has its switch, and the one asked for has the chosen model.
      if (model === null) {
        assert.deepEqual(switches, []);
      } else {
        assert.equal(switches[0].quality_from, 0);
        assert.equal(switches.at(-1).quality_to, 1);
        const asked = switches.find(({ quality_to }) => decision.target.quality <= quality_to);
        assert.equal(asked.model, model);
      }
      for (const [i, { model, quality_from, quality_to }] of switches.entries()) {
        assert.ok(quality_from < quality_to && (i === 0 || (switches[i - 1].quality_to === quality_from && switches[i - 1].model !== model)));
        const at = (quality) => router.route({ ...request, ...(policy.model?.startsWith("auto") && { model: "auto" }), quality }).model;
        assert.equal(at((quality_from + quality_to) / 2), model, `${prompt} at the middle of switch ${i}`);
        // The ends too: a switch holds up to its end, and the next one begins just above.
        assert.equal(at(quality_to), model, `${prompt} at the end of switch ${i}`);
        assert.equal(at(quality_from + 1e-9), model, `${prompt} at the start of switch ${i}`);
      }

      // The candidates: the chosen one, its fallbacks in their order, the rest, then those that are out.
      const named = (standing) => candidates.filter((it) => it.standing === standing).map((it) => it.model);
      assert.deepEqual(named("chosen"), model === null ? [] : [model]);
      assert.deepEqual(named("fallback"), fallbacks);
      assert.deepEqual(named("excluded"), excluded.map((it) => it.model));
      const inOrder = [...named("chosen"), ...named("fallback"), ...named("candidate"), ...named("excluded")];
      assert.deepEqual(candidates.map((it) => it.model), inOrder);
      assert.deepEqual(inOrder.slice(1, alternatives.length + 1).sort(), alternatives.map((it) => it.model).sort());
      const estimates = new Map(router.estimate(request).models.map((it) => [it.model, it]));
      for (const it of candidates) {
        assert.equal(it.code, excluded.find(({ model }) => model === it.model)?.code);
        assert.deepEqual(it.quality, estimates.get(it.model)?.quality ?? null);
        assert.deepEqual(it.cost_usd, estimates.get(it.model)?.cost_usd ?? null);
        assert.equal(it.net_usd === null, it.standing === "excluded" || lambda === Infinity);
        if (it.net_usd === null || policy.reuse) continue;
        const charged = it.cost_usd.estimate + (policy.surcharges?.[it.model] ?? 0);
        assert.ok(Math.abs(it.net_usd - (charged - lambda * it.quality.estimate)) < 1e-12);
      }
      if (model !== null && !policy.floor && lambda !== Infinity) {
        const nets = candidates.filter((it) => it.net_usd !== null).map((it) => it.net_usd);
        assert.equal(nets[0], Math.min(...nets));
      }
    }
  });
}

test("what may be read from a cache next time lowers what is compared, not what is reported", () => {
  const model = anthropic.find((id) => catalog.models.find((it) => it.id === id).cost.cache_read > 0);
  const request = { prompt: PROMPTS[4], at: AT };
  const row = (more) => router.explain({ ...request, ...more }).candidates.find((it) => it.model === model);
  const [without, half, whole] = [row({}), row({ reuse: { [model]: 0.5 } }), row({ reuse: { [model]: 1 } })];
  assert.equal(half.cost_usd.estimate, without.cost_usd.estimate);
  assert.ok(whole.net_usd < half.net_usd && half.net_usd < without.net_usd);
  assert.ok(Math.abs((without.net_usd - whole.net_usd) / (without.net_usd - half.net_usd) - 2) < 1e-9);
});

test("a target out of reach has no finite price, and quality decides", () => {
  const { lambda, candidates, decision } = router.explain({ prompt: PROMPTS[1], at: AT, quality: 1 });
  assert.equal(lambda, Infinity);
  const best = Math.max(...candidates.filter((it) => it.standing !== "excluded").map((it) => it.quality.estimate));
  assert.equal(decision.quality.estimate, best);
});

test("prices of a minute, and of a catalog that has changed, are not those of another", async () => {
  const router = await Router.load();
  const [cheap, dear] = ["2026-11-20T12:00:00Z", "2027-03-01T12:00:00Z"];
  const dated = structuredClone(catalog);
  const { decision } = router.explain({ prompt: PROMPTS[1], at: cheap });
  const changed = dated.models.find(({ id }) => id === decision.model);
  changed.cost.changes = [{ from: "2027-01-01", input: 900, output: 900 }];
  router.setCatalog(dated);
  const fresh = (/** @type {object} */ policy) => {
    const { lambda, switches } = router.explain({ prompt: PROMPTS[1], ...policy });
    for (const { model, quality_from, quality_to } of switches) {
      assert.equal(router.route({ prompt: PROMPTS[1], ...policy, quality: (quality_from + quality_to) / 2 }).model, model);
    }
    return lambda;
  };
  assert.notEqual(fresh({ at: cheap }), fresh({ at: dear }));
  assert.equal(fresh({ at: cheap }), fresh({ at: cheap }));
  const before = fresh({ at: cheap, deny: ["nobody/*"] });
  router.feedback(Array.from({ length: 40 }, (_, i) => ({ model: changed.id, prompt: `What is ${i} + ${i}?`, correct: false })));
  assert.notEqual(fresh({ at: cheap }), before);
  router.free();
});

test("explaining changes nothing, and refuses what route() refuses", () => {
  for (const { request } of requests()) {
    const before = router.route(request);
    const { decision } = router.explain(request);
    const after = router.route(request);
    const same = ({ id, elapsed_us, ...rest }) => rest;
    assert.deepEqual(same(decision), same(before));
    assert.deepEqual(same(after), same(before));
  }
  assert.deepEqual(router.catalog(), catalog);
  for (const bad of [undefined, 7, {}, { prompt: "x", quality: 2 }, { prompt: "x", model: "no/such" }, { prompt: "x", unhealthy: "all" }]) {
    assert.throws(() => router.explain(bad), PennyrouteError);
  }
});

test("a batch holds the estimates of each query, and goes into plan()", () => {
  const few = { prompt: PROMPTS[1], at: AT, allow: ["openai/*"], cap_usd: 1e-3 };
  const batch = router.estimateBatch([...PROMPTS, few]);
  const { queries, models, ids } = batch;
  assert.deepEqual([queries, models], [PROMPTS.length + 1, ids.length]);
  for (const [i, request] of [...PROMPTS, few].entries()) {
    const { models: estimates, input_tokens, in_distribution } = router.estimate(request);
    assert.deepEqual(estimates.map(({ model }) => model), ids);
    assert.equal(batch.input_tokens[i], input_tokens);
    assert.equal(batch.in_distribution[i], Number(in_distribution));
    const excluded = new Set(router.route(request).excluded.map(({ model }) => model));
    for (const [j, it] of estimates.entries()) {
      const at = j * queries + i;
      const out = excluded.has(it.model);
      for (const column of ["quality", "output_tokens", "cost_usd"]) assert.equal(batch[column][at], out ? NaN : it[column].estimate);
    }
  }
  const plan = router.plan({ ...batch, quality_target: 0.8 });
  assert.equal(plan.status, "optimal");
  const last = plan.assignment[queries - 1];
  assert.match(ids[last], /^openai\//, "the pairs that its policy forbids are not taken");

  for (const [bad, message] of [[undefined, /requests/], [[], /requests.*empty/], [["a", { prompt: 7 }], /requests\[1\].*prompt/]]) {
    assert.throws(() => router.estimateBatch(bad), (error) => error.code === "bad_request" && message.test(error.message));
  }
  assert.throws(() => router.estimateBatch(["a", { prompt: "b", quality: 2 }]), { code: "bad_number", message: /requests\[1\]\.quality/ });
});
