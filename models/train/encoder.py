"""The encoder: all-MiniLM-L6-v2 as an ONNX file for tract and as packed tensors for the GPU, with vocabulary and manifest.

    python models/train/encoder.py [--precision int8|float32] [--out models/train/out/encoder]
    python models/train/encoder.py --reference TEXTS OUT [--count N] [--out ENCODER]

The first writes the artifacts and measures them against float32. The second writes what tests hold every path to: token ids
and onnxruntime's embeddings of the texts of a .jsonl or .jsonl.gz file (field `text`), all or N evenly spread ones:

    OUT/texts.jsonl    the texts that were taken
    OUT/ids.json       one list of token ids per text
    OUT/float32.bin    [texts, 384] little-endian float32, of elementary float32 operators
    OUT/int8.bin       the same of ENCODER/encoder.onnx, which has to be there

In int8, weights are symmetric (-127 to 127) with one scale per output channel (rounding.py); word rows have one each. All else,
activations included, is float32 in the file. A linear layer is the function `pennyroute::QuantizedLinear`, whose body is made
of standard operators: a runtime that knows the name runs a kernel of its own, any other runs the body.
"""

import argparse
import gzip
import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save

import rounding
import weights as minilm
from weights import HEADS

HERE = Path(__file__).resolve().parent
CACHE = HERE / "out"
ROUNDED_ON = HERE / "chat_anchors.jsonl"
FIXTURE = HERE.parents[1] / "tests/fixtures/encoder-texts.jsonl"
REVISION = 1  # of the artifacts, a part of their version
MAX_TOKENS = 256  # [CLS] and [SEP] included: what the model's publishers cut at
CLS, SEP = 101, 102
EPSILON = 1e-12
OPSET, DOMAIN = 23, "pennyroute"
WORDS, POSITIONS = "embeddings.word_embeddings.weight", "embeddings.position_embeddings.weight"
TOKEN_TYPES = "embeddings.token_type_embeddings.weight"


def packed(cache: Path, precision: str) -> tuple[dict[str, np.ndarray], int]:
    """The tensors to ship, by their Hugging Face names, and the number of layers. Where one is int8, NAME.scale is beside it.

    All texts are of token type 0, so that its row is a part of the positions.
    """
    tensors, layers = minilm.tensors(cache)
    tensors = {name: value for name, value in tensors.items() if name.startswith(("embeddings.", "encoder."))}
    tensors[POSITIONS] = tensors[POSITIONS] + tensors.pop(TOKEN_TYPES)[0]
    if precision == "int8":
        for name, hessian in hessians(cache, tensors, layers).items():
            tensors[name], tensors[name + ".scale"] = rounding.compensated(tensors[name], hessian)
        tensors[WORDS], tensors[WORDS + ".scale"] = rounding.nearest(tensors[WORDS])
    return {name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}, layers


def hessians(cache: Path, tensors: dict[str, np.ndarray], layers: int) -> dict[str, np.ndarray]:
    """Σ xᵀx of what goes into each linear layer, by the name of its weight, over texts of our own that all count alike."""
    model = graph(tensors, layers)
    inputs = {node.input[1]: node.input[0] for node in model.graph.node if node.op_type == "MatMul"}
    names = sorted(set(inputs.values()))
    model.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    session, sums = Session(model).session, dict.fromkeys(names, np.float32(0))
    for ids in tokenize(cache, ["", *texts_of(ROUNDED_ON, None)]):
        for name, x in zip(names, session.run(names, {"input_ids": np.array(ids, np.int64)})):
            sums[name] = sums[name] + x.T @ x / len(x)
    return {weight: sums[name] for weight, name in inputs.items()}


def graph(tensors: dict[str, np.ndarray], layers: int) -> onnx.ModelProto:
    """`input_ids` int64 [n], [CLS] and [SEP] included, to `embedding` float32 [384] of unit length."""
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, onnx.TensorProto] = {}
    quantized = any(value.dtype == np.int8 for value in tensors.values())

    def node(operator: str, *inputs: str, **attributes: object) -> str:
        name = f"{operator}_{len(nodes)}"
        nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def constant(name: str, value: np.ndarray | None = None) -> str:
        value = tensors[name] if value is None else value
        constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def axis(number: int) -> str:
        return constant(f"axis_{number}", np.array([number], np.int64))

    def rows(name: str, ids: str) -> str:
        """Rows of a table, of which only those that are asked for become float32."""
        gathered = node("Gather", constant(name), ids)
        if not quantized:
            return gathered
        scale = node("Unsqueeze", node("Gather", constant(name + ".scale"), ids), axis(1))
        return node("Mul", node("Cast", gathered, to=TensorProto.FLOAT), scale)

    def linear(name: str, x: str) -> str:
        weight, bias = name + ".weight", constant(name + ".bias")
        if quantized:
            return node("QuantizedLinear", x, constant(weight), constant(weight + ".scale"), bias, domain=DOMAIN)
        return node("Add", node("MatMul", x, constant(weight, tensors[weight].T)), bias)

    def norm(name: str, x: str) -> str:
        return node("LayerNormalization", x, constant(name + ".weight"), constant(name + ".bias"), axis=-1, epsilon=EPSILON)

    positions = node("Slice", constant(POSITIONS), axis(0), node("Shape", "input_ids"), axis(0))
    x = norm("embeddings.LayerNorm", node("Add", rows(WORDS, "input_ids"), positions))
    for layer in range(layers):
        at = f"encoder.layer.{layer}."
        qkv = [node("Unsqueeze", linear(f"{at}attention.self.{part}", x), axis(0)) for part in ("query", "key", "value")]
        context = node("Squeeze", node("Attention", *qkv, q_num_heads=HEADS, kv_num_heads=HEADS), axis(0))
        x = norm(at + "attention.output.LayerNorm", node("Add", x, linear(at + "attention.output.dense", context)))
        inner = node("Gelu", linear(at + "intermediate.dense", x))
        x = norm(at + "output.LayerNorm", node("Add", x, linear(at + "output.dense", inner)))
    mean = node("ReduceMean", x, axis(0), keepdims=0)
    nodes.append(helper.make_node("Div", [mean, node("ReduceL2", mean, axis(0), keepdims=1)], ["embedding"], name="embedding"))

    model = helper.make_model(
        helper.make_graph(
            nodes, "all-MiniLM-L6-v2",
            [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["n"])],
            [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [tensors[WORDS].shape[1]])],
            list(constants.values())),
        producer_name="pennyroute", functions=[quantized_linear()] if quantized else [],
        opset_imports=[helper.make_opsetid("", OPSET), *([helper.make_opsetid(DOMAIN, 1)] if quantized else [])])
    model.ir_version = 11
    onnx.checker.check_model(model)
    return model


def quantized_linear() -> onnx.FunctionProto:
    """x float32 [n, k], weight int8 [m, k], scale float32 [m], bias float32 [m] to float32 [n, m]."""
    return helper.make_function(
        DOMAIN, "QuantizedLinear", ["x", "weight", "scale", "bias"], ["y"],
        [helper.make_node("DequantizeLinear", ["weight", "scale"], ["rows"], axis=0),
         helper.make_node("Transpose", ["rows"], ["columns"], perm=[1, 0]),
         helper.make_node("MatMul", ["x", "columns"], ["product"]),
         helper.make_node("Add", ["product", "bias"], ["y"])],
        [helper.make_opsetid("", OPSET)])


class Session:
    """An ONNX file in onnxruntime, on one thread."""

    def __init__(self, model: onnx.ModelProto):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        # By default weights of 8 bits go to a kernel that rounds activations to 8 bits too, with .998 of the cosine left.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        self.session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        self.batched = len(self.session.get_inputs()[0].shape) == 2

    def embed(self, ids: list[list[int]]) -> np.ndarray:
        """[texts, 384] float32."""
        given = (np.array([row] if self.batched else row, np.int64) for row in ids)
        return np.stack([self.session.run(None, {"input_ids": row})[0].reshape(-1) for row in given])


def tokenize(cache: Path, texts: list[str]) -> list[list[int]]:
    """[CLS], the first pieces of the text, [SEP]. Names of special tokens in a text are text."""
    from text import tokenizer

    encoded = tokenizer(minilm.vocabulary(cache)).encode_batch(texts, add_special_tokens=False)
    return [[CLS, *e.ids[: MAX_TOKENS - 2], SEP] for e in encoded]


def plain(cache: Path) -> Session:
    """The yardstick: the float32 graph that was written apart, of elementary operators."""
    import minilm_onnx

    return Session(minilm_onnx.graph(*minilm.tensors(cache), pooled=True))


def texts_of(path: Path, count: int | None) -> list[str]:
    opened = gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")
    with opened as lines:
        texts = [json.loads(line)["text"] for line in lines]
    if count is not None and count < len(texts):
        texts = [texts[i] for i in np.linspace(0, len(texts) - 1, count).round().astype(int)]
    return texts


def parity(embeddings: np.ndarray, expected: np.ndarray) -> dict[str, float]:
    cosine = (embeddings.astype(np.float64) * expected).sum(1) / (
        np.linalg.norm(embeddings.astype(np.float64), axis=1) * np.linalg.norm(expected.astype(np.float64), axis=1))
    return {"texts": len(cosine), "min_cosine": round(float(cosine.min()), 7), "mean_cosine": round(float(cosine.mean()), 7)}


def write(out: Path, precision: str, cache: Path) -> None:
    tensors, layers = packed(cache, precision)
    model = graph(tensors, layers)
    ids = tokenize(cache, texts_of(FIXTURE, None))
    figures = parity(Session(model).embed(ids), plain(cache).embed(ids))

    out.mkdir(parents=True, exist_ok=True)
    files = {"onnx": "encoder.onnx", "packed": "encoder.safetensors", "vocab": "vocab.txt"}
    onnx.save(model, out / files["onnx"])
    (out / files["packed"]).write_bytes(save(tensors, {
        "layers": str(layers), "heads": str(HEADS), "epsilon": str(EPSILON), "precision": precision}))
    (out / files["vocab"]).write_bytes("".join(f"{piece}\n" for piece in minilm.vocabulary(cache)).encode())
    manifest = {
        "format": 1, "version": f"all-MiniLM-L6-v2-{precision}/{REVISION}",
        "files": {key: {"path": name, "sha256": hashlib.sha256((out / name).read_bytes()).hexdigest(), "bytes": (out / name).stat().st_size}
                  for key, name in files.items()},
        "encoder": {"dimensions": tensors[WORDS].shape[1], "max_tokens": MAX_TOKENS, "precision": precision},
        "origin": {"package": minilm.PACKAGE, "wheel_sha256": minilm.WHEEL_SHA256, "licence": "Apache-2.0"},
        "parity": figures,
    }
    (out / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    print(f"{out}: {precision}, {figures}")


def reference(texts: Path, out: Path, count: int | None, encoder: Path, cache: Path) -> None:
    taken = texts_of(texts, count)
    ids = tokenize(cache, taken)
    expected = plain(cache).embed(ids)
    out.mkdir(parents=True, exist_ok=True)
    (out / "texts.jsonl").write_text("".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in taken), encoding="utf-8")
    (out / "ids.json").write_text(json.dumps(ids, separators=(",", ":")) + "\n")
    (out / "float32.bin").write_bytes(expected.astype("<f4").tobytes())
    quantized = Session(onnx.load(encoder / "encoder.onnx")).embed(ids)
    (out / "int8.bin").write_bytes(quantized.astype("<f4").tobytes())
    print(f"{encoder} against elementary float32 operators: {parity(quantized, expected)}")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--out", type=Path, help="default: models/train/out/encoder, for float32 encoder-float32 there")
    arguments.add_argument("--precision", choices=("int8", "float32"), default="int8")
    arguments.add_argument("--reference", nargs=2, type=Path, metavar=("TEXTS", "OUT"), help="only write what tests compare with")
    arguments.add_argument("--count", type=int, help="take so many of TEXTS")
    given = arguments.parse_args()
    CACHE.mkdir(exist_ok=True)
    out = given.out or CACHE / ("encoder" if given.precision == "int8" else "encoder-float32")
    if given.reference:
        reference(*given.reference, given.count, out, CACHE)
    else:
        write(out, given.precision, CACHE)


if __name__ == "__main__":
    main()
