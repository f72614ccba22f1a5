//! The one request schema of every host: an OpenAI chat body plus the policy of the call.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use wildmatch::WildMatch;

use crate::catalog::Model;
use crate::error::{Error, Result, finite_non_negative, unit_interval};
use crate::money::Moment;
use crate::query::{Message, Query, replace_lone_surrogates};

/// What is asked, and under which policy. Unknown fields are ignored, so that the body of a chat
/// request is a valid routing request.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct RouteRequest {
    /// A bare prompt; exactly one of `prompt` and `messages` is given.
    pub prompt: Option<String>,
    /// A conversation.
    pub messages: Option<Vec<Message>>,
    /// Tool definitions; any but an empty list needs a model that calls tools.
    pub tools: Option<Vec<ToolDefinition>>,
    /// `json_object` and `json_schema` need a model that answers in JSON.
    pub response_format: Option<ResponseFormat>,
    /// The encoder's vector, of unit length, of the text that is routed on. A predictor that was trained with an
    /// encoder needs it; any other refuses it.
    pub embedding: Option<Vec<f32>>,
    /// Limit on output tokens.
    pub max_tokens: Option<u64>,
    /// The newer name of `max_tokens`; wins over it.
    pub max_completion_tokens: Option<u64>,
    /// `auto`, `auto:QUALITY`, or the id of a model that is then pinned.
    pub model: Option<String>,
    /// Mean quality to keep over traffic, 0 to 1.
    pub quality: Option<f64>,
    /// Least estimated quality of this answer, 0 to 1.
    pub floor: Option<f64>,
    /// Most that this call may be expected to cost, USD.
    pub cap_usd: Option<f64>,
    /// Globs of model ids, `*` for any characters; only matching ones are candidates.
    pub allow: Option<Vec<String>>,
    /// Globs of model ids; matching ones are no candidates.
    pub deny: Option<Vec<String>>,
    /// Only providers marked private may see this query.
    pub private: bool,
    /// Input tokens already in a model's prompt cache, by model id.
    pub warm: BTreeMap<String, f64>,
    /// Share of this call's input, 0 to 1, that is expected to be read from a model's prompt cache by the
    /// next call, by model id: what that will save counts for the model where costs are compared.
    pub reuse: BTreeMap<String, f64>,
    /// Models whose provider is down.
    pub unhealthy: BTreeSet<String>,
    /// Calls left, by model id; absent: unlimited.
    pub workloads: BTreeMap<String, f64>,
    /// USD left to spend.
    pub budget_usd: Option<f64>,
    /// Multiplies the price of quality of this request, by which a host that sees the traffic corrects
    /// a drift of its mean quality or paces a budget; above 0, default 1.
    pub steer: Option<f64>,
    /// USD per call added to a model's cost where costs are compared, by model id: the shadow price of a
    /// scarce slot. Costs that are reported, capped or budgeted are without it.
    pub surcharges: BTreeMap<String, f64>,
    /// Input tokens as counted by the caller, taken as they are for every model.
    pub input_tokens: Option<u64>,
    /// The moment of the call, RFC 3339; absent: the host's now.
    pub at: Option<String>,
}

/// A tool definition; only its presence and its length matter.
#[derive(Debug, Clone, Deserialize)]
pub struct ToolDefinition {
    #[serde(default)]
    function: Option<ToolFunction>,
}

#[derive(Debug, Clone, Deserialize)]
struct ToolFunction {
    #[serde(default)]
    name: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    parameters: Option<serde_json::Value>,
}

/// The form in which an answer is asked for.
#[derive(Debug, Clone, Deserialize)]
pub struct ResponseFormat {
    #[serde(rename = "type")]
    kind: String,
}

impl RouteRequest {
    /// A request for a bare prompt under the default policy.
    pub fn prompt(text: impl Into<String>) -> Self {
        RouteRequest { prompt: Some(text.into()), ..RouteRequest::default() }
    }

    /// Reads a request, or a bare list of messages, from JSON; lone surrogates become U+FFFD.
    pub fn from_json(json: &str) -> Result<Self> {
        let json = replace_lone_surrogates(json);
        let mut de = serde_json::Deserializer::from_str(&json);
        let failed = |path: String, e: &serde_json::Error| Error::request(path, e);
        let request = if json.trim_start().starts_with('[') {
            let messages = serde_path_to_error::deserialize(&mut de);
            let messages = messages.map_err(|e| failed(format!("messages{}", e.path()), e.inner()))?;
            RouteRequest { messages: Some(messages), ..RouteRequest::default() }
        } else {
            serde_path_to_error::deserialize(&mut de).map_err(|e| failed(e.path().to_string(), e.inner()))?
        };
        de.end().map_err(|e| failed(".".to_owned(), &e))?;
        Ok(request)
    }

    /// The text that this request is routed on; `query.rs` says which one that is.
    pub fn text(&self) -> Result<String> {
        Ok(self.query()?.text)
    }

    /// The query of this request.
    pub(super) fn query(&self) -> Result<Query> {
        let mut query = match (&self.prompt, &self.messages) {
            (Some(prompt), None) => Query::from_prompt(prompt),
            (None, Some(messages)) if !messages.is_empty() => Query::from_messages(messages),
            (None, Some(_)) => return Err(Error::request("messages", "is empty")),
            (Some(_), Some(_)) => return Err(Error::request("prompt", "is given together with `messages`")),
            (None, None) => return Err(Error::request("prompt", "is missing, and so is `messages`")),
        };
        for tool in self.tools.iter().flatten() {
            query.needs.tools = true;
            if let Some(function) = &tool.function {
                query.rest.add(&function.name);
                query.rest.add(function.description.as_deref().unwrap_or_default());
                query.rest.add(&function.parameters.as_ref().map(ToString::to_string).unwrap_or_default());
            }
        }
        query.needs.json = self
            .response_format
            .as_ref()
            .is_some_and(|f| matches!(f.kind.as_str(), "json_object" | "json_schema"));
        query.max_output_tokens = self.max_completion_tokens.or(self.max_tokens);
        query.input_tokens = self.input_tokens;
        query.embedding.clone_from(&self.embedding);
        Ok(query)
    }

    /// The policy of this request, checked.
    pub(super) fn policy(&self, now: Moment) -> Result<Policy> {
        let (pinned, auto_quality) = match self.model.as_deref() {
            None | Some("auto") => (None, None),
            Some(model) => match model.strip_prefix("auto:") {
                None => (Some(model.to_owned()), None),
                Some(text) => {
                    let quality = text.parse::<f64>();
                    let what = "is neither `auto`, `auto:QUALITY` (such as `auto:0.85`) nor a model id";
                    (None, Some(quality.map_err(|_| Error::request("model", format!("`{model}` {what}")))?))
                }
            },
        };
        let quality = self.quality.or(auto_quality);
        for (name, value) in [("quality", quality), ("floor", self.floor)] {
            value.map_or(Ok(()), |v| unit_interval(name, v))?;
        }
        for (name, value) in [("cap_usd", self.cap_usd), ("budget_usd", self.budget_usd)] {
            value.map_or(Ok(()), |v| finite_non_negative(name, v))?;
        }
        let steer = self.steer.unwrap_or(1.0);
        if !(steer.is_finite() && steer > 0.0) {
            let expected = "a finite number > 0";
            return Err(Error::Number { place: "steer".into(), value: steer.to_string(), expected });
        }
        for (name, values) in [("warm", &self.warm), ("surcharges", &self.surcharges)] {
            for (id, &value) in values {
                finite_non_negative(format!("{name}.{id}"), value)?;
            }
        }
        for (id, &share) in &self.reuse {
            unit_interval(format!("reuse.{id}").as_str(), share)?;
        }
        for (id, &left) in &self.workloads {
            // Infinity is JavaScript's natural way to say unlimited.
            finite_non_negative(format!("workloads.{id}"), if left == f64::INFINITY { 0.0 } else { left })?;
        }
        Ok(Policy {
            pinned,
            quality,
            floor: self.floor,
            cap_usd: self.cap_usd,
            budget_usd: self.budget_usd,
            allow: self.allow.as_deref().map(globs),
            deny: self.deny.as_deref().map_or_else(Vec::new, globs),
            private: self.private,
            warm: self.warm.clone(),
            reuse: self.reuse.clone(),
            unhealthy: self.unhealthy.clone(),
            workloads: self.workloads.clone(),
            steer,
            surcharges: self.surcharges.clone(),
            at: self.at.as_deref().map_or(Ok(now), Moment::parse)?,
        })
    }
}

/// The constraints of one call, checked.
#[derive(Debug, Clone)]
pub(super) struct Policy {
    pub pinned: Option<String>,
    pub quality: Option<f64>,
    pub floor: Option<f64>,
    pub cap_usd: Option<f64>,
    pub budget_usd: Option<f64>,
    pub allow: Option<Vec<WildMatch>>,
    pub deny: Vec<WildMatch>,
    pub private: bool,
    pub warm: BTreeMap<String, f64>,
    pub reuse: BTreeMap<String, f64>,
    pub unhealthy: BTreeSet<String>,
    pub workloads: BTreeMap<String, f64>,
    pub steer: f64,
    pub surcharges: BTreeMap<String, f64>,
    pub at: Moment,
}

impl Policy {
    /// Whether `allow` and `deny` let a model through, by its id or its qualified name.
    pub(super) fn permits(&self, model: &Model) -> bool {
        if self.allow.is_none() && self.deny.is_empty() {
            return true;
        }
        let qualified = model.qualified();
        let any = |globs: &[WildMatch]| {
            globs.iter().any(|glob| glob.matches(&model.id) || glob.matches(&qualified))
        };
        self.allow.as_deref().is_none_or(any) && !any(&self.deny)
    }
}

fn globs(patterns: &[String]) -> Vec<WildMatch> {
    patterns.iter().map(|pattern| WildMatch::new(pattern)).collect()
}
