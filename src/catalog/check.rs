//! What is wrong with a catalog, and what changed between two.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Catalog, Model};
use crate::error::{Error, Result};
use crate::money::{Day, Hours, Moment, PriceList, TimeOfDay};

/// A catalog older than this many days is `stale`: prices move every few weeks.
const STALE_CATALOG_DAYS: i64 = 60;
/// A model whose oldest dated source is older than this many days is `stale`.
const STALE_SOURCE_DAYS: i64 = 180;
/// A model that retires within this many days is `retiring`.
const RETIRING_DAYS: i64 = 90;
/// The efforts in increasing order.
const EFFORTS: [&str; 7] = ["none", "minimal", "low", "medium", "high", "xhigh", "max"];

/// One thing to know about a catalog or one of its models.
///
/// The codes: `stale`, `undated`, `retired`, `retiring`, `unreleased`, `unpriced`, `zero_price`,
/// `no_ability`, `no_context`, `change_reached`, `cheaper_tier`, `duplicate`, `unknown_effort`,
/// `unroutable`; and, where two statements cannot both hold, `limit_contradiction`,
/// `cache_dearer`, `tier_order`, `hours_overlap`, `hours_empty`, `change_repeated`,
/// `free_but_priced`, `retired_before_release`, `certain_ability`, `ability_dimensions`,
/// `effort_order`, `effort_id`, `duplicate_price`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable code.
    pub code: &'static str,
    /// The model it is about; `None`: the catalog as a whole.
    pub model: Option<String>,
    /// In words, with the values.
    pub what: String,
    /// Two statements of the catalog cannot both hold: it must be corrected, not merely refreshed.
    pub contradictory: bool,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.contradictory { "contradiction, " } else { "" };
        let model = self.model.as_deref().unwrap_or("catalog");
        write!(f, "{model}: {} ({mark}{})", self.what, self.code)
    }
}

/// Everything worth knowing before routing with `catalog` at the moment `at`: contradictions first,
/// then in the order of the models. Rows that cannot be routed are counted, not examined.
pub fn check(catalog: &Catalog, at: Moment) -> Vec<Finding> {
    let mut findings = Findings(Vec::new());
    let skipped = catalog.models.iter().filter(|m| m.unroutable.is_some()).count();
    if skipped > 0 {
        findings.note("unroutable", None, format!("{skipped} rows cannot be routed"));
    }
    match leading_date(&catalog.version) {
        None => {
            let what = format!("version `{}` begins with no date: its age is unknown", catalog.version);
            findings.note("undated", None, what);
        }
        Some(day) if -day.days_from(at) > STALE_CATALOG_DAYS => {
            let what = format!("version `{}` is {} days old", catalog.version, -day.days_from(at));
            findings.note("stale", None, what);
        }
        Some(_) => {}
    }
    let models: Vec<&Model> = catalog.models.iter().filter(|m| m.unroutable.is_none()).collect();
    for model in &models {
        findings.model(model, at);
    }
    findings.siblings(&models);
    findings.dimensions(&models);
    findings.0.sort_by_key(|finding| !finding.contradictory);
    findings.0
}

struct Findings(Vec<Finding>);

impl Findings {
    fn note(&mut self, code: &'static str, model: Option<&Model>, what: impl Into<String>) {
        self.0.push(Finding {
            code,
            model: model.map(|m| m.id.clone()),
            what: what.into(),
            contradictory: false,
        });
    }

    fn contradiction(&mut self, code: &'static str, model: &Model, what: impl Into<String>) {
        self.0.push(Finding { code, model: Some(model.id.clone()), what: what.into(), contradictory: true });
    }

    fn model(&mut self, model: &Model, at: Moment) {
        self.dates(model, at);
        match &model.cost {
            None => self.note("unpriced", Some(model), "no price is stated: never chosen"),
            Some(cost) => self.prices(model, cost, at),
        }
        match (model.limit.context, model.limit.output) {
            (None, _) => self.note("no_context", Some(model), "no context window is stated"),
            (Some(context), Some(output)) if output > context => {
                let what = format!("may write {output} tokens in a context of {context}");
                self.contradiction("limit_contradiction", model, what);
            }
            _ => {}
        }
        match &model.ability {
            None => self.note(
                "no_ability",
                Some(model),
                "no ability is known: never chosen (see `pennyroute fit`)",
            ),
            Some(ability) if ability.sd.contains(&0.0) => {
                self.contradiction("certain_ability", model, "an ability is stated as certain (sd 0)");
            }
            Some(_) => {}
        }
        if let Some(effort) = model.effort.as_deref().filter(|effort| !EFFORTS.contains(effort)) {
            self.note(
                "unknown_effort",
                Some(model),
                format!("effort `{effort}` is none of {}", EFFORTS.join(", ")),
            );
        }
        // The plain id may ask for an effort too (its everyday one); an id that names one asks for that.
        let named =
            model.id.rsplit_once('@').map(|(_, suffix)| suffix).filter(|suffix| EFFORTS.contains(suffix));
        if named.is_some() && named != model.effort.as_deref() {
            let asked = model.effort.as_deref().unwrap_or("no");
            self.contradiction(
                "effort_id",
                model,
                format!("its id names an effort, it asks for {asked} effort"),
            );
        }
    }

    fn dates(&mut self, model: &Model, at: Moment) {
        if let Some(day) = model.deprecation_date {
            let days = day.days_from(at);
            let date = String::from(day);
            if days <= 0 {
                self.note("retired", Some(model), format!("is no longer served since {date}"));
            } else if days <= RETIRING_DAYS {
                self.note("retiring", Some(model), format!("retires in {days} days, on {date}"));
            }
            if model.released.is_some_and(|released| released >= day) {
                self.contradiction(
                    "retired_before_release",
                    model,
                    format!("retires on {date}, before its release"),
                );
            }
        }
        if let Some(day) = model.released.filter(|day| !day.reached(at)) {
            self.note("unreleased", Some(model), format!("is released on {} only", String::from(day)));
        }
        let oldest = model
            .sources
            .iter()
            .filter_map(|source| Some((last_date(source)?, source)))
            .min_by_key(|&(day, _)| day);
        if let Some((day, source)) = oldest.filter(|(day, _)| -day.days_from(at) > STALE_SOURCE_DAYS) {
            self.note("stale", Some(model), format!("a source is {} days old: {source}", -day.days_from(at)));
        }
    }

    fn prices(&mut self, model: &Model, cost: &PriceList, at: Moment) {
        if cost.has_zero() && !model.free {
            self.note(
                "zero_price",
                Some(model),
                "a price is zero and the model is not marked free: taken as unknown",
            );
        }
        if model.free && !cost.has_zero() {
            self.contradiction("free_but_priced", model, "is marked free and has a price");
        }
        let hours = cost.hours.iter().map(|h| h.rates);
        let all = cost.tiers.iter().map(|t| t.rates).chain(hours).chain(cost.changes.iter().map(|c| c.rates));
        for rates in std::iter::once(cost.base).chain(all) {
            if let Some(cached) = rates.cache_read.filter(|&cached| cached > rates.input) {
                self.contradiction(
                    "cache_dearer",
                    model,
                    format!("cached input costs {cached}, other input {}", rates.input),
                );
            }
        }
        let mut below = (0, cost.base);
        for tier in &cost.tiers {
            if tier.above_input_tokens <= below.0 {
                let what = format!(
                    "the tier above {} tokens does not follow on {}",
                    tier.above_input_tokens, below.0
                );
                self.contradiction("tier_order", model, what);
            }
            if tier.rates.input < below.1.input || tier.rates.output < below.1.output {
                let what = format!("calls above {} tokens are cheaper", tier.above_input_tokens);
                self.note("cheaper_tier", Some(model), what);
            }
            below = (tier.above_input_tokens, tier.rates);
        }
        for (i, window) in cost.hours.iter().enumerate() {
            if window.from == window.to {
                self.contradiction("hours_empty", model, format!("the hours {} are empty", span(window)));
            }
            for other in &cost.hours[..i] {
                if holds(window, other.from) || holds(other, window.from) {
                    self.contradiction(
                        "hours_overlap",
                        model,
                        format!("the hours {} and {} overlap", span(other), span(window)),
                    );
                }
            }
        }
        for (i, change) in cost.changes.iter().enumerate() {
            let date = String::from(change.from);
            if cost.changes[..i].iter().any(|other| other.from == change.from) {
                self.contradiction("change_repeated", model, format!("two changes of price on {date}"));
            } else if change.from.reached(at) {
                self.note(
                    "change_reached",
                    Some(model),
                    format!("the price announced for {date} is in force: make it the base"),
                );
            }
        }
    }

    /// Entries of one provider for one model: the same model twice, and its efforts.
    fn siblings(&mut self, models: &[&Model]) {
        let mut families: BTreeMap<(&str, &str), Vec<&Model>> = BTreeMap::new();
        for model in models {
            families.entry((&model.provider, &model.base)).or_default().push(model);
        }
        for mut family in families.into_values().filter(|family| family.len() > 1) {
            for (i, model) in family.iter().enumerate() {
                let Some(twin) = family[..i].iter().find(|other| other.effort == model.effort) else {
                    continue;
                };
                if twin.cost == model.cost {
                    self.note("duplicate", Some(model), format!("is the same model as `{}`", twin.id));
                } else {
                    self.contradiction(
                        "duplicate_price",
                        model,
                        format!("is the same model as `{}` at another price", twin.id),
                    );
                }
            }
            let rank = |model: &Model| EFFORTS.iter().position(|&e| Some(e) == model.effort.as_deref());
            family.retain(|model| rank(model).is_some());
            family.sort_by_key(|model| rank(model));
            for pair in family.windows(2) {
                self.efforts(pair[0], pair[1]);
            }
        }
    }

    /// More effort neither answers worse nor writes less.
    fn efforts(&mut self, less: &Model, more: &Model) {
        if let (Some(a), Some(b)) = (&less.ability, &more.ability)
            && let (Some(&level), Some(&higher)) = (a.mean.first(), b.mean.first())
        {
            let sd = a.sd.first().copied().unwrap_or(0.0).hypot(b.sd.first().copied().unwrap_or(0.0));
            if higher < level - sd {
                self.contradiction(
                    "effort_order",
                    more,
                    format!("is rated below `{}`, which asks for less effort", less.id),
                );
            }
        }
        if let (Some(a), Some(b)) = (&less.length, &more.length)
            && let (Some(&level), Some(&longer)) = (a.mean.first(), b.mean.first())
            && longer < level
        {
            self.contradiction(
                "effort_order",
                more,
                format!("writes less than `{}`, which asks for less effort", less.id),
            );
        }
    }

    /// Abilities multiply one predictor's skills, so they all have one length; lengths likewise.
    fn dimensions(&mut self, models: &[&Model]) {
        for (what, size) in [
            (
                "ability",
                (|m: &Model| m.ability.as_ref().map(|a| a.mean.len())) as fn(&Model) -> Option<usize>,
            ),
            ("length", |m: &Model| m.length.as_ref().map(|l| l.mean.len())),
        ] {
            let mut sizes: HashMap<usize, usize> = HashMap::new();
            models.iter().filter_map(|m| size(m)).for_each(|n| *sizes.entry(n).or_default() += 1);
            let Some((&usual, _)) = sizes.iter().max_by_key(|&(&n, &count)| (count, n)) else { continue };
            for model in models {
                if let Some(n) = size(model).filter(|&n| n != usual) {
                    self.contradiction(
                        "ability_dimensions",
                        model,
                        format!("its {what} has {n} entries, others have {usual}"),
                    );
                }
            }
        }
    }
}

fn span(window: &Hours) -> String {
    format!("{}-{}", String::from(window.from), String::from(window.to))
}

fn holds(window: &Hours, time: TimeOfDay) -> bool {
    if window.from <= window.to {
        window.from <= time && time < window.to
    } else {
        time >= window.from || time < window.to
    }
}

fn leading_date(text: &str) -> Option<Day> {
    text.get(..10)?.to_owned().try_into().ok()
}

/// The last `YYYY-MM-DD` in a text.
fn last_date(text: &str) -> Option<Day> {
    let starts = text.char_indices().rev().filter(|(_, c)| c.is_ascii_digit());
    starts.map(|(i, _)| i).find_map(|i| leading_date(&text[i..]))
}

/// One field of one model that differs between two catalogs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CatalogChange {
    /// The model.
    pub model: String,
    /// Path of the field, such as `cost.input`.
    pub field: String,
    before: Value,
    after: Value,
}

impl CatalogChange {
    /// The value before, as JSON; `null` where the field was not stated.
    pub fn before(&self) -> String {
        self.before.to_string()
    }

    /// The value after, as JSON; `null` where the field is no longer stated.
    pub fn after(&self) -> String {
        self.after.to_string()
    }
}

impl fmt::Display for CatalogChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "~ {} {}: ", self.model, self.field)?;
        match (self.before.as_f64(), self.after.as_f64()) {
            (Some(before), Some(after)) if before > 0.0 => {
                write!(f, "{before} -> {after} ({:+.0}%)", 100.0 * (after - before) / before)
            }
            _ => write!(f, "{} -> {}", self.before, self.after),
        }
    }
}

/// What changed between two catalogs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CatalogDiff {
    /// Version of the first catalog.
    pub before: String,
    /// Version of the second catalog.
    pub after: String,
    /// Ids only the second has.
    pub added: Vec<String>,
    /// Ids only the first has.
    pub removed: Vec<String>,
    /// Fields that differ; prices first.
    pub changed: Vec<CatalogChange>,
}

impl CatalogDiff {
    /// Whether both have the same models with the same fields.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

impl fmt::Display for CatalogDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} -> {}: {} added, {} removed, {} fields changed",
            self.before,
            self.after,
            self.added.len(),
            self.removed.len(),
            self.changed.len()
        )?;
        self.changed.iter().try_for_each(|change| write!(f, "\n{change}"))?;
        self.added.iter().try_for_each(|id| write!(f, "\n+ {id}"))?;
        self.removed.iter().try_for_each(|id| write!(f, "\n- {id}"))
    }
}

/// What changed from `before` to `after`, model by model.
pub fn diff(before: &Catalog, after: &Catalog) -> Result<CatalogDiff> {
    let old: HashMap<&str, &Model> = before.models.iter().map(|m| (m.id.as_str(), m)).collect();
    let new: HashMap<&str, &Model> = after.models.iter().map(|m| (m.id.as_str(), m)).collect();
    let only = |models: &[Model], other: &HashMap<&str, &Model>| -> Vec<String> {
        models.iter().filter(|m| !other.contains_key(m.id.as_str())).map(|m| m.id.clone()).collect()
    };
    let mut changed = Vec::new();
    for model in &after.models {
        let Some(was) = old.get(model.id.as_str()).filter(|&&was| was != model) else { continue };
        let (was, is) = (fields(was)?, fields(model)?);
        let mut paths: Vec<&String> = was.keys().chain(is.keys()).collect();
        paths.sort_unstable();
        paths.dedup();
        for path in paths {
            let (before, after) =
                (was.get(path).unwrap_or(&Value::Null), is.get(path).unwrap_or(&Value::Null));
            if before != after {
                let field = path.clone();
                changed.push(CatalogChange {
                    model: model.id.clone(),
                    field,
                    before: before.clone(),
                    after: after.clone(),
                });
            }
        }
    }
    let price = |field: &str| field == "free" || field == "cost" || field.starts_with("cost.");
    changed.sort_by_key(|change| !price(&change.field));
    Ok(CatalogDiff {
        before: before.version.clone(),
        after: after.version.clone(),
        added: only(&after.models, &old),
        removed: only(&before.models, &new),
        changed,
    })
}

/// The fields of a model by path; prices and limits one by one, everything else whole.
fn fields(model: &Model) -> Result<BTreeMap<String, Value>> {
    let value = serde_json::to_value(model).map_err(|e| Error::Internal { what: e.to_string() })?;
    let mut fields = BTreeMap::new();
    if let Value::Object(object) = value {
        for (name, value) in object {
            match value {
                Value::Object(part) if name == "cost" || name == "limit" => flatten(&name, part, &mut fields),
                value => drop(fields.insert(name, value)),
            }
        }
    }
    fields.retain(|_, value| !value.is_null());
    Ok(fields)
}

fn flatten(place: &str, object: Map<String, Value>, fields: &mut BTreeMap<String, Value>) {
    for (name, value) in object {
        let place = format!("{place}.{name}");
        match value {
            Value::Array(parts) => {
                for (i, part) in parts.into_iter().enumerate() {
                    match part {
                        Value::Object(part) => flatten(&format!("{place}[{i}]"), part, fields),
                        part => drop(fields.insert(format!("{place}[{i}]"), part)),
                    }
                }
            }
            value => drop(fields.insert(place, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-20T12:00:00Z";

    fn catalog(models: &str) -> Catalog {
        Catalog::from_json(format!(r#"{{"format":1,"version":"2026-11-20","models":[{models}]}}"#).as_bytes())
            .unwrap()
    }

    /// A model without any finding, with `more` fields.
    fn model(id: &str, more: &str) -> String {
        let (provider, base) = id.split_once('/').unwrap();
        let mut fields: Map<String, Value> = serde_json::from_str(&format!(
            r#"{{"id":"{id}","provider":"{provider}","base":"{}","cost":{{"input":1,"output":2,"cache_read":0.1}},
                "limit":{{"context":1000,"output":100}},"ability":{{"mean":[1.0],"sd":[0.3],"source":"published"}}}}"#,
            base.split('@').next().unwrap()
        ))
        .unwrap();
        fields.extend(serde_json::from_str::<Map<String, Value>>(&format!("{{{more}}}")).unwrap());
        Value::Object(fields).to_string()
    }

    fn codes(models: &str) -> Vec<(&'static str, bool)> {
        let found = check(&catalog(models), Moment::parse(NOW).unwrap());
        found.iter().map(|finding| (finding.code, finding.contradictory)).collect()
    }

    #[test]
    fn a_sound_catalog_has_no_findings() {
        assert_eq!(codes(&model("a/m", "")), []);
    }

    #[test]
    fn what_is_missing_or_passing_is_noted() {
        for (more, code) in [
            (r#""cost":null"#, "unpriced"),
            (r#""cost":{"input":0,"output":2}"#, "zero_price"),
            (r#""limit":{}"#, "no_context"),
            (r#""ability":null"#, "no_ability"),
            (r#""deprecation_date":"2026-11-20""#, "retired"),
            (r#""deprecation_date":"2027-02-18""#, "retiring"),
            (r#""released":"2026-11-21""#, "unreleased"),
            (r#""sources":["a board, 2026-01-31, seen in a copy","b 2026-10"]"#, "stale"),
            (
                r#""cost":{"input":1,"output":2,"changes":[{"from":"2026-11-20","input":2,"output":4}]}"#,
                "change_reached",
            ),
            (
                r#""cost":{"input":1,"output":2,"tiers":[{"above_input_tokens":9,"input":0.5,"output":2}]}"#,
                "cheaper_tier",
            ),
            (r#""unroutable":"because","cost":null"#, "unroutable"),
        ] {
            assert_eq!(codes(&model("a/m", more)), [(code, false)], "{more}");
        }
        assert_eq!(codes(&model("a/m", r#""deprecation_date":"2027-02-19""#)), []);
        assert_eq!(codes(&model("a/m@loud", r#""effort":"loud""#)), [("unknown_effort", false)]);
        assert_eq!(codes(&model("a/m", r#""cost":{"input":0,"output":0},"free":true"#)), []);
    }

    #[test]
    fn what_cannot_both_hold_is_a_contradiction() {
        for (more, code) in [
            (r#""limit":{"context":10,"output":11}"#, "limit_contradiction"),
            (r#""cost":{"input":1,"output":2,"cache_read":1.5}"#, "cache_dearer"),
            (r#""ability":{"mean":[1.0],"sd":[0.0],"source":"published"}"#, "certain_ability"),
            (r#""free":true"#, "free_but_priced"),
            (r#""released":"2030-01-01","deprecation_date":"2029-01-01""#, "retired_before_release"),
        ] {
            assert_eq!(codes(&model("a/m", more)).first(), Some(&(code, true)), "{more}");
        }
        assert_eq!(codes(&model("a/m@high", r#""effort":"low""#)), [("effort_id", true)]);
        assert_eq!(codes(&model("a/m", r#""effort":"low""#)), []);
        let cost = |rules: &str| model("a/m", &format!(r#""cost":{{"input":1,"output":2,{rules}}}"#));
        for (rules, code) in [
            (
                r#""tiers":[{"above_input_tokens":9,"input":2,"output":2},{"above_input_tokens":8,"input":2,"output":2}]"#,
                "tier_order",
            ),
            (
                r#""hours":[{"from":"22:00","to":"02:00","input":1,"output":1},{"from":"01:59","to":"03:00","input":1,"output":1}]"#,
                "hours_overlap",
            ),
            (r#""hours":[{"from":"22:00","to":"22:00","input":1,"output":1}]"#, "hours_empty"),
            (
                r#""changes":[{"from":"2027-01-01","input":1,"output":1},{"from":"2027-01-01","input":2,"output":2}]"#,
                "change_repeated",
            ),
        ] {
            assert_eq!(codes(&cost(rules)), [(code, true)], "{rules}");
        }
        let apart = r#""hours":[{"from":"22:00","to":"02:00","input":1,"output":1},{"from":"02:00","to":"03:00","input":1,"output":1}]"#;
        assert_eq!(codes(&cost(apart)), []);
    }

    #[test]
    fn entries_of_one_model_agree() {
        let entries = |a: &str, b: &str| codes(&format!("{a},{b}"));
        let (plain, twin) = (model("a/m", ""), model("a/m@", r#""base":"m""#));
        assert_eq!(entries(&plain, &twin), [("duplicate", false)]);
        let dear = model("a/m@", r#""cost":{"input":9,"output":9}"#);
        assert_eq!(entries(&plain, &dear), [("duplicate_price", true)]);
        let low =
            model("a/m@low", r#""effort":"low","length":{"mean":[6.0],"residual_sd":1,"source":"prior"}"#);
        let worse =
            model("a/m@max", r#""effort":"max","ability":{"mean":[0.0],"sd":[0.3],"source":"published"}"#);
        assert_eq!(entries(&worse, &low), [("effort_order", true)]);
        let shorter =
            model("a/m@max", r#""effort":"max","length":{"mean":[5.0],"residual_sd":1,"source":"prior"}"#);
        assert_eq!(entries(&shorter, &low), [("effort_order", true)]);
        let other = model("b/x", r#""ability":{"mean":[1.0,2.0],"sd":[0.3,0.3],"source":"published"}"#);
        assert_eq!(codes(&format!("{plain},{},{other}", model("c/y", ""))), [("ability_dimensions", true)]);
    }

    #[test]
    fn an_old_catalog_is_stale_and_an_undated_one_is_named() {
        let at = |version: &str| {
            let catalog = Catalog { version: version.into(), ..catalog(&model("a/m", "")) };
            check(&catalog, Moment::parse(NOW).unwrap()).first().map(ToString::to_string)
        };
        assert_eq!(at("2026-09-21"), None);
        assert_eq!(
            at("2026-09-20-beta").as_deref(),
            Some("catalog: version `2026-09-20-beta` is 61 days old (stale)")
        );
        assert!(at("mine").is_some_and(|line| line.ends_with("(undated)")));
    }

    #[test]
    fn a_diff_names_prices_first() {
        let before = catalog(&format!("{},{}", model("a/gone", ""), model("a/m", r#""tool_call":true"#)));
        let after = catalog(&format!(
            "{},{}",
            model(
                "a/m",
                r#""tool_call":false,"cost":{"input":2,"output":2,"tiers":[{"above_input_tokens":9,"input":3,"output":2}]}"#
            ),
            model("a/new", "")
        ));
        let found = diff(&before, &after).unwrap();
        assert_eq!(
            (found.added.as_slice(), found.removed.as_slice()),
            (&["a/new".to_owned()][..], &["a/gone".to_owned()][..])
        );
        let lines: Vec<String> = found.changed.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "~ a/m cost.cache_read: 0.1 -> null",
                "~ a/m cost.input: 1 -> 2 (+100%)",
                "~ a/m cost.tiers[0].above_input_tokens: null -> 9",
                "~ a/m cost.tiers[0].input: null -> 3.0",
                "~ a/m cost.tiers[0].output: null -> 2.0",
                "~ a/m tool_call: true -> false",
            ]
        );
        assert!(
            found
                .to_string()
                .starts_with("2026-11-20 -> 2026-11-20: 1 added, 1 removed, 6 fields changed\n~ a/m")
        );
        assert!(diff(&before, &before).unwrap().is_empty());
        let json = serde_json::to_value(&found).unwrap();
        assert_eq!(json["changed"][1]["after"], 2.0);
    }
}
