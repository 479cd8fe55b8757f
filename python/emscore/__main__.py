"""`python -m emscore` is the command `emscore`."""

from .cli import main

main()
