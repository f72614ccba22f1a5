/**
 * LobeChat: `POST /webapi/chat/{provider}`, the body in OpenAI's shape. Its enabled models arrive over
 * tRPC (`aiProvider.getAiProviderRuntimeState`, alone or in a batch), those of one provider also from
 * `GET /webapi/models/{provider}`. The provider is part of the address, so candidates are its models.
 */
import { modelNames } from "../../../src/js/names.js";
import { readOpenAi } from "./openai.js";

const STATE = "aiProvider.getAiProviderRuntimeState";

/** @type {import("./index.js").Adapter} */
export const lobechat = {
  name: "lobechat",
  anyPool: false,
  isChat: ({ pathname }) => /\/webapi\/chat\/[^/]+$/.test(pathname),
  isList: ({ pathname }) => /\/webapi\/models\/[^/]+$/.test(pathname) || procedures(pathname).includes(STATE),
  models(answer, { pathname }) {
    const at = procedures(pathname).indexOf(STATE);
    if (at < 0) return { [lastPart(pathname)]: modelNames(answer) };
    const data = (Array.isArray(answer) ? answer[at] : answer)?.result?.data;
    /** @type {Record<string, string[]>} */
    const pools = {};
    for (const { id, providerId, type = "chat", enabled = true } of (data?.json ?? data)?.enabledAiModels ?? []) {
      if (type === "chat" && enabled) (pools[providerId] ??= []).push(id);
    }
    return pools;
  },
  read: (body, { pathname }) => readOpenAi(body, lastPart(pathname)),
};

/** The procedures that a tRPC address calls. @param {string} pathname */
function procedures(pathname) {
  return /\/trpc\/[^/]+\/([^/]+)$/.exec(pathname)?.[1].split(",") ?? [];
}

/** @param {string} pathname */
function lastPart(pathname) {
  return decodeURIComponent(pathname.slice(pathname.lastIndexOf("/") + 1));
}
