//! The ONNX file, run by tract: the one place that names it.
//!
//! Only the operators that the trained model uses are registered, so that the wasm build need not
//! carry all of ONNX; a model with another operator is refused by name.

use std::sync::Arc;

use tract_onnx::Onnx;
use tract_onnx::model::OnnxOpRegister;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::internal::{BinIntoHir, ElementWiseIntoHir, InferenceOp, bail, expand};
use tract_onnx::tract_hir::ops::{activations, array, cast, math, matmul, nn};

use crate::error::{Error, Result};

/// The network: token ids, distinct terms, surface features and perhaps an encoder's vector in, a description of the
/// query out.
pub(super) struct Network {
    plan: Arc<TypedRunnableModel>,
}

/// The outputs of the network, in the order of the file.
pub(super) struct Outputs {
    pub skills: Vec<f32>,
    pub difficulty: Vec<f32>,
    pub length: Vec<f32>,
    pub embedding: Vec<f32>,
}

impl Network {
    /// Loads and optimises an ONNX file.
    pub(super) fn new(file: &[u8]) -> Result<Self> {
        let load = || -> TractResult<Arc<TypedRunnableModel>> {
            let onnx = Onnx { op_register: operators(), ..Onnx::default() };
            onnx.model_for_read(&mut &file[..])?.into_optimized()?.into_runnable()
        };
        let plan = load().map_err(|e| Error::artifact("predictor", format!("{e:#}")))?;
        Ok(Network { plan })
    }

    /// Runs the network on token ids, distinct token ids and distinct pairs, at least one of each.
    pub(super) fn run(
        &self,
        ids: [&[i64]; 3],
        features: &[f32],
        embedding: Option<&[f32]>,
    ) -> Result<Outputs> {
        let run = || -> TractResult<Outputs> {
            let ids = ids.iter().map(|ids| tensor1(ids).into_tvalue());
            let numbers =
                [features].into_iter().chain(embedding).map(|numbers| tensor1(numbers).into_tvalue());
            let outputs = self.plan.run(ids.chain(numbers).collect())?;
            let [skills, difficulty, length, embedding] = &outputs[..] else {
                bail!("has {} outputs instead of four", outputs.len());
            };
            let values = |output: &TValue| -> TractResult<Vec<f32>> {
                Ok(output.try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
            };
            Ok(Outputs {
                skills: values(skills)?,
                difficulty: values(difficulty)?,
                length: values(length)?,
                embedding: values(embedding)?,
            })
        };
        run().map_err(|e| Error::artifact("predictor", format!("{e:#}")))
    }
}

type Built = TractResult<(Box<dyn InferenceOp>, Vec<String>)>;

#[allow(clippy::unnecessary_wraps, reason = "the shape that tract asks of a builder")]
fn built(op: Box<dyn InferenceOp>) -> Built {
    Ok((op, Vec::new()))
}

/// The operators of `models/train/export.py`, as ONNX 12 defines them.
fn operators() -> OnnxOpRegister {
    let mut ops = OnnxOpRegister::default();
    ops.insert("Add", |_, _| built(math::Add.into_hir()));
    ops.insert("Cast", |_, node| built(Box::new(cast::cast(node.get_attr::<DatumType>("to")?))));
    ops.insert("Concat", |_, node| built(expand(array::Concat::new(node.get_attr("axis")?))));
    ops.insert("Div", |_, _| built(math::Div.into_hir()));
    ops.insert("Gather", |_, node| {
        built(expand(array::Gather::new(node.get_attr_opt("axis")?.unwrap_or(0))))
    });
    ops.insert("MatMul", |_, _| built(expand(matmul::MatMulInference::default())));
    ops.insert("Mul", |_, _| built(math::Mul.into_hir()));
    ops.insert("ReduceMean", |_, node| reduce(node, nn::Reducer::Mean));
    ops.insert("ReduceSum", |_, node| reduce(node, nn::Reducer::Sum));
    ops.insert("Relu", |_, _| built(expand(activations::Clip::new(Some(0.0), None))));
    ops.insert("Reshape", |_, _| built(expand(array::Reshape::new(false))));
    ops.insert("Sqrt", |_, _| built(math::sqrt().into_hir()));
    ops.insert("Sub", |_, _| built(math::Sub.into_hir()));
    ops.insert("Tanh", |_, _| built(math::tanh().into_hir()));
    ops
}

fn reduce(node: &NodeProto, reducer: nn::Reducer) -> Built {
    let axes = node.get_attr_opt_vec("axes")?;
    let keep_dims = node.get_attr_opt("keepdims")?.unwrap_or(1_i64) == 1;
    built(expand(nn::Reduce::new(axes, keep_dims, reducer)))
}
