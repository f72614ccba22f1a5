/**
 * LibreChat: `POST /api/agents/chat/{endpoint}` (before 0.8: `/api/ask/{endpoint}`, `/api/edit/{endpoint}`),
 * models by endpoint at `GET /api/models`.
 *
 * Its requests carry the new message alone; what was said before stays on its server and is not
 * counted. An endpoint is part of the address, so candidates are the models of the same endpoint.
 * Agents name their model on the server and are left alone.
 */

/** Endpoints that take OpenAI's `reasoning_effort`; so do those of type `custom`. */
const WITH_EFFORT = ["openAI", "azureOpenAI"];

/** @type {import("./index.js").Adapter} */
export const librechat = {
  name: "librechat",
  anyPool: false,
  isChat: ({ pathname }) => /\/api\/(agents\/chat|ask|edit)\/[^/]+$/.test(pathname),
  isList: ({ pathname }) => pathname.endsWith("/api/models"),
  models: (list) => Object.fromEntries(
    Object.entries(list ?? {}).filter(([, names]) => Array.isArray(names) && names.every((name) => typeof name === "string"))),
  read(body) {
    if (typeof body?.model !== "string" || typeof body.text !== "string" || typeof body.endpoint !== "string") return null;
    if (body.endpoint === "agents") return null;
    const { model, text, endpoint, endpointType, promptPrefix, files, reasoning_effort } = body;
    const images = Array.isArray(files) && files.some((file) => String(file?.type).startsWith("image/"));
    const takesEffort = WITH_EFFORT.includes(endpoint) || endpointType === "custom";
    return {
      model,
      pool: endpoint,
      effort: takesEffort && reasoning_effort ? reasoning_effort : undefined,
      effortField: takesEffort ? "reasoning_effort" : null,
      request: {
        max_tokens: body.max_tokens ?? body.maxOutputTokens ?? undefined,
        messages: [
          ...(promptPrefix ? [{ role: "system", content: promptPrefix }] : []),
          { role: "user", content: images ? [{ type: "text", text }, { type: "image_url" }] : text },
        ],
      },
    };
  },
};
