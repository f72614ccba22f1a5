/**
 * One tenant's books: what was promised, what was used, and what is left of each limit.
 *
 * An isolate holds a *lease*: an amount of each limit that it may draw without asking. Every call is
 * an *entry*, drawn from the lease at its start and settled with its real usage at its end. Leases,
 * open entries and charges together never exceed a limit, so that it holds whatever any isolate does
 * without being heard:
 *
 * - An isolate that falls silent loses its lease when it expires. What it may have drawn in the
 *   meantime without our hearing of it becomes an open entry of its own, the *doubt*, until the
 *   isolate speaks again. An idle isolate gives its lease back, so that none is left in doubt.
 * - An open entry whose deadline passes (no call lasts longer) gives back its slot; the money and
 *   tokens that it reserved stay charged, marked `unsettled`, until its usage arrives after all.
 *
 * Every message may arrive twice, late, or out of order: an entry is known by its id, and each message
 * tells all calls that were not yet acknowledged. A lease is asked for as a level, not as an increment,
 * and shrinks only by what its isolate has stopped drawing from. Only this clock counts; isolates are
 * told durations.
 *
 * SQLite holds all of it. Memory holds the sums, made anew from the entries after a restart.
 */

/** @typedef {import("./limits.js").Limit} Limit */
/**
 * A call as its isolate reports it, once or as often as it likes.
 * @typedef {object} Call
 * @property {string} id
 * @property {string} key the client key's name, or ""
 * @property {string} model
 * @property {Record<string, number>} amounts reserved, by limit
 * @property {number} nanodollars reserved
 * @property {number | null} quality estimated, 0 to 1
 * @property {number} ms the most that it may last from now
 * @property {boolean} [leased] drawn from the isolate's lease, rather than asked for
 * @property {Usage} [usage] once it has ended
 *
 * @typedef {{state: "settled" | "unsettled" | "void", nanodollars: number, input_tokens: number, output_tokens: number}} Usage
 *   `unsettled`: how much was used will never be known, the reservation is charged; `void`: nothing was
 *
 * @typedef {{at: number, deadline: number, isolate: string, amounts: Record<string, number>, nanodollars: number, state: string}} Entry
 * @typedef {{expires: number, seq: number, turn: number, amounts: Record<string, number>}} Lease
 *   `seq` of the isolate's latest message, `turn` of our latest answer
 * @typedef {{limit: string, retry_ms: number | null}} Refusal `null`: not before the period ends, or never
 */

/** A minute, and a second for the way from the ledger's word to the provider's ears. */
const MINUTE_S = 61;
/** Most of what is left that one isolate is given ahead of need. */
const SHARE = 1 / 4;

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS entries (
    n INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, state TEXT NOT NULL, isolate TEXT NOT NULL, key TEXT NOT NULL, model TEXT NOT NULL,
    at INTEGER NOT NULL, deadline INTEGER NOT NULL, amounts TEXT NOT NULL, reserved INTEGER NOT NULL,
    nanodollars INTEGER NOT NULL, input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, quality REAL);
  CREATE INDEX IF NOT EXISTS open_entries ON entries (state) WHERE state = 'open';
  CREATE INDEX IF NOT EXISTS entries_at ON entries (at);
  CREATE INDEX IF NOT EXISTS doubts ON entries (isolate) WHERE id LIKE 'doubt %';
  CREATE TABLE IF NOT EXISTS limits (name TEXT PRIMARY KEY, unit TEXT NOT NULL, win TEXT, max INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS charges (name TEXT, period TEXT, amount INTEGER NOT NULL, PRIMARY KEY (name, period));
  CREATE TABLE IF NOT EXISTS leases (
    isolate TEXT PRIMARY KEY, expires INTEGER NOT NULL, seq INTEGER NOT NULL, turn INTEGER NOT NULL, amounts TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS feedback (entry INTEGER PRIMARY KEY, correct REAL NOT NULL, at INTEGER NOT NULL);
`;

/** One limit and all that counts against it. */
class Account {
  /** By UTC day or month. @type {Map<string, number>} */
  charges = new Map();
  /** By second, for what leaves after a minute. @type {Map<number, number>} */
  seconds = new Map();
  /** Calls under way. */
  open = 0;
  /** In the hands of isolates. */
  leased = 0;

  /** @param {Limit} limit */
  constructor(limit) {
    this.limit = limit;
  }

  /** @param {number} amount may be negative @param {number} at when the call was drawn, ms */
  add(amount, at) {
    const { window } = this.limit;
    if (window === null) this.open += amount;
    else if (window === "minute") addTo(this.seconds, Math.floor(at / 1000), amount);
    else addTo(this.charges, period(window, at), amount);
  }

  /** @param {number} now */
  used(now) {
    const { window } = this.limit;
    if (window === null) return this.open;
    if (window !== "minute") return this.charges.get(period(window, now)) ?? 0;
    let sum = 0;
    for (const [second, amount] of this.seconds) {
      if (second + MINUTE_S <= now / 1000 - 1) this.seconds.delete(second);
      else sum += amount;
    }
    return sum;
  }

  /** What nobody has. @param {number} now */
  free(now) {
    return Math.max(0, this.limit.max - this.used(now) - this.leased);
  }

  /** How long to wait for some of it. @param {number} now @returns {number | null} */
  retryMs(now) {
    const { window } = this.limit;
    if (window === null) return 1000;
    if (window !== "minute") return null;
    const oldest = Math.min(...this.seconds.keys());
    return Number.isFinite(oldest) ? Math.max(1000, (oldest + MINUTE_S + 1) * 1000 - now) : 1000;
  }
}

export class Books {
  /** @type {Map<string, Account>} */
  #accounts = new Map();
  /** @type {Map<string, Lease>} */
  #leases = new Map();
  /** @type {Map<string, Entry>} */
  #open = new Map();
  #sql;
  #leaseMs;
  #callMs;
  /** Of answers; grows even over a restart. */
  #turn;
  /** Charges to write at the end of a message. @type {Set<string>} */
  #charged = new Set();

  /**
   * @param {{exec: (query: string, ...bindings: any[]) => {toArray: () => any[]}}} sql
   * @param {{leaseMs: number, callMs: number}} durations of a lease; of the longest call, for what is in doubt
   * @param {number} now ms
   */
  constructor(sql, { leaseMs, callMs }, now) {
    this.#sql = sql;
    this.#leaseMs = leaseMs;
    this.#callMs = callMs;
    this.#turn = now;
    sql.exec(SCHEMA);
    for (const { name, unit, win, max } of this.#rows("SELECT * FROM limits")) this.#accounts.set(name, new Account({ unit, window: win, max }));
    for (const { name, period, amount } of this.#rows("SELECT * FROM charges")) this.#accounts.get(name)?.charges.set(period, amount);
    for (const { isolate, amounts, ...row } of this.#rows("SELECT * FROM leases")) {
      const lease = { ...row, amounts: JSON.parse(amounts) };
      this.#leases.set(isolate, lease);
      this.#turn = Math.max(this.#turn, lease.turn);
      for (const [account, amount] of this.#of(lease.amounts)) account.leased += amount;
    }
    const recent = now - (MINUTE_S + 1) * 1000;
    for (const row of this.#rows("SELECT * FROM entries WHERE state = 'open' OR at > ?", recent)) {
      const entry = entryOf(row);
      if (entry.state === "open") this.#open.set(row.id, entry);
      for (const [account, amount] of this.#of(entry.amounts)) {
        if (account.limit.window === "minute" || (account.limit.window === null && entry.state === "open")) account.add(amount, entry.at);
      }
    }
  }

  /**
   * One message of an isolate: the calls that it began and ended, those that it asks for because its
   * lease is too small, and the levels that it would like its lease to have.
   * @param {object} message
   * @param {string} message.isolate
   * @param {number} message.seq counts the isolate's messages
   * @param {number} message.heard the latest `turn` that it has heard of
   * @param {Record<string, Limit>} message.limits that the message names
   * @param {Call[]} message.calls
   * @param {Call[]} message.asks
   * @param {Record<string, number>} message.want
   * @param {boolean} message.stopped it draws nothing from its lease until it has the answer
   * @param {number} now
   */
  exchange({ isolate, seq, heard, limits, calls, asks, want, stopped }, now) {
    this.expire(now);
    this.#define(limits);
    const turn = ++this.#turn;
    const lease = this.#leases.get(isolate) ?? { expires: 0, seq, turn, amounts: {} };
    this.#leases.set(isolate, lease);
    for (const call of calls) {
      // What was not drawn from the lease must not shrink what the isolate may be drawing from.
      if (!this.#entry(call.id)) call.leased ? this.#draw(call, isolate, lease, now) : this.#enter(call, isolate, now);
      if (call.usage) this.#settle(call.id, call.usage);
    }
    this.#clear(isolate, heard);
    // What the isolate may be drawing from at this moment is not to be touched; a late message no longer
    // says whether it does.
    const ours = stopped && seq >= lease.seq;
    /** @type {Record<string, Refusal | null>} */
    const answers = {};
    for (const call of asks) {
      const known = this.#entry(call.id);
      answers[call.id] = known ? null : this.#refuse(call, ours ? lease.amounts : {}, now);
      if (known || answers[call.id]) continue;
      if (ours) this.#draw(call, isolate, lease, now);
      else this.#enter(call, isolate, now);
    }
    for (const name of new Set([...Object.keys(lease.amounts), ...Object.keys(want)])) this.#level(lease, name, want[name] ?? 0, ours, now);
    Object.assign(lease, { expires: now + this.#leaseMs, seq: Math.max(seq, lease.seq), turn });
    if (Object.keys(lease.amounts).length === 0) this.#drop(isolate);
    else this.#sql.exec("INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?, ?)", isolate, lease.expires, lease.seq, turn, JSON.stringify(lease.amounts));
    this.#write();
    return { turn, lease: { ...lease.amounts }, ms: this.#leaseMs, answers, left: this.#left(Object.keys(limits), now) };
  }

  /** Takes back what is overdue. @param {number} now */
  expire(now) {
    for (const [isolate, { expires, turn, amounts }] of this.#leases) {
      if (expires > now) continue;
      this.#drop(isolate);
      const nanodollars = Math.max(0, ...this.#of(amounts).map(([account, amount]) => (account.limit.unit === "nanodollars" ? amount : 0)));
      this.#enter({ id: `doubt ${isolate} ${turn}`, key: "", model: "", amounts, nanodollars, quality: null, ms: this.#callMs }, isolate, now);
    }
    for (const [id, { deadline, nanodollars }] of this.#open) {
      if (deadline <= now) this.#settle(id, { state: "unsettled", nanodollars, input_tokens: 0, output_tokens: 0 });
    }
    this.#write();
  }

  /** Whether time alone will change anything: leases or calls are out. */
  get busy() {
    return this.#leases.size > 0 || this.#open.size > 0;
  }

  /** Limits with what is used, leased and left of them. @param {number} now */
  report(now) {
    this.expire(now);
    const [totals] = this.#rows(`SELECT COUNT(*) AS calls, COALESCE(SUM(nanodollars), 0) AS nanodollars, COALESCE(SUM(input_tokens), 0) AS input_tokens,
      COALESCE(SUM(output_tokens), 0) AS output_tokens, COALESCE(SUM(state = 'open'), 0) AS open, COALESCE(SUM(state = 'unsettled'), 0) AS unsettled FROM entries`);
    const feedback = this.#rows(`SELECT model, COUNT(*) AS answers, AVG(correct) AS correct, AVG(quality) AS expected
      FROM feedback JOIN entries ON entries.n = feedback.entry GROUP BY model ORDER BY answers DESC`);
    return { totals, limits: this.limits(now), isolates: this.#leases.size, feedback };
  }

  /**
   * How good an answer was; told again, it replaces what was told before.
   * @param {string} decision its id
   * @param {string} key of the client that asked for it
   * @param {number} correct 0 to 1
   * @param {number} now
   * @returns {string | null} the model that had answered; null: the client has no such answer
   */
  feedback(decision, key, correct, now) {
    // The last of a decision's calls is the one that answered.
    const query = "SELECT n, model FROM entries WHERE id >= ? AND id < ? AND key = ? AND state IN ('settled', 'unsettled') ORDER BY n DESC LIMIT 1";
    const [entry] = this.#rows(query, `${decision}.`, `${decision}/`, key);
    if (!entry) return null;
    this.#sql.exec("INSERT OR REPLACE INTO feedback VALUES (?, ?, ?)", entry.n, correct, now);
    return entry.model;
  }

  /** @param {number} now */
  limits(now) {
    return [...this.#accounts].map(([name, account]) => ({
      ...{ name, ...account.limit, used: account.used(now), leased: account.leased, free: account.free(now) },
    }));
  }

  /** Entries in the order in which they were drawn. @param {number} after the last one seen @param {number} most */
  entries(after, most) {
    return this.#rows("SELECT * FROM entries WHERE n > ? ORDER BY n LIMIT ?", after, most).map(({ amounts, ...row }) => ({ ...row, amounts: JSON.parse(amounts) }));
  }

  /**
   * Forgets old entries, and periods that ended; the sums of present periods do not depend on them.
   * @param {number} until ms
   * @param {number} most entries to keep
   */
  prune(until, most) {
    const [{ last }] = this.#rows("SELECT COALESCE(MAX(n), 0) AS last FROM entries");
    this.#sql.exec("DELETE FROM entries WHERE (at < ? OR n <= ?) AND state != 'open'", until, last - most);
    this.#sql.exec("DELETE FROM feedback WHERE entry < (SELECT MIN(n) FROM entries)");
    for (const [name, { charges }] of this.#accounts) {
      for (const key of charges.keys()) {
        if (Date.parse(key.length === 7 ? `${key}-28` : key) + 4 * 86_400_000 >= until) continue;
        charges.delete(key);
        this.#sql.exec("DELETE FROM charges WHERE name = ? AND period = ?", name, key);
      }
    }
  }

  /** @param {Record<string, Limit>} limits as the policy has them now */
  #define(limits) {
    for (const [name, limit] of Object.entries(limits)) {
      const account = this.#accounts.get(name);
      if (account && account.limit.max === limit.max) continue;
      if (account) account.limit = limit;
      else this.#accounts.set(name, new Account(limit));
      this.#sql.exec("INSERT OR REPLACE INTO limits VALUES (?, ?, ?, ?)", name, limit.unit, limit.window, limit.max);
    }
  }

  /**
   * The limit that leaves no room for a call, if one does.
   * @param {Call} call
   * @param {Record<string, number>} held by its isolate, which may be used up for it
   * @param {number} now
   * @returns {Refusal | null}
   */
  #refuse({ amounts }, held, now) {
    for (const [name, amount] of Object.entries(amounts)) {
      const account = this.#accounts.get(name);
      if (!account || amount <= (held[name] ?? 0) + account.free(now)) continue;
      return { limit: name, retry_ms: amount > account.limit.max ? null : account.retryMs(now) };
    }
    return null;
  }

  /** @param {Call} call @param {string} isolate @param {Lease} lease @param {number} now */
  #draw(call, isolate, lease, now) {
    for (const [account, amount, name] of this.#of(call.amounts)) this.#take(lease, name, account, Math.min(amount, lease.amounts[name] ?? 0));
    this.#enter(call, isolate, now);
  }

  /** @param {Call} call @param {string} isolate @param {number} now */
  #enter({ id, key, model, amounts, nanodollars, quality, ms }, isolate, now) {
    const entry = { at: now, deadline: now + ms, isolate, amounts, nanodollars, state: "open" };
    this.#open.set(id, entry);
    for (const [account, amount, name] of this.#of(amounts)) {
      account.add(amount, now);
      this.#note(account, name, now);
    }
    this.#sql.exec(
      `INSERT INTO entries (id, state, isolate, key, model, at, deadline, amounts, reserved, nanodollars, input_tokens, output_tokens, quality)
       VALUES (?, 'open', ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, ?)`,
      ...[id, isolate, key, model, now, entry.deadline, JSON.stringify(amounts), nanodollars, nanodollars, quality],
    );
  }

  /** An entry of any state that may still change. @param {string} id @returns {Entry | undefined} */
  #entry(id) {
    const open = this.#open.get(id);
    if (open) return open;
    const [row] = this.#rows("SELECT * FROM entries WHERE id = ?", id);
    return row && entryOf(row);
  }

  /**
   * Puts what was used in place of what was reserved. An entry is settled once; one that was given up
   * as `unsettled` may be settled late.
   * @param {string} id
   * @param {Usage} usage
   */
  #settle(id, usage) {
    const entry = this.#entry(id);
    if (!entry || entry.state === "settled" || entry.state === "void" || entry.state === usage.state) return;
    const { state, input_tokens, output_tokens } = usage;
    const nanodollars = state === "unsettled" ? entry.nanodollars : usage.nanodollars;
    for (const [account, amount, name] of this.#of(entry.amounts)) {
      const { unit } = account.limit;
      if (unit === "calls") {
        if (entry.state === "open") account.add(-amount, entry.at);
        continue;
      }
      if (state === "unsettled") continue;
      // A request that a provider refused has still been made.
      const used = { nanodollars, tokens: input_tokens + output_tokens, requests: amount }[unit];
      account.add(used - amount, entry.at);
      this.#note(account, name, entry.at);
      entry.amounts[name] = used;
    }
    this.#open.delete(id);
    this.#sql.exec(
      "UPDATE entries SET state = ?, nanodollars = ?, input_tokens = ?, output_tokens = ?, amounts = ? WHERE id = ?",
      ...[state, nanodollars, input_tokens, output_tokens, JSON.stringify(entry.amounts), id],
    );
  }

  /**
   * Ends the doubt about an isolate that has heard of its lease's end: its messages since then tell
   * every call that it drew from that lease.
   * @param {string} isolate
   * @param {number} heard
   */
  #clear(isolate, heard) {
    for (const row of this.#rows("SELECT * FROM entries WHERE isolate = ? AND id LIKE 'doubt %'", isolate)) {
      if (Number(row.id.split(" ")[2]) >= heard) continue;
      const { at, amounts, state } = entryOf(row);
      for (const [account, amount, name] of this.#of(amounts)) {
        if (account.limit.window !== null || state === "open") account.add(-amount, at);
        this.#note(account, name, at);
      }
      this.#open.delete(row.id);
      this.#sql.exec("DELETE FROM entries WHERE id = ?", row.id);
    }
  }

  /**
   * Brings a lease up to a level, as far as there is enough, and down to it where that is safe.
   * @param {Lease} lease
   * @param {string} name
   * @param {number} level
   * @param {boolean} ours to shrink
   * @param {number} now
   */
  #level(lease, name, level, ours, now) {
    const account = this.#accounts.get(name);
    if (!account) return;
    const lacks = Math.floor(level) - (lease.amounts[name] ?? 0);
    if (lacks > 0) this.#take(lease, name, account, -Math.min(lacks, Math.floor(account.free(now) * SHARE)));
    else if (ours) this.#take(lease, name, account, -lacks);
  }

  /** @param {Lease} lease @param {string} name @param {Account} account @param {number} amount out of the lease; negative: into it */
  #take(lease, name, account, amount) {
    const left = (lease.amounts[name] ?? 0) - amount;
    account.leased -= amount;
    if (left > 0) lease.amounts[name] = left;
    else delete lease.amounts[name];
  }

  /** @param {string} isolate */
  #drop(isolate) {
    for (const [account, amount] of this.#of(this.#leases.get(isolate)?.amounts ?? {})) account.leased -= amount;
    this.#leases.delete(isolate);
    this.#sql.exec("DELETE FROM leases WHERE isolate = ?", isolate);
  }

  /** What is left of limits, leases apart. @param {string[]} names @param {number} now @returns {Record<string, number>} */
  #left(names, now) {
    return Object.fromEntries(names.map((name) => [name, this.#accounts.get(name)?.free(now) ?? 0]));
  }

  /** Accounts with amounts, by name. @param {Record<string, number>} amounts @returns {[Account, number, string][]} */
  #of(amounts) {
    return Object.entries(amounts).flatMap(([name, amount]) => {
      const account = this.#accounts.get(name);
      return account ? [/** @type {[Account, number, string]} */ ([account, amount, name])] : [];
    });
  }

  /** Notes that a charge is to be written. @param {Account} account @param {string} name @param {number} at */
  #note({ limit: { window } }, name, at) {
    if (window === "day" || window === "month") this.#charged.add(JSON.stringify([name, period(window, at)]));
  }

  #write() {
    for (const noted of this.#charged) {
      const [name, key] = JSON.parse(noted);
      this.#sql.exec("INSERT OR REPLACE INTO charges VALUES (?, ?, ?)", name, key, this.#accounts.get(name)?.charges.get(key) ?? 0);
    }
    this.#charged.clear();
  }

  /** @param {string} query @param {any[]} bindings */
  #rows(query, ...bindings) {
    return this.#sql.exec(query, ...bindings).toArray();
  }
}

/** @param {any} row @returns {Entry} */
function entryOf({ at, deadline, isolate, amounts, reserved, state }) {
  return { at, deadline, isolate, amounts: JSON.parse(amounts), nanodollars: reserved, state };
}

/** The UTC day or month of a moment, `YYYY-MM-DD` or `YYYY-MM`. @param {"day" | "month"} window @param {number} at */
function period(window, at) {
  return new Date(at).toISOString().slice(0, window === "day" ? 10 : 7);
}

/** @template K @param {Map<K, number>} map @param {K} key @param {number} amount */
function addTo(map, key, amount) {
  map.set(key, (map.get(key) ?? 0) + amount);
}
