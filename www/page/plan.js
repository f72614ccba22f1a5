/** *Plan*: a file of prompts, estimated and planned as one batch. */

/** @param {import("../app.js").App} app */
export function mount(app) {
  void app;
}
