"""`emscore audit`: which rows the judge should score too, so that rates are the judge's."""

from functools import partial
from typing import Any

import click

from .options import Dollars, Share, give, lines_options, table_options, together

#: How large the audit may be.
wish_options = together(
    click.option(
        "--width", type=Share(), metavar="SHARE", help="Of each line's interval, such as 1pp."
    ),
    click.option(
        "--budget", type=Dollars(), metavar="USD", help="To spend on all lines, such as 20usd."
    ),
    click.option(
        "--rows", type=click.IntRange(1), metavar="N", help="Rows to judge, of all lines."
    ),
    click.option(
        "--price",
        type=Dollars(),
        metavar="USD",
        help="Of one judged row. Default: 0.0014, GPT-4o for both scores of some 60 tokens.",
    ),
)


def asked(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, of which one is a wish."""
    given = {name: value for name, value in options.items() if value is not None}
    if len(given.keys() & {"width", "budget", "rows"}) != 1:
        raise click.UsageError("say one of --width 1pp, --budget 20usd and --rows N")
    return given


@click.group(short_help="Plan and draw rows for the judge.")
def audit() -> None:
    """Which rows the judge should score too, so that the rates of emscore rates are the judge's."""


@audit.command(short_help="How many rows to judge, from which scores, at what cost.")
@lines_options
@wish_options
@table_options
def plan(
    scored: tuple[str, ...], output: str | None, overwrite: bool, as_json: bool, **options: Any
) -> None:
    """How many rows to have judged for an interval, from which scores, and at what cost.

    Say one of --width, --budget and --rows. Each line (checkpoint) has an audit of its own. Most
    audits go where the classifier is unsure; some always fall among the rows that it takes for
    clear negatives.
    """
    from ..rates.plan import PRICE, audit_plan
    from . import audit_text

    text = partial(
        audit_text.plan, confidence=options["confidence"], price=options["price"] or PRICE
    )
    give(partial(audit_plan, scored, **asked(options)), text, output, overwrite, as_json)


@audit.command(short_help="Draw the rows, for emscore judge.")
@lines_options
@wish_options
@click.option(
    "--seed", default=0, show_default=True, metavar="N", help="The same one draws the same rows."
)
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="OUT",
    help="File to write: .parquet, .arrow, .csv or .jsonl.",
)
@click.option("--overwrite", is_flag=True, help="Replace an output that exists.")
def draw(scored: tuple[str, ...], output: str, overwrite: bool, **options: Any) -> None:
    """Draws the rows that emscore audit plan plans, with the chance that each had to be drawn.

    Say one of --width, --budget and --rows. OUT has their columns, audit_probability and
    audit_stratum. Then:

    \b
      emscore judge OUT -o judged.parquet ...
      emscore rates SCORED --audit judged.parquet
    """
    from ..files import writable
    from ..rates.output import write
    from ..rates.plan import PRICE, audit_draw

    writable(output, (".parquet", ".arrow", ".csv", ".jsonl"), overwrite)  # which the judge reads
    table = audit_draw(scored, **asked(options))
    write(table, output, overwrite)
    cost = table.num_rows * (options["price"] or PRICE)
    click.echo(f"{table.num_rows:,} rows to be judged, about ${cost:,.2f}, written to {output}")
