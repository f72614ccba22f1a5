import type { CatalogModel } from "./index.js";
import type { DropInOptions } from "./drop-ins.js";

export { PennyrouteError } from "./index.js";
export { NoAnswer } from "./drop-ins.js";
export type { AnyRouter, DropInOptions, Failed, Policy, Receipt } from "./drop-ins.js";

/** A language model of the AI SDK's specification, v2 to v4. */
export interface LanguageModelLike {
  readonly specificationVersion: string;
  readonly provider: string;
  readonly modelId: string;
  supportedUrls: any;
  doGenerate(options: any): PromiseLike<any>;
  doStream(options: any): PromiseLike<any>;
}

/**
 * Where a model comes from: the model itself; a provider, such as `openai`, which is asked for it by the catalog's `base`; or
 * a function, which may return undefined for a model that is not to be called.
 */
export type ModelSource =
  | LanguageModelLike
  | { languageModel(modelId: string): LanguageModelLike }
  | ((model: CatalogModel) => LanguageModelLike | undefined);

/** The models that a source brings. */
export type ModelOf<S> = S extends LanguageModelLike
  ? S
  : S extends { languageModel(modelId: string): infer M }
    ? M
    : S extends (model: CatalogModel) => infer M
      ? NonNullable<M>
      : never;

/** A model of the same version of the specification. */
export type RoutedModel<M> = M extends LanguageModelLike
  ? Pick<M, "specificationVersion" | "provider" | "modelId" | "supportedUrls" | "doGenerate" | "doStream">
  : never;

export interface PennyrouteOptions<T extends Record<string, ModelSource> = Record<string, ModelSource>> extends DropInOptions {
  /**
   * The models to choose among, by catalog id (which holds for every effort, unless one is named: `openai/gpt-5.5@low`) or
   * glob: `{ "openai/*": openai, "anthropic/claude-haiku-5-5": anthropic("claude-haiku-5-5") }`. All of one specification version.
   */
  models: T;
  /** Needed only where `models` are all functions. */
  specificationVersion?: "v2" | "v3" | "v4";
}

export interface PennyrouteProvider<M> {
  /** `auto`, `auto:QUALITY`, or the catalog id of a model, which is then pinned. */
  (modelId?: string): RoutedModel<M>;
  readonly specificationVersion: M extends LanguageModelLike ? M["specificationVersion"] : never;
  languageModel(modelId?: string): RoutedModel<M>;
  /** There are none: throws. */
  embeddingModel(modelId: string): never;
  textEmbeddingModel(modelId: string): never;
  imageModel(modelId: string): never;
}

/**
 * A provider for the AI SDK 5, 6 and 7, whose models choose and fall back among models of other providers. A candidate's
 * reasoning effort is set (v4: `reasoning`; before: `providerOptions` of OpenAI-like providers and of Anthropic) unless the
 * call sets one.
 *
 * `providerOptions.pennyroute` holds the policy of a call; `providerMetadata.pennyroute` of the result, or of a stream's last
 * part, is its `Receipt`. Falls back as `routedFetch` does. Where no model answers, `NoAnswer` is thrown, which the AI SDK does
 * not retry; what a provider refuses for the request's own fault is thrown as it is.
 *
 * @example
 * const pennyroute = createPennyroute({ router: Router.load(), models: { "openai/*": openai, "anthropic/*": anthropic } });
 * const { text, providerMetadata } = await generateText({ model: pennyroute("auto"), prompt });
 */
export function createPennyroute<const T extends Record<string, ModelSource>>(
  options: PennyrouteOptions<T>,
): PennyrouteProvider<ModelOf<T[keyof T]>>;
