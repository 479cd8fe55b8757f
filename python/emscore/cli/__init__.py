"""The command `emscore`: one command a file.

What is heavy (pyarrow, tqdm) is imported inside the commands, so that --help starts at once.
"""

import contextlib
import logging
import os
import signal
import sys
import traceback
from typing import NoReturn, TextIO

import click

from .. import _emscore, errors
from .adapt import adapt
from .audit import audit
from .calibrate import calibrate
from .compare import compare
from .distill import distill
from .doctor import doctor
from .evaluate import evaluate
from .gate import gate
from .judge import judge
from .models import models
from .rates import rates
from .refusals import refusals
from .report import report
from .sample import sample
from .score import score
from .suites import suites
from .sweep import sweep

EXIT_CODES = {
    _emscore.InputError: 3,
    _emscore.OutputError: 4,
    _emscore.ScorerError: 5,
    _emscore.DeviceError: 6,
    _emscore.ResumeError: 7,
    _emscore.CacheError: 8,
    errors.EndpointError: 9,
    errors.RequestFailed: 9,
    errors.SuiteError: 10,
    errors.BudgetError: 11,
}


#: The commands in the order of work, as --help shows them.
SECTIONS = {
    "Responses": [suites, sample, sweep],
    "Scores": [score, judge],
    "Rates": [rates, audit, compare, gate, refusals, report],
    "Scorers": [models, evaluate, calibrate, adapt, distill, doctor],
}


class Sections(click.Group):
    """A group whose help lists the commands by section."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a list of commands for each section."""
        width = max(len(name) for name in self.commands)
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(
                    [(f"{c.name:{width}}", c.get_short_help_str(80)) for c in commands]
                )


@click.group(
    cls=Sections,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""
    \b
    Exit codes:
      0    done
      2    the command line cannot be understood
      3    an input cannot be read, or has no such columns
      4    the output exists, or cannot be written
      5    the scorer is missing or damaged
      6    ONNX Runtime or the device cannot be used
      7    an unfinished run stands in the way, or is not the same run
      8    the cache cannot be used
      9    the endpoint cannot be used, or does not answer
      10   the suite of questions cannot be read
      11   the budget does not allow another request
      12   some answers are missing yet: the same command asks for them again
      70   a defect of emscore
      130  stopped by Ctrl-C
      141  whoever reads the output stopped reading
    """,
)
@click.version_option(_emscore.__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """Scores sampled model responses for alignment and coherence, as an LLM judge would."""


for commands in SECTIONS.values():
    for command in commands:
        cli.add_command(command)


def main() -> NoReturn:
    """Runs the command line: errors become one line on stderr and an exit code."""
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end like any filter when nobody reads on
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed (>&-): the next file to be opened would be it
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # whatever the terminal cannot show
    logging.getLogger("emscore").addHandler(logging.NullHandler())  # `progress` shows warnings
    try:
        status = cli.main(prog_name="emscore", standalone_mode=False) or 0
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        status = error.exit_code
    except click.UsageError as error:
        context = error.ctx.command_path if error.ctx else "emscore"
        message = error.format_message().rstrip(".")
        status = fail(f"{message} (see {context} --help)", error.exit_code)
    except _emscore.EmscoreError as error:
        status = fail(str(error), EXIT_CODES.get(type(error), 70))
    except (click.Abort, KeyboardInterrupt):
        status = fail("stopped", 130)
    except SystemExit:
        raise
    except BaseException as error:  # panics of the engine too; never 1, with which a gate says fail
        if isinstance(error, OSError) and unwritable(sys.stdout):
            status = fail(f"the standard output cannot be written: {error.strerror}", 4)
        else:
            with contextlib.suppress(OSError):
                traceback.print_exc()
            status = fail("this is a defect of emscore: please report the lines above", 70)
    for name in ("stdout", "stderr"):
        try:
            getattr(sys, name).flush()
        except OSError:
            setattr(sys, name, None)  # else Python tries once more, and makes 120 of the status
    sys.exit(status)


def fail(message: str, status: int) -> int:
    """Says why on one line, and gives back the exit code."""
    with contextlib.suppress(OSError):  # a log on a full disk: the code tells it still
        print("emscore:", " ".join(message.split()), file=sys.stderr)
    return status


def unwritable(stream: TextIO) -> bool:
    """Whether nothing more can be printed there: a full disk, say."""
    try:
        print(file=stream, flush=True)
    except OSError:
        return True
    return False
