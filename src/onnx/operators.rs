//! The operators of `models/train/export.py` (as ONNX 12 defines them) and `models/train/encoder.py` (ONNX 23, and its own functions).

use tract_onnx::model::{OnnxOpRegister, ParsingContext};
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::*;
use tract_onnx::tensor::load_tensor;
use tract_onnx::tract_hir::internal::{
    BinIntoHir, ElementWiseIntoHir, Expansion, InferenceOp, InferenceResult, InferenceRulesOp, Solver,
    StaticName, TensorProxy, TractErrorContext, expand,
};
use tract_onnx::tract_hir::ops::{activations, array, cast, math, matmul, nn};

use super::{Built, fused};

pub(super) fn register() -> OnnxOpRegister {
    let mut ops = OnnxOpRegister::default();
    ops.insert("Add", |_, _| built(math::Add.into_hir()));
    ops.insert("Cast", |_, node| built(Box::new(cast::cast(node.get_attr::<DatumType>("to")?))));
    ops.insert("Concat", |_, node| built(expand(array::Concat::new(node.get_attr("axis")?))));
    ops.insert("Div", |_, _| built(math::Div.into_hir()));
    ops.insert("Gather", |_, node| {
        built(expand(array::Gather::new(node.get_attr_opt("axis")?.unwrap_or(0))))
    });
    ops.insert("Gelu", fused::gelu);
    ops.insert("MatMul", |_, _| built(expand(matmul::MatMulInference::default())));
    ops.insert("Mul", |_, _| built(math::Mul.into_hir()));
    ops.insert("QuantizedLinear", fused::quantized_linear);
    ops.insert("RaggedAttention", fused::ragged_attention);
    ops.insert("RaggedMean", fused::ragged_mean);
    ops.insert("ReduceL2", |context, node| reduce(context, node, nn::Reducer::L2));
    ops.insert("ReduceMean", |context, node| reduce(context, node, nn::Reducer::Mean));
    ops.insert("ReduceSum", |context, node| reduce(context, node, nn::Reducer::Sum));
    ops.insert("Relu", |_, _| built(expand(activations::Clip::new(Some(0.0), None))));
    ops.insert("Reshape", |_, _| built(expand(array::Reshape::new(false))));
    ops.insert("SkipLayerNormalization", fused::skip_layer_normalization);
    ops.insert("Sqrt", |_, _| built(math::sqrt().into_hir()));
    ops.insert("Sub", |_, _| built(math::Sub.into_hir()));
    ops.insert("Tanh", |_, _| built(math::tanh().into_hir()));
    ops.insert("Unsqueeze", |context, node| {
        let axes = axes(context, node)?.into_iter().map(|axis| axis as isize).collect();
        built(first_alone(array::AddDims::new(axes)))
    });
    ops
}

#[allow(clippy::unnecessary_wraps, reason = "the shape that tract asks of a builder")]
fn built(op: Box<dyn InferenceOp>) -> Built {
    Ok((op, Vec::new()))
}

fn reduce(context: &ParsingContext, node: &NodeProto, reducer: nn::Reducer) -> Built {
    let keep_dims = node.get_attr_opt("keepdims")?.unwrap_or(1_i64) == 1;
    // Axes were an attribute once.
    match node.get_attr_opt_vec("axes")? {
        Some(axes) => built(expand(nn::Reduce::new(Some(axes), keep_dims, reducer))),
        None => built(first_alone(nn::Reduce::new(Some(axes(context, node)?), keep_dims, reducer))),
    }
}

/// The second input, which has to be a constant of the file.
fn axes(context: &ParsingContext, node: &NodeProto) -> TractResult<Vec<i64>> {
    let name = node.input.get(1).with_context(|| format!("{} has no axes", node.op_type))?;
    let constants = context.model.graph.iter().flat_map(|graph| &graph.initializer);
    let proto = constants.into_iter().find(|constant| constant.name == *name);
    let proto = proto.with_context(|| format!("the axes `{name}` are not constant"))?;
    let tensor = load_tensor(&*context.framework.provider, proto, context.model_dir)?;
    Ok(tensor.try_as_plain_ram()?.as_slice::<i64>()?.to_vec())
}

/// An operator that knows its other inputs already.
fn first_alone(op: impl Expansion) -> Box<dyn InferenceOp> {
    expand(FirstAlone(Box::new(op)))
}

#[derive(Debug, Clone)]
struct FirstAlone(Box<dyn Expansion>);

impl Expansion for FirstAlone {
    fn name(&self) -> StaticName {
        self.0.name()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        self.0.rules(s, &inputs[..1], outputs)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        self.0.wire(prefix, model, &inputs[..1])
    }
}
