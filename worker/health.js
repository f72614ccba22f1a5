/**
 * What recent calls say about providers and models: who is to be left alone, and until when. Kept by
 * each isolate for itself, from what it sees: it costs nothing to learn, and is never stale.
 *
 * - A 429 or a spent rate limit (`x-ratelimit-remaining-*`) rests the model until the time that the
 *   provider names, else for a second, then two, four, and so on.
 * - Three failures in a row open the circuit of a model, five those of its whole provider.
 * - After its rest, one call at a time probes; the first that succeeds closes the circuit. A model that
 *   is asked for by name is called at any time, and its success closes the circuit too.
 */

/** @typedef {import("pennyroute").CatalogModel} CatalogModel */
/** @typedef {{failures: number, failed: number, rests: number, until: number, probing: number}} Circuit `failed`: when it last did */

const FIRST_REST_MS = 1_000;
const LONGEST_REST_MS = 60_000;
/** A provider may ask for more, but not for a day. */
const LONGEST_ASKED_MS = 600_000;
/** A probe whose end was never told (its request died) is forgotten. */
const PROBE_MS = 120_000;
const FAILURES = { model: 3, provider: 5 };

export class Health {
  /** @type {Map<string, Circuit>} */
  #circuits = new Map();

  /** Models to leave alone now. @param {Iterable<CatalogModel>} models @param {number} now @returns {string[]} */
  unhealthy(models, now) {
    if (this.#circuits.size === 0) return [];
    return [...models].filter((model) => this.restMs(model, now) > 0).map(({ id }) => id);
  }

  /** How long a model is still to be left alone. @param {CatalogModel} model @param {number} now */
  restMs(model, now) {
    return Math.max(0, ...places(model).map((place) => (this.#circuits.get(place)?.until ?? 0) - now));
  }

  /** Whether a call may begin; after a rest, one at a time does, as a probe. @param {CatalogModel} model @param {number} now */
  begin(model, now) {
    const circuits = places(model).flatMap((place) => this.#circuits.get(place) ?? []);
    if (circuits.some(({ until, probing }) => until > now || now - probing < PROBE_MS)) return "refused";
    const rested = circuits.filter(({ until }) => until > 0);
    for (const circuit of rested) circuit.probing = now;
    return rested.length > 0 ? "probe" : "call";
  }

  /**
   * A whole answer. It ends a row of failures; a rest only if the call began after it was imposed.
   * @param {CatalogModel} model
   * @param {number} began
   */
  succeeded(model, began) {
    for (const place of places(model)) {
      const circuit = this.#circuits.get(place);
      if (circuit && (circuit.until === 0 || circuit.failed <= began)) this.#circuits.delete(place);
    }
  }

  /** A probe whose end says nothing about the provider, such as a client that went away. @param {CatalogModel} model */
  ended(model) {
    for (const place of places(model)) {
      const circuit = this.#circuits.get(place);
      if (circuit) circuit.probing = 0;
    }
  }

  /**
   * @param {CatalogModel} model
   * @param {{failure: string, ofProvider: boolean, retryAfter: string | null}} error
   * @param {number} now
   */
  failed(model, { failure, ofProvider, retryAfter }, now) {
    const asked = retryMs(retryAfter, now);
    if (ofProvider) return this.#rest(providerOf(model), asked ?? LONGEST_REST_MS, now);
    if (failure === "429" || asked !== null) return this.#rest(modelOf(model), asked, now);
    if (failure === "404") return this.#rest(modelOf(model), LONGEST_REST_MS, now);
    for (const [place, most] of /** @type {const} */ ([[modelOf(model), FAILURES.model], [providerOf(model), FAILURES.provider]])) {
      const circuit = this.#circuit(place);
      circuit.failures += 1;
      circuit.failed = now;
      // A probe that fails sends it back to rest at once.
      if (circuit.failures >= most || circuit.probing > 0) this.#rest(place, null, now);
    }
  }

  /** Heeds what a successful answer says of the rate limit. @param {CatalogModel} model @param {Headers} headers @param {number} now */
  heed(model, headers, now) {
    for (const of of ["requests", "tokens"]) {
      const remaining = headers.get(`x-ratelimit-remaining-${of}`) ?? headers.get(`anthropic-ratelimit-${of}-remaining`);
      if (remaining === null || !(Number(remaining) <= 0)) continue;
      const reset = headers.get(`x-ratelimit-reset-${of}`) ?? headers.get(`anthropic-ratelimit-${of}-reset`);
      this.#rest(modelOf(model), durationMs(reset, now), now);
    }
  }

  /** @param {string} place @param {number | null} asked ms @param {number} now */
  #rest(place, asked, now) {
    const circuit = this.#circuit(place);
    const ms = asked ?? Math.min(LONGEST_REST_MS, FIRST_REST_MS * 2 ** circuit.rests);
    circuit.rests += 1;
    circuit.failed = now;
    circuit.probing = 0;
    circuit.until = Math.max(circuit.until, now + Math.min(ms, LONGEST_ASKED_MS));
  }

  /** @param {string} place @returns {Circuit} */
  #circuit(place) {
    const circuit = this.#circuits.get(place) ?? { failures: 0, failed: 0, rests: 0, until: 0, probing: 0 };
    this.#circuits.set(place, circuit);
    return circuit;
  }
}

/** @param {CatalogModel} model */
const providerOf = ({ provider }) => provider;
/** Efforts of a model share its fate. @param {CatalogModel} model */
const modelOf = ({ provider, base }) => `${provider}/${base}`;
/** @param {CatalogModel} model */
const places = (model) => [providerOf(model), modelOf(model)];

/** `Retry-After`: seconds or a date. @param {string | null} value @param {number} now @returns {number | null} ms */
export function retryMs(value, now) {
  if (value === null) return null;
  if (/^\s*\d+(\.\d+)?\s*$/.test(value)) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? null : Math.max(0, date - now);
}

/** A rate limit's reset: `1s`, `6m0s`, `20ms`, seconds, or an RFC 3339 time. @param {string | null} value @param {number} now @returns {number | null} ms */
function durationMs(value, now) {
  if (value === null) return null;
  const parts = [...value.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)];
  if (parts.length > 0 && parts.map(([part]) => part).join("") === value.trim()) {
    const unit = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };
    return parts.reduce((sum, [, n, name]) => sum + Number(n) * unit[/** @type {keyof typeof unit} */ (name)], 0);
  }
  return retryMs(value, now);
}
