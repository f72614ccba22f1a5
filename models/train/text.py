"""What a text is to the predictor: its counts, its surface features, its WordPiece ids and its distinct terms.

The Rust core computes the same; tests/fixtures/parity.json holds both to it. Everything is over Unicode
scalar values, and a letter, digit or punctuation mark means the ASCII ones.
"""

import re
from collections import Counter
from collections.abc import Iterable

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

MAX_TOKENS = 2048
PAD, UNK = "[PAD]", "[UNK]"
COUNTS = ("word", "letter", "digit", "mark", "newline", "cjk", "other")
FEATURES = ("chars", "words", "digits", "punctuation", "cjk", "other", "lines", "latex", "options", "operators", "code",
            "question", "stem", "option_mean", "option_longest", "option_sd", "option_numeric", "sentences", "numbers")
PAIRS = 1 << 16  # buckets that pairs of neighbouring tokens are hashed to

_CJK = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]")
_WORD = re.compile("[A-Za-z]+")
_MARK = re.compile(r"[!-/:-@\[-`{-~]+")
_OPTION = re.compile(r"[ \t*-]*\(?[A-Ja-j][).:][ \t]")


def counts(text: str) -> dict[str, int]:
    """The counts that features and the estimate of input tokens are made of."""
    ascii_only = text.encode("ascii", "ignore").decode()
    cjk = len(_CJK.findall(text))
    marks = _MARK.findall(text)
    return {
        "letters": sum(map(len, _WORD.findall(text))),
        "digits": len(re.findall("[0-9]", text)),
        "newlines": text.count("\n"),
        "punctuation": sum(map(len, marks)),
        "marks": len(marks),
        "cjk": cjk,
        "other": len(text) - len(ascii_only) - cjk,
        "words": len(_WORD.findall(text)),
        "operators": len(re.findall(r"[-+*/=<>^%]", text)),
        "latex": len(re.findall(r"[\\$]", text)),
        "code": len(re.findall(r"[{}();_`]", text)),
        "sentences": len(re.findall(r"[.!?](?=[ \t\n\r]|$)", text)) if text else 0,
        "numbers": len(re.findall("[0-9]+", text)),
        "question": int(text.rstrip(" \t\n\r").endswith("?")),
    }


def features(text: str) -> np.ndarray:
    """The surface features, float32: logarithms of amounts, and shares of characters or of answer options.

    White space, blank lines and the case of letters change none of them, for they change no question.
    """
    n = counts(text)
    lines = [(visible(line), line) for line in text.split("\n")]
    options = [(size, line) for size, line in lines if _OPTION.match(line)]
    sizes = np.array([size for size, _ in options] or [0], float)
    numeric = sum(bool(re.search("[0-9]", line)) for _, line in options)
    amount = sum(size for size, _ in lines)
    chars = max(amount, 1)
    return np.array([
        np.log1p(amount), np.log1p(n["words"]), n["digits"] / chars, n["punctuation"] / chars, n["cjk"] / chars,
        n["other"] / chars, np.log1p(sum(size > 0 for size, _ in lines)), np.log1p(n["latex"]), np.log1p(len(options)),
        n["operators"] / chars, n["code"] / chars, n["question"], np.log1p(amount - sum(size for size, _ in options)),
        np.log1p(sizes.mean()), np.log1p(sizes.max()), np.log1p(sizes.std()), numeric / max(len(options), 1),
        np.log1p(n["sentences"]), np.log1p(n["numbers"]),
    ], dtype=np.float64).astype(np.float32)


def visible(text: str) -> int:
    """Characters that are not ASCII white space."""
    return len(re.sub("[ \t\n\r]", "", text))


def token_counts(text: str) -> np.ndarray:
    """What the number of input tokens is a linear function of, in the order of COUNTS."""
    n = counts(text)
    return np.array([n["words"], n["letters"], n["digits"], n["marks"], n["newlines"], n["cjk"], n["other"]], float)


def tokenizer(vocabulary: list[str]) -> Tokenizer:
    """BERT's uncased WordPiece over the given vocabulary, adding no special tokens."""
    ids = {token: i for i, token in enumerate(vocabulary)}
    wordpiece = Tokenizer(WordPiece(ids, unk_token=UNK, max_input_chars_per_word=100))
    wordpiece.normalizer = BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=True, lowercase=True)
    wordpiece.pre_tokenizer = BertPreTokenizer()
    return wordpiece


def encode(wordpiece: Tokenizer, texts: list[str]) -> list[list[int]]:
    """Token ids of each text: the first and last half of a text that is too long, [UNK] alone for an empty one."""
    unknown = wordpiece.token_to_id(UNK)
    half = MAX_TOKENS // 2
    encoded = []
    for encoding in wordpiece.encode_batch(texts, add_special_tokens=False):
        ids = encoding.ids or [unknown]
        encoded.append(ids if len(ids) <= MAX_TOKENS else ids[:half] + ids[-half:])
    return encoded


def terms(ids: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """The distinct tokens of a text, and the distinct buckets of its pairs of neighbouring tokens, both ascending.

    The first token is paired with [PAD], so that there is always a pair. Pairs are hashed by the finalizer of MurmurHash3.
    """
    a = np.array(ids, np.uint64)
    h = ((np.concatenate([[np.uint64(0)], a[:-1]]) << np.uint64(16)) | a) & np.uint64(0xFFFFFFFF)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        h = ((h ^ (h >> np.uint64(shift))) * np.uint64(factor)) & np.uint64(0xFFFFFFFF)
    h ^= h >> np.uint64(16)
    return np.unique(a).astype(np.int64), np.unique(h % np.uint64(PAIRS)).astype(np.int64)


def prune(vocabulary: list[str], texts: Iterable[str], size: int) -> list[str]:
    """The `size` tokens most worth keeping.

    Every single character stays, so that a word whose token is dropped falls to pieces instead of to [UNK]. Then come
    the tokens that the texts use at least twice, by frequency, and then BERT's own order, which is roughly that of
    frequency in general English.
    """
    used = Counter(i for ids in encode(tokenizer(vocabulary), list(texts)) for i in ids)
    special = re.compile(r"\[(unused\d+|PAD|UNK|CLS|SEP|MASK)\]")
    words = [i for i, token in enumerate(vocabulary) if not special.fullmatch(token)]
    single = [i for i in words if len(vocabulary[i].removeprefix("##")) == 1]
    allowed = set(words)
    frequent = [i for i, n in used.most_common() if n >= 2 and i in allowed]
    keep = dict.fromkeys([*single, *frequent, *words])
    chosen = sorted(list(keep)[: size - 2])
    return [PAD, UNK, *(vocabulary[i] for i in chosen)]
