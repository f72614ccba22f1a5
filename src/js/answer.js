// A thread's end of the conversation with RouterWorker (remote.js).
//
// In: `{ id, method, args }`, one call at a time. Out: any number of `{ id, progress }`, then `{ id, result }`
// or `{ id, error: { code, message } }`.

import { Router as Core } from "./core.js";
import { instantiate, load } from "./load.js";
import { curve, plan } from "./optimize.js";

/**
 * @param {(message: object, transfer: ArrayBuffer[]) => void} post
 * @param {object} files where the module and the artifacts are on this host
 * @returns {(call: { id: number, method: string, args: any[], watched: boolean }) => Promise<void>} what takes calls
 */
export function answer(post, files) {
  let router;
  const own = {
    load: async ([options], onProgress) => {
      router = await load(Core, { ...options, onProgress: (...progress) => onProgress?.(progress) }, files);
    },
    versions: () => router.versions,
    plan: async ([problem, options], onProgress) => {
      await instantiate(files.module);
      return plan(problem, { ...options, onProgress });
    },
    curve: async ([problem, points], onProgress) => {
      await instantiate(files.module);
      return curve(problem, points, { onProgress });
    },
  };
  return async ({ id, method, args, watched }) => {
    const onProgress = watched ? (progress) => post({ id, progress }, []) : undefined;
    try {
      const result = await (own[method] ? own[method](args, onProgress) : router[method](...args));
      post({ id, result }, buffers(result));
    } catch (error) {
      post({ id, error: { code: error.code ?? "internal", message: error.message ?? String(error) } }, []);
    }
  };
}

/** The buffers of a result's own arrays: nobody here needs them any more. */
function buffers(result) {
  return Object.values(result ?? {}).filter(ArrayBuffer.isView).map(({ buffer }) => buffer);
}
