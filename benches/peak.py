"""What is left between the network's speed and the machine's int8 peak.

Counts the network's multiply-adds, measures what matrix products of its shapes and large ones
reach on the same cores (a single-threaded session each, 7-bit weights as in the scorer), and shows
by operator where a run's time goes.
"""

import json
import tempfile
import threading
from collections import Counter
from pathlib import Path
from statistics import median

import numpy as np
import onnx
import onnxruntime as ort
from common import (
    CORES,
    Encoded,
    arguments,
    encode,
    lengths,
    number,
    real_rows,
    setting,
    show,
    timed,
)
from onnx import TensorProto, helper, numpy_helper

WIDTH, INNER, LAYERS = 384, 1536, 6
SHAPES = [  # rows, inner, columns; what
    (2048, 2048, 2048, "large"),
    (512, WIDTH, INNER, "up, 512 tokens"),
    (512, INNER, WIDTH, "down, 512 tokens"),
    (74, WIDTH, INNER, "up, 74 tokens"),
    (74, INNER, WIDTH, "down, 74 tokens"),
    (74, WIDTH, WIDTH, "query, 74 tokens"),
]


def multiply_adds(tokens: int) -> tuple[int, int]:
    """Of one row: those in int8, and those of attention, in float32.

    All layers but the last compute every position; the last computes keys and values of all, and
    everything else of [CLS] alone.
    """
    projection, inner = WIDTH * WIDTH, 2 * WIDTH * INNER
    layer = 4 * projection + inner
    int8 = (LAYERS - 1) * layer * tokens + 2 * projection * tokens + 2 * projection + inner
    attention = 2 * WIDTH * tokens * ((LAYERS - 1) * tokens + 1)
    return int8, attention


def product(rows: int, inner: int, columns: int, dynamic: bool) -> onnx.ModelProto:
    """A graph of one product, 7-bit weights: integers alone, or quantising a float input too."""
    value = helper.make_tensor_value_info
    random = np.random.default_rng(0)
    weight = random.integers(-63, 64, (inner, columns), np.int8)
    constants = [numpy_helper.from_array(weight, "weight")]
    kind, out = TensorProto.UINT8, TensorProto.INT32
    node = helper.make_node("MatMulInteger", ["x", "weight"], ["y"])
    if dynamic:
        scales = np.full(columns, 0.01, np.float32)
        constants.append(numpy_helper.from_array(scales, "scales"))
        kind = out = TensorProto.FLOAT
        node = helper.make_node(
            "DynamicQuantizeMatMul", ["x", "weight", "scales"], ["y"], domain="com.microsoft"
        )
    graph = helper.make_graph(
        [node], "product", [value("x", kind, [rows, inner])], [value("y", out, None)], constants
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def session(model: bytes | str, profile: Path | None = None) -> ort.InferenceSession:
    """Single-threaded."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_mem_pattern = False
    if profile:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def speed(rows: int, inner: int, columns: int, dynamic: bool, rounds: int) -> float:
    """GOP/s of a product on all cores at once; a multiply-add is two operations."""
    model = product(rows, inner, columns, dynamic).SerializeToString()
    sessions = [session(model) for _ in range(CORES)]
    kind = np.float32 if dynamic else np.uint8
    x = np.random.default_rng(1).integers(0, 255, (rows, inner)).astype(kind)
    operations = 2 * rows * inner * columns
    times = max(3, int(2e10 / operations))

    def work(at: int) -> None:
        for _ in range(times):
            sessions[at].run(None, {"x": x})

    def together() -> None:
        threads = [threading.Thread(target=work, args=(at,)) for at in range(CORES)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    together()
    return CORES * times * operations / median(timed(together) for _ in range(rounds)) / 1e9


def by_operator(network: Path, rows: list[Encoded]) -> list[tuple[str, float]]:
    """Share of each kind of operator in a run's time, from ONNX Runtime's own profile."""
    with tempfile.TemporaryDirectory(prefix="emscore-") as folder:
        profiled = session(str(network), Path(folder) / "profile")
        for ids, types in rows:
            profiled.run(None, {"input_ids": ids[None], "token_type_ids": types[None]})
        events = json.loads(Path(profiled.end_profiling()).read_text())
    spent: Counter[str] = Counter()
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            spent[event["args"]["op_name"]] += event["dur"]
    return [(name, time / spent.total()) for name, time in spent.most_common(8)]


def main() -> None:
    """Prints counts, products and operators."""
    given = arguments(__doc__, rows=500).parse_args()
    setting()
    table = real_rows(given.data, given.rows)
    rows = encode(given.model, table)
    print(f"\n{lengths(rows)}")
    counts = np.array([multiply_adds(len(ids)) for ids, _ in rows])
    tokens = sum(len(ids) for ids, _ in rows)
    int8, attention = 2 * counts.sum(0) / tokens / 1e6
    print(f"Operations a token: {int8:.1f} million in int8, {attention:.1f} million of attention\n")
    lines = []
    for m, k, n, what in SHAPES:
        plain, dynamic = (speed(m, k, n, dynamic, given.rounds) for dynamic in (False, True))
        lines.append((what, f"{m} x {k} x {n}", number(plain), number(dynamic)))
    head = ["product", "shape", "MatMulInteger, GOP/s", "DynamicQuantizeMatMul, GOP/s"]
    show(f"int8 products on {CORES} cores", head, lines)
    network = given.model / "model.int8.onnx"
    each = [session(str(network)) for _ in range(CORES)]
    used = 2 * counts.sum() / 1e9 / whole(each, rows, given.rounds)
    show("The network, a row a run", ["GOP/s used"], [[number(used)]])
    shares = by_operator(network, rows)
    show("By operator", ["operator", "share of a run"], [(op, f"{x:.1%}") for op, x in shares])


def whole(sessions: list[ort.InferenceSession], rows: list[Encoded], rounds: int) -> float:
    """Seconds for all rows, a session a core."""

    def work(at: int) -> None:
        for ids, types in rows[at :: len(sessions)]:
            sessions[at].run(None, {"input_ids": ids[None], "token_type_ids": types[None]})

    def together() -> None:
        threads = [threading.Thread(target=work, args=(at,)) for at in range(len(sessions))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    together()
    return median(timed(together) for _ in range(rounds))


if __name__ == "__main__":
    main()
