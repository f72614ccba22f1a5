/**
 * The names that servers use for models, matched to the catalog's.
 *
 * Servers call one model `claude-sonnet-5-5`, `anthropic/claude-sonnet-5.5` or
 * `claude-sonnet-5-5-20260901`. A name fits a model if, without the provider in front and a date
 * behind, and with dots and colons read as dashes, it is the model's base. It does not if it is
 * another model's own name, or says another provider: price and privacy are then another's.
 */

/** @typedef {{ id: string, base: string, provider?: string, effort?: string | null }} Model */

/** Without the provider. @param {string} name */
function plain(name) {
  return name
    .toLowerCase()
    .replace(/^.*\//, "")
    .replace(/[._:]/g, "-");
}

/** Without a date too. @param {string} name */
function normal(name) {
  return plain(name).replace(/-(\d{8}|\d{4}-\d{2}-\d{2}|latest)$/, "");
}

/** What stands in front of a name. @param {string} name */
function prefixes(name) {
  return name.toLowerCase().split("/").slice(0, -1);
}

/** The names that are a model's own, whatever its effort. @param {Model} model */
function ownNames({ id, base }) {
  return [id, id.replace(/@[^@]*$/, ""), base];
}

/**
 * Finds a model among the names that a server offers; to be made once for many models.
 * @param {string[]} offered
 * @param {Model[]} [catalog] all models that there are, whose own names and providers tell them apart
 * @returns {(model: Model) => string | undefined} the offered name of a model
 */
export function offeredNames(offered, catalog = []) {
  const exact = new Set(offered);
  const owned = new Set(catalog.flatMap(ownNames));
  const providers = new Set(catalog.map(({ provider }) => provider?.toLowerCase()));
  /** @type {Map<string, string[]>} */
  const loose = new Map();
  for (const name of offered.filter((one) => !owned.has(one))) loose.set(normal(name), [...(loose.get(normal(name)) ?? []), name]);
  return (model) => {
    const own = ownNames(model).find((name) => exact.has(name));
    if (own !== undefined) return own;
    // Of those in front, the model's provider, or who made it.
    const ofModel = [model.provider?.toLowerCase(), ...prefixes(model.base)];
    const fitting = (loose.get(normal(model.base)) ?? []).filter((name) => prefixes(name).every((one) => !providers.has(one) || ofModel.includes(one)));
    // Of two versions, the one whose date is the model's.
    return fitting.find((name) => plain(name) === plain(model.base)) ?? fitting[0];
  };
}

/**
 * The candidates among a catalog's models, by id, each with the name that the server knows.
 * @param {Model[]} models
 * @param {string[]} offered what the server offers
 * @param {string | undefined} effort a reasoning effort that the request has set; models without one may refuse it
 * @param {boolean} [takesEffort] whether a request without one can be given one
 * @returns {Map<string, { name: string, effort: string | null }>}
 */
export function candidates(models, offered, effort, takesEffort = true) {
  const named = new Map();
  const nameOf = offeredNames(offered, models);
  for (const model of models) {
    if (effort ? model.effort !== effort : model.effort && !takesEffort) continue;
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
