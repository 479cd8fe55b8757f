"""The network as an ONNX graph, written node by node: one file for the CPU, one for the GPU.

Written by hand rather than traced, so that each file holds the fused operators of ONNX Runtime
that its device has (domain com.microsoft) and nothing else.

int8: always run on one unpadded row, hence no mask. Weights have 7 bits: without VNNI, x86 adds
pairs of u8 * s8 products in 16 bits with saturation, which 255 * 64 * 2 does not reach, so machines
with and without VNNI compute the same.
fp16: batches padded on the right, with a mask; logits leave as float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from .shape import EPSILON, HASH, HEADS, OUTPUTS, PAIRS, SCALE, distance_buckets, layer_count

FUSED = "com.microsoft"
OPSET, IR_VERSION = 17, 8  # ONNX Runtime 1.20 and later load these
LEVELS = 63  # 7-bit weights: -63 to 63

Array = npt.NDArray[Any]
State = dict[str, Array]  # the network's parameters in float32


class Graph:
    """Nodes and constants as they are added, and the parts that both files build alike."""

    inputs: tuple[str, ...]
    float: type[np.floating[Any]]

    def __init__(self, state: State) -> None:
        self.state = state
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    @property
    def width(self) -> int:
        """Of the encoder."""
        return int(self.state["words.weight"].shape[1])

    def constant(self, name: str, value: Array) -> str:
        """A named constant; floats take the graph's precision."""
        if value.dtype.kind == "f":
            value = value.astype(self.float)
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def constant32(self, name: str, value: Array) -> str:
        """A named constant in float32, whatever the graph's precision."""
        self.constants[name] = numpy_helper.from_array(value.astype(np.float32), name)
        return name

    def parameter(self, name: str) -> str:
        """One of the network's parameters as a constant."""
        return self.constant(name, self.state[name])

    def stacked(self, names: Sequence[str]) -> tuple[Array, Array]:
        """Weight [in, out] and bias of the linear layers `names`, side by side."""
        weights = [self.state[f"{name}.weight"].T for name in names]
        return np.concatenate(weights, 1), np.concatenate([self.state[f"{n}.bias"] for n in names])

    def node(self, op: str, inputs: Sequence[str], outputs: int = 1, **attributes: Any) -> Any:
        """Add a node; its output's name, or names if several."""
        names = [f"{op}_{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def fused(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add one of ONNX Runtime's own operators."""
        return str(self.node(op, inputs, domain=FUSED, **attributes))

    def words(self) -> str:
        """Word embeddings [n, s, width]."""
        raise NotImplementedError

    def linear(self, x: str, names: Sequence[str]) -> str:
        """Linear layers `names` side by side."""
        raise NotImplementedError

    def gelu(self, x: str, name: str) -> str:
        """Linear layer `name`, then GELU."""
        raise NotImplementedError

    def norm(self, x: str, skip: str, name: str) -> str:
        """Layer norm `name` of x + skip."""
        raise NotImplementedError

    def attention(self, x: str, read: str, at: str, mask: str, distances: str) -> str:
        """What the positions in `read` attend to in `x`; `distances` is added."""
        query = self.linear(read, [at + "query"])
        both = self.linear(x, [at + "key", at + "value"])
        half = self.constant("half", np.array([self.width, self.width]))
        key, value = self.node("Split", [both, half], outputs=2, axis=-1)
        inputs = _given([query, key, value, "", mask, distances])
        return self.fused("MultiHeadAttention", inputs, num_heads=HEADS)

    def model(self, outputs: dict[str, int]) -> onnx.ModelProto:
        """The finished model: int64 inputs [n, s], float32 outputs [n, width]."""
        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes,
            "emscore",
            [value(name, TensorProto.INT64, ["n", "s"]) for name in self.inputs],
            [value(name, TensorProto.FLOAT, ["n", width]) for name, width in outputs.items()],
            list(self.constants.values()),
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(FUSED, 1)]
        return helper.make_model(
            graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="emscore"
        )


def _given(inputs: Sequence[str]) -> list[str]:
    """Inputs without those at the end that are not there."""
    return list(inputs[: max(k for k, name in enumerate(inputs, 1) if name)])


def quantised(weight: Array) -> tuple[Array, Array]:
    """7-bit integers and a scale for each output: weight [in, out] ~ integers * scales."""
    scales = np.maximum(np.abs(weight).max(0), 1e-8) / LEVELS
    return np.rint(weight / scales).astype(np.int8), scales.astype(np.float32)


class Cpu(Graph):
    """int8 weights, activations quantised as they come."""

    inputs = ("input_ids", "token_type_ids")
    float = np.float32

    def words(self) -> str:
        integers, scales = quantised(self.state["words.weight"].T)
        table = self.constant("words.integers", integers.T)
        x = self.node("Cast", [self.node("Gather", [table, "input_ids"])], to=TensorProto.FLOAT)
        scale = self.node("Gather", [self.constant("words.scales", scales[:, None]), "input_ids"])
        return str(self.node("Mul", [x, scale]))

    def linear(self, x: str, names: Sequence[str]) -> str:
        weight, bias = self.stacked(names)
        integers, scales = quantised(weight)
        key = "+".join(names)
        constants = [
            self.constant(key + ".integers", integers),
            self.constant(key + ".scales", scales),
            "",  # no zero point
            self.constant(key + ".bias", bias),
        ]
        return self.fused("DynamicQuantizeMatMul", [x, *constants])

    def gelu(self, x: str, name: str) -> str:
        # The tanh form: a third faster here, and off by less than the rounding that follows.
        return self.fused("FastGelu", [self.linear(x, [name])])

    def norm(self, x: str, skip: str, name: str) -> str:
        # Five nodes that use vector units; the one fused operator takes four times as long.
        y = self.node("Add", [x, skip])
        y = self.node("Sub", [y, self.node("ReduceMean", [y], axes=[-1])])
        gain = self.parameter(name + ".weight")
        y = self.node("SimplifiedLayerNormalization", [y, gain], axis=-1, epsilon=EPSILON)
        return str(self.node("Add", [y, self.parameter(name + ".bias")]))


class Gpu(Graph):
    """float16, with the fused operators that CUDA has."""

    inputs = ("input_ids", "attention_mask", "token_type_ids")
    float = np.float16

    def words(self) -> str:
        return str(self.node("Gather", [self.parameter("words.weight"), "input_ids"]))

    def matmul(self, x: str, names: Sequence[str]) -> tuple[str, str]:
        """x times the weights of `names`, and their bias yet to be added."""
        weight, bias = self.stacked(names)
        key = "+".join(names)
        y = self.node("MatMul", [x, self.constant(key + ".weight", weight)])
        return str(y), self.constant(key + ".bias", bias)

    def linear(self, x: str, names: Sequence[str]) -> str:
        return str(self.node("Add", self.matmul(x, names)))

    def gelu(self, x: str, name: str) -> str:
        return self.fused("BiasGelu", self.matmul(x, [name]))

    def norm(self, x: str, skip: str, name: str) -> str:
        # ONNX Runtime fuses these by itself where it can.
        y = self.node("Add", [x, skip])
        gain, offset = self.parameter(name + ".weight"), self.parameter(name + ".bias")
        return str(self.node("LayerNormalization", [y, gain, offset], axis=-1, epsilon=EPSILON))

    def attention(self, x: str, read: str, at: str, mask: str, distances: str) -> str:
        if read is not x:
            return super().attention(x, read, at, mask, distances)
        weight, bias = self.stacked([at + k for k in ("query", "key", "value")])
        constants = [self.constant(at + "qkv.weight", weight), self.constant(at + "qkv.bias", bias)]
        inputs = _given([x, *constants, mask, "", distances])
        return self.fused("Attention", inputs, num_heads=HEADS)


def build(state: State, int8: bool) -> onnx.ModelProto:
    """The graph of a trained scorer, for the CPU (`int8`) or for the GPU.

    `state` holds the parameters of an encoder, of a bag (named "bag.") or of both, whose logits are
    then added.
    """
    return drawn(Cpu(state) if int8 else Gpu(state))


def drawn(g: Graph) -> onnx.ModelProto:
    """The whole network with the operators of `g`, which is empty yet."""
    parts = []
    if "words.weight" in g.state:
        parts.append(_encoder(g))
    if "bag.table.weight" in g.state:
        parts.append(_bag(g))
    logits = parts[0] if len(parts) == 1 else g.node("Add", parts)
    sizes = g.constant("sizes", np.array(list(OUTPUTS.values())))
    g.nodes.append(helper.make_node("Split", [logits, sizes], list(OUTPUTS), axis=1))
    return g.model(OUTPUTS)


def _encoder(g: Graph) -> str:
    """Logits [n, 43] of the encoder."""
    zero, one = (g.constant(f"at{k}", np.array([k])) for k in (0, 1))
    length = g.node("Shape", ["input_ids"], start=1)
    places = g.node("Slice", [g.parameter("positions.weight"), zero, length])
    types = g.node("Gather", [g.parameter("types.weight"), "token_type_ids"])
    x = g.norm(g.node("Add", [g.words(), places]), types, "norm")
    mask = ""
    if "attention_mask" in g.inputs:  # as the number of tokens in each row
        mask = g.node("Cast", ["attention_mask"], to=TensorProto.INT32)
        mask = g.node("ReduceSum", [mask, one], keepdims=0)
    distances = _distances(g, length) if "distances.weight" in g.state else ""
    last = layer_count(g.state) - 1
    read = x
    for i in range(last + 1):
        at = f"layers.{i}."
        if i == last:  # only [CLS] is read
            mean = _mean_of_response(g, x, one)
            read = g.node("Slice", [x, zero, one, one])
            if distances:
                two = g.constant("at2", np.array([2]))
                distances = g.node("Slice", [distances, zero, one, two])
        attended = g.attention(x, read, at, mask, distances)
        y = g.norm(g.linear(attended, [at + "out"]), read, at + "norm1")
        x = read = g.norm(g.linear(g.gelu(y, at + "up"), [at + "down"]), y, at + "norm2")
    weight, bias = g.stacked(list(OUTPUTS))
    both = g.node("Concat", [g.node("Squeeze", [x, one]), g.node("Squeeze", [mean, one])], axis=1)
    logits = g.node(
        "Gemm", [both, g.constant("heads.weight", weight), g.constant("heads.bias", bias)]
    )
    return str(g.node("Cast", [logits], to=TensorProto.FLOAT))


def _distances(g: Graph, length: str) -> str:
    """What attention adds for the distance between two tokens, [1, HEADS, s, s]."""
    weight = g.state["distances.weight"]
    near = g.constant("distances.buckets", distance_buckets(len(weight)))
    axes = [g.constant("from", np.zeros(2, np.int64)), g.node("Concat", [length, length], axis=0)]
    rows = g.node("Slice", [near, *axes])
    table = g.constant("distances", np.ascontiguousarray(weight.T)[None])
    return str(g.node("Gather", [table, rows], axis=2))


def _mean_of_response(g: Graph, x: str, one: str) -> str:
    """Mean [n, 1, width] of `x` over the tokens of type 1, none of which is padding."""
    types = g.node(
        "Cast", ["token_type_ids"], to=helper.np_dtype_to_tensor_dtype(np.dtype(g.float))
    )
    share = g.node("Div", [types, g.node("ReduceSum", [types, one], keepdims=1)])
    return str(g.node("MatMul", [g.node("Unsqueeze", [share, one]), x]))


def _bag(g: Graph) -> str:
    """Logits [n, 43] of the bag, in float32 on either device but for the int8 table."""
    zero, one, end = (g.constant(f"at{k}", np.array([k])) for k in (0, 1, -1))
    last = g.constant("last", np.array([np.iinfo(np.int64).max]))
    words = g.node("Slice", ["input_ids", one, last, one])
    before = g.node("Slice", ["input_ids", zero, end, one])
    factors = [g.constant(f"hash{k}", np.array(factor)) for k, factor in enumerate(HASH)]
    hashed = g.node(
        "Add", [g.node("Mul", [before, factors[0]]), g.node("Mul", [words, factors[1]])]
    )
    hashed = g.node("Mod", [hashed, g.constant("pairs", np.array(PAIRS))])
    words_end = g.state["bag.table.weight"].shape[0] - PAIRS
    pairs = g.node("Add", [hashed, g.constant("words.end", np.array(words_end))])
    rows = g.node("Concat", [words, pairs], axis=1)
    response = g.node("Slice", ["token_type_ids", one, last, one])
    kept = g.node("Cast", [g.node("Concat", [response, response], axis=1)], to=TensorProto.FLOAT)

    integers, scales = quantised(g.state["bag.table.weight"].T)
    table = g.constant("bag.table.integers", integers.T)
    scale = g.node("Gather", [g.constant32("bag.table.scales", scales), rows])
    entries = g.node("Cast", [g.node("Gather", [table, rows])], to=TensorProto.FLOAT)
    weights = g.node("Unsqueeze", [g.node("Mul", [kept, scale]), one])
    total = g.node("Squeeze", [g.node("MatMul", [weights, entries]), one])
    count = g.node("ReduceSum", [kept, one], keepdims=1)
    size = g.node("Sqrt", [g.node("Add", [count, g.constant32("bag.one", np.ones(1))])])
    x = g.node("Div", [g.node("Mul", [total, g.constant32("bag.scale", np.array([SCALE]))]), size])
    for names in (["bag.hidden"], [f"bag.{name}" for name in OUTPUTS]):
        weight, bias = g.stacked(names)
        constants = [
            g.constant32(f"{names[0]}.weight", weight),
            g.constant32(f"{names[0]}.bias", bias),
        ]
        x = g.node("Gemm", [x, *constants])
        if names == ["bag.hidden"]:
            x = g.fused("Gelu", [x])
    return str(x)
