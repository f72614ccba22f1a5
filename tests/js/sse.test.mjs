// Streams as providers really send them, cut at every byte; and headers made from any text.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { headerValue } from "../../src/js/receipts.js";
import { openai } from "../../worker/formats/openai.js";
import { readEvents, StreamError, streamOf } from "../../worker/sse.js";

const limits = { signal: new AbortController().signal, idleMs: 1000 };

/** @param {Uint8Array[]} chunks */
const answering = (...chunks) => new Response(ReadableStream.from(chunks));

async function read(response) {
  const events = [];
  for await (const event of readEvents(response, limits)) events.push(event);
  return events;
}

test("reads the same events however the bytes are cut", async () => {
  const expected = [{ a: 1 }, { text: "naïve 🦊" }, { b: [2] }, "[DONE]"];
  for (const end of ["\n", "\r\n", "\r"]) {
    const lines = [": hello", "", 'data: {"a":1}', "", "event: message", 'data:{"text":"naïve 🦊"}', "", 'data: {"b":[2]}', "", "data: [DONE]", "", "data: ignored", ""];
    const bytes = new TextEncoder().encode(lines.join(end));
    for (let cut = 0; cut <= bytes.length; cut++) {
      assert.deepEqual(await read(answering(bytes.slice(0, cut), bytes.slice(cut))), expected, `cut at ${cut}`);
    }
    assert.deepEqual(await read(answering(...Array.from(bytes, (byte) => Uint8Array.of(byte)))), expected);
  }
});

test("a last line without its end still counts", async () => {
  assert.deepEqual(await read(answering(new TextEncoder().encode('data: {"a":1}'))), [{ a: 1 }]);
});

test("a long event in many pieces is read in linear time", async () => {
  const piece = new TextEncoder().encode("x".repeat(16 * 1024));
  const quote = new TextEncoder().encode('"}\n');
  const chunks = [new TextEncoder().encode('data: {"image":"'), ...Array(1000).fill(piece), quote];
  const [event] = await read(answering(...chunks));
  assert.equal(event.image.length, 1000 * piece.length);
});

test("refuses what is no event", async () => {
  for (const data of ["{", "5", "null", "nonsense"]) {
    await assert.rejects(read(answering(new TextEncoder().encode(`data: ${data}\n\n`))), StreamError);
  }
});

test("a finished answer without [DONE] is whole, an unfinished one was cut", async () => {
  const chunks = async (finish_reason) => {
    const read = [];
    for await (const chunk of openai.chunks(ReadableStream.from([{ choices: [{ delta: { content: "x" }, finish_reason }] }]))) read.push(chunk);
    return read;
  };
  assert.equal((await chunks("stop")).length, 1);
  await assert.rejects(chunks(null), { failure: "network" });
});

test("a client that takes nothing for a while is gone", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const frames = async function* () {
    for (let i = 0; ; i++) yield `${i}`;
  };
  const told = [];
  const on = (name) => ({ idleMs: 1000, end: () => told.push(`${name} end`), failed: () => void told.push(`${name} failed`), gone: () => told.push(`${name} gone`) });
  const taken = streamOf(frames(), on("taken")).getReader();
  const left = streamOf(frames(), on("left")).getReader();
  for (let i = 0; i < 10; i++) {
    if (i === 0) await left.read();
    assert.equal((await taken.read()).done, false);
    // The next frame is made before the clock goes on.
    await setImmediate();
    t.mock.timers.tick(300);
  }
  assert.deepEqual(told, ["left gone"]);
  // What waited is still there; then nothing follows.
  assert.equal((await left.read()).done, false);
  assert.equal((await left.read()).done, true);
  await taken.cancel();
  t.mock.timers.tick(2000);
  assert.deepEqual(told, ["left gone", "left failed", "taken gone"]);
});

test("a header value is one line of printable ASCII, whatever a catalog holds", () => {
  assert.equal(headerValue("openai/gpt\r\nset-cookie: a=b"), "openai/gpt?set-cookie: a=b");
  assert.equal(headerValue("модель/😀"), "?/?");
  assert.equal(headerValue("x".repeat(1000)).length, 512);
  new Headers({ value: headerValue("\u0000\u007f\ud800") });
});
