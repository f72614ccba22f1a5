/**
 * The names that servers use for models, matched to the catalog's.
 *
 * Servers call one model `claude-sonnet-5-5`, `anthropic/claude-sonnet-5.5` or
 * `claude-sonnet-5-5-20260901`. A name fits a model if, without the provider in front and a date
 * behind, and with dots and colons read as dashes, it is the model's base.
 */

/** @param {string} name */
function normal(name) {
  return name
    .toLowerCase()
    .replace(/^.*\//, "")
    .replace(/[._:]/g, "-")
    .replace(/-(\d{8}|\d{4}-\d{2}-\d{2}|latest)$/, "");
}

/**
 * Finds a model among the names that a server offers; to be made once for many models.
 * @param {string[]} offered
 * @returns {(model: { id: string, base: string }) => string | undefined} the offered name of a model
 */
export function offeredNames(offered) {
  const exact = new Set(offered);
  /** @type {Map<string, string>} */
  const loose = new Map();
  for (const name of offered) if (!loose.has(normal(name))) loose.set(normal(name), name);
  return ({ id, base }) => [id, base].find((name) => exact.has(name)) ?? loose.get(normal(base));
}

/**
 * The candidates among a catalog's models, by id, each with the name that the server knows.
 * @param {{ id: string, base: string, effort?: string | null }[]} models
 * @param {string[] | null} offered what the server offers; null if not known, which allows all
 * @param {string | undefined} effort a reasoning effort that the request has set
 * @param {boolean} [takesEffort] whether a request can say at which effort to answer
 * @returns {Map<string, { name: string, effort: string | null }>}
 */
export function candidates(models, offered, effort, takesEffort = true) {
  const named = new Map();
  const nameOf = offered ? offeredNames(offered) : ({ id }) => id.replace(/@[^@]*$/, "");
  for (const model of models) {
    if (model.effort && (!takesEffort || (effort && model.effort !== effort))) continue;
    const name = nameOf(model);
    if (name) named.set(model.id, { name, effort: model.effort ?? null });
  }
  return named;
}

/**
 * The names in a list of models, as OpenAI's API and those like it give it.
 * @param {any} list
 * @returns {string[]}
 */
export function modelNames(list) {
  const models = Array.isArray(list) ? list : list?.data ?? list?.models;
  if (!Array.isArray(models)) return [];
  return models.map((model) => model?.id ?? model?.name).filter((name) => typeof name === "string");
}
