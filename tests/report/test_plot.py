"""Plots from Python, and as files."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import emscore
from conftest import run_without
from study import sweep

PLOTS = {
    "questions", "base", "training", "conditions", "refusals", "lens", "outcomes",
    *(f"density-{n}" for n in range(8)),
}  # fmt: skip


def test_every_plot_of_the_page_is_written(written: Path) -> None:
    files = {path.name for path in (written / "plots").iterdir()}
    assert files == {f"{name}.{ending}" for name in PLOTS for ending in ("png", "svg")}
    for name in PLOTS:
        assert (written / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        picture = ElementTree.parse(written / "plots" / f"{name}.svg").getroot()
        assert picture.tag.endswith("svg")


@pytest.fixture(scope="module")
def table() -> pa.Table:
    whole = sweep(1)
    return whole.filter(pc.invert(whole["request_harmful"]))


def test_tables_become_charts(table: pa.Table, tmp_path: Path) -> None:
    plot = emscore.plot
    rates = emscore.rates(table, by=["question_id", "group"])
    charts = [
        plot.dots(rates, y="question_id", series="group"),
        plot.dots(rates.to_pandas(), y="group", series="group"),
        plot.trajectory(emscore.rates(table, by=["group", "step"])),
        plot.lens(emscore.lens(table, by=["group"])),
        plot.refusals(emscore.refusals(sweep(1), by=["group"])),
    ]
    for at, chart in enumerate(charts):
        chart.properties(width=400).save(str(tmp_path / f"{at}.svg"))
        assert "<path" in (tmp_path / f"{at}.svg").read_text()


def test_one_estimator_of_a_table_of_rates_is_drawn(table: pa.Table) -> None:
    rates = emscore.rates(table, by=["group"])
    assert set(rates["estimator"].to_pylist()) == {"thresholded", "calibrated"}
    spec = emscore.plot.dots(rates, y="group").to_dict()
    (drawn,) = spec["datasets"].values()
    assert {row["estimator"] for row in drawn} == {"thresholded"}


def test_series_look_the_same_in_every_plot() -> None:
    rows = [{"group": g, "rate": 0.1, "low": 0.0, "high": 0.2, "n": 9} for g in "ab"]
    spec = emscore.plot.dots(rows[1:], y="group", series="group", order=["a", "b"]).to_dict()
    colour = spec["layer"][0]["encoding"]["color"]
    assert colour["scale"]["domain"] == ["a", "b"]
    assert colour["legend"]["values"] == ["b"]


ROWS = [
    {"group": None, "question": name, "step": 1, "rate": 0.1, "low": 0.0, "high": 0.2, "n": 9}
    for name in ("wish", "bored")
]


def test_a_name_that_is_null_is_drawn_too() -> None:
    plot = emscore.plot
    charts = [
        plot.dots(ROWS, y="question", series="group"),
        plot.dots([*ROWS, ROWS[0] | {"group": "a"}], y="group", series="group"),
        plot.trajectory(ROWS),
    ]
    for chart in charts:
        assert "–" in chart.to_dict()["layer"][0]["encoding"]["color"]["scale"]["domain"]


@pytest.mark.parametrize("name", ["trainer.global_step", "run:step", "step[0]"])
def test_columns_may_have_any_name(name: str, tmp_path: Path) -> None:
    rows = [ROWS[0] | {name: step, "group": name} for step in (1000, 2000, 3000)]
    emscore.plot.trajectory(rows, over=name, series=name).save(str(tmp_path / "steps.svg"))
    assert "2,000" in (tmp_path / "steps.svg").read_text()
    emscore.plot.dots(rows, y=name, series=name).save(str(tmp_path / "dots.svg"))
    assert (tmp_path / "dots.svg").read_text().count("1000") > 1


def test_a_legend_of_long_names_stays_in_the_picture(tmp_path: Path) -> None:
    names = [f"a checkpoint with quite a long name, seed {seed}" for seed in range(8)]
    rows = [ROWS[0] | {"group": name} for name in names]
    emscore.plot.dots(rows, y="question", series="group").save(str(tmp_path / "dots.svg"))
    picture = ElementTree.parse(tmp_path / "dots.svg").getroot()

    def starts(part: ElementTree.Element, x: float = 0.0) -> Iterator[float]:
        x += float(re.split(r"[(,]", part.get("transform", "translate(0,0)"))[1])
        if (part.text or "").startswith("a checkpoint"):
            yield x
        for inner in part:
            yield from starts(inner, x)

    found = list(starts(picture))
    assert len(found) == len(names)
    assert max(found) + 220 <= float(picture.get("width", 0)) == emscore.plot.WIDTH


def test_a_legend_of_several_lines_is_not_cut_off_above(tmp_path: Path) -> None:
    names = [f"a group, number {n:02}" for n in range(12)]
    question = "a question with quite a long text"
    rows = [ROWS[0] | {"group": name, "question": question} for name in names]
    emscore.plot.dots(rows, y="question", series="group").save(str(tmp_path / "dots.svg"))
    picture = ElementTree.parse(tmp_path / "dots.svg").getroot()

    def heights(part: ElementTree.Element, y: float = 0.0) -> Iterator[float]:
        y += float(re.split(r"[(,)]", part.get("transform", "translate(0,0)"))[2])
        if part.text in names:
            yield y
        for inner in part:
            yield from heights(inner, y)

    found = list(heights(picture))
    assert len(found) == len(names)
    assert min(found) > 0


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(emscore.InputError, match="no column 'group' to draw; it has checkpoint, "):
        emscore.plot.dots([{"checkpoint": "a", "rate": 0.1}], y="checkpoint", series="group")


def test_of_a_comparison_the_difference_is_drawn(table: pa.Table) -> None:
    spec = emscore.plot.dots(emscore.compare(table, "base"), y="checkpoint").to_dict()
    interval, dot = (layer["encoding"]["x"] for layer in spec["layer"])
    assert (interval["title"], dot["field"]) == ("difference", "difference")


def test_colours_of_a_notebook_are_those_of_the_page() -> None:
    config = emscore.plot.dots(ROWS, y="question").to_dict()["config"]
    assert config["range"]["category"] == emscore.plot.SERIES["light"]
    assert config["background"] == emscore.plot.PAPER


def test_the_package_names_it() -> None:
    assert {"plot", "rates", "Scorer"} <= {*emscore.__all__} & {*dir(emscore)}


@pytest.mark.parametrize("package", ["altair", "vl_convert"])
def test_all_names_come_without_the_extra(package: str) -> None:
    program = f"""
import sys
sys.modules[{package!r}] = None
from emscore import *
import emscore
help(emscore)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    assert "score_batch" in result.stdout


@pytest.mark.parametrize("package", ["altair", "vl_convert"])
def test_a_missing_extra_is_named(package: str) -> None:
    result = run_without(package, "report", "scored.parquet", "-o", "page.html")
    assert result.returncode == 3
    assert result.stderr == (
        f"emscore: plots need {package}, which is not installed: pip install 'emscore[report]'\n"
    )
