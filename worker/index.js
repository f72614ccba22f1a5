/**
 * The gateway: an OpenAI-compatible API in which `model: "auto"` is routed.
 *
 * | route | does |
 * |---|---|
 * | `POST /v1/route` | one decision with its receipt; sends nothing to anyone |
 * | `POST /v1/chat/completions` | routes, then calls the chosen provider, plain or streaming |
 * | `GET /v1/models` | `auto` and the models that can be chosen |
 * | `GET /healthz` | whether it stands, and on which artifacts |
 */

import { addCors, checkClient, checkOrigin, clientKey, list, preflight } from "./access.js";
import { chat } from "./apis/chat.js";
import { complete } from "./complete.js";
import { errorResponse, HttpError, toHttpError } from "./errors.js";
import { isAuto, modelEntry, modelList, modelNotFound, readBody, readPolicy } from "./openai.js";
import { receiptHeaders } from "./receipts.js";
import { isRoutable, models, providers, router } from "./router.js";
import { openSession } from "./sessions.js";

/** @typedef {{waitUntil: (work: Promise<unknown>) => void}} ExecutionContext */
/** @typedef {(request: Request, env: Record<string, any>, ctx: ExecutionContext) => Response | Promise<Response>} Handler */

const DEFAULT_BODY_BYTES = 10 * 1024 * 1024;

/** @type {Record<string, Record<string, Handler>>} */
const ROUTES = {
  "/healthz": { GET: health },
  "/v1/models": { GET: () => Response.json(modelList([...models.values()].filter(isRoutable))) },
  "/v1/route": { POST: route },
  "/v1/chat/completions": { POST: completion(chat) },
};

export default {
  /** @param {Request} request @param {Record<string, any>} env @param {ExecutionContext} ctx */
  async fetch(request, env, ctx) {
    const origins = list(env.CORS_ORIGINS);
    let response;
    try {
      response = await answer(request, env, ctx, origins);
    } catch (error) {
      response = errorResponse(toHttpError(error));
    }
    addCors(request, response.headers, origins);
    return response;
  },
};

/**
 * @param {Request} request
 * @param {Record<string, any>} env
 * @param {ExecutionContext} ctx
 * @param {string[]} origins
 */
async function answer(request, env, ctx, origins) {
  const { pathname } = new URL(request.url);
  const methods = ROUTES[pathname] ?? (pathname.startsWith("/v1/models/") ? { GET: model } : undefined);
  if (!methods) throw new HttpError(404, "not_found", `There is no ${pathname} here.`);
  checkOrigin(request, origins);
  if (request.method === "OPTIONS") return preflight(request, Object.keys(methods).join(", "));
  const handler = methods[request.method === "HEAD" ? "GET" : request.method];
  if (!handler) {
    const allow = [...Object.keys(methods), "OPTIONS"].join(", ");
    throw new HttpError(405, "method_not_allowed", `${pathname} answers ${allow}.`, { headers: { allow } });
  }
  if (pathname !== "/healthz") await checkClient(request, list(env.CLIENT_KEYS));
  return handler(request, env, ctx);
}

/** `open` warns an owner who forgot CLIENT_KEYS. @type {Handler} */
function health(_request, env) {
  const open = list(env.CLIENT_KEYS).length === 0;
  return Response.json({ status: "ok", open, models: models.size, providers: [...providers.keys()], versions: router.versions });
}

/** `GET /v1/models/ID`, with the id's slashes escaped or not. @param {Request} request */
function model(request) {
  const escaped = new URL(request.url).pathname.slice("/v1/models/".length);
  let id;
  try {
    id = decodeURIComponent(escaped);
  } catch {
    throw modelNotFound(escaped);
  }
  if (id === "auto") return Response.json(modelEntry("auto", "pennyroute"));
  const found = models.get(id);
  if (!found) throw modelNotFound(id);
  return Response.json(modelEntry(found.id, found.provider, found.released));
}

/** `POST /v1/route`: the whole receipt, also when no model is left. @type {Handler} */
async function route(request, env) {
  const { pennyroute, ...body } = await readBody(request, Number(env.MAX_BODY_BYTES ?? DEFAULT_BODY_BYTES));
  const { knobs, session: name } = readPolicy({ pennyroute }, request.headers);
  if (typeof body.model === "string" && !isAuto(body.model) && !models.has(body.model)) throw modelNotFound(body.model);
  const session = await openSession({ key: clientKey(request), body, name, models });
  const decision = router.route({ warm: session.warm(), reuse: session.reuse(), ...body, ...knobs });
  return Response.json(decision, { headers: receiptHeaders(decision) });
}

/** A route that answers in one of the APIs that clients speak. @param {import("./complete.js").Api} api @returns {Handler} */
function completion(api) {
  return async (request, env, ctx) => {
    const body = await readBody(request, Number(env.MAX_BODY_BYTES ?? DEFAULT_BODY_BYTES));
    return complete(request, body, env, api, ctx);
  };
}
