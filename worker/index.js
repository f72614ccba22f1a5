/**
 * The gateway: an OpenAI-compatible API in which `model: "auto"` is routed.
 *
 * | route | does |
 * |---|---|
 * | `POST /v1/route` | one decision with its receipt; sends nothing to anyone |
 * | `POST /v1/chat/completions` | routes, then calls the chosen provider, plain or streaming |
 * | `POST /v1/responses` | the same in the words of OpenAI's Responses API |
 * | `POST /v1/messages` | the same in the words of Anthropic's API |
 * | `POST /v1/messages/count_tokens` | an estimate of the input tokens |
 * | `POST /v1/feedback` | how good an answer was |
 * | `GET /v1/models` | `auto` and the models that can be chosen |
 * | `GET /healthz` | whether it stands, and on which artifacts |
 * | `GET /metrics`, `GET /dashboard` | how it does, for Prometheus and for people; for the owner |
 * | `/admin/*` | catalog and policy as data, for the owner |
 */

import { addCors, checkOrigin, checkOwner, identify, list, notFound, preflight } from "./access.js";
import { ADMIN_ROUTES } from "./admin.js";
import { chat } from "./apis/chat.js";
import { messages } from "./apis/messages.js";
import { responses } from "./apis/responses.js";
import { complete } from "./complete.js";
import { configAge, isRoutable, policyOf, settings } from "./config.js";
import { dashboard } from "./dashboard.js";
import { errorResponse, HttpError, toHttpError } from "./errors.js";
import { ask } from "./ledger/ask.js";
import { Metrics, metrics } from "./metrics.js";
import { observe } from "./observe.js";
import { badField, chatRequest, isAuto, modelEntry, modelList, modelNotFound, readBody, readPolicy } from "./openai.js";
import { keysOf, permitted, resolve } from "./policy.js";
import { headerValue, receiptHeaders } from "../src/js/receipts.js";
import { openSession } from "./sessions.js";
import { traceOf } from "./trace.js";

export { Ledger } from "./ledger/object.js";

/**
 * What is known of a request before its body is read.
 * @typedef {object} Call
 * @property {import("./config.js").Context} ctx
 * @property {import("./config.js").Settings} settings one version of them, for the whole request
 * @property {import("./policy.js").Caller} caller
 * @property {{id: string, traceparent: string}} trace
 * @property {import("./observe.js").Summary & {streaming?: boolean}} summary filled in as things become known
 * @property {(more?: Partial<import("./observe.js").Summary>) => void} finish tells what became of the request, once
 */
/** @typedef {(request: Request, env: Record<string, any>, call: Call) => Response | Promise<Response>} Handler */

const DEFAULT_BODY_BYTES = 10 * 1024 * 1024;

/** The APIs that clients speak, which also word the errors of their paths. @type {Record<string, import("./complete.js").Api>} */
const APIS = { "/v1/chat/completions": chat, "/v1/responses": responses, "/v1/messages": messages };

/** @type {Record<string, Record<string, Handler>>} */
const ROUTES = {
  "/healthz": { GET: health },
  "/dashboard": { GET: dashboard },
  "/metrics": { GET: scrape },
  ...ADMIN_ROUTES,
  "/v1/models": { GET: allModels },
  "/v1/route": { POST: route },
  "/v1/feedback": { POST: feedback },
  "/v1/messages/count_tokens": { POST: countTokens },
  ...Object.fromEntries(Object.entries(APIS).map(([path, api]) => [path, { POST: completion(api) }])),
};

export default {
  /** @param {Request} request @param {Record<string, any>} env @param {import("./config.js").Context} ctx */
  async fetch(request, env, ctx) {
    const origins = list(env.CORS_ORIGINS);
    const call = await begin(request, env, ctx);
    const { settings: now, trace, summary } = call;
    let response;
    try {
      response = await answer(request, env, call, origins);
    } catch (error) {
      const failure = toHttpError(error);
      summary.error = failure.code;
      response = errorResponse(failure, apiOf(request).error);
    }
    summary.status = response.status;
    // A stream is finished when it ends.
    if (!summary.streaming) call.finish();
    const { headers } = response;
    headers.set("x-pennyroute-trace", trace.id);
    if (now.version.policy !== null) headers.set("x-pennyroute-policy", headerValue(now.version.policy));
    if (now.stale !== null) headers.set("x-pennyroute-warning", `config stale since ${now.stale}`);
    addCors(request, headers, origins);
    return response;
  },
};

/** The API of a path, or of one below it. @param {Request} request */
function apiOf(request) {
  const { pathname } = new URL(request.url);
  const path = Object.keys(APIS).find((path) => pathname === path || pathname.startsWith(`${path}/`));
  return path === undefined ? chat : APIS[path];
}

/**
 * @param {Request} request
 * @param {Record<string, any>} env
 * @param {import("./config.js").Context} ctx
 * @returns {Promise<Call>}
 */
async function begin(request, env, ctx) {
  const trace = traceOf(request);
  const now = await settings(env, ctx);
  const { pathname } = new URL(request.url);
  const summary = { trace: trace.id, api: Object.hasOwn(ROUTES, pathname) ? pathname : "other", stream: false, status: 0 };
  let told = false;
  const finish = (/** @type {Partial<import("./observe.js").Summary>} */ more = {}) => {
    if (told || !pathname.startsWith("/v1/")) return;
    told = true;
    const { streaming: _ours, ...whole } = /** @type {Call["summary"]} */ (summary);
    observe({ ...whole, ...more }, now.models);
  };
  return { ctx, settings: now, caller: { tenant: "default", key: null }, trace, summary, finish };
}

/**
 * @param {Request} request
 * @param {Record<string, any>} env
 * @param {Call} call
 * @param {string[]} origins
 */
async function answer(request, env, call, origins) {
  const { pathname } = new URL(request.url);
  const methods = Object.hasOwn(ROUTES, pathname) ? ROUTES[pathname] : pathname.startsWith("/v1/models/") ? { GET: oneModel } : undefined;
  if (!methods) throw notFound(pathname);
  checkOrigin(request, origins);
  if (request.method === "OPTIONS") return preflight(request, Object.keys(methods).join(", "));
  const handler = methods[request.method === "HEAD" ? "GET" : request.method];
  if (!handler) {
    const allow = [...Object.keys(methods), "OPTIONS"].join(", ");
    throw new HttpError(405, "method_not_allowed", `${pathname} answers ${allow}.`, { headers: { allow } });
  }
  if (pathname.startsWith("/v1/")) {
    call.caller = await identify(request, policyOf(call.settings));
    Object.assign(call.summary, call.caller);
  } else if (pathname.startsWith("/admin/")) await checkOwner(request, [env.ADMIN_KEY]);
  else if (pathname === "/metrics") await checkOwner(request, [env.ADMIN_KEY, env.METRICS_KEY]);
  return handler(request, env, call);
}

/** `open` warns an owner who has no keys. What is wrong with a document is told to the owner only. @type {Handler} */
function health(_request, env, { settings: { policy, models, providers, version, stale, errors, versions } }) {
  const broken = Object.keys(errors);
  return Response.json(
    {
      status: policy === null ? "unavailable" : broken.length > 0 || stale ? "stale" : "ok",
      open: policy !== null && keysOf(policy).length === 0,
      models: models.size,
      providers: [...providers.keys()],
      versions,
      config: { policy: version.policy, age_seconds: configAge(env) ?? null, stale, errors: broken },
    },
    { status: policy === null ? 503 : 200 },
  );
}

/**
 * `GET /metrics`, for Prometheus: what all isolates counted, as the ledgers have heard it, and this one
 * since it last spoke with them. Without ledgers, this isolate alone. @type {Handler}
 */
async function scrape(_request, env, { settings: { policy } }) {
  const all = new Metrics();
  all.merge(metrics.copy());
  const age = configAge(env);
  if (age !== undefined) all.set("pennyroute_config_age_seconds", {}, age);
  const tenants = env.LEDGER ? Object.keys(policy?.tenants ?? {}) : [];
  const told = await Promise.allSettled(tenants.map((tenant) => ask(env, tenant, "metrics")));
  told.forEach((answer, i) => {
    if (answer.status === "rejected") return;
    all.merge(answer.value.counted);
    for (const { name, unit, max, used, leased } of answer.value.limits) {
      const scale = unit === "nanodollars" ? 1e-9 : 1;
      all.set("pennyroute_limit_used", { tenant: tenants[i], limit: name }, (used + leased) * scale);
      all.set("pennyroute_limit_max", { tenant: tenants[i], limit: name }, max * scale);
    }
  });
  if (env.LEDGER) all.set("pennyroute_ledgers_unreachable", {}, told.filter(({ status }) => status === "rejected").length);
  return new Response(all.render(), { headers: { "content-type": "text/plain; version=0.0.4; charset=utf-8" } });
}

/** `GET /v1/models`: those that the caller may use. @type {Handler} */
function allModels(_request, _env, { settings: now, caller }) {
  return Response.json(modelList(permitted(policyOf(now), caller, now.models).filter(isRoutable)));
}

/** `GET /v1/models/ID`, with the id's slashes escaped or not. @type {Handler} */
function oneModel(request, _env, { settings: now }) {
  const escaped = new URL(request.url).pathname.slice("/v1/models/".length);
  let id;
  try {
    id = decodeURIComponent(escaped);
  } catch {
    throw modelNotFound(escaped);
  }
  if (id === "auto") return Response.json(modelEntry("auto", "pennyroute"));
  const found = now.models.get(id);
  if (!found) throw modelNotFound(id);
  return Response.json(modelEntry(found.id, found.provider, found.released));
}

/** `POST /v1/route`: the whole receipt, also when no model is left. @type {Handler} */
async function route(request, env, { settings: now, caller, summary }) {
  const { pennyroute, ...body } = await readBody(request, Number(env.MAX_BODY_BYTES ?? DEFAULT_BODY_BYTES));
  const { knobs, session: name, group } = readPolicy({ pennyroute }, request.headers);
  const { model } = body;
  if (typeof model === "string" && !isAuto(model) && !now.models.has(model)) throw modelNotFound(model);
  // A request for a decision alone may have its policy beside its text.
  const { quality, floor, cap_usd, allow, deny, private: secret, ...rest } = body;
  const beside = Object.entries({ quality, floor, cap_usd, allow, deny, private: secret }).filter(([, value]) => value !== undefined && value !== null);
  const asked = { knobs: { ...Object.fromEntries(beside), ...knobs }, group, model };
  const session = await openSession({ tenant: caller.tenant, key: caller.key ?? "", body, name, models: now.models });
  const decision = now.route({ warm: session.warm(), reuse: session.reuse(), ...rest, ...resolve(policyOf(now), caller, asked, now.models) });
  Object.assign(summary, { id: decision.id, asked: typeof model === "string" ? model : undefined, group, code: decision.code, chosen: decision.model });
  return Response.json(decision, { headers: receiptHeaders(decision) });
}

/**
 * `POST /v1/feedback`, `{"id", "correct"}`: how good the answer to a decision was, `true`, `false` or a grade from
 * 0 to 1. The ledger keeps it beside the quality that was expected, by model. @type {Handler}
 */
async function feedback(request, env, { caller }) {
  const { id, correct, ...unknown } = await readBody(request, Number(env.MAX_BODY_BYTES ?? DEFAULT_BODY_BYTES));
  const [name] = Object.keys(unknown);
  if (name !== undefined) throw badField(name, "is not known; known are id, correct");
  if (typeof id !== "string" || !/^[0-9a-f-]{36}$/.test(id)) throw badField("id", "is not the id of a decision, as x-pennyroute-id tells it");
  const grade = typeof correct === "boolean" ? Number(correct) : correct;
  if (typeof grade !== "number" || !(grade >= 0 && grade <= 1)) throw badField("correct", "is not true, false or a number from 0 to 1");
  if (!env.LEDGER) throw new HttpError(501, "no_ledger", "Feedback is kept by the ledger, and no Durable Object is bound as LEDGER.");
  const model = await ask(env, caller.tenant, "feedback", id, caller.key ?? "", grade).catch(() => {
    throw new HttpError(503, "ledger_unreachable", "The ledger cannot be reached; nothing was kept.");
  });
  if (model === null) throw new HttpError(404, "unknown_decision", `id: this key has no answer of decision ${id}.`, { param: "id" });
  return Response.json({ id, model, correct: grade });
}

/** A route that answers in one of the APIs that clients speak. @param {import("./complete.js").Api} api @returns {Handler} */
function completion(api) {
  return async (request, env, call) => {
    const body = await readBody(request, Number(env.MAX_BODY_BYTES ?? DEFAULT_BODY_BYTES));
    return complete(request, body, env, api, call);
  };
}

/** `POST /v1/messages/count_tokens`: estimated, since every model counts otherwise. @type {Handler} */
async function countTokens(request, env, { settings: now }) {
  const { model: _any, ...body } = messages.toChat(await readBody(request, Number(env.MAX_BODY_BYTES ?? DEFAULT_BODY_BYTES)));
  return Response.json({ input_tokens: now.estimate(chatRequest({ ...body, model: "auto" })).input_tokens });
}
