"""tests/fixtures/parity.json: texts with the ids, features, outputs and qualities that the Rust core must reproduce.

    python models/train/fixtures.py

writes the other fixture, tests/fixtures/encoder-input.onnx: a network of the shape of the shipped one that takes a vector of an
encoder too, and goes by it alone.
"""

import json
from pathlib import Path

import numpy as np
import onnx as format
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer

import text

MODELS = ("claude-3-haiku-20240307", "gemma-2-2b-it", "gpt-4o-2024-08-06", "gpt-4o-mini-2024-07-18", "mathstral-7B-v0.1")

WRITTEN: list[str | dict[str, str | int]] = [
    "", "a", "?", " ", "\n\n\n", "7", "é", "中", "🙂",
    "Hi!", "hello there, how are you today?", "Thanks a lot, that's all for now.",
    "Translate 'good morning, my friend' into French, Spanish and Japanese.",
    "Write a short, polite email asking my landlord to fix the heating.",
    "Prove that there are infinitely many primes congruent to 3 modulo 4.",
    "Let $f(x)=\\frac{x^2-1}{x+1}$. Find $\\lim_{x\\to -1} f(x)$ and $\\int_0^1 f(x)\\,dx$.",
    "Which of these is a noble gas?\n\n(A) oxygen\n(B) neon\n(C) nitrogen\n(D) chlorine",
    "Pick one:\n- (A) first\n- (B) second\nA. third\n  B) fourth\n\tC: fifth\nK. not an option\nA.not an option either",
    "[PYTHON]\ndef f(xs):\n    return {x: xs.count(x) for x in set(xs)}\nassert f([1, 1, 2]) == ??\n[/PYTHON]",
    "fn main() { let v: Vec<u32> = (0..10).filter(|x| x % 2 == 0).collect(); println!(\"{v:?}\"); }",
    "SELECT name, COUNT(*) FROM users u JOIN orders o ON o.user_id = u.id GROUP BY name HAVING COUNT(*) > 3;",
    "Çà et là, l'élève naïf goûte un œuf à la coque; straße, Ærøskøbing, Łódź, señor.",
    "e\u0301 decomposed and \u00e9 composed; A\u030angstro\u0308m; \u1e9b\u0323",
    "请帮我写一封邮件给房东，说明厨房的水龙头漏水已经三天了。", "来週の会議の日程を変更したいのですが、どう書けばいいですか？",
    "다음 주에 부산으로 여행을 가려고 하는데 맛있는 음식점을 추천해 주세요.", "𠀀𠀁 and 𪜶 are beyond the basic plane; 豈更 are compatibility forms",
    "اكتب لي رسالة قصيرة إلى مديري أطلب فيها إجازة لمدة ثلاثة أيام.", "कृपया मुझे भारत के इतिहास के बारे में सरल भाषा में बताइए।",
    "Напишите, пожалуйста, короткое письмо преподавателю.", "Μπορείς να μου εξηγήσεις τη φωτοσύνθεση;", "ช่วยแนะนำสถานที่ท่องเที่ยวในเชียงใหม่",
    "תוכל לעזור לי לכתוב מכתב תלונה?", "İstanbul'da ISPARTA ılık; DİYARBAKIR",
    "👩‍👩‍👧‍👦 family, 🏳️‍🌈 flag, 👍🏽 skin tone, ❤️ heart", "tabs\tand\r\nwindows lines\rand\u2028separators\u00a0nbsp\u3000ideographic",
    "control\u0001 and\u0007 bell\u007f and null\u0000 inside", "replacement \ufffd char, zero\u200bwidth, soft\u00adhyphen, bom\ufeff",
    "private \ue000 use, \U000f0000 plane 15, non\ufdd0character", "ﬁne ﬂuffy ligatures, ½ cup, x² + y³, ℝ ⊂ ℂ, ∀ε>0 ∃δ",
    "CamelCaseIdentifiers and snake_case_ones and SCREAMING_CASE, v1.2.3-rc.4+build.5",
    "https://example.com/a/b?c=d&e=%20f#g or mailto:someone@example.org", "[UNK] [PAD] [CLS] ##ing ## [MASK]",
    "“Curly quotes” – dashes — ellipsis… «guillemets» ‹single›", "1,234,567.89 + 0x1F - 1e-9 = 42% of $100 < €90",
    {"repeat": "supercalifragilisticexpialidocious", "times": 5}, {"repeat": "a", "times": 100}, {"repeat": "a", "times": 101},
    {"repeat": "é", "times": 150}, {"repeat": "the quick brown fox jumps over the lazy dog. ", "times": 500},
    {"repeat": "証明せよ。", "times": 700}, {"repeat": "x ", "times": 2048}, {"repeat": "x ", "times": 2049},
]


def write(path: Path, onnx: bytes, wordpiece: Tokenizer, parameters: dict, sample: list[str]) -> None:
    """`sample` are a few training queries; the rest is written above."""
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    cases = []
    for given in [*WRITTEN, *sample]:
        content = given if isinstance(given, str) else given["repeat"] * given["times"]
        ids, features = text.encode(wordpiece, [content])[0], text.features(content)
        terms, pairs = text.terms(ids)
        skills, difficulty, length, embedding = session.run(
            ["skills", "difficulty", "length", "embedding"],
            {"ids": np.array(ids, np.int64), "terms": terms, "pairs": pairs, "features": features})
        quality = {}
        for name in MODELS:
            ability = np.array(parameters["abilities"][name]["ability"]["mean"])
            quality[name] = float(1 / (1 + np.exp(-(ability[0] + ability[1:] @ skills - difficulty[0]))))
        shown = {"ids": ids} if len(ids) <= 600 else {"ids_count": len(ids), "ids_head": ids[:40], "ids_tail": ids[-40:]}
        cases.append({
            "text": given, **shown, "features": features.astype(float).tolist(),
            "token_counts": text.token_counts(content).astype(int).tolist(),
            **{name: np.round(value.astype(float), 6).tolist() for name, value in
               (("skills", skills), ("difficulty", difficulty), ("length", length), ("embedding", embedding))},
            "quality": {name: round(value, 6) for name, value in quality.items()},
        })
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(case, ensure_ascii=True) for case in cases)
    path.write_text(f'{{"format":1,"cases":[\n{lines}\n]}}\n')


def encoder_network(path: Path, parameters: dict) -> None:
    """difficulty = the vector's first number, skills = its second one, in two dimensions; length and embedding are 0."""
    size = 2
    sizes = {"skills": parameters["skills"], "difficulty": 1, "length": parameters["lengths"], "embedding": parameters["dimensions"]}
    weights = {name: np.zeros((size, count), np.float32) for name, count in sizes.items()}
    weights["difficulty"][0] = weights["skills"][1] = 1
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, [n]) for name, n in (("ids", "n"), ("terms", "t"), ("pairs", "p"))]
    inputs += [helper.make_tensor_value_info(name, TensorProto.FLOAT, [n]) for name, n in (("features", len(text.FEATURES)), ("encoder", size))]
    network = helper.make_graph(
        [helper.make_node("MatMul", ["encoder", f"{name}_weight"], [name]) for name in sizes], "encoder-input", inputs,
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [n]) for name, n in sizes.items()],
        [numpy_helper.from_array(weight, f"{name}_weight") for name, weight in weights.items()])
    model = helper.make_model(network, producer_name="pennyroute", opset_imports=[helper.make_opsetid("", 12)])
    model.ir_version = 7
    format.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())


if __name__ == "__main__":
    root = Path(__file__).resolve().parents[2]
    encoder_network(root / "tests" / "fixtures" / "encoder-input.onnx", json.loads((root / "models" / "parameters.json").read_text()))
