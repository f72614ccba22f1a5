/** What the page keeps, as a file: `State.export` makes it, and the router's thread reads it. */
import { checkSize } from "./files.js";

/** Of the format, the database and the channel between tabs. */
export const NAME = "pennyroute";
/** Of the layout; a browser or a file that has seen a newer one is left alone. */
export const VERSION = 1;
/** Larger files are refused before they are read. */
const MOST_BYTES = 100e6;

/**
 * What such a file holds, checked as far as putting it to use does not.
 * @param {File} file
 * @returns {Promise<{ settings: import("./state.js").Settings, ratings: import("./state.js").Rating[] }>}
 */
export async function readBackup(file) {
  checkSize(file, MOST_BYTES);
  let kept;
  try {
    kept = JSON.parse(await file.text());
  } catch (error) {
    refuse("bad_input", `The file is no JSON: ${error.message}`);
  }
  if (kept?.format !== NAME) refuse("bad_input", "This is no file that this page has saved.");
  if (kept.version > VERSION) refuse("unsupported_version", `The file has version ${kept.version}, and this page reads up to ${VERSION}: it was saved by a newer one.`);
  const { policy, changes, prompts } = kept.settings ?? {};
  const plain = (value) => value === undefined || (value !== null && typeof value === "object" && !Array.isArray(value));
  if (!plain(policy)) refuse("bad_input", "settings.policy: must be an object.");
  if (!plain(changes)) refuse("bad_input", "settings.changes: must be an object.");
  if (prompts !== undefined && !(Array.isArray(prompts) && prompts.every((prompt) => typeof prompt === "string"))) refuse("bad_input", "settings.prompts: must be a list of texts.");
  const { ratings } = kept;
  if (!Array.isArray(ratings)) refuse("bad_input", "ratings: must be a list.");
  const wrong = ratings.findIndex((rating) => typeof rating?.id !== "string");
  if (wrong !== -1) refuse("bad_input", `ratings[${wrong}].id: must be a text.`);
  const settings = Object.fromEntries(Object.entries({ policy, changes, prompts }).filter(([, value]) => value !== undefined));
  return { settings, ratings };
}

/** @param {string} code @param {string} message */
function refuse(code, message) {
  throw Object.assign(new Error(message), { code });
}
