/**
 * JSON Schema as Anthropic's structured outputs take it: no recursion, objects closed, few limits enforced.
 * https://platform.claude.com/docs/en/build-with-claude/structured-outputs, and what Anthropic's own
 * clients make of a schema.
 */

import { unsupported } from "./common.js";

/** What the API's schemas may hold as it is; other limits become part of the description. */
const PLAIN = new Set(["type", "description", "title", "enum", "const", "default", "required"]);
/** Of these a schema needs one. */
const SHAPES = ["type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref"];
const FORMATS = new Set(["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"]);

/** @param {any} schema */
export function structuredOutput(schema) {
  if (isRecursive(schema)) throw unsupported("recursive JSON schemas");
  return closed(schema);
}

/**
 * Limits that are not enforced stand in the description, where Anthropic's own clients put them. An
 * object of any keys cannot be said.
 * @param {any} schema
 * @returns {any}
 */
function closed(schema) {
  if (!SHAPES.some((name) => schema?.[name] !== undefined)) throw unsupported("JSON schemas that leave a value open");
  /** @type {Record<string, any>} */
  const out = {};
  /** @type {Record<string, any>} */
  const told = {};
  const each = (/** @type {any} */ named) => Object.fromEntries(Object.entries(named ?? {}).map(([name, value]) => [name, closed(value)]));
  // Beside a reference nothing is read but definitions.
  if (schema.$ref !== undefined) return { $ref: schema.$ref, ...(schema.$defs && { $defs: each(schema.$defs) }) };
  for (const [name, value] of Object.entries(schema)) {
    if (PLAIN.has(name) || (name === "format" && FORMATS.has(value)) || (name === "minItems" && value <= 1)) out[name] = value;
    else if (name === "properties" || name === "$defs" || name === "definitions") out[name] = each(value);
    else if (name === "items") out.items = closed(value);
    else if (name === "anyOf" || name === "allOf") out[name] = [value].flat().map(closed);
    else if (name === "oneOf") out.anyOf = [value].flat().map(closed);
    else if (name !== "additionalProperties" && name !== "$schema" && name !== "$id") told[name] = value;
  }
  if ([schema.type].flat().includes("object")) {
    const open = schema.additionalProperties;
    if ((open !== undefined && typeof open === "object") || (open !== false && !schema.properties)) throw unsupported("JSON schemas with open objects");
    out.additionalProperties = false;
  }
  if (Object.keys(told).length) out.description = [schema.description, JSON.stringify(told)].filter(Boolean).join(" ");
  return out;
}

/** Whether a schema leads back to itself. @param {any} schema */
function isRecursive(schema) {
  const named = { ...schema.$defs, ...schema.definitions };
  const done = new Set();
  const leadsBack = (/** @type {any} */ part, /** @type {string[]} */ path) => {
    for (const [, name] of JSON.stringify(part).matchAll(/"\$ref":"#(?:\/(?:\$defs|definitions)\/([^"]+))?"/g)) {
      if (name === undefined || path.includes(name)) return true;
      if (done.has(name) || !Object.hasOwn(named, name)) continue;
      if (leadsBack(named[name], [...path, name])) return true;
      done.add(name);
    }
    return false;
  };
  return leadsBack(schema, []);
}
