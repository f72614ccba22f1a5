//! The command line as others script against it: columns, exit codes, one line per mistake.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder of small inputs, and the program run in it.
struct Work {
    folder: TempDir,
    artifacts: PathBuf,
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

/// The catalog most tests use: two models that the artifacts know, one unpriced, one unknown.
const MODELS: &str = r#"{"models":[
    {"name":"gpt-4o-mini-2024-07-18","provider":"openai","price_in_per_1m":0.15,"price_out_per_1m":0.6,"context_window":128000},
    {"name":"gpt-4o-2024-08-06","provider":"openai","price_in_per_1m":2.5,"price_out_per_1m":10,"context_window":128000},
    {"name":"gemma-2-9b-it","provider":"google","context_window":8192},
    {"name":"never-heard-of","provider":"nobody","price_in_per_1m":1,"price_out_per_1m":1,"context_window":8192}]}"#;

const CHEAP: &str = "gpt-4o-mini-2024-07-18";
const DEAR: &str = "gpt-4o-2024-08-06";

impl Work {
    fn new() -> Self {
        let artifacts = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
        let work = Work { folder: tempfile::tempdir().unwrap(), artifacts };
        work.write("models.json", MODELS);
        work.write(
            "queries.jsonl",
            concat!(
                r#"{"query_id":"q1","text":"What is the capital of Italy?"}"#,
                "\n",
                r#"{"query_id":"q2","messages":[{"role":"user","content":"Prove that there are infinitely many primes."}],"input_tokens":900}"#,
                "\n\n",
                r#"{"query_id":3,"text":"look \ud83d here"}"#,
                "\n",
            ),
        );
        let made = work.run(&["catalog", "import", "--dataset", "models.json", "--out", "catalog.json"]);
        assert_eq!(made.code, 0, "{}", made.stderr);
        work
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pennyroute"));
        command.current_dir(self.folder.path()).env("PENNYROUTE_ARTIFACTS", &self.artifacts).args(arguments);
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Done {
        let output = self.command(arguments).output().unwrap();
        Done {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs a command that must be refused with one line that holds every one of `parts`.
    fn refused(&self, arguments: &[&str], parts: &[&str]) {
        let done = self.run(arguments);
        assert_eq!(done.code, 2, "{arguments:?}: {}", done.stderr);
        assert_eq!(done.stderr.lines().count(), 1, "{arguments:?}: {}", done.stderr);
        assert!(done.stderr.starts_with("pennyroute: "), "{arguments:?}: {}", done.stderr);
        for part in parts {
            assert!(done.stderr.contains(part), "{arguments:?}: {part:?} is not in {:?}", done.stderr);
        }
    }

    /// Rows of a csv file by column.
    fn table(&self, name: &str) -> Vec<BTreeMap<String, String>> {
        let mut reader = csv::Reader::from_path(self.path(name)).unwrap();
        reader.deserialize().map(Result::unwrap).collect()
    }

    /// Estimates of four queries on two models: the dear one is right more often.
    fn estimates(&self) {
        let mut text = String::from("query_id,model,quality,cost_usd,comment\n");
        for (query, cheap, dear) in [("a", 0.9, 0.95), ("b", 0.5, 0.9), ("c", 0.4, 0.5), ("d", 0.8, 0.99)] {
            write!(text, "{query},cheap,{cheap},0.001,\n{query},dear,{dear},0.01,\"x, y\"\n").unwrap();
        }
        self.write("estimates.csv", text);
    }
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn route_prints_the_receipt() {
    let work = Work::new();
    let receipt =
        work.run(&["route", "--prompt", "What is 7 times 8?", "--catalog", "catalog.json", "--json"]).json();
    let expected = [
        "id",
        "model",
        "code",
        "reason",
        "quality",
        "cost_usd",
        "target",
        "in_distribution",
        "fallbacks",
        "alternatives",
        "excluded",
        "baseline",
        "saving_usd",
        "versions",
        "elapsed_us",
    ];
    assert_eq!(keys(&receipt), expected.into_iter().collect());
    assert!([CHEAP, DEAR].contains(&receipt["model"].as_str().unwrap()));
    assert_eq!(receipt["fallbacks"].as_array().unwrap().len(), 1);
    assert!(receipt["elapsed_us"].as_f64().unwrap() > 0.0);
    let other =
        work.run(&["route", "--prompt", "What is 7 times 8?", "--catalog", "catalog.json", "--json"]).json();
    assert_ne!(receipt["id"], other["id"]);
    let codes: Vec<&str> =
        receipt["excluded"].as_array().unwrap().iter().map(|e| e["code"].as_str().unwrap()).collect();
    assert_eq!(codes.iter().copied().collect::<BTreeSet<_>>(), ["ability_unknown", "price_unknown"].into());

    let shown = work.run(&["route", "--prompt", "What is 7 times 8?", "--catalog", "catalog.json"]);
    assert!(shown.stdout.starts_with(receipt["model"].as_str().unwrap()), "{}", shown.stdout);
    assert!(
        shown.stdout.contains("alternative") && shown.stdout.contains("1 price_unknown"),
        "{}",
        shown.stdout
    );
}

#[test]
fn route_reads_requests_and_lists_of_messages() {
    let work = Work::new();
    let request = json!({
        "model": DEAR, "messages": [{"role": "user", "content": "Hello"}], "at": "2026-01-01T00:00:00Z", "quality": 0.5,
    });
    work.write("request.json", request.to_string());
    let arguments = ["route", "--messages", "request.json", "--catalog", "catalog.json", "--json"];
    let receipt = work.run(&arguments).json();
    assert_eq!((&receipt["model"], &receipt["code"]), (&json!(DEAR), &json!("pinned")));
    assert_eq!(receipt["target"]["quality"], 0.5);
    let receipt = work.run(&[&arguments[..], &["--quality", "0.7"]].concat()).json();
    assert_eq!(receipt["target"]["quality"], 0.7);

    let mut child = work
        .command(&[
            "route",
            "--messages",
            "-",
            "--catalog",
            "catalog.json",
            "--allow",
            "openai/*mini*",
            "--json",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(br#"[{"role":"user","content":"Hello"}]"#).unwrap();
    let output = child.wait_with_output().unwrap();
    let receipt: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&receipt["model"], &receipt["code"]), (&json!(CHEAP), &json!("only_candidate")));

    work.refused(
        &["route", "--messages", "models.json", "--catalog", "catalog.json"],
        &["models.json", "prompt"],
    );
    work.write("bad.json", r#"{"messages":[{"role":"user","content":7}]}"#);
    work.refused(&["route", "--messages", "bad.json"], &["bad.json", "messages[0].content"]);
}

#[test]
fn predict_writes_every_priced_model_for_every_query() {
    let work = Work::new();
    let arguments =
        ["predict", "--queries", "queries.jsonl", "--catalog", "catalog.json", "--out", "e.csv", "--json"];
    let done = work.run(&arguments).json();
    assert_eq!((&done["queries"], &done["rows"]), (&json!(3), &json!(6)));
    let header =
        "query_id,model,quality,quality_lo,quality_hi,output_tokens,cost_usd,cost_lo,cost_hi,in_distribution";
    assert_eq!(work.read("e.csv").lines().next(), Some(header));
    let rows = work.table("e.csv");
    let pairs: Vec<(&str, &str)> =
        rows.iter().map(|r| (r["query_id"].as_str(), r["model"].as_str())).collect();
    for (query, chunk) in ["q1", "q2", "3"].iter().zip(pairs.chunks(2)) {
        assert_eq!(chunk.iter().copied().collect::<BTreeSet<_>>(), [(*query, CHEAP), (*query, DEAR)].into());
    }
    let number = |row: &BTreeMap<String, String>, column: &str| row[column].parse::<f64>().unwrap();
    for row in &rows {
        let (low, p, high) = (number(row, "quality_lo"), number(row, "quality"), number(row, "quality_hi"));
        assert!(0.0 < low && low <= p && p <= high && high < 1.0, "{row:?}");
        assert!(number(row, "cost_lo") <= number(row, "cost_usd"), "{row:?}");
        assert!(["true", "false"].contains(&row["in_distribution"].as_str()));
    }
    // The counted input tokens decide the cost: 900 tokens and the answer's.
    let dear = rows.iter().find(|r| r["query_id"] == "q2" && r["model"] == DEAR).unwrap();
    let expected = (900.0 * 2.5 + number(dear, "output_tokens") * 10.0) / 1e6;
    assert!((number(dear, "cost_usd") / expected - 1.0).abs() < 1e-6, "{dear:?}");
    let blend: Vec<String> = rows.iter().map(|row| row["quality"].clone()).collect();
    for (estimator, same) in [("blend", true), ("trained", false), ("retrieved", false)] {
        work.run(&[&arguments[..], &["--estimator", estimator]].concat());
        let qualities: Vec<String> = work.table("e.csv").iter().map(|row| row["quality"].clone()).collect();
        assert_eq!(qualities == blend, same, "{estimator}");
    }
}

#[test]
fn gzip_and_parquet_hold_the_same() {
    let work = Work::new();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(work.read("queries.jsonl").as_bytes()).unwrap();
    work.write("queries.jsonl.gz", packed.finish().unwrap());
    let mut plans = BTreeSet::new();
    for (queries, out) in
        [("queries.jsonl", "e.csv"), ("queries.jsonl.gz", "e.csv.gz"), ("queries.jsonl.gz", "e.parquet")]
    {
        let done = work.run(&["predict", "--queries", queries, "--catalog", "catalog.json", "--out", out]);
        assert_eq!(done.code, 0, "{}", done.stderr);
        let plan = work
            .run(&["plan", "--estimates", out, "--quality", "0.6", "--out", "plan.parquet", "--json"])
            .json();
        plans.insert(plan.to_string());
        assert!(fs::read(work.path("plan.parquet")).unwrap().starts_with(b"PAR1"));
    }
    assert_eq!(plans.len(), 1, "{plans:?}");
    assert!(fs::read(work.path("e.csv.gz")).unwrap().starts_with(&[0x1f, 0x8b]));
    assert!(fs::read(work.path("e.parquet")).unwrap().starts_with(b"PAR1"));
}

#[test]
fn plan_minimises_cost_for_a_quality() {
    let work = Work::new();
    work.estimates();
    // Mean 0.65 with the cheap model alone; the best dollar lifts b by 0.4.
    let plan = work
        .run(&["plan", "--estimates", "estimates.csv", "--quality", "0.75", "--out", "p.csv", "--json"])
        .json();
    assert_eq!(plan["status"], "optimal");
    assert!((plan["cost_usd"].as_f64().unwrap() - 0.013).abs() < 1e-12, "{plan}");
    assert!((plan["quality"].as_f64().unwrap() - 0.75).abs() < 1e-12, "{plan}");
    assert!(plan["bound_usd"].as_f64().unwrap() <= plan["cost_usd"].as_f64().unwrap() + 1e-12);
    assert!(plan["gap"].as_f64().unwrap() >= 0.0 && plan.get("bound_quality").is_none());
    assert_eq!(keys(&plan["duals"]), ["groups", "quality", "workloads"].into());
    assert_eq!(work.read("p.csv"), "query_id,model\na,cheap\nb,dear\nc,cheap\nd,cheap\n");

    // Under a budget alone, quality is maximised.
    let plan = work
        .run(&["plan", "--estimates", "estimates.csv", "--budget", "0.013", "--out", "p.csv", "--json"])
        .json();
    assert!((plan["quality"].as_f64().unwrap() - 0.75).abs() < 1e-12, "{plan}");
    assert!(plan["bound_quality"].as_f64().unwrap() >= 0.75 - 1e-12 && plan.get("bound_usd").is_none());
}

#[test]
fn plan_draws_what_quality_costs() {
    let work = Work::new();
    work.estimates();
    let plan =
        ["plan", "--estimates", "estimates.csv", "--quality", "0.7", "--out", "p.csv", "--curve", "c.csv"];
    let done = work.run(&plan);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let curve = work.read("c.csv");
    let rows: Vec<Vec<f64>> =
        curve.lines().skip(1).map(|line| line.split(',').map(|x| x.parse().unwrap()).collect()).collect();
    assert!(curve.starts_with("quality,cost_usd,lambda_usd\n") && rows.len() >= 3, "{curve}");
    // From the cheapest plan of all (mean 0.65, see above), whatever the target; rising and convex.
    assert!((rows[0][0] - 0.65).abs() < 1e-12 && (rows[0][1] - 0.001).abs() < 1e-12, "{curve}");
    assert!(rows.windows(2).all(|w| w[0].iter().zip(&w[1]).all(|(a, b)| a < b)), "{curve}");
    work.refused(&[&plan[..], &["--points", "1"]].concat(), &["1 points"]);
}

#[test]
fn plan_keeps_workloads_floors_and_forbidden_pairs() {
    let work = Work::new();
    work.estimates();
    work.write("w.json", r#"{"cheap": 2}"#);
    let arguments = ["plan", "--estimates", "estimates.csv", "--quality", "0", "--out", "p.csv", "--json"];
    let plan = work.run(&[&arguments[..], &["--workloads", "w.json"]].concat()).json();
    assert_eq!(plan["assigned"], json!({"cheap": 2, "dear": 2}));
    assert_eq!(keys(&plan["duals"]["workloads"]), ["cheap"].into());
    assert!((plan["duals"]["workloads"]["cheap"].as_f64().unwrap() - 0.009).abs() < 1e-9, "{plan}");

    work.write("floors.json", r#"{"vip": 0.9}"#);
    work.write("groups.csv", "query_id,group\na,vip\nb,vip\nc,plain\n");
    let plan =
        work.run(&[&arguments[..], &["--floors", "floors.json", "--groups", "groups.csv"]].concat()).json();
    assert_eq!(plan["assigned"], json!({"cheap": 3, "dear": 1}), "{plan}");
    assert_eq!(keys(&plan["duals"]["groups"]), ["vip"].into());

    work.write(
        "holes.csv",
        "query_id,model,quality,cost_usd\na,cheap,0.9,0.001\nb,dear,0.9,0.01\nb,cheap,0.9,\n",
    );
    work.refused(
        &["plan", "--estimates", "holes.csv", "--quality", "0.5", "--out", "p2.csv"],
        &["holes.csv:4", "`cost_usd`"],
    );
    assert!(!work.path("p2.csv").exists());
    work.write("holes.csv", "query_id,model,quality,cost_usd\na,cheap,0.9,0.001\nb,dear,0.9,0.01\n");
    let plan = work
        .run(&["plan", "--estimates", "holes.csv", "--quality", "0.5", "--out", "p2.csv", "--json"])
        .json();
    assert_eq!(plan["assigned"], json!({"cheap": 1, "dear": 1}));
}

#[test]
fn an_infeasible_plan_is_an_answer() {
    let work = Work::new();
    work.estimates();
    let arguments = ["plan", "--estimates", "estimates.csv", "--quality", "0.99", "--out", "p.csv"];
    let plan = work.run(&[&arguments[..], &["--json"]].concat()).json();
    assert_eq!((&plan["status"], &plan["code"]), (&json!("infeasible"), &json!("quality_unreachable")));
    assert!((plan["largest_feasible"].as_f64().unwrap() - 0.835).abs() < 1e-9, "{plan}");
    assert!(plan["reason"].as_str().unwrap().len() > 10);
    assert_eq!(plan["cost_usd"], Value::Null);
    assert_eq!(work.read("p.csv"), "query_id,model\n");
    let shown = work.run(&arguments);
    assert_eq!(shown.code, 0);
    assert!(shown.stdout.starts_with("infeasible: "), "{}", shown.stdout);
}

/// 60 queries on two models, and what came of them: the cheap one is right on every second, the dear one
/// always; the first query is the one with a recorded cost.
fn recorded(work: &Work) {
    let mut estimates = String::from("query_id,model,quality,cost_usd\n");
    let mut outcomes = String::from("query_id,model,correct,cost_usd\n");
    for i in 0..60 {
        let cheap = 0.4 + 0.01 * f64::from(i % 10);
        write!(estimates, "q{i},cheap,{cheap},0.001\nq{i},dear,0.95,0.01\n").unwrap();
        let cost = if i == 0 { "0.5" } else { "" };
        write!(outcomes, "q{i},cheap,{},{cost}\nq{i},dear,1,{cost}\n", i % 2).unwrap();
    }
    work.write("e.csv", estimates);
    work.write("o.csv", outcomes);
}

const SIMULATE: [&str; 5] = ["simulate", "--estimates", "e.csv", "--outcomes", "o.csv"];

#[test]
fn simulate_scores_a_stream_on_what_really_happened() {
    let work = Work::new();
    recorded(&work);
    let arguments = [&SIMULATE[..], &["--quality", "0.7", "--json"]].concat();
    let number = |value: &Value, field: &str| value[field].as_f64().unwrap();
    for more in [&[][..], &["--batch", "16"], &["--batch", "1000"]] {
        let done = work.run(&[&arguments[..], more].concat()).json();
        let expected = [
            "queries",
            "served",
            "rejected",
            "success",
            "quality",
            "cost_usd",
            "estimated_cost_usd",
            "shortfall",
            "assigned",
            "offline",
        ];
        assert_eq!(keys(&done), expected.into_iter().collect(), "{more:?}");
        assert_eq!(
            (&done["queries"], &done["served"], &done["rejected"]),
            (&json!(60), &json!(60), &json!(0))
        );
        let dear = number(&done["assigned"], "dear");
        assert!((25.0..=33.0).contains(&dear), "{more:?}: {done}");
        assert!(number(&done, "success") > 0.7 && number(&done, "quality") > 0.685, "{more:?}: {done}");
        assert!((number(&done, "shortfall") - (0.7 - number(&done, "quality")).max(0.0)).abs() < 1e-12);
        // Estimated at 0.001 a cheap and 0.01 a dear answer; recorded, the first query cost 0.5.
        assert!((number(&done, "estimated_cost_usd") - 0.009 * dear - 0.06).abs() < 1e-9, "{done}");
        let first = number(&done, "cost_usd") - number(&done, "estimated_cost_usd");
        assert!((first - 0.499).abs() < 1e-9 || (first - 0.49).abs() < 1e-9, "{done}");
        assert!(number(&done["offline"], "quality") >= 0.7 - 1e-12);
        assert!(number(&done["offline"], "estimated_cost_usd") < number(&done, "estimated_cost_usd") + 0.03);
        if more == ["--batch", "1000"] {
            assert_eq!(done["assigned"], done["offline"]["assigned"], "one batch is the whole plan");
        }
    }
    assert_eq!(work.run(&arguments).stdout, work.run(&arguments).stdout, "runs repeat");
    let shown = work.run(&arguments[..arguments.len() - 1]).stdout;
    assert!(shown.contains("0 rejected") && shown.contains("with hindsight"), "{shown}");
}

#[test]
fn simulate_keeps_workloads_and_budget_and_rejects_the_rest() {
    let work = Work::new();
    recorded(&work);
    work.write("w.json", r#"{"cheap": 30, "dear": 20}"#);
    let arguments = [&SIMULATE[..], &["--quality", "0.7", "--json"]].concat();
    let number = |value: &Value, field: &str| value[field].as_f64().unwrap();
    for batch in [&[][..], &["--batch", "7"], &["--batch", "60"]] {
        let done = work.run(&[&arguments[..], &["--workloads", "w.json"], batch].concat()).json();
        assert_eq!((&done["served"], &done["rejected"]), (&json!(50), &json!(10)), "{batch:?}");
        assert_eq!(done["assigned"], json!({"cheap": 30, "dear": 20}));
        assert!(done["offline"].is_null() && done["offline_infeasible"].as_str().unwrap().contains("slots"));
        let done = work.run(&[&arguments[..], &["--budget", "0.05"], batch].concat()).json();
        assert!(number(&done, "estimated_cost_usd") <= 0.05 + 1e-12, "{batch:?}: {done}");
        assert!(number(&done, "rejected") > 0.0, "{batch:?}: {done}");
    }
}

#[test]
fn simulate_refuses_what_it_cannot_score() {
    let work = Work::new();
    recorded(&work);
    for (quality, part) in [("1.5", "1.5"), ("NaN", "NaN")] {
        work.refused(&[&SIMULATE[..], &["--quality", quality]].concat(), &["quality", part]);
    }
    let arguments = [&SIMULATE[..], &["--quality", "0.7"]].concat();
    work.refused(&SIMULATE, &["--quality"]);
    work.refused(&[&arguments[..], &["--batch", "0"]].concat(), &["--batch", "0"]);
    work.refused(&[&arguments[..], &["--budget=-1"]].concat(), &["budget", "-1"]);
    work.refused(&[&arguments[..], &["--workloads", "no.json"]].concat(), &["no.json"]);
    work.write("w.json", r#"{"chaep": 1}"#);
    work.refused(&[&arguments[..], &["--workloads", "w.json"]].concat(), &["w.json", "chaep"]);
    let outcomes = work.read("o.csv");
    let rest: String = outcomes
        .lines()
        .filter(|line| !line.starts_with("q3,"))
        .fold(String::new(), |text, line| text + line + "\n");
    work.write("o.csv", rest);
    work.refused(&arguments, &["o.csv", "query_id", "q3"]);
    work.write("o.csv", "query_id,model,correct\nq0,cheap,2\n");
    work.refused(&arguments, &["o.csv:2", "`correct`", "2"]);
}

#[test]
fn an_index_of_ones_own_history_is_used() {
    let work = Work::new();
    let mut queries = String::new();
    let mut outcomes = String::from("query_id,model,correct\n");
    for i in 0..40 {
        let split = if i < 30 { "train" } else { "test" };
        queries += &json!({"query_id": format!("h{i}"), "text": format!("What is {i} plus {}?", i + 1), "split": split}).to_string();
        queries.push('\n');
        write!(outcomes, "h{i},{CHEAP},0\nh{i},{DEAR},1\n").unwrap();
    }
    work.write("history.jsonl", queries);
    work.write("outcomes.csv", outcomes);
    for (backend, more) in
        [("exact", vec!["--backend", "exact"]), ("hnsw", vec!["--backend", "hnsw"]), ("exact", vec![])]
    {
        let arguments =
            ["index", "--queries", "history.jsonl", "--outcomes", "outcomes.csv", "--out", "i.bin", "--json"];
        let made = work.run(&[&arguments[..], &more].concat()).json();
        assert_eq!(
            (&made["records"], &made["outcomes"], &made["backend"]),
            (&json!(30), &json!(60), &json!(backend))
        );
        let route = [
            "route",
            "--prompt",
            "What is 3 plus 4?",
            "--catalog",
            "catalog.json",
            "--json",
            "--index",
            "i.bin",
        ];
        let receipt = work.run(&route).json();
        assert_eq!(receipt["model"], DEAR, "the cheap model failed on everything like it: {receipt}");
        assert_eq!(receipt["versions"]["index"].as_str().unwrap().len(), 12);
    }
    work.write("i.bin", "no index");
    work.refused(&["route", "--prompt", "x", "--catalog", "catalog.json", "--index", "i.bin"], &["i.bin"]);
    work.write("other.csv", format!("query_id,model,correct\nzzz,{CHEAP},0\n"));
    let other = ["index", "--queries", "history.jsonl", "--outcomes", "other.csv", "--out", "i.bin"];
    work.refused(&other, &["other.csv", "query_id"]);
    work.write("estimates.csv", format!("query_id,model,quality\nh0,{CHEAP},1.5\n"));
    let arguments = ["index", "--queries", "history.jsonl", "--outcomes", "outcomes.csv", "--out", "i.bin"];
    let more = ["--estimates", "estimates.csv"];
    work.refused(&[&arguments[..], &more].concat(), &["estimates.csv:2", "`quality`", "1.5"]);
}

#[test]
fn eval_reports_and_plots() {
    let work = Work::new();
    let mut queries = String::new();
    let mut outcomes = String::from("query_id,model,correct,cost_usd,split\n");
    for i in 0..60 {
        let split = if i % 2 == 0 { "train" } else { "test" };
        queries +=
            &json!({"query_id": format!("h{i}"), "text": format!("What is {i} squared?"), "split": split})
                .to_string();
        queries.push('\n');
        write!(
            outcomes,
            "h{i},{CHEAP},{},0.0001,{split}\nh{i},{DEAR},1,0.001,{split}\n",
            i32::from(i % 3 == 0)
        )
        .unwrap();
    }
    work.write("history.jsonl", queries);
    work.write("outcomes.csv", outcomes);
    let arguments =
        ["eval", "--queries", "history.jsonl", "--outcomes", "outcomes.csv", "--catalog", "catalog.json"];
    let report = work.run(&[&arguments[..], &["--plot", "f.svg", "--json"]].concat()).json();
    assert_eq!(
        (&report["split"], &report["queries"], &report["best"]["model"]),
        (&json!("test"), &json!(30), &json!(DEAR))
    );
    for contender in ["router", "trained", "retrieved", "knn"] {
        let figures = ["auc", "ece", "gain", "mean_gain", "c95", "c100", "peak", "alpha_dev", "alpha_short"];
        for figure in figures {
            assert!(report[contender].get(figure).is_some(), "{contender}.{figure}");
            assert!(report[contender]["intervals"].get(figure).is_some(), "{contender}.intervals.{figure}");
        }
        assert!(report[contender].get("threshold_rule").is_some(), "{contender}");
        assert_eq!(report[contender]["over_first"].is_null(), contender == "router", "{report}");
    }
    assert!(
        report["router"]["quality_intervals"].is_object() && report["knn"]["quality_intervals"].is_null()
    );
    assert!((report["oracle"]["cost"].as_f64().unwrap() - 0.7).abs() < 1e-9, "{report}");
    assert!(work.read("f.svg").starts_with("<svg") && work.read("f.svg").contains(CHEAP));
    let shown = work.run(&arguments).stdout;
    assert!(shown.contains("k-NN, k = 16") && shown.contains(&format!("always {DEAR}")), "{shown}");
    work.refused(
        &[&arguments[..], &["--split", "nowhere"]].concat(),
        &["history.jsonl", "`split`", "nowhere"],
    );
    work.refused(&[&arguments[..], &["--models", "nobody"]].concat(), &["outcomes.csv", "nobody"]);
}

/// Forty queries of two sources with outcomes of two models, and estimates of the first thirty.
fn evaluated(work: &Work) {
    let (mut queries, mut estimates) = (String::new(), String::from("query_id,model,quality,cost_usd,"));
    estimates += "quality_lo,quality_hi,cost_lo,cost_hi,output_tokens,in_distribution\n";
    let mut outcomes = String::from("query_id,model,correct,cost_usd,output_tokens\n");
    for i in 0..40 {
        let (source, split) = (["sums", "letters"][i / 4 % 2], ["train", "test"][i / 20]);
        let text =
            format!("Which of them is {i}, please?\n(A) one of the many numbers\n(B) a letter\n(C) none");
        let query = json!({
            "query_id": format!("h{i}"), "text": text, "source": source, "split": split,
            "cluster": i / 2, "text_tokens": 20,
        });
        writeln!(queries, "{query}").unwrap();
        let right = i32::from(i % 3 == 0);
        write!(outcomes, "h{i},{CHEAP},{right},0.0001,100\nh{i},{DEAR},1,0.001,{}\n", 150 + i).unwrap();
        if i < 30 {
            let known = source == "sums";
            writeln!(estimates, "h{i},{CHEAP},0.4,0.0001,0.2,0.6,0.0001,0.0002,90,{known}").unwrap();
            writeln!(estimates, "h{i},{DEAR},0.9,0.001,0.8,1,0.002,0.003,700,{known}").unwrap();
        }
    }
    work.write("history.jsonl", queries);
    work.write("outcomes.csv", outcomes);
    work.write("half.csv", estimates);
}

const EVALUATED: [&str; 7] =
    ["eval", "--queries", "history.jsonl", "--outcomes", "outcomes.csv", "--catalog", "catalog.json"];

#[test]
fn eval_judges_files_of_estimates() {
    let work = Work::new();
    evaluated(&work);
    let arguments =
        [&EVALUATED[..], &["--estimates", "mine=half.csv,half.csv", "--unfamiliar", "letters"]].concat();
    let report = work.run(&[&arguments[..], &["--json"]].concat()).json();
    assert_eq!((&report["queries"], &report["unestimated_queries"]), (&json!(10), &json!(10)));
    let [mine, half] = &report["estimates"].as_array().unwrap()[..] else { panic!("{report}") };
    assert_eq!((&mine["name"], &half["name"]), (&json!("mine"), &json!("half")));
    assert_eq!(mine["mean_gain"], half["mean_gain"]);
    // The first half of the costs lies in its intervals; tokens are stated without any. Of 40 answers
    // on the test part, 20 have an estimate: 90 of 100 tokens, and 700 of 170 to 179.
    assert_eq!(mine["cost_inside"]["value"], 50.0);
    assert_eq!((&mine["lengths"]["answers"], &mine["lengths"]["inside"]), (&json!(20), &Value::Null));
    assert_eq!(
        (&mine["lengths"]["bucket"]["value"], &mine["lengths"]["near_bucket"]["value"]),
        (&json!(50.0), &json!(50.0))
    );
    // The flag of this file is the source itself.
    let unfamiliar = &mine["unfamiliar"];
    assert_eq!(
        (&unfamiliar["left_out"], &unfamiliar["auc"]["value"]),
        (&json!(6), &json!(1.0)),
        "{unfamiliar}"
    );
    assert_eq!(
        (&unfamiliar["flagged_inside"]["value"], &unfamiliar["flagged_left_out"]["value"]),
        (&json!(0.0), &json!(100.0))
    );
    assert_eq!(unfamiliar["ece_missed"], Value::Null);
    assert_eq!(report["mean_lengths"]["answers"], 40);
    let shown = work.run(&[&arguments[..], &["--intervals"]].concat()).stdout;
    for part in [
        "10 queries were skipped",
        "mine",
        "90 % intervals hold",
        "mean, source given",
        "6 queries are of sources",
    ] {
        assert!(shown.contains(part), "{part:?} is not in {shown}");
    }
}

#[test]
fn eval_leaves_the_router_out() {
    let work = Work::new();
    evaluated(&work);
    let arguments = [&EVALUATED[..], &["--split", "all", "--estimates", "half.csv", "--only"]].concat();
    let report = work.run(&[&arguments[..], &["--plot", "f.svg", "--json"]].concat()).json();
    assert_eq!((&report["queries"], &report["estimates"].as_array().unwrap().len()), (&json!(30), &1));
    for contender in ["router", "trained", "retrieved", "knn", "noise", "input_tokens"] {
        assert_eq!(report[contender], Value::Null, "{contender}");
    }
    assert!(work.read("f.svg").contains("half"));

    work.refused(&[&EVALUATED[..], &["--only"]].concat(), &["--estimates"]);
    work.refused(
        &[&EVALUATED[..], &["--unfamiliar", "prose"]].concat(),
        &["history.jsonl", "`source`", "prose"],
    );
    let cheap: Vec<String> =
        work.read("half.csv").lines().filter(|l| !l.contains(DEAR)).map(Into::into).collect();
    work.write("cheap.csv", cheap.join("\n"));
    let files = |file| [&EVALUATED[..], &["--estimates", file]].concat();
    work.refused(&files("cheap.csv"), &["cheap.csv", DEAR, "--models"]);
    work.write("twice.csv", work.read("half.csv") + work.read("half.csv").lines().last().unwrap());
    work.refused(&files("twice.csv"), &["twice.csv:62", "repeat", "h29"]);
    work.write("others.csv", "query_id,model,quality,cost_usd\nx,y,0.5,1\n");
    work.refused(&files("others.csv"), &["others.csv", "no estimate"]);
    work.refused(&files("absent.csv"), &["absent.csv"]);
}

#[test]
fn eval_perturbs_queries() {
    let work = Work::new();
    evaluated(&work);
    let arguments = [&EVALUATED[..], &["--noise"]].concat();
    let report = work.run(&[&arguments[..], &["--json"]].concat()).json();
    let noise = &report["noise"];
    let copies: Vec<_> =
        noise["kinds"].as_array().unwrap().iter().map(|kind| kind["copies"].as_u64().unwrap()).collect();
    // Typos spare the odd text; everything else can be done to each of twenty.
    assert!(copies.len() == 5 && copies[0] > 10 && copies[1..] == [20; 4], "{noise}");
    assert_eq!(noise["all"]["copies"].as_u64().unwrap(), copies.iter().sum::<u64>());
    assert!((0.0..=100.0).contains(&noise["all"]["unchanged"]["value"].as_f64().unwrap()), "{noise}");
    assert_eq!(report["input_tokens"]["queries"], 20);
    let again = work.run(&[&arguments[..], &["--json"]].concat()).json();
    assert_eq!(again["noise"], *noise);
    assert!(work.run(&arguments).stdout.contains("choices under noise"));
}

#[test]
fn catalogs_are_imported_checked_and_compared() {
    let work = Work::new();
    let checked = work.run(&["catalog", "check", "catalog.json", "--json"]).json();
    let codes: BTreeSet<&str> =
        checked["findings"].as_array().unwrap().iter().map(|f| f["code"].as_str().unwrap()).collect();
    assert!(codes.contains("unpriced") && codes.contains("no_ability"), "{codes:?}");
    work.write("dearer.json", MODELS.replace("\"price_in_per_1m\":2.5", "\"price_in_per_1m\":5"));
    let arguments =
        ["catalog", "import", "--dataset", "dearer.json", "--out", "dearer.catalog.json", "--json"];
    assert_eq!(work.run(&arguments).json()["rows"], 4);
    let diff = work.run(&["catalog", "diff", "catalog.json", "dearer.catalog.json", "--json"]).json();
    assert_eq!(diff["changed"][0]["field"], "cost.input");
    let litellm = r#"{"gpt-4o-mini":{"litellm_provider":"openai","mode":"chat","input_cost_per_token":1.5e-7,"output_cost_per_token":6e-7,"max_input_tokens":128000}}"#;
    work.write("litellm.json", litellm);
    let done = work.run(&[
        "catalog",
        "import",
        "--litellm",
        "litellm.json",
        "--out",
        "c.json",
        "--json",
        "--at",
        "2026-02-03T00:00:00Z",
    ]);
    assert_eq!(done.json()["routable"], 1);
    assert!(work.read("c.json").contains("2026-02-03"));
    work.refused(&["catalog", "import", "--out", "c.json"], &["--litellm", "--dataset"]);
    work.refused(&["catalog", "import", "--dataset", "queries.jsonl", "--out", "c.json"], &["queries.jsonl"]);
}

#[test]
fn bad_queries_are_refused_by_line_and_field() {
    let work = Work::new();
    let cases: [(&str, &[&str]); 9] = [
        (
            "{\"query_id\":\"a\",\"text\":\"x\"}\n{\"query_id\":\"a\",\"text\":\"y\"}",
            &["bad.jsonl:2", "query_id", "twice"],
        ),
        ("{\"text\":\"x\"}", &["bad.jsonl:1", "query_id"]),
        ("{\"query_id\":\"a\"}", &["bad.jsonl:1", "text"]),
        ("{\"query_id\":\"a\",\"text\":5}", &["bad.jsonl:1", "`text`"]),
        ("\n{\"query_id\":\"a\",\"text\":", &["bad.jsonl:2"]),
        ("{\"query_id\":\"a\",\"text\":\"x\",\"input_tokens\":-1}", &["bad.jsonl:1", "`input_tokens`", "-1"]),
        (
            "{\"query_id\":\"a\",\"messages\":[{\"role\":\"user\",\"content\":4}]}",
            &["bad.jsonl:1", "messages[0].content"],
        ),
        ("{\"query_id\":null,\"text\":\"x\"}", &["bad.jsonl:1", "query_id"]),
        ("{\"query_id\":\"a\",\"text\":\"x\"} {}", &["bad.jsonl:1"]),
    ];
    for (content, parts) in cases {
        work.write("bad.jsonl", content);
        let arguments = ["predict", "--queries", "bad.jsonl", "--catalog", "catalog.json", "--out", "e.csv"];
        work.refused(&arguments, parts);
    }
    work.write("bad.jsonl", b"{\"query_id\":\"a\",\"text\":\"\xff\"}");
    let arguments = ["predict", "--queries", "bad.jsonl", "--catalog", "catalog.json", "--out", "e.csv"];
    work.refused(&arguments, &["bad.jsonl:1", "UTF-8"]);
    let left: Vec<_> = fs::read_dir(work.folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(
        !left.iter().any(|name| name.to_string_lossy().starts_with("e.csv")),
        "a partial file is left: {left:?}"
    );
}

#[test]
fn bad_tables_are_refused_by_line_and_column() {
    let work = Work::new();
    let cases: [(&str, &[&str]); 9] = [
        ("query_id,quality,cost_usd\na,0.5,1\n", &["bad.csv:1", "`model`"]),
        ("query_id,model,quality,cost_usd\na,m,0.5\n", &["bad.csv:2", "3 fields"]),
        ("query_id,model,quality,cost_usd\na,m,0.5,1\na,m,0.6,1\n", &["bad.csv:3", "query_id", "repeat"]),
        ("query_id,model,quality,cost_usd\na,m,1.5,1\n", &["bad.csv:2", "`quality`", "1.5"]),
        ("query_id,model,quality,cost_usd\na,m,0.5,NaN\n", &["bad.csv:2", "`cost_usd`", "NaN"]),
        ("query_id,model,quality,cost_usd\na,m,0.5,-1\n", &["bad.csv:2", "`cost_usd`", "-1"]),
        ("query_id,model,quality,cost_usd\na,m,good,1\n", &["bad.csv:2", "`quality`", "good"]),
        ("query_id,model,quality,cost_usd\n,m,0.5,1\n", &["bad.csv:2", "`query_id`", "empty"]),
        ("query_id,model,quality,cost_usd\n", &["bad.csv", "no rows"]),
    ];
    for (content, parts) in cases {
        work.write("bad.csv", content);
        work.refused(&["plan", "--estimates", "bad.csv", "--quality", "0.5", "--out", "p.csv"], parts);
    }
    work.write("bad.parquet", "PAR1 but not really");
    work.refused(
        &["plan", "--estimates", "bad.parquet", "--quality", "0.5", "--out", "p.csv"],
        &["bad.parquet"],
    );
    work.estimates();
    let plan = ["plan", "--estimates", "estimates.csv", "--out", "p.csv", "--quality", "0.5"];
    for (content, parts) in [
        ("{\"cheap\": -1}", "cheap"),
        ("{\"cheap\": 1.5}", "cheap"),
        ("{\"chaep\": 1}", "chaep"),
        ("[1", "w.json:1"),
    ] {
        work.write("w.json", content);
        work.refused(&[&plan[..], &["--workloads", "w.json"]].concat(), &["w.json", parts]);
    }
    work.write("floors.json", r#"{"vip": 2}"#);
    work.write("groups.csv", "query_id,group\na,vip\n");
    work.refused(
        &[&plan[..], &["--floors", "floors.json", "--groups", "groups.csv"]].concat(),
        &["floors.json", "vip"],
    );
}

#[test]
fn bad_catalogs_are_refused_by_place() {
    let work = Work::new();
    let entry = |id: &str, price: &str| {
        format!(
            r#"{{"id":"{id}","provider":"p","base":"b","cost":{{"input":{price},"output":1}},"limit":{{"context":1000}}}}"#
        )
    };
    let cases: [(String, &[&str]); 6] = [
        (format!("[{}]", entry("a", "NaN")), &["bad.json:3", "models[0].cost"]),
        (format!("[{}]", entry("a", "-1")), &["bad.json", "models[0].cost.input", "-1"]),
        (format!("[{}]", entry("a", "1e999")), &["bad.json"]),
        (format!("[{},{}]", entry("a", "1"), entry("a", "2")), &["bad.json", "models[1].id"]),
        ("[]".into(), &["bad.json", "models", "empty"]),
        ("[".into(), &["bad.json"]),
    ];
    for (models, parts) in cases {
        work.write(
            "bad.json",
            format!("{{\"format\":1,\n\"version\":\"2026-11-20\",\n\"models\":{models}}}"),
        );
        work.refused(&["route", "--prompt", "x", "--catalog", "bad.json"], parts);
    }
    work.write("bad.json", r#"{"format":99,"version":"x","models":[]}"#);
    work.refused(&["catalog", "check", "bad.json"], &["bad.json", "99"]);
}

#[test]
fn vectors_are_refused_by_artifacts_that_take_none() {
    let work = Work::new();
    let folder = work.path(".");
    work.write(
        "manifest.json",
        r#"{"format":1,"version":"tiny/1","files":{},"encoder":{"dimensions":2,"max_tokens":8}}"#,
    );
    let encoder = ["--catalog", "catalog.json", "--encoder", folder.to_str().unwrap()];
    work.refused(
        &[&["route", "--prompt", "x"], &encoder[..]].concat(),
        &["manifest.json", "take no vectors"],
    );
    let predict = ["predict", "--queries", "queries.jsonl", "--out", "e.csv"];
    work.refused(&[&predict, &encoder[..]].concat(), &["manifest.json", "take no vectors"]);
    work.write("queries.jsonl", r#"{"query_id":1,"text":"x","embedding":[0.6,0.8]}"#);
    work.refused(&[&predict, &encoder[..2]].concat(), &["queries.jsonl", "embedding", "takes none"]);
}

#[test]
fn missing_files_and_bad_options_are_one_line() {
    let work = Work::new();
    work.refused(&["route", "--prompt", "x", "--catalog", "nowhere.json"], &["nowhere.json"]);
    work.refused(
        &["predict", "--queries", "nowhere.jsonl", "--out", "e.csv", "--catalog", "catalog.json"],
        &["nowhere.jsonl"],
    );
    work.refused(&["plan", "--estimates", ".", "--quality", "0.5", "--out", "p.csv"], &["folder"]);
    work.refused(
        &["route", "--prompt", "x", "--catalog", "catalog.json", "--quality", "1.5"],
        &["quality", "1.5"],
    );
    work.refused(
        &["route", "--prompt", "x", "--catalog", "catalog.json", "--cap-usd", "NaN"],
        &["cap_usd", "NaN"],
    );
    work.refused(
        &["route", "--prompt", "x", "--catalog", "catalog.json", "--at", "yesterday"],
        &["at", "yesterday"],
    );
    work.refused(&["route"], &["--prompt", "--messages"]);
    work.refused(&["route", "--prompt", "x", "--messages", "y"], &["cannot be used"]);
    work.refused(&["route", "--prompt", "x", "--sheep", "1"], &["--sheep"]);
    work.refused(&["dance"], &["dance"]);
    work.estimates();
    work.refused(&["plan", "--estimates", "estimates.csv", "--out", "p.csv"], &["--quality", "--budget"]);
    work.refused(&["plan", "--estimates", "estimates.csv", "--quality", "1.5", "--out", "p.csv"], &["1.5"]);
    work.refused(
        &["plan", "--estimates", "estimates.csv", "--quality", "0.5", "--out", "no/p.csv"],
        &["no/p.csv"],
    );
    let help = work.run(&["--help"]);
    assert_eq!((help.code, help.stdout.contains("predict")), (0, true));
}

#[test]
fn tampered_artifacts_are_refused() {
    let mut work = Work::new();
    let copy = work.path("artifacts");
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(&work.artifacts).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
        }
    }
    work.artifacts = copy.clone();
    let route = ["route", "--prompt", "x", "--catalog", "catalog.json"];
    assert_eq!(work.run(&route).code, 0);
    let vocab = copy.join("vocab.txt");
    let mut bytes = fs::read(&vocab).unwrap();
    bytes[100] ^= 1;
    fs::write(&vocab, &bytes).unwrap();
    work.refused(&route, &["vocab.txt", "SHA-256"]);
    fs::write(&vocab, &bytes[..50]).unwrap();
    work.refused(&route, &["vocab.txt", "50 bytes"]);
    fs::remove_file(&vocab).unwrap();
    work.refused(&route, &["vocab.txt", "missing"]);
    work.refused(&[&route[..], &["--artifacts", "nowhere"]].concat(), &["nowhere", "manifest.json"]);
}
