"""`emscore adapt`: teach a scorer new questions with a few judged rows."""

from typing import Any

import click

from .options import judged_options


@click.command(short_help="Teach a scorer new questions with 50 to 300 judged rows.")
@click.argument("scorer", metavar="SCORER")
@click.argument("audit", nargs=-1, required=True, metavar="AUDIT...")
@click.option("-o", "--output", required=True, metavar="NEW", help="Folder of the new scorer.")
@click.option("--name", metavar="TEXT", help="Name of the new scorer. Default: that of its folder.")
@click.option(
    "--keep",
    multiple=True,
    metavar="FILE",
    help="Judged rows on questions it knows already, to hold on to. May be repeated.",
)
@judged_options
def adapt(
    scorer: str, audit: tuple[str, ...], output: str, keep: tuple[str, ...], **how: Any
) -> None:
    """Writes the scorer NEW: SCORER, its last layer and calibration refitted to the rows of AUDIT.

    AUDIT holds 50 to 300 rows on new questions with the judge's scores; its columns are those of
    emscore evaluate. It takes half a minute on a CPU, with --keep a minute, and needs
    emscore[adapt]. NEW has an id of its own. Prints the agreement with the judge by number of
    labels, each figure by cross-validation.
    """
    from ..tuning import adapt as teaching
    from .progress import progress
    from .tuned import comparison, on_rows, written

    with progress() as how_far:
        found = teaching.adapt(scorer, audit, output, keep=keep or None, progress=how_far, **how)
    click.echo(comparison(found["agreement"], on_rows(found)))
    click.echo("\n" + comparison(found["calibration"], "by calibration, with all labels"))
    if found["kept"]:
        click.echo("\n" + comparison(found["kept"], f"on the {found['kept_rows']:,} rows to keep"))
    if found["unchanged"]:
        click.echo("\nNothing that was learnt held on other rows, so the last layer is unchanged.")
    click.echo(f"\n{written(found, output)}")
