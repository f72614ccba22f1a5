/**
 * The policy form, read into the fields of a route request.
 *
 * Numbers are passed on as typed, out of range too: the router says what is wrong with them, with
 * its code, and the page has no second opinion.
 */

/** A request needs tools if it lists one; which one does not matter to routing. */
const SOME_TOOL = { type: "function", function: { name: "tool", parameters: { type: "object" } } };

/** @param {HTMLInputElement} input */
function number(input) {
  return input.validity.badInput ? NaN : input.value === "" ? undefined : input.valueAsNumber;
}

/** @param {HTMLInputElement} input */
function globs(input) {
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
