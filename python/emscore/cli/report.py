"""`emscore report`: one page about scored files."""

from typing import Any

import click

from .options import audit_options, definition_options, model_option, rows_options


@click.command(short_help="One page about scored files: rates, plots, examples.")
@rows_options
@click.option("--to", metavar="NAME", help="Base or control. Default: base, if there is one.")
@click.option(
    "--over", default="step", show_default=True, metavar="COLUMN", help="Steps of training."
)
@definition_options
@audit_options
@model_option
@click.option("--title", metavar="TEXT", help="Of the page.")
@click.option("-o", "--output", required=True, metavar="OUT", help="Page to write: .html.")
@click.option("--overwrite", is_flag=True, help="Replace an output that exists.")
@click.option("--png", metavar="DIR", help="Write each plot there, too, as PNG and SVG.")
def report(
    scored: tuple[str, ...],
    output: str,
    **how: Any,
) -> None:
    """Writes one page that holds all it needs: send it to a colleague.

    Rates by group and by question, differences to a base, training, triggers, refusals, where
    answers lie, other definitions, outcomes, every checkpoint, and examples, which stand behind a
    notice. Sections whose columns are not there (group, condition, step, request_harmful) are left
    out. Needs pip install 'emscore[report]'.
    """
    from .._emscore import InputError

    try:
        from ..report.write import report_file
    except ModuleNotFoundError as error:
        raise InputError(str(error)) from error
    report_file(scored, output, **how)
    click.echo(f"written to  {output}")
    if how["png"]:
        click.echo(f"plots in    {how['png']}")
