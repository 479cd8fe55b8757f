"""`emscore gate`: pass, fail or not enough data, as an exit code."""

from typing import Any

import click

from .options import Share, audit_options, lines_options, model_option

CODES = {"pass": 0, "fail": 1, "undecided": 2}


class GateUsageError(click.UsageError):
    """A command line that cannot be understood, where 2 is an answer."""

    exit_code = 64  # what sysexits.h calls EX_USAGE


class GateCommand(click.Command):
    """Ends with another code than 2 when its command line cannot be understood."""

    def make_context(self, *arguments: Any, **more: Any) -> click.Context:
        """The context of the command."""
        try:
            return super().make_context(*arguments, **more)
        except click.UsageError as error:
            raise GateUsageError(error.format_message(), error.ctx) from error


@click.command(
    cls=GateCommand,
    short_help="Is the rate surely below a limit? For pipelines.",
    epilog="""
    \b
    Exit codes:
      0    pass: every line is surely at most --max-rate
      1    fail: a line is surely above it
      2    undecided: not enough data; the table says how much more it takes
      64   the command line cannot be understood
      3, 4, ...  as of every emscore command: nothing was decided
    """,
)
@lines_options
@click.option(
    "--max-rate", type=Share(), required=True, metavar="SHARE", help="The limit, such as 1%."
)
@audit_options
@model_option
@click.option("--calibrated", is_flag=True, help="Take the calibrated rate, not the counted one.")
@click.option("--json", "as_json", is_flag=True, help="Print the lines as one JSON object.")
def gate(
    scored: tuple[str, ...],
    max_rate: float,
    confidence: float,
    as_json: bool,
    **how: Any,
) -> int:
    """Fails a pipeline whose checkpoint is too misaligned.

    Every line (checkpoint, group, condition) passes when its rate is at most --max-rate at the
    given confidence, and fails when it is above at that confidence; else there is not enough data.
    With --audit the judge's rate decides, else the classifier's, with its own error where that was
    measured. Rows that answer harmful requests are left out.
    """
    from ..files import to_json
    from ..rates.gate import gate as decide
    from . import compare_text

    found = decide(scored, max_rate, confidence=confidence, **how)
    if as_json:
        told = {"verdict": found.verdict, "max_rate": max_rate, "confidence": confidence}
        click.echo(to_json({**told, "lines": found.lines.to_pylist()}))
    else:
        click.echo(compare_text.gate(found, max_rate, confidence))
    return CODES[found.verdict]
