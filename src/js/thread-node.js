// The script of RouterWorker's threads in Node.

import { parentPort } from "node:worker_threads";
import { answer } from "./answer.js";
import { files } from "./files-node.js";

parentPort.on("message", answer((message, transfer) => parentPort.postMessage(message, transfer), files));
