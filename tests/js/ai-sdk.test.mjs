// pennyroute/ai-sdk under AI SDK 5, 6 and 7, each with a provider package of its own time, against simulated providers.

import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { createServer } from "node:http";
import { after, before, describe, test } from "node:test";
import { createOpenAI } from "@ai-sdk/openai";
import * as compatible6 from "@ai-sdk/openai-compatible";
import * as ai6 from "ai";
import * as ai5 from "ai5";
import * as ai7 from "ai7";
import * as compatible5 from "openai-compatible5";
import * as compatible7 from "openai-compatible7";
import { z } from "zod";
import { PennyrouteError, Router } from "pennyroute";
import { NoAnswer, createPennyroute } from "pennyroute/ai-sdk";
import { startSimulator } from "../../worker/simulator.mjs";

const VERSIONS = [
  { sdk: 5, specification: "v2", ai: ai5, ...compatible5 },
  { sdk: 6, specification: "v3", ai: ai6, ...compatible6 },
  { sdk: 7, specification: "v4", ai: ai7, ...compatible7 },
];
const PROMPT = "Why is the sky blue?";
const SIMULATED = /^\[simulated answer from [^\]]+\] This text was written in advance/;
/** A red pixel. */
const PIXEL = Buffer.from("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==", "base64");

const loaded = await Router.load();
/** The router without `feedback`: what one test saw fail is not to bear on the next. */
const router = { route: (request) => loaded.route(request), catalog: () => loaded.catalog(), cost: (...args) => loaded.cost(...args) };
const catalog = new Map(router.catalog().models.map((model) => [model.id, model]));
const order = (decision) => [...new Set([decision.model, ...decision.fallbacks].map((id) => catalog.get(id).base))];
const usual = order(router.route({ messages: [{ role: "user", content: PROMPT }] }));

let simulator;
const closing = [];
const unhandled = [];
process.on("unhandledRejection", (error) => unhandled.push(error));

before(async () => {
  simulator = await startSimulator({ latencyMs: 1, chunkMs: 0 });
});

after(async () => {
  await simulator.close();
  for (const server of closing) {
    server.closeAllConnections();
    server.close();
  }
  assert.deepEqual(unhandled, []);
});

for (const { sdk, specification, ai, createOpenAICompatible } of VERSIONS) {
  describe(`AI SDK ${sdk}`, () => {
    const { generateText, streamText, tool, jsonSchema } = ai;

    /** A provider over the simulated ones, or over a server, with what it decided and told, and the bodies that were sent. */
    function routed(options = {}, { url = `${simulator.url}/server/v1`, simulate } = {}) {
      const seen = { decisions: [], receipts: [], sent: [] };
      const record = (input, init) => {
        const body = JSON.parse(init.body);
        seen.sent.push(body);
        return fetch(input, { ...init, body: JSON.stringify({ ...body, ...(simulate && { simulate }) }) });
      };
      const server = createOpenAICompatible({ name: "server", baseURL: url, apiKey: "key", includeUsage: true, supportsStructuredOutputs: true, fetch: record });
      const pennyroute = createPennyroute({
        ...{ router, models: { "*": server } },
        onDecision: (decision) => seen.decisions.push(decision),
        onReceipt: (receipt) => seen.receipts.push(receipt),
        ...(typeof options === "function" ? options(server) : options),
      });
      return Object.assign(seen, { pennyroute, server });
    }

    /** What a model of this version answers without a server. */
    const usage = sdk === 5 ? { inputTokens: 1, outputTokens: 1, totalTokens: 2 } : { inputTokens: { total: 1 }, outputTokens: { total: 1 } };
    const finishReason = sdk === 5 ? "stop" : { unified: "stop", raw: "stop" };
    const answer = {
      doGenerate: async () => ({ content: [{ type: "text", text: "Hi." }], finishReason, usage, warnings: [] }),
      doStream: async () => ({
        stream: new ReadableStream({
          start(controller) {
            const parts = [{ type: "stream-start", warnings: [] }, { type: "text-start", id: "1" }, { type: "text-delta", id: "1", delta: "Hi." }, { type: "text-end", id: "1" }];
            for (const part of [...parts, { type: "finish", finishReason, usage }]) controller.enqueue(part);
            controller.close();
          },
        }),
      }),
    };

    /** A server that starts an answer with `start` and never ends it. */
    async function endless(start) {
      const events = new EventEmitter();
      const server = createServer((request, response) => {
        response.once("close", () => events.emit("close"));
        start(response);
        events.emit("call");
      });
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
      closing.push(server);
      return { url: `http://127.0.0.1:${server.address().port}/v1`, events };
    }

    test("generateText: the chosen model answers, with its receipt", async () => {
      const { pennyroute, decisions, receipts, sent } = routed();
      assert.equal(pennyroute.specificationVersion, specification);
      assert.equal(pennyroute("auto").specificationVersion, specification);
      const result = await generateText({ model: pennyroute("auto"), prompt: PROMPT, system: "Be brief.", providerOptions: { pennyroute: { quality: 0.8 }, server: { user: "u" } } });
      assert.match(result.text, SIMULATED);
      const [decision] = decisions;
      const { base, effort } = catalog.get(decision.model);
      assert.equal(decision.target.quality, 0.8);
      assert.equal(result.response.modelId, base);
      assert.deepEqual([sent[0].model, sent[0].reasoning_effort, sent[0].user], [base, effort ?? undefined, "u"]);
      assert.doesNotMatch(JSON.stringify(sent[0]), /pennyroute|quality/);
      const receipt = result.providerMetadata.pennyroute;
      assert.deepEqual(receipt, receipts[0]);
      assert.deepEqual(JSON.parse(JSON.stringify(receipt)), receipt);
      const { served, spent_usd, failed, ...rest } = receipt;
      assert.deepEqual([rest, served, failed], [decision, decision.model, []]);
      assert.equal(spent_usd, router.cost(served, { input_tokens: result.usage.inputTokens, output_tokens: result.usage.outputTokens }));
    });

    test("streamText: the receipt comes with the end", async () => {
      const { pennyroute, receipts } = routed();
      const result = streamText({ model: pennyroute.languageModel("auto:0.9"), prompt: PROMPT });
      let text = "";
      for await (const piece of result.textStream) text += piece;
      assert.match(text, SIMULATED);
      const { pennyroute: receipt } = await result.providerMetadata;
      assert.deepEqual(receipt, receipts[0]);
      assert.equal(receipt.target.quality, 0.9);
      const { inputTokens: input_tokens, outputTokens: output_tokens } = await result.usage;
      assert.equal(receipt.spent_usd, router.cost(receipt.served, { input_tokens, output_tokens }));
    });

    test("tools are called and answered by models that can", async () => {
      const { pennyroute, sent, decisions } = routed();
      const weather = tool({ description: "Weather", inputSchema: z.object({}), execute: async () => ({ sky: "rain" }) });
      for (const stream of [false, true]) {
        const options = { model: pennyroute("auto"), prompt: PROMPT, tools: { weather }, stopWhen: ai.stepCountIs(3) };
        const result = stream ? streamText(options) : await generateText(options);
        assert.match(await result.text, SIMULATED);
        assert.equal((await result.steps).length, 2);
        assert.equal((await result.steps)[0].toolResults[0].output.sky, "rain");
      }
      assert.equal(sent.length, 4);
      for (const { model } of decisions) assert.equal(catalog.get(model).tool_call, true);
    });

    test("structured output comes from models that can", async () => {
      const { pennyroute, decisions } = routed();
      const schema = z.object({ simulated: z.boolean(), answer: z.string() });
      const model = pennyroute("auto");
      if (ai.generateObject) assert.equal((await ai.generateObject({ model, schema, prompt: PROMPT })).object.simulated, true);
      const { Output = ai.Experimental_Output } = ai;
      const result = await generateText({ model, prompt: PROMPT, ...(sdk === 5 ? { experimental_output: Output.object({ schema }) } : { output: Output.object({ schema }) }) });
      assert.equal((sdk === 5 ? result.experimental_output : result.output).simulated, true);
      for (const { model } of decisions) assert.equal(catalog.get(model).json, true);
    });

    test("files choose models that read them, and their bytes are not routed on", async () => {
      const { pennyroute, decisions, sent } = routed((server) => ({
        router: { ...router, route: (request) => (assert.ok(JSON.stringify(request).length < 20_000), router.route(request)) },
        models: { "*": server },
      }));
      await generateText({ model: pennyroute("auto"), messages: [{ role: "user", content: [{ type: "text", text: "What is this?" }, { type: "file", data: new Uint8Array([...PIXEL, ...new Uint8Array(100_000)]), mediaType: "image/png" }] }] });
      assert.ok(catalog.get(decisions[0].model).modalities.includes("image"));
      assert.match(JSON.stringify(sent[0].messages), /data:image\/png;base64/);
    });

    test("falls back after every kind of failure, in the decision's order", async () => {
      const failureOf = { cut: "network", error_frame: "bad_reply", empty: "bad_reply" };
      for (const stream of [false, true]) {
        for (const kind of ["429", "500", "404", "400", "cut", "error_frame", "empty"]) {
          const simulate = Object.fromEntries(usual.slice(0, 2).map((name) => [name, kind]));
          const { pennyroute, receipts, sent } = routed({}, { simulate });
          const options = { model: pennyroute("auto"), prompt: PROMPT, maxRetries: 0 };
          const result = stream ? streamText(options) : await generateText(options);
          assert.match(await result.text, SIMULATED, kind);
          assert.deepEqual(sent.map(({ model }) => model), usual.slice(0, 3), kind);
          // From AI SDK 6 on, provider packages report a stream without a choice as an error.
          const told = stream && (kind === "error_frame" || (kind === "empty" && sdk > 5));
          const failure = told ? "error_event" : (failureOf[kind] ?? kind);
          assert.deepEqual(receipts[0].failed.map(({ failure }) => failure), [failure, failure], `${kind}, stream: ${stream}`);
          assert.deepEqual((await result.providerMetadata).pennyroute, receipts[0]);
        }
      }
    });

    test("falls back when nothing comes in time", async (t) => {
      t.mock.timers.enable({ apis: ["setTimeout"] });
      for (const stream of [false, true]) {
        const { url, events } = await endless(() => {});
        const stalling = createOpenAICompatible({ name: "stalling", baseURL: url, apiKey: "key" });
        const answering = { specificationVersion: specification, provider: "answering", modelId: "m", supportedUrls: {}, ...answer };
        const { pennyroute, receipts } = routed({ models: { "*": ({ base }) => (base === usual[0] ? stalling(base) : answering) }, specificationVersion: specification });
        const [called, closed] = [once(events, "call"), once(events, "close")];
        const options = { model: pennyroute("auto"), prompt: PROMPT, maxRetries: 0 };
        const result = stream ? streamText(options) : generateText(options);
        const text = stream ? result.text : result.then(({ text }) => text);
        await called;
        t.mock.timers.tick(stream ? 60_000 : 180_000);
        assert.equal(await text, "Hi.");
        await closed;
        assert.deepEqual(receipts[0].failed.map(({ failure }) => failure), ["timeout"]);
      }
    });

    test("what breaks after the first token is passed on, and nobody else is called", async () => {
      const { pennyroute, sent } = routed({}, { simulate: "late_error_frame" });
      const errors = [];
      const result = streamText({ model: pennyroute("auto"), prompt: PROMPT, onError: ({ error }) => errors.push(error) });
      const parts = [];
      for await (const part of result.fullStream) parts.push(part.type);
      assert.equal(errors.length, 1);
      assert.ok(parts.indexOf("text-delta") >= 0 && parts.indexOf("text-delta") < parts.indexOf("error"));
      assert.equal(sent.length, 1);
    });

    test("when nobody answers, the error names every attempt; it is not tried again", async () => {
      const { pennyroute, sent, receipts } = routed({ maxAttempts: 3 }, { simulate: "429" });
      const error = await generateText({ model: pennyroute("auto"), prompt: PROMPT }).catch((error) => error);
      assert.ok(error instanceof NoAnswer && error instanceof PennyrouteError, `${error?.stack}`);
      assert.deepEqual([error.code, error.status, sent.length], ["all_attempts_failed", 429, 3]);
      assert.deepEqual(error.failed.map(({ failure }) => failure), ["429", "429", "429"]);
      for (const { model } of error.failed) assert.ok(error.message.includes(`${model}: 429 (`), error.message);
      assert.equal(error.cause.statusCode, 429);
      assert.equal(receipts[0].served, null);
    });

    test("what the request is refused for is thrown as it is", async () => {
      const { url } = await endless((response) => response.writeHead(400, { "content-type": "application/json" }).end('{"error":{"message":"Not this prompt.","type":"invalid_request_error","code":"content_policy"}}'));
      const { pennyroute, sent } = routed({}, { url });
      const error = await generateText({ model: pennyroute("auto"), prompt: PROMPT }).catch((error) => error);
      assert.ok(ai.APICallError.isInstance(error), `${error?.stack}`);
      assert.deepEqual([error.statusCode, error.message, sent.length], [400, "Not this prompt.", 1]);
    });

    test("aborting stops the provider at every stage", async () => {
      const sse = (response) => response.writeHead(200, { "content-type": "text/event-stream" });
      const chunk = (content) => `data: ${JSON.stringify({ id: "1", created: 1, model: "m", choices: [{ index: 0, delta: { role: "assistant", content }, finish_reason: null }] })}\n\n`;
      for (const start of [() => {}, (response) => sse(response).write(chunk("")), (response) => sse(response).write(chunk("Hi"))]) {
        const { url, events } = await endless(start);
        const { pennyroute, sent } = routed({}, { url });
        const stop = new AbortController();
        const [called, closed] = [once(events, "call"), once(events, "close")];
        const result = streamText({ model: pennyroute("auto"), prompt: PROMPT, abortSignal: stop.signal, maxRetries: 0, onError() {} });
        const parts = (async () => {
          const types = [];
          for await (const { type } of result.fullStream) {
            types.push(type);
            if (type === "text-delta") stop.abort();
          }
          return types;
        })();
        await called;
        if (start.length === 0 || !String(start).includes('"Hi"')) stop.abort();
        await closed;
        assert.ok((await parts).includes("abort"));
        assert.equal(sent.length, 1);
      }
      const { url, events } = await endless((response) => sse(response).write(chunk("Hi")));
      const closed = once(events, "close");
      const { stream } = await routed({}, { url }).pennyroute("auto").doStream({ prompt: [{ role: "user", content: [{ type: "text", text: PROMPT }] }] });
      const reader = stream.getReader();
      while ((await reader.read()).value.type !== "text-delta");
      await reader.cancel();
      await closed;
      const { pennyroute, sent } = routed({ router: new Promise(() => {}) });
      const stop = new AbortController();
      const asking = generateText({ model: pennyroute("auto"), prompt: PROMPT, abortSignal: stop.signal });
      stop.abort();
      await assert.rejects(asking, { name: "AbortError" });
      assert.equal(sent.length, 0);
    });

    test("models may be given by id, glob, provider or function", async () => {
      const { pennyroute, sent, decisions } = routed((server) => ({
        models: {
          "openai/*": ({ base, effort }) => (effort === "low" ? undefined : server(`glob-${base}`)),
          "openai/gpt-5.4-nano": server("named"),
          "openai/gpt-5.5@xhigh": server("exact"),
          "mistral/*": server,
        },
        specificationVersion: specification,
      }));
      const ask = async (id, own) => {
        await generateText({ model: pennyroute(id), prompt: PROMPT, ...(own && { providerOptions: { pennyroute: own } }) });
        return sent.at(-1).model;
      };
      assert.equal(await ask("openai/gpt-5.4-nano@none"), "named");
      assert.equal(await ask("openai/gpt-5.5@xhigh"), "exact");
      assert.equal(await ask("openai/gpt-5.5"), "glob-gpt-5.5");
      assert.equal(await ask("auto", { allow: ["mistral/ministral-*"] }), "ministral-8b-2512");
      assert.equal(decisions[0].code, "pinned");
      const before = sent.length;
      await assert.rejects(ask("openai/gpt-5.5@low"), { code: "no_candidate" });
      await assert.rejects(ask("auto", { allow: ["google/*"] }), { code: "no_candidate" });
      await assert.rejects(ask("auto", { qualty: 1 }), { code: "bad_request", message: /^providerOptions\.pennyroute\.qualty: / });
      assert.equal(sent.length, before);
    });

    test("an effort that the call sets is kept", async () => {
      const { pennyroute, sent, decisions } = routed();
      const own = sdk === 7 ? { reasoning: "xhigh" } : { providerOptions: { server: { reasoningEffort: "xhigh" } } };
      await generateText({ model: pennyroute("auto"), prompt: PROMPT, ...own });
      assert.equal(sent[0].reasoning_effort, "xhigh");
      if (sdk === 7) assert.ok([null, undefined, "xhigh"].includes(catalog.get(decisions[0].model).effort));
    });

    test("takes part in a registry of providers", async () => {
      const { pennyroute } = routed();
      const registry = ai.createProviderRegistry({ pennyroute });
      const { text } = await generateText({ model: registry.languageModel("pennyroute:auto"), prompt: PROMPT });
      assert.match(text, SIMULATED);
      assert.throws(() => pennyroute.embeddingModel("auto"), PennyrouteError);
    });

    test("a provider that throws for models which it does not have offers the others", async () => {
      const server = createOpenAICompatible({ name: "server", baseURL: `${simulator.url}/server/v1`, apiKey: "key" });
      const custom = ai.customProvider({ languageModels: { [usual[0]]: server(usual[0]) } });
      const registry = ai.createProviderRegistry({ custom });
      const inRegistry = ({ base }) => registry.languageModel(`${base === usual[1] ? "nobody" : "custom"}:${base}`);
      for (const [models, version] of [[{ "*": custom }, specification], [{ "*": inRegistry }, specification], [{ "anthropic/none": custom, "*": server }]]) {
        const { pennyroute, receipts } = routed({ models, ...(version && { specificationVersion: version }) });
        await generateText({ model: pennyroute("auto"), prompt: PROMPT });
        assert.equal(catalog.get(receipts[0].served).base, usual[0]);
      }
      const broken = routed({ models: { "*": () => { throw new Error("mine"); } }, specificationVersion: specification });
      await assert.rejects(generateText({ model: broken.pennyroute("auto"), prompt: PROMPT, maxRetries: 0 }), /mine/);
    });

    test("a router is told how calls ended, never what was asked", async () => {
      const told = [];
      const remote = Object.fromEntries(["route", "catalog", "cost"].map((name) => [name, async (...args) => structuredClone(router[name](...args))]));
      remote.feedback = async (outcome) => void told.push(outcome);
      const { pennyroute, receipts, decisions } = routed({ router: Promise.resolve(remote) }, { simulate: { [usual[0]]: "500" } });
      const { usage } = await generateText({ model: pennyroute("auto"), prompt: PROMPT });
      assert.deepEqual(told, [{ model: decisions[0].model, error: "500" }, { model: receipts[0].served, output_tokens: usage.outputTokens }]);
    });
  });
}

test("wrong options are refused at once", () => {
  const refused = (options, message) => assert.throws(() => createPennyroute({ router, ...options }), (error) => error instanceof PennyrouteError && error.code === "bad_request" && message.test(error.message));
  refused({}, /^models: /);
  refused({ models: {} }, /^models: /);
  refused({ models: { "*": "gpt-5.5" } }, /^models\["\*"\]: /);
  refused({ models: { "*": () => undefined } }, /^specificationVersion: /);
  refused({ models: { "*": createOpenAI() }, attempts: 3 }, /^attempts: is not an option/);
});

test("models of two specifications are refused, named", async () => {
  const server = { name: "server", baseURL: simulator.url, apiKey: "key" };
  const pennyroute = createPennyroute({ router, models: { "openai/*": compatible6.createOpenAICompatible(server), "mistral/*": compatible5.createOpenAICompatible(server) } });
  await assert.rejects(ai6.generateText({ model: pennyroute("auto"), prompt: PROMPT }), { code: "bad_request", message: /models\["mistral\/\*"\]: speaks specification v2/ });
});

test("OpenAI's own provider is sent the effort in its own words", async () => {
  const sent = [];
  const openai = createOpenAI({ baseURL: `${simulator.url}/openai/v1`, apiKey: "key", fetch: (input, init) => (sent.push(JSON.parse(init.body)), fetch(input, init)) });
  const pennyroute = createPennyroute({ router, models: { "openai/*": ({ base }) => openai.chat(base) }, specificationVersion: "v3" });
  await ai6.generateText({ model: pennyroute("openai/gpt-5.5@low"), prompt: PROMPT });
  assert.deepEqual([sent[0].model, sent[0].reasoning_effort], ["gpt-5.5", "low"]);
});
