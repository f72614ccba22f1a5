//! Whether choices survive what does not change the question: typos, case, white space, a greeting
//! before it, its options in another order.
//!
//! Every query is estimated from its text alone (a count of input tokens would belong to one wording
//! only), as it is and perturbed in five ways, and each copy gets the model with the largest
//! `p − λ·c`. The price λ is the one whose expected mean quality α lies nearest to the middle of what
//! prices can reach, among those at which no model takes more than 60 % of the queries: a router that
//! always says the same would pass otherwise.

use rayon::prelude::*;
use serde::Serialize;

use super::bootstrap::{Measured, Resamples, SplitMix, Tally};
use super::metrics::{Estimated, Point, Recorded, mean, pick, picks, prices};
use crate::error::Result;

/// Largest share of the queries that one model may take.
const LARGEST_SHARE: f64 = 0.6;

/// The seed of every perturbation, fixed so that a report repeats.
const SEED: u64 = 20_261_121;

/// One letter in this many gets a typo: 3 %.
const LETTERS_PER_TYPO: usize = 33;

/// One space in this many is doubled, and one in four times as many becomes a tab.
const SPACES_PER_CHANGE: usize = 4;

const GREETING: &str = "Hi! Can you help me with this?\n\n";

/// A way to perturb a text; what it cannot change stays as it is, and is no copy.
type Perturbation = fn(&str, &mut SplitMix) -> String;

/// The perturbations by name.
const KINDS: [(&str, Perturbation); 5] = [
    ("typos", typos),
    ("case", case),
    ("white space", spaces),
    ("greeting", greeting),
    ("option order", options),
];

/// What a kind of perturbation did to the choices.
#[derive(Debug, Clone, Serialize)]
pub struct Kind {
    /// What was changed.
    pub name: String,
    /// Number of texts that could be changed that way.
    pub copies: usize,
    /// Choices that stayed the same, percent.
    pub unchanged: Option<Measured>,
    /// What the choices for the texts as they are brought.
    pub before: Point,
    /// What the choices for the copies brought.
    pub after: Point,
}

/// The choices under every kind of perturbation.
#[derive(Debug, Clone, Serialize)]
pub struct Noise {
    /// Expected mean quality at the price of the choices, 0 to 1.
    pub alpha: f64,
    /// Share of the queries that goes to the most chosen model there.
    pub largest_share: f64,
    /// By kind.
    pub kinds: Vec<Kind>,
    /// Over all copies.
    pub all: Kind,
}

/// Perturbs `texts`, the queries of `recorded`. `estimate` says of a text how likely each model is to
/// answer it well and at what cost.
pub fn noise(
    texts: &[String],
    recorded: &Recorded,
    resamples: &Resamples,
    estimate: &(dyn Fn(&str) -> Result<Estimated> + Sync),
) -> Result<Noise> {
    let m = recorded.models.len();
    let mut plain = Estimated::default();
    for one in texts.par_iter().map(|text| estimate(text)).collect::<Result<Vec<_>>>()? {
        plain.quality.extend(one.quality);
        plain.cost.extend(one.cost);
    }
    let price = operating_price(&plain, m);
    let before = picks(&plain, m, price.lambda);
    let perturbed = |at: usize| -> Result<Option<Copied>> {
        let (query, kind) = (at / KINDS.len(), at % KINDS.len());
        let text = KINDS[kind].1(&texts[query], &mut SplitMix::new(SEED.wrapping_add(at as u64)));
        if text == texts[query] {
            return Ok(None);
        }
        let Estimated { quality, cost } = estimate(&text)?;
        let after = pick(&quality, &cost, price.lambda);
        Ok(Some(Copied { query, kind, before: before[query], after }))
    };
    let all = (0..texts.len() * KINDS.len()).into_par_iter().filter_map(|at| perturbed(at).transpose());
    let all = all.collect::<Result<Vec<Copied>>>()?;
    let kind = |(k, (name, _)): (usize, &(&str, Perturbation))| {
        let copies: Vec<Copied> = all.iter().copied().filter(|copy| copy.kind == k).collect();
        summary(name, &copies, recorded, resamples)
    };
    Ok(Noise {
        alpha: price.alpha,
        largest_share: price.largest_share,
        kinds: KINDS.iter().enumerate().map(kind).collect(),
        all: summary("all", &all, recorded, resamples),
    })
}

/// A perturbed query, and the models chosen before and after.
#[derive(Clone, Copy)]
struct Copied {
    query: usize,
    kind: usize,
    before: usize,
    after: usize,
}

fn summary(name: &str, copies: &[Copied], recorded: &Recorded, resamples: &Resamples) -> Kind {
    let mut tally = Tally::new(resamples.queries());
    for copy in copies {
        tally.count(copy.query, copy.after == copy.before);
    }
    let brought = |chosen: fn(&Copied) -> usize| {
        let at = |copy: &Copied| copy.query * recorded.models.len() + chosen(copy);
        Point {
            cost: 1e3 * mean(copies.iter().map(|copy| recorded.cost[at(copy)])).unwrap_or_default(),
            accuracy: mean(copies.iter().map(|copy| recorded.correct[at(copy)])).unwrap_or_default(),
        }
    };
    Kind {
        name: name.into(),
        copies: copies.len(),
        unchanged: resamples.measure(|weights| tally.percent(weights)),
        before: brought(|copy| copy.before),
        after: brought(|copy| copy.after),
    }
}

/// A price of money and what it leads to.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Price {
    lambda: f64,
    alpha: f64,
    largest_share: f64,
}

/// The price nearest to the middle at which no model takes too much; where there is none, the price
/// at which the most chosen model takes least.
fn operating_price(estimated: &Estimated, models: usize) -> Price {
    let n = (estimated.quality.len() / models.max(1)).max(1) as f64;
    let at = |lambda: f64| {
        let chosen = picks(estimated, models, lambda);
        let mut taken = vec![0.0f64; models];
        for &j in &chosen {
            taken[j] += 1.0;
        }
        let expected = chosen.iter().enumerate().map(|(i, j)| estimated.quality[i * models + j]);
        let largest = taken.into_iter().fold(0.0, f64::max);
        Price { lambda, alpha: expected.sum::<f64>() / n, largest_share: largest / n }
    };
    let all: Vec<Price> = prices().into_par_iter().map(at).collect();
    let (low, high) =
        all.iter().fold((f64::INFINITY, 0.0f64), |(low, high), p| (low.min(p.alpha), high.max(p.alpha)));
    let middle = f64::midpoint(low, high);
    let worth = |p: &Price| ((p.largest_share - LARGEST_SHARE).max(0.0), (p.alpha - middle).abs());
    let better = |a: Price, b: Price| if worth(&b) < worth(&a) { b } else { a };
    all.into_iter().reduce(better).unwrap_or(Price { lambda: 0.0, alpha: 0.0, largest_share: 0.0 })
}

/// Swaps, drops or doubles 3 % of the letters.
fn typos(text: &str, random: &mut SplitMix) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    for at in 0..chars.len() {
        let letter = chars[at];
        if !letter.is_alphabetic() || random.below(LETTERS_PER_TYPO) > 0 {
            out.push(letter);
            continue;
        }
        match random.below(3) {
            // What the letter trades places with comes next.
            0 if chars.get(at + 1).is_some_and(|next| next.is_alphabetic()) => {
                out.push(chars[at + 1]);
                chars[at + 1] = letter;
            }
            1 => {}
            _ => out.extend([letter, letter]),
        }
    }
    out
}

/// All letters small, or every word with a capital, by the toss of a coin.
fn case(text: &str, random: &mut SplitMix) -> String {
    let small = random.below(2) == 0;
    let mut before = ' ';
    let mut change = |letter: char| -> Vec<char> {
        let first = !before.is_alphanumeric();
        before = letter;
        match (small, first) {
            (true, _) => letter.to_lowercase().collect(),
            (false, true) => letter.to_uppercase().collect(),
            (false, false) => vec![letter],
        }
    };
    text.chars().flat_map(&mut change).collect()
}

/// Doubles some spaces, turns a few into tabs and ends with empty lines.
fn spaces(text: &str, random: &mut SplitMix) -> String {
    let mut out = String::with_capacity(2 * text.len());
    for letter in text.chars() {
        match letter {
            ' ' if random.below(SPACES_PER_CHANGE) == 0 => out += "  ",
            ' ' if random.below(4 * SPACES_PER_CHANGE) == 0 => out.push('\t'),
            letter => out.push(letter),
        }
    }
    out += "\n\n";
    out
}

/// Says hello first.
fn greeting(text: &str, _: &mut SplitMix) -> String {
    GREETING.to_owned() + text
}

/// Gives the answer options another order; their labels stay where they are.
fn options(text: &str, random: &mut SplitMix) -> String {
    let mut lines: Vec<&str> = text.split('\n').collect();
    // The last run of labels that begins with A: where each line is, and where its label ends.
    let mut run: Vec<(usize, usize)> = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        match label(line) {
            Some(('A', end)) => run = vec![(at, end)],
            Some((letter, end)) if !run.is_empty() && letter as usize == 'A' as usize + run.len() => {
                run.push((at, end));
            }
            _ => {}
        }
    }
    if run.len() < 2 {
        return text.to_owned();
    }
    let bodies: Vec<&str> = run.iter().map(|&(at, end)| &lines[at][end..]).collect();
    let mut order: Vec<usize> = (0..run.len()).collect();
    (1..order.len()).rev().for_each(|i| order.swap(i, random.below(i + 1)));
    if order.is_sorted() {
        order.rotate_left(1);
    }
    let moved: Vec<String> = run
        .iter()
        .zip(&order)
        .map(|(&(at, end), &from)| lines[at][..end].to_owned() + bodies[from])
        .collect();
    run.iter().zip(&moved).for_each(|(&(at, _), line)| lines[at] = line);
    lines.join("\n")
}

/// The letter of an option's label, `- (A) …`, `B. …`, `C: …`, and where the label ends.
fn label(line: &str) -> Option<(char, usize)> {
    let start = line.trim_start_matches([' ', '\t', '-', '*', '(']);
    let letter = start.chars().next().filter(char::is_ascii_uppercase)?;
    let rest = start[1..].strip_prefix([')', '.', ':'])?;
    rest.starts_with(' ').then_some((letter, line.len() - rest.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUESTION: &str = "Which is a prime number?\n\n- (A) 27\n- (B) 28\n- (C) 31\n- (D) None of them";

    fn random() -> SplitMix {
        SplitMix::new(7)
    }

    #[test]
    fn typos_touch_letters_only_and_few() {
        let text = "the quick brown fox jumps over 12345 lazy dogs. ".repeat(40);
        let noisy = typos(&text, &mut random());
        let kept = |text: &str| text.chars().filter(|c| !c.is_alphabetic()).collect::<String>();
        assert_eq!(kept(&noisy), kept(&text));
        let words = text.split(' ').zip(noisy.split(' ')).filter(|(a, b)| a != b).count();
        // 3 % of 1,400 letters, in different words mostly.
        assert!((25..60).contains(&words), "{words}");
        assert_eq!(typos("123 + 456", &mut random()), "123 + 456");
        assert_eq!(typos(&text, &mut random()), noisy);
    }

    #[test]
    fn case_is_one_of_two() {
        let seen: std::collections::BTreeSet<_> =
            (0..20).map(|seed| case("What is DNA's role?", &mut SplitMix::new(seed))).collect();
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["What Is DNA'S Role?", "what is dna's role?"]);
    }

    #[test]
    fn spaces_change_nothing_else() {
        let text = "a b c d e f g h i j k l m n o p q r s t u v w x y z ".repeat(4);
        let noisy = spaces(&text, &mut random());
        assert!(noisy.contains("  ") && noisy.contains('\t') && noisy.ends_with("\n\n"), "{noisy:?}");
        assert_eq!(noisy.split_whitespace().collect::<String>(), text.split_whitespace().collect::<String>());
    }

    #[test]
    fn a_greeting_comes_first() {
        assert_eq!(greeting("Why?", &mut random()), "Hi! Can you help me with this?\n\nWhy?");
    }

    #[test]
    fn options_move_and_their_labels_stay() {
        let noisy = options(QUESTION, &mut random());
        assert_ne!(noisy, QUESTION);
        let split = |text: &str| -> (Vec<String>, Vec<String>) {
            text.lines().skip(2).map(|line| (line[..6].to_owned(), line[6..].to_owned())).unzip()
        };
        let ((labels, mut bodies), (before, mut bodies_before)) = (split(&noisy), split(QUESTION));
        bodies.sort();
        bodies_before.sort();
        assert_eq!((labels, bodies), (before, bodies_before));
        assert_eq!(options("A. no\nB. yes", &mut random()), "A. yes\nB. no");
        assert_eq!(options("A. alone", &mut random()), "A. alone");
        assert_eq!(options("def f(A):\n    return A", &mut random()), "def f(A):\n    return A");
    }

    /// Two models; the dear one is picked where the text is longer than 24 letters.
    fn by_length(text: &str) -> Estimated {
        let quality = if text.len() > 24 { vec![0.4, 0.9] } else { vec![0.8, 0.81] };
        Estimated { quality, cost: vec![0.001, 0.002] }
    }

    #[test]
    fn changes_of_choice_are_counted_and_priced() {
        let texts = ["1 + 1".to_owned(), "12345 + 67890 + 12345 + 67890".to_owned()];
        let recorded = Recorded {
            models: vec!["cheap".into(), "dear".into()],
            correct: vec![1.0, 1.0, 0.0, 1.0],
            cost: vec![0.001, 0.002, 0.001, 0.002],
        };
        let resamples = Resamples::new(&[None, None]);
        let found = noise(&texts, &recorded, &resamples, &|text| Ok(by_length(text))).unwrap();
        // The short one goes to the cheap model, the long one to the dear one; only the greeting, which
        // makes every text long, changes that, and nothing can be misspelt, lower-cased or reordered.
        assert_eq!((found.largest_share, found.alpha), (0.5, f64::midpoint(0.8, 0.9)));
        let kinds: Vec<_> =
            found.kinds.iter().map(|k| (k.name.as_str(), k.copies, k.unchanged.map(|u| u.value))).collect();
        let expected = [
            ("typos", 0, None),
            ("case", 0, None),
            ("white space", 2, Some(100.0)),
            ("greeting", 2, Some(50.0)),
            ("option order", 0, None),
        ];
        assert_eq!(kinds, expected);
        assert_eq!((found.all.copies, found.all.unchanged.map(|u| u.value)), (4, Some(75.0)));
        let greeted = &found.kinds[3];
        assert!((greeted.before.cost - 1.5).abs() < 1e-9 && (greeted.after.cost - 2.0).abs() < 1e-9);
        assert_eq!((greeted.before.accuracy, greeted.after.accuracy), (1.0, 1.0));
    }

    #[test]
    fn the_price_keeps_any_model_from_taking_all() {
        // Ten queries to which the dearer model is worth 0.4, 0.05 or 0.04: it takes three, six or all of them. Means reach
        // from 0.5 to 0.651; the one nearest to their middle, 0.62, leaves the cheaper model seven.
        let quality: Vec<f64> = [(0.4, 3), (0.05, 3), (0.04, 4)]
            .iter()
            .flat_map(|&(more, n)| [0.5, 0.5 + more].repeat(n))
            .collect();
        let price = operating_price(&Estimated { quality, cost: [0.001, 0.002].repeat(10) }, 2);
        assert!((price.alpha - 0.635).abs() < 1e-9 && (price.largest_share - 0.6).abs() < 1e-9);
    }
}
