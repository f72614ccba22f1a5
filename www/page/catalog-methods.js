/**
 * What the router's thread does for *Models* and *Learn*: the catalog in use is the shipped one, the user's
 * changes to it, and over both what the rated answers teach. It is always made anew from these three, so
 * that a change or a rating can be taken back without a trace.
 */
import { changed, changesTo } from "./changes.js";

/** The catalog as it came. @type {import("pennyroute").Catalog} */
let shipped;
/** What is in use over it. @type {{ changes: import("./state.js").Changes, ratings: import("./state.js").Rating[] }} */
let applied = { changes: {}, ratings: [] };

/** A chart of a level has at most so many steps: a fit for each. */
const MOST_STEPS = 12;

/** Tracks that were asked for, by model; one is good for the catalog and ratings that it was made of. @type {Map<string, { of: string, track: any }>} */
const made = new Map();

/**
 * Puts changes and ratings to use, or throws and leaves all as it was.
 * @param {import("pennyroute").Router} router
 * @param {typeof applied} next
 */
export function apply(router, next) {
  shipped ??= router.catalog();
  const nothing = ({ changes, ratings }) => Object.keys(changes).length + ratings.length === 0;
  if (nothing(next) && nothing(applied)) return;
  const before = router.catalog();
  try {
    router.setCatalog(changed(shipped, next.changes));
    const ratings = known(router, next.ratings);
    if (ratings.length > 0) router.setCatalog(router.fit(ratings).catalog);
    applied = next;
  } catch (error) {
    router.setCatalog(before);
    throw error;
  }
}

/** Those of models that the catalog has; ratings of a removed model wait for its return. */
function known(router, ratings) {
  const ids = new Set(router.catalog().models.map(({ id }) => id));
  return ratings.filter(({ model }) => ids.has(model));
}

/**
 * What `ask` answers over the catalog without ratings.
 * @template T
 * @param {import("pennyroute").Router} router
 * @param {() => T} ask
 * @param {import("./state.js").Changes} [changes] over which to ask it
 */
function unrated(router, ask, changes = applied.changes) {
  const rated = router.catalog();
  router.setCatalog(changed(shipped, changes));
  try {
    return ask();
  } finally {
    router.setCatalog(rated);
  }
}

/** @type {Record<string, (argument: any, context: any) => unknown>} */
export const catalogMethods = {
  apply: (next, { router }) => apply(router, next),

  /** The catalog in use, the shipped one, and what each model would bring alone on average traffic. */
  catalog: (_, { router }) => ({ catalog: router.catalog(), shipped, constants: router.constants() }),

  /** The catalog to take elsewhere: with the changes, without the ratings. */
  exported: () => changed(shipped, applied.changes),

  /** The changes that a catalog file amounts to; throws what is wrong with it. */
  imported({ text }, { router }) {
    let catalog;
    try {
      catalog = JSON.parse(text);
    } catch (error) {
      throw Object.assign(new Error(`The file is no JSON: ${error.message}`), { code: "bad_catalog" });
    }
    const before = router.catalog();
    try {
      router.setCatalog(catalog);
      return changesTo(shipped, router.catalog());
    } finally {
      router.setCatalog(before);
    }
  },

  abilityFromScores: (scores, { router }) => router.abilityFromScores(scores),

  /** Outcomes of a file, and which of its rows are none. */
  async readOutcomes({ file }, { router }) {
    const { readOutcomes } = await import("./outcomes.js");
    return readOutcomes(file, new Set(router.catalog().models.map(({ id }) => id)));
  },

  /** What outcomes teach over the catalog without ratings, which stays as it is. */
  fitOutcomes({ outcomes }, { router }) {
    return unrated(router, () => {
      const { models, catalog } = router.fit(outcomes);
      const entries = new Map(catalog.models.map((model) => [model.id, model]));
      return models.map(({ model, before, ability, outcomes }) => ({ model, before, ability, outcomes, entry: entries.get(model) }));
    });
  },

  /**
   * How the level of each rated model moved, rating by rating: its mean and standard deviation in logits,
   * before the first and after some up to the last.
   */
  tracks: (_, context) => (tracking = tracking.catch(() => {}).then(() => tracks(context))),
};

/** The tracks that were asked for last: each in its turn, so that the latest is also answered last. @type {Promise<any>} */
let tracking = Promise.resolve();

/** @param {{ router: import("pennyroute").Router, pause: () => Promise<void> }} context */
async function tracks({ router, pause }) {
  const { changes, ratings: all } = applied;
  const byModel = new Map();
  for (const rating of known(router, all)) byModel.set(rating.model, [...(byModel.get(rating.model) ?? []), rating]);
  const tracks = [];
  for (const [model, ratings] of byModel) {
    const of = JSON.stringify([changes[model], ratings]);
    if (made.get(model)?.of !== of) {
      const steps = Math.min(ratings.length, MOST_STEPS);
      const ends = Array.from({ length: steps }, (_, i) => Math.round(((i + 1) * ratings.length) / steps));
      const fits = [];
      for (const end of ends) {
        fits.push(unrated(router, () => router.fit(ratings.slice(0, end)).models[0], changes));
        await pause();
      }
      made.set(model, { of, track: track(model, ratings, ends, fits) });
    }
    tracks.push(made.get(model).track);
  }
  return tracks;
}

/** How a level moved, by the fits of the ratings up to some. */
function track(model, ratings, ends, fits) {
  const [{ before, prior }] = fits;
  return {
    model,
    prior,
    right: ratings.reduce((sum, { correct }) => sum + Number(correct), 0),
    levels: [
      ...(before ? [{ ratings: 0, mean: before.mean[0], sd: before.sd[0] }] : []),
      ...fits.map(({ ability }, i) => ({ ratings: ends[i], mean: ability.mean[0], sd: ability.sd[0] })),
    ],
  };
}
