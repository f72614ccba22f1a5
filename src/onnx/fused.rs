//! Operators of a transformer that tract runs by kernels of our own: tract's are made of several passes each, and
//! it multiplies weights of 8 bits in float32 (in wasm, twice as slowly as the same network in 32 bits).
//!
//! All but `Gelu`, which is ONNX's, are functions of `models/train/encoder.py`, whose bodies other runtimes use. Ragged: rows of
//! several texts one after another, and `ends [t]`, where each text ends, ascending to the number of rows.

use std::sync::Arc;

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::internal::{
    DimLike, EvalContext, EvalOp, Expansion, InferenceResult, Solver, StaticName, TensorProxy,
    TractErrorContext, as_op, check_input_arity, check_output_arity, ensure, expand, format_err,
    op_as_typed_op, op_out_of_plan,
};

use super::Built;
use super::kernels::{self, Linear};

/// `QuantizedLinear(x [n, k], weight int8 [m, k], scale [m], bias [m])`, as `kernels::linear` has it.
pub(super) fn quantized_linear(_: &ParsingContext, _: &NodeProto) -> Built {
    built(Kind::QuantizedLinear, 4)
}

/// `SkipLayerNormalization(x [n, k], skip [n, k], scale [k], bias [k])`: the layer norm of rows of x + skip.
pub(super) fn skip_layer_normalization(_: &ParsingContext, node: &NodeProto) -> Built {
    built(Kind::SkipLayerNorm { epsilon: node.get_attr("epsilon")? }, 4)
}

/// `Gelu(x)`, the exact one.
pub(super) fn gelu(_: &ParsingContext, node: &NodeProto) -> Built {
    let approximate: Option<String> = node.get_attr_opt("approximate")?;
    ensure!(approximate.is_none_or(|how| how == "none"), "Gelu is known only as the exact one");
    built(Kind::Gelu, 1)
}

/// `RaggedAttention(qkv [n, 3 · width], ends)`, as `kernels::attention` has it.
pub(super) fn ragged_attention(_: &ParsingContext, node: &NodeProto) -> Built {
    built(Kind::RaggedAttention { heads: node.get_attr("num_heads")? }, 2)
}

/// `RaggedMean(x [n, width], ends)`: the mean of each text's rows, `[t, width]`.
pub(super) fn ragged_mean(_: &ParsingContext, _: &NodeProto) -> Built {
    built(Kind::RaggedMean, 2)
}

#[allow(clippy::unnecessary_wraps, reason = "the shape that tract asks of a builder")]
fn built(kind: Kind, inputs: usize) -> Built {
    Ok((expand(Node { kind, inputs }), Vec::new()))
}

/// A node before its constants are known.
#[derive(Debug, Clone)]
struct Node {
    kind: Kind,
    inputs: usize,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    QuantizedLinear,
    SkipLayerNorm { epsilon: f32 },
    Gelu,
    RaggedAttention { heads: usize },
    RaggedMean,
}

impl Expansion for Node {
    fn name(&self) -> StaticName {
        format!("{:?}", self.kind).into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, self.inputs)?;
        check_output_arity(outputs, 1)?;
        s.equals(&inputs[0].datum_type, f32::datum_type())?;
        s.equals(&outputs[0].datum_type, f32::datum_type())?;
        match self.kind {
            Kind::Gelu => s.equals(&outputs[0].shape, &inputs[0].shape),
            Kind::SkipLayerNorm { .. } => {
                s.equals(&inputs[1].datum_type, f32::datum_type())?;
                s.equals(&inputs[1].shape, &inputs[0].shape)?;
                s.equals(&outputs[0].shape, &inputs[0].shape)
            }
            Kind::QuantizedLinear => {
                s.equals(&inputs[0].rank, 2)?;
                s.equals(&inputs[1].rank, 2)?;
                s.equals(&outputs[0].rank, 2)?;
                s.equals(&inputs[0].shape[1], &inputs[1].shape[1])?;
                s.equals(&outputs[0].shape[0], &inputs[0].shape[0])?;
                s.equals(&outputs[0].shape[1], &inputs[1].shape[0])
            }
            Kind::RaggedAttention { .. } | Kind::RaggedMean => {
                s.equals(&inputs[0].rank, 2)?;
                s.equals(&inputs[1].rank, 1)?;
                s.equals(&inputs[1].datum_type, i64::datum_type())?;
                s.equals(&outputs[0].rank, 2)?;
                if let Kind::RaggedMean = self.kind {
                    s.equals(&outputs[0].shape[0], &inputs[1].shape[0])?;
                    return s.equals(&outputs[0].shape[1], &inputs[0].shape[1]);
                }
                s.equals(&outputs[0].shape[0], &inputs[0].shape[0])?;
                s.given(&inputs[0].shape[1], |s, width| s.equals(&outputs[0].shape[1], width / 3))
            }
        }
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let constant = |i: usize| -> TractResult<Arc<Tensor>> {
            let konst = model.outlet_fact(inputs[i])?.konst.clone();
            konst.with_context(|| format!("input {i} of {prefix} is not constant"))
        };
        let floats = |i: usize| -> TractResult<Vec<f32>> {
            Ok(constant(i)?.try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
        };
        let width = || -> TractResult<usize> {
            let fact = model.outlet_fact(inputs[0])?;
            let width = fact.shape.last().context("a scalar has no last axis")?.to_usize()?;
            ensure!(width > 0, "{prefix} is given empty rows");
            Ok(width)
        };
        let (op, inputs) = match self.kind {
            Kind::QuantizedLinear => {
                let weight = constant(1)?;
                let weight = weight.try_as_plain_ram()?;
                let linear = Linear::new(weight.as_slice::<i8>()?, &floats(2)?, &floats(3)?);
                let linear = linear.map_err(|what| format_err!("{prefix}: {what}"))?;
                ensure!(width()? == linear.inputs(), "{prefix} takes rows of {}", linear.inputs());
                (Fused::Linear(Arc::new(linear)), &inputs[..1])
            }
            Kind::SkipLayerNorm { epsilon } => {
                let (scale, shift) = (floats(2)?, floats(3)?);
                ensure!(
                    scale.len() == width()? && shift.len() == scale.len(),
                    "{prefix} takes rows of {}",
                    scale.len()
                );
                (Fused::SkipLayerNorm { scale: scale.into(), shift: shift.into(), epsilon }, &inputs[..2])
            }
            Kind::Gelu => (Fused::Gelu, inputs),
            Kind::RaggedAttention { heads } => {
                let joined = width()?;
                let width = joined / 3;
                let head = width / heads.max(1);
                ensure!(
                    head > 0 && head.is_multiple_of(kernels::HEAD_MULTIPLE) && head * heads * 3 == joined,
                    "{prefix}: a third of {joined} is not {heads} heads of a multiple of {} numbers",
                    kernels::HEAD_MULTIPLE
                );
                (Fused::RaggedAttention { width, heads }, inputs)
            }
            Kind::RaggedMean => (Fused::RaggedMean { width: width()? }, inputs),
        };
        model.wire_node(prefix, op, inputs)
    }
}

/// A node with its constants.
#[derive(Debug, Clone, PartialEq)]
enum Fused {
    Linear(Arc<Linear>),
    SkipLayerNorm { scale: Arc<[f32]>, shift: Arc<[f32]>, epsilon: f32 },
    Gelu,
    RaggedAttention { width: usize, heads: usize },
    RaggedMean { width: usize },
}

// tract compares operators to merge equal ones; none of the constants is NaN in a file that works.
impl Eq for Fused {}

impl Op for Fused {
    fn name(&self) -> StaticName {
        let name = match self {
            Fused::Linear(_) => "QuantizedLinear",
            Fused::SkipLayerNorm { .. } => "SkipLayerNormalization",
            Fused::Gelu => "Gelu",
            Fused::RaggedAttention { .. } => "RaggedAttention",
            Fused::RaggedMean { .. } => "RaggedMean",
        };
        name.into()
    }

    op_as_typed_op!();
}

impl EvalOp for Fused {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, mut inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let out = match self {
            Fused::Linear(linear) => {
                let mut out = Tensor::zero::<f32>(&[inputs[0].shape()[0], linear.outputs()])?;
                let x = inputs[0].try_as_plain_ram()?;
                linear.apply(x.as_slice::<f32>()?, out.try_as_plain_ram_mut()?.as_slice_mut::<f32>()?);
                out
            }
            Fused::RaggedAttention { width, heads } => {
                let ends = ends(&inputs)?;
                let mut out = Tensor::zero::<f32>(&[inputs[0].shape()[0], *width])?;
                let qkv = inputs[0].try_as_plain_ram()?;
                let mut into = out.try_as_plain_ram_mut()?;
                kernels::attention(
                    qkv.as_slice::<f32>()?,
                    &ends,
                    *width,
                    *heads,
                    into.as_slice_mut::<f32>()?,
                );
                out
            }
            Fused::RaggedMean { width } => {
                let ends = ends(&inputs)?;
                let mut out = Tensor::zero::<f32>(&[ends.len(), *width])?;
                let x = inputs[0].try_as_plain_ram()?;
                kernels::mean(
                    x.as_slice::<f32>()?,
                    &ends,
                    out.try_as_plain_ram_mut()?.as_slice_mut::<f32>()?,
                );
                out
            }
            Fused::SkipLayerNorm { scale, shift, epsilon } => {
                let mut x = inputs.remove(0).into_tensor();
                let skip = inputs[0].try_as_plain_ram()?;
                let mut into = x.try_as_plain_ram_mut()?;
                let skip = skip.as_slice::<f32>()?;
                kernels::skip_layer_norm(into.as_slice_mut::<f32>()?, skip, scale, shift, *epsilon);
                x
            }
            Fused::Gelu => {
                let mut x = inputs.remove(0).into_tensor();
                kernels::gelu(x.try_as_plain_ram_mut()?.as_slice_mut::<f32>()?);
                x
            }
        };
        Ok(tvec!(out.into_tvalue()))
    }
}

impl TypedOp for Fused {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let mut fact = inputs[0].without_value();
        match self {
            Fused::Linear(linear) => fact.shape.set(1, linear.outputs().to_dim()),
            Fused::RaggedAttention { width, .. } => fact.shape.set(1, width.to_dim()),
            Fused::RaggedMean { .. } => fact.shape.set(0, inputs[1].shape[0].clone()),
            Fused::SkipLayerNorm { .. } | Fused::Gelu => {}
        }
        Ok(tvec!(fact))
    }

    as_op!();
}

/// Where the texts end in a ragged node's rows: its second input, checked, since the kernels rely on it.
fn ends(inputs: &[TValue]) -> TractResult<Vec<usize>> {
    let given = inputs[1].try_as_plain_ram()?;
    let ends: Vec<usize> =
        given.as_slice::<i64>()?.iter().map(|&end| usize::try_from(end)).collect::<Result<_, _>>()?;
    let rows = inputs[0].shape()[0];
    ensure!(
        ends.is_sorted_by(|a, b| a < b) && ends.first() != Some(&0) && ends.last() == Some(&rows),
        "the ends of texts, {ends:?}, do not ascend to {rows}"
    );
    Ok(ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_ascend_to_the_last_row() {
        let rows = Tensor::zero::<f32>(&[3, 2]).unwrap().into_tvalue();
        let checked = |given: &[i64]| ends(&[rows.clone(), tensor1(given).into_tvalue()]);
        assert_eq!(checked(&[1, 3]).unwrap(), [1, 3]);
        for bad in [&[][..], &[2], &[4], &[0, 3], &[2, 2, 3], &[2, 1, 3], &[-1, 3], &[3 + (1 << 32)]] {
            assert!(checked(bad).is_err(), "{bad:?}");
        }
    }
}
