// The script of RouterWorker's web workers.

import { answer } from "./answer.js";
import { files } from "./files.js";

const take = answer((message, transfer) => postMessage(message, transfer), files);
onmessage = ({ data }) => take(data);
