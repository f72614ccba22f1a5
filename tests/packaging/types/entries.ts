// Every entry, as a program in strict TypeScript imports it.

import artifacts from "pennyroute/artifacts";
import module from "pennyroute/wasm";
import { PennyrouteError, Router } from "pennyroute";
import { Router as SlimRouter } from "pennyroute/slim";

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

// @ts-expect-error: a number is no request; were the types not found, `any` would take it.
export const wrong = (router: Router) => router.route(7);
