// For hosts with threads: program.js, the router in a thread of its own, and the encoder.

import { Encoder, PennyrouteError } from "pennyroute/encoder";
import { RouterWorker } from "pennyroute/worker";
import { decideWith, decisions as decisionsHere } from "./program.js";

export async function decisions() {
  const decided = await decisionsHere();
  await refuse();
  return { ...decided, "pennyroute/worker": await decideWith(RouterWorker), "pennyroute/encoder": structuredClone(decided.pennyroute) };
}

/** The encoder's files are not in the package; that it looks into those it is given is seen by what it says of these. */
async function refuse() {
  const manifest = new TextEncoder().encode('{ "format": 0 }');
  const error = await Encoder.load({ from: { manifest } }).catch((error) => error);
  if (!(error instanceof PennyrouteError) || error.code !== "unsupported_version") throw error;
}
