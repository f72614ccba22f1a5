//! Instances: read from a file, or made from a name.
//!
//! The format is that of `instance.py`, the distributions those of the published experiments of the
//! optimizer: logistic qualities in ability and difficulty, output prices over three orders of
//! magnitude, log-normal token counts, workloads from a Dirichlet distribution with a quarter to
//! spare, a quality target 60 % of the way from the cheapest plan to the best, a budget 10 % of it,
//! and four group floors, of which the hardest group's binds.
//!
//! A name says what is made: `n1000` (or `a64` for an assignment problem: one slot per model), then
//! `m20` for 20 models instead of 10, `q` for heavy ties (p in sixteenths, whole tokens), `f` for
//! about 15 % forbidden pairs, `t` for tight workloads (a tenth to spare), `s3` for another seed.

use std::path::Path;
use std::{f64::consts::TAU, fs};

use pennyroute::optimize::{Groups, Plan, Problem, solve};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const GROUPS: usize = 4;
/// How far the target lies from the quality of the cheapest plan to that of the best.
const THETA: f64 = 0.6;

/// One instance, its matrices model-major, forbidden pairs with infinite cost.
pub struct Instance {
    pub queries: usize,
    pub models: usize,
    alpha: f64,
    budget: f64,
    limits: Vec<u64>,
    floors: Vec<f64>,
    pub cost: Vec<f64>,
    pub quality: Vec<f64>,
    group: Vec<u32>,
}

impl Instance {
    /// Reads an instance, or makes the one of this name and writes it where it is missing.
    pub fn open(folder: Option<&Path>, name: &str, seed: u64) -> Result<Self> {
        let path = folder.map(|folder| folder.join(format!("{name}.bin")));
        if let Some(path) = path.as_ref().filter(|path| path.exists()) {
            let bytes = fs::read(path)?;
            let (numbers, rest) = bytes.as_chunks::<8>();
            let numbers: Vec<f64> = numbers.iter().map(|&chunk| f64::from_le_bytes(chunk)).collect();
            let instance = rest.is_empty().then(|| Instance::parse(&numbers)).flatten();
            return instance.ok_or_else(|| format!("{}: not an instance", path.display()).into());
        }
        let spec = Spec::parse(name).ok_or_else(|| format!("{name}: no such kind of instance"))?;
        let numbers = spec.generate(seed)?;
        if let Some(path) = path {
            fs::write(path, numbers.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>())?;
        }
        Ok(Instance::parse(&numbers).expect("made in this format"))
    }

    /// From the numbers of the format; `None` where their count is wrong.
    fn parse(numbers: &[f64]) -> Option<Self> {
        let &[n, m, groups, alpha, budget, ..] = numbers else { return None };
        let (n, m) = (n as usize, m as usize);
        let mut rest = &numbers[5..];
        let mut take = |count: usize| {
            let (head, tail) = rest.split_at_checked(count)?;
            rest = tail;
            Some(head)
        };
        let limits = take(m)?.iter().map(|&limit| limit as u64).collect();
        let floors = take(groups as usize)?.to_vec();
        let (cost, quality) = (take(n * m)?, take(n * m)?);
        let group = take(n)?.iter().map(|&g| g as u32).collect();
        let forbidden = take(n * m)?;
        let model_major = |at: &dyn Fn(usize) -> f64| -> Vec<f64> {
            (0..m).flat_map(|j| (0..n).map(move |i| i * m + j)).map(at).collect()
        };
        let cost = model_major(&|pair| if forbidden[pair] > 0.5 { f64::INFINITY } else { cost[pair] });
        let quality = model_major(&|pair| quality[pair]);
        rest.is_empty().then_some(Instance {
            queries: n,
            models: m,
            alpha,
            budget,
            limits,
            floors,
            cost,
            quality,
            group,
        })
    }

    /// The problem of a kind, see `instance.py`.
    pub fn problem(&self, kind: char) -> Result<Problem<'_>> {
        let all = Problem {
            quality_target: Some(self.alpha),
            budget_usd: Some(self.budget),
            limits: Some(&self.limits),
            groups: Some(Groups { of_query: &self.group, floors: &self.floors }),
            ..Problem::new(self.queries, self.models, &self.cost, &self.quality)
        };
        match kind {
            'T' | 'A' => Ok(Problem { quality_target: None, budget_usd: None, groups: None, ..all }),
            'C' => Ok(Problem { budget_usd: None, groups: None, ..all }),
            'F' => Ok(Problem { budget_usd: None, ..all }),
            'B' => Ok(Problem { quality_target: None, groups: None, ..all }),
            'Q' => Ok(Problem { budget_usd: None, groups: None, limits: None, ..all }),
            _ => Err(format!("{kind}: no such kind of problem").into()),
        }
    }

    /// Bytes of everything the solver is given.
    pub fn bytes(&self) -> usize {
        size_of_val(&self.cost[..])
            + size_of_val(&self.quality[..])
            + size_of_val(&self.limits[..])
            + size_of_val(&self.group[..])
    }
}

/// What a name asks for.
struct Spec {
    queries: usize,
    models: usize,
    assignment: bool,
    ties: bool,
    forbidden: bool,
    /// Slots per query.
    slack: f64,
    seed: u64,
}

impl Spec {
    fn parse(name: &str) -> Option<Self> {
        let number = |rest: &mut &str| -> Option<u64> {
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let digits;
            (digits, *rest) = rest.split_at(end);
            digits.parse().ok()
        };
        let mut rest = name.strip_prefix(['n', 'a'])?;
        let mut spec = Spec {
            queries: number(&mut rest)? as usize,
            models: 10,
            assignment: name.starts_with('a'),
            ties: false,
            forbidden: false,
            slack: 1.25,
            seed: 0,
        };
        while let Some(letter) = rest.chars().next() {
            rest = &rest[1..];
            match letter {
                'm' => spec.models = number(&mut rest)? as usize,
                's' => spec.seed = number(&mut rest)?,
                'q' => spec.ties = true,
                'f' => spec.forbidden = true,
                't' => spec.slack = 1.1,
                _ => return None,
            }
        }
        (spec.queries > 0 && spec.models > 1).then_some(spec)
    }

    /// The instance in the format of the files.
    fn generate(&self, seed: u64) -> Result<Vec<f64>> {
        let (n, m) = (self.queries, self.models);
        let mut r = Random::new(&[seed, self.seed, n as u64, m as u64]);
        let whole = |x: f64| if self.ties { x.round() } else { x };
        let difficulty = r.normals(n, 0.0, 1.0);

        let mut rank: Vec<f64> = (0..m).map(|j| j as f64 / (m - 1) as f64 + 0.08 * r.normal()).collect();
        rank.sort_by(f64::total_cmp);
        let (first, last) = (rank[0], rank[m - 1]);
        let rank: Vec<f64> = rank.iter().map(|x| (x - first) / (last - first)).collect();
        // 0.05 to 50 USD per million tokens.
        let price_out: Vec<f64> = rank.iter().map(|x| 0.05e-6 * 1000f64.powf(*x)).collect();
        let price_in: Vec<f64> = price_out.iter().map(|price| price * (0.2 + 0.15 * r.unit())).collect();
        let ability: Vec<f64> = rank.iter().map(|x| -0.9 + 3.2 * x + 0.25 * r.normal()).collect();
        let verbosity: Vec<f64> = (0..m).map(|_| (0.3 * r.normal()).exp()).collect();

        let input: Vec<f64> = r.normals(n, 5.5, 1.0).iter().map(|x| whole(x.exp())).collect();
        let (mut cost, mut quality) = (Vec::with_capacity(n * m), Vec::with_capacity(n * m));
        for i in 0..n {
            let output = (5.0 + 0.7 * r.normal() + 0.25 * difficulty[i]).exp();
            for j in 0..m {
                let logit = 1.3 * (ability[j] - difficulty[i]) + 0.6 * r.normal();
                let p = 1.0 / (1.0 + (-logit).exp());
                quality.push(if self.ties { (p * 16.0).round() / 16.0 } else { p });
                let tokens = whole(output * verbosity[j] * (0.25 * r.normal()).exp());
                cost.push(price_in[j] * input[i] + price_out[j] * tokens);
            }
        }

        let limits = self.limits(&mut r);
        let mut forbidden = vec![0.0; n * m];
        if self.forbidden {
            // Context windows: long inputs do not fit; the three roomiest models take any.
            let mut sorted = input.clone();
            sorted.sort_by(f64::total_cmp);
            let mut roomiest = limits.clone();
            roomiest.sort_unstable_by(|a, b| b.cmp(a));
            for j in 0..m {
                let window = sorted[((0.7 + 0.3 * r.unit()) * (n - 1) as f64) as usize];
                for i in (0..n).filter(|&i| limits[j] < roomiest[2.min(m - 1)] && input[i] > window) {
                    forbidden[i * m + j] = 1.0;
                }
            }
        }
        let group: Vec<f64> = difficulty
            .iter()
            .map(|d| d + r.normal())
            .map(|x| [-0.9, 0.0, 0.9].iter().filter(|&&edge| x > edge).count() as f64)
            .collect();

        let head = |alpha: f64, budget: f64, floors: &[f64]| -> Vec<f64> {
            let limits = limits.iter().map(|&limit| limit as f64);
            let sizes = [n as f64, m as f64, GROUPS as f64, alpha, budget];
            sizes.into_iter().chain(limits).chain(floors.iter().copied()).collect()
        };
        let body = [cost, quality, group, forbidden].concat();
        let draft = [head(0.0, 0.0, &[0.0; GROUPS]), body].concat();
        let (alpha, budget, floors) = Instance::parse(&draft).expect("made in this format").targets()?;
        Ok([head(alpha, budget, &floors), draft[5 + m + GROUPS..].to_vec()].concat())
    }

    fn limits(&self, r: &mut Random) -> Vec<u64> {
        if self.assignment {
            return vec![1; self.models];
        }
        let slots = self.queries as f64 * self.slack;
        // Gamma(3) variates: as shares, a Dirichlet distribution.
        let shares: Vec<f64> = (0..self.models).map(|_| -(r.unit() * r.unit() * r.unit()).ln()).collect();
        let sum: f64 = shares.iter().sum();
        let mut limits: Vec<u64> = shares.iter().map(|s| ((slots * s / sum) as u64).max(1)).collect();
        while limits.iter().sum::<u64>() < slots.ceil() as u64 {
            limits[(r.unit() * self.models as f64) as usize] += 1;
        }
        limits
    }
}

impl Instance {
    /// Quality target, budget and floors, between the cheapest plan and the best.
    fn targets(&self) -> Result<(f64, f64, Vec<f64>)> {
        let transport = self.problem('T')?;
        let errors: Vec<f64> = self
            .cost
            .iter()
            .zip(&self.quality)
            .map(|(c, p)| if c.is_finite() { 1.0 - p } else { *c })
            .collect();
        let cheapest = solve(&transport)?;
        let best = solve(&Problem { cost: &errors, ..transport })?;
        let between =
            |of: &dyn Fn(&Plan) -> f64, share: f64| of(&cheapest) * (1.0 - share) + of(&best) * share;
        let pairs = |plan: &Plan| -> Vec<usize> {
            plan.assignment.iter().enumerate().map(|(i, &j)| j as usize * self.queries + i).collect()
        };
        let cost = |plan: &Plan| pairs(plan).into_iter().map(|pair| self.cost[pair]).sum();
        let quality_of = |g: usize| {
            move |plan: &Plan| {
                let mine = |&(i, _): &(usize, usize)| self.group[i] as usize == g;
                let mine: Vec<_> = pairs(plan).into_iter().enumerate().filter(mine).collect();
                mine.iter().map(|&(_, pair)| self.quality[pair]).sum::<f64>() / mine.len().max(1) as f64
            }
        };
        let floors = (0..GROUPS)
            .map(|g| between(&quality_of(g), THETA) * 0.97 * if g == GROUPS - 1 { 1.06 } else { 1.0 });
        Ok((between(&|plan| plan.quality, THETA), between(&cost, 0.1), floors.collect()))
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn new(seeds: &[u64]) -> Self {
        let mut random = Random(0);
        for seed in seeds {
            random.0 = random.next() ^ seed;
        }
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in (0, 1).
    fn unit(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Standard normal (Box–Muller).
    fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (TAU * self.unit()).cos()
    }

    fn normals(&mut self, count: usize, mean: f64, deviation: f64) -> Vec<f64> {
        (0..count).map(|_| mean + deviation * self.normal()).collect()
    }
}
