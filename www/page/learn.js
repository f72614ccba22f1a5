/** *Learn*: answers that are rated, and what they teach. */

/** @param {import("../app.js").App} app */
export function mount(app) {
  void app;
}
