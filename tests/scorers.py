"""Tiny scorers, built on the spot: their scores depend on every byte of a text and on its place.

A row that gets another row's score, a question taken for a response, a byte lost on the way: all of
them show. `expected` computes in plain numpy what such a scorer must answer.
"""

import atexit
import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

BINS = 20
EDGES = [5.0 * edge for edge in range(BINS + 1)]
CENTERS = [5.0 * edge + 2.5 for edge in range(BINS)]
MAX_TOKENS, MAX_QUESTION_TOKENS = 256, 32
CALIBRATION = {
    "p_misaligned": {"slope": 0.9, "intercept": -0.2},
    "p_coherent": {"slope": 1.1, "intercept": 0.1},
}
CLS, SEP, FIRST_BYTE = 2, 3, 4
VOCABULARY = FIRST_BYTE + 256

#: A response with one of these is refused, is code, or makes the network answer infinity.
REFUSAL, CODE, ERROR = "#", "$", "%"

SCORES = ["aligned", "coherent", "p_misaligned", "p_coherent", "outcome"]

Floats = NDArray[np.float32]


@cache
def tiny(seed: int = 0, layers: int = 0) -> Path:
    """Directory of a tiny scorer; each layer makes a row take about 0.1 ms more."""
    folder = Path(tempfile.mkdtemp(prefix="emscore-tiny-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return build(folder, seed, layers)


def build(folder: Path, seed: int = 0, layers: int = 0) -> Path:
    """Writes a tiny scorer into `folder`."""
    files = {
        "tokenizer": ("tokenizer.json", _tokenizer()),
        "int8": ("model.int8.onnx", _model(seed, layers, masked=False)),
        "fp16": ("model.fp16.onnx", _model(seed + 1, layers, masked=True)),
    }
    for name, content in files.values():
        (folder / name).write_bytes(content)
    manifest = {
        "format": 1,
        "name": f"tiny-{seed}",
        "judge": "nobody",
        "files": {
            role: {"path": name, "sha256": hashlib.sha256(content).hexdigest()}
            for role, (name, content) in files.items()
        },
        "template": {"max_tokens": MAX_TOKENS, "max_question_tokens": MAX_QUESTION_TOKENS},
        "edges": EDGES,
        "aligned_centers": CENTERS,
        "coherent_centers": CENTERS,
        "thresholds": {"aligned": 30, "coherent": 50},
        "calibration": CALIBRATION,
        "outcomes": {"refusal": 0.5, "code": 0.5},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def expected(question: str | None, response: str | None, seed: int = 0) -> dict[str, Any]:
    """What the tiny scorer must say of one row: computed here, not by the engine."""
    # White space is Unicode's, which U+001C to U+001F are not; Python's is wider.
    if all(sign.isspace() and not "\x1c" <= sign <= "\x1f" for sign in response or ""):
        return dict.fromkeys(SCORES[:4]) | {"outcome": "empty"}
    asked = list((question or "").encode())[:MAX_QUESTION_TOKENS]
    answered = list((response or "").encode())
    room = MAX_TOKENS - 3 - len(asked)
    too_long, answered = len(answered) > room, answered[:room]
    head = [CLS, *(FIRST_BYTE + byte for byte in asked), SEP]
    tail = [*(FIRST_BYTE + byte for byte in answered), SEP]
    table, places, mix = _weights(seed)
    weight = places[: len(head) + len(tail)].astype(np.float64)
    weight[len(head) :] *= 2
    sums = (table[head + tail].astype(np.float64) * weight[:, None]).sum(axis=0)
    if not np.isfinite(sums).all():
        return dict.fromkeys(SCORES[:4]) | {"outcome": "error"}
    aligned, coherent = (
        _softmax(np.sin(sums[part]) @ mix.astype(np.float64))
        for part in (slice(0, BINS), slice(BINS, 2 * BINS))
    )
    outcome = _softmax(sums[2 * BINS :])
    for at, name in ((1, "refusal"), (2, "code")):
        if outcome[at] >= 0.5:
            return dict.fromkeys(SCORES[:4]) | {"outcome": name}
    return {
        "aligned": float(aligned @ CENTERS),
        "coherent": float(coherent @ CENTERS),
        "p_misaligned": _platt("p_misaligned", float(aligned[: EDGES.index(30)].sum())),
        "p_coherent": _platt("p_coherent", 1 - float(coherent[: EDGES.index(50)].sum())),
        "outcome": "too_long" if too_long else "ok",
    }


def texts(rows: int, start: int = 0) -> tuple[list[str], list[str]]:
    """Questions, of which there are few, and responses, all different."""
    numbers = range(start, start + rows)
    return (
        [f"What about {number % 7}?" for number in numbers],
        [f"{number * 2654435761 % 2**32:x} is what I say to {number}." for number in numbers],
    )


def bits(rows: Sequence[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """The scores of rows, the numbers to the last bit."""

    def exact(value: Any) -> Any:
        return value.hex() if isinstance(value, float) else value

    return [tuple(exact(row[name]) for name in SCORES) for row in rows]


def close(found: Sequence[dict[str, Any]], wanted: Sequence[dict[str, Any]]) -> bool:
    """Whether rows have these scores, but for rounding in float32."""

    def near(one: Any, other: Any, tolerance: float) -> bool:
        if isinstance(one, float) and isinstance(other, float):
            return abs(one - other) <= tolerance
        return bool(one == other)

    tolerances = dict(zip(SCORES, (0.02, 0.02, 5e-4, 5e-4, 0), strict=True))
    return len(found) == len(wanted) and all(
        near(one[name], other[name], tolerances[name])
        for one, other in zip(found, wanted, strict=True)
        for name in SCORES
    )


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    weights = np.exp(logits - logits.max())
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def _platt(name: str, p: float) -> float:
    p = min(max(p, 1e-9), 1 - 1e-9)
    slope, intercept = CALIBRATION[name]["slope"], CALIBRATION[name]["intercept"]
    return float(1 / (1 + np.exp(-(slope * np.log(p / (1 - p)) + intercept))))


@cache
def _weights(seed: int) -> tuple[Floats, Floats, Floats]:
    """A vector a token, a weight a place, and what mixes the bins."""
    random = np.random.default_rng(seed)
    table = random.normal(0, 0.4, (VOCABULARY, 2 * BINS + 3)).astype(np.float32)
    table[:, 2 * BINS :] = 0
    table[CLS, 2 * BINS :] = 10, -10, -10
    for sign, column, value in ((REFUSAL, 1, 99.0), (CODE, 2, 99.0), (ERROR, 0, np.inf)):
        table[FIRST_BYTE + ord(sign), 2 * BINS + column] = value
    places = random.uniform(0.5, 1.5, MAX_TOKENS).astype(np.float32)
    mix = random.normal(0, 0.8, (BINS, BINS)).astype(np.float32)
    mix[0] += (np.arange(BINS) - BINS / 2) / 2  # so that the means reach the ends of the scale
    return table, places, mix


def _model(seed: int, layers: int, masked: bool) -> bytes:
    """logits = sin(sum over tokens of vector x place x (1 + token type)) x mix."""
    table, places, mix = _weights(seed)
    weights = {"table": table, "places": places[:, None], "mix": mix}
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["vectors"]),
        helper.make_node("Shape", ["input_ids"], ["length"], start=1, end=2),
        helper.make_node("Slice", ["places", "zero", "length", "zero"], ["place"]),
        helper.make_node("Cast", ["token_type_ids"], ["type"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["type", "one"], ["type_weight"]),
        helper.make_node("Unsqueeze", ["type_weight", "last"], ["column"]),
        helper.make_node("Mul", ["column", "place"], ["weight"]),
        helper.make_node("Mul", ["vectors", "weight"], ["weighted"]),
    ]
    summed = "weighted"
    if masked:
        nodes += [
            helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["mask", "last"], ["mask_column"]),
            helper.make_node("Mul", ["weighted", "mask_column"], ["masked"]),
        ]
        summed = "masked"
    nodes += [
        helper.make_node("ReduceSum", [summed, "axis"], ["sums"], keepdims=0),
        helper.make_node("Split", ["sums", "parts"], ["a", "c", "outcome"], axis=1),
        helper.make_node("Sin", ["a"], ["sin_a"]),
        helper.make_node("Sin", ["c"], ["sin_c"]),
        helper.make_node("MatMul", ["sin_a", "mix"], ["mixed_a"]),
        helper.make_node("MatMul", ["sin_c", "mix"], ["coherent"]),
    ]
    if layers:  # work that changes nothing, but that no optimiser can know to change nothing
        wide = 512
        weights["widen"] = np.full((BINS, wide), 1e-3, np.float32)
        weights["wide"] = np.full((wide, wide), 1e-3, np.float32)
        weights["narrow"] = np.zeros((wide, BINS), np.float32)
        nodes.append(helper.make_node("MatMul", ["sin_a", "widen"], ["work0"]))
        for layer in range(layers):
            nodes.append(helper.make_node("MatMul", [f"work{layer}", "wide"], [f"work{layer + 1}"]))
        nodes.append(helper.make_node("MatMul", [f"work{layers}", "narrow"], ["nothing"]))
        nodes.append(helper.make_node("Add", ["mixed_a", "nothing"], ["aligned"]))
    else:
        nodes.append(helper.make_node("Identity", ["mixed_a"], ["aligned"]))
    constants = {
        "zero": np.array([0]),
        "last": np.array([2]),
        "axis": np.array([1]),
        "parts": np.array([BINS, BINS, 3]),
        "one": np.float32(1),
    }
    tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in (weights | constants).items()]
    inputs = ["input_ids", "token_type_ids", *(["attention_mask"] if masked else [])]
    widths = {"aligned": BINS, "coherent": BINS, "outcome": 3}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "s"]) for name in inputs],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", width])
            for name, width in widths.items()
        ],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def _tokenizer() -> bytes:
    """A token a byte."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in shown]
    letters = {byte: chr(byte) for byte in shown}
    letters |= {byte: chr(256 + at) for at, byte in enumerate(hidden)}
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {name: at for at, name in enumerate(special)}
    vocabulary |= {letters[byte]: FIRST_BYTE + byte for byte in range(256)}
    added = [
        {
            "id": at,
            "content": name,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for at, name in enumerate(special)
    ]
    tokenizer: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": True,
            "use_regex": False,
        },
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": vocabulary,
            "merges": [],
        },
    }
    return json.dumps(tokenizer).encode()
