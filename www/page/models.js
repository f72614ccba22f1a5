/** *Models*: the catalog. */

/** @param {import("../app.js").App} app */
export function mount(app) {
  void app;
}
