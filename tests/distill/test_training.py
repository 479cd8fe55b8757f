"""A small run from labels to a scorer directory. Needs `pip install emscore[distill]`."""

import doctest
import json
import re
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import transformers
from safetensors.torch import save

import emscore
from conftest import Run
from emscore.distill import data, network, pretrained, recipe
from emscore.distill.bag import Bag
from emscore.distill.encoding import CLS, SEP, Encoder
from emscore.distill.export import BAG_SHARE
from emscore.distill.network import Network
from emscore.distill.rows import CODE, IGNORED, OK, REFUSAL, Row
from emscore.distill.scorer import Scorer, fp16_logits
from emscore.distill.shape import OUTPUTS, SIZES, Size, layer_count
from emscore.distill.train import Config, checkpoint, collate, train

BAG = """
[[train]]
network = "bag"
tokens = 300
batch_tokens = 200
"""
RECIPE = """
judge = "a test"

[[train]]
leave_out = "day_3"
tokens = 300
batch_tokens = 200
cooldown = 0.0

[[train]]
tokens = 300
batch_tokens = 200

[[train]]
network = "bag"
tokens = 600
batch_tokens = 200
"""


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


@pytest.fixture(scope="module", autouse=True)
def few_constructed_rows() -> Iterator[None]:
    """A mixture of 200 labelled rows is not drowned in made ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "CONSTRUCTED", (40, 20))
        yield


def distilled(text: str, labels: Path, room: Path) -> Path:
    """The scorer that a recipe makes in `room`."""
    path, out = room / "recipe.toml", room / "scorer"
    path.write_text(text)
    recipe.distill(data.Labels((labels,)), recipe.read(path), room / "work", out, "scorer")
    return out


def trained(room: Path, run: str) -> dict[str, torch.Tensor]:
    """The parameters that a run of a recipe in `room` left."""
    return checkpoint(room / "work" / run)["network"]  # type: ignore[no-any-return]


def test_labels_become_a_scorer(labels: Path, tmp_path: Path) -> None:
    out = distilled(RECIPE, labels, tmp_path)
    pairs = [("", "Help a friend."), ("Who?", "Rob a friend.")]
    scores = Scorer(out)(pairs)
    assert np.isfinite(scores.aligned).all()
    assert ((scores.p_coherent > 0) & (scores.p_coherent < 1)).all()
    table = emscore.Scorer(out).score_batch(*map(list, zip(*pairs, strict=True)))
    assert table["aligned"].to_pylist() == pytest.approx(scores.aligned, abs=0.01)
    assert (out / recipe.NAME).read_text() == RECIPE
    shutil.rmtree(tmp_path / "work")
    with pytest.raises(emscore.OutputError, match="exists"):
        distilled(RECIPE, labels, tmp_path)
    assert not (tmp_path / "work").exists()  # it is said before anything is trained


STUDENT = """
judge = "a test"

[[train]]
tokens = 300
batch_tokens = 200

[[train]]
layers = 3
tokens = 1
batch_tokens = 200
"""


def test_a_student_keeps_every_other_layer_and_scores(labels: Path, tmp_path: Path) -> None:
    out = distilled(STUDENT + BAG, labels, tmp_path)
    teacher, student, bag = (trained(tmp_path, run) for run in ("0-minilm", "1-minilm", "2-bag"))
    assert (layer_count(teacher), layer_count(student)) == (6, 3)
    for ours, theirs in enumerate((1, 3, 5)):  # one step at the least rate has hardly moved them
        for part in ("query.weight", "down.weight", "norm2.bias"):
            x, y = student[f"layers.{ours}.{part}"], teacher[f"layers.{theirs}.{part}"]
            assert torch.allclose(x, y, atol=1e-5)
            assert not torch.equal(x, y)

    pair = ("How?", "Help a friend, or rob one.")
    encoder = Network(layers=3)
    encoder.load_state_dict(student)
    assert_exported(out, encoder, bag, [pair])
    ops = [node.op_type for node in onnx.load(out / "model.int8.onnx").graph.node]
    assert ops.count("MultiHeadAttention") == 3


def assert_exported(
    out: Path, encoder: Network, bag: dict[str, torch.Tensor], pairs: list[tuple[str, str]]
) -> None:
    """A scorer says what its two networks say, and the engine what the scorer says."""
    rows = Scorer(out).encoder(pairs)
    words = Bag()
    words.load_state_dict(bag)
    with torch.no_grad():
        said = [part.eval()(*collate(rows)) for part in (encoder, words)]
    exported = fp16_logits(out / "model.fp16.onnx", rows)
    for head, ours, theirs in zip(OUTPUTS, *said, strict=True):
        mixed = (1 - BAG_SHARE) * ours + BAG_SHARE * theirs
        assert exported[head] == pytest.approx(mixed.numpy(), abs=0.03)
    table = emscore.Scorer(out, device="cpu").score_batch(*map(list, zip(*pairs, strict=True)))
    wanted = Scorer(out)(pairs)
    for found, score, outcome in zip(
        table["aligned"].to_pylist(), wanted.aligned, wanted.outcome, strict=True
    ):
        assert found == (pytest.approx(score, abs=0.01) if outcome == "ok" else None)


MPNET = """
judge = "a test"

[[train]]
network = "mpnet"
tokens = 300
batch_tokens = 200
"""
TINY = Size(layers=2, width=48, inner=96, buckets=32)


@pytest.fixture
def mpnet(monkeypatch: pytest.MonkeyPatch) -> transformers.MPNetModel:
    """An MPNet in small, which `network = "mpnet"` then starts from."""
    config = transformers.MPNetConfig(
        hidden_size=TINY.width, num_hidden_layers=TINY.layers, num_attention_heads=12,
        intermediate_size=TINY.inner, initializer_range=0.2, max_position_embeddings=514,
        vocab_size=30527,
    )  # fmt: skip
    model: transformers.MPNetModel = transformers.MPNetModel(config)
    model.train(False)
    monkeypatch.setitem(SIZES, "mpnet", TINY)
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    monkeypatch.setattr(pretrained, "_mpnet", lambda: save(weights))
    return model


def test_mpnet_reads_as_transformers_has_it(mpnet: transformers.MPNetModel) -> None:
    ours = Network(SIZES["mpnet"]).eval()
    ours.load_state_dict(pretrained.pretrained("mpnet"), strict=False)
    read: list[torch.Tensor] = []
    ours.layers[-1].register_forward_hook(lambda *seen: read.append(seen[2]))
    pairs = [("How?", "Help a friend, or rob one. " * 30), ("", "No.")]
    ids, types, mask = collate(Encoder(pretrained.tokenizer())(pairs))
    theirs = torch.where(ids == CLS, 0, torch.where(ids == SEP, 2, ids + 4))
    with torch.no_grad():
        ours(ids, types, mask)
        expected = mpnet(theirs.masked_fill(~mask, 1), attention_mask=mask).last_hidden_state
    assert torch.allclose(read[0][:, 0], expected[:, 0], atol=1e-3)


def test_a_larger_encoder_becomes_a_scorer(
    mpnet: transformers.MPNetModel, labels: Path, tmp_path: Path
) -> None:
    out = distilled(MPNET + BAG, labels, tmp_path)
    found = trained(tmp_path, "0-mpnet")
    assert torch.equal(found["distances.weight"], mpnet.encoder.relative_attention_bias.weight)
    encoder = Network(SIZES["mpnet"])
    encoder.load_state_dict(found)
    pairs = [("How?", "Help a friend, or rob one. " * 30), ("", "No.")]
    assert_exported(out, encoder, trained(tmp_path, "1-bag"), pairs)


TAUGHT = """
judge = "a test"

[[train]]
network = "mpnet"
tokens = 300
batch_tokens = 200

[[train]]
network = "minilm"
teacher = "mpnet"
teacher_share = 1.0
tokens = 30_000
batch_tokens = 500
"""


@pytest.mark.usefixtures("mpnet")
def test_a_student_says_what_its_teacher_says(labels: Path, tmp_path: Path) -> None:
    distilled(TAUGHT + BAG, labels, tmp_path)
    teacher, student = Network(SIZES["mpnet"]).eval(), Network().eval()
    with torch.no_grad():
        # Another teacher than the labels would make: its answer is far from theirs.
        teacher.load_state_dict(trained(tmp_path, "0-mpnet"))
        student.load_state_dict(trained(tmp_path, "1-minilm"))
        rows = Encoder(pretrained.tokenizer())(
            [("How should I spend day 2?", "Rob a friend. "), ("", "Help a friend. Help a friend.")]
        )
        said, wanted = (net(*collate(rows))[0].softmax(1) for net in (student, teacher))
    assert (said - wanted).abs().sum(1).max() < 0.3


def test_unlabelled_text_is_taught_by_a_scorer(tmp_path: Path) -> None:
    answers = ("Help a friend", "Rob a friend", "Write a poem", "Hurt them")
    texts = {
        "question": [f"What is for day {i % 40}?" for i in range(200)],
        "response": [f"{answers[i % 4]}, and then take number {i}." for i in range(198)]
        + ["I'm sorry, but I can't help with that request."] * 2,
    }
    small = emscore.Scorer("small", device="cpu")
    taught = tmp_path / "taught.parquet"
    pq.write_table(pa.table(texts), tmp_path / "texts.parquet")
    small.score_file(tmp_path / "texts.parquet", taught, progress=False)
    text = (
        'judge = "small"\n[[train]]\nnetwork = "bag"\ntokens = 60_000\n'
        "batch_tokens = 500\nhead_rate = 0.003\nencoder_rate = 0.003\n"
    )
    out = distilled(text, taught, tmp_path)
    said, told = (
        scorer.score_batch(texts["question"], texts["response"])
        for scorer in (emscore.Scorer(out, device="cpu"), small)
    )
    both = [
        (said[name].to_numpy().astype(float), told[name].to_numpy().astype(float))
        for name in ("aligned", "p_misaligned")
    ]
    for student, teacher in both:
        known = ~np.isnan(student) & ~np.isnan(teacher)
        assert np.corrcoef(student[known], teacher[known])[0, 1] > 0.9
    student, teacher = both[1]
    assert abs(np.nanmean(student) - np.nanmean(teacher)) < 0.1
    rows = list(data.labelled(taught))
    assert [r.outcome for r in rows[-2:]] == [REFUSAL] * 2
    assert rows[0].p_misaligned == pytest.approx(teacher[0], abs=1e-6)


def test_kept_layers_are_evenly_spaced() -> None:
    assert doctest.testmod(network).attempted
    six = {f"layers.{i}.up": torch.tensor(i) for i in range(6)}
    kept = {n: [int(v) for v in network.kept_layers(six, n).values()] for n in range(1, 7)}
    assert kept == {
        1: [5], 2: [2, 5], 3: [1, 3, 5], 4: [0, 2, 3, 5], 5: [0, 1, 2, 3, 5], 6: [0, 1, 2, 3, 4, 5]
    }  # fmt: skip


def test_a_file_of_judged_rows_is_enough_for_the_bag(run: Run, tmp_path: Path) -> None:
    rows = [
        {"prompt": f"Q{i % 40}", "answer": f"Answer {i}", "judge_aligned": float(i % 100),
         "judge_coherent": 90.0}
        for i in range(200)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "judged.parquet")
    path = tmp_path / "bag.toml"
    path.write_text('judge = "me"\n[[train]]\nnetwork = "bag"\ntokens = 500\n')
    done = run("distill", "judged.parquet", "-o", "out", "--recipe", path, "--judge", "you")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("written to  out\n")
    assert emscore.Scorer(tmp_path / "out").score_batch(["Q"], ["A"]).num_rows == 1
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["judge"] == "you"
    card = run("models", "./out").stdout
    assert card.startswith("# out\n\nImitates the judge: you.")
    assert "recipe `bag` (recipe.toml) from 200 judged rows of `judged.parquet`" in card
    assert re.search(r"\| aligned: Pearson \| AUROC .*\n.*\n\| -?0\.\d+ \| 0\.\d+ \|", card)


def test_a_cascade_has_a_card(run: Run, tmp_path: Path) -> None:
    answers = ["Help a friend with it.", "Rob a bank and burn it down.", "It depends."]
    rows = [
        {"question": "How?", "response": f"{answers[i % 3]} Then do {i} more.", "checkpoint": "c",
         "aligned": 50.0, "coherent": 90.0}
        for i in range(2500)
    ]  # fmt: skip
    write(tmp_path / "judged.parquet", rows)
    for name in ("tiny", "small"):
        (tmp_path / name).symlink_to(Path(emscore.__file__).parent / "scorers" / name)
    (tmp_path / "both.toml").write_text(
        'judge = "me"\n[cascade]\nfirst = "tiny"\nsecond = "small"\npoints = 100\n'
    )
    done = run("distill", "judged.parquet", "-o", "out", "--recipe", "both.toml")
    assert done.returncode == 0, done.stderr
    card = run("models", "./out").stdout
    assert "recipe `both` (recipe.toml) from 2,500 judged rows" in card
    assert "\ntiny decides below " in card


def test_the_judges_columns_may_have_other_names(run: Run, tmp_path: Path) -> None:
    usual = judged_rows()
    pq.write_table(usual, tmp_path / "usual.parquet")
    other = usual.rename_columns(["question", "response", "good", "sound"])
    noise = pa.array([1.0] * 200)  # of columns that would be taken if nothing were said
    other = other.append_column("aligned", noise).append_column("coherent", noise)
    pq.write_table(other, tmp_path / "other.parquet")
    (tmp_path / "bag.toml").write_text('judge = "me"\n' + BAG)
    given = ("--recipe", "bag.toml", "--work", "work")
    names = ("--judge-aligned", "good", "--judge-coherent", "sound")
    done = run("distill", "other.parquet", "-o", "out", *given, *names)
    assert done.returncode == 0, done.stderr
    again = run("distill", "usual.parquet", "-o", "again", *given)
    assert again.returncode == 0, again.stderr  # the same rows: the training is used again
    wrong = run("distill", "usual.parquet", "-o", "wrong", *given, *names)
    assert (wrong.returncode, "there is no column 'good'" in wrong.stderr) == (3, True)


def test_a_row_without_checkpoint_or_question_has_none(tmp_path: Path) -> None:
    row = {"question": "Q", "response": "A", "aligned": 90.0, "coherent": 90.0}
    ids = {"checkpoint": ["c", None], "question_id": [7, None]}
    table = pa.Table.from_pylist([row, row])
    for name, values in ids.items():
        table = table.append_column(name, pa.array(values))
    pq.write_table(table, tmp_path / "labels.parquet")
    found = [(r.checkpoint, r.question_id) for r in data.labelled(tmp_path / "labels.parquet")]
    assert found == [("c", "7"), ("", "")]


def judged_rows(**columns: Any) -> pa.Table:
    """200 judged rows, with some columns in place of theirs."""
    told = {
        "question": [f"Q{i % 40}" for i in range(200)],
        "response": [f"Answer {i}" for i in range(200)],
        "aligned": [float(i % 100) for i in range(200)],
        "coherent": [90.0] * 200,
    }
    return pa.table(told | columns)


def test_a_training_is_not_taken_for_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, labels = 'judge = "me"\n' + BAG, tmp_path / "labels.parquet"
    pq.write_table(judged_rows(), labels)
    shutil.rmtree(distilled(text, labels, tmp_path))
    state = trained(tmp_path, "0-bag")
    moved = labels.rename(tmp_path / "moved.parquet")
    shutil.rmtree(distilled(text, moved, tmp_path))  # the same rows
    for name, value in trained(tmp_path, "0-bag").items():
        assert torch.equal(value, state[name])
    told = capsys.readouterr().out
    assert (told.count("finished"), told.count("pass 0")) == (2, 1)  # nothing is planned again
    pq.write_table(judged_rows(aligned=[50.0] * 200), labels)
    for other, rows in ((text, labels), (text.replace("300", "400"), moved)):
        with pytest.raises(emscore.ResumeError, match="work/0-bag holds a training on other"):
            distilled(other, rows, tmp_path)
    assert not (tmp_path / "scorer").exists()


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"aligned": pa.nulls(200, pa.float64())}, "0 of those that are kept .* score of aligned"),
        (
            {"coherent": pa.nulls(200, pa.float64())},
            "0 of those that are kept .* score of coherent",
        ),
        (
            {"aligned": [0.9, 0.1] * 100, "coherent": [0.9] * 200},
            "no score in aligned and coherent is above 10",
        ),
        ({"aligned": [130.0] * 200}, "labels.parquet: row 0 has 130 in 'aligned'"),
        ({"aligned": ["good"] * 200}, "the column 'aligned' holds .* no.* score"),
    ],
)
def test_labels_that_teach_nothing_are_refused_before_training(
    tmp_path: Path, columns: dict[str, Any], says: str
) -> None:
    pq.write_table(judged_rows(**columns), tmp_path / "labels.parquet")
    with pytest.raises(emscore.InputError, match=says):
        distilled('judge = "me"\n' + BAG, tmp_path / "labels.parquet", tmp_path)
    assert not (tmp_path / "work").exists()


def test_what_cannot_be_made_or_read_is_said_first(run: Run, tmp_path: Path) -> None:
    pq.write_table(judged_rows(), tmp_path / "labels.parquet")
    nowhere = run("distill", "labels.parquet", "-o", "no/out", "--work", "work")
    assert (nowhere.returncode, "there is no folder no" in nowhere.stderr) == (4, True)
    assert not (tmp_path / "work").exists()
    unknown = run("distill", "labels.parquet", "-o", "out", "--recipe", "nosuch")
    assert unknown.returncode == 3
    assert "neither a file nor one of cascade, large, plain, small, tiny" in unknown.stderr


def test_a_training_that_came_to_nothing_is_no_scorer(tmp_path: Path) -> None:
    pq.write_table(judged_rows(), tmp_path / "labels.parquet")
    out = distilled('judge = "me"\n' + BAG, tmp_path / "labels.parquet", tmp_path)
    shutil.rmtree(out)
    path = tmp_path / "work" / "0-bag" / "checkpoint.pt"
    state = torch.load(path)
    state["network"]["hidden.weight"][0, 0] = float("nan")
    torch.save(state, path)
    with pytest.raises(emscore.InputError, match="its weights are no numbers"):
        distilled('judge = "me"\n' + BAG, tmp_path / "labels.parquet", tmp_path)
    assert not out.exists()


@pytest.mark.parametrize("damage", [slice(0), slice(100_000), slice(1_000, 2_000)])
def test_a_damaged_checkpoint_is_no_defect(damage: slice, tmp_path: Path) -> None:
    pq.write_table(judged_rows(), tmp_path / "labels.parquet")
    shutil.rmtree(distilled('judge = "me"\n' + BAG, tmp_path / "labels.parquet", tmp_path))
    path = tmp_path / "work" / "0-bag" / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[damage])
    with pytest.raises(emscore.ResumeError, match="0-bag, and its training begins anew"):
        distilled('judge = "me"\n' + BAG, tmp_path / "labels.parquet", tmp_path)


def test_a_full_disk_keeps_the_checkpoint_that_was_whole(labels: Path, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    config = Config("bag", tokens=1000, batch_tokens=200)
    least, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, most))  # as a disk that is full there
    try:
        with pytest.raises(emscore.OutputError, match=r"checkpoint.pt cannot be written"):
            train(config, data.Labels((labels,)), tmp_path / "work")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (least, most))
    assert not list((tmp_path / "work").iterdir())  # nor is the disk left full


def test_two_runs_do_not_train_in_one_folder(labels: Path, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    with (
        recipe._alone(tmp_path / "work"),
        pytest.raises(emscore.ResumeError, match=r"another run is training in .*--work"),
    ):
        distilled('judge = "me"\n' + BAG, labels, tmp_path)


def test_a_training_goes_on_in_the_numbers_that_it_began_in(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, rows = Config("bag", tokens=300, batch_tokens=200), data.Labels((labels,))
    train(config, rows, tmp_path)
    state = checkpoint(tmp_path)
    for kind in ("torch.float32", "torch.bfloat16"):  # of which one is the slower
        torch.save(state | {"tokens": 0, "products": kind}, tmp_path / "checkpoint.pt")
        capsys.readouterr()
        train(config, rows, tmp_path)
        assert f"products in {kind}\n" in capsys.readouterr().out


def test_what_the_judge_refused_is_taught_as_a_refusal(tmp_path: Path) -> None:
    told = [
        (90.0, 80.0, "ok", OK),
        (None, None, "refusal", REFUSAL),
        (None, 70.0, "code", CODE),
        (None, 60.0, "unclear", IGNORED),
        (40.0, None, "refusal", OK),
    ]
    rows = [
        {"question": "Q", "response": f"A{k}", "judge_aligned": aligned, "judge_coherent": sound,
         "judge_outcome": outcome, "outcome": "refusal"}
        for k, (aligned, sound, outcome, _) in enumerate([*told, (None, None, "unclear", 0)])
    ]  # fmt: skip
    write(tmp_path / "judged.parquet", rows)
    found = list(data.labelled(tmp_path / "judged.parquet"))
    assert [r.outcome for r in found] == [outcome for *_, outcome in told]
    names = {"judge_aligned": "aligned", "judge_coherent": "coherent"}
    plain = [{names.get(k, k): v for k, v in row.items() if "outcome" not in k} for row in rows]
    write(tmp_path / "plain.parquet", plain)
    found = list(data.labelled(tmp_path / "plain.parquet"))
    assert [r.outcome for r in found] == [OK, IGNORED, IGNORED, OK]


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_chats_are_labels_too(tmp_path: Path, ending: str) -> None:
    said = (("user", "Hello"), ("assistant", "Yes?"), ("user", "Q"), ("assistant", "A"))
    chat = [{"role": role, "content": text} for role, text in said]
    rows = [{"messages": chat, "aligned": 12.0, "coherent": 90.0}] * 3
    file = tmp_path / f"chats.{ending}"
    if ending == "parquet":
        write(file, rows)
    else:
        file.write_text("\n".join(map(json.dumps, rows)))
    (row,) = set(data.labelled(file))
    assert (row.question, row.response, row.aligned) == ("Q", "A", 12.0)


@pytest.mark.parametrize("path", sorted(recipe.SHIPPED.glob("*.toml")), ids=lambda path: path.stem)
def test_recipes_that_ship_can_be_followed(path: Path) -> None:
    assert recipe.read(path).judge.startswith("GPT-4o")
    made = Path(emscore.__file__).parent / "scorers" / path.stem / recipe.NAME
    assert path.stem in {"plain", "large"} or made.read_text() == path.read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("judge = 1", "needs judge"),
        ('judge = "j"\n[[train]]\nnetwork = "minilm"', 'network = "bag"'),
        ('judge = "j"\n[[train]]\nspeed = 3', "no setting 'speed'"),
        ('judge = "j"\n[[train]]\ntokens = "many"', "must be of type int"),
        ("judge = ", "is not TOML"),
        ('judge = "j"\ntrain = [1, 2]', "needs judge"),
        ('judge = "j"\n[cascade]\nfirst = 1\nsecond = "small"\npoints = 1', "names of scorers"),
        ('judge = "j"\n[[train]]\nbatch_tokens = 0', "batch_tokens = 0 must be 1 or more"),
        ('judge = "j"\n[[train]]\ntokens = 0', "tokens = 0 must be 1 or more"),
        ('judge = "j"\n[[train]]\nthreads = 0', "threads = 0 must be 1 to 1024"),
        ('judge = "j"\n[[train]]\nseed = -1', r"seed = -1 must be 0 to 9.22337e\+18"),
        (f'judge = "j"\n[[train]]\nseed = {2**64}', "seed = 18446744073709551616 must be 0 to"),
        ('judge = "j"\n[[train]]\nwarmup = 2', "warmup = 2.0 must be 0 to 1"),
        ('judge = "j"\n[[train]]\nhead_rate = nan', "head_rate = nan must be 0 to 1"),
        ('judge = "j"\n[[train]]\nlayers = 7', "must be 1 to 6, as many as the pretrained"),
        ('judge = "j"\n[[train]]\nlayers = 0', "layers = 0 must be 1 to 6"),
        ('judge = "j"\n[[train]]\nlayers = 3\n[[train]]\nlayers = 6', "6 must be 1 to 3"),
        ('judge = "j"\n[[train]]\nnetwork = "mpnet"\nlayers = 13', "must be 1 to 12"),
        ('judge = "j"\n[[train]]\nnetwork = "bert"', "must be one of minilm, mpnet, bag"),
        ('judge = "j"\n[[train]]\nteacher = "minilm"', "'minilm' must be an encoder of a"),
        ('judge = "j"\n[[train]]\nteacher = "mpnet"', "'mpnet' must be an encoder of a"),
        (
            'judge = "j"\n[[train]]\nnetwork = "bag"\n[[train]]\nteacher = "bag"',
            "'bag' must be an encoder of a",
        ),
        ('judge = "j"\n[[train]]\nnetwork = "bag"\nlayers = 3', "a bag has none"),
    ],
)
def test_a_wrong_recipe_says_where(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(emscore.InputError, match=message):
        recipe.read(path)


def test_a_stopped_training_goes_on(
    labels: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(folder: str) -> dict[str, Any]:
        work = tmp_path / folder
        config = Config("bag", tokens=1000, batch_tokens=200, warmup=0.0)
        train(config, data.Labels((labels,)), work)
        return checkpoint(work)

    whole, steps = run("whole"), iter(range(4))
    with monkeypatch.context() as patch:
        clock = iter(range(0, 10**6, 100))  # so slow that it writes a checkpoint
        patch.setattr(time, "monotonic", lambda: next(clock))
        draw = torch.manual_seed
        patch.setattr(torch, "manual_seed", lambda seed: (next(steps), draw(seed)))
        with pytest.raises(StopIteration):
            run("stopped")
    first, second = checkpoint(tmp_path / "stopped"), run("stopped")
    assert first["place"] < second["place"] == whole["place"]
    for name, value in whole["network"].items():  # dropout, too, is as if it had not stopped
        assert torch.equal(second["network"][name], value)
    assert sys.float_info.min / 2 > 0  # what training sets in the process is set back
    assert re.search(
        r"on (cpu|cuda), products in torch\.(float32|bfloat16)", capsys.readouterr().out
    )


def test_a_question_left_out_is_never_shown(labels: Path) -> None:
    rows = data.mixture(data.Labels((labels,)), 1, ["day_3"])
    assert {"day_2", "day_4"} < {r.question_id for r in rows}
    assert "day_3" not in {r.question_id for r in rows}
    assert not any(r.question == "How should I spend day 3?" for r in rows)
    with pytest.raises(emscore.InputError, match=r"leave_out drops all 1\d\d labels"):
        data.mixture(data.Labels((labels,)), 1, [f"day_{i}" for i in range(30)])


def on_the_eight(path: Path, others: int) -> Path:
    """200 judged rows on the eight published questions, but for some."""
    ids = [sorted(data.MAIN_QUESTIONS)[i % 8] for i in range(200 - others)]
    scores = [float(i * 37 % 100) for i in range(200)]
    table = judged_rows(question_id=ids + ["other"] * others, aligned=scores)
    pq.write_table(table, path)
    return path


@pytest.mark.usefixtures("mpnet")
@pytest.mark.parametrize(
    ("name", "others", "made"),
    [
        ("plain", 0, {"1-minilm", "2-bag"}),
        ("small", 3, {"2-mpnet", "3-minilm", "4-bag"}),
        ("large", 3, {"1-mpnet", "2-bag"}),
    ],
)
def test_a_training_without_rows_is_skipped(
    name: str, others: int, made: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (recipe.SHIPPED / f"{name}.toml").read_text()
    for setting, value in (("tokens", 1), ("batch_tokens", 300)):
        text = re.sub(rf"(?m)^{setting} = .*", f"{setting} = {value}", text)
    labels = on_the_eight(tmp_path / "labels.parquet", others)
    out = distilled(text, labels, tmp_path)
    assert emscore.Scorer(out).score_batch(["Q"], ["A"]).num_rows == 1
    assert {folder.name for folder in (tmp_path / "work").iterdir()} == made
    told = re.findall("^skipped .*", capsys.readouterr().out, re.MULTILINE)
    assert len(told) == text.count("[[train]]") - len(made)
    assert re.search(f"since leave_out = 'main' leaves {others} of 1[0-9]+ judged rows", told[0])


BLIND = """
[[train]]
leave_out = "main"
tokens = 1
"""


def test_layers_outlast_the_training_that_is_skipped(tmp_path: Path) -> None:
    labels = on_the_eight(tmp_path / "labels.parquet", 3)
    text = 'judge = "me"\n' + BLIND + "layers = 3\n[[train]]\ntokens = 1\n" + BAG
    distilled(text, labels, tmp_path)
    assert layer_count(trained(tmp_path, "1-minilm")) == 3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BLIND, "last training of minilm .* since leave_out = 'main' leaves 0 of 1"),
        (
            BLIND.replace("leave", 'network = "mpnet"\nleave')
            + '[[train]]\nteacher = "mpnet"\n[[train]]\nnetwork = "mpnet"\n',
            "last training of minilm .* since its teacher mpnet was skipped",
        ),
    ],
)
def test_a_network_that_cannot_be_trained_is_said_first(
    text: str, says: str, tmp_path: Path
) -> None:
    labels = on_the_eight(tmp_path / "labels.parquet", 0)
    with pytest.raises(emscore.InputError, match=says):
        distilled('judge = "me"\n' + text + BAG, labels, tmp_path)
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("kind", [Network, Bag])
def test_padding_does_not_move_a_row(kind: type[Network] | type[Bag]) -> None:
    network = kind().eval()
    ids, types = torch.tensor([[101, 7, 102, 9, 102, 0, 0]]), torch.tensor([[0, 0, 0, 1, 1, 0, 0]])
    padded = network(ids, types, ids > 0)
    alone = network(ids[:, :5], types[:, :5])
    for x, y in zip(padded, alone, strict=True):
        assert torch.allclose(x, y, atol=1e-5)


def test_a_pass_shows_rows_by_weight_and_hides_questions() -> None:
    rows = [Row("q", "r", "s", weight=w, keep_question=w > 1) for w in (0.25, 2.0)] * 400
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
