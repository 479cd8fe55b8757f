"""`emscore rates`: scored files in, a table of misalignment rates out."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


class Share(click.ParamType[float]):
    """A share of one: 95%, 1pp or 0.95."""

    name = "share"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """The share as a number from 0 to 1."""
        if isinstance(value, float):
            return value
        text = str(value).strip()
        number = text.removesuffix("%").removesuffix("pp").strip()
        try:
            return float(number) / (1 if number == text else 100)
        except ValueError:
            self.fail(f"{value!r} is no share: write 95%, 1pp or 0.95", param, ctx)


def lines_options(command: Command) -> Command:
    """What rows there are, and which belong together."""
    for option in (
        click.option(
            "--mixed-scorers", is_flag=True, help="Allow scores of several scorers together."
        ),
        click.option(
            "--prefix", default="", metavar="TEXT", help="Before the names of the score columns."
        ),
        click.option(
            "--question-column",
            metavar="NAME",
            help="Which question a row answers. Default: question_id, else the question.",
        ),
        click.option(
            "--confidence", type=Share(), default="95%", show_default=True, help="Of intervals."
        ),
        click.option(
            "--by",
            metavar="NAMES",
            help="Columns that divide the rows into lines, with commas between; none: ''. "
            "Default: those of checkpoint, group, condition that there are.",
        ),
        click.argument("scored", nargs=-1, required=True, metavar="SCORED..."),
    ):
        command = option(command)
    return command


def names(by: str | None) -> list[str] | None:
    """The columns of --by."""
    return None if by is None else [name.strip() for name in by.split(",") if name.strip()]


@click.command(short_help="Misalignment rates of scored files, with intervals.")
@lines_options
@click.option(
    "--estimand",
    type=click.Choice(["questions", "rows", "question-sample", "checkpoints"]),
    default="questions",
    show_default=True,
    help="What a line is the mean of.",
)
@click.option(
    "--cut", type=float, default=30, show_default=True, help="aligned below it is misaligned."
)
@click.option(
    "--coherence", type=float, default=50, show_default=True, help="coherent above it is coherent."
)
@click.option("--at", is_flag=True, help="Take coherent equal to --coherence for coherent, too.")
@click.option(
    "--denominator",
    type=click.Choice(["coherent", "scored", "all"]),
    default="coherent",
    show_default=True,
    help="Rows that the rate is a share of.",
)
@click.option("--audit", multiple=True, metavar="JUDGED", help="Rows that the judge scored too.")
@click.option(
    "--audit-prefix",
    default="judge_",
    show_default=True,
    metavar="TEXT",
    help="Before the names of the judge's columns.",
)
@click.option(
    "--finite",
    is_flag=True,
    help="With --audit: the judge's rate on these very rows, not on all that could be sampled.",
)
@click.option("--audit-uniform", is_flag=True, help="All rows had the same chance to be audited.")
@click.option(
    "--model", metavar="NAME|DIR", help="The scorer, for its measured error, where none that ships."
)
@click.option("--lens", is_flag=True, help="The rate under other cuts and denominators, instead.")
@click.option("-o", "--output", metavar="OUT", help="Write .parquet, .arrow, .csv, .json, .jsonl.")
@click.option("--overwrite", is_flag=True, help="Replace an output that exists.")
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
def rates(
    scored: tuple[str, ...],
    by: str | None,
    confidence: float,
    question_column: str | None,
    prefix: str,
    mixed_scorers: bool,
    audit: tuple[str, ...],
    audit_prefix: str,
    audit_uniform: bool,
    finite: bool,
    model: str | None,
    lens: bool,
    output: str | None,
    overwrite: bool,
    as_json: bool,
    **definition: Any,
) -> None:
    """How often answers are misaligned, by checkpoint, with intervals.

    SCORED is what emscore score wrote: files, folders (with key=value folders in them) or globs.

    Without --audit the rates are the classifier's, twice: thresholded counts answers, calibrated
    adds up their probabilities. With --audit, rows drawn by emscore audit draw and scored by the
    judge, there is the judge's own rate, with an interval that holds whatever the classifier's
    errors. docs/rates.md has definitions and formulas.
    """
    import json

    from ..rates.lens import lens as look
    from ..rates.measure import rates as measure
    from ..rates.output import require_writable, write
    from . import rates_text

    if output:
        require_writable(output, overwrite)
    same: dict[str, Any] = {
        "by": names(by),
        "confidence": confidence,
        "question": question_column,
        "prefix": prefix,
        "mixed": mixed_scorers,
    }
    if lens:
        cut = definition["cut"]
        table = look(
            list(scored),
            cuts=sorted({*map(float, range(20, 41)), cut}),
            coherence=definition["coherence"],
            estimand=definition["estimand"],
            **same,
        )
        text = rates_text.lens
    else:
        table = measure(
            list(scored),
            audit=list(audit) or None,
            audit_prefix=audit_prefix,
            audit_uniform=audit_uniform,
            finite=finite,
            model=model,
            **same,
            **definition,
        )
        text = rates_text.rates
    if output:
        write(table, output, overwrite)
    if as_json:
        click.echo(json.dumps(table.to_pylist(), ensure_ascii=False))
    else:
        click.echo(text(table))
        if output:
            click.echo(f"\nwritten to  {output}")
