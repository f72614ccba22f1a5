// The server behind a chat page: it lists models and streams a fixed answer, under the addresses of
// several chat applications, and keeps what reached it.

export const PIECES = ["The ", "tide ", "comes ", "in."];

/** Milliseconds between two of them. */
export const PAUSE = 30;
/**
 * The same for a stream that is to be broken off. Aborted between two reads, Chromium reads on for up to five seconds,
 * to use the connection again; what is left of this stream lasts longer.
 */
export const LONG_PAUSE = 10_000;

/** Answers in the shapes that the applications' servers give, seen in their pages' traffic. */
const LISTS = {
  "/v1/models": (names) => ({ object: "list", data: names.map((id) => ({ id, object: "model" })) }),
  // Open WebUI's; LibreChat lists at the same address, so a test says which of them it is.
  "/api/models": (names, shape) => shape === "librechat"
    ? { initial: [], openAI: names, anthropic: ["claude-3-opus"], assistants: [] }
    : { data: names.map((id) => ({ id, name: id, object: "model", owned_by: "openai", actions: [], tags: [] })) },
  "/api/tags": (names) => ({ models: names.map((name) => ({ name, model: name, size: 1, details: {} })) }),
  "/trpc/lambda/user.getUserState,aiProvider.getAiProviderRuntimeState": (names) => [
    { result: { data: { json: { isOnboard: true } } } },
    { result: { data: { json: {
      enabledAiModels: [
        ...names.map((id) => ({ id, providerId: "openai", type: "chat", enabled: true, abilities: {} })),
        { id: "gpt-image-1", providerId: "openai", type: "image", enabled: true },
        { id: "claude-opus-5-5", providerId: "anthropic", type: "chat", enabled: true },
      ],
      enabledAiProviders: [{ id: "openai", name: "OpenAI", source: "builtin" }],
    } } } },
  ],
};

const CHATS = /^(\/v1|\/api)\/chat\/completions$|^\/api\/chat$|^\/api\/agents\/chat\/\w+$|^\/webapi\/chat\/\w+$/;

export function chatServer() {
  const state = {
    /** What reached the server: bodies, headers, and how the connections ended. */
    received: /** @type {any[]} */ ([]),
    models: /** @type {string[]} */ ([]),
    shape: "openai",
    pause: PAUSE,
    /** Every address that was asked for. */
    asked: /** @type {string[]} */ ([]),
    async handler(req, res) {
      const path = decodeURIComponent(req.url.split("?")[0]);
      state.asked.push(path);
      if (LISTS[path]) {
        res.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(LISTS[path](state.models, state.shape)));
        return true;
      }
      if (req.method !== "POST" || !CHATS.test(path)) return false;
      const chunks = [];
      for await (const chunk of req) chunks.push(chunk);
      const text = Buffer.concat(chunks).toString();
      const call = { path, text, body: JSON.parse(text), headers: req.headers, rawHeaders: req.rawHeaders, cut: false };
      state.received.push(call);
      if (text.includes('"fail"')) {
        res.writeHead(429, { "content-type": "application/json", "retry-after": "7" }).end('{"error":{"message":"slow down"}}');
        return true;
      }
      res.on("close", () => {
        call.cut = !res.writableFinished;
        state.onClose?.(call);
      });
      res.writeHead(200, { "content-type": "text/event-stream" });
      for (const content of PIECES) {
        if (res.destroyed) return true;
        res.write(`data: ${JSON.stringify({ choices: [{ delta: { content } }] })}\n\n`);
        await new Promise((done) => setTimeout(done, state.pause));
      }
      res.end("data: [DONE]\n\n");
      return true;
    },
    /** Resolves when the connection of an answer that is yet to come ends; an earlier one's may be told late. */
    closed: () => {
      const earlier = new Set(state.received);
      return new Promise((resolve) => (state.onClose = (call) => earlier.has(call) || resolve(call)));
    },
  };
  return state;
}
