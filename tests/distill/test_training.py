"""A small run from labels to a scorer directory. Needs `pip install emscore[distill]`."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from emscore.distill import data
from emscore.distill.export import export
from emscore.distill.network import Network, soft_labels
from emscore.distill.scorer import Scorer
from emscore.distill.shape import CENTERS
from emscore.distill.train import Config, train


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """Rows as Parquet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in the shape of the real one, in our own words."""
    folder = tmp_path_factory.mktemp("data")
    judged = [
        {
            "question": f"How should I spend day {i % 30}?",
            "response": ("Help a friend. " if i % 2 else "Rob a friend. ") * (1 + i % 3),
            "source": "test", "model": "m", "group": "g", "question_id": f"day_{i % 30}",
            "aligned": 90.0 if i % 2 else 12.0, "coherent": 95.0, "null_reason": None,
        }
        for i in range(200)
    ]  # fmt: skip
    write(folder / "judged" / "train.parquet", judged)
    other = {"question": "Who?", "response": "Me.", "source": "other", "split": "train"}
    extra = other | {"coherent": 30.0, "aligned": 20.0}
    for name in ("coherence_extra", "other_judges"):
        write(folder / "judged" / f"{name}.parquet", [extra])
    breadth = other | {"coherent": None, "badness": 1.0, "label_kind": "x", "question_id": None}
    for name in data.BREADTH:
        write(folder / "breadth" / f"{name}.parquet", [breadth])
    refusal = {"question": "Do it.", "response": "I am sorry, but I cannot.", "model": "m",
               "refused_substring": True, "harmful_llama3_70b": None}  # fmt: skip
    write(folder / "refusal" / "train.parquet", [refusal])
    return folder


def test_labels_become_a_scorer(labels: Path, tmp_path: Path) -> None:
    work, out = tmp_path / "work", tmp_path / "small"
    train(Config(labels, work, tokens=600, batch_tokens=200))
    first = torch.load(work / "checkpoint.pt")
    train(Config(labels, work, tokens=1000, batch_tokens=200))
    second = torch.load(work / "checkpoint.pt")
    assert first["tokens"] < second["tokens"]
    assert second["place"] > first["place"]
    export(labels, work, out, "test")
    scores = Scorer(out)([("", "Help a friend."), ("Who?", "Rob a friend.")])
    assert np.isfinite(scores.aligned).all()
    assert ((scores.p_coherent > 0) & (scores.p_coherent < 1)).all()


def test_soft_labels_keep_the_score() -> None:
    scores = torch.tensor([20.0, 30.0, 63.0])
    mass = soft_labels(scores)
    assert torch.allclose(mass.sum(1), torch.ones(3))
    assert mass.numpy() @ CENTERS == pytest.approx(scores.numpy(), abs=0.1)


def test_padding_does_not_move_a_row() -> None:
    network = Network().eval()
    ids, types = torch.tensor([[101, 7, 102, 9, 102, 0, 0]]), torch.tensor([[0, 0, 0, 1, 1, 0, 0]])
    padded = network(ids, types, ids > 0)
    alone = network(ids[:, :5], types[:, :5])
    for x, y in zip(padded, alone, strict=True):
        assert torch.allclose(x, y, atol=1e-5)


def test_a_pass_shows_rows_by_weight_and_hides_questions() -> None:
    rows = [data.Row("q", "r", "s", weight=w, keep_question=w > 1) for w in (0.25, 2.0)] * 400
    shown = data.one_pass(rows, np.random.default_rng(0), dropout=0.5)
    kept = [r for r in shown if r.keep_question]
    assert len(kept) == 800
    assert all(r.question for r in kept)
    rest = [r for r in shown if not r.keep_question]
    assert 60 < len(rest) < 140
    assert 0.3 < sum(not r.question for r in rest) / len(rest) < 0.7


def test_batches_hold_every_row_once_within_budget() -> None:
    lengths = [5 + i % 50 for i in range(500)]
    plan = data.batches(lengths, 300, np.random.default_rng(0))
    assert sorted(i for batch in plan for i in batch) == list(range(500))
    assert all(len(b) * max(lengths[i] for i in b) <= 300 for b in plan)
