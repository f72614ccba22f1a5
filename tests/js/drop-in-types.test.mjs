// The types of the drop-ins: strict by themselves, and right for the users of each AI SDK.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { dist, root } from "./hosts.mjs";

/** What the TypeScript compiler says of files: nothing, where they are right. */
function check(...args) {
  const options = ["--noEmit", "--strict", "--target", "es2023", "--lib", "es2023,dom,dom.iterable,esnext.disposable", "--module", "nodenext"];
  const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
  const { status, stdout, stderr } = spawnSync(process.execPath, [tsc, ...options, ...args], { cwd: root, encoding: "utf8" });
  assert.equal(status, 0, stdout + stderr);
  return stdout;
}

test("the types hold by themselves", () => {
  assert.equal(check("--typeRoots", "tests/js", join(dist, "fetch.d.ts"), join(dist, "ai-sdk.d.ts")), "");
});

test("programs for AI SDK 5, 6 and 7 and for OpenAI's client type-check; wrong ones do not", () => {
  // Each AI SDK's own types are their own matter.
  assert.equal(check("--skipLibCheck", "tests/fixtures/drop-ins.ts"), "");
});
