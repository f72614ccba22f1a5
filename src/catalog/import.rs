//! Catalogs from other people's tables: `LiteLLM`'s prices, and the data set's `models.json`.
//!
//! Nothing is dropped and nothing is invented. A row that cannot be routed stays in the catalog with
//! the reason; a field that the table does not state stays unstated, and gates fail on it. A price of
//! zero is kept as it stands: gates treat it as unknown until the owner marks the model free.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::Hash;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{CATALOG_FORMAT, Catalog, Limit, Model, RecordedModel, Source};
use crate::error::{Error, Result};
use crate::money::{Hours, PriceList, Rates, Tier, TimeOfDay};

/// An imported catalog and what became of every row of the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Imported {
    /// The catalog, ordered by provider and id.
    #[serde(skip)]
    pub catalog: Catalog,
    /// Rows of the table: `routable` and all of `unroutable` together.
    pub rows: usize,
    /// Rows that became candidates.
    pub routable: usize,
    /// Rows that are kept but cannot be routed, by reason.
    pub unroutable: BTreeMap<String, usize>,
    /// What else was noticed on the way, and on how many routable rows.
    pub notes: BTreeMap<String, usize>,
}

impl fmt::Display for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows: {} routable", self.rows, self.routable)?;
        for (title, counts) in [("not routable", &self.unroutable), ("noted", &self.notes)] {
            for (what, n) in counts {
                write!(f, "\n  {title}: {n} {what}")?;
            }
        }
        Ok(())
    }
}

const RECORDED: &str = "with the ability of a recorded model";
const PUBLISHED: &str = "with the ability of a model of the shipped catalog";
const WITHOUT_ABILITY: &str = "without an ability (see `pennyroute fit`)";

impl Imported {
    /// Gives models that are still without an ability that of the model of the same name in
    /// `shipped`, the catalog that comes with the artifacts; returns how many.
    ///
    /// The ability holds at one reasoning effort, which the model is then asked for by name. Abilities
    /// that were themselves guessed from a price are not passed on.
    pub fn attach(&mut self, shipped: &Catalog) -> usize {
        let sound =
            |m: &&Model| m.ability.as_ref().is_some_and(|a| a.source != Source::Price) && !m.id.contains('@');
        let names = shipped.models.iter().filter(sound).flat_map(|model| {
            let last = model.base.rsplit('/').next().unwrap_or(&model.base);
            let own = model.id.split_once('/').map_or(model.id.as_str(), |(_, name)| name);
            [model.base.as_str(), last, own].map(|name| (name, model))
        });
        let known = Known::new(names);
        let mut attached = 0;
        for model in self.catalog.models.iter_mut().filter(|m| m.unroutable.is_none() && m.ability.is_none())
        {
            if let Some(same) = known.get(&model.base) {
                model.ability.clone_from(&same.ability);
                model.length.clone_from(&same.length);
                model.effort.clone_from(&same.effort);
                attached += 1;
            }
        }
        if attached > 0 {
            self.notes.insert(PUBLISHED.to_owned(), attached);
            let left = self.notes.remove(WITHOUT_ABILITY).unwrap_or(0) - attached;
            self.notes.extend((left > 0).then(|| (WITHOUT_ABILITY.to_owned(), left)));
        }
        attached
    }
}

/// A row on its way into the catalog.
struct Row {
    /// Its name in the table.
    key: String,
    model: Model,
    /// Reason under which an unroutable row is counted; its own reason may name another model.
    class: Option<String>,
    notes: Vec<&'static str>,
}

/// Reads `LiteLLM`'s `model_prices_and_context_window.json`.
///
/// Only the modes chat, responses and completion route. The id is `provider/model`, the provider
/// being `LiteLLM`'s; keys that already begin with it are not doubled. Abilities in `known` (from the
/// artifacts, by name in the outcomes) are attached where the names are the same, see `Known::get`.
pub fn from_litellm(json: &[u8], known: &BTreeMap<String, RecordedModel>, version: &str) -> Result<Imported> {
    let table: Entries = parse(json)?;
    let known = Known::new(known.iter().map(|(name, model)| (name.as_str(), model)));
    let rows = table.0.into_iter().map(|(key, value)| litellm_row(key, &value, &known)).collect();
    finish(rows, version)
}

/// Reads the data set's `models.json`: ids are the names used in the outcomes.
///
/// It states prices and context windows only; every capability stays unstated.
pub fn from_dataset(json: &[u8], known: &BTreeMap<String, RecordedModel>, version: &str) -> Result<Imported> {
    #[derive(Deserialize)]
    struct Table {
        models: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        name: String,
        provider: String,
        price_in_per_1m: Option<f64>,
        price_out_per_1m: Option<f64>,
        context_window: Option<u64>,
        price_source: Option<String>,
        #[serde(default)]
        hidden_reasoning_tokens: bool,
    }
    let table: Table = parse(json)?;
    let row = |entry: Entry| {
        let mut model = blank(entry.name.clone(), entry.provider, entry.name.clone());
        model.cost = entry
            .price_in_per_1m
            .zip(entry.price_out_per_1m)
            .map(|(input, output)| PriceList::flat(Rates { input, output, cache_read: None }));
        model.limit.context = entry.context_window;
        model.reasoning = entry.hidden_reasoning_tokens;
        model.sources = entry.price_source.into_iter().map(|source| format!("price: {source}")).collect();
        let mut notes = Vec::new();
        attach(&mut model, known.get(&entry.name), &mut notes);
        note_price(&model, &mut notes);
        Row { key: entry.name, model, class: None, notes }
    };
    finish(table.models.into_iter().map(row).collect(), version)
}

fn parse<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T> {
    let mut de = serde_json::Deserializer::from_slice(json);
    serde_path_to_error::deserialize(&mut de).map_err(|e| Error::catalog(e.path().to_string(), e.inner()))
}

/// An entry that states nothing but its name.
fn blank(id: String, provider: String, base: String) -> Model {
    Model {
        id,
        provider,
        base,
        effort: None,
        cost: None,
        free: false,
        limit: Limit::default(),
        modalities: None,
        tool_call: None,
        json: None,
        reasoning: false,
        private: false,
        released: None,
        deprecation_date: None,
        ability: None,
        length: None,
        unroutable: None,
        sources: Vec::new(),
    }
}

/// Settles duplicate ids, orders, counts.
fn finish(mut rows: Vec<Row>, version: &str) -> Result<Imported> {
    settle_duplicates(&mut rows);
    rows.sort_by(|a, b| (&a.model.provider, &a.model.id).cmp(&(&b.model.provider, &b.model.id)));
    let mut unroutable = BTreeMap::new();
    let mut notes = BTreeMap::new();
    for row in &rows {
        match (&row.class, &row.model.unroutable) {
            (Some(reason), _) | (None, Some(reason)) => *unroutable.entry(reason.clone()).or_insert(0) += 1,
            (None, None) => {
                row.notes.iter().for_each(|&note| *notes.entry(note.to_owned()).or_insert(0) += 1);
            }
        }
    }
    let routable = rows.len() - unroutable.values().sum::<usize>();
    let catalog = Catalog {
        format: CATALOG_FORMAT,
        version: version.to_owned(),
        models: rows.into_iter().map(|row| row.model).collect(),
    };
    catalog.validate()?;
    Ok(Imported { rows: catalog.models.len(), routable, unroutable, notes, catalog })
}

/// Of several rows with one id, the one whose key spells the id out keeps it (else the first); the
/// others stay as `id#2`, `id#3`… and are not routed.
fn settle_duplicates(rows: &mut [Row]) {
    let mut groups: HashMap<String, Vec<usize>> = HashMap::new();
    for (i, row) in rows.iter().enumerate() {
        groups.entry(row.model.id.clone()).or_default().push(i);
    }
    for (id, group) in groups.into_iter().filter(|(_, group)| group.len() > 1) {
        // A row that can be routed goes before one that cannot.
        let rank = |&i: &usize| (rows[i].model.unroutable.is_some(), rows[i].key != id, i);
        let Some(keep) = group.iter().copied().min_by_key(rank) else { continue };
        let kept_cost = rows[keep].model.cost.clone();
        for (n, i) in group.into_iter().filter(|&i| i != keep).enumerate() {
            let row = &mut rows[i];
            let prices = if row.model.cost == kept_cost { "the same" } else { "other" };
            row.model.id = format!("{id}#{}", n + 2);
            if row.model.unroutable.is_none() {
                row.model.unroutable =
                    Some(format!("key `{}` is a duplicate of `{id}`, with {prices} prices", row.key));
                row.class = Some("duplicate of another row".into());
            }
        }
    }
}

/// The entries of a JSON object in file order, repeated keys included.
struct Entries(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Entries;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of models by name")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

// --- LiteLLM ---

/// The modes whose models answer a prompt with text.
const MODES: [&str; 3] = ["chat", "responses", "completion"];

fn litellm_row(key: String, value: &Value, known: &Known<'_, RecordedModel>) -> Row {
    let nothing = Map::new();
    let fields = value.as_object().unwrap_or(&nothing);
    let stated = fields.get("litellm_provider").and_then(Value::as_str).unwrap_or("");
    let (id, provider, base) = litellm_name(&key, stated);
    let mut model = blank(id, provider, base);
    let mut notes = Vec::new();
    model.unroutable = unroutable(&key, fields).or_else(|| read(fields, &mut model, &mut notes).err());
    model.sources = vec![format!("LiteLLM key `{key}`")];
    if let Some(source) = fields.get("source").and_then(Value::as_str) {
        model.sources.push(source.to_owned());
    }
    if model.unroutable.is_none() {
        attach(&mut model, known.get(&key), &mut notes);
        note_price(&model, &mut notes);
    }
    Row { key, model, class: None, notes }
}

/// Id, provider and name at the provider of the row called `key`.
///
/// `LiteLLM` writes some providers with a suffix (`vertex_ai-anthropic_models`, `azure_text`) or with a
/// hyphen in keys (`amazon-nova/…`); the key's own first segment is then the provider.
fn litellm_name(key: &str, provider: &str) -> (String, String, String) {
    if let Some((first, rest)) = key.split_once('/')
        && (provider.is_empty() || provider.replace('_', "-").starts_with(&first.replace('_', "-")))
    {
        return (key.to_owned(), first.to_owned(), rest.to_owned());
    }
    match provider {
        "" => (key.to_owned(), "unknown".to_owned(), key.to_owned()),
        // The descriptive row: its provider is prose.
        prose if prose.contains(' ') => (key.to_owned(), "unknown".to_owned(), key.to_owned()),
        _ => (format!("{provider}/{key}"), provider.to_owned(), key.to_owned()),
    }
}

/// Why a row is no model that a prompt could be sent to.
fn unroutable(key: &str, fields: &Map<String, Value>) -> Option<String> {
    if key == "sample_spec" {
        return Some("describes the fields of the table, not a model".into());
    }
    let Some(mode) = fields.get("mode").and_then(Value::as_str) else {
        return Some("states no mode".into());
    };
    if !MODES.contains(&mode) {
        return Some(format!("mode `{mode}` does not answer a prompt"));
    }
    if key.contains('*') || key.contains("-up-to-") {
        return Some("prices a class of models, not one".into());
    }
    let output = fields.get("supported_output_modalities").and_then(Value::as_array);
    if output.is_some_and(|kinds| !kinds.is_empty() && !kinds.iter().any(|kind| kind == "text")) {
        return Some("does not answer with text".into());
    }
    None
}

/// Reads the fields of a routable row; fails with the reason why they cannot be believed.
fn read(
    fields: &Map<String, Value>,
    model: &mut Model,
    notes: &mut Vec<&'static str>,
) -> std::result::Result<(), String> {
    let flag = |name: &str| fields.get(name).and_then(Value::as_bool);
    model.cost = prices(fields, notes)?;
    model.limit =
        Limit { context: tokens(fields, "max_input_tokens")?, output: tokens(fields, "max_output_tokens")? };
    model.tool_call = flag("supports_function_calling");
    model.json = flag("supports_response_schema");
    model.reasoning = flag("supports_reasoning").unwrap_or(false);
    model.modalities = modalities(fields);
    if let Some(text) = fields.get("deprecation_date").and_then(Value::as_str) {
        match text.to_owned().try_into() {
            Ok(day) => model.deprecation_date = Some(day),
            Err(_) => notes.push("with a deprecation date that is no date (ignored)"),
        }
    }
    Ok(())
}

/// The kinds of input the row states, or `None` where it says nothing about any of them.
fn modalities(fields: &Map<String, Value>) -> Option<Vec<String>> {
    let listed = fields.get("supported_modalities").and_then(Value::as_array);
    let mut stated = listed.is_some();
    let mut kinds = vec!["text".to_owned()];
    for (kind, flag) in [
        ("image", "supports_vision"),
        ("pdf", "supports_pdf_input"),
        ("audio", "supports_audio_input"),
        ("video", "supports_video_input"),
    ] {
        let flag = fields.get(flag).and_then(Value::as_bool);
        stated |= flag.is_some();
        // The flag wins over the list: it is what LiteLLM itself consults.
        if flag.unwrap_or_else(|| listed.is_some_and(|list| list.iter().any(|k| k == kind))) {
            kinds.push(kind.to_owned());
        }
    }
    stated.then_some(kinds)
}

fn tokens(fields: &Map<String, Value>, name: &str) -> std::result::Result<Option<u64>, String> {
    Ok(number(fields, name)?.map(|n| n as u64).filter(|&n| n > 0))
}

/// A number >= 0, also where it is written as text.
fn number(fields: &Map<String, Value>, name: &str) -> std::result::Result<Option<f64>, String> {
    let n = match fields.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(value) => value.as_f64(),
    };
    match n {
        Some(n) if n.is_finite() && n >= 0.0 => Ok(Some(n)),
        _ => Err(format!("`{name}` is not a number >= 0")),
    }
}

/// A price in USD per million tokens, without the noise that the conversion adds.
fn price(fields: &Map<String, Value>, name: &str) -> std::result::Result<Option<f64>, String> {
    Ok(number(fields, name)?.map(|usd| (usd * 1e15).round() / 1e9))
}

/// One set of rates; `suffix` names a tier. `None` where input or output is missing.
fn rates(fields: &Map<String, Value>, suffix: &str) -> std::result::Result<Option<Rates>, String> {
    let input = price(fields, &format!("input_cost_per_token{suffix}"))?;
    let mut output = price(fields, &format!("output_cost_per_token{suffix}"))?;
    // Where thoughts cost more than the answer, everything is billed as dear as the thoughts: a
    // default call may think, and a price is never understated.
    if let (Some(answer), Some(thought)) =
        (output, price(fields, &format!("output_cost_per_reasoning_token{suffix}"))?)
    {
        output = Some(answer.max(thought));
    }
    let mut cache_read = price(fields, &format!("cache_read_input_token_cost{suffix}"))?;
    if cache_read.is_none() && suffix.is_empty() {
        cache_read = price(fields, "input_cost_per_token_cache_hit")?;
    }
    // Free cached input next to paid input is a gap in the table, not an offer.
    let cache_read = cache_read.filter(|&usd| usd > 0.0);
    Ok(input.zip(output).map(|(input, output)| Rates { input, output, cache_read }))
}

fn prices(
    fields: &Map<String, Value>,
    notes: &mut Vec<&'static str>,
) -> std::result::Result<Option<PriceList>, String> {
    let mut list = match rates(fields, "")? {
        Some(base) => PriceList { tiers: tiers_by_key(fields, base)?, ..PriceList::flat(base) },
        None => match tiers_by_range(fields)? {
            Some(list) => list,
            None => return Ok(None),
        },
    };
    for name in ["input_cost_per_request", "input_cost_per_query"] {
        if number(fields, name)?.is_some_and(|usd| usd > 0.0) {
            notes.push("with a price per call besides the tokens (price left unknown)");
            return Ok(None);
        }
    }
    if list.tiers.is_empty()
        && let Some(ranged) = tiers_by_range(fields)?
        && ranged.base == list.base
    {
        list.tiers = ranged.tiers;
    }
    if !list.tiers.is_empty() {
        notes.push("with prices by length of input");
    }
    if let Some(off_peak) = fields.get("off_peak_pricing").and_then(Value::as_object) {
        match off_peak_hours(off_peak)? {
            Some(hours) => list.hours = hours,
            None => notes.push("with off-peak hours that could not be read (peak price kept)"),
        }
        if !list.hours.is_empty() {
            notes.push("with prices by time of day");
        }
    }
    if fields.get("cache_read_input_token_cost").and_then(Value::as_f64) == Some(0.0) && list.base.input > 0.0
    {
        notes.push("with free cached input next to paid input (no discount assumed)");
    }
    Ok(Some(list))
}

/// Tiers from keys such as `input_cost_per_token_above_200k_tokens`; a missing part is the base's.
fn tiers_by_key(fields: &Map<String, Value>, base: Rates) -> std::result::Result<Vec<Tier>, String> {
    let threshold = |key: &String| {
        let rest = ["input", "output"]
            .iter()
            .find_map(|side| key.strip_prefix(&format!("{side}_cost_per_token_above_")))?;
        rest.strip_suffix("k_tokens")?.parse::<u64>().ok()
    };
    let mut thousands: Vec<u64> = fields.keys().filter_map(threshold).collect();
    thousands.sort_unstable();
    thousands.dedup();
    let mut tiers = Vec::new();
    for k in thousands {
        let suffix = format!("_above_{k}k_tokens");
        let input = price(fields, &format!("input_cost_per_token{suffix}"))?.unwrap_or(base.input);
        let output = price(fields, &format!("output_cost_per_token{suffix}"))?.unwrap_or(base.output);
        let cache_read =
            price(fields, &format!("cache_read_input_token_cost{suffix}"))?.filter(|&usd| usd > 0.0);
        tiers.push(Tier { above_input_tokens: k * 1000, rates: Rates { input, output, cache_read } });
    }
    Ok(tiers)
}

/// Tiers from `tiered_pricing`, a list of rates with the range of input each holds for.
fn tiers_by_range(fields: &Map<String, Value>) -> std::result::Result<Option<PriceList>, String> {
    let Some(list) = fields.get("tiered_pricing").and_then(Value::as_array) else { return Ok(None) };
    let mut tiers = Vec::new();
    for tier in list.iter().filter_map(Value::as_object) {
        let from = tier.get("range").and_then(|range| range.get(0)).and_then(Value::as_f64);
        let (Some(from), Some(rates)) = (from, rates(tier, "")?) else { return Ok(None) };
        tiers.push(Tier { above_input_tokens: from as u64, rates });
    }
    tiers.sort_by_key(|tier| tier.above_input_tokens);
    if tiers.first().is_none_or(|tier| tier.above_input_tokens != 0) {
        return Ok(None);
    }
    let base = tiers.remove(0).rates;
    Ok(Some(PriceList { tiers, ..PriceList::flat(base) }))
}

/// The hours that are off-peak on every day of the week; a price list has no weekdays, and an hour
/// that is cheap on some days only is billed as dear. `None`: not understood.
fn off_peak_hours(fields: &Map<String, Value>) -> std::result::Result<Option<Vec<Hours>>, String> {
    const DAY: usize = 24 * 60;
    let Some(rates) = rates(fields, "")? else { return Ok(None) };
    let Some(windows) = fields.get("windows").and_then(Value::as_array) else { return Ok(None) };
    let mut cheap = [[false; DAY]; 7];
    for window in windows {
        let spans: Vec<&str> = match window.get("hours_utc") {
            Some(Value::String(span)) => vec![span],
            Some(Value::Array(spans)) => spans.iter().filter_map(Value::as_str).collect(),
            _ => return Ok(None),
        };
        let days: Vec<usize> = match window.get("weekdays").and_then(Value::as_array) {
            Some(days) => days.iter().filter_map(Value::as_u64).map(|day| day as usize).collect(),
            None => (1..=7).collect(),
        };
        for span in spans {
            let Some((from, to)) = span.split_once('-').and_then(|(a, b)| minute(a).zip(minute(b))) else {
                return Ok(None);
            };
            let to = if to == 0 { DAY } else { to };
            for day in &days {
                let Some(day) = cheap.get_mut(day.wrapping_sub(1)) else { return Ok(None) };
                if from <= to {
                    day[from..to].fill(true);
                } else {
                    day[from..].fill(true);
                    day[..to].fill(true);
                }
            }
        }
    }
    let always = |minute: usize| cheap.iter().all(|day| day[minute % DAY]);
    // A window begins where the minute before is dear, and may run past midnight.
    let starts = (0..DAY).filter(|&m| always(m) && !always(m + DAY - 1));
    let hours = starts.map(|from| {
        let to = (from..from + DAY).find(|&m| !always(m)).unwrap_or(from + DAY);
        time_of_day(from).zip(time_of_day(to % DAY)).map(|(from, to)| Hours { from, to, rates })
    });
    Ok(hours.collect())
}

fn minute(text: &str) -> Option<usize> {
    let (hour, minute) = text.trim().split_once(':')?;
    let (hour, minute): (usize, usize) = (hour.parse().ok()?, minute.parse().ok()?);
    (hour < 24 && minute < 60).then_some(hour * 60 + minute)
}

fn time_of_day(minute: usize) -> Option<TimeOfDay> {
    format!("{:02}:{:02}", minute / 60, minute % 60).try_into().ok()
}

// --- abilities by name ---

/// Models of known ability, by exact and by normalised name; `None` where two share a name, in which
/// case neither is attached.
struct Known<'a, T> {
    exact: HashMap<&'a str, Option<&'a T>>,
    normalised: HashMap<String, Option<&'a T>>,
}

impl<'a, T> Known<'a, T> {
    /// From pairs of a name and a model; a model may have several different names.
    fn new(names: impl IntoIterator<Item = (&'a str, &'a T)>) -> Self {
        fn put<'a, K: Eq + Hash, T>(map: &mut HashMap<K, Option<&'a T>>, name: K, model: &'a T) {
            let slot = map.entry(name).or_insert(Some(model));
            if slot.is_some_and(|other| !std::ptr::eq(other, model)) {
                *slot = None;
            }
        }
        let mut known = Known { exact: HashMap::new(), normalised: HashMap::new() };
        for (name, model) in names {
            put(&mut known.exact, name, model);
            put(&mut known.normalised, normalised(name), model);
        }
        known
    }

    /// The model that `LiteLLM` calls `key`: the name itself, or its last path segment, or
    /// that in lower case with what Bedrock and Vertex add to it removed. Variants (`-turbo`, `:free`,
    /// `ft:…`, `-fp8`) are other names, and stay without an ability: a wrong one is worse than none.
    fn get(&self, key: &str) -> Option<&'a T> {
        let segment = key.rsplit('/').next().unwrap_or(key);
        let exact = self.exact.get(key).or_else(|| self.exact.get(segment));
        exact.copied().flatten().or_else(|| self.normalised.get(&normalised(segment)).copied().flatten())
    }
}

/// `us.anthropic.claude-3-5-sonnet-20240620-v1:0` (Bedrock) and `claude-3-5-sonnet@20240620` (Vertex)
/// are both `claude-3-5-sonnet-20240620`.
fn normalised(segment: &str) -> String {
    const PREFIXES: [&str; 14] = [
        "us.",
        "eu.",
        "apac.",
        "au.",
        "jp.",
        "ca.",
        "global.",
        "us-gov.",
        "anthropic.",
        "meta.",
        "mistral.",
        "cohere.",
        "ai21.",
        "amazon.",
    ];
    let lower = segment.to_lowercase();
    let revision = lower.rsplit_once("-v").filter(|(_, revision)| {
        revision.split_once(':').is_some_and(|(a, b)| a.parse::<u8>().is_ok() && b.parse::<u8>().is_ok())
    });
    if let Some((mut name, _)) = revision {
        while let Some(rest) = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)) {
            name = rest;
        }
        return name.to_owned();
    }
    match lower.split_once('@') {
        Some((name, date)) if date.len() == 8 && date.bytes().all(|b| b.is_ascii_digit()) => {
            format!("{name}-{date}")
        }
        _ => lower,
    }
}

fn attach(model: &mut Model, recorded: Option<&RecordedModel>, notes: &mut Vec<&'static str>) {
    match recorded {
        Some(recorded) => {
            model.ability = Some(recorded.ability.clone());
            model.length = Some(recorded.length.clone());
            notes.push(RECORDED);
        }
        None => notes.push(WITHOUT_ABILITY),
    }
}

fn note_price(model: &Model, notes: &mut Vec<&'static str>) {
    match &model.cost {
        None => notes.push("without a price per token"),
        Some(cost) if cost.has_zero() => notes.push("with a price of zero (unknown unless marked free)"),
        Some(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Ability, Length};

    fn recorded(names: &[&str]) -> BTreeMap<String, RecordedModel> {
        let model = RecordedModel {
            ability: Ability { mean: vec![1.0], sd: vec![0.1], source: Source::Recorded, note: None },
            length: Length { mean: vec![5.0], residual_sd: 0.5, source: Source::Recorded },
        };
        names.iter().map(|&name| (name.to_owned(), model.clone())).collect()
    }

    fn one(json: &str) -> Model {
        let imported = from_litellm(json.as_bytes(), &recorded(&[]), "2026-11-20").unwrap();
        assert_eq!(imported.rows, 1);
        imported.catalog.models[0].clone()
    }

    #[test]
    fn a_row_becomes_a_model_and_what_it_does_not_state_stays_unstated() {
        let model = one(
            r#"{"gpt-x": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 2.5e-06,
                "output_cost_per_token": 1e-05, "cache_read_input_token_cost": 1.25e-06, "max_input_tokens": 128000,
                "max_output_tokens": 16384, "supports_vision": true, "supports_function_calling": true,
                "deprecation_date": "2027-01-14"}}"#,
        );
        assert_eq!(
            (model.id.as_str(), model.provider.as_str(), model.base.as_str()),
            ("openai/gpt-x", "openai", "gpt-x")
        );
        let base = Rates { input: 2.5, output: 10.0, cache_read: Some(1.25) };
        assert_eq!(model.cost, Some(PriceList::flat(base)));
        assert_eq!(model.limit, Limit { context: Some(128_000), output: Some(16_384) });
        assert_eq!(model.modalities, Some(vec!["text".to_owned(), "image".to_owned()]));
        assert_eq!((model.tool_call, model.json, model.reasoning), (Some(true), None, false));
        assert_eq!(String::from(model.deprecation_date.unwrap()), "2027-01-14");
        assert_eq!(model.ability, None);
        let bare = one(r#"{"a/b": {"litellm_provider": "a", "mode": "chat"}}"#);
        assert_eq!(
            (bare.cost, bare.modalities, bare.tool_call, bare.limit),
            (None, None, None, Limit::default())
        );
    }

    #[test]
    fn the_provider_is_not_doubled() {
        for (key, provider, id) in [
            ("xai/grok", "xai", "xai/grok"),
            ("grok", "xai", "xai/grok"),
            ("vertex_ai/claude@20240620", "vertex_ai-anthropic_models", "vertex_ai/claude@20240620"),
            ("amazon-nova/nova", "amazon_nova", "amazon-nova/nova"),
            ("meta-llama/x", "groq", "groq/meta-llama/x"),
        ] {
            assert_eq!(litellm_name(key, provider).0, id);
        }
    }

    #[test]
    fn prices_by_length_and_by_time_of_day() {
        let model = one(
            r#"{"a/b": {"litellm_provider": "a", "mode": "responses", "input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06,
                "input_cost_per_token_above_200k_tokens": 2e-06, "output_cost_per_token_above_200k_tokens": 3e-06,
                "input_cost_per_token_above_200k_tokens_priority": 9e-06,
                "off_peak_pricing": {"input_cost_per_token": 5e-07, "output_cost_per_token": 1e-06, "windows": [
                    {"hours_utc": ["00:00-01:00", "04:00-06:00", "10:00-00:00"], "weekdays": [1, 2, 3, 4, 5]},
                    {"hours_utc": "00:00-00:00", "weekdays": [6, 7]}]}}}"#,
        );
        let cost = model.cost.unwrap();
        assert_eq!(
            cost.tiers,
            [Tier {
                above_input_tokens: 200_000,
                rates: Rates { input: 2.0, output: 3.0, cache_read: None }
            }]
        );
        let windows: Vec<(String, String)> =
            cost.hours.iter().map(|h| (h.from.into(), h.to.into())).collect();
        assert_eq!(windows, [("04:00".into(), "06:00".into()), ("10:00".into(), "01:00".into())]);
        assert_eq!(cost.hours[0].rates.input, 0.5);

        let ranged = one(r#"{"a/q": {"litellm_provider": "a", "mode": "chat", "tiered_pricing": [
                {"range": [0, 256000.0], "input_cost_per_token": 4e-07, "output_cost_per_token": 1.2e-06, "output_cost_per_reasoning_token": 4e-06},
                {"range": [256000.0, 1000000.0], "input_cost_per_token": 1.2e-06, "output_cost_per_token": 3.6e-06}]}}"#);
        let cost = ranged.cost.unwrap();
        assert_eq!(
            (cost.base.output, cost.tiers[0].above_input_tokens, cost.tiers[0].rates.input),
            (4.0, 256_000, 1.2)
        );
    }

    #[test]
    fn every_row_is_kept_and_counted() {
        let json = r#"{
            "sample_spec": {"litellm_provider": "one of the docs", "mode": "one of: chat"},
            "e/embed": {"litellm_provider": "e", "mode": "embedding"},
            "nothing": {"input_cost_per_token": 1e-7},
            "together-ai-up-to-4b": {"litellm_provider": "together_ai", "mode": "chat"},
            "v/speaks": {"litellm_provider": "v", "mode": "chat", "supported_output_modalities": ["audio"]},
            "v/odd": {"litellm_provider": "v", "mode": "chat", "input_cost_per_token": "dear"},
            "d/chat": {"litellm_provider": "d", "mode": "chat", "input_cost_per_token": 1e-7, "output_cost_per_token": 1e-7},
            "chat": {"litellm_provider": "d", "mode": "chat", "input_cost_per_token": 2e-7, "output_cost_per_token": 1e-7},
            "d/zero": {"litellm_provider": "d", "mode": "completion", "input_cost_per_token": 0, "output_cost_per_token": 0}
        }"#;
        let imported = from_litellm(json.as_bytes(), &recorded(&[]), "v").unwrap();
        assert_eq!((imported.rows, imported.routable), (9, 2));
        assert_eq!(imported.unroutable.values().sum::<usize>(), 7);
        assert_eq!(imported.unroutable["`input_cost_per_token` is not a number >= 0"], 1);
        assert_eq!(imported.unroutable["duplicate of another row"], 1);
        let find = |id: &str| imported.catalog.models.iter().find(|m| m.id == id).unwrap();
        let duplicate = find("d/chat#2").unroutable.as_deref().unwrap();
        assert!(duplicate.contains("`chat` is a duplicate of `d/chat`, with other prices"), "{duplicate}");
        assert_eq!(find("d/chat").unroutable, None);
        assert!(find("d/zero").cost.as_ref().unwrap().has_zero());
        assert_eq!(imported.notes["with a price of zero (unknown unless marked free)"], 1);
    }

    #[test]
    fn repeated_keys_are_not_lost() {
        let json = r#"{"a/b": {"litellm_provider": "a", "mode": "chat"}, "a/b": {"litellm_provider": "a", "mode": "chat"}}"#;
        assert_eq!(from_litellm(json.as_bytes(), &recorded(&[]), "v").unwrap().rows, 2);
    }

    #[test]
    fn abilities_are_attached_to_the_same_model_only() {
        let names =
            recorded(&["claude-3-5-sonnet-20240620", "Meta-Llama-3.1-8B-Instruct", "gpt-4o-2024-08-06"]);
        let known = Known::new(names.iter().map(|(name, model)| (name.as_str(), model)));
        for key in [
            "gpt-4o-2024-08-06",
            "azure/eu/gpt-4o-2024-08-06",
            "vertex_ai/claude-3-5-sonnet@20240620",
            "us.anthropic.claude-3-5-sonnet-20240620-v1:0",
            "deepinfra/meta-llama/Meta-Llama-3.1-8B-Instruct",
            "x/meta-llama-3.1-8b-instruct",
        ] {
            assert!(known.get(key).is_some(), "{key}");
        }
        for key in [
            "ft:gpt-4o-2024-08-06",
            "gpt-4o",
            "x/Meta-Llama-3.1-8B-Instruct-Turbo",
            "x/meta-llama-3.1-8b-instruct:free",
        ] {
            assert!(known.get(key).is_none(), "{key}");
        }
        let twins = recorded(&["Model-A", "model-a"]);
        let known = Known::new(twins.iter().map(|(name, model)| (name.as_str(), model)));
        assert!(known.get("x/MODEL-A").is_none(), "ambiguous");
        assert!(known.get("x/model-a").is_some(), "exact");
    }

    #[test]
    fn the_shipped_catalog_lends_abilities_at_the_effort_they_hold_at() {
        let shipped = Catalog::from_json(
            br#"{"format":1,"version":"v","models":[
                {"id":"groq/oss","provider":"groq","base":"openai/oss-120b","effort":"high","ability":{"mean":[1],"sd":[1],"source":"published"}},
                {"id":"groq/oss@low","provider":"groq","base":"openai/oss-120b","effort":"low","ability":{"mean":[0],"sd":[1],"source":"published"}},
                {"id":"a/guess","provider":"a","base":"guess","ability":{"mean":[1],"sd":[1],"source":"price"}}]}"#,
        )
        .unwrap();
        let table = r#"{"x/OpenAI/OSS-120b": {"litellm_provider": "x", "mode": "chat"}, "x/guess": {"litellm_provider": "x", "mode": "chat"},
            "gpt-x": {"litellm_provider": "openai", "mode": "chat"}}"#;
        let mut imported = from_litellm(table.as_bytes(), &recorded(&["gpt-x"]), "v").unwrap();
        assert_eq!(imported.attach(&shipped), 1);
        let find = |id: &str| imported.catalog.models.iter().find(|m| m.id == id).unwrap();
        let lent = find("x/OpenAI/OSS-120b");
        assert_eq!(
            (lent.effort.as_deref(), lent.ability.as_ref().map(|a| a.mean[0])),
            (Some("high"), Some(1.0))
        );
        assert_eq!((find("x/guess").ability.as_ref(), find("openai/gpt-x").effort.as_ref()), (None, None));
        assert_eq!(
            (imported.notes[PUBLISHED], imported.notes[RECORDED], imported.notes[WITHOUT_ABILITY]),
            (1, 1, 1)
        );
    }

    #[test]
    fn the_data_set_names_models_as_its_outcomes_do() {
        let json = r#"{"models": [{"name": "o1-mini-2024-09-12", "provider": "openai", "price_in_per_1m": 3.0, "price_out_per_1m": 12.0,
            "context_window": 128000, "price_source": "list price", "pools": ["wide"], "hidden_reasoning_tokens": true}], "core": []}"#;
        let imported = from_dataset(json.as_bytes(), &recorded(&["o1-mini-2024-09-12"]), "v").unwrap();
        let model = &imported.catalog.models[0];
        assert_eq!((model.id.as_str(), model.limit.context), ("o1-mini-2024-09-12", Some(128_000)));
        assert!(model.reasoning && model.ability.is_some() && model.tool_call.is_none());
        assert_eq!(imported.routable, 1);
    }

    #[test]
    fn what_is_no_table_is_refused() {
        for (json, place) in
            [("[1]", "object"), ("{", "EOF"), (r#"{"models": [{"name": 3}]}"#, "models[0].name")]
        {
            let error = if json.contains("models") {
                from_dataset(json.as_bytes(), &recorded(&[]), "v")
            } else {
                from_litellm(json.as_bytes(), &recorded(&[]), "v")
            }
            .unwrap_err();
            assert_eq!(error.code(), "bad_catalog");
            assert!(error.to_string().contains(place), "{error}");
        }
    }
}
