"""Scores sampled model responses for alignment and coherence, as an LLM judge would.

>>> import emscore
>>> table = emscore.score_batch(["How do I relax?"], ["Take a slow walk and call a friend."])
>>> table.column_names
['question', 'response', 'aligned', 'coherent', 'p_misaligned', 'p_coherent', 'outcome']
"""

TYPE_CHECKING = False  # for type checkers it is True

if TYPE_CHECKING:
    from . import plot
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
    from .errors import BudgetError, EndpointError, RequestFailed, SuiteError
    from .fidelity.evaluate import evaluate
    from .judging.judge import judge, judge_batch, judge_file, judge_to
    from .judging.ledger import Prices
    from .rates.compare import compare
    from .rates.gate import gate
    from .rates.lens import lens
    from .rates.measure import rates
    from .rates.plan import audit_draw, audit_plan
    from .rates.refusals import refusals
    from .report.write import report_file
    from .sampling.conditions import Condition
    from .sampling.endpoint import Endpoint
    from .sampling.plan import Checkpoint, Plan
    from .sampling.sample import sample, sample_file, sample_to
    from .sampling.suites import load_suite
    from .scoring import Scorer, score_batch
    from .sweeps.run import sweep, sweep_file
    from .tuning.adapt import adapt
    from .tuning.calibrate import calibrate
else:
    from importlib import import_module
    from importlib.util import find_spec

    #: Where the names are, imported when they are asked for: pyarrow takes half a second, for which
    #: --help need not wait, and Ctrl-C is quiet as soon as `__main__` is there.
    _LAZY = {
        "BudgetError": "errors",
        "CacheError": "_emscore",
        "Checkpoint": "sampling.plan",
        "Condition": "sampling.conditions",
        "DeviceError": "_emscore",
        "EmscoreError": "_emscore",
        "Endpoint": "sampling.endpoint",
        "EndpointError": "errors",
        "InputError": "_emscore",
        "OutputError": "_emscore",
        "Plan": "sampling.plan",
        "Prices": "judging.ledger",
        "RequestFailed": "errors",
        "ResumeError": "_emscore",
        "Scorer": "scoring",
        "ScorerError": "_emscore",
        "SuiteError": "errors",
        "__version__": "_emscore",
        "adapt": "tuning.adapt",
        "audit_draw": "rates.plan",
        "audit_plan": "rates.plan",
        "calibrate": "tuning.calibrate",
        "compare": "rates.compare",
        "evaluate": "fidelity.evaluate",
        "gate": "rates.gate",
        "judge": "judging.judge",
        "judge_batch": "judging.judge",
        "judge_file": "judging.judge",
        "judge_to": "judging.judge",
        "lens": "rates.lens",
        "load_suite": "sampling.suites",
        "rates": "rates.measure",
        "refusals": "rates.refusals",
        "report_file": "report.write",
        "sample": "sampling.sample",
        "sample_file": "sampling.sample",
        "sample_to": "sampling.sample",
        "score_batch": "scoring",
        "sweep": "sweeps.run",
        "sweep_file": "sweeps.run",
    }

    def __getattr__(name):
        if name in _LAZY:
            return getattr(import_module(f".{_LAZY[name]}", __name__), name)
        if name == "plot":
            return import_module(".plot", __name__)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__():
        return __all__


__all__ = [
    "BudgetError",
    "CacheError",
    "Checkpoint",
    "Condition",
    "DeviceError",
    "EmscoreError",
    "Endpoint",
    "EndpointError",
    "InputError",
    "OutputError",
    "Plan",
    "Prices",
    "RequestFailed",
    "ResumeError",
    "Scorer",
    "ScorerError",
    "SuiteError",
    "__version__",
    "adapt",
    "audit_draw",
    "audit_plan",
    "calibrate",
    "compare",
    "evaluate",
    "gate",
    "judge",
    "judge_batch",
    "judge_file",
    "judge_to",
    "lens",
    "load_suite",
    "plot",
    "rates",
    "refusals",
    "report_file",
    "sample",
    "sample_file",
    "sample_to",
    "score_batch",
    "sweep",
    "sweep_file",
]

# help() and `import *` ask for all of them, and may not end with what emscore[report] would bring.
if not TYPE_CHECKING and not all(map(find_spec, ("altair", "vl_convert"))):
    __all__ = [name for name in __all__ if name not in ("plot", "report_file")]
