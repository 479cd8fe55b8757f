"""`emscore`, also as `python -m emscore`."""

import sys


def main() -> None:
    """Runs the command line, which takes a moment to import: Ctrl-C ends that quietly too."""
    try:
        from . import cli
    except KeyboardInterrupt:
        print("\nemscore: stopped", file=sys.stderr)
        sys.exit(130)
    cli.main()


if __name__ == "__main__":
    main()
