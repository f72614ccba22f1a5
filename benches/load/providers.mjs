// Simulated providers in a process of their own, which fail at seeded rates and keep books of what
// they served: what any ledger is to be compared with. They speak OpenAI's format under
// `/PROVIDER/v1`; `GET /books` gives the books as JSON lines.
//
// Started by `fork`; messages set what goes wrong: {faults: Faults}.

import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { between, pick, random } from "../../src/js/tools/random.mjs";

/**
 * How often what goes wrong, and the provider that is dead from its `from`th call on until `to`
 * (counted over all providers).
 * @typedef {{rate429: number, rate5xx: number, cut: number, stall: number, dead?: {provider: string, from: number, to: number}}} Faults
 *
 * One call in the books. `user` is the client's own name for its request, which gateways pass on;
 * tokens are those served, also of an answer that was cut; times are ms.
 * @typedef {{id: string | undefined, user: string | undefined, provider: string, model: string, stream: boolean,
 *   fate: string, input: number, output: number, opened: number, closed: number | undefined, whole: boolean}} Entry
 */

const seed = process.argv[2] ?? "1";
const NEVER_MS = 2 ** 31 - 1;
const TOKENS_PER_CHUNK = 4;
const WORDS = "the model said that every answer in this book was written long before anyone asked for it".split(" ");

/** @type {Faults} */
let faults = { rate429: 0, rate5xx: 0, cut: 0, stall: 0 };
let calls = 0;
/** @type {Entry[]} */
const books = [];
/** Calls so far by request and model, so that a retry draws its own fate. @type {Map<string, number>} */
const drawn = new Map();

const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
  if (request.url === "/books") return response.end(books.map((entry) => `${JSON.stringify(entry)}\n`).join(""));
  answer(request, response).catch((error) => {
    response.destroy();
    if (error.name !== "AbortError") throw error;
  });
});
server.listen(0, "127.0.0.1", () => {
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  process.send?.({ url: `http://127.0.0.1:${port}` });
});
process.on("message", (/** @type {{faults: Faults}} */ message) => {
  faults = message.faults;
  calls = 0;
});
process.on("disconnect", () => process.exit());

/**
 * @param {import("node:http").IncomingMessage} request
 * @param {import("node:http").ServerResponse} response
 */
async function answer(request, response) {
  const opened = performance.now();
  const provider = decodeURIComponent(request.url?.split("/")[1] ?? "");
  const gone = new AbortController();
  /** @type {Entry} */
  const entry = {
    ...{ id: request.headers["x-client-request-id"]?.toString(), user: undefined, provider, model: "", stream: false },
    ...{ fate: "unread", input: 0, output: 0, opened, closed: undefined, whole: false },
  };
  books.push(entry);
  response.once("close", () => {
    entry.closed ??= performance.now();
    gone.abort();
  });
  const dead = faults.dead;
  calls += 1;
  if (dead?.provider === provider && calls >= dead.from && calls < dead.to) {
    entry.fate = "dead";
    return response.destroy();
  }
  const body = JSON.parse(await text(request));
  const name = `${body.user}\n${provider}/${body.model}`;
  drawn.set(name, (drawn.get(name) ?? 0) + 1);
  const next = random(seed, name, drawn.get(name) ?? 0);
  Object.assign(entry, { user: body.user, model: body.model, stream: Boolean(body.stream), fate: fateOf(next) });

  const wait = (/** @type {number} */ ms) => sleep(ms, undefined, { signal: gone.signal });
  await wait(between(next, 20, 60));
  if (entry.fate === "429") return refuse(entry, response, 429, { "retry-after": "1" });
  if (entry.fate === "5xx") return refuse(entry, response, pick(next, [500, 502, 503]));
  if (entry.fate === "stall") return wait(NEVER_MS);

  const words = answerWords(next, body);
  const input = Math.ceil(JSON.stringify(body.messages).length / 4);
  const breaks = entry.fate === "whole" ? Infinity : between(next, 1, Math.max(1, Math.floor(words.length / TOKENS_PER_CHUNK) - 1));
  const send = body.stream ? streamed(response, body) : plain(response, body);
  entry.input = input;
  for (let from = 0, chunk = 0; from < words.length; from += TOKENS_PER_CHUNK, chunk += 1) {
    if (chunk === breaks) {
      if (entry.fate === "late_stall") return wait(NEVER_MS);
      return response.destroy();
    }
    const served = words.slice(from, from + TOKENS_PER_CHUNK);
    send.words(served);
    entry.output += served.length;
    await wait(between(next, 1, 3));
  }
  const whole = entry.output < 160 ? "stop" : "length";
  send.end(whole, { prompt_tokens: input, completion_tokens: entry.output, total_tokens: input + entry.output });
  Object.assign(entry, { closed: performance.now(), whole: true });
}

/** A fate by the rates; half of the stalls come in mid-answer. @param {() => number} next */
function fateOf(next) {
  const { rate429, rate5xx, cut, stall } = faults;
  let left = next();
  for (const [fate, rate] of /** @type {const} */ ([["429", rate429], ["5xx", rate5xx], ["cut", cut], ["stall", stall / 2], ["late_stall", stall / 2]])) {
    if (left < rate) return fate;
    left -= rate;
  }
  return "whole";
}

/** One word is one token. @param {() => number} next @param {any} body */
function answerWords(next, body) {
  const most = body.max_completion_tokens ?? body.max_tokens ?? Infinity;
  return Array.from({ length: Math.min(most, between(next, 16, 160)) }, () => pick(next, WORDS));
}

/**
 * A chat completion whose choices are written at its end: one that breaks is half of a body.
 * @param {import("node:http").ServerResponse} response
 * @param {any} body
 */
function plain(response, body) {
  /** @type {string[]} */
  const said = [];
  const head = { id: "chatcmpl-load", object: "chat.completion", created: 0, model: body.model };
  return {
    words(/** @type {string[]} */ words) {
      if (said.length === 0) response.writeHead(200, { "content-type": "application/json" }).write(`${JSON.stringify(head).slice(0, -1)},`);
      said.push(...words);
    },
    end(/** @type {string} */ finish_reason, /** @type {any} */ usage) {
      const choices = [{ index: 0, message: { role: "assistant", content: said.join(" ") }, finish_reason }];
      response.end(JSON.stringify({ choices, usage }).slice(1));
    },
  };
}

/** @param {import("node:http").ServerResponse} response @param {any} body */
function streamed(response, body) {
  const head = { id: "chatcmpl-load", object: "chat.completion.chunk", created: 0, model: body.model };
  const event = (/** @type {any} */ more) => `data: ${JSON.stringify({ ...head, ...more })}\n\n`;
  const choice = (/** @type {any} */ delta, /** @type {string | null} */ finish_reason = null) => ({ choices: [{ index: 0, delta, finish_reason }] });
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
  response.write(event(choice({ role: "assistant", content: "" })));
  let first = true;
  return {
    words(/** @type {string[]} */ words) {
      response.write(event(choice({ content: (first ? "" : " ") + words.join(" ") })));
      first = false;
    },
    end(/** @type {string} */ reason, /** @type {any} */ usage) {
      const told = body.stream_options?.include_usage ? event({ choices: [], usage }) : "";
      response.end(`${event(choice({}, reason))}${told}data: [DONE]\n\n`);
    },
  };
}

/** @param {Entry} entry @param {import("node:http").ServerResponse} response @param {number} status @param {Record<string, string>} [headers] */
function refuse(entry, response, status, headers = {}) {
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(JSON.stringify({ error: { message: "Simulated.", type: "simulated", param: null, code: String(status) } }));
  entry.closed = performance.now();
}

/** @param {import("node:http").IncomingMessage} request */
async function text(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}
