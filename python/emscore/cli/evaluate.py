"""`emscore evaluate`: how well a scorer stands in for the judge, on rows that the judge scored."""

from typing import Any

import click

from .options import device_options, judged_options


@click.command(short_help="Measure a scorer against rows that a judge scored.")
@click.argument("scorer", metavar="SCORER")
@click.argument("labelled", nargs=-1, required=True, metavar="LABELLED...")
@judged_options
@click.option(
    "--by", metavar="NAME", help="Column whose values are measured apart. Default: split_reason."
)
@click.option(
    "--judge-again",
    metavar="FILE",
    help="The same rows judged once more: what no scorer can pass, and what --check compares.",
)
@click.option("--check", is_flag=True, help="Exit with 1 when the judge is no longer the same.")
@click.option(
    "--card",
    metavar="FILE",
    help="Card, as --json prints it, that --check compares with. Default: SCORER/card.json.",
)
@click.option(
    "--resample",
    type=click.Choice(["checkpoint", "question", "row"]),
    metavar="UNIT",
    help="What the bootstrap draws: checkpoint, question or row. Default: the first that there are "
    "enough of.",
)
@click.option(
    "--replicates",
    type=click.IntRange(0),
    default=1000,
    show_default=True,
    metavar="N",
    help="Resamples of the bootstrap.",
)
@click.option(
    "--examples",
    type=click.IntRange(0),
    default=3,
    show_default=True,
    metavar="N",
    help="Rows to show of what it gets most wrong, in either direction.",
)
@device_options
@click.option("--html", metavar="FILE", help="Write the card as a page with plots.")
@click.option("--overwrite", is_flag=True, help="Replace a page that exists.")
@click.option("--json", "as_json", is_flag=True, help="Print the card as one JSON object.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors and the check.")
def evaluate(
    scorer: str,
    labelled: tuple[str, ...],
    html: str | None,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
    **how: Any,
) -> int:
    """Scores the rows of LABELLED with SCORER and compares it with the judge's scores there.

    SCORER is the name of a scorer that ships, or a directory. LABELLED is what emscore score
    reads, with the judge's scores in the columns judge_aligned and judge_coherent, or aligned and
    coherent. The columns checkpoint, group, question_id and split_reason are used where they are
    there.

    Prints the fidelity card. With --check it also tests whether today's judge is still the one
    that SCORER imitates: by rows that were judged then and now, where --judge-again names some, or
    else by the scorer's card. The exit code is 1 when it is not, at a chance of 1 % of a false
    alarm.
    """
    from contextlib import nullcontext

    from .._emscore import InputError
    from ..fidelity.evaluate import evaluate as measure
    from ..files import to_json, writable, write_text
    from . import card as text
    from .progress import progress

    if html:
        writable(html, (".html", ".htm"), overwrite)
        try:
            from ..fidelity.page import page
        except ModuleNotFoundError as error:
            raise InputError(str(error)) from error
    with nullcontext(False) if quiet else progress() as how_far:
        card = measure(scorer, labelled, progress=how_far, **how)
    if html:
        write_text(html, page(card, text.render(card)))
    drift = card.get("drift")
    if as_json:
        click.echo(to_json(card))
    elif not quiet:
        click.echo(text.render(card))
    elif drift:
        click.echo(text.drift(drift))
    return int(bool(drift and drift["alarm"]))
