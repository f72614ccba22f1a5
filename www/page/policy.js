/**
 * The policy form, read into the fields of a route request.
 *
 * Numbers are passed on as typed, out of range too: the router says what is wrong with them, with
 * its code, and the page has no second opinion.
 */

/** A request needs tools if it lists one; which one does not matter to routing. */
export const SOME_TOOL = { type: "function", function: { name: "tool", parameters: { type: "object" } } };

/** @param {HTMLInputElement} input */
function number(input) {
  return input.validity.badInput ? NaN : input.value === "" ? undefined : input.valueAsNumber;
}

/** @param {HTMLInputElement} input */
export function globs(input) {
  const list = input.value.split(",").map((glob) => glob.trim()).filter(Boolean);
  return list.length > 0 ? list : undefined;
}

/**
 * @param {HTMLFormElement} form
 * @param {string} prompt
 * @returns {import("pennyroute").RouteRequest}
 */
export function readRequest(form, prompt) {
  const field = (name) => /** @type {HTMLInputElement} */ (form.elements.namedItem(name));
  const floor = number(field("floor"));
  const request = {
    ...(field("vision").checked
      ? { messages: [{ role: "user", content: [{ type: "text", text: prompt }, { type: "image_url", image_url: { url: "data:," } }] }] }
      : { prompt }),
    quality: field("quality").disabled ? undefined : number(field("quality")),
    floor: floor === undefined ? undefined : floor / 100,
    cap_usd: number(field("cap")),
    allow: globs(field("allow")),
    deny: globs(field("deny")),
    private: field("private").checked || undefined,
    tools: field("tools").checked ? [SOME_TOOL] : undefined,
    response_format: field("json").checked ? { type: "json_object" } : undefined,
  };
  return Object.fromEntries(Object.entries(request).filter(([, value]) => value !== undefined));
}

/** Settings of the form that are not its defaults, by name. @param {HTMLFormElement} form @returns {Record<string, string | boolean>} */
export function readPolicy(form) {
  const values = [...form.elements].filter((element) => element instanceof HTMLInputElement && !element.disabled).map((input) => {
    const { name, type, checked, value, defaultValue } = /** @type {HTMLInputElement} */ (input);
    return type === "checkbox" ? [name, checked] : [name, value === defaultValue ? "" : value];
  });
  return Object.fromEntries(values.filter(([, value]) => value));
}

/**
 * Sets the form to these settings, and what they leave out to its default.
 * @param {HTMLFormElement} form
 * @param {Record<string, string | boolean>} policy
 */
export function fillPolicy(form, policy) {
  for (const input of [...form.elements].filter((element) => element instanceof HTMLInputElement)) {
    const value = policy[input.name];
    if (input.type === "checkbox") input.checked = Boolean(value);
    else input.value = typeof value === "string" ? value : input.defaultValue;
  }
}

/** A policy as the address carries it: `#try?quality=0.9&deny=openai%2F*`. @param {Record<string, string | boolean>} policy */
export function policyHash(policy) {
  const query = new URLSearchParams(Object.entries(policy).map(([name, value]) => [name, value === true ? "1" : String(value)]));
  return `#try${query.size > 0 ? `?${query}` : ""}`;
}

/** The policy that an address carries, if it does. @param {string} hash @returns {Record<string, string> | undefined} */
export function policyOfHash(hash) {
  const [name, query] = hash.split("?");
  return name === "#try" && query ? Object.fromEntries(new URLSearchParams(query)) : undefined;
}
