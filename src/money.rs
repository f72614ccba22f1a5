//! Prices, and what a call costs.
//!
//! Rates are USD per million tokens, as every provider quotes them; costs are USD. Which rate holds
//! depends on the moment of the call and on the length of its input, never on a clock read here.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, finite_non_negative};

/// No model costs a dollar a token: a higher rate is a mistake of units.
const MAX_RATE: f64 = 1e6;

/// A point in time to the minute, given by the caller: the core reads no clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    date: jiff::civil::Date,
    /// Of the UTC day.
    minute: u16,
}

impl Moment {
    /// Reads an RFC 3339 date and time, such as `2026-11-20T12:00:00Z`.
    pub fn parse(text: &str) -> Result<Self> {
        let timestamp = text.parse::<jiff::Timestamp>();
        timestamp
            .map(Moment::of)
            .map_err(|e| Error::request("at", format!("{text:?} is not an RFC 3339 time: {e}")))
    }

    /// The moment `ms` milliseconds after 1970-01-01T00:00:00Z, as JavaScript's `Date.now()` counts.
    pub fn from_unix_ms(ms: f64) -> Result<Self> {
        let in_range = ms.is_finite() && ms.abs() < 2e14;
        let timestamp = if in_range { jiff::Timestamp::from_millisecond(ms as i64).ok() } else { None };
        timestamp.map(Moment::of).ok_or_else(|| Error::Number {
            place: "at".into(),
            value: ms.to_string(),
            expected: "milliseconds since 1970",
        })
    }

    fn of(timestamp: jiff::Timestamp) -> Self {
        let utc = jiff::tz::Offset::UTC.to_datetime(timestamp);
        Moment { date: utc.date(), minute: utc.hour() as u16 * 60 + utc.minute() as u16 }
    }

    /// The UTC calendar date, as `YYYY-MM-DD`.
    pub fn date(self) -> String {
        self.date.to_string()
    }
}

/// A calendar date (UTC) in a catalog, `YYYY-MM-DD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Day(jiff::civil::Date);

impl Day {
    /// Whether `at` lies on or after this day.
    pub fn reached(self, at: Moment) -> bool {
        at.date >= self.0
    }

    /// Days from the UTC date of `at` to this day; negative once it has passed.
    pub fn days_from(self, at: Moment) -> i64 {
        self.0.duration_since(at.date).as_hours() / 24
    }

    /// The year, with the middle of the month as its fraction.
    pub fn year(self) -> f64 {
        f64::from(self.0.year()) + (f64::from(self.0.month()) - 0.5) / 12.0
    }
}

impl TryFrom<String> for Day {
    type Error = String;
    fn try_from(text: String) -> std::result::Result<Self, String> {
        text.parse().map(Day).map_err(|_| format!("{text:?} is not a date YYYY-MM-DD"))
    }
}

impl From<Day> for String {
    fn from(day: Day) -> String {
        day.0.to_string()
    }
}

/// A time of day (UTC) in a catalog, `HH:MM`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeOfDay {
    minutes: u16,
}

impl TryFrom<String> for TimeOfDay {
    type Error = String;
    fn try_from(text: String) -> std::result::Result<Self, String> {
        let time: jiff::civil::Time =
            text.parse().map_err(|_| format!("{text:?} is not a time of day HH:MM"))?;
        Ok(TimeOfDay { minutes: time.hour() as u16 * 60 + time.minute() as u16 })
    }
}

impl From<TimeOfDay> for String {
    fn from(time: TimeOfDay) -> String {
        format!("{:02}:{:02}", time.minutes / 60, time.minutes % 60)
    }
}

/// What tokens cost, in USD per million.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Input tokens that the provider has not cached.
    pub input: f64,
    /// Output tokens, reasoning included.
    pub output: f64,
    /// Input tokens read from the provider's prompt cache; `None`: no discount.
    #[serde(default)]
    pub cache_read: Option<f64>,
}

/// Rates that replace the base above a length of input; providers bill the *whole* call at them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tier {
    /// The tier holds for inputs longer than this many tokens.
    pub above_input_tokens: u64,
    /// The rates from there on.
    #[serde(flatten)]
    pub rates: Rates,
}

/// Rates for a window of the UTC day, `from <= time < to`; a window may wrap around midnight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hours {
    /// First minute of the window.
    pub from: TimeOfDay,
    /// First minute after the window.
    pub to: TimeOfDay,
    /// The rates inside it.
    #[serde(flatten)]
    pub rates: Rates,
}

/// Base rates announced from a date on (the end of an introductory price, a cut).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The day, UTC, from whose start the rates hold.
    pub from: Day,
    /// The new base rates.
    #[serde(flatten)]
    pub rates: Rates,
}

/// The price list of one model.
///
/// The base rates hold unless a later rule replaces them: first dated `changes` (the latest reached
/// one), then `hours`, then `tiers` (the highest exceeded one).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PriceList {
    /// The base rates.
    #[serde(flatten)]
    pub base: Rates,
    /// Rates above lengths of input.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tiers: Vec<Tier>,
    /// Rates by time of day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hours: Vec<Hours>,
    /// Rates by date.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
}

impl PriceList {
    /// A price list of base rates alone.
    pub fn flat(base: Rates) -> Self {
        PriceList { base, tiers: Vec::new(), hours: Vec::new(), changes: Vec::new() }
    }

    /// The prices that hold at `at`, for calls of any length.
    pub fn at(&self, at: Moment) -> Prices<'_> {
        let dated = self.changes.iter().filter(|c| c.from.reached(at)).max_by_key(|c| c.from);
        let window = self.hours.iter().find(|h| match (h.from.minutes, h.to.minutes) {
            (from, to) if from <= to => (from..to).contains(&at.minute),
            (from, to) => at.minute >= from || at.minute < to,
        });
        let short = window.map(|h| h.rates).or(dated.map(|c| c.rates)).unwrap_or(self.base);
        Prices { short, tiers: &self.tiers }
    }

    /// The rates of a call made at `at` with `input_tokens` tokens of input.
    pub fn rates(&self, at: Moment, input_tokens: u64) -> Rates {
        self.at(at).rates(input_tokens)
    }

    /// Every set of rates in the list with its path below `place`.
    fn all<'a>(&'a self, place: &'a str) -> impl Iterator<Item = (String, Rates)> + 'a {
        let tiers = self.tiers.iter().enumerate().map(move |(i, t)| (format!("{place}.tiers[{i}]"), t.rates));
        let hours = self.hours.iter().enumerate().map(move |(i, h)| (format!("{place}.hours[{i}]"), h.rates));
        let changes =
            self.changes.iter().enumerate().map(move |(i, c)| (format!("{place}.changes[{i}]"), c.rates));
        std::iter::once((place.to_owned(), self.base)).chain(tiers).chain(hours).chain(changes)
    }

    /// Refuses a NaN, infinite or negative rate, naming its place below `place`.
    pub(crate) fn validate(&self, place: &str) -> Result<()> {
        for (at, rates) in self.all(place) {
            let listed = [
                ("input", Some(rates.input)),
                ("output", Some(rates.output)),
                ("cache_read", rates.cache_read),
            ];
            for (name, rate) in listed {
                let Some(rate) = rate else { continue };
                finite_non_negative(format!("{at}.{name}"), rate)?;
                if rate > MAX_RATE {
                    return Err(Error::Number {
                        place: format!("{at}.{name}"),
                        value: rate.to_string(),
                        expected: "at most 1,000,000 USD per million tokens",
                    });
                }
            }
        }
        Ok(())
    }

    /// Whether any rate in the list makes a call free of charge.
    pub(crate) fn has_zero(&self) -> bool {
        let tiers = self.tiers.iter().map(|t| t.rates);
        let hours = self.hours.iter().map(|h| h.rates);
        let changes = self.changes.iter().map(|c| c.rates);
        let mut all = std::iter::once(self.base).chain(tiers).chain(hours).chain(changes);
        all.any(|rates| rates.input == 0.0 || rates.output == 0.0)
    }
}

/// The prices of a model at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prices<'a> {
    /// Of a call that reaches no tier.
    short: Rates,
    tiers: &'a [Tier],
}

impl Prices<'_> {
    /// The rates of a call with `input_tokens` tokens of input.
    pub fn rates(&self, input_tokens: u64) -> Rates {
        let exceeded = self.tiers.iter().filter(|t| input_tokens > t.above_input_tokens);
        exceeded.max_by_key(|t| t.above_input_tokens).map_or(self.short, |t| t.rates)
    }
}

impl Rates {
    /// USD of a call: `cached` of its `input` tokens are read from the provider's cache.
    pub fn cost(&self, input: f64, cached: f64, output: f64) -> f64 {
        let cached = cached.min(input).max(0.0);
        // A discount to zero is a price that nobody knows, and no discount is the safe reading.
        let cached_rate = self.cache_read.filter(|&rate| rate > 0.0).unwrap_or(self.input);
        ((input - cached) * self.input + cached * cached_rate + output * self.output) / 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(input: f64) -> Rates {
        Rates { input, output: 2.0 * input, cache_read: Some(input / 10.0) }
    }

    fn at(text: &str) -> Moment {
        Moment::parse(text).unwrap()
    }

    #[test]
    fn the_highest_exceeded_tier_bills_the_whole_call() {
        let mut list = PriceList::flat(rates(1.0));
        list.tiers = vec![
            Tier { above_input_tokens: 200_000, rates: rates(2.0) },
            Tier { above_input_tokens: 400_000, rates: rates(4.0) },
        ];
        let now = at("2026-11-20T12:00:00Z");
        assert_eq!(list.rates(now, 200_000).input, 1.0);
        assert_eq!(list.rates(now, 200_001).input, 2.0);
        assert_eq!(list.rates(now, 500_000).input, 4.0);
    }

    #[test]
    fn dated_changes_hold_from_their_day_and_hours_may_wrap() {
        let list: PriceList = serde_json::from_str(
            r#"{"input":1,"output":2,
                "hours":[{"from":"22:00","to":"02:00","input":0.5,"output":1}],
                "changes":[{"from":"2027-01-01","input":3,"output":6}]}"#,
        )
        .unwrap();
        assert_eq!(list.rates(at("2026-12-31T21:59:59Z"), 1).input, 1.0);
        assert_eq!(list.rates(at("2026-12-31T22:00:00Z"), 1).input, 0.5);
        assert_eq!(list.rates(at("2027-01-01T01:59:00Z"), 1).input, 0.5);
        assert_eq!(list.rates(at("2027-01-01T02:00:00Z"), 1).input, 3.0);
    }

    #[test]
    fn cached_input_is_cheaper_and_never_exceeds_the_input() {
        let r = rates(10.0);
        assert_eq!(r.cost(1e6, 0.0, 0.0), 10.0);
        assert_eq!(r.cost(1e6, 1e6, 0.0), 1.0);
        assert_eq!(r.cost(1e6, 9e9, 0.0), 1.0);
        assert_eq!(Rates { cache_read: None, ..r }.cost(1e6, 1e6, 0.0), 10.0);
    }

    #[test]
    fn a_nan_rate_is_refused_by_name() {
        let mut list = PriceList::flat(rates(1.0));
        list.changes =
            vec![Change { from: "2027-01-01".to_owned().try_into().unwrap(), rates: rates(f64::NAN) }];
        let error = list.validate("models[0].cost").unwrap_err();
        assert_eq!(error.code(), "bad_number");
        assert!(error.to_string().contains("models[0].cost.changes[0].input"), "{error}");
    }
}
