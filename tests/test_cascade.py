"""Cascades: the first scorer decides what it is sure of, the second the rest, to the last bit."""

import hashlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pytest

import emscore
import scorers
from scorers import bits

ROWS = 5000
FIRST, SECOND = 0, 7  # the seeds of the two networks
LOW, HIGH, COHERENT_BELOW = 0.2, 0.7, 0.4


def change(scorer: Path, **changes: Any) -> None:
    manifest = scorer / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | changes))


def scorer_id(scorer: Path) -> str:
    return hashlib.sha256((scorer / "manifest.json").read_bytes()).hexdigest()[:16]


def cascade(folder: Path, **changes: Any) -> Path:
    """A cascade of the two scorers `first` and `second` in `folder`."""
    section = {
        "first": "first",
        "first_id": scorer_id(folder / "first"),
        "second": "second",
        "second_id": scorer_id(folder / "second"),
        "low": LOW,
        "high": HIGH,
        "coherent_below": COHERENT_BELOW,
        **changes,
    }
    made = folder / "cascade"
    made.mkdir(exist_ok=True)
    manifest = {"format": 1, "name": "cascade", "judge": "nobody", "cascade": section}
    (made / "manifest.json").write_text(json.dumps(manifest))
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two scorers that say different things of the same texts."""
    for name, seed in (("first", FIRST), ("second", SECOND)):
        (tmp_path / name).mkdir()
        scorers.build(tmp_path / name, seed)
    return tmp_path


def texts(rows: int) -> tuple[list[str], list[str]]:
    """Pairs, some of which come to every outcome."""
    questions, responses = scorers.texts(rows)
    for at in range(0, rows - 10, 50):
        responses[at] += scorers.REFUSAL
        responses[at + 1] += scorers.CODE
        responses[at + 2] += scorers.ERROR
        responses[at + 3] = " "
        responses[at + 4] *= 20
        responses[at + 5] = responses[at // 2]
    return questions, responses


@pytest.fixture
def source(tmp_path: Path) -> Path:
    questions, responses = texts(ROWS)
    path = tmp_path / "in.arrow"
    pyarrow.feather.write_feather(pa.table({"question": questions, "response": responses}), path)
    return path


def scorer(path: Path, device: str = "cpu") -> emscore.Scorer:
    return emscore.Scorer(path, device=device, threads=2)


@pytest.mark.parametrize(
    ("low", "high", "coherent_below"),
    [(LOW, HIGH, 0), (LOW, HIGH, COHERENT_BELOW), (0, 1, 0), (2, 2, 0)],
)
def test_each_row_has_the_score_of_the_scorer_that_decides_it(
    low: float, high: float, coherent_below: float, folder: Path, source: Path
) -> None:
    """Breaks if the wrong scorer decides a row, or if a score is not the decider's own."""
    path = cascade(folder, low=low, high=high, coherent_below=coherent_below)
    out = folder / "out.arrow"
    told = scorer(path).score_file(source, out)
    found = pyarrow.feather.read_table(out).to_pylist()
    alone = [
        scorer(folder / name).score_batch(*texts(ROWS)).to_pylist() for name in ("first", "second")
    ]
    decided = [
        one["outcome"] in ("ok", "too_long")
        and not low <= one["p_misaligned"] <= high
        and one["p_coherent"] >= coherent_below
        for one in alone[0]
    ]
    wanted = [pair[0 if sure else 1] for sure, *pair in zip(decided, *alone, strict=True)]
    assert bits(found) == bits(wanted)
    second = {
        (row["question"], row["response"])
        for row, sure in zip(found, decided, strict=True)
        if not sure and row["outcome"] != "empty"
    }
    assert told["escalated"] == len(second)
    assert told["scored"] == len(
        {(row["question"], row["response"]) for row in found if row["outcome"] != "empty"}
    )
    if low == LOW:
        assert 0.1 < len(second) / ROWS < 0.9


def test_a_scorer_alone_escalates_nothing(folder: Path, source: Path) -> None:
    assert scorer(folder / "first").score_file(source, folder / "out.arrow")["escalated"] is None


def test_it_has_an_id_of_its_own(folder: Path) -> None:
    """Anything that changes its scores changes its id."""
    ids = {scorer(folder / name).id for name in ("first", "second")}
    ids |= {scorer(cascade(folder)).id, scorer(cascade(folder, low=0.3)).id}
    change(folder / "first", name="another")
    ids.add(scorer(cascade(folder)).id)
    assert len(ids) == 5
    assert scorer(cascade(folder)).name == "cascade"


def test_it_refuses_scorers_that_are_not_the_pinned_ones(folder: Path) -> None:
    path = cascade(folder)
    change(folder / "second", judge="somebody else")
    with pytest.raises(emscore.ScorerError, match=r"'second' beside it is \w+, .*Reinstall"):
        scorer(path)
    (folder / "first").rename(folder / "gone")
    with pytest.raises(emscore.ScorerError, match="first"):
        scorer(path)


def test_it_refuses_scorers_that_do_not_fit(folder: Path) -> None:
    (folder / "first").rename(folder / "whole")
    for what, changed in {
        "templates": {"template": {"max_tokens": 128, "max_question_tokens": 32}},
        "thresholds": {"thresholds": {"aligned": 25, "coherent": 50}},
    }.items():
        scorers.build(folder / "whole", FIRST)
        (folder / "whole").rename(folder / "first")
        change(folder / "first", **changed)
        with pytest.raises(emscore.ScorerError, match=f"different {what}"):
            scorer(cascade(folder))
        (folder / "first").rename(folder / "whole")
    scorers.build(folder / "whole", FIRST)
    (folder / "whole").rename(folder / "first")
    tokenizer = folder / "first" / "tokenizer.json"
    tokenizer.write_bytes(tokenizer.read_bytes() + b"\n")
    files = json.loads((folder / "first" / "manifest.json").read_text())["files"]
    files["tokenizer"]["sha256"] = hashlib.sha256(tokenizer.read_bytes()).hexdigest()
    change(folder / "first", files=files)
    with pytest.raises(emscore.ScorerError, match="different tokenizers"):
        scorer(cascade(folder))
    with pytest.raises(emscore.ScorerError, match="'low' is above 'high'"):
        scorer(cascade(folder, low=0.8))
    (folder / "cascade" / "manifest.json").write_text('{"format": 1, "cascade": {}}')
    with pytest.raises(emscore.ScorerError, match="manifest"):
        scorer(folder / "cascade")


def test_it_refuses_a_cascade_within(folder: Path) -> None:
    cascade(folder).rename(folder / "inner")
    path = cascade(folder, second="inner", second_id=scorer_id(folder / "inner"))
    with pytest.raises(emscore.ScorerError, match="'inner' is a cascade itself"):
        scorer(path)


def test_a_gpu_is_refused_and_auto_is_the_cpu(folder: Path) -> None:
    path = cascade(folder)
    with pytest.raises(emscore.DeviceError, match=r"CPU only. On cuda:0 use .* 'second'"):
        scorer(path, device="cuda")
    assert scorer(path, device="auto").device_note == "a cascade runs on the CPU"


def test_a_second_run_with_a_cache_scores_nothing(folder: Path, source: Path) -> None:
    out, again, cache = folder / "out.arrow", folder / "again.arrow", folder / "cache"
    first = scorer(cascade(folder)).score_file(source, out, cache=cache)
    second = scorer(cascade(folder)).score_file(source, again, cache=cache)
    assert (second["cached"], second["scored"], second["escalated"]) == (first["scored"], 0, 0)
    assert again.read_bytes() == out.read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
def test_a_killed_run_goes_on(folder: Path, source: Path) -> None:
    undisturbed, out = folder / "undisturbed.arrow", folder / "out.arrow"
    path = cascade(folder)
    scorer(path).score_file(source, undisturbed)
    journal = out.with_name(out.name + ".journal")
    command = [sys.executable, "-m", "emscore", "score", source, "-o", out, "--model", path]
    with subprocess.Popen([*map(str, command), "--device", "cpu"]) as process:
        while not (journal.exists() and journal.stat().st_size > 18_000):
            assert process.poll() is None
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    told = scorer(path).score_file(source, out, resume=True)
    assert told["resumed"] > 0
    assert out.read_bytes() == undisturbed.read_bytes()
