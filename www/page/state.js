/**
 * What the page keeps in this browser: the policy, changes to the catalog, rated answers, and (only where
 * the user wants it) the prompts tried. One database, each setting and each rating a record of its own:
 * with several tabs open the last write of a record wins, and the others hear of it (`change`).
 *
 * Where the browser gives no storage, or no more of it, the page works on from memory and says so (`unkept`).
 */
import { deleteDB, openDB } from "idb";

const NAME = "pennyroute";
/** Of the layout below; a browser that has seen a newer one is left alone. */
const VERSION = 1;
/** Prompts tried that are kept at most. */
const MOST_PROMPTS = 50;

/**
 * @typedef {import("pennyroute").GradedOutcome & { id: string }} Rating its `id` sorts by time
 * @typedef {Record<string, import("pennyroute").CatalogModel | null>} Changes entries added or replaced, and null for those removed
 * @typedef {{ policy?: Record<string, string | boolean>, changes?: Changes, prompts?: string[] }} Settings `prompts`: only where they are to be kept
 */

/**
 * What `State.export` made, checked as far as putting it to use does not.
 * @param {any} kept
 * @returns {{ settings: Settings, ratings: Rating[] }}
 */
export function readKept(kept) {
  const refuse = (code, message) => {
    throw Object.assign(new Error(message), { code });
  };
  if (kept?.format !== NAME) refuse("bad_input", "This is no file that this page has saved.");
  if (kept.version > VERSION) refuse("unsupported_version", `The file has version ${kept.version}, and this page reads up to ${VERSION}: it was saved by a newer one.`);
  const { policy, changes, prompts } = kept.settings ?? {};
  const plain = (value) => value === undefined || (value !== null && typeof value === "object" && !Array.isArray(value));
  if (!plain(policy)) refuse("bad_input", "settings.policy: must be an object.");
  if (!plain(changes)) refuse("bad_input", "settings.changes: must be an object.");
  if (prompts !== undefined && !(Array.isArray(prompts) && prompts.every((prompt) => typeof prompt === "string"))) refuse("bad_input", "settings.prompts: must be a list of texts.");
  const { ratings } = kept;
  if (!Array.isArray(ratings)) refuse("bad_input", "ratings: must be a list.");
  const wrong = ratings.findIndex((rating) => typeof rating?.id !== "string");
  if (wrong !== -1) refuse("bad_input", `ratings[${wrong}].id: must be a text.`);
  const settings = Object.fromEntries(Object.entries({ policy, changes, prompts }).filter(([, value]) => value !== undefined));
  return { settings, ratings };
}

export class State extends EventTarget {
  /** @type {Settings} */
  settings = {};
  /** Oldest first. @type {Rating[]} */
  ratings = [];
  /** Why nothing is kept, or "". */
  unkept = "";
  /** @type {import("idb").IDBPDatabase | undefined} */
  #db;
  #others = new BroadcastChannel(NAME);
  #made = 0;

  /** Reads what is kept; without storage there is nothing. */
  async open() {
    this.#others.onmessage = () => this.#reread();
    try {
      this.#db = await openDB(NAME, VERSION, {
        upgrade(db) {
          db.createObjectStore("settings");
          db.createObjectStore("ratings", { keyPath: "id" });
        },
        // Another tab erases everything, or is of a newer version: neither is to wait for this one.
        blocking: () => this.#close(),
        terminated: () => this.#close(),
      });
      await this.#read();
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
    return this.#write("settings", (store) => (value === undefined ? store.delete(key) : store.put(value, key)));
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
    return this.#write("ratings", (store) => Promise.all(ratings.map((rating) => store.put(rating))));
  }

  /** @param {Set<string>} ids */
  removeRatings(ids) {
    this.ratings = this.ratings.filter(({ id }) => !ids.has(id));
    return this.#write("ratings", (store) => Promise.all([...ids].map((id) => store.delete(id))));
  }

  /** Keeps these in place of all there was. @param {{ settings: Settings, ratings: Rating[] }} next */
  async replace({ settings, ratings }) {
    this.settings = settings;
    this.ratings = ratings;
    await this.#write("settings", (store) => Promise.all([store.clear(), ...Object.entries(settings).map(([key, value]) => store.put(value, key))]));
    await this.#write("ratings", (store) => Promise.all([store.clear(), ...ratings.map((rating) => store.put(rating))]));
  }

  /** All that is kept, as one value. */
  export() {
    return { format: NAME, version: VERSION, settings: this.settings, ratings: this.ratings };
  }

  /** Forgets all of it, here and in other tabs: the database, the copy for offline, and what serves it. */
  async erase() {
    this.settings = {};
    this.ratings = [];
    this.#close();
    const workers = await navigator.serviceWorker?.getRegistrations() ?? [];
    await Promise.all(workers.map((worker) => worker.unregister()));
    const caches = globalThis.caches;
    await Promise.all((await caches?.keys() ?? []).filter((key) => key.startsWith(`${NAME}-`)).map((key) => caches.delete(key)));
    await deleteDB(NAME);
    this.unkept = "";
    this.#others.postMessage("erased");
  }

  async #read() {
    const keys = await this.#db.getAllKeys("settings");
    const values = await this.#db.getAll("settings");
    this.settings = Object.fromEntries(keys.map((key, i) => [key, values[i]]));
    this.ratings = await this.#db.getAll("ratings");
  }

  /** Another tab has written. */
  async #reread() {
    try {
      if (this.#db) await this.#read();
      else {
        this.settings = {};
        this.ratings = [];
      }
      this.dispatchEvent(new Event("change"));
    } catch (error) {
      this.#deny(error);
    }
  }

  /**
   * @param {"settings" | "ratings"} name
   * @param {(store: any) => Promise<unknown>} write
   */
  async #write(name, write) {
    // After an erasure that some tab asked for, the next thing to keep makes a new database.
    if (!this.#db && !this.unkept) await this.#reopen();
    if (!this.#db) return;
    try {
      const transaction = this.#db.transaction(name, "readwrite");
      await Promise.all([write(transaction.store), transaction.done]);
      this.#others.postMessage("written");
    } catch (error) {
      this.#deny(error);
    }
  }

  async #reopen() {
    const { settings, ratings } = this;
    await this.open();
    Object.assign(this, { settings, ratings });
  }

  #close() {
    this.#db?.close();
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
