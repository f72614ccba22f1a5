"""predictor.onnx: token ids, distinct terms, features and perhaps an encoder's vector in, skills, difficulty, length and
embedding out.

The tables stay int8: rows are gathered first and cast after. Only plain operators, opset 12 (the last in which ReduceSum has
its axes as an attribute).
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fold import Folded
from lexical import Tables
from model import SQUASH
from text import FEATURES


def graph(table: np.ndarray, scale: np.ndarray, lexical: Tables, folded: Folded, directions: np.ndarray | None = None) -> onnx.ModelProto:
    """`table` [tokens, dimensions] int8, `scale` per dimension; without dimensions, token ids are taken and not used.
    `directions` [size, directions] of the encoder's vector; without them none is taken."""
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

    def rows(name: str, values: np.ndarray, ids: str) -> str:
        gathered = node("Gather", [constant(name, values), ids], name + "_rows", axis=0)
        return node("Cast", [gathered], name + "_rows_f32", to=TensorProto.FLOAT)

    def total(name: str) -> str:
        return node("ReduceSum", [name], name + "_sum", axes=[0], keepdims=1)

    pooled = [node("ReduceMean", [rows("table", table, "ids")], "pooled", axes=[0], keepdims=1)] if dimensions else []

    # A last column of ones counts the terms. Pairs add to the level and the count alone.
    def counted(name: str, values: np.ndarray, ids: str) -> str:
        return total(rows(name, np.hstack([values, np.ones((len(values), 1), np.int8)]), ids))

    scores = lexical.tokens.shape[1]
    widen = np.zeros((2, scores + 1))
    widen[0, 0] = widen[1, scores] = 1
    of_pairs = node("MatMul", [counted("pair_table", lexical.pairs, "pairs"), f32("widen", widen)], "pair_sums")
    sums = node("Add", [counted("term_table", lexical.tokens, "terms"), of_pairs], "term_sums")
    amount = node("MatMul", [sums, f32("count", np.eye(scores + 1)[:, scores:])], "term_count")
    sums = node("MatMul", [sums, f32("score", np.eye(scores + 1)[:, :scores])], "score_sums")
    words = node("Div", [sums, node("Sqrt", [amount], "term_norm")], "scores")
    surface = node("Reshape", ["features", constant("features_shape", np.array([1, len(FEATURES)], np.int64))], "surface")
    encoded, size = [], 0
    if directions is not None:
        size = len(directions)
        row = node("Reshape", ["encoder", constant("encoder_shape", np.array([1, size], np.int64))], "encoder_row")
        encoded = [node("MatMul", [row, f32("directions", directions)], "encoded")]
    inputs = node("Concat", [*pooled, surface, words, *encoded], "inputs", axis=1)

    # The tables' scales are part of the standardisation, and so is the division inside the squashing.
    unit = np.concatenate([scale, np.ones(len(FEATURES)), lexical.token_scale])
    unit = np.concatenate([unit, np.ones(len(folded.mean) - len(unit))])
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

    e = node("MatMul", [x, f32("embedding_weight", folded.embedding)], "embedding_row")
    sizes["embedding"] = folded.embedding.shape[1]
    flat(e, sizes["embedding"], "embedding")

    model = helper.make_model(
        helper.make_graph(
            nodes, "pennyroute-predictor",
            [helper.make_tensor_value_info(name, TensorProto.INT64, [size])
             for name, size in (("ids", "n"), ("terms", "t"), ("pairs", "p"))] + [
             helper.make_tensor_value_info(name, TensorProto.FLOAT, [size])
             for name, size in (("features", len(FEATURES)), *([("encoder", size)] if size else []))],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, [size]) for name, size in sizes.items()],
            constants),
        producer_name="pennyroute", opset_imports=[helper.make_opsetid("", 12)])
    model.ir_version = 7
    onnx.checker.check_model(model, full_check=True)
    assert dimensions + len(FEATURES) + scores + (directions.shape[1] if size else 0) == len(folded.mean)
    return model
