//! A small BERT of random weights: its packed file, and its forward pass written down plainly.

use std::collections::BTreeMap;
use std::fmt::Write;

pub struct Sizes {
    pub layers: usize,
    pub heads: usize,
    pub inner: usize,
    pub words: usize,
    pub positions: usize,
}

/// Tensors by name, weights as `[outputs, inputs]`.
pub struct Bert {
    pub sizes: Sizes,
    tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    /// Rows of int8 and their scales, where the file is to have them; `tensors` then holds what they stand for.
    int8: Option<BTreeMap<String, Quantized>>,
}

/// Rows of int8, and a scale for each.
type Quantized = (Vec<i8>, Vec<f32>);

const EPSILON: f32 = 1e-12;
const HEAD: usize = 32;

/// Numbers from -1 to 1, the same for each seed (splitmix64).
pub fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

impl Bert {
    pub fn new(sizes: Sizes, int8: bool, seed: u64) -> Self {
        let mut next = noise(seed);
        let width = sizes.heads * HEAD;
        let mut tensors = BTreeMap::new();
        let mut add = |name: String, shape: &[usize], scale: f32, around: f32| {
            let values: Vec<f32> = (0..shape.iter().product()).map(|_| around + scale * next()).collect();
            tensors.insert(name, (shape.to_vec(), values));
        };
        let mut norm = Vec::new();
        add("embeddings.word_embeddings.weight".into(), &[sizes.words, width], 1.0, 0.0);
        add("embeddings.position_embeddings.weight".into(), &[sizes.positions, width], 0.5, 0.0);
        norm.push("embeddings.LayerNorm".to_owned());
        for layer in 0..sizes.layers {
            let name = |part: &str| format!("encoder.layer.{layer}.{part}");
            let linear = [
                ("attention.self.query", width, width),
                ("attention.self.key", width, width),
                ("attention.self.value", width, width),
                ("attention.output.dense", width, width),
                ("intermediate.dense", sizes.inner, width),
                ("output.dense", width, sizes.inner),
            ];
            for (part, outputs, inputs) in linear {
                // Wide enough that attention and GELU are far from linear.
                let scale = 3.0 / (inputs as f32).sqrt();
                add(name(&format!("{part}.weight")), &[outputs, inputs], scale, 0.0);
                add(name(&format!("{part}.bias")), &[outputs], 0.3, 0.0);
            }
            norm.extend([name("attention.output.LayerNorm"), name("output.LayerNorm")]);
        }
        for name in norm {
            add(format!("{name}.weight"), &[width], 0.3, 1.0);
            add(format!("{name}.bias"), &[width], 0.3, 0.0);
        }
        let int8 = int8.then(|| {
            let quantized = |name: &str| {
                name.ends_with(".weight") && !name.contains("LayerNorm") && !name.contains("position")
            };
            let weights = tensors.iter_mut().filter(|(name, _)| quantized(name));
            weights.map(|(name, (shape, values))| (name.clone(), quantize(values, shape[1]))).collect()
        });
        Bert { sizes, tensors, int8 }
    }

    /// The same with the first number of a tensor replaced.
    pub fn with(&mut self, name: &str, first: f32) -> &Self {
        self.tensors.get_mut(name).expect("a tensor").1[0] = first;
        self
    }

    /// The packed file.
    pub fn file(&self) -> Vec<u8> {
        let precision = if self.int8.is_some() { "int8" } else { "float32" };
        let Sizes { layers, heads, .. } = self.sizes;
        let mut header = format!(
            r#"{{"__metadata__":{{"layers":"{layers}","heads":"{heads}","epsilon":"{EPSILON:e}","precision":"{precision}"}}"#
        );
        let mut data: Vec<u8> = Vec::new();
        let mut put = |name: &str, dtype: &str, shape: &[usize], bytes: &[u8]| {
            let start = data.len();
            data.extend(bytes);
            let end = data.len();
            write!(
                header,
                r#","{name}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{start},{end}]}}"#
            )
            .expect("strings take it");
        };
        let le = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        for (name, (shape, values)) in &self.tensors {
            match self.int8.as_ref().and_then(|int8| int8.get(name)) {
                None => put(name, "F32", shape, &le(values)),
                Some((rows, scales)) => {
                    put(name, "I8", shape, &rows.iter().map(|v| v.cast_unsigned()).collect::<Vec<_>>());
                    put(&format!("{name}.scale"), "F32", &[shape[0]], &le(scales));
                }
            }
        }
        header.push('}');
        while header.len() % 8 != 0 {
            header.push(' ');
        }
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header.as_bytes());
        file.extend(data);
        file
    }

    fn tensor(&self, name: &str) -> &[f32] {
        &self.tensors[name].1
    }

    /// `W x + b` for each row.
    fn linear(&self, name: &str, rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let (weight, bias) = (self.tensor(&format!("{name}.weight")), self.tensor(&format!("{name}.bias")));
        let output = |row: &Vec<f64>| {
            let dot = |w: &[f32]| w.iter().zip(row).map(|(w, x)| f64::from(*w) * x).sum::<f64>();
            weight.chunks(row.len()).zip(bias).map(|(w, b)| dot(w) + f64::from(*b)).collect()
        };
        rows.iter().map(output).collect()
    }

    fn norm(&self, name: &str, rows: &mut [Vec<f64>]) {
        let (gamma, beta) = (self.tensor(&format!("{name}.weight")), self.tensor(&format!("{name}.bias")));
        for row in rows {
            let n = row.len() as f64;
            let mean = row.iter().sum::<f64>() / n;
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
            for ((x, gamma), beta) in row.iter_mut().zip(gamma).zip(beta) {
                *x = (*x - mean) / (variance + f64::from(EPSILON)).sqrt() * f64::from(*gamma)
                    + f64::from(*beta);
            }
        }
    }

    /// The embedding of one text.
    pub fn embed(&self, ids: &[u32]) -> Vec<f64> {
        let width = self.sizes.heads * HEAD;
        let (words, positions) = (
            self.tensor("embeddings.word_embeddings.weight"),
            self.tensor("embeddings.position_embeddings.weight"),
        );
        let row = |table: &[f32], i: usize| table[i * width..][..width].to_vec();
        let mut hidden: Vec<Vec<f64>> = ids
            .iter()
            .enumerate()
            .map(|(position, &id)| {
                let (word, position) = (row(words, id as usize), row(positions, position));
                word.iter().zip(position).map(|(w, p)| f64::from(*w) + f64::from(p)).collect()
            })
            .collect();
        self.norm("embeddings.LayerNorm", &mut hidden);
        for layer in 0..self.sizes.layers {
            let name = |part: &str| format!("encoder.layer.{layer}.{part}");
            let [q, k, v] = ["query", "key", "value"]
                .map(|part| self.linear(&name(&format!("attention.self.{part}")), &hidden));
            let context = attend(&q, &k, &v);
            add(&mut hidden, &self.linear(&name("attention.output.dense"), &context));
            self.norm(&name("attention.output.LayerNorm"), &mut hidden);
            let mut inner = self.linear(&name("intermediate.dense"), &hidden);
            inner.iter_mut().flatten().for_each(|x| *x *= 0.5 * (1.0 + erf(*x / 2f64.sqrt())));
            add(&mut hidden, &self.linear(&name("output.dense"), &inner));
            self.norm(&name("output.LayerNorm"), &mut hidden);
        }
        let sum: Vec<f64> = (0..width).map(|i| hidden.iter().map(|row| row[i]).sum()).collect();
        let length = sum.iter().map(|x| x * x).sum::<f64>().sqrt();
        sum.iter().map(|x| x / length).collect()
    }
}

fn add(rows: &mut [Vec<f64>], others: &[Vec<f64>]) {
    rows.iter_mut().flatten().zip(others.iter().flatten()).for_each(|(x, y)| *x += y);
}

fn attend(q: &[Vec<f64>], k: &[Vec<f64>], v: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let width = q[0].len();
    let mut context = vec![vec![0.0; width]; q.len()];
    for head in (0..width).step_by(HEAD) {
        for (query, out) in q.iter().zip(&mut context) {
            let dot = |key: &Vec<f64>| (head..head + HEAD).map(|i| query[i] * key[i]).sum::<f64>();
            let scores: Vec<f64> = k.iter().map(|key| dot(key) / (HEAD as f64).sqrt()).collect();
            let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let p: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
            let total: f64 = p.iter().sum();
            for i in head..head + HEAD {
                out[i] = p.iter().zip(v).map(|(p, value)| p * value[i]).sum::<f64>() / total;
            }
        }
    }
    context
}

/// The error function by its series, and by its continued fraction where that converges better.
fn erf(x: f64) -> f64 {
    let z = x.abs();
    let value = if z < 3.0 {
        let (mut term, mut sum) = (z, z);
        for n in 1..100 {
            term *= -z * z / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    } else {
        let fraction = (1..=60).rev().fold(z, |below, n| z + f64::from(n) / 2.0 / below);
        1.0 - (-z * z).exp() / fraction / std::f64::consts::PI.sqrt()
    };
    value.copysign(x)
}

/// Rounds rows to int8 with a scale each, and the values to what those stand for.
fn quantize(values: &mut [f32], columns: usize) -> Quantized {
    let (mut rows, mut scales) = (Vec::new(), Vec::new());
    for row in values.chunks_mut(columns) {
        let scale = row.iter().fold(0f32, |most, v| most.max(v.abs())) / 127.0;
        scales.push(scale);
        for value in row {
            let rounded = (*value / scale).round();
            rows.push(rounded as i8);
            *value = rounded * scale;
        }
    }
    (rows, scales)
}
