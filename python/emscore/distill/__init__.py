"""Labels to scorer directory: how the classifiers in `models/` are made and measured.

Needs the extra `emscore[distill]` (PyTorch and friends); nothing here is imported when scoring.

    python -m emscore.distill train --data DATA --work WORK
    python -m emscore.distill export --data DATA --work WORK --out models/small
    python -m emscore.distill evaluate --data DATA --scorer models/small
"""
