/**
 * Serves the page offline: a service worker with a copy of every file of one build.
 *
 * The build fills in the files with their digests, and with them the browser refuses to copy a file of any
 * other build, so a copy is whole or is not there. A newer build's worker waits until no tab uses the older
 * one, or a tab asks for it: no tab gets files of two builds.
 */

/** Path → digest, as in `integrity`. @type {Record<string, string>} */
const FILES = globalThis.FILES;
const scope = new URL("./", location.href);
/** Copies of this folder's page begin so: the host may have others. A path has no spaces. */
const COPIES = `pennyroute ${scope.pathname} `;
const CACHE = COPIES + globalThis.BUILD;

addEventListener("install", (event) => event.waitUntil(copy()));
addEventListener("activate", (event) => event.waitUntil(forget()));
addEventListener("message", ({ data }) => data === "take over" && globalThis.skipWaiting());
addEventListener("fetch", (event) => {
  const path = pathOf(event.request.url);
  if (event.request.method === "GET" && path in FILES) event.respondWith(answer(path, event.request));
});

/** The file of a URL in the worker's scope; the folder itself is its index. */
function pathOf(url) {
  const { origin, pathname } = new URL(url);
  if (origin !== scope.origin || !pathname.startsWith(scope.pathname)) return "";
  return decodeURIComponent(pathname.slice(scope.pathname.length)) || "index.html";
}

async function copy() {
  const cache = await caches.open(CACHE);
  await cache.addAll(Object.entries(FILES).map(([path, integrity]) => new Request(path, { integrity, cache: "no-cache" })));
}

/** Copies of other builds. */
async function forget() {
  const others = (await caches.keys()).filter((key) => key.startsWith(COPIES) && key !== CACHE);
  await Promise.all(others.map((key) => caches.delete(key)));
}

/** @param {string} path @param {Request} request */
async function answer(path, request) {
  const kept = await caches.match(path, { cacheName: CACHE });
  return kept ?? fetch(request);
}
