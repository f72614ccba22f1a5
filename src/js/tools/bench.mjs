// `npm run bench -- NAME`: benches/NAME.mjs in Node, or benches/NAME.rs by cargo. The last line that
// a bench prints is one JSON object.

import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { cargoBench, fail, root, run } from "./shell.mjs";

const [name, ...rest] = process.argv.slice(2);
const folder = join(root, "benches");
const known = readdirSync(folder).filter((file) => /\.(mjs|rs)$/.test(file)).map((file) => file.replace(/\.\w+$/, ""));
if (!known.includes(name)) fail(`usage: npm run bench -- NAME, where NAME is one of ${[...new Set(known)].sort().join(", ")}`);
if (existsSync(join(folder, `${name}.mjs`))) run(process.execPath, [join(folder, `${name}.mjs`), ...rest]);
else cargoBench(name, rest);
