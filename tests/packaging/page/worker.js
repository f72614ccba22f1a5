import { decisions } from "../program.js";

decisions().then((decided) => postMessage({ decided }), (error) => postMessage({ error: String(error) }));
