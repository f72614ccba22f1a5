// A page: decides on its own thread, then in a web worker.

import { decisions } from "../threaded.js";

function decisionsOfWorker() {
  const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => ("error" in data ? reject(new Error(data.error)) : resolve(data.decided));
    worker.onerror = ({ message }) => reject(new Error(message ?? "the worker did not load"));
  });
}

globalThis.decided = (async () => [await decisions(), await decisionsOfWorker()])();
