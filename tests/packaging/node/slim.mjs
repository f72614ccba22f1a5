import { readFile } from "node:fs/promises";
import { Router } from "pennyroute/slim";
import { decideWith } from "../program.js";

const [module, artifacts] = await Promise.all(
  ["pennyroute/wasm", "pennyroute/artifacts"].map((file) => readFile(new URL(import.meta.resolve(file)))),
);
console.log(JSON.stringify({ "pennyroute/slim": await decideWith(Router, { module, artifacts }) }));
