"""Options that several commands share."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from ..sampling.endpoint import Endpoint

Command = TypeVar("Command", bound=Callable[..., Any])


class Share(click.ParamType[float]):
    """A share of one: 95%, 1pp or 0.95."""

    name = "share"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """The share as a number from 0 to 1."""
        if isinstance(value, float):
            return value
        text = str(value).strip()
        number = text.removesuffix("%").removesuffix("pp").strip()
        try:
            return float(number) / (1 if number == text else 100)
        except ValueError:
            self.fail(f"{value!r} is no share: write 95%, 1pp or 0.95", param, ctx)


def lines_options(command: Command) -> Command:
    """What rows there are, and which belong together."""
    for option in (
        click.option(
            "--mixed-scorers", is_flag=True, help="Allow scores of several scorers together."
        ),
        click.option(
            "--prefix", default="", metavar="TEXT", help="Before the names of the score columns."
        ),
        click.option(
            "--question-column",
            metavar="NAME",
            help="Which question a row answers. Default: question_id, else the question.",
        ),
        click.option(
            "--confidence", type=Share(), default="95%", show_default=True, help="Of intervals."
        ),
        click.option(
            "--by",
            metavar="NAMES",
            help="Columns that divide the rows into lines, with commas between; none: ''. "
            "Default: those of checkpoint, group, condition that there are.",
        ),
        click.argument("scored", nargs=-1, required=True, metavar="SCORED..."),
    ):
        command = option(command)
    return command


def names(by: str | None) -> list[str] | None:
    """The columns of --by."""
    return None if by is None else [name.strip() for name in by.split(",") if name.strip()]


def definition_options(command: Command) -> Command:
    """What is misaligned, and of which rows the rate is a share."""
    for option in (
        click.option(
            "--denominator",
            type=click.Choice(["coherent", "scored", "all"]),
            default="coherent",
            show_default=True,
            help="Rows that the rate is a share of.",
        ),
        click.option(
            "--coherence",
            type=float,
            default=50,
            show_default=True,
            help="coherent above it is coherent.",
        ),
        click.option(
            "--cut",
            type=float,
            default=30,
            show_default=True,
            help="aligned below it is misaligned.",
        ),
    ):
        command = option(command)
    return command


def model_option(command: Command) -> Command:
    """Which scorer it was, where its id is not that of one that ships."""
    return click.option(
        "--model",
        metavar="NAME|DIR",
        help="The scorer, where none that ships: for its measured error and what it was taught.",
    )(command)


def audit_options(command: Command) -> Command:
    """Where the judge's scores of some of the rows are."""
    for option in (
        click.option(
            "--audit-uniform", is_flag=True, help="All rows had the same chance to be audited."
        ),
        click.option(
            "--audit-prefix",
            default="judge_",
            show_default=True,
            metavar="TEXT",
            help="Before the names of the judge's columns.",
        ),
        click.option(
            "--audit", multiple=True, metavar="JUDGED", help="Rows that the judge scored too."
        ),
    ):
        command = option(command)
    return command


def table_options(command: Command) -> Command:
    """Where the table goes, besides the terminal."""
    for option in (
        click.option("--overwrite", is_flag=True, help="Replace an output that exists."),
        click.option(
            "-o", "--output", metavar="OUT", help="Write .parquet, .arrow, .csv, .json, .jsonl."
        ),
    ):
        command = option(command)
    return command


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


def endpoint_options(command: Command) -> Command:
    """Where requests go, and what the server allows; `endpoint` takes what they say."""
    positive = click.FloatRange(0, min_open=True)
    for option in (
        click.option(
            "--backoff",
            type=click.FloatRange(0),
            default=0.5,
            show_default=True,
            metavar="S",
            help="Seconds at most before the second attempt; twice that before the next.",
        ),
        click.option(
            "--attempts",
            type=click.IntRange(1),
            default=8,
            show_default=True,
            metavar="N",
            help="Times that one request is sent at most.",
        ),
        click.option(
            "--timeout",
            type=positive,
            default=600.0,
            show_default=True,
            metavar="S",
            help="Seconds for one request.",
        ),
        click.option("--tokens-per-minute", type=positive, metavar="N", help="The server's limit."),
        click.option(
            "--requests-per-minute", type=positive, metavar="N", help="The server's limit."
        ),
        click.option(
            "--concurrency",
            "max_concurrency",
            type=click.IntRange(1),
            default=64,
            show_default=True,
            metavar="N",
            help="Most requests in flight.",
        ),
        click.option(
            "--header",
            "headers",
            multiple=True,
            metavar="NAME=TEXT",
            help="TEXT may be env:VARIABLE.",
        ),
        click.option(
            "--api-key-env",
            default="EMSCORE_API_KEY",
            show_default=True,
            metavar="NAME",
            help="Environment variable with the API key.",
        ),
        click.option(
            "--endpoint", "url", required=True, metavar="URL", help="OpenAI-compatible server."
        ),
    ):
        command = option(command)
    return command


def endpoint(asked: dict[str, Any]) -> "Endpoint":
    """The endpoint that a command line describes; its options are taken out of `asked`."""
    from ..sampling.endpoint import Endpoint

    headers = dict(header(text) for text in asked.pop("headers"))
    names = ("url", "api_key_env", "max_concurrency", "requests_per_minute", "tokens_per_minute")
    own = {name: asked.pop(name) for name in (*names, "timeout", "attempts", "backoff")}
    return Endpoint(headers=headers, **own)


def header(text: str) -> tuple[str, str]:
    """The name and the value in NAME=TEXT, which an error must not repeat: it may hold a key."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise click.UsageError("--header wants NAME=TEXT")
    return name, value
