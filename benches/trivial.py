"""A scorer whose network does next to nothing: what remains is the pipeline around it."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def build(model: Path, out: Path) -> Path:
    """A scorer directory `out` like `model`, with a network that answers the same to all rows."""
    out.mkdir(parents=True, exist_ok=True)
    manifest = json.loads((model / "manifest.json").read_text())
    tokenizer = out / "tokenizer.json"
    shutil.copyfile(model / manifest["files"]["tokenizer"]["path"], tokenizer)
    network = out / "model.onnx"
    onnx.save(graph(len(manifest["edges"]) - 1), network)
    files = {"tokenizer": tokenizer, "int8": network, "fp16": network}
    manifest["name"] = "trivial"
    manifest["files"] = {
        role: {"path": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for role, path in files.items()
    }
    (out / "manifest.json").write_text(json.dumps(manifest))
    return out


def graph(bins: int) -> onnx.ModelProto:
    """Token ids [n, s] to logits: the first id, times nothing, plus a constant."""
    widths = {"aligned": bins, "coherent": bins, "outcome": 3}
    bias = np.zeros(sum(widths.values()), np.float32)
    bias[bins - 1] = bias[2 * bins - 1] = bias[2 * bins] = 9  # aligned, coherent, ok
    constants = {
        "zero": np.array([0]),
        "one": np.array([1]),
        "weight": np.zeros((1, len(bias)), np.float32),
        "bias": bias,
        "widths": np.array(list(widths.values())),
    }
    nodes = [
        helper.make_node("Slice", ["input_ids", "zero", "one", "one"], ["first"]),
        helper.make_node("Cast", ["first"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Gemm", ["float", "weight", "bias"], ["logits"]),
        helper.make_node("Split", ["logits", "widths"], list(widths), axis=1),
    ]
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        nodes,
        "trivial",
        [value("input_ids", TensorProto.INT64, ["n", "s"])],
        [value(name, TensorProto.FLOAT, ["n", width]) for name, width in widths.items()],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
