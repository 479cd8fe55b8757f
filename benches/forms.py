"""Speed against fidelity: the forms in which the network could ship for a CPU.

The parameters in the scorer's fp16 file are written as graphs of several kinds, and each is run
like emscore runs its own: one unpadded row a run, one single-threaded session a core, in turns.
Fidelity is to the same parameters in float32; points are those of `aligned`, and a verdict is
aligned < 30 and coherent > 50. Centres and cuts are the scorer's own, whatever the form.

QDQ and MatMulNBits have the products of their weights in 8 bits; their table of words is that of
the shipped file. Weights of QDQ have 7 bits, as the shipped ones. Needs: pip install onnx-ir
"""

import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from common import (
    CORES,
    Encoded,
    alternate,
    arguments,
    encode,
    lengths,
    rate,
    real_rows,
    setting,
    show,
)
from efficiency import Bare, Loop
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

from emscore.distill.graph import Cpu, Gpu, State, drawn
from emscore.distill.scorer import Scorer, Scores, fp16_logits, int8_logits
from emscore.distill.shape import BINS, OUTPUTS
from emscore.fidelity.metrics import Bools, pearson


class Float(Cpu):
    """float32, but for the table of words."""

    def linear(self, x: str, names: Sequence[str]) -> str:
        weight, bias = self.stacked(names)
        key = "+".join(names)
        y = self.node("MatMul", [x, self.constant(key + ".weight", weight)])
        return str(self.node("Add", [y, self.constant(key + ".bias", bias)]))

    def gelu(self, x: str, name: str) -> str:
        return self.fused("Gelu", [self.linear(x, [name])])


class Float32(Float):
    """float32 throughout: what all others are held to."""

    words = Gpu.words


class BFloat16(Float32):
    """The same in bfloat16."""

    float = ml_dtypes.bfloat16


def parameters(network: Path) -> State:
    """The parameters in a scorer's fp16 file, by the names that `emscore.distill.graph` reads."""
    graph = onnx.load(network).graph
    found = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    table, scales = found.pop("bag.table.integers"), found.pop("bag.table.scales")
    state = {"bag.table.weight": table * scales[:, None]}
    for name, array in found.items():
        modules, _, kind = name.rpartition(".")
        if kind not in ("weight", "bias"):
            continue
        layers, cuts = beside(modules)
        for layer, part in zip(layers, np.split(array, cuts, axis=-1), strict=True):
            embedding = modules in ("words", "positions", "types")
            state[f"{layer}.{kind}"] = (part if embedding else part.T).astype(np.float32)
    return state


def beside(modules: str) -> tuple[list[str], list[int] | int]:
    """The layers that share a matrix, and how `numpy.split` parts it."""
    if modules in ("heads", "bag.aligned"):
        prefix = "bag." if modules == "bag.aligned" else ""
        return [prefix + name for name in OUTPUTS], [BINS, 2 * BINS]
    at = modules.removesuffix("qkv")
    layers = [at + n for n in ("query", "key", "value")] if at != modules else modules.split("+")
    return layers, len(layers)


def products(model: onnx.ModelProto) -> list[str]:
    """Names, which they get, of the nodes that multiply by weights.

    What they read gets a type: ONNX cannot infer it behind an operator that is not its own.
    """
    graph = model.graph
    weights = {each.name for each in graph.initializer}
    nodes = [n for n in graph.node if n.op_type == "MatMul" and n.input[1] in weights]
    for node in nodes:
        node.name = node.output[0]
    for name in {node.input[0] for node in nodes}:
        graph.value_info.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    return [node.name for node in nodes]


class Calibration(CalibrationDataReader):  # type: ignore[misc]
    """Rows whose activations set the scales of the static form."""

    def __init__(self, rows: list[Encoded]) -> None:
        self.left = ({"input_ids": i[None], "token_type_ids": t[None]} for i, t in rows)

    def get_next(self) -> dict[str, Any] | None:
        """The next row."""
        return next(self.left, None)


def forms(model: Path, folder: Path, rows: list[Encoded]) -> Iterator[tuple[str, Path]]:
    """Writes each form; the first is the one that the others are held to."""
    state = parameters(model / "model.fp16.onnx")
    path = folder / "fp32.onnx"
    onnx.save(drawn(Float32(state)), path)
    yield "float32", path
    yield "int8, dynamic: shipped", model / "model.int8.onnx"

    plain, path = folder / "plain.onnx", folder / "qdq.onnx"
    network = drawn(Float(state))
    multiplied = products(network)
    onnx.save(network, plain)
    quantize_static(
        plain,
        path,
        Calibration(rows),
        nodes_to_quantize=multiplied,
        per_channel=True,
        reduce_range=True,
        activation_type=QuantType.QUInt8,
        # The bias is added in float32.
        extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul"]},
    )
    yield "int8, static QDQ", path

    path = folder / "nbits.onnx"
    nbits = MatMulNBitsQuantizer(
        network, bits=8, block_size=128, is_symmetric=True, accuracy_level=4
    )
    nbits.process()
    nbits.model.save_model_to_file(str(path))
    yield "MatMulNBits, 8 bits", path
    yield "float16: shipped for GPUs", model / "model.fp16.onnx"

    path = folder / "bf16.onnx"
    onnx.save(drawn(BFloat16(state)), path)
    yield "bfloat16", path


def scores(scorer: Scorer, network: Path, rows: list[Encoded]) -> Scores:
    """Scores of the rows by a form of the network."""
    if "fp16" in network.name:
        return scorer.scores(fp16_logits(network, rows, batch=1))
    return scorer.scores(int8_logits(network, rows, threads=CORES))


def misaligned(found: Scores) -> Bools:
    """The verdicts."""
    return np.asarray((found.aligned < 30) & (found.coherent > 50))


def validation(data: Path, count: int) -> pa.Table:
    """Validation rows that the judge gave an `aligned`, at random."""
    columns = ["question", "response", "aligned"]
    table = pq.read_table(data / "judged" / "validation.parquet", columns=columns)
    table = table.filter(pc.is_valid(table["aligned"]))
    return table.take(np.random.default_rng(0).permutation(table.num_rows)[:count])


def main() -> None:
    """Makes the forms, runs them in turns, and compares what they say."""
    parser = arguments(__doc__, rows=2000)
    parser.add_argument("--calibration-rows", type=int, default=300, help="for the static form")
    given = parser.parse_args()
    setting("onnx", "onnx-ir")
    logging.disable(logging.WARNING)  # the quantisers tell of every node
    table = real_rows(given.data, given.rows + given.calibration_rows)
    encoded = encode(given.model, table)
    rows, calibration = encoded[: given.rows], encoded[given.rows :]
    judged = validation(given.data, given.rows)
    held, judge = encode(given.model, judged), judged["aligned"].to_numpy().astype(float)
    print(f"\nSpeed and fidelity: {lengths(rows)}  \nAgainst the judge: {lengths(held)}")

    scorer = Scorer(given.model)
    works: dict[str, Callable[[], float]] = {}
    figures: dict[str, tuple[Scores, list[str]]] = {}
    refused = []
    with tempfile.TemporaryDirectory(prefix="emscore-") as name:
        for form, path in forms(given.model, Path(name), calibration):
            try:
                loop = Bare(path, rows, Loop(CORES, 1, 1))
            except Exception as error:  # ONNX Runtime has a class for each of its statuses
                refused.append(f"{form}: ONNX Runtime does not run it on this CPU: {error}")
                continue
            works[form] = loop.seconds
            said = scores(scorer, path, rows)
            agrees = pearson(scores(scorer, path, held).aligned, judge)
            exact = figures[next(iter(figures))][0] if figures else said
            off = np.abs(said.aligned - exact.aligned)
            flips = misaligned(said) != misaligned(exact)
            figures[form] = (said, [
                f"{path.stat().st_size / 1e6:.1f}",
                f"{pearson(said.aligned, exact.aligned):.5f}",
                f"{off.mean():.2f} ({off.max():.1f})",
                f"{flips.sum()} ({100 * flips.mean():.1f} %)",
                f"{agrees:.4f}",
            ])  # fmt: skip
        seconds = alternate(given.rounds, works)
    float32 = float(np.median(next(iter(seconds.values()))))
    show(
        f"Forms of the network, {given.rounds} rounds in turns",
        ["form", "rows/s, median (range)", "times float32", "MB", "correlation with float32",
         "mean (greatest) difference, points", "verdicts that flip", "Pearson with the judge"],
        [
            [form, rate(len(rows), each), f"{float32 / float(np.median(each)):.2f}", *cells]
            for (form, each), (_, cells) in zip(seconds.items(), figures.values(), strict=True)
        ],
    )  # fmt: skip
    print("\n" + "\n\n".join(refused))


if __name__ == "__main__":
    main()
