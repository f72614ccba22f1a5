/** One completion, whichever API it came through: decide, reserve, call, and fall back while nothing was sent to the client. */

import { estimateOf, receiptBody, receiptHeaders } from "../src/js/receipts.js";
import { allFailed, candidates, noCandidate } from "./attempts.js";
import { policyOf } from "./config.js";
import { AttemptError, HttpError } from "./errors.js";
import { Health } from "./health.js";
import { callMs, writeExtra } from "./ledger/limits.js";
import { Meter } from "./meter.js";
import { chatRequest, isAuto, modelNotFound, readPolicy } from "./openai.js";
import { resolve } from "./policy.js";
import { callProvider, mostOutput, upstreamBody } from "./providers.js";
import { spentHeader } from "./receipts.js";
import { openSession } from "./sessions.js";
import { StreamError, streamOf } from "./sse.js";

/**
 * An API that clients speak, translated to and from OpenAI's chat completions.
 * @typedef {object} Api
 * @property {(body: Record<string, any>) => Record<string, any>} toChat the request as a chat request;
 *   throws HttpError 400 for what has no meaning there
 * @property {(completion: any, body: Record<string, any>) => any} reply the answer to the request `body`
 * @property {(chunks: AsyncIterable<any>, body: Record<string, any>) => AsyncGenerator<string>} frames
 *   a streamed answer, as whole server-sent events, one by one
 * @property {(error: HttpError) => any} error the body of an error answer
 * @property {(error: HttpError, sent: number) => string} errorFrame the server-sent event that ends a
 *   failed stream, after as many `sent`
 */

/** @typedef {import("pennyroute").Decision} Decision */
/** @typedef {import("./index.js").Call} Call */
/** @typedef {import("./attempts.js").Failed} Failed */

/** Beyond the longest that a stream may take, for its error to be read. */
const GRACE_MS = 5_000;

/** What this isolate knows of its providers. */
const health = new Health();

/**
 * @param {Request} request
 * @param {Record<string, any>} asked the body as the client wrote it
 * @param {Record<string, any>} env
 * @param {Api} api
 * @param {Call} call
 */
export async function complete(request, asked, env, api, { ctx, settings, caller, trace, summary, finish }) {
  const began = Date.now();
  const { models } = settings;
  const body = api.toChat(asked);
  const { knobs, session: name, group, dryRun, receipt } = readPolicy(body, request.headers);
  const routed = chatRequest(body);
  const auto = isAuto(routed.model);
  Object.assign(summary, { asked: routed.model, stream: Boolean(body.stream) });
  const policy = policyOf(settings);
  const narrowed = resolve(policy, caller, { knobs, group, model: routed.model }, models);
  summary.group = group;
  if (!auto && !models.has(/** @type {string} */ (routed.model))) throw modelNotFound(/** @type {string} */ (routed.model));

  const meter = new Meter(policy, caller, models, { env, ctx });
  const targeted = narrowed.quality !== undefined || (auto && routed.model !== "auto");
  // A model that was asked for by name is tried whatever its health.
  const unhealthy = auto ? health.unhealthy(models.values(), began) : [];
  const session = await openSession({ tenant: caller.tenant, key: caller.key ?? "", body, name, models }, ctx);
  const routing = Date.now();
  const decision = settings.route({ ...routed, ...narrowed, ...meter.conditions(targeted), unhealthy, warm: session.warm(), reuse: session.reuse() });
  Object.assign(summary, { id: decision.id, code: decision.code, chosen: decision.model, route_ms: Date.now() - routing });
  if (dryRun) return Response.json(decision, { headers: receiptHeaders(decision) });
  if (decision.model === null) throw noCandidate(decision, auto ? undefined : routed.model);
  if (!settings.canCall) throw new HttpError(503, "no_provider", "No provider of the catalog is configured; see PROVIDERS in wrangler.jsonc.");
  if (auto && decision.quality && decision.cost_usd) {
    meter.decided({ target: targeted ? decision.target.quality : null, quality: decision.quality.estimate, cost_usd: decision.cost_usd.estimate });
  }

  // A client that goes away, before or while it is answered, stops the provider.
  const client = new AbortController();
  let end = finish;
  const gone = () => {
    end({ status: 499, error: "client_closed_request" });
    client.abort();
  };
  request.signal.addEventListener("abort", gone);
  const ends = began + callMs(env);
  const idleMs = Number(env.IDLE_MS ?? 60_000);
  const deadline = Math.min(began + Number(env.DEADLINE_MS ?? 300_000), ends);
  // Streams tell their usage only when asked, and it is always needed here.
  const hideUsage = Boolean(body.stream) && !body.stream_options?.include_usage;
  const sent = hideUsage ? { ...body, stream_options: { ...body.stream_options, include_usage: true } } : body;

  /** @type {Failed[]} */
  const failed = [];
  summary.attempts = failed;
  let waited = 0;
  let n = 0;
  for (const candidate of candidates(decision, settings, Number(env.MAX_ATTEMPTS ?? 4), failed)) {
    const { model, provider } = candidate;
    const calling = Date.now();
    if (calling >= deadline) break;
    const id = `${decision.id}.${++n}`;
    /** @type {import("./meter.js").Reserved | undefined} */
    let reserved;
    let probe = false;
    let called = false;
    try {
      const begun = auto ? health.begin(model, calling) : "call";
      probe = begun === "probe";
      if (begun === "refused") throw new AttemptError("resting", "it failed lately, and one call at a time tries it again", { ofGateway: true });
      const most = mostOutput(sent, model, meter.mostOutput);
      const upstream = upstreamBody(sent, model, provider, most);
      reserved = await meter.reserve(id, model, upstream, most, estimateOf(decision, model.id).quality);
      const within = (/** @type {unknown} */ ms, /** @type {number} */ fallback) => Math.min(Number(ms ?? fallback), deadline - Date.now());
      called = !client.signal.aborted;
      const answer = await callProvider(provider, upstream, {
        signal: client.signal,
        firstByteMs: within(env.FIRST_BYTE_MS, 60_000),
        replyMs: within(env.REPLY_MS, 180_000),
        idleMs,
        headers: { traceparent: trace.traceparent, "x-client-request-id": id },
      });
      const now = Date.now();
      health.heed(model, answer.headers, now);
      // It answers: others need not wait until the stream has ended.
      if (probe) health.ended(model);
      Object.assign(summary, { model: model.id, theirs_ms: now - calling, ours_ms: calling - began - waited });
      Object.assign(summary, { cost_usd: estimateOf(decision, model.id).cost, baseline_usd: decision.baseline?.cost_usd });
      /** @type {any} */
      let usage;
      let whole = "reply" in answer;
      /** What it cost, if that is known; told to the ledger at the first call. */
      const settle = () => {
        // Some servers count as they go: what they told before a cut is not all.
        const tokens = whole ? tokensOf(usage) : null;
        summary.unsettled = tokens === null;
        if (tokens === null) return void reserved?.lose();
        session.answered(model.id, usage);
        const { written_tokens, ...counted } = tokens;
        // What was written to a cache, at the rate of the whole input and the share that writing adds.
        const input = () => settings.cost(model.id, { ...counted, cached_tokens: 0, output_tokens: 0 });
        const write = written_tokens > 0 ? (input() * written_tokens * writeExtra(JSON.stringify(upstream))) / counted.input_tokens : 0;
        const usd = settings.cost(model.id, counted) + write;
        Object.assign(summary, counted, { cost_usd: usd });
        reserved?.settle(tokens, usd);
        return usd;
      };
      const headers = receiptHeaders(decision, { model: model.id, failed });
      const shown = (/** @type {number | undefined} */ spent) => (receipt ? { pennyroute: receiptBody(decision, { model: model.id, failed, spent }) } : {});
      if ("reply" in answer) {
        usage = answer.reply.usage;
        health.succeeded(model, calling);
        const spent = settle();
        const reply = { ...answer.reply, model: model.id, ...shown(spent) };
        return Response.json(api.reply(reply, asked), { headers: { ...headers, ...spentHeader(spent) } });
      }
      const receiptOf = receipt ? () => shown(settle()) : undefined;
      /** Choices that have ended. @type {Set<number>} */
      const done = new Set();
      const onChunk = (/** @type {any} */ chunk) => {
        if (chunk.usage) usage = chunk.usage;
        for (const { index, finish_reason } of chunk.choices ?? []) if (finish_reason) done.add(index);
        whole = done.size >= (body.n ?? 1);
      };
      const chunks = served(answer.chunks, { model: model.id, hideUsage, ends, onChunk, receiptOf });
      summary.streaming = true;
      /** @type {() => void} */
      let over = () => {};
      // When the client goes away, the runtime ends what the request does, unless this is waited for.
      ctx.waitUntil(new Promise((resolve) => (over = () => resolve(undefined))));
      // A client that reads no more, or a provider that sends comments only, would keep the call open for ever.
      let expired = false;
      const expiry = setTimeout(() => {
        expired = true;
        end({ error: "stream_timeout" });
        client.abort();
      }, ends + GRACE_MS - now);
      end = (more) => {
        clearTimeout(expiry);
        try {
          settle();
        } finally {
          finish(more);
          over();
        }
      };
      const ended = () => {
        health.succeeded(model, calling);
        end();
      };
      const failure = (/** @type {string} */ name) => health.failed(model, { failure: name, ofProvider: false, retryAfter: null }, Date.now());
      const broken = brokenOff(api, model.id, { left: () => client.signal.aborted && !expired, abort: () => client.abort(), end, failure });
      return new Response(streamOf(api.frames(chunks, asked), { idleMs, end: ended, failed: broken, gone }), {
        headers: { ...headers, "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache" },
      });
    } catch (error) {
      const known = error instanceof AttemptError || error instanceof HttpError;
      // What was asked of a provider and never heard of again may have been done, and charged.
      const lost = client.signal.aborted || !known || (error instanceof AttemptError && error.lost);
      if (called && lost) reserved?.lose();
      else reserved?.cancel();
      // A 403 may be about this prompt, and a request's own fault is none of the provider's.
      const ofProvider = error instanceof AttemptError && !error.ofGateway && error.failure !== "403" && !client.signal.aborted;
      if (ofProvider) health.failed(model, error, Date.now());
      if (probe) health.ended(model);
      if (client.signal.aborted) throw new HttpError(499, "client_closed_request", "The client went away.");
      if (error instanceof HttpError) Object.assign(error.headers, receiptHeaders(decision, { model: model.id, failed }));
      if (!(error instanceof AttemptError)) throw error;
      const { failure, message, retryAfter } = error;
      waited += Date.now() - calling;
      failed.push({ model: model.id, failure, message, retryAfter });
      // Without the ledger there is no permission for any other model either.
      if (failure === "ledger_unreachable") break;
      candidate.failed(error);
    }
  }
  throw allFailed(decision, failed);
}

/** What a provider counted, where it did. @param {any} usage @returns {import("./meter.js").Tokens & {written_tokens: number} | null} */
function tokensOf(usage) {
  const count = (/** @type {unknown} */ n) => (Number.isSafeInteger(n) && /** @type {number} */ (n) >= 0 ? /** @type {number} */ (n) : null);
  const input_tokens = count(usage?.prompt_tokens);
  const output_tokens = count(usage?.completion_tokens);
  if (input_tokens === null || output_tokens === null) return null;
  const part = (/** @type {unknown} */ n) => Math.min(input_tokens, count(n) ?? 0);
  const { cached_tokens, cache_creation_tokens } = usage.prompt_tokens_details ?? {};
  return { input_tokens, cached_tokens: part(cached_tokens), output_tokens, written_tokens: part(cache_creation_tokens) };
}

/**
 * A provider's chunks under the real model's name, their usage noted; the receipt, where it is asked
 * for, in a last one.
 * @param {AsyncGenerator<any>} chunks
 * @param {{model: string, hideUsage: boolean, ends: number, onChunk: (chunk: any) => void, receiptOf?: () => object}} options
 */
async function* served(chunks, { model, hideUsage, ends, onChunk, receiptOf }) {
  let last;
  for await (const chunk of chunks) {
    if (Date.now() > ends) throw new StreamError("timeout", "the answer takes longer than any may");
    onChunk(chunk);
    last = chunk;
    if (hideUsage && chunk.usage && !chunk.choices?.length) continue;
    yield { ...chunk, model };
  }
  if (receiptOf) yield { id: last?.id, object: "chat.completion.chunk", created: last?.created, model, choices: [], ...receiptOf() };
}

/**
 * What a broken stream ends with: after the first byte nothing can fall back, and a silent cut would
 * look like a whole answer.
 * @param {Api} api
 * @param {string} model
 * @param {{left: () => boolean, abort: () => void, end: Call["finish"], failure: (name: string) => void}} on `left`: the client did
 * @returns {(error: unknown, sent: number) => string | undefined} the frame, where anybody is there to be told
 */
function brokenOff(api, model, { left, abort, end, failure: note }) {
  return (thrown, sent) => {
    if (left()) return;
    const error = /** @type {any} */ (thrown)?.name === "AbortError" ? new StreamError("timeout", "the answer takes longer than any may") : thrown;
    const { failure, message } = error instanceof StreamError ? error : { failure: "internal", message: "the gateway failed" };
    if (error instanceof StreamError) note(failure);
    else console.error("pennyroute: unexpected error", error);
    end({ error: `stream_${failure}` });
    abort();
    return api.errorFrame(new HttpError(502, `stream_${failure}`, `${model}, while answering: ${message}`, { type: "server_error" }), sent);
  };
}
