"""`emscore evaluate`: how well a scorer stands in for the judge, on rows that the judge scored."""

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
    "--card", metavar="FILE", help="Card that --check compares with. Default: SCORER/card.json."
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
@click.option("--json", "json_file", metavar="FILE", help="Write the card as JSON.")
@click.option("--html", "html_file", metavar="FILE", help="Write the card as a page with plots.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors and the check.")
def evaluate(
    scorer: str,
    labelled: tuple[str, ...],
    question_column: str | None,
    response_column: str | None,
    judge_aligned: str | None,
    judge_coherent: str | None,
    by: str | None,
    judge_again: str | None,
    check: bool,
    card: str | None,
    resample: str | None,
    replicates: int,
    examples: int,
    device: str,
    threads: int | None,
    cache: str | None,
    json_file: str | None,
    html_file: str | None,
    quiet: bool,
) -> None:
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
    from typing import cast

    from .._emscore import InputError
    from ..fidelity.bootstrap import Unit
    from ..fidelity.card import Options
    from ..fidelity.evaluate import Evaluation
    from ..fidelity.judged import Columns
    from ..files import writable, write_json, write_text
    from . import card as text
    from .progress import progress

    for file in filter(None, (json_file, html_file)):
        writable(file, overwrite=True)
    if html_file:
        try:
            from ..fidelity.page import page
        except ModuleNotFoundError as error:
            raise InputError(str(error)) from error
    columns = Columns(question_column, response_column, judge_aligned, judge_coherent, by)
    with nullcontext(False) if quiet else progress() as how_far:
        rows = Evaluation(
            scorer, labelled, columns, judge_again, check, card,
            device=device, threads=threads, cache=cache, progress=how_far,
        )  # fmt: skip
    made = rows.card(Options(cast("Unit | None", resample), replicates, examples=examples))
    if not quiet:
        click.echo(text.render(made))
    if html_file:
        write_text(html_file, page(made, text.render(made)))
    if json_file:
        write_json(json_file, made)
    if check:
        made["drift"] = rows.drift()
        if json_file:
            write_json(json_file, made)
        click.echo(("" if quiet else "\n") + text.drift(made["drift"]))
        if made["drift"]["alarm"]:
            raise SystemExit(1)
