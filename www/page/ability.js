/** Abilities as people read them: logits as chances, with their 90 % intervals. */
import { gauge } from "./decision.js";
import { h } from "./dom.js";
import { percent, percentRange } from "./format.js";

/** Standard deviations from the middle of a normal to the ends of its central 90 %. */
const TO_90 = 1.645;

/** Where abilities come from, in words. */
export const SOURCES = {
  recorded: "recorded outcomes",
  fitted: "your outcomes",
  published: "published scores",
  price: "price",
  prior: "a guess",
};

const chance = (logit) => 1 / (1 + Math.exp(-logit));

/**
 * The chance that a model answers a query of average difficulty: at a level 0 it is one half.
 * @param {number} mean of the level, in logits
 * @param {number} sd
 * @returns {import("pennyroute").Interval}
 */
export function levelInterval(mean, sd) {
  return { estimate: chance(mean), lo: chance(mean - TO_90 * sd), hi: chance(mean + TO_90 * sd) };
}

/** @param {import("pennyroute").Ability | null | undefined} ability */
export const level = (ability) => (ability ? levelInterval(ability.mean[0], ability.sd[0]) : null);

/** A level's interval on a scale from one half to 1, below which few models are. @param {import("pennyroute").Interval} interval */
export function levelGauge({ estimate, lo, hi }) {
  const upper = (value) => Math.max(0, 2 * value - 1);
  return gauge({ estimate: upper(estimate), lo: upper(lo), hi: upper(hi) });
}

/** An interval in words. @param {import("pennyroute").Interval | null} interval */
export const inWords = (interval) => (interval ? `${percent(interval.estimate, 1)} (${percentRange(interval)})` : "unknown");

/**
 * Each skill's weight with its interval, on one scale around zero.
 * @param {import("pennyroute").Ability} ability
 */
export function skillBars(ability) {
  const skills = ability.mean.slice(1).map((mean, i) => ({ mean, spread: TO_90 * ability.sd[i + 1] }));
  const most = Math.max(...skills.map(({ mean, spread }) => Math.abs(mean) + spread), 0.1);
  const at = (value) => `${(50 + (48 * value) / most).toFixed(1)}%`;
  return h("ol", { className: "skills" }, ...skills.map(({ mean, spread }, i) => {
    const bar = h("span", { className: "weight", "aria-hidden": "true" });
    bar.style.setProperty("--lo", at(mean - spread));
    bar.style.setProperty("--hi", at(mean + spread));
    bar.style.setProperty("--at", at(mean));
    return h("li", {}, h("span", { className: "quiet", textContent: `Skill ${i + 1}` }), bar,
      h("span", { className: "quiet", textContent: `${signed(mean)} ± ${spread.toFixed(2)}` }));
  }));
}

const signed = (value) => `${Math.abs(value) < 0.005 ? "" : value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
