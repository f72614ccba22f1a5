// The owner's policy without a gateway: what is refused, and that a request can only narrow it.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { random as seeded } from "../../src/js/tools/random.mjs";
import { root } from "../../src/js/tools/shell.mjs";
import { permitted, policyWarnings, readPolicyDocument, resolve } from "../../worker/policy.js";
import { matches } from "../../src/js/globs.js";

const { models: entries } = JSON.parse(readFileSync(join(root, "models", "catalog.json"), "utf8"));
const models = new Map(entries.map((model) => [model.id, model]));
const HASH = "0123456789abcdef".repeat(4);
const caller = { tenant: "default", key: null };

/** A policy whose tenant `default` is given. */
const policy = (tenant) => ({ format: 1, version: "v1", tenants: { default: tenant } });
const read = (value, ledger = true) => readPolicyDocument(value, { ledger });

function refuses(value, path, message, ledger = true) {
  assert.throws(() => read(value, ledger), (error) => {
    assert.equal(error.status, 400);
    assert.equal(error.code, "bad_policy");
    assert.equal(error.param, path);
    assert.match(error.message, message);
    return true;
  });
}

describe("validation", () => {
  test("the whole of a policy is read", () => {
    const whole = {
      format: 1,
      version: "2026-11-20",
      tenants: {
        default: {
          budget_usd: { day: 20, month: 400 },
          models: { "openai/*": { concurrent: 50, requests_per_minute: 600, tokens_per_minute: 400000 } },
          max_output_tokens: 4096,
          route: { quality: 0.8, floor: 0.5, cap_usd: 0.1, allow: ["openai/*"], deny: ["openai/o*"], private: false },
          groups: { support: { quality: 0.9 } },
          ledger_down: "refuse",
          keys: { web: { sha256: HASH, budget_usd: { day: 5 }, requests_per_minute: 60, concurrent: 10, route: { floor: 0.6 } } },
        },
      },
    };
    assert.equal(read(whole), whole);
    assert.equal(read(policy({})).version, "v1");
  });

  const bad = [
    ["a list", [], "policy", /not an object/],
    ["a text", "x", "policy", /not an object/],
    ["null", null, "policy", /not an object/],
    ["no version", { format: 1, tenants: { default: {} } }, "version", /missing/],
    ["a newer format", { ...policy({}), format: 2, more: 1 }, "format", /2 is newer than 1/],
    ["a version on two lines", { ...policy({}), version: "a\r\nx: y" }, "version", /visible ASCII/],
    ["an unknown field", policy({ budgets: {} }), "tenants.default.budgets", /known are budget_usd, models/],
    ["an unknown field, deep", policy({ keys: { a: { sha256: HASH, route: { cap: 1 } } } }), "tenants.default.keys.a.route.cap", /not known/],
    ["a negative budget", policy({ budget_usd: { day: -1 } }), "tenants.default.budget_usd.day", /-1 is not a number/],
    ["an endless budget", JSON.parse('{"format":1,"version":"v","tenants":{"default":{"budget_usd":{"day":1e999}}}}'), "tenants.default.budget_usd.day", /not a number/],
    ["a floor above 1", policy({ route: { floor: 1.5 } }), "tenants.default.route.floor", /from 0 to 1/],
    ["half a call", policy({ models: { "*": { concurrent: 0.5 } } }), "tenants.default.models.*.concurrent", /whole number/],
    ["a key in clear", policy({ keys: { a: { sha256: "secret" } } }), "tenants.default.keys.a.sha256", /64 lower-case hex/],
    ["a name with a line break", policy({ groups: { "a\nb": {} } }), "tenants.default.groups", /not a name/],
    ["one key twice", { ...policy({ keys: { a: { sha256: HASH } } }), tenants: { x: { keys: { a: { sha256: HASH } } }, y: { keys: { b: { sha256: HASH } } } } }, "tenants.y.keys.b.sha256", /same key as tenants\.x\.keys\.a/],
    ["nobody may call", { ...policy({}), tenants: { x: {} } }, "tenants", /nobody could call/],
    ["allow and deny that leave nothing", policy({ route: { allow: ["openai/gpt-*", "xai/*"], deny: ["openai/*", "xai/*"] } }), "tenants.default.route", /contradict/],
    ["an allow of nothing", policy({ route: { allow: [] } }), "tenants.default.route.allow", /no model at all/],
    ["a third way", policy({ ledger_down: "maybe" }), "tenants.default.ledger_down", /refuse.*degrade/],
  ];
  for (const [name, value, path, message] of bad) test(`refused: ${name}`, () => refuses(value, path, message));

  test("limits without a ledger are refused, or told where the owner takes the risk", () => {
    for (const [tenant, path] of [
      [{ budget_usd: { day: 1 } }, "budget_usd"],
      [{ models: { "openai/*": { concurrent: 1 } } }, "models.openai/*"],
      [{ keys: { a: { sha256: HASH, concurrent: 1 } } }, "keys.a"],
    ]) {
      refuses(policy(tenant), `tenants.default.${path}`, /no Durable Object/, false);
      const taken = read(policy({ ...tenant, ledger_down: "degrade" }), false);
      assert.match(policyWarnings(taken, { ledger: false, models })[0], /not kept/);
      assert.deepEqual(policyWarnings(taken, { ledger: true, models }), []);
    }
  });

  test("a key that no model is left for is told", () => {
    const split = read(policy({ route: { allow: ["openai/*"] }, keys: { a: { sha256: HASH, route: { allow: ["xai/*"] } } } }));
    assert.deepEqual(policyWarnings(split, { ledger: true, models }), ["tenants.default, keys.a: no model of the catalog is left."]);
  });
});

describe("resolution", () => {
  const owner = read(
    policy({
      route: { quality: 0.7, cap_usd: 0.1, floor: 0.2, deny: ["xai/*"] },
      groups: { support: { quality: 0.9, cap_usd: 0.05, allow: ["openai/*", "anthropic/*"] }, secret: { private: true } },
      keys: { web: { sha256: HASH, route: { quality: 0.8, floor: 0.3 } } },
    }),
  );
  const web = { tenant: "default", key: "web" };
  const asked = (knobs, more = {}) => resolve(owner, web, { knobs, ...more }, models);

  test("the strictest of each limit, the nearest quality", () => {
    assert.deepEqual(asked({}), { quality: 0.8, cap_usd: 0.1, floor: 0.3, deny: ["xai/*"] });
    assert.equal(asked({ quality: 0.5 }).quality, 0.5);
    assert.equal(asked({}, { model: "auto:0.6" }).quality, undefined, "auto:QUALITY is the request's own");
    assert.equal(resolve(owner, caller, { knobs: {}, group: "support" }, models).quality, 0.9);
    assert.equal(asked({ cap_usd: 0.2, floor: 0.1 }).cap_usd, 0.1);
    assert.equal(asked({ cap_usd: 0.01 }).cap_usd, 0.01);
    assert.equal(asked({ floor: 0.9 }).floor, 0.9);
    assert.equal(asked({ private: false }, { group: "secret" }).private, true);
    const { deny } = asked({ deny: ["openai/*"] }, { group: "support" });
    assert.ok(["xai/*", "openai/*"].every((glob) => deny.includes(glob)));
    assert.ok(deny.some((id) => id.startsWith("google/")) && !deny.some((id) => id.startsWith("anthropic/")));
  });

  test("what is of the wrong type is left for Pennyroute to refuse", () => {
    for (const knobs of [{ cap_usd: "1" }, { floor: [] }, { allow: "openai/*" }, { deny: [5] }, { private: "yes" }]) {
      const [[name, value]] = Object.entries(knobs);
      assert.deepEqual(asked(knobs)[name], value);
    }
  });

  test("contradictions are refused, both sides named", () => {
    const refused = (knobs, message) =>
      assert.throws(() => asked(knobs), (error) => error.status === 400 && error.code === "contradictory_policy" && message.test(error.message));
    refused({ allow: ["openai/*"], deny: ["openai/*"] }, /allow \[openai\/\*\] and deny \[openai\/\*\]/);
    refused({ allow: ["openai/gpt-*"], deny: ["*"] }, /contradict/);
    refused({ allow: [] }, /allow/);
    refused({ floor: 1.5 }, /floor 1\.5/);
    refused({ cap_usd: 0 }, /cap_usd 0/);
    const free = new Map([...models, ["me/free", { id: "me/free", cost: { input: 0, output: 0 } }]]);
    assert.equal(resolve(owner, web, { knobs: { cap_usd: 0 } }, free).cap_usd, 0, "free models make a cap of 0 sensible");
    assert.throws(() => asked({}, { group: "nix" }), (error) => error.code === "unknown_group" && /support, secret/.test(error.message));
    assert.throws(() => asked({}, { group: "constructor" }), (error) => error.code === "unknown_group");
  });

  test("whatever is asked, a request never widens what the owner allows", () => {
    const random = seeded(7);
    const pick = (list) => list[Math.floor(random() * list.length)];
    const providers = [...new Set(entries.map(({ provider }) => provider))];
    const globs = () => Array.from({ length: 1 + Math.floor(random() * 3) }, () => pick([`${pick(providers)}/*`, pick(entries).id, "*mini*", "*", `${pick(providers)}/?*`, "nobody/*"]));
    const route = () => ({
      ...(random() < 0.5 && { quality: random() }),
      ...(random() < 0.5 && { floor: random() }),
      ...(random() < 0.5 && { cap_usd: random() + 1e-6 }),
      ...(random() < 0.5 && { allow: globs() }),
      ...(random() < 0.4 && { deny: globs() }),
      ...(random() < 0.3 && { private: random() < 0.5 }),
    });
    const through = (knobs) =>
      new Set(permitted(policy({ route: knobs }), caller, models).map(({ id }) => id));
    let narrowed = 0;
    let refused = 0;
    for (let i = 0; i < 2000; i++) {
      const own = policy({ route: route(), groups: { g: route() }, keys: { k: { sha256: HASH, route: route() } } });
      const who = { tenant: "default", key: pick([null, "k"]) };
      const group = pick([undefined, "g"]);
      const knobs = route();
      let effective;
      try {
        effective = resolve(own, who, { knobs, group }, models);
      } catch (error) {
        assert.equal(error.code, "contradictory_policy");
        refused += 1;
        continue;
      }
      const { default: tenant } = own.tenants;
      const layers = [tenant.route, group && tenant.groups.g, who.key && tenant.keys.k.route, knobs].filter(Boolean);
      for (const layer of layers) {
        assert.ok((effective.cap_usd ?? Infinity) <= (layer.cap_usd ?? Infinity));
        assert.ok((effective.floor ?? 0) >= (layer.floor ?? 0));
        assert.ok(effective.private === true || !layer.private);
      }
      // Exactly the models that every layer lets through, and no limit that no layer sets.
      const expected = layers.map(through).reduce((a, b) => a.intersection?.(b) ?? new Set([...a].filter((id) => b.has(id))));
      assert.deepEqual([...through(effective)].sort(), [...expected].sort());
      assert.equal(effective.cap_usd ?? null, layers.map(({ cap_usd }) => cap_usd).filter((v) => v !== undefined).sort((a, b) => a - b)[0] ?? null);
      narrowed += expected.size < models.size ? 1 : 0;
    }
    assert.ok(narrowed > 500 && refused < 1000, `${narrowed} narrowed, ${refused} refused`);
  });

  test("globs match as they do in Pennyroute, whatever their form, in linear time", () => {
    for (const [glob, text, expected] of [
      ["*", "", true], ["", "", true], ["", "a", false], ["a*b*c", "aXbYc", true], ["a*b*c", "aXc", false], ["a?c", "abc", true], ["a?c", "ac", false],
      ["*a", "ba", true], ["**", "x", true], ["[a]", "a", false], [".*", "x", false], ["*.5*", "gpt-5.5-pro", true],
    ]) assert.equal(matches(glob, text), expected, `${glob} ${text}`);
    assert.equal(matches("*a".repeat(50_000), "a".repeat(200)), false);
  });
});

/** Mulberry32: the same numbers at every run. */
