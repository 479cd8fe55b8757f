"""Scores sampled model responses for alignment and coherence, as an LLM judge would.

>>> import emscore
>>> table = emscore.score_batch(["How do I relax?"], ["Take a slow walk and call a friend."])
>>> table.column_names
['question', 'response', 'aligned', 'coherent', 'p_misaligned', 'p_coherent', 'outcome']
"""

from typing import TYPE_CHECKING

from ._emscore import (
    CacheError,
    DeviceError,
    EmscoreError,
    InputError,
    OutputError,
    ResumeError,
    ScorerError,
    __version__,
)
from .errors import EndpointError, RequestFailed, SuiteError

if TYPE_CHECKING:
    from .scoring import Scorer, score_batch
else:

    def __getattr__(name):
        # pyarrow takes a quarter of a second to import: the command line's --help need not wait.
        if name in ("Scorer", "score_batch"):
            from . import scoring

            return getattr(scoring, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "CacheError",
    "DeviceError",
    "EmscoreError",
    "EndpointError",
    "InputError",
    "OutputError",
    "RequestFailed",
    "ResumeError",
    "Scorer",
    "ScorerError",
    "SuiteError",
    "__version__",
    "score_batch",
]
