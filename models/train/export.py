"""predictor.onnx: ids and features in, skills, difficulty, length and embedding out.

The token table stays int8: rows are gathered first and cast after. Only plain operators, opset 13.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fold import SKILL_WEIGHT, Folded
from model import SQUASH
from text import FEATURES


def graph(table: np.ndarray, scale: np.ndarray, folded: Folded) -> onnx.ModelProto:
    """`table` [tokens, dimensions] int8, `scale` per dimension."""
    dimensions = table.shape[1]
    constants: list[onnx.TensorProto] = []
    nodes: list[onnx.NodeProto] = []

    def constant(name: str, value: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def f32(name: str, value: np.ndarray) -> str:
        return constant(name, np.asarray(value, np.float32))

    def node(operator: str, inputs: list[str], output: str, **attributes: object) -> str:
        nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def flat(name: str, size: int, output: str) -> str:
        return node("Reshape", [name, constant(output + "_shape", np.array([size], np.int64))], output)

    rows = node("Gather", [constant("table", table), "ids"], "rows", axis=0)
    rows = node("Cast", [rows], "rows_f32", to=TensorProto.FLOAT)
    pooled = node("ReduceMean", [rows], "pooled", axes=[0], keepdims=1)
    surface = node("Reshape", ["features", constant("features_shape", np.array([1, len(FEATURES)], np.int64))], "surface")
    inputs = node("Concat", [pooled, surface], "inputs", axis=1)

    # The table's scale is part of the standardisation, and so is the division inside the squashing.
    unit = np.concatenate([scale, np.ones(len(FEATURES))])
    x = node("Sub", [inputs, f32("mean", folded.mean / unit)], "centred")
    x = node("Mul", [x, f32("inverse_sd", folded.inverse_sd * unit / SQUASH)], "scaled")
    x = node("Tanh", [x], "squashed")
    x = node("Mul", [x, f32("squash", np.array([SQUASH]))], "x")
    W = node("Cast", [constant("W", folded.W[1:])], "W_f32", to=TensorProto.FLOAT)
    h = node("Add", [node("MatMul", [x, W], "hidden_linear"), f32("W_bias", folded.W[0])], "hidden_shifted")
    h = node("Relu", [h], "hidden")
    g = node("MatMul", [x, f32("groups", folded.groups[1:] / 2)], "groups_linear")
    g = node("Tanh", [node("Add", [g, f32("groups_bias", folded.groups[0] / 2)], "groups_shifted")], "group_units")
    h = node("Concat", [h, g], "units", axis=1)

    sizes = {}
    for name, weights in (("skills", folded.skills), ("difficulty", folded.difficulty), ("length", folded.lengths)):
        y = node("MatMul", [h, f32(name + "_weight", weights[1:])], name + "_linear")
        y = node("Add", [y, f32(name + "_bias", weights[0])], name + "_row")
        sizes[name] = weights.shape[1]
        flat(y, sizes[name], name)

    e = node("MatMul", [x, f32("embedding_weight", folded.embedding)], "e_inputs")
    weighted = node("Mul", ["skills_row", f32("skill_weight", np.array([SKILL_WEIGHT]))], "e_skills")
    e = node("Concat", [e, weighted], "e", axis=1)
    norm = node("Add", [node("ReduceL2", [e], "e_norm", axes=[1], keepdims=1), f32("tiny", np.array([1e-6]))], "e_length")
    sizes["embedding"] = folded.embedding.shape[1] + sizes["skills"]
    flat(node("Div", [e, norm], "e_unit"), sizes["embedding"], "embedding")

    model = helper.make_model(
        helper.make_graph(
            nodes, "pennyroute-predictor",
            [helper.make_tensor_value_info("ids", TensorProto.INT64, ["n"]),
             helper.make_tensor_value_info("features", TensorProto.FLOAT, [len(FEATURES)])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, [size]) for name, size in sizes.items()],
            constants),
        producer_name="pennyroute", opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    assert dimensions + len(FEATURES) == len(folded.mean)
    return model
