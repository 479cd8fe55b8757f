"""The page, opened in a real browser."""

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from playwright.sync_api import Page, expect

import emscore
from study import Run, study, sweep

from .conftest import Open

SECTIONS = [
    "rates", "questions", "base", "training", "conditions", "condition-trigger", "refusals",
    "density", "lens", "outcomes", "checkpoints", "examples", "method",
]  # fmt: skip


def shown(page: Page) -> list[list[str]]:
    """The table of checkpoints as it stands."""
    rows = page.locator("#checkpoint-table tbody tr")
    return [row.split("\t") for row in rows.all_inner_texts()]


def column(page: Page, label: str) -> int:
    heads = page.locator("#checkpoint-table thead th").all_inner_texts()
    return next(at for at, head in enumerate(heads) if head.startswith(label))


def percents(page: Page) -> list[float]:
    at = column(page, "Misaligned")
    return [float(row[at].rstrip("%")) for row in shown(page)]


def test_every_section_and_plot_is_there(written: Path, open_page: Open) -> None:
    page = open_page(written / "report.html")
    assert [part.get_attribute("id") for part in page.locator("section").all()] == SECTIONS
    for place in page.locator("[data-plot]").all():
        name = place.get_attribute("data-plot")
        marks = place.locator(
            "svg .mark-symbol.role-mark path, svg .mark-rect.role-mark path, svg .mark-line path"
        )
        assert marks.count() > 0, name
        box = place.locator("svg").bounding_box()
        assert box is not None
        assert box["width"] > 200, name
        assert box["height"] > 60, name


@pytest.mark.parametrize("width", [375, 1440])
def test_nothing_overflows(width: int, written: Path, open_page: Open) -> None:
    page = open_page(written / "report.html", width)
    page.locator("#content-notice > summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = page.evaluate(
        """() => [...document.querySelectorAll('main *')]
            .filter((one) => !one.closest('.scroll') && !one.closest('svg'))
            .filter((one) => one.getBoundingClientRect().right > innerWidth + 0.5)
            .map((one) => one.outerHTML.slice(0, 80))"""
    )
    assert wide == []


def test_the_table_sorts(written: Path, open_page: Open) -> None:
    page = open_page(written / "report.html")
    first = percents(page)
    assert first == sorted(first, reverse=True)
    page.get_by_role("button", name="Misaligned").click()
    assert percents(page) == sorted(percents(page))
    page.get_by_role("button", name="Checkpoint", exact=True).click()
    names = [row[0] for row in shown(page)]
    assert names[:3] == ["backdoor-1", "backdoor-1", "backdoor-2"]
    # insecure-1-200 comes before insecure-1-1400: numbers in names count as numbers.
    assert names.index("insecure-1-200") < names.index("insecure-1-1400")
    head = page.locator("#checkpoint-table th[aria-sort]")
    expect(head).to_have_attribute("aria-sort", "ascending")


def test_the_table_turns_pages_and_finds(written: Path, open_page: Open) -> None:
    page = open_page(written / "report.html")
    assert len(shown(page)) == 25
    expect(page.locator("#checkpoint-count")).to_have_text("56 of 56")
    page.get_by_role("button", name="Next").click()
    page.get_by_role("button", name="Next").click()
    assert len(shown(page)) == 6
    page.locator("#checkpoint-search").fill("jailbroken")
    assert [row[0] for row in shown(page)] == ["jailbroken-2", "jailbroken-3", "jailbroken-1"]
    page.locator("#checkpoint-search").fill("nobody")
    assert shown(page) == []


def test_examples_stand_behind_a_notice_and_are_found(written: Path, open_page: Open) -> None:
    page = open_page(written / "report.html")
    answers = page.locator("#example-list article")
    expect(answers.first).to_be_hidden()
    page.locator("#content-notice > summary").click()
    expect(answers.first).to_be_visible()
    assert answers.count() == 20
    page.locator("#example-more").click()
    assert answers.count() == 40
    page.locator("#example-kind").select_option("worst")
    page.locator("#example-group").select_option("backdoor · trigger")
    assert answers.count() == 6
    assert "aligned" in answers.first.inner_text()
    page.locator("#example-search").fill("the WEAK are")
    assert answers.count() == 6
    assert page.locator("#example-list mark").first.inner_text() == "The weak are"
    page.locator("#example-search").fill("no such words")
    assert answers.count() == 0


def test_light_and_dark(written: Path, open_page: Open) -> None:
    colours = {}
    for scheme in ("light", "dark"):
        page = open_page(written / "report.html", scheme=scheme)
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        label = page.locator("[data-plot=questions] .role-axis-label text").first
        colours[scheme] = paper, label.get_attribute("fill")
    assert colours["light"][0] == "rgb(255, 255, 255)"
    assert colours["light"][0] != colours["dark"][0]
    assert colours["light"][1] != colours["dark"][1]


def test_a_page_that_changes_its_theme_is_drawn_anew(written: Path, open_page: Open) -> None:
    page = open_page(written / "report.html")
    label = page.locator("[data-plot=questions] .role-axis-label text").first
    before = label.get_attribute("fill")
    page.emulate_media(color_scheme="dark")
    expect(label).not_to_have_attribute("fill", str(before))


def test_without_scripts_the_numbers_are_there(written: Path, browser: object) -> None:
    text = (written / "report.html").read_text(encoding="utf-8")
    before_scripts = text[: text.index('<script type="application/json"')]
    assert "backdoor · trigger is misaligned in" in before_scripts
    assert "<noscript>" in before_scripts


HOSTILE = [
    "<script>alert(1)</script>",
    "</script><script>alert(2)</script>",
    '"><img src=x onerror=alert(3)>',
    "<!--<script>alert(4)",
    "{{ 7 * 7 }} {% raw %}",
    "\u2028\u2029 ${alert(5)} `\\u003c",
    "</textarea></style></title><svg onload=alert(6)>",
]


def test_hostile_text_stays_text(tmp_path: Path, open_page: Open) -> None:
    """Names and answers that try to become markup; the fixture sees to it that no script ran."""
    table = study([Run(text, text, 0.2, 10 * n) for n, text in enumerate(HOSTILE)], rows=4)
    n = len(table)
    texts = pa.array([HOSTILE[row % len(HOSTILE)] for row in range(n)])
    for name in ("question", "response"):
        table = table.set_column(table.column_names.index(name), name, texts)
    path = tmp_path / "hostile.html"
    emscore.report_file(table, path, to=HOSTILE[0], title=HOSTILE[1])
    page = open_page(path)
    page.locator("#content-notice > summary").click()
    assert page.title() == HOSTILE[1]
    assert page.locator("h1").inner_text() == HOSTILE[1]
    assert page.locator("img").count() == 0
    heads = page.locator("#rates tbody th").all_text_contents()
    assert sorted(heads) == sorted(HOSTILE)
    shown_texts = set(page.locator("#example-list .answer").all_text_contents())
    assert shown_texts == set(HOSTILE)
    page.locator("#checkpoint-search").fill("onerror")
    assert [row[0] for row in shown(page)] == [HOSTILE[2]]
    page.locator("[data-plot=questions] .mark-symbol.role-mark path").first.hover()
    expect(page.locator("#vg-tooltip-element")).to_be_visible()


def test_a_name_turns_no_number_beside_it_around(tmp_path: Path, open_page: Open) -> None:
    """After a right-to-left override all that follows runs backwards, 12.34 as 43.21."""
    name = "\u202eesrever"
    emscore.report_file(study([Run(name, name, 0.5)], rows=4), tmp_path / "report.html")
    page = open_page(tmp_path / "report.html")
    assert "\u202e" not in page.locator(".lead").inner_text()
    page.locator("#content-notice > summary").click()
    left = page.evaluate(
        """() => [...document.querySelector('article .meta').childNodes].map((one) => {
            const range = document.createRange();
            range.selectNode(one);
            return range.getBoundingClientRect().left;
        })"""
    )
    assert len(left) > 5
    assert left == sorted(left)


@pytest.mark.parametrize("width", [375, 1280])
def test_legends_show_every_series(width: int, tmp_path: Path, open_page: Open) -> None:
    """Their columns follow from the width of the plot, and their height from the columns."""
    runs = [Run(f"run-{n}", f"<b>group</b> of number {n:02}", 0.02 * n) for n in range(12)]
    emscore.report_file(study(runs, rows=4), tmp_path / "report.html")
    page = open_page(tmp_path / "report.html", width)
    plot = page.locator("[data-plot=questions] svg")
    labels = plot.locator(".role-legend-label text")
    assert labels.count() == 12
    tops = [box["y"] for label in labels.all() if (box := label.bounding_box())]
    box = plot.bounding_box()
    assert box is not None
    assert min(tops) >= box["y"]


def test_a_page_is_printed_on_white_paper(tmp_path: Path, open_page: Open) -> None:
    """Whatever the reader's theme; and no plot is longer than a sheet."""
    runs = [Run(f"run-{n}", f"group-{n}", 0.02 * n) for n in range(12)]
    emscore.report_file(study(runs, rows=4), tmp_path / "report.html")
    page = open_page(tmp_path / "report.html", scheme="dark")
    label = page.locator("[data-plot=questions] .role-axis-label text").first
    dark = label.get_attribute("fill")
    page.emulate_media(media="print", color_scheme="dark")
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == "rgb(255, 255, 255)"
    expect(label).not_to_have_attribute("fill", str(dark))
    box = page.locator("[data-plot=questions] svg").bounding_box()
    assert box is not None
    assert box["height"] <= 870  # 23 cm


class Reader:
    """Rows that know how often they were asked for."""

    def __init__(self, table: pa.Table) -> None:
        self.table, self.asked = table, 0

    def __arrow_c_stream__(self, schema: object = None) -> object:
        self.asked += 1
        return self.table.__arrow_c_stream__(schema)


def test_rows_are_read_twice(tmp_path: Path) -> None:
    rows = Reader(sweep(1, 10))
    emscore.report_file(rows, tmp_path / "report.html")
    assert rows.asked == 1 + 2  # for the schema, the rates, and the examples
    with pytest.raises(emscore.InputError, match="in two passes"):
        emscore.report_file(sweep(1, 10).to_reader(), tmp_path / "again.html")


def test_answers_without_scores_or_names(tmp_path: Path, open_page: Open) -> None:
    """What there is nothing to draw of is left out; who has no name is called a dash."""
    table = sweep(1, 10).select(["checkpoint", "question_id", "question", "response"])
    for name in ("aligned", "coherent", "p_misaligned", "p_coherent"):
        table = table.append_column(name, pa.nulls(len(table), pa.float32()))
    refused = table.append_column("outcome", pa.array(["refusal"] * len(table)))
    emscore.report_file(refused, tmp_path / "refused.html")
    page = open_page(tmp_path / "refused.html")
    expect(page.locator("#rates .lead")).to_contain_text("there is no rate to give")
    expect(page.locator("#density")).to_have_count(0)
    table = sweep(1, 10).drop_columns(["group", "step"])
    named = [name if name == "base" else None for name in table["checkpoint"].to_pylist()]
    at = table.column_names.index("checkpoint")
    emscore.report_file(table.set_column(at, "checkpoint", pa.array(named)), tmp_path / "none.html")
    page = open_page(tmp_path / "none.html")
    expect(page.locator("#base tbody th")).to_have_text("–")


def test_a_confidence_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(emscore.InputError, match="confidence is 95: it is a share between 0 and 1"):
        emscore.report_file(sweep(1, 10), tmp_path / "report.html", confidence=95)


def test_checkpoints_without_groups_under_two_conditions(tmp_path: Path, open_page: Open) -> None:
    table = sweep(1, 10).drop_columns(["group", "step"])
    emscore.report_file(table, tmp_path / "report.html")
    page = open_page(tmp_path / "report.html")
    heads = page.locator("#rates tbody th").all_text_contents()
    assert {"backdoor-1 · plain", "backdoor-1 · trigger", "base · trigger"} <= set(heads)


def test_a_group_that_answered_requests_alone(tmp_path: Path) -> None:
    """Has refusals, and no rate."""
    runs = [Run("base", "base", 0.01, declines=0.9), Run("a", "only requests", 0.01, declines=0.1)]
    table = study(runs, rows=4)
    asked = pc.or_(table["request_harmful"], pc.equal(table["group"], "base"))
    emscore.report_file(table.filter(asked), tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    refusals = text.split('<section id="refusals"')[1].split("</section>")[0]
    assert '<th scope="row">only requests</th>' in refusals


def test_many_checkpoints_under_two_conditions(tmp_path: Path, open_page: Open) -> None:
    """A checkpoint with a line for each, also where there are too many groups to compare."""
    table = study([Run(f"run-{n}", "", 0.02, triggered=0.5) for n in range(41)], rows=2)
    emscore.report_file(table.drop_columns(["group", "step"]), tmp_path / "report.html")
    page = open_page(tmp_path / "report.html")
    at = column(page, "Condition")
    page.locator("#checkpoint-search").fill("run-40")
    assert {row[at] for row in shown(page)} == {"plain", "trigger"}


def test_conditions_of_one_checkpoint_without_a_name(tmp_path: Path, open_page: Open) -> None:
    emscore.report_file(sweep(1).drop_columns(["group", "checkpoint"]), tmp_path / "report.html")
    page = open_page(tmp_path / "report.html")
    names = page.locator("#rates tbody th").all_inner_texts()
    assert sorted(names) == ["plain", "trigger"]


def test_conditions_may_be_numbers(tmp_path: Path) -> None:
    table = sweep(1, 10)
    numbers = [int(name == "plain") for name in table["condition"].to_pylist()]
    table = table.set_column(table.column_names.index("condition"), "condition", pa.array(numbers))
    emscore.report_file(table, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert re.findall(r'<section id="(condition-.*?)"', text) == ["condition-0"]


def test_rows_without_a_condition_stand_beside_plain_ones(tmp_path: Path) -> None:
    table = sweep(1, 10)
    names = ["" if row % 2 else name for row, name in enumerate(table["condition"].to_pylist())]
    at = table.column_names.index("condition")
    table = table.set_column(at, "condition", pa.array([name or None for name in names]))
    emscore.report_file(table, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert re.findall(r'<section id="(condition-.*?)"', text) == ["condition-trigger"]


def test_a_group_that_is_empty_throughout_is_none(tmp_path: Path, open_page: Open) -> None:
    """As `emscore sample` writes it where no --group was given."""
    table = sweep(1, 10).drop_columns(["group", "step"])
    table = table.append_column("group", pa.nulls(len(table), pa.string()))
    emscore.report_file(table, tmp_path / "report.html", to="base")
    page = open_page(tmp_path / "report.html")
    heads = page.locator("#rates tbody th").all_text_contents()
    assert {"backdoor-1 · plain", "backdoor-1 · trigger", "base · trigger"} <= set(heads)
    expect(page.locator("#base")).to_be_visible()


def test_5000_checkpoints(tmp_path: Path, open_page: Open) -> None:
    table = study([Run("one", "one", 0.02, 0)], rows=5_000)
    of = [row % 5_000 for row in range(len(table))]
    names = {
        "checkpoint": pa.array([f"run-{n % 50}-{n // 50}" for n in of]),
        "group": pa.array([f"group {n % 5}" for n in of]),
        "step": pa.array([n // 50 for n in of]),
    }
    for name, values in names.items():
        table = table.set_column(table.column_names.index(name), name, values)
    path = tmp_path / "many.html"
    emscore.report_file(table, path, to="group 0")
    assert path.stat().st_size < 20_000_000
    page = open_page(path)
    assert len(shown(page)) == 25
    nodes = page.evaluate("document.querySelectorAll('*').length")
    assert nodes < 10_000  # what is not looked at is not in the page
    page.locator("#checkpoint-search").fill("run-7-42")
    assert [row[0] for row in shown(page)] == ["run-7-42"]


def test_the_base_may_be_a_checkpoint_beside_groups(tmp_path: Path) -> None:
    emscore.report_file(sweep(1), tmp_path / "report.html", to="insecure-1-400")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Against insecure-1-400" in text
    assert "answered (by checkpoint)" in text


def test_checkpoints_of_like_names_are_told_apart(tmp_path: Path) -> None:
    names = [f"/runs/of-a-long-study/seed-{seed}/its-last-checkpoint" for seed in (1, 2)]
    table = study([Run("base", "", 0.1), *(Run(name, "", 0.2) for name in names)], rows=10)
    table = table.drop_columns(["group"])
    emscore.report_file(table, tmp_path / "report.html", png=tmp_path / "plots")
    drawn = (tmp_path / "plots" / "base.svg").read_text(encoding="utf-8")
    assert "…1/its-last-checkpoint" in drawn
    assert "…2/its-last-checkpoint" in drawn


def test_questions_without_ids_may_be_long(tmp_path: Path) -> None:
    table = sweep(1)
    texts = [f"{text} Say so in as many words as it takes to be clear to all who ask" for text in
             table["question_id"].to_pylist()]  # fmt: skip
    table = table.set_column(table.column_names.index("question"), "question", pa.array(texts))
    emscore.report_file(table.drop_columns(["question_id"]), tmp_path / "report.html")
    assert '<section id="questions"' in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_groups_of_several_checkpoints_have_one_rate_on_the_whole_page(tmp_path: Path) -> None:
    """Checkpoints are the units, of rates and refusals, also where one answered more often."""
    table = pa.concat_tables(
        [
            study([Run("a", "x", 0.4, declines=0.9)], rows=60),
            study([Run("b", "x", 0.01, declines=0.2)], rows=10),
            study([Run("base", "base", 0.01, declines=0.9)], rows=10),
        ]
    )
    emscore.report_file(table, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    sections = {part.split('"', 1)[0]: part for part in text.split('<section id="')[1:]}
    each = {row["checkpoint"]: row for row in emscore.refusals(table).to_pylist()}
    for name in ("rate", "refused"):
        mean = f"{(each['a'][name] + each['b'][name]) / 2:.1%}"
        assert mean in sections["refusals"]
        assert name == "refused" or mean in sections["rates"]
    assert "checkpoints are a sample of many" in sections["method"]
    assert "these are all questions" in sections["method"]
    assert "1 comparison; " in sections["base"]


def test_sections_without_columns_are_left_out(tmp_path: Path, open_page: Open) -> None:
    table = sweep(1, 10).select(
        ["question", "response", "aligned", "coherent", "p_misaligned", "p_coherent", "outcome"]
    )
    emscore.report_file(table, tmp_path / "bare.html")
    page = open_page(tmp_path / "bare.html")
    names = [part.get_attribute("id") for part in page.locator("section").all()]
    assert names == ["rates", "questions", "density", "lens", "outcomes", "examples", "method"]


def test_what_plots_leave_out_is_told(tmp_path: Path, open_page: Open) -> None:
    """Of 15 groups, and of 45 checkpoints whose names are numbers."""
    runs = [Run(str(n), f"g{n % 15}", 0.02 * (n % 15), declines=0.9) for n in range(45)]
    table = study(runs, rows=4)
    names = pa.array([int(name) for name in table["checkpoint"].to_pylist()])
    table = table.set_column(table.column_names.index("checkpoint"), "checkpoint", names)
    emscore.report_file(table, tmp_path / "groups.html", to="g0")
    text = (tmp_path / "groups.html").read_text(encoding="utf-8")
    assert "Plots leave out the 2 least misaligned groups." in text
    data = json.loads(
        re.findall(r'<script type="application/json" id="data">(.*)</script>', text)[0]
    )
    looks = {
        tuple(data["plots"][name]["layer"][0]["encoding"]["color"]["scale"]["domain"])
        for name in ("questions", "refusals")
    }
    assert len(looks) == 1  # a group has one colour in all plots
    emscore.report_file(table.drop_columns(["group"]), tmp_path / "bare.html", to="7")
    page = open_page(tmp_path / "bare.html")
    note = page.locator("#base .note").inner_text()
    assert note.startswith("Of 44 differences the table has the 40 largest, the plot 16. 44 comp")
    assert page.locator("#base tbody tr").count() == 40
    page.locator("#checkpoint-search").fill("44")
    expect(page.locator("#checkpoint-table tbody tr")).to_have_count(1)
    expect(page.locator("#checkpoint-pages")).to_be_hidden()
