"""`emscore calibrate`: the same scorer on another judge's scale."""

from typing import Any

import click

from .options import device_options, judged_options


@click.command(short_help="Fit a scorer to another judge with a few hundred of its scores.")
@click.argument("scorer", metavar="SCORER")
@click.argument("overlap", nargs=-1, required=True, metavar="OVERLAP...")
@click.option("-o", "--output", required=True, metavar="NEW", help="Folder of the new scorer.")
@click.option(
    "--judge", required=True, metavar="TEXT", help="The judge that scored OVERLAP, for the record."
)
@click.option("--name", metavar="TEXT", help="Name of the new scorer. Default: that of its folder.")
@judged_options
@device_options
def calibrate(scorer: str, overlap: tuple[str, ...], output: str, **how: Any) -> None:
    """Writes the scorer NEW: SCORER, calibrated to the judge that scored OVERLAP.

    OVERLAP holds a few hundred rows (50 or more) with the scores of another judge, or of the same
    one in a later version; its columns are those of emscore evaluate. Only the manifest changes:
    what the score bins are worth and how the probabilities are calibrated. NEW has an id of its
    own. Prints the agreement with that judge before and, by cross-validation, after.
    """
    from ..tuning import calibrate as fitting
    from .progress import progress
    from .tuned import comparison, on_rows, written

    with progress() as how_far:
        found = fitting.calibrate(scorer, overlap, output, progress=how_far, **how)
    click.echo(comparison(found["agreement"], on_rows(found)))
    click.echo(f"\n{written(found, output)}")
