// Open WebUI as its publisher ships it, in front of a provider that a test controls.

import { spawn } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pythonEnvironment } from "../../src/js/tools/python.mjs";

export const PIECES = ["The tide ", "comes in, ", "and goes."];
/** It takes ten seconds or so; on a busy machine, some times that. */
const STARTS_WITHIN_MS = 180_000;
export const REFUSAL = "Slow down: this provider is simulated, its limits are not.";

/** The folder of its programs, or why there is none. */
export const installOpenWebUi = () => pythonEnvironment("open-webui", "openwebui.txt", {
  versions: ["3.11", "3.12"],
  flags: ["--no-deps", "--only-binary=:all:"],
});

/**
 * A provider with OpenAI's API. Of a streamed answer it sends the first piece, and the others once it
 * is told to (`go`), so that a test can look at the middle. A message with "fail" in it is refused.
 * @param {string[]} models
 */
export async function startProvider(models) {
  /** @type {{ body: any, message: string, go: () => void, closed: Promise<"finished" | "cut"> }[]} */
  const calls = [];
  const arrivals = new EventEmitter();
  const server = createServer(async (request, response) => {
    const json = (status, body) => response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
    if (request.method === "GET") return json(200, { object: "list", data: models.map((id) => ({ id, object: "model" })) });
    let text = "";
    for await (const chunk of request) text += chunk;
    const body = JSON.parse(text);
    const message = body.messages.at(-1).content;
    const { promise: told, resolve: go } = resolvers();
    const closed = once(response, "close").then(() => (response.writableFinished ? "finished" : "cut"));
    calls.push({ body, message, go, closed });
    arrivals.emit("call");
    if (message.includes("fail")) return json(429, { error: { message: REFUSAL } });
    const choice = (rest) => ({ id: "c", object: "chat.completion", created: 0, model: body.model, choices: [{ index: 0, finish_reason: null, ...rest }] });
    // The server's own requests: titles, tags and what one may ask next.
    if (!body.stream) return json(200, choice({ message: { role: "assistant", content: "{}" }, finish_reason: "stop" }));
    const event = (data) => response.write(`data: ${JSON.stringify(data)}\n\n`);
    response.writeHead(200, { "content-type": "text/event-stream" });
    for (const [i, content] of PIECES.entries()) {
      if (i === 1) await Promise.race([told, closed]);
      event(choice({ delta: { content } }));
    }
    event(choice({ delta: {}, finish_reason: "stop" }));
    response.end("data: [DONE]\n\n");
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  return {
    url: `http://127.0.0.1:${server.address().port}/v1`,
    calls,
    /** The first call from now on that fits, as soon as it is there; one that never comes fails a test and does not hang it. */
    async next(fits) {
      const before = calls.length;
      const signal = AbortSignal.timeout(60_000);
      for (;;) {
        const found = calls.slice(before).find(fits);
        if (found) return found;
        await once(arrivals, "call", { signal });
      }
    },
    async close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

/** `Promise.withResolvers`, which Node 20 lacks. */
function resolvers() {
  let resolve;
  const promise = new Promise((done) => (resolve = done));
  return { promise, resolve };
}

/**
 * Open WebUI, serving on a free port of this machine with a fresh database; no accounts, nothing fetched.
 * @param {string} bin
 * @param {string} provider
 */
export async function startOpenWebUi(bin, provider) {
  const folder = await mkdtemp(join(tmpdir(), "pennyroute-openwebui-"));
  const port = await freePort();
  const { PATH } = process.env;
  const app = spawn(join(bin, "open-webui"), ["serve", "--host", "127.0.0.1", "--port", String(port)], {
    cwd: folder,
    env: {
      PATH, HOME: folder, DATA_DIR: folder, WEBUI_AUTH: "False", WEBUI_SECRET_KEY: "of-a-test",
      OPENAI_API_BASE_URL: provider, OPENAI_API_KEY: "key-of-a-test", ENABLE_OLLAMA_API: "False",
      USE_SLIM_DOCKER: "true", OFFLINE_MODE: "True", SCARF_NO_ANALYTICS: "true", DO_NOT_TRACK: "true", ANONYMIZED_TELEMETRY: "False",
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [app.stdout, app.stderr]) stream.on("data", (chunk) => (output += chunk));
  const ended = once(app, "exit");
  const url = `http://127.0.0.1:${port}`;
  const closing = new AbortController();
  const close = async () => {
    closing.abort();
    app.kill();
    await ended;
    await rm(folder, { recursive: true, force: true });
  };
  // It says nowhere that it is ready.
  const healthy = async () => {
    const signal = AbortSignal.any([closing.signal, AbortSignal.timeout(STARTS_WITHIN_MS)]);
    while (!(await fetch(`${url}/health`, { signal }).then(({ ok }) => ok, () => false))) await sleep(100, undefined, { signal });
  };
  const over = async () => {
    throw new Error(`it ended (${(await ended).join(" ")})`);
  };
  try {
    await Promise.race([healthy(), over()]);
  } catch (error) {
    await close();
    throw new Error(`Open WebUI does not start: ${error.message}\n${output.slice(-4000)}`);
  }
  return { url, close };
}

async function freePort() {
  const server = createServer();
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/**
 * A page of it, used as a person does.
 * @param {import("playwright-core").Page} page
 * @param {string} url
 */
export function chatPage(page, url) {
  const picker = page.locator("#model-selector-model-button");
  return {
    page,

    /** A new chat. */
    async open() {
      const listed = page.waitForResponse("**/api/models?*");
      await page.goto(url);
      await (await listed).finished();
      await picker.waitFor();
    },

    /** @param {string} model */
    async pick(model) {
      await picker.click();
      await page.getByRole("option", { name: `Select ${model} model`, exact: true }).click();
      await page.getByRole("button", { name: `Selected model: ${model}`, exact: true }).waitFor();
    },

    /** Sends a message; resolves to the body that left the page. @param {string} message */
    async send(message) {
      const left = page.waitForRequest((request) => request.method() === "POST" && request.url() === `${url}/api/chat/completions`);
      await page.locator("#chat-input").fill(message);
      await page.locator("#send-message-button").click();
      return (await left).postDataJSON();
    },

    /** The last message of the chat, once it shows a text. @param {string} text */
    shows: (text) => page.getByRole("log").getByRole("listitem").last().getByText(text).first().waitFor(),

    answer: () => page.locator(".chat-assistant").last().innerText(),
    stop: page.getByRole("button", { name: "Stop", exact: true }),
    modelName: page.locator("#response-message-model-name").last(),
  };
}
