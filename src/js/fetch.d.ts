import type { CatalogModel } from "./index.js";
import type { DropInOptions, Policy } from "./drop-ins.js";

export { PennyrouteError } from "./index.js";
export type { AnyRouter, DropInOptions, Failed, Policy, Receipt } from "./drop-ins.js";

/**
 * How a server calls the catalog's models: the names that it offers, matched by what they have in common (`openai/gpt-5.5`,
 * `gpt-5.5-2026-04-01`); or its name by catalog id, where an id without `@effort` holds for every effort; or a function. A
 * model without a name is not called.
 */
export type ModelNames = string[] | Record<string, string> | ((model: CatalogModel) => string | null | undefined);

/** An OpenAI-compatible endpoint. */
export interface Provider {
  /** What `/chat/completions` is appended to. */
  baseURL: string;
  /** Sent as `Authorization: Bearer`, to this endpoint only. */
  apiKey?: string;
  headers?: Record<string, string>;
  /** Default: the catalog's `base`, which is the provider's own name. */
  models?: ModelNames;
}

export interface RoutedFetchOptions extends DropInOptions {
  /**
   * Without `providers`, all models are called at the client's own base URL with the client's own headers. These are their
   * names there. Default: what `GET /models` of that URL lists, asked once for each key.
   */
  models?: ModelNames;
  /**
   * By the catalog's name of a provider: each candidate is called at its own provider. The client's base URL is then called
   * for explicit models only, and its headers go to nobody else.
   */
  providers?: Record<string, Provider>;
  /** Further model names that are routed, besides `auto` and `auto:QUALITY`, with a policy of their own: `{ "gpt-4o": {} }`. */
  aliases?: Record<string, Policy>;
  /** What calls are made with. Default: the global `fetch`. */
  fetch?: typeof globalThis.fetch;
}

/**
 * A `fetch` that routes chat completions for the model `auto`, `auto:QUALITY` or an alias. A field `pennyroute` in the body
 * holds the policy of that call, and is not sent.
 *
 * Falls back, until an answer has begun, after 401, 402 (to other providers), 403, 404, 408, 409, 425, 429, 5xx, a 400 that is
 * about the model (`unsupported_parameter`, `unsupported_value`, `context_length_exceeded`, `model_not_found`), a failed
 * connection, a redirect, a timeout, and a 200 without an answer. Any other refusal is passed on as it came. Where no model
 * answers, the response is an error in OpenAI's words that names every attempt.
 *
 * Answers carry `x-pennyroute-id`, `-model`, `-code`, `-quality`, `-cost-usd`, `-saving-usd`, `-catalog`, `-attempts` and, after
 * fallbacks, `-failed`.
 *
 * @example
 * const openai = new OpenAI({ fetch: routedFetch({ router: Router.load() }) });
 * await openai.chat.completions.create({ model: "auto", messages });
 */
export function routedFetch(options: RoutedFetchOptions): typeof globalThis.fetch;
