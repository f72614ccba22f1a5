/**
 * The page: one router in its worker, what is kept in this browser, and four views of both. The address's
 * hash says which view is shown; each but the first is loaded when it is first asked for.
 */
import { connect } from "./page/client.js";
import { byId, h } from "./page/dom.js";
import { keptLine } from "./page/kept.js";
import { forgetOffline, serveOffline } from "./page/offline.js";
import { State } from "./page/state.js";
import * as first from "./page/try.js";

/** Views by the hash that shows them, which is their section's id too. */
const VIEWS = {
  try: { title: "Which model should answer this?", load: () => first },
  plan: { title: "Plan a batch", load: () => import("./page/plan.js") },
  models: { title: "Models", load: () => import("./page/models.js") },
  learn: { title: "Learn from your answers", load: () => import("./page/learn.js") },
};

/**
 * What the views share. Events: `loading`, `progress` ({ loaded, total }), `failed` ({ error }), `catalog`
 * once the router is there and whenever its catalog has changed, by hand or by a rating, and `settings`
 * when the policy has changed elsewhere than in its view; `kept` when what is kept has, and `shown` as
 * another view is.
 *
 * Changes and ratings are put to use one at a time, each over what the one before it has left: so they are
 * given as functions of what there is.
 */
export class App extends EventTarget {
  client = connect((loaded, total) => this.emit("progress", { loaded, total }));
  state = new State();
  /** Models that answer something in the plan that stands, by id. @type {Set<string>} */
  planned = new Set();
  /** The router is there. */
  loaded = false;
  /** Why the changes and ratings that were kept are left out, if they are. @type {{ code: string, message: string } | undefined} */
  unused;

  /** @param {string} name @param {object} [fields] */
  emit(name, fields = {}) {
    this.dispatchEvent(Object.assign(new Event(name), fields));
  }

  /** The loading that is under way. @type {Promise<void> | undefined} */
  #loading;

  /** Loads the router, again where it failed; once where several ask for it. */
  load = () => (this.#loading ??= this.#load().finally(() => (this.#loading = undefined)));

  async #load() {
    this.emit("loading");
    try {
      this.client.revive();
      await Promise.all([opened, this.client.call("load")]);
      await this.#inTurn(() => this.#use());
    } catch (error) {
      this.emit("failed", { error });
    }
  }

  /**
   * Calls `refresh` once the router is there and for every new catalog, but never while its view is not shown.
   * @param {string} name
   * @param {() => void} refresh
   */
  follow(name, refresh) {
    let due = this.loaded;
    const settle = () => {
      if (!due || byId(name).hidden) return;
      due = false;
      refresh();
    };
    this.addEventListener("shown", settle);
    this.addEventListener("catalog", () => {
      due = true;
      settle();
    });
    settle();
  }

  /**
   * Puts changes to the catalog to use and keeps them, or throws what is wrong with them.
   * @param {(changes: import("./page/state.js").Changes) => import("./page/state.js").Changes} update
   */
  change(update) {
    return this.#inTurn(async () => {
      const changes = update(this.state.settings.changes ?? {});
      await this.client.call("apply", { ...this.#applied(), changes });
      await this.state.set("changes", Object.keys(changes).length > 0 ? changes : undefined);
      await this.#renew();
    });
  }

  /** Learns from outcomes and keeps them, or throws what is wrong with them. @param {import("pennyroute").GradedOutcome[]} outcomes */
  rate(outcomes) {
    return this.#inTurn(async () => {
      const ratings = this.state.ratingsOf(outcomes);
      await this.client.call("apply", { ...this.#applied(), ratings: [...this.state.ratings, ...ratings] });
      await this.state.addRatings(ratings);
      await this.#renew();
    });
  }

  /**
   * Takes ratings back, and returns them.
   * @param {(ratings: import("./page/state.js").Rating[]) => import("./page/state.js").Rating[]} choose
   */
  unrate(choose) {
    return this.#inTurn(async () => {
      const chosen = choose(this.state.ratings);
      await this.state.removeRatings(new Set(chosen.map(({ id }) => id)));
      await this.#reapply();
      return chosen;
    });
  }

  /** Takes up what another browser has kept, out of a file of it, or throws what is wrong with it. @param {File} file */
  restore(file) {
    return this.#inTurn(async () => {
      const { settings, ratings } = await this.client.call("readBackup", { file });
      await this.client.call("apply", { changes: settings.changes ?? {}, ratings });
      await this.state.replace({ settings, ratings });
      this.emit("settings");
      await this.#renew();
    });
  }

  /** Forgets all that this browser keeps of the page. */
  erase() {
    return this.#inTurn(async () => {
      try {
        await forgetOffline();
        await this.state.erase();
      } finally {
        this.emit("settings");
        await this.#reapply();
      }
    });
  }

  /** After what is kept has changed: puts it to use. */
  reapply() {
    return this.#inTurn(() => this.#reapply());
  }

  async #reapply() {
    if (this.loaded) await this.#use();
    else this.emit("kept");
  }

  /** Puts what is kept to use, as far as that can be. */
  async #use() {
    await this.#renew(await this.client.call("use", this.#applied()));
  }

  /** The router has another catalog. @param {{ code: string, message: string }} [unused] */
  async #renew(unused) {
    const { catalog, predictor } = await this.client.call("versions");
    this.unused = unused;
    this.loaded = true;
    byId("versions").textContent = `Catalog ${catalog}, predictor ${predictor}.`;
    this.emit("catalog");
  }

  /** Ends with the last action that was asked for. @type {Promise<unknown>} */
  #turns = Promise.resolve();

  /** @template T @param {() => Promise<T>} action @returns {Promise<T>} */
  #inTurn(action) {
    const turn = this.#turns.then(action);
    this.#turns = turn.catch(() => {});
    return turn;
  }

  #applied() {
    return { changes: this.state.settings.changes ?? {}, ratings: this.state.ratings };
  }
}

const app = new App();
const opened = app.state.open();
/** Views that are mounted, or being so. @type {Map<string, Promise<void>>} */
const mounted = new Map();

app.state.addEventListener("change", ({ what }) => {
  if (what === "policy" || what === "all") app.emit("settings");
  if (what === "policy" || what === "prompts") app.emit("kept");
  else app.reapply();
});

/** The view of the address: `#models`, `#try?quality=0.9`, or that of an element, such as the table. */
function viewOf(hash) {
  const [name] = hash.slice(1).split("?");
  return name in VIEWS ? name : document.getElementById(name)?.closest("[data-view]")?.id ?? "try";
}

function show() {
  const name = viewOf(location.hash);
  const turned = byId(name).hidden;
  for (const view of Object.keys(VIEWS)) byId(view).hidden = view !== name;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.getAttribute("href") === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${VIEWS[name].title} · Pennyroute`;
  if (turned) {
    // A screen reader hears where it is by the heading that has the focus.
    byId(name).querySelector("h1").focus({ preventScroll: true });
    scrollTo(0, 0);
  }
  if (!mounted.has(name)) mounted.set(name, mount(name));
  app.emit("shown");
}

/** @param {string} name */
async function mount(name) {
  const view = byId(name);
  view.querySelector(":scope > .notice.error")?.remove();
  try {
    const { mount } = await VIEWS[name].load();
    mount(app);
  } catch (error) {
    mounted.delete(name);
    console.error(error);
    view.querySelector(".intro").after(h("div", { className: "notice error", role: "alert" },
      "This view could not be loaded. The page may have been updated, or the network is gone. ",
      h("button", { type: "button", className: "link", textContent: "Load the page again", onclick: () => location.reload() })));
  }
}

mounted.set("try", mount("try"));
addEventListener("hashchange", show);
// Within the view that is shown, which the address of an element of it would not be for every view.
document.querySelector("a.skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId(viewOf(location.hash)).querySelector("h1").focus();
});
show();
keptLine(app);
app.load();
// What is kept for offline comes after what is needed now.
app.addEventListener("catalog", () => serveOffline(byId("offline")), { once: true });
