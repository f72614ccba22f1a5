// How often a router's catalog has changed, for those in this package who keep what they have read of it.

const revisions = new WeakMap();

/** To be called by a router at each change, and when it is made. */
export function changed(router) {
  revisions.set(router, (revisions.get(router) ?? 0) + 1);
}

/** A number that is another one after each change; undefined: this router does not say when its catalog changes. */
export function revisionOf(router) {
  return revisions.get(router);
}
