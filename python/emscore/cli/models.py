"""`emscore models`: the scorers that ship with the package."""

import click


@click.command(short_help="List the scorers, or print the card of one.")
@click.argument("name", required=False)
def models(name: str | None) -> None:
    """Lists the scorers that ship with emscore, their ids and the judges they imitate.

    With NAME (or the directory of any scorer), prints its card: the data, the recipe, the measured
    agreement with the judge, and what it is bad at.
    """
    import json

    from .. import _emscore
    from .. import models as shipped
    from .table import indented

    if name is not None:
        click.echo(shipped.card(name))
        return
    for each in shipped.names():
        about = json.loads(_emscore.describe(str(shipped.resolve(each))))
        click.echo(each + (" (default)" if each == shipped.DEFAULT else ""))
        click.echo(indented("  id        ", about["id"]))
        click.echo(indented("  size      ", f"{sum(about['files'].values()) / 1e6:.0f} MB"))
        click.echo(indented("  imitates  ", about["judge"]))
