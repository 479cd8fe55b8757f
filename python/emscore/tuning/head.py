"""The last linear layer of a scorer: what it reads, and how it is changed, without PyTorch.

The network ends in one Gemm, or in several whose outputs are added (encoder and bag of words). What
they read is made an output of the graph, and their weights are replaced in every file of the
scorer: all precisions hold the same ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._emscore import ScorerError
from ..distill.shape import OUTPUTS
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


@contextmanager
def ready() -> Iterator[None]:
    """What adapting needs is installed, and its products, which are small, keep to one thread.

    Threads that wait for each other take up to eighteen times the CPU time, most on shared cores.

    Raises:
        ScorerError: Something is not installed.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import tokenizers  # noqa: F401
        from threadpoolctl import threadpool_limits
    except ModuleNotFoundError as error:
        raise ScorerError(
            f"adapting a scorer needs {error.name}, which is not installed: "
            "pip install 'emscore[adapt]'"
        ) from error
    with threadpool_limits(1, user_api="blas"):
        yield


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
    found = run(model.SerializeToString(), encoder(pairs), [*read, *OUTPUTS])
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
