//! The packed file of an encoder (`encoder.safetensors`) in the layouts that the shaders read.
//!
//! Tensors have the names of Hugging Face's BERT. A linear layer's weight is `[outputs, inputs]`, f32 or int8
//! with `NAME.scale` beside it, one scale per output; the shaders read it transposed, `[inputs][outputs]`, four
//! outputs to an element. The word table is int8 with one scale per row, or f32.

use half::f16;
use safetensors::{Dtype, SafeTensors};

use crate::error::{Error, Result};

const FILE: &str = "encoder.safetensors";

/// What `unpack4x8snorm` divides an int8 by; scales are multiplied by it in turn.
const SNORM: f32 = 127.0;

/// Dimensions of one attention head, which the attention shader is written for.
pub(super) const HEAD: usize = 32;

/// In what format the weights of the matrix products are kept on the GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// Eight bits with a scale per output, as in the file.
    Int8,
    /// Half precision, from a float32 file.
    F16,
    /// Single precision, from a float32 file where the adapter has no f16.
    F32,
}

impl Precision {
    /// The name in receipts: `int8`, `f16` or `f32`.
    pub fn name(self) -> &'static str {
        match self {
            Precision::Int8 => "int8",
            Precision::F16 => "f16",
            Precision::F32 => "f32",
        }
    }

    /// Bytes of one weight.
    pub(super) fn bytes(self) -> usize {
        match self {
            Precision::Int8 => 1,
            Precision::F16 => 2,
            Precision::F32 => 4,
        }
    }
}

/// The sizes of an encoder.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shape {
    pub layers: usize,
    pub heads: usize,
    /// Length of a hidden state, and of an embedding: `heads × HEAD`.
    pub width: usize,
    /// Length of a hidden state between the two layers of a feed-forward block.
    pub inner: usize,
    pub words: usize,
    /// The most tokens of a text.
    pub positions: usize,
    /// Added to variances in layer norms.
    pub epsilon: f32,
    pub int8: bool,
}

/// An opened file: its header is understood, its tensors are checked as they are read.
pub(super) struct Weights<'a> {
    tensors: SafeTensors<'a>,
    pub shape: Shape,
}

/// A table of weights with what scales its outputs, or its rows.
pub(super) struct Table {
    pub weight: Vec<u8>,
    pub scale: Vec<f32>,
}

fn bad(what: impl ToString) -> Error {
    Error::artifact(FILE, what)
}

impl<'a> Weights<'a> {
    /// Reads the header of a file.
    pub fn open(file: &'a [u8]) -> Result<Self> {
        let (_, header) = SafeTensors::read_metadata(file).map_err(bad)?;
        let metadata = header.metadata().as_ref().ok_or_else(|| bad("has no metadata"))?;
        let field = |name: &str| {
            metadata
                .get(name)
                .ok_or_else(|| bad(format!("metadata has no field `{name}`")))
                .map(String::as_str)
        };
        let count = |name: &str| {
            let value = field(name)?;
            let count = value.parse().ok().filter(|n| (1..=1000).contains(n));
            count.ok_or_else(|| bad(format!("metadata `{name}`: {value} is not a number from 1 to 1000")))
        };
        let (layers, heads) = (count("layers")?, count("heads")?);
        let epsilon = field("epsilon")?;
        let epsilon: f32 = epsilon
            .parse()
            .ok()
            .filter(|e| (0.0..=1.0).contains(e))
            .ok_or_else(|| bad(format!("metadata `epsilon`: {epsilon} is not a number from 0 to 1")))?;
        let int8 = match field("precision")? {
            "int8" => true,
            "float32" => false,
            other => return Err(bad(format!("metadata `precision`: {other} is neither int8 nor float32"))),
        };
        let tensors = SafeTensors::deserialize(file).map_err(bad)?;
        let matrix = |name: &str| {
            let tensor = tensors.tensor(name).map_err(|_| bad(format!("has no tensor `{name}`")))?;
            match *tensor.shape() {
                [rows, columns] if rows > 0 && columns > 0 => Ok((rows, columns)),
                ref shape => Err(bad(format!("`{name}`: {shape:?} is not the shape of a matrix"))),
            }
        };
        let (words, width) = matrix(WORDS)?;
        let (positions, _) = matrix(POSITIONS)?;
        let (inner, _) = matrix("encoder.layer.0.intermediate.dense.weight")?;
        if width != heads * HEAD {
            return Err(bad(format!(
                "{heads} heads in {width} dimensions: this encoder takes heads of {HEAD}"
            )));
        }
        if inner % HEAD != 0 {
            return Err(bad(format!("feed-forward blocks of {inner}: must be a multiple of {HEAD}")));
        }
        Ok(Weights { tensors, shape: Shape { layers, heads, width, inner, words, positions, epsilon, int8 } })
    }

    /// The bytes of a tensor of that type and shape.
    fn bytes(&self, name: &str, dtype: Dtype, shape: &[usize]) -> Result<&'a [u8]> {
        let tensor = self.tensors.tensor(name).map_err(|_| bad(format!("has no tensor `{name}`")))?;
        if tensor.dtype() != dtype || tensor.shape() != shape {
            let (found, at) = (tensor.dtype(), tensor.shape());
            return Err(bad(format!("`{name}`: is {found:?} {at:?}, must be {dtype:?} {shape:?}")));
        }
        Ok(tensor.data())
    }

    /// A tensor of f32, all finite.
    pub fn floats(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let bytes = self.bytes(name, Dtype::F32, shape)?;
        let floats: Vec<f32> = bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        match floats.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(bad(format!("`{name}`: number {at} is {}", floats[at]))),
            None => Ok(floats),
        }
    }

    fn scales(&self, name: &str, rows: usize) -> Result<Vec<f32>> {
        let scales = self.floats(&format!("{name}.scale"), &[rows])?;
        Ok(scales.into_iter().map(|scale| scale * SNORM).collect())
    }

    /// The word table, row by row, and a scale for each.
    pub fn words(&self, precision: Precision) -> Result<Table> {
        let Shape { words, width, .. } = self.shape;
        if precision == Precision::Int8 {
            let weight = self.bytes(WORDS, Dtype::I8, &[words, width])?.to_vec();
            return Ok(Table { weight, scale: self.scales(WORDS, words)? });
        }
        let floats = self.floats(WORDS, &[words, width])?;
        Ok(Table { weight: stored(WORDS, &floats, precision)?, scale: vec![1.0; words] })
    }

    /// Position rows, `[positions × width]`.
    pub fn positions(&self) -> Result<Vec<f32>> {
        self.floats(POSITIONS, &[self.shape.positions, self.shape.width])
    }

    /// Gamma and beta of a layer norm, one after the other.
    pub fn norm(&self, name: &str) -> Result<Vec<f32>> {
        let mut both = self.floats(&format!("{name}.weight"), &[self.shape.width])?;
        both.extend(self.floats(&format!("{name}.bias"), &[self.shape.width])?);
        Ok(both)
    }

    /// Linear layers of the same inputs as one: the weights `[inputs][all outputs]`, and the scales of all
    /// outputs, then their biases.
    pub fn linear(
        &self,
        names: &[String],
        inputs: usize,
        outputs: usize,
        precision: Precision,
    ) -> Result<Table> {
        let all = outputs * names.len();
        let mut weight = vec![0; inputs * all * precision.bytes()];
        let (mut scale, mut biases) = (Vec::with_capacity(2 * all), Vec::with_capacity(all));
        for (part, name) in names.iter().enumerate() {
            biases.extend(self.floats(&format!("{name}.bias"), &[outputs])?);
            let name = format!("{name}.weight");
            let first = part * outputs;
            match precision {
                Precision::Int8 => {
                    let rows = self.bytes(&name, Dtype::I8, &[outputs, inputs])?;
                    transpose::<1>(rows, inputs, &mut weight, first, all);
                    scale.extend(self.scales(&name, outputs)?);
                }
                Precision::F16 | Precision::F32 => {
                    let rows = stored(&name, &self.floats(&name, &[outputs, inputs])?, precision)?;
                    if precision == Precision::F16 {
                        transpose::<2>(&rows, inputs, &mut weight, first, all);
                    } else {
                        transpose::<4>(&rows, inputs, &mut weight, first, all);
                    }
                    scale.extend(vec![1.0; outputs]);
                }
            }
        }
        scale.extend(biases);
        Ok(Table { weight, scale })
    }
}

const WORDS: &str = "embeddings.word_embeddings.weight";
const POSITIONS: &str = "embeddings.position_embeddings.weight";

/// Floats in the format in which they are kept.
fn stored(name: &str, floats: &[f32], precision: Precision) -> Result<Vec<u8>> {
    if precision == Precision::F32 {
        return Ok(floats.iter().flat_map(|value| value.to_le_bytes()).collect());
    }
    let mut bytes = Vec::with_capacity(2 * floats.len());
    for &value in floats {
        let short = f16::from_f32(value);
        if !short.is_finite() {
            return Err(bad(format!("`{name}`: {value} is beyond half precision")));
        }
        bytes.extend(short.to_le_bytes());
    }
    Ok(bytes)
}

/// Writes rows of `inputs` elements of `SIZE` bytes as columns `first…` of a table of `all` columns.
fn transpose<const SIZE: usize>(rows: &[u8], inputs: usize, table: &mut [u8], first: usize, all: usize) {
    let (rows, table) = (rows.as_chunks::<SIZE>().0, table.as_chunks_mut::<SIZE>().0);
    // Sixteen rows at a time, so that what is written of a row of the table lies in one line of the cache.
    for (block, rows) in rows.chunks(16 * inputs).enumerate() {
        for input in 0..inputs {
            let at = input * all + first + block * 16;
            for (to, row) in table[at..].iter_mut().zip(rows.chunks_exact(inputs)) {
                *to = row[input];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_beside_each_other_are_transposed_into_one_table() {
        let rows: Vec<u8> = (0..20 * 3).collect();
        let mut table = vec![0; 3 * 25];
        transpose::<1>(&rows, 3, &mut table, 5, 25);
        for (input, output) in [(0, 0), (2, 0), (1, 17), (2, 19)] {
            assert_eq!(usize::from(table[input * 25 + 5 + output]), output * 3 + input);
        }
        assert_eq!(table[..5], [0; 5]);
    }

    #[test]
    fn numbers_beyond_half_precision_are_refused() {
        assert!(stored("w", &[65504.0, -1e-9], Precision::F16).is_ok());
        assert_eq!(stored("w", &[1e6], Precision::F16).unwrap_err().code(), "bad_artifact");
    }
}
