// `pennyroute/worker` in pages: the router in a web worker. Bundlers find its script by the form
// `new Worker(new URL("…", import.meta.url), { type: "module" })`.

import { PennyrouteError } from "./error.js";
import { RouterWorker as Remote } from "./remote.js";

export { PennyrouteError };

export class RouterWorker extends Remote {
  static load(options) {
    // What a page means by a relative URL is relative to the page.
    return super.load(options, start, (url) => String(new URL(url, globalThis.location?.href)));
  }
}

function start(onMessage, onError) {
  if (typeof Worker === "undefined") throw new PennyrouteError("unsupported_host", "this host has no web workers");
  const worker = new Worker(new URL("./thread.js", import.meta.url), { type: "module" });
  worker.onmessage = ({ data }) => onMessage(data);
  worker.onerror = (event) => {
    event.preventDefault();
    onError(event.message || "was not found, or the page's Content-Security-Policy (worker-src) keeps it out");
  };
  worker.onmessageerror = () => onError("a message of it cannot be read");
  return {
    post: (message, transfer) => worker.postMessage(message, transfer),
    busy() {},
    end: () => worker.terminate(),
  };
}
