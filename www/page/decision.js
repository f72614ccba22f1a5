/** The decision card: what was chosen, why, what it costs and what comes next if it fails. */
import { h, slots } from "./dom.js";
import { CODES, count, effortName, elapsed, modelParts, nameInText, percent, percentRange, shortName, usd, usdPerThousand } from "./format.js";

/** Screen readers hear a decision once the typing has paused this long. */
const ANNOUNCE_AFTER_MS = 900;

/** @param {HTMLElement} card */
export function decisionCard(card) {
  const slot = slots(card);
  const progress = /** @type {HTMLProgressElement} */ (card.querySelector("progress"));
  let announcement = 0;

  return {
    /**
     * @param {number} loaded
     * @param {number} [total]
     */
    progress(loaded, total) {
      const megabytes = (bytes) => (bytes / 1e6).toFixed(1);
      slot["loading-text"].textContent = total
        ? `Loading the router: ${megabytes(loaded)} of ${megabytes(total)} MB`
        : `Loading the router: ${megabytes(loaded)} MB`;
      if (total) {
        progress.max = total;
        progress.value = loaded;
      }
    },

    /** @param {{ code: string, message: string }} error */
    error({ code, message }, retry = null) {
      slot.loading.hidden = true;
      slot.error.replaceChildren(
        h("code", { textContent: code }),
        ` ${message} `,
        retry && h("button", { type: "button", className: "link", textContent: "Try again", onclick: retry }),
      );
      slot.error.hidden = false;
      card.classList.add("stale");
      card.ariaBusy = "false";
    },

    loading() {
      slot.error.hidden = true;
      slot.loading.hidden = false;
      card.ariaBusy = "true";
    },

    /**
     * @param {import("pennyroute").Decision} decision
     * @param {import("./rows.js").Row[]} rows
     */
    show(decision, rows) {
      slot.loading.hidden = true;
      slot.error.hidden = true;
      slot.body.hidden = false;
      card.ariaBusy = "false";
      card.classList.remove("stale");
      card.classList.toggle("none", decision.model === null);

      const { provider, name, effort } = modelParts(decision.model ?? "");
      slot.model.textContent = name || "No model may answer this";
      slot.provider.textContent = [provider, effort && (effort === "none" ? effortName(effort) : `${effort} effort`)].filter(Boolean).join(" · ");
      slot.code.textContent = CODES[decision.code] ?? decision.code;
      slot.code.className = `pill ${decision.code}`;
      slot.reason.textContent = decision.reason;
      slot.elapsed.textContent = `decided in ${elapsed(decision.elapsed_us)}`;
      slot.figures.replaceChildren(...figures(decision));
      slot.unfamiliar.hidden = decision.in_distribution;
      slot.fallbacks.hidden = decision.fallbacks.length === 0;
      slot["fallback-list"].replaceChildren(...fallbacks(decision, rows));

      clearTimeout(announcement);
      announcement = setTimeout(() => {
        slot.announcement.textContent = spoken(decision);
      }, ANNOUNCE_AFTER_MS);
    },
  };
}

/** @param {import("pennyroute").Decision} decision */
function* figures({ quality, cost_usd: cost, baseline, saving_usd: saving }) {
  if (quality) {
    yield figure("Expected quality", percent(quality.estimate), `90 % interval ${percentRange(quality)}`, gauge(quality));
  }
  if (cost) {
    yield figure("Cost of this call", usd(cost.estimate), `${usdPerThousand(cost.estimate)} per 1,000 such calls`);
  }
  if (baseline && saving !== null) {
    const share = percent(baseline.cost_usd > 0 ? Math.abs(saving) / baseline.cost_usd : 0);
    const always = `always ${nameInText(baseline.model)}`;
    if (saving > 0) yield figure("Saving", share, `${usd(saving)} less than ${always}`, null, "saving");
    else if (saving < 0) yield figure("Extra", share, `${usd(-saving)} more than ${always}`);
    else yield figure("Saving", "none", `the same as ${always}`);
  }
}

/**
 * @param {string} label
 * @param {string} value
 * @param {string} note
 * @param {Element | null} [extra]
 * @param {string} [className]
 */
export function figure(label, value, note, extra = null, className = "") {
  return h("div", { className }, h("dt", { textContent: label }), h("dd", {}, h("strong", { textContent: value }), h("small", { textContent: note }), extra));
}

/**
 * An interval on a scale from 0 to 1, its estimate marked.
 * @param {import("pennyroute").Interval} interval
 */
export function gauge({ estimate, lo, hi }) {
  const element = h("span", { className: "gauge", "aria-hidden": "true" });
  element.style.setProperty("--at", `${estimate * 100}%`);
  element.style.setProperty("--lo", `${lo * 100}%`);
  element.style.setProperty("--hi", `${hi * 100}%`);
  return element;
}

/**
 * @param {import("pennyroute").Decision} decision
 * @param {import("./rows.js").Row[]} rows
 */
function fallbacks(decision, rows) {
  const byModel = new Map(rows.map((row) => [row.model, row]));
  return decision.fallbacks.slice(0, 3).map((model) => {
    const { quality, cost } = byModel.get(model) ?? {};
    return h("li", {},
      h("span", { className: "name", textContent: shortName(model) }),
      quality && cost ? h("span", { className: "quiet", textContent: `${percent(quality.estimate)} · ${usd(cost.estimate)} per 1,000` }) : null);
  });
}

/** @param {import("pennyroute").Decision} decision */
function spoken({ model, code, quality, cost_usd: cost, in_distribution: familiar, excluded }) {
  if (model === null) return `No model may answer this; ${count(excluded.length)} are excluded.`;
  return `${shortName(model)}, ${CODES[code] ?? code}. Quality ${percent(quality.estimate)}, ${usdPerThousand(cost.estimate)} per thousand calls.`
    + (familiar ? "" : " The prompt is unfamiliar.");
}
