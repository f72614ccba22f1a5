/**
 * The page: one router in its worker, and four views of it. The address's hash says which one is
 * shown; each but the first is loaded when it is first asked for.
 */
import { connect } from "./page/client.js";
import { byId } from "./page/dom.js";
import * as first from "./page/try.js";

/** Views by the hash that shows them, which is their section's id too. */
const VIEWS = {
  try: () => first,
  plan: () => import("./page/plan.js"),
  models: () => import("./page/models.js"),
  learn: () => import("./page/learn.js"),
};

/**
 * What the views share. Events: `loading`, `progress` ({ loaded, total }), `failed` ({ error }), and
 * `catalog` once the router is there and whenever its catalog has changed.
 */
export class App extends EventTarget {
  client = connect((loaded, total) => this.emit("progress", { loaded, total }));

  /** @param {string} name @param {object} [fields] */
  emit(name, fields = {}) {
    this.dispatchEvent(Object.assign(new Event(name), fields));
  }

  /** Loads the router, again where it failed. */
  load = async () => {
    this.emit("loading");
    try {
      const { catalog, predictor } = await this.client.call("load");
      byId("versions").textContent = `Catalog ${catalog}, predictor ${predictor}.`;
      this.emit("catalog");
    } catch (error) {
      this.emit("failed", { error });
    }
  };
}

const app = new App();
/** Views that are mounted, or being so. @type {Map<string, Promise<void>>} */
const mounted = new Map();

function show() {
  const hash = location.hash.slice(1);
  // A hash inside a view (the table, the decision) shows the view that it is in.
  const name = hash in VIEWS ? hash : document.getElementById(hash)?.closest("[data-view]")?.id ?? "try";
  for (const view of Object.keys(VIEWS)) byId(view).hidden = view !== name;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.getAttribute("href") === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (!mounted.has(name)) mounted.set(name, Promise.resolve(VIEWS[name]()).then((view) => view.mount(app)));
}

mounted.set("try", Promise.resolve(first.mount(app)));
addEventListener("hashchange", show);
show();
app.load();
