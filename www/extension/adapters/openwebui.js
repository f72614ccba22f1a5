/**
 * Open WebUI: `POST …/api/chat/completions`, models at `GET …/api/models`.
 *
 * Since its version 0.9 a request carries the new message alone; what was said before stays on its
 * server and is not counted. Temporary chats, which the server does not keep, send all messages as
 * before. Each of the `message_ids` is an answer to write and names its own model, for a page may ask
 * several models side by side; the body's `model` is the first of them. The text of the answer arrives
 * by a socket.
 */
import { isAuto } from "../settings.js";
import { openai, readOpenAi } from "./openai.js";

/** @type {import("./index.js").Adapter} */
export const openwebui = {
  ...openai,
  name: "openwebui",
  isChat: ({ pathname }) => pathname.endsWith("/api/chat/completions"),
  read(body, url) {
    // Of a "direct" model the page itself is asked for the answer next, and then in OpenAI's API.
    if (body?.model_item?.direct) return null;
    const { model, message_ids: answers, params } = body ?? {};
    if (!Array.isArray(answers)) return openai.read(body, url);
    const asked = answers.map(({ model_id }) => model_id).find(isAuto) ?? model;
    const effort = body.reasoning_effort || params?.reasoning_effort;
    const chat = readOpenAi({
      model: asked,
      messages: body.messages?.map(asSent) ?? messages(body),
      tools: body.tool_ids?.length > 0 ? body.tool_ids.map((name) => ({ type: "function", function: { name } })) : undefined,
      max_tokens: params?.max_tokens ?? undefined,
      reasoning_effort: effort,
    }, url.pathname.replace(/\/chat\/completions$/, ""));
    return chat && {
      ...chat,
      // An effort in the request would hold for the other models beside it too.
      effortField: answers.every(({ model_id }) => model_id === asked) ? chat.effortField : null,
      also: (name) => ({
        model: model === asked ? name : model,
        message_ids: answers.map((answer) => (answer.model_id === asked ? { ...answer, model_id: name } : answer)),
      }),
    };
  },
};

/**
 * A message of a temporary chat: the answers of models are there as items of output.
 * @param {any} message
 */
function asSent({ role, content, output }) {
  const texts = () => output?.flatMap((item) => item.content ?? []).map(({ text }) => text).filter((text) => typeof text === "string").join("\n");
  return { role, content: content ?? texts() };
}

/** @param {any} body */
function messages({ params, user_message }) {
  if (typeof user_message?.content !== "string") return undefined;
  const { content, files } = user_message;
  const images = Array.isArray(files) && files.some(({ type, content_type }) => type === "image" || String(content_type).startsWith("image/"));
  return [
    ...(params?.system ? [{ role: "system", content: params.system }] : []),
    { role: "user", content: images ? [{ type: "text", text: content }, { type: "image_url" }] : content },
  ];
}
