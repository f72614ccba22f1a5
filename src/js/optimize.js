// Plans of batches: they need the module, and no router.

import { Router as Wasm } from "./pennyroute.js";
import { PennyrouteError } from "./error.js";
import { guard } from "./values.js";

export function plan(problem, options) {
  const { work, onProgress } = options ?? {};
  return watched(onProgress, (watch) => guard(() => Wasm.plan(problem, work, watch)));
}

export function curve(problem, points = 50, options = undefined) {
  // Wasm would take another number for it.
  if (points >>> 0 !== points || points < 2) throw new PennyrouteError("bad_problem", "points: must be a whole number of at least 2");
  return watched(options?.onProgress, (watch) => guard(() => Wasm.curve(problem, points, watch)));
}

// Calls a method of wasm with a function that tells `onProgress`. What that throws ends the search, and
// is what the caller gets to see.
function watched(onProgress, method) {
  if (typeof onProgress !== "function") return method(onProgress);
  let thrown;
  const watch = (stage, work_left) => {
    try {
      return onProgress({ stage, work_left });
    } catch (error) {
      thrown = { error };
      return false;
    }
  };
  try {
    const result = method(watch);
    if (!thrown) return result;
  } catch (error) {
    if (!thrown) throw error;
  }
  throw thrown.error;
}
