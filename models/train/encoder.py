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
activations included, is float32 in the file. Texts of a batch stand one after another, without padding; `ends` says where each
ends. What depends on that (attention, pooling), a linear layer in int8 and a norm of a sum are functions of the domain `pennyroute`,
whose bodies are made of standard operators: a runtime that knows their names runs kernels of its own, any other runs the bodies.
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
REVISION = 2  # of the artifacts, a part of their version
MAX_TOKENS = 256  # [CLS] and [SEP] included: what the model's publishers cut at
CLS, SEP = 101, 102
EPSILON = 1e-12
OPSET, DOMAIN = 23, "pennyroute"
OPSETS = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)]
# Query, key and value are one layer in the file.
JOINED, PARTS = "attention.self.qkv", [f"attention.self.{part}" for part in ("query", "key", "value")]
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
    products = [node for node in model.graph.node if node.op_type == "MatMul"]
    inputs = {part: node.input[0] for node in products for part in parts(node.input[1])}
    names = sorted(set(inputs.values()))
    model.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    session, sums = Session(model).session, dict.fromkeys(names, np.float32(0))
    for ids in tokenize(cache, ["", *texts_of(ROUNDED_ON, None)]):
        for name, x in zip(names, session.run(names, ragged([ids]))):
            sums[name] = sums[name] + x.T @ x / len(x)
    return {weight: sums[name] for weight, name in inputs.items()}


def parts(name: str) -> list[str]:
    """The tensors that a tensor of the file is made of, one below the other."""
    return [name.replace(JOINED, part) for part in PARTS] if JOINED in name else [name]


def ragged(ids: list[list[int]]) -> dict[str, np.ndarray]:
    """The graph's inputs for a batch of texts."""
    return {"input_ids": np.concatenate(ids).astype(np.int64),
            "position_ids": np.concatenate([np.arange(len(row)) for row in ids]),
            "ends": np.cumsum([len(row) for row in ids])}


def graph(tensors: dict[str, np.ndarray], layers: int) -> onnx.ModelProto:
    """`input_ids` int64 [n], the tokens of t texts, [CLS] and [SEP] included, one text after another; `position_ids` int64 [n],
    each token's place in its text; `ends` int64 [t], where each text ends; to `embeddings` float32 [t, 384] of unit length."""
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, onnx.TensorProto] = {}
    quantized = any(value.dtype == np.int8 for value in tensors.values())

    def node(operator: str, *inputs: str, **attributes: object) -> str:
        name = f"{operator}_{len(nodes)}"
        nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def whole(name: str) -> np.ndarray:
        return np.concatenate([tensors[part] for part in parts(name)])

    def constant(name: str, value: np.ndarray | None = None) -> str:
        value = whole(name) if value is None else value
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
        return node("Add", node("MatMul", x, constant(weight, whole(weight).T)), bias)

    def norm(name: str, x: str, skip: str) -> str:
        given = (x, skip, constant(name + ".weight"), constant(name + ".bias"))
        return node("SkipLayerNormalization", *given, epsilon=EPSILON, domain=DOMAIN)

    x = norm("embeddings.LayerNorm", rows(WORDS, "input_ids"), node("Gather", constant(POSITIONS), "position_ids"))
    for layer in range(layers):
        at = f"encoder.layer.{layer}."
        context = node("RaggedAttention", linear(at + JOINED, x), "ends", num_heads=HEADS, domain=DOMAIN)
        x = norm(at + "attention.output.LayerNorm", linear(at + "attention.output.dense", context), x)
        inner = node("Gelu", linear(at + "intermediate.dense", x))
        x = norm(at + "output.LayerNorm", linear(at + "output.dense", inner), x)
    mean = node("RaggedMean", x, "ends", domain=DOMAIN)
    nodes.append(helper.make_node("Div", [mean, node("ReduceL2", mean, axis(1), keepdims=1)], ["embeddings"], name="embeddings"))

    model = helper.make_model(
        helper.make_graph(
            nodes, "all-MiniLM-L6-v2",
            [helper.make_tensor_value_info(name, TensorProto.INT64, [size])
             for name, size in (("input_ids", "n"), ("position_ids", "n"), ("ends", "t"))],
            [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["t", tensors[WORDS].shape[1]])],
            list(constants.values())),
        producer_name="pennyroute", opset_imports=OPSETS,
        functions=[text_of_token(), ragged_attention(), ragged_mean(), skip_layer_normalization(), *([quantized_linear()] if quantized else [])])
    model.ir_version = 11
    onnx.checker.check_model(model)
    return model


def function(name: str, inputs: list[str], body: str, attributes: tuple[str, ...] = ()) -> onnx.FunctionProto:
    """A function of the file, its body in ONNX's textual syntax; it gives `y`."""
    signature = f"{name}{'<' + ', '.join(attributes) + '>' if attributes else ''}({', '.join(inputs)})"
    return onnx.parser.parse_function(
        f'<domain: "{DOMAIN}", opset_import: ["" : {OPSET}, "{DOMAIN}" : 1]> {signature} => (y) {{ {body} }}')


def quantized_linear() -> onnx.FunctionProto:
    """x float32 [n, k], weight int8 [m, k], scale float32 [m], bias float32 [m] to float32 [n, m]."""
    return function("QuantizedLinear", ["x", "weight", "scale", "bias"], """
        rows = DequantizeLinear<axis: int = 0>(weight, scale)
        columns = Transpose<perm: ints = [1, 0]>(rows)
        product = MatMul(x, columns)
        y = Add(product, bias)""")


def skip_layer_normalization() -> onnx.FunctionProto:
    """x float32 [n, k], skip float32 [n, k], scale float32 [k], bias float32 [k] to float32 [n, k]: the layer norm of x + skip."""
    return function("SkipLayerNormalization", ["x", "skip", "scale", "bias"], """
        sum = Add(x, skip)
        y = LayerNormalization<axis: int = -1, epsilon: float = @epsilon>(sum, scale, bias)""", ("epsilon",))


def text_of_token() -> onnx.FunctionProto:
    """x [n, …] and ends int64 [t], ascending to n, to int64 [n, 1]: which text each row belongs to."""
    return function("TextOfToken", ["x", "ends"], """
        zero = Constant<value_int: int = 0>()
        one = Constant<value_int: int = 1>()
        axis = Constant<value_ints: ints = [1]>()
        length = Shape<start: int = 0, end: int = 1>(x)
        n = Squeeze(length)
        tokens = Range(zero, n, one)
        column = Unsqueeze(tokens, axis)
        past = GreaterOrEqual(column, ends)
        counted = Cast<to: int = 7>(past)
        y = ReduceSum(counted, axis)""")


def ragged_attention() -> onnx.FunctionProto:
    """qkv float32 [n, 3·w], query, key and value side by side, and ends int64 [t] to float32 [n, w]: attention within texts."""
    return function("RaggedAttention", ["qkv", "ends"], """
        text = pennyroute.TextOfToken(qkv, ends)
        others = Transpose<perm: ints = [1, 0]>(text)
        mask = Equal(text, others)
        axis = Constant<value_ints: ints = [0]>()
        batch = Unsqueeze(qkv, axis)
        q, k, v = Split<axis: int = 2, num_outputs: int = 3>(batch)
        mixed = Attention<q_num_heads: int = @num_heads, kv_num_heads: int = @num_heads>(q, k, v, mask)
        y = Squeeze(mixed, axis)""", ("num_heads",))


def ragged_mean() -> onnx.FunctionProto:
    """x float32 [n, w] and ends int64 [t] to float32 [t, w]: each text's mean."""
    return function("RaggedMean", ["x", "ends"], """
        zero = Constant<value_int: int = 0>()
        one = Constant<value_int: int = 1>()
        axis = Constant<value_ints: ints = [1]>()
        length = Shape(ends)
        t = Squeeze(length)
        texts = Range(zero, t, one)
        column = Unsqueeze(texts, axis)
        text = pennyroute.TextOfToken(x, ends)
        tokens = Transpose<perm: ints = [1, 0]>(text)
        own = Equal(column, tokens)
        counted = Cast<to: int = 1>(own)
        sums = MatMul(counted, x)
        counts = ReduceSum(counted, axis)
        y = Div(sums, counts)""")


class Session:
    """An ONNX file in onnxruntime, on one thread."""

    def __init__(self, model: onnx.ModelProto):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        # By default weights of 8 bits go to a kernel that rounds activations to 8 bits too, with .998 of the cosine left.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        self.session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        self.ragged = len(self.session.get_inputs()) == 3

    def embed(self, ids: list[list[int]]) -> np.ndarray:
        """[texts, 384] float32."""
        if self.ragged:  # A few at a time, so that the bodies of the file's functions are run as they are meant.
            given = (ragged(ids[i : i + 5]) for i in range(0, len(ids), 5))
        else:
            given = ({"input_ids": np.array([row], np.int64)} for row in ids)
        return np.concatenate([self.session.run(None, batch)[0] for batch in given])


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
