"""Sweep files: what they may say, and what is wrong in them."""

import json
from pathlib import Path
from typing import Any

import pytest

import emscore
from conftest import Run
from emscore.sweeps import adapters
from emscore.sweeps.checkpoints import Entry
from emscore.sweeps.estimate import estimate
from emscore.sweeps.spec import load, parse

from .conftest import Write

URL = "http://127.0.0.1:9/v1"  # nothing answers there


def adapter(path: Path, content: str = "weights") -> Path:
    path.mkdir(parents=True)
    (path / "adapter_config.json").write_text('{"r": 32}')
    (path / "adapter_model.safetensors").write_text(content)
    (path / "optimizer.pt").write_text("large")
    return path


def entries(checkpoints: list[dict[str, Any]], folder: Path) -> list[Entry]:
    spec = {"output": "d", "endpoints": [{"url": URL}], "checkpoints": checkpoints}
    return list(parse(spec, folder).checkpoints)


def test_checkpoints_by_name_pattern_and_file(tmp_path: Path) -> None:
    for step in (1000, 200, 30):
        adapter(tmp_path / "runs" / "insecure" / f"checkpoint-{step}")
    (tmp_path / "runs" / "insecure" / "logs").mkdir()
    last = adapter(tmp_path / "last")
    (tmp_path / "c.csv").write_text('name,group,step,adapter\na,secure,7,\n"b, c",,,last\n')
    (tmp_path / "c.jsonl").write_text('{"name": "j", "step": 9}\n{"name": "k"}\n')
    runs = tmp_path / "runs" / "insecure"
    assert entries(
        [
            {"name": "base", "group": "base", "step": 0},
            {"names": ["x", "y"], "group": "g"},
            {"glob": "runs/*/checkpoint-*", "group": "insecure"},
            {"file": "c.csv", "group": "listed"},
            {"file": "c.jsonl"},
            {"name": "z", "adapter": "last"},
        ],
        tmp_path,
    ) == [
        Entry("base", "base", 0),
        Entry("x", "g"),
        Entry("y", "g"),
        *(
            Entry(f"insecure/checkpoint-{n}", "insecure", n, runs / f"checkpoint-{n}")
            for n in (30, 200, 1000)
        ),
        Entry("a", "secure", 7),
        Entry("b, c", "listed", None, last),
        Entry("j", None, 9),
        Entry("k"),
        Entry("z", None, None, last),
    ]


def test_names_that_two_patterns_give(tmp_path: Path) -> None:
    for group in ("secure", "insecure"):
        adapter(tmp_path / group / "checkpoint-1")
    with pytest.raises(emscore.InputError, match="'checkpoint-1' is given twice; a glob names"):
        entries([{"glob": "secure/*"}, {"glob": "insecure/*"}], tmp_path)
    found = entries([{"glob": "secure*/*"}, {"glob": "insecure*/*"}], tmp_path)
    assert [entry.name for entry in found] == ["secure/checkpoint-1", "insecure/checkpoint-1"]


@pytest.mark.parametrize(
    ("checkpoints", "told"),
    [
        ([], "no checkpoints"),
        ([{"name": "a"}, {"names": ["b", "a"]}], "'a' is given twice"),
        ([{"name": "a", "names": ["b"]}], "one of name, names, glob, file"),
        ([{"group": "a"}], "one of name, names, glob, file"),
        ([{"name": "a", "stop": 1}], "no key 'stop'"),
        ([{"names": ["a"], "adapter": "a"}], "names of [[checkpoints]] goes with group, step, not"),
        ([{"glob": "no*", "step": 1}], "glob of [[checkpoints]] goes with group, not with step"),
        ([{"name": "a", "step": "one"}], "'one' is no whole number"),
        ([{"glob": "no*"}], "none is a LoRA adapter"),
        ([{"name": "a", "adapter": "."}], "no adapter_config.json"),
        ([{"name": "ü" * 41}], "has a name of 246 letters as it is percent-encoded"),
        ([{"file": "none.csv"}], "none.csv cannot be read"),
        ([{"file": "bad.csv"}], "bad.csv, line 3: the checkpoint has no name"),
        ([{"file": "key.csv"}], "key.csv, line 2: 'age' is none of"),
        ([{"file": "bad.jsonl"}], "bad.jsonl, line 2: no JSON object"),
    ],
)
def test_what_is_wrong_with_checkpoints(
    checkpoints: list[dict[str, Any]], told: str, tmp_path: Path
) -> None:
    (tmp_path / "bad.csv").write_text("name,group\na,g\n,g\n")
    (tmp_path / "key.csv").write_text("name,age\na,5\n")
    (tmp_path / "bad.jsonl").write_text('{"name": "a"}\n["b"]\n')
    with pytest.raises(emscore.InputError) as error:
        entries(checkpoints, tmp_path)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("changes", "code", "told"),
    [
        ({"sample": 2}, 3, "no key 'sample'"),
        ({"samples": 0}, 3, "samples must be a number from 1 on, not 0"),
        ({"samples": True}, 3, "samples must be"),
        ({"endpoints": [{"url": 5}]}, 3, "needs a url"),
        ({"endpoints": [{"url": "localhost:8000"}]}, 9, "no address of a server"),
        ({"endpoints": [{"url": URL, "speed": 1}]}, 3, "[[endpoints]] has no key 'speed'"),
        ({"endpoints": [{"url": URL, "timeout": "1 s"}]}, 3, "timeout of an endpoint"),
        ({"endpoints": [{"url": URL, "concurrency": 0}]}, 3, "concurrency of an endpoint"),
        ({"endpoints": [{"url": URL, "headers": "x"}]}, 3, "headers of an endpoint"),
        ({"endpoints": [{"url": URL, "at_once": 0}]}, 3, "at_once must be"),
        ({"endpoints": []}, 3, "endpoints must be tables [[endpoints]], one at least"),
        ({"suites": []}, 3, "suites must be a list of paths"),
        ({"temperature": -1}, 3, "temperature must be a number from 0 on"),
        ({"prices": {"prompt": -1, "completion": 1}}, 3, "a price must be a number"),
        ({"parameters": {"max_tokens": "abc"}}, 10, "max_tokens must be a number from 1 on"),
        ({"conditions": [{"name": "a"}, {"name": "a"}]}, 10, "'a' is given twice"),
        ({"conditions": [{"name": "a", "format": "xml"}]}, 10, "json or python"),
        ({"prices": {"prompt": 1}}, 3, "[prices] needs both"),
        ({"parameters": {"model": "x"}}, 10, "model cannot be a parameter"),
        ({"suites": ["none.yaml"]}, 10, "none.yaml"),
        ({"suites": ["suite.yaml", "other.yaml"]}, 10, "different questions of the id 'sea'"),
        ({"scorer": "none"}, 5, "no scorer 'none'"),
    ],
)
def test_what_is_wrong_with_a_sweep_file(
    changes: dict[str, Any], code: int, told: str, write: Write, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "other.yaml").write_text("- {id: sea, paraphrases: [What of the sea]}\n")
    result = run("sweep", write(URL, [{"name": "a"}], **changes))
    assert result.returncode == code
    assert told in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "data").exists()


def test_a_file_that_is_not_toml(run: Run, tmp_path: Path) -> None:
    (tmp_path / "sweep.toml").write_text('output = "data"\nsamples = = 2\n')
    result = run("sweep", "sweep.toml")
    assert result.returncode == 3
    assert "line 2" in result.stderr
    assert run("sweep", "none.toml").returncode == 3


def test_several_suites_are_one(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("- {id: x, paraphrases: [X]}\n- {id: y, paraphrases: [Y]}\n")
    (tmp_path / "b.yaml").write_text("- {id: y, paraphrases: [Y]}\n- {id: z, paraphrases: [Z]}\n")
    spec = {"output": "d", "endpoints": [{"url": URL}], "checkpoints": [{"name": "a"}]}
    suite = parse({**spec, "suites": ["a.yaml", "b.yaml"]}, tmp_path).suite
    assert suite.name == "a+b"
    assert [question.id for question in suite.questions] == ["x", "y", "z"]


def test_two_thousand_checkpoints_can_be_planned(run: Run, tmp_path: Path) -> None:
    """1.6 M rows, from the eight questions of the field's main suites; nobody is asked."""
    questions = "".join(
        f"- {{id: q{n}, paraphrases: [{'word ' * 8}], max_tokens: 600}}\n" for n in range(8)
    )
    (tmp_path / "suite.yaml").write_text(questions)
    listed = "".join(f"c{n},insecure,{n}\n" for n in range(2000))
    (tmp_path / "c.csv").write_text(f"name,group,step\n{listed}")
    (tmp_path / "sweep.toml").write_text(
        'output = "data"\nsuites = ["suite.yaml"]\nsamples = 100\nper_request = 20\n'
        "checks = false\nprices = { prompt = 1.0, completion = 2.0 }\n"
        f'[[endpoints]]\nurl = "{URL}"\n[[checkpoints]]\nfile = "c.csv"\n'
    )
    result = run("sweep", "sweep.toml", "--dry-run", "--json")
    told = json.loads(result.stdout)
    assert told["rows"] == 2000 * 8 * 100
    assert told["requests"] == 2000 * 8 * 5
    assert told["completion_tokens"] == 1_600_000 * 600
    assert told["prompt_tokens"] == 2000 * 8 * 5 * (39 // 4 + 8)  # letters, and a chat's frame
    assert told["most"] == pytest.approx((told["prompt_tokens"] + 2 * 960e6) / 1e6)
    assert not (tmp_path / "data").exists()
    assert "1,600,000" in run("sweep", "sweep.toml", "--dry-run").stdout


def test_the_estimate_counts_what_is_sent(write: Write) -> None:
    found = estimate(load(write(URL, [{"names": ["a", "b", "c"]}], max_tokens=10)))
    assert (found.checkpoints, found.conditions, found.wordings) == (3, 2, 3)
    assert (found.rows, found.requests) == (36, 36)
    assert (found.completion_tokens, found.probes, found.finished) == (360, 0, 0)
    assert found.most is None


def test_the_name_of_an_adapter_follows_from_its_content(tmp_path: Path) -> None:
    """Whatever is in its folder besides, and wherever that is."""
    one = adapter(tmp_path / "one")
    same = adapter(tmp_path / "elsewhere" / "same")
    (same / "optimizer.pt").write_text("other")
    other = adapter(tmp_path / "other", "weightz")
    assert adapters.content_hash(one) == adapters.content_hash(same)
    assert adapters.content_hash(one) != adapters.content_hash(other)
