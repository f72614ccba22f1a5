/**
 * A provider for the AI SDK: `pennyroute("auto")` is a language model that routes each call to the
 * cheapest capable one among models of other providers, and falls back until one has begun to answer.
 *
 * It speaks the version of the specification that those models speak (v2 to v4: AI SDK 5 to 7). What
 * they share is read here; all else of a call, and of an answer, passes through.
 */

import { isCount } from "./completion.js";
import { PennyrouteError } from "./error.js";
import { Failure, NoAnswer, abortable, firstAnswer, modelsOf, notify, readLimits, readPolicy, refusal, routerOf } from "./fallback.js";
import { matches } from "./globs.js";
import { receiptBody } from "./receipts.js";

export { NoAnswer, PennyrouteError };

/** @typedef {import("pennyroute").CatalogModel} CatalogModel */
/** @typedef {import("./fallback.js").Candidate & { language: any }} Candidate */

/** @param {import("./ai-sdk.d.ts").PennyrouteOptions} options */
export function createPennyroute({ router, models, specificationVersion, policy, onDecision, onReceipt, ...limits }) {
  const settings = {
    loading: routerOf(router),
    languages: languagesOf(models),
    specificationVersion: specificationVersion ?? versionOf(models),
    policy: readPolicy(policy, "policy"),
    limits: readLimits(limits),
    onDecision,
    onReceipt,
  };
  const languageModel = (/** @type {string} */ modelId = "auto") => new RoutedModel(modelId, settings);
  const none = (/** @type {string} */ kind) => () => {
    throw new PennyrouteError("bad_request", `pennyroute routes language models; it has no ${kind}`);
  };
  return Object.assign((/** @type {string} */ modelId) => languageModel(modelId), {
    specificationVersion: settings.specificationVersion,
    languageModel,
    embeddingModel: none("embedding model"),
    textEmbeddingModel: none("embedding model"),
    imageModel: none("image model"),
  });
}

class RoutedModel {
  provider = "pennyroute";
  /** None: files are fetched by the AI SDK, for not every candidate takes an address. */
  supportedUrls = {};

  #settings;

  /** @param {string} modelId @param {any} settings */
  constructor(modelId, settings) {
    this.modelId = modelId;
    this.specificationVersion = settings.specificationVersion;
    this.#settings = settings;
  }

  /** @param {any} options */
  async doGenerate(options) {
    const { answer, answered } = await this.#route(options, "replyMs", async ({ language }, call) => {
      const result = await language.doGenerate(call);
      const reason = reasonOf(result.finishReason);
      if (!result.content?.length && !FINISHED.has(reason)) throw new Failure("bad_reply", `the reply is empty (${reason})`);
      return result;
    });
    const receipt = await this.#end(answered, { counts: countsOf(answer.usage) });
    return { ...answer, providerMetadata: { ...answer.providerMetadata, pennyroute: receipt } };
  }

  /** @param {any} options */
  async doStream(options) {
    const { answer, answered } = await this.#route(options, "firstTokenMs", async ({ language }, call) => {
      const result = await language.doStream(call);
      const reader = result.stream.getReader();
      return { result, reader, held: await firstToken(reader) };
    });
    const { result, reader, held } = answer;
    /** @type {string | undefined} */
    let broken;
    const end = (/** @type {object} */ how) => this.#end(answered, how);
    const stream = new ReadableStream({
      async pull(controller) {
        try {
          const { value: part, done } = held.length ? { value: held.shift(), done: false } : await reader.read();
          if (done) {
            controller.close();
            // Without a `finish` nothing was counted.
            end({ error: broken });
          } else if (part.type === "finish") {
            const receipt = await end({ counts: countsOf(part.usage), error: broken });
            controller.enqueue({ ...part, providerMetadata: { ...part.providerMetadata, pennyroute: receipt } });
          } else {
            if (part.type === "error") broken = "error_event";
            controller.enqueue(part);
          }
        } catch (error) {
          controller.error(error);
          if (answered.signal.aborted) answered.left();
          else end({ error: "network" });
        }
      },
      cancel(reason) {
        answered.left();
        answered.stop(reason);
        return reader.cancel(reason);
      },
    }, { highWaterMark: 0 });
    return { ...result, stream };
  }

  /**
   * @param {any} options of the call
   * @param {"replyMs" | "firstTokenMs"} patience
   * @param {(candidate: Candidate, options: any) => Promise<any>} call
   */
  async #route(options, patience, call) {
    const { loading, languages, specificationVersion, policy, limits, onDecision, onReceipt } = this.#settings;
    const { abortSignal: signal, providerOptions: { pennyroute, ...providerOptions } = /** @type {any} */ ({}) } = options;
    const own = readPolicy(pennyroute, "providerOptions.pennyroute");
    const router = await abortable(loading, signal);
    const catalog = await abortable(modelsOf(router), signal);
    const candidates = candidatesOf(catalog, languages, { effort: effortOf(options), specificationVersion });
    const request = { model: this.modelId, ...requestOf(options) };
    const { maxAttempts, deadlineMs, [patience]: attemptMs } = limits;
    try {
      return await firstAnswer(
        { router, catalog, request, policy, own, candidates, limits: { maxAttempts, deadlineMs, attemptMs }, signal, onDecision },
        async (chosen, abortSignal) => {
          const candidate = /** @type {Candidate} */ (chosen);
          try {
            return await call(candidate, { ...options, ...withEffort(candidate, options, providerOptions), abortSignal });
          } catch (error) {
            throw failureOf(error);
          }
        },
      );
    } catch (error) {
      if (error instanceof NoAnswer) notify(onReceipt, receiptBody(error.decision, { model: null, failed: error.failed }));
      throw error;
    }
  }

  /** @param {any} answered @param {object} how */
  async #end(answered, how) {
    const receipt = await answered.end(how);
    if (receipt) notify(this.#settings.onReceipt, receipt);
    return receipt;
  }
}

// ------------------------------------------------------------------------------------------------
// The models behind it

/**
 * The models that were given, by id or glob, as functions of a catalog's model.
 * @param {any} models
 * @returns {[glob: string, of: (model: CatalogModel) => any][]}
 */
function languagesOf(models) {
  if (models === null || typeof models !== "object" || Object.keys(models).length === 0) {
    throw new PennyrouteError("bad_request", "models: must be an object of models, providers or functions, by id or glob");
  }
  return Object.entries(models).map(([glob, given]) => {
    if (isModel(given)) return [glob, () => given];
    if (typeof given?.languageModel === "function") return [glob, ({ base }) => offered(() => given.languageModel(base))];
    if (typeof given === "function") return [glob, (model) => offered(() => given(model))];
    throw new PennyrouteError("bad_request", `models[${JSON.stringify(glob)}]: must be a language model, a provider or a function`);
  });
}

/** What providers with a list of models, and registries, throw for any other. */
const NOT_OFFERED = new Set(["AI_NoSuchModelError", "AI_NoSuchProviderError"]);

/** A provider's model, or undefined where it has none of that name. @param {() => any} make */
function offered(make) {
  try {
    return make();
  } catch (error) {
    if (!NOT_OFFERED.has(/** @type {any} */ (error)?.name)) throw error;
  }
}

/** @param {any} value */
function isModel(value) {
  return typeof value?.doGenerate === "function" && typeof value.doStream === "function";
}

/** The specification's version that the given models speak. @param {Record<string, any>} models */
function versionOf(models) {
  for (const given of Object.values(models)) {
    // A provider of v2 does not tell; any model of it does. Making one calls nobody.
    const version = isModel(given) ? given.specificationVersion : given.specificationVersion ?? offered(() => given.languageModel?.("model"))?.specificationVersion;
    if (version) return version;
  }
  throw new PennyrouteError("bad_request", 'specificationVersion: must be given ("v2", "v3" or "v4") where none of `models` tells');
}

/**
 * The catalog's models that were given: the first entry that names one or, after that, the first glob that matches it.
 * @param {CatalogModel[]} catalog
 * @param {[glob: string, of: (model: CatalogModel) => any][]} languages
 * @param {{ effort?: string, specificationVersion: string }} options
 * @returns {Map<string, Candidate>}
 */
function candidatesOf(catalog, languages, { effort, specificationVersion }) {
  const found = new Map();
  for (const model of catalog) {
    if (effort && model.effort && model.effort !== effort) continue;
    const bare = model.id.replace(/@[^@]*$/, "");
    const [glob, of] = [model.id, bare].flatMap((id) => languages.filter(([name]) => name === id))[0] ?? languages.find(([name]) => matches(name, model.id)) ?? [];
    const language = of?.(model);
    if (!language) continue;
    if (!isModel(language)) throw new PennyrouteError("bad_request", `models[${JSON.stringify(glob)}]: is no language model for ${model.id}`);
    if (language.specificationVersion !== specificationVersion) {
      const spoken = `speaks specification ${language.specificationVersion}, others ${specificationVersion}`;
      throw new PennyrouteError("bad_request", `models[${JSON.stringify(glob)}]: ${spoken}; models of one version of the AI SDK go together`);
    }
    found.set(model.id, { model, provider: familyOf(language), name: language.modelId, language });
  }
  return found;
}

/** A provider package's own name, such as `openai` of `openai.responses`. @param {any} language */
function familyOf({ provider }) {
  return provider.split(".")[0];
}

/** The effort that a call asks for in the specification's own field, which v4 has. @param {any} options */
function effortOf({ reasoning }) {
  return reasoning === undefined || reasoning === "provider-default" ? undefined : reasoning;
}

/**
 * A candidate at one effort was chosen for its price at that effort; a setting of the call's own stands.
 * @param {Candidate} candidate
 * @param {any} options
 * @param {Record<string, any>} providerOptions without ours
 */
function withEffort({ model: { effort }, language }, options, providerOptions) {
  const given = effortOf(options);
  if (!effort || given) return { providerOptions };
  if (language.specificationVersion === "v4") return { providerOptions, reasoning: effort };
  const key = familyOf(language);
  // It thinks only where asked to.
  if (key === "anthropic" && effort === "none") return { providerOptions };
  const setting = key === "anthropic" ? "effort" : "reasoningEffort";
  return { providerOptions: { ...providerOptions, [key]: { [setting]: effort, ...providerOptions[key] } } };
}

// ------------------------------------------------------------------------------------------------
// Requests, in the words of `route`

/** @param {any} options */
function requestOf({ prompt, tools, responseFormat, maxOutputTokens }) {
  return {
    messages: prompt.map(messageOf),
    ...(tools?.length && { tools: tools.map(toolOf) }),
    ...(responseFormat?.type === "json" && { response_format: { type: responseFormat.schema ? "json_schema" : "json_object" } }),
    ...(isCount(maxOutputTokens) && { max_tokens: maxOutputTokens }),
  };
}

/** @param {any} message */
function messageOf({ role, content }) {
  if (typeof content === "string") return { role, content };
  const calls = content.filter((/** @type {any} */ { type }) => type === "tool-call");
  return {
    role,
    content: content.flatMap(partsOf),
    ...(calls.length && { tool_calls: calls.map((/** @type {any} */ { toolName, input }) => ({ function: { name: toolName, arguments: JSON.stringify(input) ?? "" } })) }),
  };
}

/** What routing reads of a part: texts, and the kinds of files, without their bytes. @param {any} part @returns {object[]} */
function partsOf(part) {
  switch (part.type) {
    case "text":
      return [{ type: "text", text: part.text }];
    case "file":
    case "media":
    case "file-data":
    case "file-url":
      return [fileOf(part)];
    case "image-data":
    case "image-url":
      return [{ type: "image_url" }];
    case "tool-result":
      return resultOf(part.output);
    default:
      return [];
  }
}

/** @param {any} part */
function fileOf({ mediaType = "", data }) {
  if (data?.type === "text") return { type: "text", text: data.text };
  if (mediaType.startsWith("image")) return { type: "image_url" };
  if (mediaType.startsWith("audio")) return { type: "input_audio" };
  const bytes = data?.type === "data" ? data.data : data;
  if (mediaType.startsWith("text/") && bytes instanceof Uint8Array) return { type: "text", text: new TextDecoder().decode(bytes) };
  return { type: "file" };
}

/** @param {any} output of a tool @returns {object[]} */
function resultOf({ type, value, reason }) {
  if (type === "content") return value.flatMap(partsOf);
  const text = typeof value === "string" ? value : JSON.stringify(value ?? reason ?? null);
  return [{ type: "text", text }];
}

/** @param {any} tool */
function toolOf({ type, name, description, inputSchema, id, args }) {
  return type === "function" ? { type, function: { name, description, parameters: inputSchema } } : { type: id, name, args };
}

// ------------------------------------------------------------------------------------------------
// Answers

/** Ends of an answer that may well be empty. */
const FINISHED = new Set(["stop", "length", "content-filter", "tool-calls"]);
/** Parts before the answer itself. */
const PREAMBLE = new Set(["stream-start", "response-metadata", "raw", "ping", "text-start", "reasoning-start", "text-end", "reasoning-end"]);

/**
 * The parts of a stream up to the first that says something. Until then nothing was handed on, so that an error can
 * still fall back.
 * @param {ReadableStreamDefaultReader<any>} reader
 */
async function firstToken(reader) {
  const held = [];
  for (;;) {
    const { value: part, done } = await reader.read();
    if (done) throw new Failure("bad_reply", "the stream ended before its first token");
    if (part.type === "error") throw new Failure("error_event", wordsOf(part.error), { cause: part.error });
    held.push(part);
    if (part.type === "finish") {
      const reason = reasonOf(part.finishReason);
      if (!FINISHED.has(reason)) throw new Failure("bad_reply", `the reply is empty (${reason})`);
      return held;
    }
    const empty = (part.type === "text-delta" || part.type === "reasoning-delta") && part.delta === "";
    if (!PREAMBLE.has(part.type) && !empty) return held;
  }
}

/** A text in v2, an object since. @param {any} reason */
function reasonOf(reason) {
  return typeof reason === "string" ? reason : reason?.unified;
}

/** Numbers in v2, objects since. @param {any} usage @returns {import("./fallback.js").Counts | null} */
function countsOf({ inputTokens, outputTokens, cachedInputTokens } = /** @type {any} */ ({})) {
  const input_tokens = inputTokens?.total ?? inputTokens;
  const output_tokens = outputTokens?.total ?? outputTokens;
  if (!isCount(input_tokens) || !isCount(output_tokens)) return null;
  const cached = inputTokens?.cacheRead ?? cachedInputTokens;
  return { input_tokens, cached_tokens: isCount(cached) ? Math.min(cached, input_tokens) : 0, output_tokens };
}

/** What a provider package throws for settings that its models do not have. */
const UNSUPPORTED = new Set(["AI_UnsupportedFunctionalityError", "AI_InvalidArgumentError"]);

/**
 * What a provider package threw, or streamed as an error: a failure of this model, or the error itself where the request is
 * at fault. The caller's own abort never gets here.
 * @param {any} error
 */
function failureOf(error) {
  if (error instanceof Failure) return error;
  const message = wordsOf(error);
  const { statusCode: status, responseHeaders } = error ?? {};
  // With a 2xx it is the reply that is wrong.
  if (status >= 300) return asFailure(refusal(status, codeOf(error), message, responseHeaders?.["retry-after"]), error);
  if (error?.name === "AI_LoadAPIKeyError") return new Failure("no_key", message, { ofProvider: true, cause: error });
  // The SDK's name for a request of the wrong form, whoever it goes to.
  if (error?.name === "AI_InvalidPromptError") return error;
  if (UNSUPPORTED.has(error?.name)) return new Failure("unsupported", message, { ofRequest: true, cause: error });
  return new Failure(error?.name === "AI_APICallError" && status === undefined ? "network" : "bad_reply", message, { cause: error });
}

/** @param {any} error */
function wordsOf(error) {
  return String(error?.message ?? error).slice(0, 1000);
}

/** @param {Failure | null} failure @param {unknown} error */
function asFailure(failure, error) {
  return failure ? Object.assign(failure, { cause: error }) : error;
}

/** The provider's own code of an error, where its body has one. @param {any} error */
function codeOf({ data, responseBody }) {
  try {
    return (data ?? JSON.parse(responseBody))?.error?.code;
  } catch {
    return undefined;
  }
}
