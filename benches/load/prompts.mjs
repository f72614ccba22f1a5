// Prompts of varied kind and length, from the texts of the chat tests.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../src/js/tools/shell.mjs";
import { between, pick, random } from "../../src/js/tools/random.mjs";

const texts = readFileSync(join(root, "tests", "fixtures", "chat.jsonl"), "utf8").trim().split("\n").map((line) => JSON.parse(line).text);

/** Four characters are about a token. @param {() => number} next @param {number} tokens */
function textOf(next, tokens) {
  let text = pick(next, texts);
  while (text.length < tokens * 4) text += `\n\n${pick(next, texts)}`;
  return text;
}

/**
 * The `index`th request: mostly short questions, one in ten with about 1,000 tokens; half of them
 * streaming; `user` names it in the providers' books.
 * @param {number | string} seed
 * @param {string} phase
 * @param {number} index
 * @param {{model?: string, tokens?: number, stream?: boolean}} [fixed]
 */
export function requestOf(seed, phase, index, { model = "auto", tokens, stream = index % 2 === 0 } = {}) {
  const next = random(seed, phase, index);
  const length = tokens ?? (next() < 0.1 ? 1000 : between(next, 5, 200));
  return {
    model,
    user: `${phase}-${index}`,
    messages: [{ role: "user", content: textOf(next, length) }],
    max_tokens: pick(next, [64, 128, 512]),
    ...(stream && { stream, stream_options: { include_usage: true } }),
  };
}
