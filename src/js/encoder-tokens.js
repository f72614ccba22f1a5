// Token ids of many texts, and the parts in which they are embedded.

/** Texts one after another: `ends[i]` is where text i ends in `ids`. */
export class Tokens {
  /** @param {{ ids: Uint32Array, ends: Uint32Array }[]} parts */
  constructor(parts) {
    this.ids = new Uint32Array(parts.reduce((sum, { ids }) => sum + ids.length, 0));
    this.ends = new Uint32Array(parts.reduce((sum, { ends }) => sum + ends.length, 0));
    let [texts, tokens] = [0, 0];
    for (const { ids, ends } of parts) {
      this.ids.set(ids, tokens);
      ends.forEach((end, i) => (this.ends[texts + i] = tokens + end));
      texts += ends.length;
      tokens += ids.length;
    }
  }

  get texts() {
    return this.ends.length;
  }

  /** Where a part that begins with text `from` ends, for it to have at most `tokens`; one text has what it has. */
  until(from, tokens) {
    const most = this.#start(from) + tokens;
    let to = from + 1;
    while (to < this.texts && this.ends[to] <= most) to += 1;
    return to;
  }

  /** Texts `from` to `to` on their own, as wasm takes them. */
  part(from, to) {
    const start = this.#start(from);
    return { ids: this.ids.subarray(start, this.ends[to - 1]), ends: this.ends.slice(from, to).map((end) => end - start) };
  }

  #start(text) {
    return text === 0 ? 0 : this.ends[text - 1];
  }
}
