/**
 * What the page keeps in this browser: the policy, changes to the catalog, rated answers, and (only where
 * the user wants it) the prompts tried. One database, each setting and each rating a record of its own:
 * with several tabs open the last write of a record wins, and the others hear of it (`change`, with `what`:
 * a setting, `ratings`, or `all`).
 *
 * Where the browser gives no storage, or no more of it, the page works on from memory and says so (`unkept`).
 */
import { deleteDB, openDB } from "idb";
import { NAME, VERSION } from "./backup.js";

/** Prompts tried that are kept at most. */
const MOST_PROMPTS = 50;

/**
 * @typedef {import("pennyroute").GradedOutcome & { id: string }} Rating its `id` sorts by time
 * @typedef {Record<string, import("pennyroute").CatalogModel | null>} Changes entries added or replaced, and null for those removed
 * @typedef {{ policy?: Record<string, string | boolean>, changes?: Changes, prompts?: string[] }} Settings `prompts`: only where they are to be kept
 */

export class State extends EventTarget {
  /** @type {Settings} */
  settings = {};
  /** Oldest first. @type {Rating[]} */
  ratings = [];
  /** Why no more is kept, or "". */
  unkept = "";
  /** Open, or being opened; undefined until it is needed, and once it is closed. @type {Promise<import("idb").IDBPDatabase> | undefined} */
  #db;
  #others = new BroadcastChannel(NAME);
  #made = 0;

  /** Reads what is kept; without storage there is nothing. */
  async open() {
    this.#others.onmessage = ({ data }) => this.#heard(data);
    try {
      await this.#read("all");
    } catch (error) {
      this.#deny(error);
    }
  }

  /**
   * @template {keyof Settings} K
   * @param {K} key
   * @param {Settings[K]} value undefined: forgets it
   */
  set(key, value) {
    if (value === undefined) delete this.settings[key];
    else this.settings[key] = value;
    return this.#write("settings", key, (store) => (value === undefined ? store.delete(key) : store.put(value, key)));
  }

  /** Keeps a prompt that was tried, where prompts are kept. @param {string} prompt */
  tried(prompt) {
    const { prompts } = this.settings;
    if (!prompts || !prompt.trim() || prompts[0] === prompt) return;
    this.set("prompts", [prompt, ...prompts.filter((other) => other !== prompt)].slice(0, MOST_PROMPTS));
  }

  /**
   * Ratings of these outcomes, not kept yet.
   * @param {import("pennyroute").GradedOutcome[]} outcomes
   * @returns {Rating[]}
   */
  ratingsOf(outcomes) {
    const now = new Date().toISOString();
    // Later ones of the same millisecond, of this tab and of others, sort behind and apart.
    return outcomes.map((outcome) => ({
      ...outcome,
      at: outcome.at ?? now,
      id: `${now} ${String(this.#made++).padStart(7, "0")} ${Math.random().toString(36).slice(2, 8)}`,
    }));
  }

  /** @param {Rating[]} ratings */
  addRatings(ratings) {
    this.ratings = [...this.ratings, ...ratings];
    return this.#write("ratings", "ratings", (store) => Promise.all(ratings.map((rating) => store.put(rating))));
  }

  /** @param {Set<string>} ids */
  removeRatings(ids) {
    this.ratings = this.ratings.filter(({ id }) => !ids.has(id));
    return this.#write("ratings", "ratings", (store) => Promise.all([...ids].map((id) => store.delete(id))));
  }

  /** Keeps these in place of all there was. @param {{ settings: Settings, ratings: Rating[] }} next */
  async replace({ settings, ratings }) {
    this.settings = settings;
    this.ratings = ratings;
    await this.#write(["settings", "ratings"], "all", (_, transaction) => {
      const [first, second] = [transaction.objectStore("settings"), transaction.objectStore("ratings")];
      return Promise.all([
        first.clear(), ...Object.entries(settings).map(([key, value]) => first.put(value, key)),
        second.clear(), ...ratings.map((rating) => second.put(rating)),
      ]);
    });
  }

  /** All that is kept, as one value. */
  export() {
    return { format: NAME, version: VERSION, settings: this.settings, ratings: this.ratings };
  }

  /** Forgets all of it, here and in other tabs. */
  async erase() {
    this.settings = {};
    this.ratings = [];
    this.#close();
    await deleteDB(NAME);
    this.unkept = "";
    this.#others.postMessage({ erased: true });
  }

  /** The database, which the next thing to keep makes anew after an erasure that some tab asked for. */
  #opened() {
    return (this.#db ??= openDB(NAME, VERSION, {
      upgrade(db) {
        db.createObjectStore("settings");
        db.createObjectStore("ratings", { keyPath: "id" });
      },
      // Another tab erases everything, or is of a newer version: neither is to wait for this one.
      blocking: () => this.#close(),
      terminated: () => this.#close(),
    }));
  }

  /** @param {string} what a setting, `ratings`, or `all` */
  async #read(what) {
    const transaction = (await this.#opened()).transaction(["settings", "ratings"]);
    const kept = transaction.objectStore("settings");
    const [keys, values, ratings] = await Promise.all([kept.getAllKeys(), kept.getAll(), transaction.objectStore("ratings").getAll(), transaction.done]);
    const settings = Object.fromEntries(keys.map((key, i) => [key, values[i]]));
    if (what === "ratings" || what === "all") this.ratings = ratings;
    if (what === "all") this.settings = settings;
    else if (what in settings) this.settings[what] = settings[what];
    else delete this.settings[what];
  }

  /** Another tab has erased everything, or written something. @param {{ erased?: true, written?: string }} message */
  async #heard({ erased, written: what = "all" }) {
    if (erased) {
      this.#close();
      this.settings = {};
      this.ratings = [];
      this.unkept = "";
    } else {
      // What this tab could not keep is not taken from it.
      if (this.unkept) return;
      try {
        await this.#read(what);
      } catch (error) {
        return this.#deny(error);
      }
    }
    this.dispatchEvent(Object.assign(new Event("change"), { what }));
  }

  /**
   * @param {string | string[]} stores
   * @param {string} what is written: a setting, `ratings`, or `all`
   * @param {(store: any, transaction: any) => Promise<unknown>} write
   */
  async #write(stores, what, write) {
    if (this.unkept) return;
    try {
      const transaction = (await this.#opened()).transaction(stores, "readwrite");
      await Promise.all([write(transaction.store, transaction), transaction.done]);
      this.#others.postMessage({ written: what });
    } catch (error) {
      this.#deny(error);
    }
  }

  #close() {
    this.#db?.then((db) => db.close(), () => {});
    this.#db = undefined;
  }

  /** @param {Error} error */
  #deny(error) {
    this.#close();
    this.unkept = error.name === "QuotaExceededError" ? "the storage of this browser is full"
      : error.name === "VersionError" ? "a newer version of this page has kept its state here"
      : `this browser denies it storage (${error.name})`;
    this.dispatchEvent(new Event("unkept"));
  }
}
