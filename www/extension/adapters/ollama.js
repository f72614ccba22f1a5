/** Ollama's own API: `POST …/api/chat`, models at `GET …/api/tags`. It has no field for an effort of the catalog's. */

/** @type {import("./index.js").Adapter} */
export const ollama = {
  name: "ollama",
  anyPool: false,
  isChat: ({ pathname }) => pathname.endsWith("/api/chat"),
  isList: ({ pathname }) => pathname.endsWith("/api/tags"),
  models: (list) => ({ "": (list?.models ?? []).map(({ model, name }) => model ?? name).filter((name) => typeof name === "string") }),
  read(body) {
    if (typeof body?.model !== "string" || !Array.isArray(body.messages)) return null;
    const { model, messages, tools, format, options } = body;
    return {
      model,
      pool: "",
      effort: undefined,
      effortField: null,
      request: {
        tools,
        // "json", or a schema.
        response_format: format ? { type: "json_object" } : undefined,
        max_tokens: options?.num_predict > 0 ? options.num_predict : undefined,
        messages: messages.map(({ role, content, images }) => ({
          role,
          content: images?.length > 0 ? [{ type: "text", text: content }, { type: "image_url" }] : content,
        })),
      },
    };
  },
};
