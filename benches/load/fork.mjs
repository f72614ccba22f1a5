// Child processes that answer messages, the first when they are ready.

import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

/** @typedef {import("node:child_process").ChildProcess} ChildProcess */

/**
 * @param {string} file beside this one
 * @param {{args?: string[], message?: any}} [options] `message` is sent first
 * @returns {Promise<{child: ChildProcess, ready: any}>}
 */
export async function start(file, { args = [], message } = {}) {
  const path = fileURLToPath(new URL(file, import.meta.url));
  // Node 20 has WebSocket behind a flag.
  const child = fork(path, args, { serialization: "advanced", execArgv: ["--experimental-websocket", "--disable-warning=ExperimentalWarning"] });
  return { child, ready: await tell(child, message) };
}

/** The answer to a message. @param {ChildProcess} child @param {any} [message] */
export async function tell(child, message) {
  if (message !== undefined) child.send(message);
  const ended = once(child, "exit").then(([code, signal]) => {
    throw new Error(`${child.spawnargs.at(-1)} ended with ${code ?? signal}`);
  });
  const [answer] = await Promise.race([once(child, "message"), ended]);
  return answer;
}

/** @param {ChildProcess} child which ends when it is disconnected */
export async function stop(child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.disconnect();
  await ended;
}
