/**
 * The owner's routes: catalog and policy, read and replaced, and how things stand. All of them need the
 * secret `ADMIN_KEY`.
 */

import { adopt, configAge, readCatalog, readPolicyText, settings, shipped } from "./config.js";
import { HttpError } from "./errors.js";
import { ask } from "./ledger/ask.js";
import { readJson } from "./openai.js";
import { keysOf, policyWarnings } from "./policy.js";

/** @typedef {import("./config.js").Settings} Settings */
/** @typedef {(request: Request, env: Record<string, any>, call: {ctx: import("./config.js").Context}) => Promise<Response>} Handler */

const MOST_BYTES = 10 * 1024 * 1024;

/** @type {Record<string, Record<string, Handler>>} */
export const ADMIN_ROUTES = {
  "/admin/catalog": { GET: show("catalog"), PUT: replace("catalog") },
  "/admin/policy": { GET: show("policy"), PUT: replace("policy") },
  "/admin/status": { GET: status },
  "/admin/ledger": { GET: ledger },
  "/admin/entries": { GET: entries },
};

/**
 * The document that KV holds now, else the one that comes with the deployment.
 * @param {"catalog" | "policy"} name
 * @returns {Handler}
 */
function show(name) {
  return async (_request, env) => {
    const text = await inKv(env, name);
    const body = text ?? JSON.stringify(shipped[name], null, 2);
    return new Response(body, {
      headers: { "content-type": "application/json", etag: etag(versionOf(body)), "x-pennyroute-source": text === null ? "deployment" : "kv" },
    });
  };
}

/**
 * Validates a document and writes it to KV. With `If-Match: "VERSION"` only over that version; KV has no
 * transactions, so this guards against a mistake rather than against a race.
 * @param {"catalog" | "policy"} name
 * @returns {Handler}
 */
function replace(name) {
  return async (request, env, { ctx }) => {
    if (!env.CONFIG) {
      throw new HttpError(501, "no_kv", `There is nowhere to keep a ${name}: no KV namespace is bound as CONFIG (see wrangler.jsonc).`);
    }
    const { text, json } = await readJson(request, MOST_BYTES);
    const match = request.headers.get("if-match");
    const present = versionOf((await inKv(env, name)) ?? JSON.stringify(shipped[name]));
    if (match !== null && match !== "*" && match !== etag(present)) {
      throw new HttpError(412, "version_conflict", `The ${name} in KV is version ${JSON.stringify(present)}, not ${match}.`);
    }
    const value = name === "catalog" ? catalogFrom(json) : readPolicyText(text, env);
    await kv(() => env.CONFIG.put(name, text));
    adopt(name, text, value);
    const after = await settings(env, ctx);
    return Response.json({ version: value.version, replaced: present, warnings: warnings(after, env) }, { headers: { etag: etag(value.version) } });
  };
}

/** @param {Record<string, any>} env @param {"catalog" | "policy"} name @returns {Promise<string | null>} */
async function inKv({ CONFIG }, name) {
  return CONFIG ? kv(() => CONFIG.get(name, "text")) : null;
}

/** @template T @param {() => Promise<T>} call @returns {Promise<T>} */
async function kv(call) {
  try {
    return await call();
  } catch (error) {
    throw new HttpError(503, "kv_unavailable", `KV failed: ${/** @type {Error} */ (error).message}`);
  }
}

/** @param {unknown} json */
function catalogFrom(json) {
  try {
    return readCatalog(json);
  } catch (error) {
    const { code = "bad_catalog", message } = /** @type {import("pennyroute").PennyrouteError} */ (error);
    const [, param = null] = /^catalog: ([\w.[\]]+): /.exec(message) ?? [];
    throw new HttpError(400, code, message, { param });
  }
}

/** How this isolate stands. @type {Handler} */
async function status(_request, env, { ctx }) {
  const now = await settings(env, ctx);
  return Response.json({
    version: now.version,
    stale: now.stale,
    age_seconds: configAge(env) ?? null,
    errors: now.errors,
    warnings: warnings(now, env),
    bindings: { CONFIG: Boolean(env.CONFIG), LEDGER: Boolean(env.LEDGER) },
    providers: [...now.providers.keys()],
    models: now.models.size,
    tenants: Object.fromEntries(
      Object.entries(now.policy?.tenants ?? {}).map(([name, { budget_usd = {} }]) => [
        name,
        { budget_usd, keys: keysOf(/** @type {import("./policy.js").Policy} */ (now.policy)).filter((key) => key.tenant === name).map((key) => key.name) },
      ]),
    ),
  });
}

/** `?tenant=NAME`: what is used, leased and left of its limits, and the sums of its entries. @type {Handler} */
async function ledger(request, env, { ctx }) {
  return Response.json(await ask(env, await tenantOf(request, env, ctx), "report"));
}

/** `?tenant=NAME&after=N`: calls in the order in which they were drawn, some thousands at a time. @type {Handler} */
async function entries(request, env, { ctx }) {
  const after = Number(new URL(request.url).searchParams.get("after") ?? 0);
  if (!Number.isSafeInteger(after)) throw new HttpError(400, "bad_request", "after: is not the number of an entry.", { param: "after" });
  return Response.json({ entries: await ask(env, await tenantOf(request, env, ctx), "entries", after) });
}

/** @param {Request} request @param {Record<string, any>} env @param {import("./config.js").Context} ctx */
async function tenantOf(request, env, ctx) {
  if (!env.LEDGER) throw new HttpError(501, "no_ledger", "No Durable Object is bound as LEDGER (see wrangler.jsonc).");
  const tenant = new URL(request.url).searchParams.get("tenant") ?? "default";
  const { policy } = await settings(env, ctx);
  if (!Object.hasOwn(policy?.tenants ?? {}, tenant)) throw new HttpError(404, "unknown_tenant", `tenant: ${JSON.stringify(tenant)} is not in the policy.`, { param: "tenant" });
  return tenant;
}

/** @param {Settings} settings @param {Record<string, any>} env */
function warnings({ policy, models }, env) {
  return policy ? policyWarnings(policy, { ledger: Boolean(env.LEDGER), models }) : [];
}

/** @param {string} text */
function versionOf(text) {
  try {
    return JSON.parse(text)?.version ?? null;
  } catch {
    return null;
  }
}

/** @param {string | null} version */
function etag(version) {
  return JSON.stringify(version);
}
