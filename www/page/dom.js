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
