/**
 * The names that pages use for models, matched to the catalog's.
 *
 * Servers call one model `claude-sonnet-5-5`, `anthropic/claude-sonnet-5.5` or
 * `claude-sonnet-5-5-20260901`. A name fits a model if, without the provider in front and a date
 * behind, and with dots read as dashes, it is the model's base.
 */

/** @param {string} name */
function normal(name) {
  return name
    .toLowerCase()
    .replace(/^.*\//, "")
    .replace(/[._]/g, "-")
    .replace(/-(\d{8}|\d{4}-\d{2}-\d{2}|latest)$/, "");
}

/**
 * @param {{ id: string, base: string }} model
 * @param {string[]} offered
 * @returns {string | undefined} the offered name of the model
 */
export function offeredName({ id, base }, offered) {
  return offered.find((name) => name === id || name === base) ?? offered.find((name) => normal(name) === normal(base));
}

/**
 * The candidates among a catalog's models, by id, each with the name that the page's server knows.
 * @param {{ id: string, base: string, effort?: string | null }[]} models
 * @param {string[] | null} offered what the server offers; null if not known, which allows all
 * @param {string | undefined} effort a reasoning effort that the page has set
 * @param {boolean} [takesEffort] whether a request can say at which effort to answer
 * @returns {Map<string, { name: string, effort: string | null }>}
 */
export function candidates(models, offered, effort, takesEffort = true) {
  const named = new Map();
  for (const model of models) {
    if (model.effort && (!takesEffort || (effort && model.effort !== effort))) continue;
    const name = offered ? offeredName(model, offered) : model.id.replace(/@[^@]*$/, "");
    if (name) named.set(model.id, { name, effort: model.effort ?? null });
  }
  return named;
}
