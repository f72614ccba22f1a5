/** The parts of the page's Plan view that need no browser: how files are read, and what plans are in words. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import Papa from "papaparse";
import { Router } from "../../dist/node.js";
import { Batch } from "../../www/page/plan/batch.js";
import { readOutcomes } from "../../www/page/outcomes.js";
import { csvReader, toCsv } from "../../www/page/plan/csv.js";
import { inspect, readRows } from "../../www/page/plan/read.js";
import { duration, infeasible, proof, rival, shadowPrices } from "../../www/page/plan/words.js";

const context = { progress() {}, async pause() {} };

/** A file as it is guessed to be. */
async function read(file) {
  const { format, guess } = await inspect(file);
  return readRows(file, { format, columns: guess }, context);
}

describe("csv", () => {
  /** A text read in pieces that end at `cuts`. */
  function pieces(text, cuts, newline) {
    const push = csvReader({ delimiter: ",", newline });
    const ends = [...cuts.map((cut) => cut % (text.length + 1)).sort((a, b) => a - b), text.length];
    let start = 0;
    const rows = ends.flatMap((end) => {
      const part = [...push(text.slice(start, end), false)];
      start = end;
      return part;
    });
    return [...rows, ...push("", true)];
  }

  const cell = fc.string({ unit: fc.constantFrom("a", "é", "\"", ",", "\n", " ", "=", "🜁"), maxLength: 8 });
  const tableOf = fc.array(fc.tuple(cell, cell, cell), { minLength: 1, maxLength: 8 });
  const newlines = fc.constantFrom("\n", "\r\n");

  test("rows are the same however the text is cut", () => {
    fc.assert(fc.property(tableOf, newlines, fc.array(fc.nat(), { maxLength: 6 }), (rows, newline, cuts) => {
      const text = Papa.unparse(rows, { newline, quotes: true });
      assert.deepEqual(pieces(text, cuts, newline), rows.map((fields) => ({ fields, problem: undefined })));
    }));
  });

  test("a broken line costs no more than itself, wherever it stands", () => {
    const good = fc.array(fc.tuple(fc.constantFrom("a", "b,c", "d \"e\""), fc.constantFrom("1", "x,y"), fc.constant("z")), { maxLength: 6 });
    const broken = fc.constantFrom("1,\"open,3", "1,\"quo\"te\",3", "too,few", "one,too,many,cells", "\"");
    fc.assert(fc.property(good, broken, good, fc.array(fc.nat(), { maxLength: 6 }), (before, line, after, cuts) => {
      const lines = (rows) => rows.map((fields) => Papa.unparse([fields], { quotes: true }));
      const text = `${["h,i,j", ...lines(before), line, ...lines(after)].join("\n")}\n`;
      const rows = pieces(text, cuts, "\n").filter(({ fields }) => fields.join("") !== "");
      assert.deepEqual(rows.filter(({ problem }) => !problem).map(({ fields }) => fields), [["h", "i", "j"], ...before, ...after]);
      assert.equal(rows.filter(({ problem }) => problem).length, 1);
    }));
  });

  test("a quote that is never closed does not swallow a large file", async () => {
    const after = Array.from({ length: 60_000 }, (_, i) => `${i},What is ${i} plus ${i * 3}?`);
    const { rows, bad } = await read(new File([["id,prompt", "x,\"open", ...after].join("\n")], "open.csv"));
    assert.equal(rows.length, after.length);
    assert.deepEqual(bad.map(({ row }) => row), [2]);
  });

  test("cells that a spreadsheet would compute are marked as text", () => {
    const cells = ["=1", "+1", "-1", "@x", "\tx", "plain", 0.5];
    const { data } = Papa.parse(toCsv(["a"], cells.map((cell) => [cell])).trimEnd());
    assert.deepEqual(data.flat(), ["a", "'=1", "'+1", "'-1", "'@x", "'\tx", "plain", "0.5"]);
  });
});

describe("files", () => {
  test("what is not valid UTF-8 is told; a U+FFFD of the file's own is a character like others", async () => {
    const fine = await read(new File(["prompt\nfine \ufffd as it is\nbest\n"], "a.csv"));
    assert.deepEqual(fine.rows.map(({ request }) => request.prompt), ["fine \ufffd as it is", "best"]);
    const torn = await read(new File([Buffer.from("prompt\ncaf\xe9\nbest\n", "latin1")], "b.csv"));
    assert.deepEqual(torn.rows.map(({ request }) => request.prompt), ["best"]);
    assert.deepEqual(torn.bad, [{ row: 2, column: "prompt", reason: "is not valid UTF-8" }]);
  });

  test("what routing reads of a jsonl object goes with its prompt", async () => {
    const { rows } = await read(new File(['{"text":"hi","tools":[{"type":"function"}],"max_tokens":9,"private":true,"temperature":1}\n{"text":"ho"}'], "a.jsonl"));
    assert.deepEqual(rows.map(({ id, request }) => [id, request]), [["1", { prompt: "hi", tools: [{ type: "function" }], max_tokens: 9, private: true }], ["2", { prompt: "ho" }]]);
  });

  test("a file of nothing but broken rows says why", async () => {
    await assert.rejects(read(new File(["prompt,group\n,a\n,b\n"], "a.csv")), { code: "empty_file", message: /The first of 2 bad rows, row 2: prompt is empty/ });
    await assert.rejects(read(new File([`{"text":"x"}\n${"nothing\n".repeat(10_001)}`], "a.jsonl")), { code: "bad_file", message: /More than 10,000 rows/ });
    await assert.rejects(read(new File([`prompt\n${"x\n".repeat(100_001)}`], "a.csv")), { code: "too_large", message: /more than 100,000 prompts/ });
  });
});

describe("files of graded outcomes", () => {
  const models = new Set(["a/b"]);

  test("a half-broken csv: bad rows are told by row and column, the good ones kept", async () => {
    const text = [
      "prompt,model,correct,output_tokens,at", "one,a/b,true,,", "", "\"two \"\"quoted\"\",\nover lines\",a/b,0.5,12,2026-11-20", "\"never closed,a/b,1,,",
      "after it,a/b,no,,", "caf\xe9,a/b,yes,,", "short,a/b", "at,a/b,1,,noon", "tokens,a/b,1,-3,", "last,a/b,wrong,,",
    ].join("\r\n");
    const { outcomes, bad } = await readOutcomes(new File([Buffer.from(text, "latin1")], "a.csv"), models);
    assert.deepEqual(outcomes, [
      { prompt: "one", model: "a/b", correct: 1 },
      { prompt: "two \"quoted\",\nover lines", model: "a/b", correct: 0.5, output_tokens: 12, at: "2026-11-20" },
      { prompt: "after it", model: "a/b", correct: 0 },
      { prompt: "last", model: "a/b", correct: 0 },
    ]);
    assert.deepEqual(bad.map(({ row, column }) => [row, column]), [[5, "prompt"], [7, "prompt"], [8, ""], [9, "at"], [10, "output_tokens"]]);
  });

  test("jsonl with bad messages, UTF-16 and gzip", async () => {
    const good = { messages: [{ role: "user", content: "hi" }], model: "a/b", correct: true };
    const lines = [good, { ...good, messages: [] }, { ...good, messages: [{ content: "hi" }] }, { ...good, messages: [{ role: "user", content: 5 }] }, { ...good, messages: "hi" }, { prompt: 5, model: "a/b", correct: 1 }, { text: "ho", model: "a/b", correct: 0 }];
    const text = ["", ...lines.map((line) => JSON.stringify(line)), "null", "{"].join("\n");
    for (const content of [text, gzipSync(text), Buffer.from(`\ufeff${text}`, "utf16le")]) {
      const { outcomes, bad } = await readOutcomes(new File([content], "a.jsonl"), models);
      assert.deepEqual(outcomes, [{ messages: good.messages, model: "a/b", correct: 1 }, { prompt: "ho", model: "a/b", correct: 0 }]);
      assert.deepEqual(bad.map(({ row, column }) => [row, column]), [[3, "messages"], [4, "messages"], [5, "messages"], [6, "messages"], [7, "prompt"], [9, ""], [10, ""]]);
    }
  });
});

describe("a batch", () => {
  let router;
  before(async () => {
    router = await Router.load();
  });
  after(() => router?.free());

  const rowsOf = (requests) => requests.map((request, i) => ({ row: i + 2, id: `q${i}`, group: "", request }));
  const prompts = Array.from({ length: 150 }, (_, i) => `What is ${i * 37} plus ${i * i}, ${["briefly", "as a poem", "step by step"][i % 3]}?`);
  const target = (quality) => ({ quality_target: quality, workloads: {}, floors: {}, policy: {} });
  const assigned = async (batch) => Papa.parse(await batch.csv().text(), { header: true, skipEmptyLines: true }).data;

  test("a model that is removed meanwhile: all is estimated anew on those that are left", async () => {
    const { models, ...catalog } = router.catalog();
    const batch = new Batch(rowsOf(prompts.map((prompt) => ({ prompt }))), []);
    const seen = [];
    const { models: ids, estimated } = await batch.estimate({
      router,
      progress: ({ done }) => void seen.push(done),
      async pause() {
        if (seen.length === 2) router.setCatalog({ ...catalog, models: models.slice(1) });
      },
    });
    assert.deepEqual(seen, [32, 64, 0, 32, 64, 96, 128, 150]);
    const here = router.estimateBatch(prompts);
    assert.deepEqual(ids, here.ids);
    assert.equal(estimated, 150);
    batch.solve(router, target(0.8));
    const rows = await assigned(batch);
    assert.equal(rows.length, 150);
    rows.forEach(({ model, cost_usd: cost, quality }, i) => {
      const at = here.ids.indexOf(model) * 150 + i;
      assert.deepEqual([Number(cost), Number(quality)], [here.cost_usd[at], here.quality[at]], `${i}: ${model}`);
    });
    router.setCatalog({ ...catalog, models });
  });

  test("rows that no model may take are told; the others are planned, by all models and by some", async () => {
    const requests = prompts.slice(0, 40).map((prompt, i) => ({ prompt, ...(i % 10 === 3 && { private: true }) }));
    requests[20] = { prompt: "word ".repeat(3_000_000) };
    const good = requests.filter(({ private: kept }, i) => !kept && i !== 20).map(({ prompt }) => prompt);
    const batch = new Batch(rowsOf(requests), []);
    await batch.estimate({ router, ...context });
    assert.deepEqual(batch.bad.map(({ row }) => row), [5, 15, 22, 25, 35]);
    assert.match(batch.bad[0].reason, /provider not private/);
    assert.match(batch.bad[2].reason, /context/);
    assert.equal(batch.summary().bad.unreadable, 0);

    const here = router.estimateBatch(good);
    for (const policy of [{}, { allow: ["openai/*"] }, {}]) {
      const { constants } = batch.curve(router, { ...target(0.5), policy });
      assert.ok(constants.every(({ refused, quality }) => refused === 0 && quality > 0));
      const { quality } = batch.solve(router, { ...target(0.5), policy });
      const rows = await assigned(batch);
      assert.equal(rows.length, good.length);
      rows.forEach(({ model, quality: each }, i) => assert.equal(Number(each), here.quality[here.ids.indexOf(model) * good.length + i]));
      assert.ok(rows.every(({ model }) => !policy.allow || model.startsWith("openai/")));
      assert.ok(quality >= 0.5);
    }
  });
});

describe("words", () => {
  const plan = { queries: 2000, quality: 0.9, point_usd: 0.5, models: [{ model: "a/b", slot_usd: 0.01 }], groups: [{ name: "g", point_usd: 0.2 }] };

  test("shadow prices", () => {
    assert.deepEqual(shadowPrices(plan, false), [
      "One more point of quality costs $0.25 per 1,000 prompts.", "One more call of b would save $0.01.", "One more point for g costs $0.20.",
    ]);
    assert.deepEqual(shadowPrices({ ...plan, point_usd: 0, models: [], groups: [] }, false), ["The target costs nothing: the cheapest plan reaches 90.0\u00a0% by itself."]);
    assert.match(shadowPrices(plan, true)[0], /^The last point of quality costs/);
  });

  test("reasons round to what is feasible", () => {
    const why = (code, largest_feasible, proven = true) => infeasible({ code, largest_feasible, proven, queries: 10 });
    assert.deepEqual(why("quality_unreachable", 0.96169).change, { quality: 0.961 });
    for (const cheapest of [0.3401600508, 2.00001234e-5, 999_999.5, 12]) {
      const { budget } = why("budget_unreachable", cheapest).change;
      assert.ok(budget >= cheapest && budget < cheapest * 1.0002, `${budget} for ${cheapest}`);
    }
    assert.deepEqual(why("floors_unreachable", 0.9919).change, { scale: 0.991 });
    assert.match(why("workload_total", 7).why, /7 of 10 prompts can be answered/);
    assert.match(why("no_candidate", 7).why, /^3 prompts may go to none/);
    assert.match(why("quality_unreachable", 0.9, false).why, /not proven/);
  });

  test("rivals, proofs and durations", () => {
    const constants = [{ model: "dear", quality: 0.99, cost_usd: 9, refused: 0 }, { model: "fits", quality: 0.9, cost_usd: 2, refused: 0 }, { model: "partly", quality: 0.9, cost_usd: 1, refused: 3 }];
    assert.deepEqual([rival(constants, 0.9).model.model, rival(constants, 0.9).reaches], ["fits", true]);
    assert.deepEqual([rival(constants, 0.995).model.model, rival(constants, 0.995).reaches], ["dear", false]);
    assert.equal(proof({ status: "optimal", gap: 0 }).value, "proven");
    assert.equal(proof({ status: "feasible", gap: 4.2e-5 }).value, "within 0.005\u00a0%");
    assert.equal(proof({ status: "feasible", gap: 4.2e-9 }).value, "within 0.00001\u00a0%");
    assert.deepEqual([0.2, 45, 300, Infinity].map(duration), ["1 s", "45 s", "5 min", "unknown time"]);
  });
});
