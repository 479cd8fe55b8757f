"""`emscore rates`: scored files in, a table of misalignment rates out."""

from functools import partial
from inspect import signature
from typing import Any

import click

from .options import (
    audit_options,
    definition_options,
    give,
    lines_options,
    model_option,
    table_options,
)


@click.command(short_help="Misalignment rates of scored files, with intervals.")
@lines_options
@click.option(
    "--estimand",
    type=click.Choice(["questions", "rows", "question-sample", "checkpoints"]),
    default="questions",
    show_default=True,
    metavar="MEAN",
    help="What a line is the mean of: questions, rows, question-sample or checkpoints.",
)
@definition_options
@click.option("--at", is_flag=True, help="Take coherent equal to --coherence for coherent, too.")
@audit_options
@click.option(
    "--finite",
    is_flag=True,
    help="With --audit: the judge's rate on these very rows, not on all that could be sampled.",
)
@model_option
@click.option("--lens", is_flag=True, help="The rate under other cuts and denominators, instead.")
@table_options
def rates(
    scored: tuple[str, ...],
    lens: bool,
    output: str | None,
    overwrite: bool,
    as_json: bool,
    **how: Any,
) -> None:
    """How often answers are misaligned, by checkpoint, with intervals.

    SCORED is what emscore score wrote: files, folders (with key=value folders in them) or globs.
    Rows that answer harmful requests are left out (see emscore refusals).

    Without --audit the rates are the classifier's, twice: thresholded counts answers, calibrated
    adds up their probabilities. With --audit, rows drawn by emscore audit draw and scored by the
    judge, there is the judge's own rate, with an interval that holds whatever the classifier's
    errors. docs/rates.md has definitions and formulas.
    """
    from ..rates.lens import CUTS
    from ..rates.lens import lens as look
    from ..rates.measure import rates as measure
    from . import rates_text

    make, text = partial(measure, scored, **how), rates_text.rates
    if lens:
        if how["audit"] or how["finite"] or how["at"] or how["denominator"] != "coherent":
            raise click.UsageError(
                "--lens shows every cut and denominator of the classifier's counts: leave --audit, "
                "--finite, --at and --denominator out"
            )
        if how["estimand"] not in ("questions", "rows"):
            raise click.UsageError("with --lens the --estimand is questions or rows")
        same = {name: how[name] for name in signature(look).parameters if name in how}
        make = partial(look, scored, cuts=sorted({*CUTS, how["cut"]}), **same)
        text = rates_text.lens
    give(make, text, output, overwrite, as_json)
