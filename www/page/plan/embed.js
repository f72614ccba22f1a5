/**
 * The embeddings' card: which prompts of the batch mean the same, found by a sentence-transformer that is loaded only
 * when it is asked for. The work is done in the router's thread (embed-methods.js).
 */
import { figure } from "../decision.js";
import { h, inError } from "../dom.js";
import { count } from "../format.js";
import { save } from "../save.js";
import { duration, pathReason, rateNote } from "./words.js";

/** Of a path in a sentence. */
const NAMES = { cpu: "CPU", gpu: "GPU" };
/** What is under way, before its progress is known. */
const STAGES = { load: "Loading the encoder", embed: "Embedding", compare: "Measuring the other path", duplicates: "Comparing the prompts" };

/**
 * @param {Record<string, any>} slot
 * @param {import("../../app.js").App} app
 * @param {() => void} onPlan called when the plan is to leave out other prompts than before
 */
export function embedCard(slot, app, onPlan) {
  const form = /** @type {HTMLFormElement} */ (slot["embed-form"]);
  const threshold = /** @type {HTMLInputElement} */ (slot["embed-threshold"]);
  const ask = (method, argument, options) => app.client.call("planEmbedding", { method, argument }, options);
  let [name, prompts] = ["", 0];
  /** There is an encoder to be loaded. */
  let ready = false;
  let working = new AbortController();

  /** Shows one stage of the card. @param {"form" | "work" | "result"} stage */
  function stage(stage) {
    slot["embed-form"].hidden = stage === "work";
    slot["embed-work"].hidden = stage !== "work";
    slot["embed-result"].hidden = stage !== "result";
  }

  /** What there is to embed with, looked up when the card is opened: until then it costs nothing. */
  async function look() {
    const { beside, lacking } = await ask("about");
    ready ||= beside;
    for (const radio of form.elements.path) radio.disabled = lacking !== null && radio.value !== "cpu";
    if (lacking) form.elements.path.value = "cpu";
    slot["embed-lacking"].textContent = lacking ? `No GPU: ${lacking}.` : "";
    slot["embed-from"].textContent = beside
      ? "From beside this page, 23 MB for each path, or from "
      : "This page was built without it: choose its files (manifest.json, vocab.txt and the two encoder files), ";
    showReady();
  }

  function showReady() {
    slot["embed-start"].disabled = !ready;
    slot["embed-start"].textContent = `Embed ${prompts === 1 ? "the prompt" : `${count(prompts)} prompts`}`;
  }

  /** Does something in place of what was being done. @param {(signal: AbortSignal) => Promise<void>} task */
  async function run(task) {
    working.abort();
    const mine = (working = new AbortController());
    slot["embed-error"].hidden = true;
    try {
      await task(mine.signal);
      mine.signal.throwIfAborted();
    } catch (error) {
      if (mine !== working) return;
      stage("form");
      slot["embed-start"].focus();
      if (error.code === "cancelled" || error.name === "AbortError") return;
      slot["embed-error"].replaceChildren(...inError(error));
      slot["embed-error"].hidden = false;
    }
  }

  /** Shows progress from now on. */
  function watch() {
    const began = {};
    slot["embed-doing"].textContent = STAGES.load;
    slot["embed-progress"].removeAttribute("value");
    return ({ stage, done, total }) => {
      began[stage] ??= { at: performance.now(), done };
      const rate = (done - began[stage].done) / ((performance.now() - began[stage].at) / 1000);
      const left = rate > 0 ? `, ${duration((total - done) / rate)} left` : "";
      const of = stage === "load" ? `: ${(done / 1e6).toFixed(0)} of ${(total / 1e6).toFixed(0)} MB`
        : stage === "compare" ? "" : `: ${count(done)} of ${count(total)} prompts${left}`;
      slot["embed-doing"].textContent = `${STAGES[stage]}${of}`;
      slot["embed-progress"].value = done / total;
    };
  }

  const embed = () => run(async (signal) => {
    stage("work");
    slot["embed-cancel"].focus();
    const options = { signal, onProgress: watch() };
    const path = form.elements.path.value;
    await leaveOut(false);
    const done = await ask("embed", path, options);
    const near = await ask("duplicates", threshold.valueAsNumber, options);
    signal.throwIfAborted();
    slot["embed-state"].textContent = `${count(done.receipt.texts)} embedded on the ${NAMES[done.receipt.path]}`;
    slot["embed-figures"].replaceChildren(...figures(done));
    slot["embed-why"].textContent = pathReason(done);
    showNear(near);
    stage("result");
    slot["embed-result"].focus();
  });

  /** Another threshold. */
  const compare = () => run(async (signal) => {
    const near = await ask("duplicates", threshold.valueAsNumber, { signal, onProgress: () => {} });
    signal.throwIfAborted();
    showNear(near);
    if (slot["embed-out"].checked) await leaveOut(true);
  });

  function showNear({ count: many, first }) {
    const share = many === 0 ? "No prompt repeats" : `${count(many)} of ${count(prompts)} prompts ${many === 1 ? "repeats" : "repeat"}`;
    slot["embed-found"].textContent = `${share} an earlier one in other words, or the same.`;
    slot["embed-out"].disabled = many === 0;
    slot["embed-list-box"].hidden = many === 0;
    slot["embed-list"].replaceChildren(
      ...first.map(({ id, text, cosine, repeats }) => h("li", {},
        h("span", { className: "quiet", textContent: `${id}, ${cosine.toFixed(3)} to ${repeats.id}` }),
        h("span", { className: "repeat", textContent: text }), h("span", { className: "repeat quiet", textContent: repeats.text }))),
      ...(many > first.length ? [h("li", { className: "quiet", textContent: `and ${count(many - first.length)} more` })] : []));
    slot["embed-said"].textContent = slot["embed-found"].textContent;
  }

  /** Leaves the near-duplicates out of the plan, or takes them in again. @param {boolean} out */
  async function leaveOut(out) {
    const before = slot["embed-left"].textContent;
    const left = out ? await ask("leaveOut", true) : await ask("leaveOut", false);
    slot["embed-out"].checked = out;
    slot["embed-left"].textContent = left > 0 ? `${count(left)} of them left out; in the saved csv they get the model of the prompt that they repeat.` : "";
    if (out || before) onPlan();
  }

  slot.embed.addEventListener("toggle", () => slot.embed.open && look());
  form.onsubmit = (event) => {
    event.preventDefault();
    embed();
  };
  slot["embed-choose"].onclick = () => slot["embed-files"].click();
  slot["embed-files"].onchange = async () => {
    const files = [...slot["embed-files"].files];
    slot["embed-files"].value = "";
    slot["embed-error"].hidden = true;
    try {
      await ask("take", files);
      ready = true;
      slot["embed-from"].textContent = `From ${count(files.length)} files of yours, or from `;
      showReady();
    } catch (error) {
      slot["embed-error"].replaceChildren(...inError(error));
      slot["embed-error"].hidden = false;
    }
  };
  slot["embed-cancel"].onclick = () => working.abort();
  threshold.onchange = () => threshold.checkValidity() && compare();
  slot["embed-out"].onchange = () => leaveOut(slot["embed-out"].checked);
  slot["embed-npy"].onclick = async () => save(await ask("npy"), `${name}-embeddings.npy`);

  return {
    /** Another batch: what was embedded is none of it. @param {{ name: string, estimated: number }} batch */
    start(batch) {
      working.abort();
      [name, prompts] = [batch.name, batch.estimated];
      slot["embed-state"].textContent = "to find those that ask the same";
      slot["embed-left"].textContent = "";
      slot["embed-out"].checked = false;
      slot["embed-error"].hidden = true;
      stage("form");
      showReady();
    },
  };
}

const pace = (rate) => (rate < 10 ? rate.toFixed(1) : count(rate));

/** Both paths' rates, the one that was used first. */
function* figures({ receipt, rates }) {
  const paths = receipt.path === "cpu" ? ["cpu", "gpu"] : ["gpu", "cpu"];
  for (const path of paths) {
    const rate = rates[path];
    const used = path === receipt.path;
    yield figure(`On the ${NAMES[path]}`, rate ? `${pace(rate.per_second)} texts/s` : "–", rateNote(path, receipt, rate), null, used ? "used" : "");
  }
}
