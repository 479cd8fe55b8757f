"""Options that several commands share."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    import pyarrow as pa

    from ..sampling.endpoint import Endpoint

Command = TypeVar("Command", bound=Callable[..., Any])
POSITIVE = click.FloatRange(0, min_open=True)


class Share(click.ParamType[float]):
    """A share of one: 95%, 1pp or 0.95; none and all of it too with `ends`."""

    name = "share"

    def __init__(self, ends: bool = False) -> None:
        self.ends = ends

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """The share as a number between 0 and 1."""
        text = str(value).strip()
        number = text.removesuffix("%").removesuffix("pp").strip()
        try:
            share = float(number) / (1 if number == text else 100)
        except ValueError:
            share = -1.0
        if not (0 <= share <= 1 if self.ends else 0 < share < 1):
            why = f"{value!r} is no share between 0 and 1: write 95%, 1pp or 0.95"
            self.fail(why, param, ctx)
        return share


class Dollars(click.ParamType[float]):
    """An amount of US dollars: 20, 20usd or $20."""

    name = "dollars"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """The amount as a number from 0 on."""
        text = str(value).strip().lower().removeprefix("$").removesuffix("$").removesuffix("usd")
        try:
            amount = float(text)
        except ValueError:
            amount = -1.0
        if not 0 <= amount < float("inf"):
            self.fail(f"{value!r} is no amount of US dollars: write 20usd", param, ctx)
        return amount


class Names(click.ParamType[list[str]]):
    """Names of columns, with commas between."""

    name = "names"

    def convert(self, value: Any, param: Any, ctx: Any) -> list[str]:
        """The names; none of ''."""
        if isinstance(value, list):
            return value
        return [name.strip() for name in str(value).split(",") if name.strip()]


def together(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """A decorator that adds all of them; help shows them in this order."""

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


#: What rows there are.
rows_options = together(
    click.argument("scored", nargs=-1, required=True, metavar="SCORED..."),
    click.option(
        "--confidence", type=Share(), default="95%", show_default=True, help="Of the intervals."
    ),
    click.option(
        "--question-column",
        metavar="NAME",
        help="Which question a row answers. Default: question_id, else the question.",
    ),
    click.option(
        "--prefix", default="", metavar="TEXT", help="Before the names of the score columns."
    ),
    click.option("--mixed-scorers", is_flag=True, help="Allow scores of several scorers together."),
)

#: What rows there are, and which belong together.
lines_options = together(
    click.option(
        "--by",
        type=Names(),
        metavar="NAMES",
        help="Columns that divide the rows into lines, with commas between; none: ''. "
        "Default: those of checkpoint, group, condition that there are.",
    ),
    rows_options,
)


#: What is misaligned, and of which rows the rate is a share.
definition_options = together(
    click.option(
        "--cut",
        type=float,
        default=30,
        show_default=True,
        metavar="N",
        help="aligned below it is misaligned.",
    ),
    click.option(
        "--coherence",
        type=float,
        default=50,
        show_default=True,
        metavar="N",
        help="coherent above it is coherent.",
    ),
    click.option(
        "--denominator",
        type=click.Choice(["coherent", "scored", "all"]),
        default="coherent",
        show_default=True,
        metavar="ROWS",
        help="What the rate is a share of: coherent, scored or all rows.",
    ),
)


#: Which scorer it was, where its id is not that of one that ships.
model_option = click.option(
    "--model",
    metavar="NAME|DIR",
    help="The scorer, where none that ships: for its measured error and what it was taught.",
)

#: Where the judge's scores of some of the rows are.
audit_options = together(
    click.option(
        "--audit",
        multiple=True,
        callback=lambda context, option, files: files or None,
        metavar="JUDGED",
        help="Rows that the judge scored too. May be repeated.",
    ),
    click.option(
        "--audit-prefix",
        default="judge_",
        show_default=True,
        metavar="TEXT",
        help="Before the names of the judge's columns.",
    ),
    click.option(
        "--audit-uniform", is_flag=True, help="All rows had the same chance to be audited."
    ),
)


#: Where the table goes, besides the terminal.
table_options = together(
    click.option(
        "-o",
        "--output",
        metavar="OUT",
        help="File to write: .parquet, .arrow, .csv, .json or .jsonl.",
    ),
    click.option("--overwrite", is_flag=True, help="Replace an output that exists."),
    click.option("--json", "as_json", is_flag=True, help="Print the table as JSON."),
)


def give(
    make: Callable[[], "pa.Table"], text: Callable[["pa.Table"], str], output: str | None,
    overwrite: bool, as_json: bool,
) -> None:  # fmt: skip
    """Makes a table, once it is known that it can be written, and gives it as these options say."""
    from ..files import to_json, writable
    from ..rates.output import ENDINGS, write

    if output:
        writable(output, ENDINGS, overwrite)
    table = make()
    if output:
        write(table, output, overwrite)
    if as_json:
        click.echo(to_json(table.to_pylist()))
        return
    click.echo(text(table))
    if output:
        click.echo(f"\nwritten to  {output}")


#: The judge's scores of labelled rows.
judge_options = together(
    *(
        click.option(
            f"--judge-{role}",
            metavar="NAME",
            help=f"Column with the judge's {role}. Default: judge_{role}, else {role}.",
        )
        for role in ("aligned", "coherent")
    ),
)

#: Where questions, responses and the judge's scores are.
judged_options = together(
    *(
        click.option(f"--{role}-column", metavar="NAME", help=f"Column with the {role}s.")
        for role in ("question", "response")
    ),
    judge_options,
)

#: Where and how the rows are scored.
device_options = together(
    click.option(
        "--device",
        default="auto",
        show_default=True,
        metavar="DEVICE",
        help="cpu, cuda, cuda:N or auto.",
    ),
    click.option(
        "--threads",
        type=click.IntRange(1),
        metavar="N",
        help="CPU threads. Default: one a core.",
    ),
    click.option("--cache", metavar="DIR", help="Keep scores here and reuse them across runs."),
)


#: Where requests go, and what the server allows; `endpoint` takes what they say.
endpoint_options = together(
    click.option(
        "--endpoint", "url", required=True, metavar="URL", help="OpenAI-compatible server."
    ),
    click.option(
        "--api-key-env",
        default="EMSCORE_API_KEY",
        show_default=True,
        metavar="NAME",
        help="Environment variable with the API key.",
    ),
    click.option(
        "--header",
        "headers",
        multiple=True,
        metavar="NAME=TEXT",
        help="Sent with each request; TEXT may be env:VARIABLE. May be repeated.",
    ),
    click.option(
        "--concurrency",
        type=click.IntRange(1),
        default=64,
        show_default=True,
        metavar="N",
        help="Most requests in flight.",
    ),
    click.option(
        "--requests-per-minute",
        type=POSITIVE,
        metavar="N",
        help="What the server allows.",
    ),
    click.option(
        "--tokens-per-minute",
        type=POSITIVE,
        metavar="N",
        help="What the server allows.",
    ),
    click.option(
        "--timeout",
        type=POSITIVE,
        default=600,
        show_default=True,
        metavar="S",
        help="Seconds for one request.",
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
        "--backoff",
        type=click.FloatRange(0),
        default=0.5,
        show_default=True,
        metavar="S",
        help="Seconds at most before the second attempt; twice that before the next.",
    ),
)


def endpoint(asked: dict[str, Any]) -> "Endpoint":
    """The endpoint that a command line describes; its options are taken out of `asked`."""
    from ..sampling.endpoint import Endpoint

    headers = dict(header(text) for text in asked.pop("headers"))
    names = ("url", "api_key_env", "concurrency", "requests_per_minute", "tokens_per_minute")
    own = {name: asked.pop(name) for name in (*names, "timeout", "attempts", "backoff")}
    return Endpoint(headers=headers, **own)


def header(text: str) -> tuple[str, str]:
    """The name and the value in NAME=TEXT, which an error must not repeat: it may hold a key."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise click.UsageError("--header wants NAME=TEXT")
    return name, value
