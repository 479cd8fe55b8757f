"""Options that several commands share."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def judged_options(command: Command) -> Command:
    """Where questions, responses and the judge's scores are."""
    for role in ("coherent", "aligned"):
        help = f"Column with the judge's {role}. Default: judge_{role}, else {role}."
        command = click.option(f"--judge-{role}", metavar="NAME", help=help)(command)
    for role in ("response", "question"):
        help = f"Column with the {role}s."
        command = click.option(f"--{role}-column", metavar="NAME", help=help)(command)
    return command


def device_options(command: Command) -> Command:
    """Where and how the rows are scored."""
    for option in (
        click.option("--cache", metavar="DIR", help="Keep scores here and reuse them across runs."),
        click.option(
            "--threads",
            type=click.IntRange(1),
            metavar="N",
            help="CPU threads. Default: one a core.",
        ),
        click.option(
            "--device",
            default="auto",
            show_default=True,
            metavar="DEVICE",
            help="cpu, cuda, cuda:N or auto.",
        ),
    ):
        command = option(command)
    return command
