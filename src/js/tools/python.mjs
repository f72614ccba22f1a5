// Python programs that tests and tools run, each in an environment of its own under target/.

import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ask, root } from "./shell.mjs";

/**
 * The folder with the programs of the environment `name`, made where it is missing, or why there is none.
 * @param {string} name the folder's name under target/
 * @param {string} requirements the list's name in tests/python/
 * @param {{ versions?: string[], flags?: string[] }} [options] the Pythons that will do ("3.12"; any where
 *   none is named), and pip's flags
 * @returns {{ bin: string, missing?: undefined } | { bin?: undefined, missing: string, noPython?: boolean }} `noPython`: this
 *   machine has none that will do
 */
export function pythonEnvironment(name, requirements, { versions, flags = [] } = {}) {
  const list = join(root, "tests", "python", requirements);
  const wanted = readFileSync(list, "utf8");
  const folder = join(root, "target", name);
  const installed = join(folder, "requirements.txt");
  const bin = join(folder, "bin");
  if (existsSync(installed) && readFileSync(installed, "utf8") === wanted) return { bin };
  const python = findPython(versions);
  if (!python) return { missing: `there is no Python ${versions?.join(" or ") ?? ""}`, noPython: true };
  rmSync(folder, { recursive: true, force: true });
  for (const [command, ...args] of [
    [python, "-m", "venv", folder],
    [join(bin, "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", ...flags, "-r", list],
  ]) {
    const { status, error, stderr } = spawnSync(command, args, { encoding: "utf8" });
    if (status !== 0) return { missing: `${command} ${args.slice(0, 3).join(" ")}: ${error?.message ?? stderr.trim().split("\n").at(-1)}` };
  }
  writeFileSync(installed, wanted);
  return { bin };
}

/** @param {string[]} [versions] */
function findPython(versions) {
  const version = (command) => ask(command, ["-c", "import sys; print('%d.%d' % sys.version_info[:2])"]);
  const commands = ["python3", ...(versions ?? []).map((one) => `python${one}`)];
  return commands.find((command) => {
    const found = version(command);
    return found !== undefined && (versions?.includes(found) ?? true);
  });
}
