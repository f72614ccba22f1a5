// For hosts with threads: program.js, and the router in a thread of its own.

import { RouterWorker } from "pennyroute/worker";
import { decideWith, decisions as decisionsHere } from "./program.js";

export async function decisions() {
  return { ...(await decisionsHere()), "pennyroute/worker": await decideWith(RouterWorker) };
}
