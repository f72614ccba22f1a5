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
 * Fingerprints are chained SHA-256, salted with tenant and key, so that no client learns what another
 * one asked. No text is kept. The isolate's memory comes first; isolates of one data center share
 * conversations through the Cache API. What is lost or late is taken for cold: that costs money, but
 * is never wrong.
 */

/** @typedef {{provider: string, base: string}} Cached a model of the catalog; its efforts share a cache */
/** @typedef {{tokens: number, at: number}} Warmth */
/** @typedef {[fingerprint: string, warm: Record<string, Warmth>]} Mark by the name of the cache */

const MINUTE = 60_000;

/**
 * How long a provider keeps what is not used, the shortest prefix that it keeps, and whether it keeps
 * only what the request marks (its usage then tells how much). Where a provider states a range, the
 * worse end. As documented in November 2026:
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
const MOST_SHARED = 8;

/** @type {Map<string, Record<string, Warmth>>} longest unused first */
const marks = new Map();

/**
 * The conversation of a request.
 * @param {{tenant?: string, key?: string, body: Record<string, any>, name?: string, models: Map<string, Cached>}} request
 *   `name` as the client gave it (`session`); without one, the beginning up to the first user message
 *   names the conversation. `models` of the catalog, by id
 * @param {{waitUntil: (work: Promise<unknown>) => void}} [ctx] keeps the isolate until all is shared
 */
export async function openSession({ tenant = "", key = "", body, name, models }, ctx) {
  const salt = JSON.stringify([tenant, key]);
  const messages = Array.isArray(body.messages) ? body.messages : [];
  const prefixes = await fingerprints(salt, body, messages);
  const { size } = prefixes[prefixes.length - 1];
  const kept = prefixes.filter((prefix) => prefix.size >= LEAST_CHARS).slice(-MOST_PER_REQUEST);
  const firstUser = messages.findIndex((message) => message?.role === "user");
  const id = name === undefined ? prefixes[firstUser + 1].fingerprint : await fingerprint(salt, name);

  // What the last answer of this conversation was given to. If memory does not know it, another
  // isolate may have given it.
  const before = messages.findLastIndex((message) => message?.role === "assistant");
  if (before >= 0 && kept.length > 0 && !marks.has(prefixes[before].fingerprint)) {
    await readShared(id);
  }

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
        for (const [cache, { tokens, at }] of Object.entries(marks.get(prefix.fingerprint) ?? {})) {
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
      const cache = nameOf(model);
      const { cached_tokens = 0, cache_creation_tokens = 0 } = usage.prompt_tokens_details ?? {};
      const most = cacheOf(cache).marked ? cached_tokens + cache_creation_tokens : input;
      if (!(most > 0)) return;
      // The provider counts the whole request; a part of it is taken to be as dense as the whole.
      for (const prefix of kept) {
        const tokens = Math.min(most, Math.floor((input * prefix.size) / size));
        merge([prefix.fingerprint, { [cache]: { tokens, at: now } }]);
      }
      if (kept.length > 0) ctx?.waitUntil(writeShared(id, kept.slice(-MOST_SHARED)));
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
async function fingerprints(salt, { tools, response_format }, messages) {
  const prefixes = [];
  let last = salt;
  let size = 0;
  for (const part of [[tools, response_format], ...messages]) {
    const text = textOf(part);
    size += text.length;
    last = await fingerprint(last, text);
    prefixes.push({ fingerprint: last, size });
  }
  return prefixes;
}

/** @param {any} part */
function textOf(part) {
  try {
    return JSON.stringify(part, (name, value) => (name === "cache_control" ? undefined : value)) ?? "";
  } catch {
    // Nested too deep for any message; the router says so.
    return "";
  }
}

/** @param {string} before @param {string} text */
async function fingerprint(before, text) {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(`${before}\n${text}`));
  return Array.from(new Uint8Array(digest, 0, 16), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Takes what is newer into memory, and lets go of what was not used for longest. @param {Mark} mark */
function merge([fingerprint, warm]) {
  const known = marks.get(fingerprint) ?? {};
  for (const [cache, warmth] of Object.entries(warm)) {
    if (!Object.hasOwn(known, cache) || known[cache].at <= warmth.at) known[cache] = warmth;
  }
  marks.delete(fingerprint);
  marks.set(fingerprint, known);
  if (marks.size > MOST_MARKS) marks.delete(/** @type {string} */ (marks.keys().next().value));
}

/** An address that nobody serves: only a key of the data center's cache. @param {string} id */
function sharedUrl(id) {
  return `https://sessions.pennyroute.invalid/${id}`;
}

/** @param {string} id */
async function readShared(id) {
  try {
    const found = await globalThis.caches?.default.match(sharedUrl(id));
    for (const mark of (await found?.json()) ?? []) merge(mark);
  } catch {
    // Then the conversation is cold.
  }
}

/** @param {string} id @param {{fingerprint: string}[]} prefixes */
async function writeShared(id, prefixes) {
  try {
    const shared = prefixes.map(({ fingerprint }) => [fingerprint, marks.get(fingerprint) ?? {}]);
    const headers = { "cache-control": `max-age=${LONGEST_MS / 1000}` };
    await globalThis.caches?.default.put(sharedUrl(id), Response.json(shared, { headers }));
  } catch {
    // Then it is cold to other isolates.
  }
}
