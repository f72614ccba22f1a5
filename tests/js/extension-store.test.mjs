/** The extension as the stores see it: what it may do, what is in it, what it says of itself. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import linter from "addons-linter";
import { strFromU8, unzipSync } from "fflate";
import { buildExtension } from "../../src/js/tools/extension.mjs";
import { root } from "../../src/js/tools/shell.mjs";

describe("extension for the stores", () => {
  let folder, zip, manifest, files;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pennyroute-store-"));
    ({ zip } = await buildExtension({ out: join(folder, "one") }));
    files = unzipSync(new Uint8Array(await readFile(zip)));
    manifest = JSON.parse(strFromU8(files["manifest.json"]));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  test("it may store, register scripts where the user allows it, and see the tab it is opened over; no more", () => {
    assert.deepEqual(manifest.permissions, ["activeTab", "scripting", "storage"]);
    assert.deepEqual(manifest.optional_host_permissions, ["https://*/*", "http://*/*"]);
    for (const absent of ["host_permissions", "optional_permissions", "externally_connectable", "web_accessible_resources", "update_url"]) {
      assert.equal(manifest[absent], undefined, absent);
    }
    for (const { matches } of manifest.content_scripts) assert.deepEqual(matches, ["http://localhost/*", "http://127.0.0.1/*"]);
    assert.deepEqual(manifest.browser_specific_settings.gecko.data_collection_permissions, { required: ["none"] });
    assert.match(manifest.content_security_policy.extension_pages, /script-src 'self' 'wasm-unsafe-eval';/);
    assert.doesNotMatch(manifest.content_security_policy.extension_pages, /unsafe-inline|https?:|(?<!wasm-)unsafe-eval/);
  });

  test("what STORE.md says of permissions is what the manifest asks for", async () => {
    const text = await readFile(join(root, "www/extension/STORE.md"), "utf8");
    const named = [...text.matchAll(/^\| `([^`]+)` ?(\(optional\))? \|/gm)].map(([, name, optional]) => `${name}${optional ? " optional" : ""}`);
    assert.deepEqual(named.sort(), [
      ...manifest.permissions,
      ...manifest.content_scripts[0].matches,
      ...manifest.optional_host_permissions.map((pattern) => `${pattern} optional`),
    ].sort());
  });

  test("all code is in the package, and none of it is made of text or names another place", () => {
    const referenced = [
      manifest.background.service_worker, ...manifest.background.scripts, ...manifest.content_scripts.flatMap(({ js }) => js),
      manifest.action.default_popup, manifest.options_ui.page, ...Object.values(manifest.icons), ...Object.values(manifest.action.default_icon),
      "content.js", "page.js", "pennyroute_bg.wasm", "artifacts.bin",
    ];
    for (const name of referenced) assert.ok(files[name], name);
    for (const [name, bytes] of Object.entries(files).filter(([file]) => /\.(js|html|css)$/.test(file))) {
      const text = strFromU8(bytes);
      assert.doesNotMatch(text, /\beval\(|new Function\(|importScripts\(|document\.write\(|\.innerHTML\b/, name);
      for (const [, origin] of text.matchAll(/["'`(](https?:\/\/[^"'`)*$ ]+)/g)) {
        assert.match(origin, /^https?:\/\/(chat\.example\.org|www\.w3\.org\/)/, `${name} names ${origin}`);
      }
      if (name.endsWith(".html")) assert.doesNotMatch(text, /<script(?![^>]*\bsrc=)|\bon\w+=|style=/, name);
    }
    // The page's part is in every enabled page: it stays small.
    assert.ok(files["page.js"].length < 12_000, `${files["page.js"].length} bytes`);
    assert.ok(files["content.js"].length < 6_000, `${files["content.js"].length} bytes`);
  });

  test("the same build is the same zip", async () => {
    const again = await buildExtension({ out: join(folder, "two") });
    assert.ok((await readFile(zip)).equals(await readFile(again.zip)));
  });

  test("addons.mozilla.org's linter has nothing against it", async () => {
    const result = await linter.createInstance({ config: { _: [zip], logLevel: "fatal", output: "none", boring: true, stack: false }, runAsBinary: false }).run();
    const told = [...result.errors, ...result.warnings].map(({ code, message, file }) => `${code} ${file ?? ""}: ${message}`);
    assert.deepEqual(result.errors, []);
    // Firefox says of Chromium's service worker that it leaves it alone, which is what the manifest is for.
    assert.deepEqual(told.filter((line) => !/service_worker/.test(line)), []);
  });
});
