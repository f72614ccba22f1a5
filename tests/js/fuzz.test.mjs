// Bodies that no client should send, to every API of the gateway: each gets an answer or an error in
// that API's shape, and none a 500. They are mutations of valid bodies; a failure prints its seed.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import fc from "fast-check";
import { simulatedProviders, startGateway } from "../../src/js/tools/gateway.mjs";
import { root } from "../../src/js/tools/shell.mjs";
import { startSimulator } from "../../worker/simulator.mjs";

const SEED = 20261120;
/** Bodies for each path. */
const RUNS = 800;

const parameters = { type: "object", properties: { town: { type: "string", enum: ["Rome", "Oslo"] } }, required: ["town"] };
const PNG = "iVBORw0KGgo=";
const common = { model: "auto", temperature: 0.5, top_p: 0.9, user: "u", vendor: { deep: [1, null, "ü"] } };
const pennyroute = { quality: 0.7, floor: 0.1, cap_usd: 1, allow: ["*"], deny: ["nobody/*"], private: false, session: "s", receipt: true };

const VALID = {
  "/v1/chat/completions": {
    ...{ ...common, pennyroute, max_tokens: 50, stream: false, stream_options: { include_usage: true }, stop: ["END"], seed: 1, n: 1 },
    messages: [
      { role: "system", content: "Be brief." },
      { role: "user", content: [{ type: "text", text: "Hi" }, { type: "image_url", image_url: { url: `data:image/png;base64,${PNG}`, detail: "low" } }] },
      { role: "assistant", content: null, tool_calls: [{ id: "call_1", type: "function", function: { name: "weather", arguments: '{"town":"Rome"}' } }] },
      { role: "tool", tool_call_id: "call_1", content: "Rain." },
      { role: "user", content: "And in Oslo?" },
    ],
    tools: [{ type: "function", function: { name: "weather", description: "Weather", parameters } }],
    tool_choice: { type: "function", function: { name: "weather" } },
    response_format: { type: "json_schema", json_schema: { name: "a", schema: parameters, strict: true } },
  },
  "/v1/responses": {
    ...{ ...common, pennyroute, max_output_tokens: 50, stream: false, store: true, metadata: { a: "b" }, parallel_tool_calls: false },
    ...{ instructions: "Be brief.", include: ["reasoning.encrypted_content"], reasoning: { effort: "low", summary: "auto" }, truncation: "auto" },
    input: [
      { type: "message", role: "user", content: [{ type: "input_text", text: "Hi" }, { type: "input_image", image_url: `data:image/png;base64,${PNG}`, detail: "low" }] },
      { type: "reasoning", id: "rs_1", summary: [{ type: "summary_text", text: "Hm." }], encrypted_content: "[]" },
      { type: "function_call", id: "fc_1", call_id: "call_1", name: "weather", arguments: "{}" },
      { type: "function_call_output", call_id: "call_1", output: [{ type: "input_text", text: "Rain." }, { type: "input_image", image_url: "https://x.example/y.png" }] },
      { role: "assistant", content: [{ type: "output_text", text: "Rain.", annotations: [] }, { type: "refusal", refusal: "No." }] },
      { role: "user", content: [{ type: "input_file", filename: "a.pdf", file_data: "data:application/pdf;base64,JVBERg==" }] },
    ],
    tools: [{ type: "function", name: "weather", description: "Weather", parameters, strict: true }],
    tool_choice: { type: "allowed_tools", mode: "auto", tools: [{ type: "function", name: "weather" }] },
    text: { format: { type: "json_schema", name: "a", schema: parameters, strict: true }, verbosity: "low" },
  },
  "/v1/messages": {
    ...{ ...common, pennyroute, max_tokens: 50, stream: false, top_k: 5, stop_sequences: ["END"], metadata: { user_id: "u" } },
    system: [{ type: "text", text: "Be brief.", cache_control: { type: "ephemeral" } }],
    messages: [
      { role: "user", content: [{ type: "text", text: "Hi" }, { type: "image", source: { type: "base64", media_type: "image/png", data: PNG } }] },
      {
        role: "assistant",
        content: [
          { type: "thinking", thinking: "Hm.", signature: "s" },
          { type: "redacted_thinking", data: "x" },
          { type: "text", text: "Let me look." },
          { type: "tool_use", id: "toolu_1", name: "weather", input: { town: "Rome" } },
        ],
      },
      {
        role: "user",
        content: [
          { type: "tool_result", tool_use_id: "toolu_1", content: [{ type: "text", text: "Rain." }, { type: "image", source: { type: "url", url: "https://x.example/y.png" } }] },
          { type: "document", title: "A", source: { type: "base64", media_type: "application/pdf", data: "JVBERg==" } },
          { type: "document", context: "B", source: { type: "text", media_type: "text/plain", data: "C" }, citations: { enabled: false } },
          { type: "document", source: { type: "content", content: [{ type: "text", text: "D" }] } },
        ],
      },
    ],
    tools: [{ name: "weather", description: "Weather", input_schema: parameters, cache_control: { type: "ephemeral" } }],
    tool_choice: { type: "tool", name: "weather", disable_parallel_tool_use: true },
    thinking: { type: "enabled", budget_tokens: 1024 },
    output_config: { effort: "low", format: { type: "json_schema", schema: parameters } },
  },
};
VALID["/v1/route"] = { messages: VALID["/v1/chat/completions"].messages, quality: 0.7, tools: VALID["/v1/chat/completions"].tools };
VALID["/v1/messages/count_tokens"] = VALID["/v1/messages"];

/** What an error of a path must look like. */
const SHAPES = {
  "/v1/messages": ({ type, error }) => type === "error" && typeof error.type === "string" && typeof error.message === "string" && Object.keys(error).length === 2,
};
SHAPES["/v1/messages/count_tokens"] = SHAPES["/v1/messages"];
const openaiShape = ({ error }) => ["message", "type", "code"].every((name) => typeof error[name] === "string") && (error.param === null || typeof error.param === "string");

let simulator;
let gateway;

before(async () => {
  const catalog = JSON.parse(readFileSync(join(root, "models", "catalog.json"), "utf8"));
  simulator = await startSimulator({ latencyMs: 0, chunkMs: 0 });
  gateway = await startGateway({ vars: simulatedProviders(catalog, simulator.url) });
});

after(async () => {
  await gateway?.close();
  await simulator?.close();
});

/** Every place in a body, as a list of keys. */
function places(value, at = []) {
  if (value === null || typeof value !== "object") return [at];
  return [at, ...Object.keys(value).flatMap((key) => places(value[key], [...at, key]))];
}

const DROPPED = Symbol("dropped");
const nested = (depth) => Array.from({ length: depth }).reduce((inside) => [inside], 0);
/** Values of all types, ours among them, to stand where others are expected. */
const junk = fc.oneof(
  fc.constantFrom(DROPPED, null, true, false, "", 0, -1, 0.5, 1e308, -1e308, 2 ** 53, 5e-324, [], {}, [null], [[]], [{}], { type: null }, { type: "text" }),
  // Numbers that JSON.stringify does not write; see `mutated`.
  fc.constantFrom("RAW 1e999", "RAW -1e999", "RAW -0", "RAW 1e-400", "RAW 123456789012345678901234567890"),
  fc.constantFrom("auto", "auto:", "auto:NaN", "auto:1e9", "user", "tool", "assistant", "function", "constructor", "__proto__", "toString", "json_schema"),
  fc.constantFrom("\ud83d", "\udc00x", "\u0000", "\u202e\ufeff", "e\u0301".repeat(500), "🏳️‍🌈".repeat(100), "\r\n\r\ndata: x", "x".repeat(20_000)),
  fc.integer({ min: 2, max: 3000 }).map(nested),
  fc.string({ unit: "binary" }),
  fc.double(),
  fc.jsonValue({ maxDepth: 4 }),
);

/** @param {any} body @param {string[]} place @param {any} value */
function put(body, place, value) {
  if (place.length === 0) return value === DROPPED ? body : value;
  const parent = place.slice(0, -1).reduce((inside, key) => inside?.[key], body);
  // An earlier mutation may have taken the place away.
  if (parent === null || typeof parent !== "object") return body;
  const key = place.at(-1);
  if (value !== DROPPED) parent[key] = value;
  else if (Array.isArray(parent)) parent.splice(Number(key), 1);
  else delete parent[key];
  return body;
}

/** Mutations of a valid body: one to four places changed, in half of them with a field that nobody knows. */
function mutated(valid) {
  const change = fc.record({ place: fc.constantFrom(...places(valid)), value: junk });
  return fc
    .record({ changes: fc.array(change, { minLength: 1, maxLength: 4 }), stream: fc.boolean(), more: fc.option(fc.tuple(fc.string(), junk)) })
    .map(({ changes, stream, more }) => {
      let body = structuredClone(valid);
      if (stream && "stream" in body) body.stream = true;
      if (more && more[1] !== DROPPED) Object.defineProperty(body, more[0], { value: more[1], enumerable: true, configurable: true, writable: true });
      for (const { place, value } of changes) body = put(body, place, value);
      return JSON.stringify(body).replace(/"RAW ([^"]*)"/g, "$1");
    });
}

for (const [path, valid] of Object.entries(VALID)) {
  test(`${path}: every body is answered, or refused in its API's words`, async (t) => {
    const statuses = {};
    const untouched = await fetch(gateway.url + path, { method: "POST", body: JSON.stringify(valid) });
    assert.equal(untouched.status, 200, await untouched.text());
    await fc.assert(
      fc.asyncProperty(mutated(valid), async (body) => {
        const response = await fetch(gateway.url + path, { method: "POST", body });
        const text = await response.text();
        statuses[response.status] = (statuses[response.status] ?? 0) + 1;
        // 503: the policy in the body leaves no model.
        assert.ok([200, 400, 404, 503].includes(response.status), `${response.status}: ${text}`);
        if (response.status === 200) assert.doesNotMatch(text, /stream_internal/);
        else assert.ok((SHAPES[path] ?? openaiShape)(JSON.parse(text)), text);
      }),
      { seed: SEED, numRuns: RUNS },
    );
    t.diagnostic(`answers by status: ${JSON.stringify(statuses)}`);
    assert.ok(statuses[200] > RUNS / 20 && statuses[400] > RUNS / 20, "the bodies are neither all good nor all bad");
  });
}
