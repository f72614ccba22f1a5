/**
 * In the page's own world: its requests, so that those for an answer are routed first.
 *
 * Every other call goes straight through, with its arguments untouched. So does a routed one if
 * anything of ours fails or takes too long: a page is never worse off than without the extension.
 */
import { wrapFetch } from "./fetch.js";
import { wrapXhr } from "./xhr.js";

const DONE = Symbol.for("pennyroute");

// Two grants may cover one site, and then this script is put there twice.
if (!(DONE in window)) {
  Object.defineProperty(window, DONE, { value: true });
  wrapFetch();
  wrapXhr();
}
