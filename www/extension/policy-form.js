/** The fields of a policy. Each is saved as it is left; what does not pass is not saved and says why. */
import { h } from "../page/dom.js";

/** Shares are shown in percent. */
const NUMBERS = {
  quality: { label: "Quality target, %", max: 100, scale: 100, hint: "mean over traffic" },
  floor: { label: "Least quality of an answer, %", max: 100, scale: 100, hint: "where any model reaches it" },
  cap_usd: { label: "Most per request, USD", max: undefined, scale: 1, hint: "as expected before it" },
};
const GLOBS = {
  allow: { label: "Only these models", hint: "such as anthropic/*, */gpt-5*" },
  deny: { label: "Never these models", hint: "by their ids in the catalog" },
};

/**
 * @param {Partial<import("./settings.js").Policy>} policy what is set here
 * @param {import("./settings.js").Policy | null} general what holds where nothing is set; null: the router's defaults
 * @param {(change: Partial<import("./settings.js").Policy>) => void} save
 * @returns {HTMLElement[]}
 */
export function policyFields(policy, general, save) {
  const field = (name, { label, hint }, props, parse) => {
    const input = h("input", {
      name, ...props, placeholder: general ? "as everywhere" : "default",
      onchange: () => input.reportValidity() && save({ [name]: parse(input) }),
    });
    return h("label", {}, h("span", { textContent: label }), input, h("span", { className: "quiet", textContent: hint }));
  };
  return [
    ...Object.entries(NUMBERS).map(([name, { scale, max, ...words }]) => field(name, words, {
      type: "number", min: "0", step: "any", ...(max === undefined ? {} : { max: String(max) }),
      value: policy[name] == null ? "" : String(Math.round(policy[name] * scale * 1e9) / 1e9),
    }, (input) => (input.value === "" ? null : input.valueAsNumber / scale))),
    ...Object.entries(GLOBS).map(([name, words]) => field(name, words, { type: "text", value: (policy[name] ?? []).join(", "), spellcheck: false }, (input) => {
      const globs = input.value.split(",").map((glob) => glob.trim()).filter(Boolean);
      // A site without globs of its own goes by those that hold everywhere.
      return globs.length > 0 || general === null ? globs : null;
    })),
  ];
}
