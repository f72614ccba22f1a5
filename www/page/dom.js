/**
 * A new element. Properties are set as such (`className`, `textContent`); names with a dash and
 * `role` and `scope` become attributes. Strings are text, never markup.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, unknown>} [props]
 * @param {...(Node | string | null)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.includes("-") || name === "role" || name === "scope") element.setAttribute(name, String(value));
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/**
 * Replaces what a list holds. Where one of its buttons has the focus, the one in its place gets it, or `other`
 * where there is none left.
 * @param {HTMLElement} list
 * @param {Node[]} children
 * @param {HTMLElement} other
 */
export function refill(list, children, other) {
  const at = [...list.querySelectorAll("button")].findIndex((button) => button === document.activeElement);
  list.replaceChildren(...children);
  if (at === -1) return;
  const buttons = list.querySelectorAll("button");
  (buttons[Math.min(at, buttons.length - 1)] ?? other).focus();
}

/** What is said of an error: its code and its message. @param {{ code?: string, message: string }} error */
export const inError = ({ code = "internal", message }) => [h("code", { textContent: code }), ` ${message}`];

/**
 * The element with this id, which the page always has.
 * @param {string} id
 * @returns {any}
 */
export function byId(id) {
  return document.getElementById(id);
}

/**
 * The elements marked `data-slot` under `root`, by name.
 * @param {HTMLElement} root
 * @returns {Record<string, any>}
 */
export function slots(root) {
  const named = [...root.querySelectorAll("[data-slot]")];
  return Object.fromEntries(named.map((element) => [/** @type {HTMLElement} */ (element).dataset.slot, element]));
}
