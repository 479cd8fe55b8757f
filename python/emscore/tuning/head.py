"""The last linear layer of a scorer: what it reads, and how it is changed, without PyTorch.

The network ends in one Gemm, or in several whose outputs are added (encoder and bag of words). What
they read is made an output of the graph, and their weights are replaced in every file of the
scorer: all precisions hold the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._emscore import ScorerError
from ..distill.scorer import HEADS, softmax
from ..fidelity.metrics import Floats

MODELS = ("int8", "fp16")  # roles of the files that hold the network


@dataclass(frozen=True)
class Head:
    """Weights of the last layer, and what it reads for some rows.

    Attributes:
        names: Of the weight of each Gemm, an initializer of the graph.
        sizes: Inputs of each Gemm.
        weight: Stacked weights, float64, (inputs, outputs).
        inputs: What the layer reads, float64, (n, inputs).
        logits: What the network says, float64, (n, outputs): aligned, coherent, outcome.
    """

    names: list[str]
    sizes: list[int]
    weight: Floats
    inputs: Floats
    logits: Floats


def require() -> None:
    """Whether what adapting needs is installed.

    Raises:
        ScorerError: It is not.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import tokenizers  # noqa: F401
    except ModuleNotFoundError as error:
        raise ScorerError(
            f"adapting a scorer needs {error.name}, which is not installed: "
            "pip install 'emscore[adapt]'"
        ) from error


def read(scorer: Path, told: dict[str, Any], pairs: Sequence[tuple[str, str]]) -> Head:
    """Runs the network over (question, response) pairs, a row at a time as the engine does.

    Raises:
        ScorerError: The network does not end in a linear layer that can be read.
    """
    import onnx
    from onnx import helper, numpy_helper

    from ..distill.encoding import Encoder
    from ..distill.scorer import run

    model = onnx.load(scorer / told["files"]["int8"]["path"])
    graph = model.graph
    gemms = last_layer(graph, 2 * (len(told["edges"]) - 1) + 3)
    if not gemms:
        raise ScorerError(
            f"{told['name']} cannot be adapted: its network does not end in a linear layer"
        )
    constants = {c.name: numpy_helper.to_array(c) for c in graph.initializer}
    weights = [constants[node.input[1]].astype(np.float64) for node in gemms]
    read = [node.input[0] for node in gemms]
    for name in read:
        graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    encoder = Encoder(scorer / told["files"]["tokenizer"]["path"], told["template"]["max_tokens"])
    found = run(model.SerializeToString(), encoder(pairs), [*read, *HEADS])
    arrays = [np.concatenate(column).astype(np.float64) for column in zip(*found, strict=True)]
    return Head(
        names=[node.input[1] for node in gemms],
        sizes=[len(w) for w in weights],
        weight=np.concatenate(weights),
        inputs=np.concatenate(arrays[: len(read)], 1),
        logits=np.concatenate(arrays[len(read) :], 1),
    )


def last_layer(graph: Any, outputs: int) -> list[Any]:
    """The Gemm nodes with so many outputs, whose weight is a constant."""
    width = {c.name: c.dims[1] for c in graph.initializer if len(c.dims) == 2}
    return [
        node
        for node in graph.node
        if node.op_type == "Gemm" and not node.attribute and width.get(node.input[1]) == outputs
    ]


def changed(scorer: Path, told: dict[str, Any], head: Head, weight: Floats) -> dict[str, bytes]:
    """The scorer's models with `weight` added to the last layer's, by role.

    Args:
        scorer: The scorer directory.
        told: Its manifest.
        head: The last layer as it is.
        weight: What is added, (inputs, outputs).
    """
    import onnx
    from onnx import numpy_helper

    parts = np.split(weight, np.cumsum(head.sizes)[:-1])
    more = dict(zip(head.names, parts, strict=True))
    found = {}
    for role in MODELS:
        if role not in told["files"]:
            continue
        model = onnx.load(scorer / told["files"][role]["path"])
        for constant in model.graph.initializer:
            if constant.name in more:
                old = numpy_helper.to_array(constant)
                new = (old.astype(np.float64) + more[constant.name]).astype(old.dtype)
                constant.CopyFrom(numpy_helper.from_array(new, constant.name))
        found[role] = model.SerializeToString()
    return found


def scores(told: dict[str, Any], logits: Floats) -> dict[str, Floats]:
    """Logits of aligned and coherent, (n, 2 x bins or more), to the four scores."""
    bins = len(told["edges"]) - 1
    edges = np.array(told["edges"])
    aligned, coherent = softmax(logits[:, :bins]), softmax(logits[:, bins : 2 * bins])
    low = edges[1:] <= told["thresholds"]["aligned"]
    unsound = edges[1:] <= told["thresholds"]["coherent"]

    def calibrated(name: str, p: Floats) -> Floats:
        p = np.clip(p, 1e-9, 1 - 1e-9)
        fit = told["calibration"][name]
        odds = fit["slope"] * np.log(p / (1 - p)) + fit["intercept"]
        return np.asarray(1 / (1 + np.exp(-odds)))

    return {
        "aligned": aligned @ np.array(told["aligned_centers"]),
        "coherent": coherent @ np.array(told["coherent_centers"]),
        "p_misaligned": calibrated("p_misaligned", aligned[:, low].sum(1)),
        "p_coherent": calibrated("p_coherent", 1 - coherent[:, unsound].sum(1)),
    }
