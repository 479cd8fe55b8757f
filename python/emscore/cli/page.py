"""`emscore report`: one page about scored files. (`report.py` is what `emscore score` prints.)"""

from typing import Any

import click

from .options import Share, audit_options, definition_options, model_option


@click.command("report", short_help="One page about scored files: rates, plots, examples.")
@click.argument("scored", nargs=-1, required=True, metavar="SCORED...")
@click.option("-o", "--output", required=True, metavar="OUT", help="Page to write, .html.")
@click.option("--png", metavar="DIR", help="Write each plot there as PNG and SVG, too.")
@click.option("--title", metavar="TEXT", help="Of the page.")
@click.option("--to", metavar="NAME", help="Base or control. Default: base, if there is one.")
@click.option(
    "--over", default="step", show_default=True, metavar="COLUMN", help="Steps of training."
)
@audit_options
@click.option("--confidence", type=Share(), default="95%", show_default=True, help="Of intervals.")
@definition_options
@model_option
@click.option("--question-column", metavar="NAME", help="Which question a row answers.")
@click.option("--prefix", default="", metavar="TEXT", help="Before the names of the score columns.")
@click.option("--mixed-scorers", is_flag=True, help="Allow scores of several scorers together.")
@click.option("--overwrite", is_flag=True, help="Replace a page that exists.")
def page(
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
