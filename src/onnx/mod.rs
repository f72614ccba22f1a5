//! ONNX files, run by tract: the one place that names it.
//!
//! Only the operators that our networks use are registered, so that the wasm build need not carry all of
//! ONNX; a file with another operator is refused by name.

mod fused;
mod kernels;
mod operators;

use std::collections::BTreeMap;
use std::sync::Arc;

use tract_onnx::Onnx;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::internal::{InferenceOp, ensure};

use crate::error::{Error, Result};

/// What tract asks of a builder of operators.
type Built = TractResult<(Box<dyn InferenceOp>, Vec<String>)>;

/// One input of a network: a vector.
pub enum Input<'a> {
    Ids(&'a [i64]),
    Numbers(&'a [f32]),
}

/// A network, ready to run.
pub struct Network {
    /// What it is called in errors.
    name: &'static str,
    /// The rows of its tables, by their names in the file.
    rows: BTreeMap<String, usize>,
    plan: Arc<TypedRunnableModel>,
}

impl Network {
    /// Loads and optimises an ONNX file; `name` is what errors call it.
    pub fn new(name: &'static str, file: &[u8]) -> Result<Self> {
        let load = || -> TractResult<Network> {
            let onnx = Onnx { op_register: operators::register(), ..Onnx::default() };
            let proto = onnx.proto_model_for_read(&mut &file[..])?;
            let constants = proto.graph.iter().flat_map(|graph| &graph.initializer);
            let tables = constants.filter(|constant| constant.dims.len() == 2);
            let rows = tables.map(|table| (table.name.clone(), table.dims[0] as usize)).collect();
            let plan = onnx.model_for_proto_model(&proto)?.into_optimized()?.into_runnable()?;
            Ok(Network { name, rows, plan })
        };
        load().map_err(|e| Error::artifact(name, format!("{e:#}")))
    }

    /// The rows of a table of the file: ids below that many can be looked up there, and tract panics at any other.
    pub fn rows(&self, table: &str) -> Result<usize> {
        let rows = self.rows.get(table).copied();
        rows.ok_or_else(|| Error::artifact(self.name, format!("has no table `{table}`")))
    }

    /// Runs the network on its inputs and gives its `N` outputs, each a vector of float32.
    pub fn run<const N: usize>(&self, inputs: &[Input]) -> Result<[Vec<f32>; N]> {
        let run = || -> TractResult<[Vec<f32>; N]> {
            let tensor = |input: &Input| match input {
                Input::Ids(ids) => tensor1(ids).into_tvalue(),
                Input::Numbers(numbers) => tensor1(numbers).into_tvalue(),
            };
            let outputs = self.plan.run(inputs.iter().map(tensor).collect())?;
            ensure!(outputs.len() == N, "has {} outputs instead of {N}", outputs.len());
            let mut vectors = std::array::from_fn(|_| Vec::new());
            for (vector, output) in vectors.iter_mut().zip(&outputs) {
                *vector = output.try_as_plain_ram()?.as_slice::<f32>()?.to_vec();
            }
            Ok(vectors)
        };
        run().map_err(|e| Error::artifact(self.name, format!("{e:#}")))
    }
}
