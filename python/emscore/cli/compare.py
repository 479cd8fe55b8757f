"""`emscore compare`: differences of rates on the same questions."""

from functools import partial
from typing import Any

import click

from .options import (
    Share,
    audit_options,
    definition_options,
    give,
    model_option,
    rows_options,
    table_options,
)


@click.command(short_help="Differences to a base, by a trigger, or over training.")
@click.option(
    "--by",
    metavar="NAME",
    help="Column of what is compared. Default: checkpoint; with --over, group.",
)
@rows_options
@click.option("--to", metavar="NAME", help="Base or control that all others are compared with.")
@click.option("--condition", metavar="NAME", help="Compare rows under this condition ...")
@click.option(
    "--against", default="plain", show_default=True, metavar="NAME", help="... with these."
)
@click.option("--over", metavar="COLUMN", help="Compare steps of training, which this column has.")
@click.option(
    "--rise", type=Share(), default="1pp", show_default=True, help="Difference that is an onset."
)
@click.option(
    "--correction",
    type=click.Choice(["auto", "holm", "bh", "none"]),
    default="auto",
    show_default=True,
    metavar="NAME",
    help="For many comparisons: holm, bh (Benjamini-Hochberg), none, or auto: holm up to 20, bh "
    "above.",
)
@definition_options
@audit_options
@model_option
@table_options
def compare(
    scored: tuple[str, ...],
    by: str | None,
    output: str | None,
    overwrite: bool,
    as_json: bool,
    **how: Any,
) -> None:
    """Compares misalignment on the questions that both sides answered.

    \b
    emscore compare SCORED --to base               each checkpoint with the base
    emscore compare SCORED --to secure --by group  groups, checkpoints as units
    emscore compare SCORED --condition trigger     with the trigger and without
    emscore compare SCORED --condition trigger --to base
                                                   more than it does to the base
    emscore compare SCORED --over step --to base   training: when does it begin?

    The rates are the classifier's, or with --audit the judge's. Rows that answer harmful requests
    are left out (see emscore refusals). docs/comparing.md has the methods.
    """
    from ..rates.compare import compare as compared
    from . import compare_text

    if by and "," in by:
        raise click.UsageError("--by takes one column here: what is compared")
    make = partial(compared, scored, by=by, **how)
    give(make, compare_text.differences, output, overwrite, as_json)
