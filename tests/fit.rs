//! `pennyroute fit` and `catalog abilities` as others script against them.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder of small inputs, and the program run in it.
struct Work {
    folder: TempDir,
}

struct Done {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Done {
    /// The JSON object on the last line.
    fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{}", self.stderr);
        serde_json::from_str(self.stdout.lines().last().unwrap()).unwrap()
    }
}

const FIT: [&str; 9] = [
    "fit",
    "--queries",
    "queries.jsonl",
    "--outcomes",
    "outcomes.csv",
    "--catalog",
    "catalog.json",
    "--out",
    "fitted.json",
];

impl Work {
    /// Ten queries, two of them held out; a catalog of a model known by its scores, one known by nothing,
    /// and one that is not in the outcomes.
    fn new() -> Self {
        let work = Work { folder: tempfile::tempdir().unwrap() };
        let mut queries = String::new();
        for i in 0..10 {
            let split = if i < 8 { "train" } else { "test" };
            let line = json!({ "query_id": format!("q{i}"), "text": format!("What is {i} times {i}?"), "split": split });
            writeln!(queries, "{line}").unwrap();
        }
        work.write("queries.jsonl", queries);
        let artifacts: Value =
            serde_json::from_slice(&fs::read(models().join("parameters.json")).unwrap()).unwrap();
        let skills = artifacts["skills"].as_u64().unwrap() as usize;
        let mut mean = vec![0.0; skills + 1];
        mean[0] = 2.0;
        let ability =
            json!({ "mean": mean, "sd": vec![0.3; skills + 1], "source": "published", "note": "3 scores" });
        let entry = |id: &str, cost: Value, ability: Value| {
            let base = id.split('/').next_back();
            json!({ "id": id, "provider": "p", "base": base, "cost": cost, "limit": { "context": 8192 }, "ability": ability })
        };
        let price = json!({ "input": 1.0, "output": 2.0 });
        let catalog = json!({ "format": 1, "version": "v", "models": [
            entry("p/scored", price.clone(), ability),
            entry("p/new", price.clone(), Value::Null),
            entry("p/other", price, Value::Null),
            entry("p/unpriced", Value::Null, Value::Null),
        ]});
        work.write("catalog.json", catalog.to_string());
        work.outcomes("p/scored", |i| (i + 1) % 2, |_| "120");
        work
    }

    /// Writes outcomes of one model on every query.
    fn outcomes(
        &self,
        model: &str,
        correct: impl Fn(usize) -> usize,
        tokens: impl Fn(usize) -> &'static str,
    ) {
        let mut text = String::from("query_id,model,correct,output_tokens\n");
        for i in 0..10 {
            writeln!(text, "q{i},{model},{},{}", correct(i), tokens(i)).unwrap();
        }
        self.write("outcomes.csv", text);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Done {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pennyroute"));
        command.current_dir(self.folder.path()).env("PENNYROUTE_ARTIFACTS", models()).args(arguments);
        let output = command.stdin(Stdio::null()).output().unwrap();
        Done {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The report of a fit with further arguments.
    fn fit(&self, more: &[&str]) -> Value {
        self.run(&[&FIT[..], more, &["--json"]].concat()).json()
    }

    fn refused(&self, arguments: &[&str], parts: &[&str]) {
        let _ = fs::remove_file(self.path("fitted.json"));
        let done = self.run(arguments);
        assert_eq!(done.code, 2, "{arguments:?}: {}", done.stderr);
        assert_eq!(done.stderr.lines().count(), 1, "{arguments:?}: {}", done.stderr);
        for part in parts {
            assert!(done.stderr.contains(part), "{arguments:?}: {part:?} is not in {:?}", done.stderr);
        }
        assert!(!self.path("fitted.json").exists());
    }

    /// An entry of the catalog that was written.
    fn entry(&self, id: &str) -> Value {
        let catalog: Value = serde_json::from_slice(&fs::read(self.path("fitted.json")).unwrap()).unwrap();
        catalog["models"].as_array().unwrap().iter().find(|m| m["id"] == id).unwrap().clone()
    }
}

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models")
}

/// How many numbers there are below, every one of them finite: JSON has no other.
fn numbers(value: &Value) -> usize {
    match value {
        Value::Number(_) => 1,
        Value::Array(list) => list.iter().map(numbers).sum(),
        Value::Object(fields) => fields.values().map(numbers).sum(),
        _ => 0,
    }
}

#[test]
fn an_ability_from_scores_is_the_prior_and_only_train_counts() {
    let work = Work::new();
    let report = work.fit(&[]);
    assert_eq!((&report["outcomes"], &report["queries"]), (&json!(8), &json!(8)));
    let model = &report["models"][0];
    assert_eq!((&model["model"], &model["prior"]), (&json!("p/scored"), &json!("published")));
    assert_eq!(
        (&model["outcomes"], &model["counted"], &model["source"]),
        (&json!(8), &json!(8), &json!("fitted"))
    );
    let number = |name: &str| model[name].as_f64().unwrap();
    assert!(number("level") < 2.0 && number("level_sd") < 0.3, "{model}");
    let fitted = work.entry("p/scored");
    assert_eq!(fitted["ability"]["note"], "8 outcomes over its prior by published scores");
    assert_eq!(fitted["length"]["source"], "fitted");

    // The held-out answers change nothing, and nor do their texts.
    work.outcomes(
        "p/scored",
        |i| if i < 8 { (i + 1) % 2 } else { i % 2 },
        |i| if i < 8 { "120" } else { "9" },
    );
    assert_eq!(work.fit(&[]), report);
    // With a split among the outcomes too, both must say train.
    let rows = "query_id,model,correct,split\nq0,p/scored,1,test\nq1,p/scored,1,train\nq8,p/scored,1,train\n";
    work.write("outcomes.csv", rows);
    assert_eq!(work.fit(&[])["outcomes"], 1);
    // An answered one is fitted anew from the prior over all models.
    work.outcomes("p/scored", |i| (i + 1) % 2, |_| "");
    fs::rename(work.path("fitted.json"), work.path("catalog.json")).unwrap();
    let again = work.fit(&[]);
    assert_eq!(again["models"][0]["prior"], "prior");
    assert_eq!((&again["models"][0]["counted"], &again["outcomes"]), (&json!(0), &json!(8)));
}

#[test]
fn one_outcome_all_right_all_wrong_and_fractions_are_finite() {
    let work = Work::new();
    let mut levels = Vec::new();
    for grade in ["0", "0.5", "1"] {
        for rows in [1, 8] {
            let mut text = String::from("query_id,model,correct,output_tokens\n");
            (0..rows).for_each(|i| writeln!(text, "q{i},p/new,{grade},0").unwrap());
            work.write("outcomes.csv", text);
            let report = work.fit(&[]);
            assert_eq!(report["models"][0]["prior"], "prior");
            let fitted = work.entry("p/new");
            let mean = fitted["ability"]["mean"].as_array().unwrap().len();
            assert_eq!(numbers(&fitted["ability"]), 2 * mean);
            levels.push((grade, rows, fitted["ability"]["mean"][0].as_f64().unwrap()));
        }
    }
    let level = |grade, rows| levels.iter().find(|l| (l.0, l.1) == (grade, rows)).unwrap().2;
    assert!(level("0", 8) < level("0", 1) && level("0", 1) < level("0.5", 1));
    assert!(level("0.5", 1) < level("1", 1) && level("1", 1) < level("1", 8));
}

#[test]
fn named_models_alone_are_fitted() {
    let work = Work::new();
    work.write("outcomes.csv", "query_id,model,correct\nq0,p/new,1\nq1,nobody,1\n");
    work.refused(&FIT, &["outcomes.csv:3", "\"nobody\"", "catalog.json", "--models"]);
    let report = work.fit(&["--models", "p/new,p/other"]);
    assert_eq!(report["models"].as_array().unwrap().len(), 2);
    assert_eq!(report["models"][1]["outcomes"], 0);
    // Nothing is known of it: the prior, marked as such. A model that is not named stays as it is.
    assert_eq!(work.entry("p/other")["ability"]["source"], "prior");
    assert_eq!(work.entry("p/new")["ability"]["source"], "fitted");
    assert!(work.entry("p/unpriced")["ability"].is_null());
    assert_eq!(work.entry("p/scored")["ability"]["note"], "3 scores");
    work.fit(&["--models", "p/scored"]);
    assert_eq!(work.entry("p/scored")["ability"]["note"], "3 scores");
    work.refused(&[&FIT[..], &["--models", "p/none"]].concat(), &["catalog.json", "`p/none`"]);
}

#[test]
fn bad_outcomes_are_refused_with_their_line() {
    let work = Work::new();
    for (rows, parts) in [
        ("q0,p/new,1\nq1,p/new,1.5\n", &["outcomes.csv:3", "`correct`", "1.5"][..]),
        ("q0,p/new,1\nq1,p/new,-0.1\n", &["outcomes.csv:3", "`correct`"]),
        ("q0,p/new,NaN\n", &["outcomes.csv:2", "`correct`"]),
        ("q0,p/new,1\nq0,p/scored,1\nq0,p/new,1\n", &["outcomes.csv:4", "line 2", "\"q0\"", "\"p/new\""]),
        ("q0,p/new,1\nq99,p/new,1\n", &["outcomes.csv:3", "`query_id`", "\"q99\"", "queries.jsonl"]),
        ("q0,,1\n", &["outcomes.csv:2", "`model`", "empty"]),
        ("", &["outcomes.csv", "no rows"]),
        ("q9,p/new,1\n", &["outcomes.csv", "train"]),
    ] {
        work.write("outcomes.csv", format!("query_id,model,correct\n{rows}"));
        work.refused(&FIT, parts);
    }
    work.write("outcomes.csv", "");
    work.refused(&FIT, &["outcomes.csv", "query_id"]);
}

#[test]
fn abilities_from_scores_and_prices() {
    let work = Work::new();
    let abilities = ["catalog", "abilities", "--catalog", "catalog.json", "--out", "fitted.json"];
    let with_scores = [&abilities[..], &["--scores", "scores.json", "--json"]].concat();
    work.write("scores.json", r#"{"p/new": {"aa_gpqa_diamond": 70, "lmarena_text_elo": 1400}}"#);
    let report = work.run(&with_scores).json();
    let sources: Vec<(&str, &str)> = report["changed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| (c["model"].as_str().unwrap(), c["source"].as_str().unwrap()))
        .collect();
    assert_eq!(sources, [("p/new", "published"), ("p/other", "price")]);
    assert!(work.entry("p/new")["ability"]["note"].as_str().unwrap().starts_with("2 scores, g "));
    assert_eq!(work.entry("p/scored")["ability"]["note"], "3 scores");
    assert!(work.entry("p/unpriced")["ability"].is_null());
    let shown = work.run(&abilities);
    assert!(
        shown.stdout.contains("p/other") && shown.stdout.ends_with("2 of 4 models changed\n"),
        "{}",
        shown.stdout
    );

    // What was written routes.
    let routed = work.run(&["route", "--prompt", "Hello", "--catalog", "fitted.json", "--json"]).json();
    assert!(routed["model"].is_string());

    for (scores, parts) in [
        (r#"{"p/none": {"aa_gpqa_diamond": 70}}"#, &["scores.json", "`p/none`", "catalog.json"][..]),
        (r#"{"p/new": {"gpqa": 70}}"#, &["scores.json", "p/new", "gpqa", "near: aa_gpqa_diamond"]),
        (r#"{"p/new": {"aa_gpqa_diamond": 170}}"#, &["scores.json", "p/new", "aa_gpqa_diamond", "170"]),
        (r#"{"p/new": {"aa_gpqa_diamond": "70"}}"#, &["scores.json:1", "p/new.aa_gpqa_diamond"]),
        (r#"{"p/new": {}}"#, &["scores.json", "p/new", "empty"]),
    ] {
        work.write("scores.json", scores);
        work.refused(&with_scores, parts);
    }
}
