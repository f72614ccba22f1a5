/** *Learn*: answers that are rated, and what they teach. */
import { inWords, levelInterval } from "./ability.js";
import { byId, h, refill, slots } from "./dom.js";
import { CODES, count, effortName, modelParts, percent, shortName, usdPerThousand } from "./format.js";
import { badRows } from "./models/fitted.js";
import { readRequest } from "./policy.js";
import { save } from "./save.js";
import { levelChart } from "./track.js";

/** A pause in typing this long asks for a decision. */
const DEBOUNCE_MS = 150;
/** The latest ratings that are listed. */
const MOST_LISTED = 30;

/** @param {import("../app.js").App} app */
export function mount(app) {
  const slot = slots(byId("learn"));
  const { client, state } = app;
  const prompt = /** @type {HTMLTextAreaElement} */ (byId("rate-prompt"));
  const model = /** @type {HTMLSelectElement} */ (byId("rate-model"));
  /** The user has said who answered; until then it is whom the router would have asked. */
  let picked = false;
  /** The prompt is the user's own. */
  let edited = false;
  /**
   * The decision that is asked for, as it was before the prompt was rated here: when it had `rated` ratings.
   * @type {{ asked: string, changes: object | undefined, rated: number, decision: import("pennyroute").Decision } | null}
   */
  let first = null;
  let timer = 0;

  prompt.oninput = () => {
    edited = true;
    slot.decision.ariaBusy = "true";
    clearTimeout(timer);
    timer = setTimeout(fresh, DEBOUNCE_MS);
  };
  model.onchange = () => {
    picked = true;
  };
  slot.rate.onsubmit = (event) => event.preventDefault();
  slot.rate.onkeydown = (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    // Keys that are held down rate once.
    if (!event.repeat) rate(!event.shiftKey);
  };
  slot.right.onclick = () => rate(true);
  slot.wrong.onclick = () => rate(false);
  slot.undo.onclick = undo;
  slot.keep.onchange = () => {
    state.set("prompts", slot.keep.checked ? [] : undefined);
    app.emit("kept");
  };
  slot.import.onclick = () => slot.file.click();
  slot.file.onchange = importRatings;
  slot.export.onclick = exportRatings;
  slot["export-cli"].onclick = exportForFit;
  slot.erase.onclick = () => app.unrate((ratings) => ratings);
  for (const event of ["settings", "kept"]) app.addEventListener(event, tried);
  for (const event of ["settings", "shown"]) app.addEventListener(event, takePrompt);
  takePrompt();
  app.follow("learn", refresh);

  /** The policy of *Try*, and its prompt, as long as there is none of this view's own. */
  function takePrompt() {
    if (byId("learn").hidden) return;
    const { value } = byId("prompt");
    const other = !edited && prompt.value !== value;
    if (other) prompt.value = value;
    if (!app.loaded) return;
    if (other) fresh();
    else if (first && first.asked !== JSON.stringify(request())) decide();
  }

  /** What *Try* would ask for this prompt, by the policy there. */
  function request() {
    return readRequest(byId("policy"), prompt.value);
  }

  /** Ratings of the prompt. */
  const rated = () => state.ratings.filter((rating) => rating.prompt === prompt.value).length;

  /** Over a catalog that is new: the models, the decision and what the ratings did. */
  async function refresh() {
    const { catalog } = await client.call("catalog");
    const { value } = model;
    model.replaceChildren(...catalog.models.map(({ id }) => h("option", { value: id, textContent: `${shortName(id)} · ${modelParts(id).provider}` })));
    if (value) model.value = value;
    list();
    tried();
    await decide();
    showTracks(await client.call("tracks"));
  }

  /** Another prompt: it has a decision of its own, and whoever that chooses is likely to have answered. */
  function fresh() {
    picked = false;
    decide();
  }

  async function decide() {
    const text = prompt.value;
    if (!text.trim()) slot.decision.ariaBusy = "false";
    if (!text.trim()) return slot.decision.replaceChildren(h("p", { className: "quiet", textContent: "Paste a prompt, and what would be chosen for it stands here." }));
    try {
      const asked = request();
      const { decision } = await client.call("consider", asked);
      if (prompt.value !== text) return;
      if (!picked && decision.model) model.value = decision.model;
      // Over other prices than before it is another decision, whatever the ratings do to it.
      const { changes } = state.settings;
      const key = JSON.stringify(asked);
      if (first?.asked !== key || first.changes !== changes) first = { asked: key, changes, rated: rated(), decision };
      showDecision(decision);
    } catch (error) {
      fail(error);
    }
    slot.decision.ariaBusy = "false";
  }

  /** @param {import("pennyroute").Decision} decision */
  function showDecision(decision) {
    const before = first.decision;
    const same = before.model === decision.model;
    const moved = rated() <= first.rated ? ""
      : !same ? `Before your ratings of this prompt: ${before.model ? shortName(before.model) : "none"}.`
      : before.quality && before.quality.estimate !== decision.quality.estimate ? `Its quality was ${percent(before.quality.estimate, 1)} before your ratings of this prompt.`
      : "";
    slot.decision.replaceChildren(
      h("p", { className: "chosen", textContent: modelParts(decision.model ?? "").name || "No model may answer this" }),
      h("p", { className: "byline" }, h("span", { className: "provider", textContent: maker(decision.model ?? "") }), h("span", { className: `pill ${decision.code}`, textContent: CODES[decision.code] ?? decision.code })),
      h("p", { className: "quiet", textContent: decision.quality ? `${percent(decision.quality.estimate, 1)} expected quality, ${usdPerThousand(decision.cost_usd.estimate)} per 1,000 such calls` : decision.reason }),
      moved ? h("p", { className: "moved", textContent: moved }) : null);
  }

  /** @param {boolean} correct */
  async function rate(correct) {
    fail(null);
    if (!prompt.value.trim()) {
      fail({ message: "A rating needs the prompt that was answered." });
      return prompt.focus();
    }
    const outcome = { prompt: prompt.value, model: model.value, correct };
    // Whom it names stays, and a decision that is still due is made before it counts.
    picked = true;
    clearTimeout(timer);
    if (first?.asked !== JSON.stringify(request())) await decide();
    try {
      await app.rate([outcome]);
      slot.said.textContent = `${shortName(outcome.model)} was ${correct ? "right" : "wrong"}: rating ${count(state.ratings.length)} is kept.`;
    } catch (error) {
      fail(error);
    }
  }

  async function undo() {
    const [last] = await app.unrate((ratings) => ratings.slice(-1));
    if (last) slot.said.textContent = `The rating of ${shortName(last.model)} is taken back.`;
  }

  function list() {
    const { ratings } = state;
    const any = ratings.length > 0;
    if (!any && [slot.undo, slot.erase].includes(document.activeElement)) slot.right.focus();
    for (const name of ["undo", "export", "export-cli", "erase"]) slot[name].hidden = !any;
    slot.count.textContent = any ? `${count(ratings.length)}, with their prompts, in this browser only` : "";
    const latest = ratings.slice(-MOST_LISTED).reverse();
    const older = ratings.length > MOST_LISTED ? [h("li", { className: "quiet", textContent: `and ${count(ratings.length - MOST_LISTED)} older ones` })] : [];
    refill(slot.ratings, [...(any ? latest.map(line) : [h("li", { className: "quiet", textContent: "None yet." })]), ...older], slot.right);
  }

  /** @param {import("./state.js").Rating} rating */
  function line(rating) {
    const { id, model, correct } = rating;
    const verdict = Number(correct) === 1 ? "right" : Number(correct) === 0 ? "wrong" : percent(Number(correct));
    return h("li", {},
      h("span", { className: `pill ${verdict === "right" ? "right" : "wrong"}`, textContent: verdict }),
      h("span", { className: "name", textContent: shortName(model) }),
      h("span", { className: "text quiet", textContent: textOf(rating) }),
      h("button", { type: "button", className: "link", textContent: "Remove", "aria-label": `Remove the rating of ${shortName(model)}`, onclick: () => app.unrate((ratings) => ratings.filter((rating) => rating.id === id)) }));
  }

  function tried() {
    const { prompts } = state.settings;
    slot.keep.checked = prompts !== undefined;
    slot.prompts.replaceChildren(...(prompts ?? []).map((text) => h("li", {}, h("button", {
      type: "button",
      className: "chip",
      textContent: text.length > 70 ? `${text.slice(0, 69)}…` : text,
      onclick: () => {
        edited = true;
        prompt.value = text;
        fresh();
        prompt.focus();
      },
    }))));
  }

  /** @param {any[]} tracks */
  function showTracks(tracks) {
    slot.tracks.replaceChildren(...tracks.map(({ model, levels, right }) => {
      const intervals = levels.map(({ ratings, mean, sd }) => ({ ratings, ...levelInterval(mean, sd) }));
      const last = intervals.at(-1);
      return h("figure", { className: "track" },
        h("figcaption", {}, h("span", { className: "name", textContent: shortName(model) }), h("span", { className: "quiet", textContent: `${count(right)} of ${count(last.ratings)} right` })),
        levelChart(intervals),
        h("p", { className: "quiet" }, intervals[0].ratings === 0 ? `${percent(intervals[0].estimate, 1)} → ` : "", h("strong", { textContent: inWords(last) })));
    }));
    if (tracks.length === 0) slot.tracks.replaceChildren(h("p", { className: "quiet", textContent: "Rate an answer, and the ability of its model is drawn here, rating by rating." }));
  }

  async function importRatings() {
    const [file] = slot.file.files;
    fail(null);
    slot.bad.hidden = true;
    try {
      const { outcomes, bad } = await client.call("readOutcomes", { file });
      await app.rate(outcomes);
      slot.said.textContent = `${count(outcomes.length)} ratings are added.`;
      slot.bad.hidden = bad.length === 0;
      slot.bad.replaceChildren(...badRows(bad).map((part) => h("li", {}, part)));
    } catch (error) {
      fail(error);
    }
    slot.file.value = "";
  }

  function exportRatings() {
    const rows = state.ratings.map(({ id, ...outcome }) => JSON.stringify(outcome));
    save(lines(rows, "application/x-ndjson"), "outcomes.jsonl");
  }

  /** The command takes two files: queries, and outcomes that name them. */
  function exportForFit() {
    const texts = [...new Set(state.ratings.map(({ prompt, messages }) => JSON.stringify(messages ? { messages } : { text: prompt })))];
    const ids = new Map(texts.map((text, i) => [text, `q${i + 1}`]));
    const key = ({ prompt, messages }) => ids.get(JSON.stringify(messages ? { messages } : { text: prompt }));
    save(lines(texts.map((text) => JSON.stringify({ query_id: ids.get(text), ...JSON.parse(text) })), "application/x-ndjson"), "queries.jsonl");
    const rows = state.ratings.map((rating) => [key(rating), rating.model, Number(rating.correct), rating.output_tokens ?? ""].join(","));
    save(lines(["query_id,model,correct,output_tokens", ...rows], "text/csv"), "outcomes.csv");
  }

  /** @param {{ code?: string, message: string } | null} error */
  function fail(error) {
    slot.error.hidden = error === null;
    slot.error.replaceChildren(...(error ? [...(error.code ? [h("code", { textContent: error.code })] : []), ` ${error.message}`] : []));
  }
}

/** @param {string[]} rows @param {string} type */
const lines = (rows, type) => new Blob([`${rows.join("\n")}\n`], { type });

/** Who serves a model, and at which effort. @param {string} id */
function maker(id) {
  const { provider, effort } = modelParts(id);
  return [provider, effort && effortName(effort)].filter(Boolean).join(" · ");
}

/** What was asked, in a line. @param {import("./state.js").Rating} rating */
function textOf({ prompt, messages }) {
  const content = prompt ?? messages?.findLast(({ role }) => role === "user")?.content;
  return typeof content === "string" ? content : JSON.stringify(content ?? "");
}
