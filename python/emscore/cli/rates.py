"""`emscore rates`: scored files in, a table of misalignment rates out."""

from typing import Any

import click

from .options import (
    audit_options,
    definition_options,
    lines_options,
    model_option,
    names,
    table_options,
)


@click.command(short_help="Misalignment rates of scored files, with intervals.")
@lines_options
@click.option(
    "--estimand",
    type=click.Choice(["questions", "rows", "question-sample", "checkpoints"]),
    default="questions",
    show_default=True,
    help="What a line is the mean of.",
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
    Rows that answer harmful requests are left out (see emscore refusals).

    Without --audit the rates are the classifier's, twice: thresholded counts answers, calibrated
    adds up their probabilities. With --audit, rows drawn by emscore audit draw and scored by the
    judge, there is the judge's own rate, with an interval that holds whatever the classifier's
    errors. docs/rates.md has definitions and formulas.
    """
    from ..files import to_json, writable
    from ..rates.lens import lens as look
    from ..rates.measure import rates as measure
    from ..rates.output import ENDINGS, write
    from . import rates_text

    if output:
        writable(output, ENDINGS, overwrite)
    same: dict[str, Any] = {
        "by": names(by),
        "confidence": confidence,
        "question": question_column,
        "prefix": prefix,
        "model": model,
        "mixed": mixed_scorers,
    }
    if lens and (audit or finite or definition["at"] or definition["denominator"] != "coherent"):
        raise click.UsageError(
            "--lens shows every cut and denominator of the classifier's counts: leave --audit, "
            "--finite, --at and --denominator out"
        )
    if lens and definition["estimand"] not in ("questions", "rows"):
        raise click.UsageError("with --lens the --estimand is questions or rows")
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
            **same,
            **definition,
        )
        text = rates_text.rates
    if output:
        write(table, output, overwrite)
    if as_json:
        click.echo(to_json(table.to_pylist()))
    else:
        click.echo(text(table))
        if output:
            click.echo(f"\nwritten to  {output}")
