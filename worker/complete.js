/** One completion, whichever API it came through: decide, call, and fall back while nothing was sent to the client. */

import { policyOf } from "./config.js";
import { HttpError } from "./errors.js";
import { chatRequest, isAuto, modelNotFound, readPolicy } from "./openai.js";
import { resolve } from "./policy.js";
import { AttemptError, callProvider, upstreamBody } from "./providers.js";
import { estimateOf, receiptHeaders } from "./receipts.js";
import { remember, warmTokens } from "./sessions.js";
import { StreamError, streamOf } from "./sse.js";

/**
 * An API that clients speak, translated to and from OpenAI's chat completions.
 * @typedef {object} Api
 * @property {(body: Record<string, any>) => Record<string, any>} toChat the request as a chat request;
 *   throws HttpError 400 for what has no meaning there
 * @property {(completion: any, body: Record<string, any>) => any} reply the answer to the request `body`
 * @property {(chunks: AsyncIterable<any>, body: Record<string, any>) => AsyncGenerator<string>} frames
 *   a streamed answer, as whole server-sent events
 * @property {(error: HttpError) => any} error the body of an error answer
 * @property {(error: HttpError) => string} errorFrame the server-sent event that ends a failed stream
 */

/** @typedef {import("pennyroute").Decision} Decision */
/** @typedef {{model: string, failure: string, message: string, retryAfter: string | null}} Failed */

/**
 * @param {Request} request
 * @param {Record<string, any>} asked the body as the client wrote it
 * @param {Record<string, any>} env
 * @param {Api} api
 * @param {import("./index.js").Call} call
 */
export async function complete(request, asked, env, api, { settings, caller, trace, summary, finish }) {
  const began = Date.now();
  const { models, providers, canCall } = settings;
  const body = api.toChat(asked);
  const { knobs, session, group, dryRun } = readPolicy(body, request.headers);
  const routed = chatRequest(body);
  Object.assign(summary, { asked: routed.model, group, stream: Boolean(body.stream) });
  const narrowed = resolve(policyOf(settings), caller, { knobs, group, model: routed.model }, models);
  if (!isAuto(routed.model) && !models.has(/** @type {string} */ (routed.model))) throw modelNotFound(/** @type {string} */ (routed.model));
  const routing = Date.now();
  const decision = settings.route({ ...routed, ...narrowed, warm: warmTokens(session) });
  Object.assign(summary, { id: decision.id, code: decision.code, chosen: decision.model, route_ms: Date.now() - routing });
  if (dryRun) return Response.json(decision, { headers: receiptHeaders(decision) });
  if (decision.model === null) throw noCandidate(decision, isAuto(routed.model) ? undefined : routed.model);
  if (!canCall) throw new HttpError(503, "no_provider", "No provider of the catalog is configured; see PROVIDERS in wrangler.jsonc.");

  // A client that goes away, before or while it is answered, stops the provider.
  const client = new AbortController();
  request.signal.addEventListener("abort", () => client.abort());
  const limits = {
    signal: client.signal,
    firstByteMs: Number(env.FIRST_BYTE_MS ?? 60_000),
    replyMs: Number(env.REPLY_MS ?? 300_000),
    idleMs: Number(env.IDLE_MS ?? 60_000),
    headers: { traceparent: trace.traceparent },
  };
  // Streams tell their usage only when asked, and it is always needed here.
  const hideUsage = Boolean(body.stream) && !body.stream_options?.include_usage;
  const sent = hideUsage ? { ...body, stream_options: { ...body.stream_options, include_usage: true } } : body;

  /** @type {Failed[]} */
  const failed = [];
  summary.attempts = failed;
  let waited = 0;
  for (const candidate of candidates(decision, settings, Number(env.MAX_ATTEMPTS ?? 4), failed)) {
    const { model, provider } = candidate;
    const calling = Date.now();
    try {
      const answer = await callProvider(provider, upstreamBody(sent, model, provider), limits);
      const headers = receiptHeaders(decision, { model: model.id, failed });
      Object.assign(summary, { model: model.id, theirs_ms: Date.now() - calling, ours_ms: calling - began - waited });
      Object.assign(summary, { cost_usd: estimateOf(decision, model.id).cost, baseline_usd: decision.baseline?.cost_usd });
      const onUsage = (/** @type {any} */ usage) => {
        remember(session, model.id, usage);
        summary.input_tokens = usage?.prompt_tokens;
        summary.output_tokens = usage?.completion_tokens;
        summary.cached_tokens = usage?.prompt_tokens_details?.cached_tokens;
      };
      if ("reply" in answer) {
        onUsage(answer.reply.usage);
        return Response.json(api.reply({ ...answer.reply, model: model.id }, asked), { headers });
      }
      const chunks = served(answer.chunks, { model: model.id, hideUsage, onUsage });
      summary.streaming = true;
      const frames = told(api, api.frames(chunks, asked), model.id, { abort: () => client.abort(), finish });
      const gone = () => {
        client.abort();
        finish({ error: "client_closed_request" });
      };
      return new Response(streamOf(frames, gone), {
        headers: { ...headers, "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache" },
      });
    } catch (error) {
      if (client.signal.aborted) throw new HttpError(499, "client_closed_request", "The client went away.");
      if (error instanceof HttpError) Object.assign(error.headers, receiptHeaders(decision, { model: model.id, failed }));
      if (!(error instanceof AttemptError)) throw error;
      const { failure, message, retryAfter } = error;
      waited += Date.now() - calling;
      failed.push({ model: model.id, failure, message, retryAfter });
      candidate.failed(error);
    }
  }
  throw allFailed(decision, failed);
}

/**
 * A provider's chunks under the real model's name, their usage noted.
 * @param {AsyncGenerator<any>} chunks
 * @param {{model: string, hideUsage: boolean, onUsage: (usage: any) => void}} options
 */
async function* served(chunks, { model, hideUsage, onUsage }) {
  for await (const chunk of chunks) {
    if (chunk.usage) onUsage(chunk.usage);
    if (hideUsage && chunk.usage && !chunk.choices?.length) continue;
    yield { ...chunk, model };
  }
}

/**
 * Frames that end with an error frame where they would throw: after the first byte nothing can fall
 * back, and a silent cut would look like a whole answer.
 * @param {Api} api
 * @param {AsyncGenerator<string>} frames
 * @param {string} model
 * @param {{abort: () => void, finish: import("./index.js").Call["finish"]}} on
 */
async function* told(api, frames, model, { abort, finish }) {
  try {
    yield* frames;
    finish();
  } catch (error) {
    const { failure, message } = error instanceof StreamError ? error : { failure: "internal", message: "the gateway failed" };
    finish({ error: `stream_${failure}` });
    yield api.errorFrame(new HttpError(502, `stream_${failure}`, `${model}, while answering: ${message}`, { type: "server_error" }));
    abort();
  }
}

/**
 * The models to try in turn; one that was named in the request has no fallbacks. After a failure,
 * what would meet the same one is passed over: the same model at another effort, or every model of a
 * provider that refuses our key.
 * @param {Decision} decision
 * @param {import("./config.js").Settings} settings
 * @param {number} most attempts
 * @param {Failed[]} failed so far
 */
function* candidates(decision, { models, providers }, most, failed) {
  const dead = new Set();
  for (const id of [decision.model, ...decision.fallbacks]) {
    const model = models.get(/** @type {string} */ (id));
    const provider = model && providers.get(model.provider);
    if (failed.length >= most) return;
    if (!model || !provider || dead.has(provider.name) || dead.has(`${provider.name}/${model.base}`)) continue;
    yield {
      model,
      provider,
      failed: (/** @type {AttemptError} */ error) => dead.add(error.ofProvider ? provider.name : `${provider.name}/${model.base}`),
    };
  }
}

/**
 * @param {Decision} decision
 * @param {string | undefined} named model, beside which the others do not matter
 */
function noCandidate({ reason, excluded }, named) {
  const told = excluded.filter(({ model }) => named === undefined || model === named);
  const why = told.map(({ model, code }) => `${model} (${code.replaceAll("_", " ")})`).join(", ");
  return new HttpError(503, "no_candidate", `${reason} Excluded: ${why || "none"}.`, {
    // The same request would meet the same gates: OpenAI's clients need not retry it.
    headers: { "x-should-retry": "false" },
  });
}

/**
 * Every attempt, in order, so that nobody has to guess which provider to look at.
 * @param {Decision} decision
 * @param {Failed[]} failed
 */
function allFailed(decision, failed) {
  const told = failed.map(({ model, failure, message }) => `${model}: ${failure} (${message.replace(/\.$/, "")})`).join("; ");
  const every = (/** @type {string} */ failure) => failed.every((attempt) => attempt.failure === failure);
  const status = every("429") ? 429 : every("timeout") ? 504 : 502;
  const waits = failed.map(({ retryAfter }) => retryAfter).filter((wait) => wait !== null);
  // The first model to be free again is enough; a date instead of seconds is passed on as it is.
  const soonest = waits.every((wait) => /^\d+$/.test(wait)) ? String(Math.min(...waits.map(Number))) : waits[0];
  return new HttpError(status, "all_attempts_failed", `No model answered. ${told}.`, {
    headers: { ...receiptHeaders(decision, { model: null, failed }), ...(waits.length ? { "retry-after": soonest } : {}) },
  });
}
