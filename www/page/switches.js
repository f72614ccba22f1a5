/**
 * What would change the decision: the models that other quality targets choose for this prompt, as a strip
 * of segments along the targets. A segment sets the target that its model needs.
 */
import { h, slots } from "./dom.js";
import { nameInText, percent, shortName } from "./format.js";

/**
 * @param {HTMLElement} card
 * @param {HTMLInputElement} slider the range of targets, and its steps
 * @param {(quality: number) => void} onChoose
 */
export function switchStrip(card, slider, onChoose) {
  const slot = slots(card);

  return {
    /** @param {import("pennyroute").Explanation} explanation */
    show({ decision, switches }) {
      const target = decision.target.quality;
      const [low, high] = [Number(slider.min), Number(slider.max)];
      const segments = switches
        .map(({ model, quality_from: from, quality_to: to }) => ({ model, from, to, target: reachable(from, to, low, high) }))
        .filter((segment) => segment.target !== undefined);
      slot.switches.hidden = segments.length < 2;
      const now = segments.findIndex(({ from, to }) => (target > from || from === 0) && target <= to);
      const focused = slot.strip.contains(document.activeElement);
      slot.strip.replaceChildren(...segments.map(({ model, from, to, target }, i) => {
        const range = i === 0 ? `up to ${percent(to, 1)}` : i === segments.length - 1 ? `above ${percent(from, 1)}` : `${percent(from, 1)} to ${percent(to, 1)}`;
        const button = h("button", {
          type: "button",
          title: `${shortName(model)}, for targets ${range}`,
          "aria-label": `${shortName(model)}, for targets ${range}`,
          "aria-pressed": i === now,
          onclick: () => onChoose(target),
        }, h("span", { textContent: shortName(model) }));
        button.style.setProperty("--share", String(1000 * (Math.min(to, high) - Math.max(from, low))));
        return button;
      }));
      if (focused) slot.strip.children[now]?.focus();
      slot.neighbours.textContent = neighbours(segments, now);
    },
  };
}

/** The step of the slider nearest to the middle of (from, to], if one is in it. */
function reachable(from, to, low, high) {
  const step = (value) => Math.min(high, Math.max(low, Math.round(value * 1000) / 1000));
  return [step((from + to) / 2), step(Math.floor(to * 1000) / 1000), low].find((value) => (value > from || from === 0) && value <= to);
}

/** What comes next on either side, in words. */
function neighbours(segments, now) {
  if (now === -1) return "";
  const { from, to } = segments[now];
  const [below, above] = [segments[now - 1], segments[now + 1]];
  return [
    below && `A target of ${percent(from, 1)} or less would choose ${nameInText(below.model)}`,
    above && `${below ? "one" : "A target"} above ${percent(to, 1)} ${nameInText(above.model)}`,
  ].filter(Boolean).join(", ") + ".";
}
