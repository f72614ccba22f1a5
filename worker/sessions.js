/**
 * What is warm: after a turn, a provider keeps the request in its prompt cache for some minutes, and
 * the same beginning costs a fraction when it comes again. Telling the router makes staying there
 * cheaper by what it is worth, so that a conversation moves only where moving pays.
 *
 * Providers cache by prefix, and so do we: every beginning of a request (tools, system prompt and the
 * messages up to some point) has a fingerprint, under which stands where it was last read, when, and
 * how many tokens it was there. An edited conversation is thereby as warm as what it has in common
 * with the old one, and a new one as warm as the system prompt that it shares.
 *
 * A call is also worth something to the next one, which finds warm what this one has read. How often
 * there is a next one in time is counted, by client, so that single calls pay for no conversation.
 *
 * Fingerprints are chained SHA-256, salted with tenant and key, so that no client learns what another
 * one asked. No text is kept. The isolate's memory comes first; isolates of one data center share
 * conversations through the Cache API. What is lost or late is taken for cold: that costs money, but
 * is never wrong.
 */

import { hex } from "./hex.js";

/** @typedef {{provider: string, base: string}} Cached a model of the catalog; its efforts share a cache */
/** @typedef {{at: number, warm: Record<string, {tokens: number, at: number}>}} Mark when it was last sent; by name of the cache */

const MINUTE = 60_000;

/**
 * How long a provider keeps what is not used, the shortest prefix that it keeps, and whether it keeps
 * only what the request marks (its usage then tells how much it was). Where a provider states a range,
 * the worse end, usage aside. As documented in November 2026:
 *
 * | provider | source |
 * |---|---|
 * | anthropic | platform.claude.com/docs/en/build-with-claude/prompt-caching: 5 minutes from the last use; 512 to 4,096 tokens by model |
 * | openai | developers.openai.com/api/docs/guides/prompt-caching: 5 to 10 minutes; 1,024 tokens |
 * | google | ai.google.dev/gemini-api/docs/caching: implicit, no time stated (3 to 5 minutes seen); 1,024 to 4,096 tokens by model |
 * | deepseek | api-docs.deepseek.com/guides/kv_cache: on disk, hours to days, whole requests |
 * | groq | console.groq.com/docs/prompt-caching: 2 hours; up to 1,024 tokens by model |
 * | xai, others | docs.x.ai: "can be evicted at any time"; others state nothing |
 *
 * @type {Record<string, {keptMs: number, least: number, marked?: boolean}>}
 */
const CACHES = {
  anthropic: { keptMs: 5 * MINUTE, least: 1024, marked: true },
  google: { keptMs: 3 * MINUTE, least: 4096 },
  deepseek: { keptMs: 120 * MINUTE, least: 1024 },
  groq: { keptMs: 120 * MINUTE, least: 1024 },
};
const OTHERS = { keptMs: 5 * MINUTE, least: 1024 };
const LONGEST_MS = Math.max(...Object.values(CACHES).map(({ keptMs }) => keptMs));

/** Hardly any text has more tokens than characters, so that shorter beginnings are left out. */
const LEAST_CHARS = 1024;
/** In memory, about 200 bytes each. */
const MOST_MARKS = 20_000;
/** Latest beginnings of one conversation that are kept, and of these the ones that are shared. */
const MOST_PER_REQUEST = 64;
/** Messages of a request that is followed. */
const MOST_MESSAGES = 2_000;
const MOST_SHARED = 8;

/** A provider may have many machines, and the next turn may want another model. */
const FOUND_AGAIN = 0.8;
/** Requests without a next one that a new client is taken to have sent; how many are remembered. */
const DOUBTS = 5;
const MOST_COUNTED = 500;
const MOST_CLIENTS = 1000;

/** By fingerprint, longest unused first. @type {Map<string, Mark>} */
const marks = new Map();
/** Requests, and those that had a next one in time: first turns, and later ones. @type {Map<string, {sent: number, followed: number}[]>} */
const clients = new Map();

/**
 * The conversation of a request.
 * @param {{tenant?: string, key?: string, body: Record<string, any>, name?: string, models: Map<string, Cached>}} request
 *   `name` as the client gave it (`session`); without one, the beginning up to the first user message
 *   names the conversation. `models` of the catalog, by id
 * @param {{waitUntil: (work: Promise<unknown>) => void}} [ctx] keeps the isolate until all is shared
 */
export async function openSession({ tenant = "", key = "", body, name, models }, ctx) {
  const salt = await fingerprint("", JSON.stringify([tenant, key]));
  // Fingerprints cost time; a conversation of so many turns is none.
  const messages = Array.isArray(body.messages) && body.messages.length <= MOST_MESSAGES ? body.messages : [];
  const { prefixes, marked } = await fingerprints(salt, body, messages);
  const { size } = prefixes[prefixes.length - 1];
  const kept = prefixes.filter((prefix) => prefix.size >= LEAST_CHARS).slice(-MOST_PER_REQUEST);
  const firstUser = messages.findIndex((message) => message?.role === "user");
  const id = name === undefined ? prefixes[firstUser + 1].fingerprint : await fingerprint(salt, name);

  // What the last answer of this conversation was given to. If memory does not know it, another
  // isolate may have given it.
  const before = messages.findLastIndex((message) => message?.role === "assistant");
  if (before >= 0 && kept.length > 0 && !marks.has(prefixes[before].fingerprint)) await readShared(id);

  const turn = messages.filter((message) => message?.role === "assistant").length;
  let answered = false;
  return {
    /** Names the conversation, and tells nothing of it. */
    id,

    /**
     * Input tokens that are warm, by model id, for `route`.
     * @param {number} [now] ms
     * @returns {Record<string, number>}
     */
    warm(now = Date.now()) {
      /** @type {Map<string, number>} */
      const found = new Map();
      for (const prefix of kept.toReversed()) {
        for (const [cache, { tokens, at }] of Object.entries(marks.get(prefix.fingerprint)?.warm ?? {})) {
          const { keptMs, least } = cacheOf(cache);
          if (now - at < keptMs && tokens >= least && !found.has(cache)) found.set(cache, tokens);
        }
      }
      /** @type {Record<string, number>} */
      const warm = {};
      if (found.size === 0) return warm;
      for (const [modelId, model] of models) {
        const tokens = found.get(nameOf(model));
        if (tokens !== undefined) warm[modelId] = tokens;
      }
      return warm;
    },

    /**
     * Share of this request that the next one is expected to find warm, by model id, for `route`.
     * @returns {Record<string, number>}
     */
    reuse() {
      const counted = clients.get(salt)?.[Math.min(turn, 1)];
      /** @type {Record<string, number>} */
      const reuse = {};
      if (!counted || counted.followed === 0) return reuse;
      const share = FOUND_AGAIN * Math.min(1, counted.followed / (counted.sent + DOUBTS));
      for (const [modelId, model] of models) {
        const cache = cacheOf(nameOf(model));
        // About four characters make a token.
        if ((marked || !cache.marked) && size / 4 >= cache.least) reuse[modelId] = share;
      }
      return reuse;
    },

    /**
     * Notes who answered; once, since some streams repeat their usage in every chunk.
     * @param {string} modelId
     * @param {any} usage as the provider counted it
     * @param {number} [now] ms
     */
    answered(modelId, usage, now = Date.now()) {
      const input = usage?.prompt_tokens;
      const model = models.get(modelId);
      if (answered || !model || !Number.isSafeInteger(input) || input <= 0) return;
      answered = true;
      if (kept.length === 0) return;
      count(salt, turn, turn > 0 && now - (marks.get(prefixes[before].fingerprint)?.at ?? 0) < OTHERS.keptMs);
      const cache = nameOf(model);
      const { cached_tokens = 0, cache_creation_tokens = 0 } = usage.prompt_tokens_details ?? {};
      const most = cacheOf(cache).marked ? cached_tokens + cache_creation_tokens : input;
      // The provider counts the whole request; a part of it is taken to be as dense as the whole.
      for (const prefix of kept) {
        const tokens = Math.min(most, Math.floor((input * prefix.size) / size));
        merge(prefix.fingerprint, { at: now, warm: tokens > 0 ? { [cache]: { tokens, at: now } } : {} });
      }
      ctx?.waitUntil(writeShared(id, kept.slice(-MOST_SHARED)));
    },
  };
}

/** @param {Cached} model */
function nameOf({ provider, base }) {
  return `${provider} ${base}`;
}

/** @param {string} cache */
function cacheOf(cache) {
  const provider = cache.slice(0, cache.indexOf(" "));
  return Object.hasOwn(CACHES, provider) ? CACHES[provider] : OTHERS;
}

/**
 * Every beginning of a request: what stands before the messages, then up to each message. Tools come
 * before the system prompt wherever they are sent, and so does a schema to answer in. Markers of
 * caching are left out: they move with every turn, and the cached text is the same.
 * @param {string} salt
 * @param {Record<string, any>} body
 * @param {any[]} messages
 */
async function fingerprints(salt, body, messages) {
  const prefixes = [];
  let last = salt;
  let size = 0;
  let marked = body.cache_control !== undefined;
  for (const part of [[body.tools, body.response_format], ...messages]) {
    const text = textOf(part, () => void (marked = true));
    size += text.length;
    last = await fingerprint(last, text);
    prefixes.push({ fingerprint: last, size });
  }
  return { prefixes, marked };
}

/** @param {any} part @param {() => void} onMarker */
function textOf(part, onMarker) {
  try {
    return JSON.stringify(part, (name, value) => (name === "cache_control" ? onMarker() : value)) ?? "";
  } catch {
    // Nested too deep for any message; the router says so.
    return "";
  }
}

/** @param {string} before @param {string} text */
async function fingerprint(before, text) {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(`${before}\n${text}`));
  return hex(new Uint8Array(digest, 0, 16));
}

/** Takes what is newer into memory, and lets go of what was not used for longest. @param {string} fingerprint @param {Mark} mark */
function merge(fingerprint, { at, warm }) {
  const known = marks.get(fingerprint) ?? { at, warm: {} };
  known.at = Math.max(known.at, at);
  for (const [cache, found] of Object.entries(warm)) {
    if (!Object.hasOwn(known.warm, cache) || known.warm[cache].at <= found.at) known.warm[cache] = found;
  }
  renew(marks, fingerprint, known, MOST_MARKS);
}

/**
 * Counts a request, and the one before it as followed where this one came in time.
 * @param {string} salt
 * @param {number} turn
 * @param {boolean} inTime
 */
function count(salt, turn, inTime) {
  const counts = clients.get(salt) ?? [0, 1].map(() => ({ sent: 0, followed: 0 }));
  counts[Math.min(turn, 1)].sent++;
  if (inTime) counts[Math.min(turn - 1, 1)].followed++;
  for (const counted of counts) {
    if (counted.sent <= MOST_COUNTED) continue;
    counted.sent /= 2;
    counted.followed /= 2;
  }
  renew(clients, salt, counts, MOST_CLIENTS);
}

/** @template T @param {Map<string, T>} map @param {string} key @param {T} value @param {number} most */
function renew(map, key, value, most) {
  map.delete(key);
  map.set(key, value);
  if (map.size > most) map.delete(/** @type {string} */ (map.keys().next().value));
}

/** An address that nobody serves: only a key of the data center's cache. @param {string} id */
function sharedUrl(id) {
  return `https://sessions.pennyroute.invalid/${id}`;
}

/** @param {string} id */
async function readShared(id) {
  try {
    const found = await globalThis.caches?.default.match(sharedUrl(id));
    for (const [fingerprint, mark] of (await found?.json()) ?? []) merge(fingerprint, mark);
  } catch {
    // Then the conversation is cold.
  }
}

/** @param {string} id @param {{fingerprint: string}[]} prefixes */
async function writeShared(id, prefixes) {
  try {
    const shared = prefixes.flatMap(({ fingerprint }) => (marks.has(fingerprint) ? [[fingerprint, marks.get(fingerprint)]] : []));
    const headers = { "cache-control": `max-age=${LONGEST_MS / 1000}` };
    await globalThis.caches?.default.put(sharedUrl(id), Response.json(shared, { headers }));
  } catch {
    // Then it is cold to other isolates.
  }
}
