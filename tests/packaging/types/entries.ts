// Every entry, as a program in strict TypeScript imports it.

import { PennyrouteError, Router } from "pennyroute";
import { createPennyroute } from "pennyroute/ai-sdk";
import artifacts from "pennyroute/artifacts";
import { Encoder } from "pennyroute/encoder";
import { routedFetch } from "pennyroute/fetch";
import { Router as SlimRouter } from "pennyroute/slim";
import module from "pennyroute/wasm";
import { RouterWorker } from "pennyroute/worker";

export async function models(prompt: string): Promise<string[]> {
  const routers = [await Router.load(), await SlimRouter.load({ module, artifacts })];
  try {
    return routers.map((router) => router.route({ prompt }).model ?? "none");
  } catch (error) {
    if (error instanceof PennyrouteError) console.error(error.code);
    throw error;
  } finally {
    for (const router of routers) router.free();
  }
}

export async function modelInThread(prompt: string): Promise<string | null> {
  const router = await RouterWorker.load();
  return router.route({ prompt }).then(({ model }) => model).finally(() => router.free());
}

export async function vectors(prompts: string[], manifest: URL): Promise<Float32Array> {
  const encoder = await Encoder.load({ from: manifest, path: "cpu" });
  return encoder.embed(prompts).then(({ embeddings }) => embeddings).finally(() => encoder.free());
}

export const fetch: typeof globalThis.fetch = routedFetch({ router: Router.load(), policy: { quality: 0.9 } });

export const provider = (model: Parameters<typeof createPennyroute>[0]["models"][string]) =>
  createPennyroute({ router: Router.load(), models: { "*": model } })("auto:0.9").modelId satisfies string;

// @ts-expect-error: a number is no request; were the types not found, `any` would take it.
export const wrong = (router: Router) => router.route(7);
// @ts-expect-error: so here.
routedFetch({ router: 7 });
// @ts-expect-error: and here.
Encoder.load({ from: 7 });
// @ts-expect-error: and here.
createPennyroute({ router: 7 });
