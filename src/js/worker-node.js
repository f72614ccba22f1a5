// `pennyroute/worker` in Node: the router in a thread, which does not keep the process alive while it waits.

import { Worker } from "node:worker_threads";
import { PennyrouteError } from "./error.js";
import { RouterWorker as Remote } from "./remote.js";

export { PennyrouteError };

export class RouterWorker extends Remote {
  static load(options) {
    return super.load(options, start, String);
  }
}

function start(onMessage, onError) {
  // Without the process's own flags: some, such as --input-type, are refused where the script is a file.
  const worker = new Worker(new URL("./thread-node.js", import.meta.url), { execArgv: [] });
  worker.on("message", onMessage);
  worker.on("error", ({ message }) => onError(message));
  worker.on("messageerror", ({ message }) => onError(message));
  worker.unref();
  return {
    post: (message, transfer) => worker.postMessage(message, transfer),
    busy: (is) => (is ? worker.ref() : worker.unref()),
    end: () => worker.terminate(),
  };
}
