/**
 * The chat APIs that pages speak to their servers. An adapter says which requests ask for an answer,
 * where model and messages are in them, and how the models on offer are learned. The model is
 * written back as the body's member `model`: so it is with all of them, with some in more places.
 *
 * @typedef {object} Adapter
 * @property {string} name
 * @property {boolean} anyPool where no list holds for a request's pool, those of other pools do, and what the site
 *   listed when it was last visited
 * @property {(url: URL) => boolean} isChat whether a POST there may ask for an answer
 * @property {(url: URL) => boolean} isList whether a GET there may list models
 * @property {(list: any, url: URL) => Record<string, string[]>} models the names in such an answer, by pool;
 *   may throw on an answer of another shape
 * @property {(body: any, url: URL) => Chat | null} read a parsed body; null for one that asks for no answer;
 *   may throw on one of another shape
 *
 * @typedef {object} Chat
 * @property {string} model as the page wrote it
 * @property {string} pool which of the lists of models holds for it
 * @property {string | undefined} effort the reasoning effort that the page has set
 * @property {string | null} effortField the member that takes one; null where none does
 * @property {import("pennyroute").RouteRequest} request what routing reads
 * @property {(name: string) => Record<string, unknown>} [also] the members that change with the model, where
 *   `model` is not the only one
 */
import { librechat } from "./librechat.js";
import { lobechat } from "./lobechat.js";
import { ollama } from "./ollama.js";
import { openai } from "./openai.js";
import { openwebui } from "./openwebui.js";

/** @type {Adapter[]} */
export const ADAPTERS = [openai, openwebui, ollama, librechat, lobechat];
