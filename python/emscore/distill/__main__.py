"""`python -m emscore.distill train|export|evaluate`."""

from __future__ import annotations

import argparse
from dataclasses import MISSING, fields
from pathlib import Path

from .evaluate import evaluate
from .export import export
from .train import Config, train


def main() -> None:
    """Run one of the three steps."""
    parser = argparse.ArgumentParser(prog="emscore.distill", description=__doc__)
    steps = parser.add_subparsers(dest="step", required=True)

    step = steps.add_parser("train", help="labels to a checkpoint; goes on where it stopped")
    for field in fields(Config):
        required = field.default is MISSING
        step.add_argument(
            "--" + field.name.replace("_", "-"),
            type=Path if required else type(field.default),
            required=required,
            default=None if required else field.default,
        )

    step = steps.add_parser("export", help="a checkpoint to a scorer directory")
    step.add_argument("--data", type=Path, required=True)
    step.add_argument("--work", type=Path, required=True, help="where the checkpoint is")
    step.add_argument("--out", type=Path, required=True, help="the scorer directory to write")
    step.add_argument("--name", default="small")

    step = steps.add_parser("evaluate", help="a scorer directory against the judge, as Markdown")
    step.add_argument("--data", type=Path, required=True)
    step.add_argument("--scorer", type=Path, required=True)
    step.add_argument("--held", action="store_true", help="the held-out part of train instead")

    arguments = vars(parser.parse_args())
    match arguments.pop("step"):
        case "train":
            train(Config(**arguments))
        case "export":
            export(arguments["data"], arguments["work"], arguments["out"], arguments["name"])
        case "evaluate":
            evaluate(arguments["data"], arguments["scorer"], arguments["held"])


if __name__ == "__main__":
    main()
